"""A snapshot in words: what the page and the terminal both show, so that they say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from autoselection.notebook import number
from autoselection.report.sheet import Sheet
from autoselection.watch.record import Record
from autoselection.watch.snapshot import Curve, Snapshot, Work, Worker
from autoselection.wording import duration

#: Most trials in the table, the newest ones.
TRIALS = 500


@dataclass(frozen=True)
class Bar:
    """Counted work; ``total`` None where the end is unknown."""

    what: str
    done: int
    total: int | None
    said: str


@dataclass(frozen=True)
class LossBoard:
    """A loss curve; ``said`` is it in words."""

    title: str
    running: bool
    said: str
    steps: int
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Now:
    """What changes all the time."""

    state: str
    headline: str
    facts: tuple[tuple[str, str], ...]
    bars: tuple[Bar, ...]
    workers: Sheet
    curves: tuple[LossBoard, ...]


@dataclass(frozen=True)
class Point:
    """A full evaluation in the plot: after so many spent, its score, and the best so far.

    Attributes:
        leads: whether it is one of the best subset.
    """

    trial: str
    spent: float
    score: float
    best: float
    leads: bool


@dataclass(frozen=True)
class Results:
    """What changes with the journal.

    Attributes:
        told: what ``points`` show.
    """

    best: tuple[tuple[str, str], ...]
    told: str
    points: tuple[Point, ...]
    trials: Sheet
    tests: Sheet
    verdict: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Board:
    """All that is shown, in words."""

    title: str
    path: str
    now: Now
    results: Results

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def board(found: Snapshot) -> Board:
    """The words for a snapshot."""
    record = found.record
    return Board(record.name, record.path, now_board(found), results_board(record))


def now_board(found: Snapshot) -> Now:
    """The words for what changes all the time."""
    return Now(
        state=found.state,
        headline=_headline(found),
        facts=_facts(found),
        bars=tuple(_bar(work) for work in found.work),
        workers=_workers(found),
        curves=tuple(_losses(curve) for curve in found.curves),
    )


def results_board(record: Record) -> Results:
    """The words for what the journal tells."""
    floors = "" if record.best is None or record.best.rule == "best" else ", by the floors first"
    return Results(
        best=_best(record),
        told=f"Each dot is a full evaluation; the dashed line is the best so far{floors}.",
        points=tuple(
            Point(
                trial.id,
                trial.spent,
                trial.score,
                trial.best,
                record.best is not None and trial.id in record.best.trials,
            )
            for trial in record.trials
            if trial.fidelity == 1.0 and trial.score is not None and trial.best is not None
        ),
        trials=_trials(record),
        tests=_tests(record),
        verdict=record.verdict or "",
        notes=record.notes,
    )


def _headline(found: Snapshot) -> str:
    again = "the same search command goes on where it stopped."
    if found.state == "finished":
        return "Finished."
    if found.state == "running":
        return f"Running: {found.stage or 'evaluations'}." if not found.record.finished else "Finished; trainings run."
    if found.state == "silent":
        gone = duration(found.at - (found.heard or found.at))
        return f"No sign of life for {gone}; it was {found.stage}. If nothing runs it, {again}"
    if found.state == "failed":
        why = found.error.rstrip(".") or "what it was stands where it ran"
        return f"Stopped by an error while {found.stage}: {why}. Mended, {again}"
    if found.state == "stopped":
        return f"Stopped while {found.stage}: {again}"
    return "Nothing tells whether it runs: it was made by an earlier version, or is a copy without activity.json."


def _facts(found: Snapshot) -> tuple[tuple[str, str], ...]:
    record = found.record
    running = found.state == "running"
    facts = [("Evaluations", f"{record.spent:g} of {record.budget}")]
    if failed := sum(1 for trial in record.trials if trial.failure):
        facts.append(("Failed", f"{failed:,}"))
    if record.pool_rows is not None:
        facts.append(("Pool", f"{record.pool_rows:,} rows"))
    if running and found.started is not None:
        facts.append(("This run", duration(found.at - found.started)))
        if found.since is not None:
            facts.append(("This stage", duration(found.at - found.since)))
    elif record.began is not None and record.latest is not None:
        facts.append(("First to last event", duration(record.latest - record.began)))
    if running and found.work and (rate := found.work[0].rate) is not None:
        facts.append(("Rate", _speed(rate.each)))
        if rate.remaining is not None:
            facts.append((f"Remaining: {found.work[0].what}", f"about {duration(rate.remaining)}"))
    took = [trial.seconds for trial in record.trials if trial.seconds and trial.fidelity == 1.0]
    if took:
        facts.append(("An evaluation takes", duration(sum(took) / len(took))))
    facts += _memory(found.workers)
    return tuple(facts)


def _memory(workers: Sequence[Worker]) -> list[tuple[str, str]]:
    alive = {(worker.host, worker.process): worker.memory for worker in workers if worker.alive}
    hosts = {host: max(memory.get("total", 0) for (on, _), memory in alive.items() if on == host) for host, _ in alive}
    facts = []
    if held := sum(memory.get("resident", 0) for memory in alive.values()):
        facts.append(("Memory", f"{size(held)} of {size(sum(hosts.values()))}"))
    if held := sum(memory.get("device", 0) for memory in alive.values()):
        facts.append(("GPU memory", size(held)))
    return facts


def _bar(work: Work) -> Bar:
    said = f"{work.done:,}" if work.total is None else f"{work.done:,} of {work.total:,}"
    if work.rate is not None:
        said += f", {_speed(work.rate.each)}"
        if work.rate.remaining is not None:
            said += f", about {duration(work.rate.remaining)} to go"
    return Bar(work.what, work.done, work.total, said)


def _workers(found: Snapshot) -> Sheet:
    hosts = len({worker.host for worker in found.workers}) > 1
    rows = []
    for worker in found.workers:
        name = f"{worker.process}{f' on {worker.host}' if hosts else ''}"
        stage = worker.stage if worker.alive else "idle" if worker.ended else "no sign of life"
        under_way = ", ".join(
            f"{work.what} {work.done:,}{'' if work.total is None else f' of {work.total:,}'}" for work in worker.work
        )
        memory = size(worker.memory["resident"]) if "resident" in worker.memory else ""
        if device := worker.memory.get("device"):
            memory += f", GPU {size(device)}"
        rows.append(
            (
                name,
                worker.evaluation or "the study",
                "" if worker.rows is None else f"{worker.rows:,}",
                stage if worker.alive or worker.ended else f"{stage} for {duration(found.at - worker.updated)}",
                f"{worker.steps:,} of {worker.of:,}" if worker.of else under_way if worker.evaluation else "",
                "" if worker.loss is None else number(worker.loss),
                duration(found.at - worker.since) if worker.alive else "",
                "" if worker.remaining is None else duration(worker.remaining),
                memory,
            )
        )
    headings = ("process", "is at", "rows", "stage", "steps", "loss", "for", "steps end in", "memory")
    return Sheet.of("Workers", headings, rows)


def _losses(curve: Curve) -> LossBoard:
    (_, first), (step, last) = curve.points[0], curve.points[-1]
    said = f"{number(first)} at the start, {number(last)} at step {step:,} of {curve.steps:,}"
    return LossBoard(curve.evaluation, curve.running, said, curve.steps, curve.points)


def _best(record: Record) -> tuple[tuple[str, str], ...]:
    best = record.best
    if best is None:
        return ()
    trainings = f", mean of {best.trainings} trainings" if best.trainings > 1 else ""
    return (
        ("Trial", best.trial),
        ("Dev score", f"{best.score:.4f}{trainings}{'' if best.rule == 'best' else f', {best.rule}'}"),
        ("Rows", f"{best.rows:,}"),
        *((name, f"{score:.4f}") for name, score in best.tasks),
        ("Recipe", best.recipe),
    )


def _trials(record: Record) -> Sheet:
    best = record.best.trial if record.best else None
    pending = set(record.pending)
    rows = []
    for trial in reversed(record.trials[-TRIALS:]):
        if trial.failure:
            score = "failed"
        elif trial.score is None or trial.id in pending:
            score = "pending"
        else:
            score = f"{trial.score:.4f}{' best' if trial.id == best else ''}"
        expected = "" if trial.expected is None else f"{trial.expected[0]:.4f} ± {trial.expected[1]:.4f}"
        rows.append(
            (
                trial.id,
                score,
                expected,
                f"{trial.rows:,}",
                trial.kind,
                duration(trial.seconds) if trial.seconds else "",
                trial.failure or trial.edit,
                trial.recipe,
            )
        )
    left = len(record.trials) - TRIALS
    title = "Trials, the newest first" + (f" ({left:,} older ones are in the report)" if left > 0 else "")
    return Sheet.of(title, ("trial", "dev score", "expected", "rows", "kind", "took", "edit", "recipe"), rows)


def _tests(record: Record) -> Sheet:
    rows = []
    for row in record.tests:
        score = "failed" if row.failure else "pending" if row.score is None else f"{row.score:.4f}"
        rows.append((row.name, f"{row.rows:,}", f"{row.done} of {row.seeds}", score))
    return Sheet.of("Final table (test)", ("subset", "rows", "seeds", "test score"), rows)


def size(count: int) -> str:
    """Bytes in the unit that fits."""
    return f"{count / 2**20:,.0f} MiB" if count < 2**30 else f"{count / 2**30:,.1f} GiB"


def _speed(each: float) -> str:
    """Units by the second, minute or hour, whatever makes a number above one."""
    for word, seconds in (("a second", 1.0), ("a minute", 60.0)):
        if seconds / each >= 1:
            return f"{number(seconds / each)} {word}"
    return f"{number(3600 / each)} an hour"
