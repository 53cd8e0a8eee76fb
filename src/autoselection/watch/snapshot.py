"""A study at one moment, as numbers: a pure function of its record and of what its processes say of themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from autoselection.watch.activities import Activity, CountedWork
from autoselection.watch.record import Record

#: ``silent``: a process that did not say it ended has not been heard of; ``unknown``: nothing tells (older versions).
State = Literal["running", "finished", "stopped", "failed", "silent", "unknown"]

#: Most loss curves: those of running trainings first, then of those that ended last.
CURVES = 8
_WORK = re.compile(r"(?P<name>.+)-seed(?P<seed>\d+)", re.DOTALL)
_ENTRY = re.compile(r"test(?P<number>\d+)")


@dataclass(frozen=True)
class Rate:
    """How fast counted work goes.

    Attributes:
        each: seconds a unit takes, over those done in this run.
        remaining: seconds to the last one.
    """

    each: float
    remaining: float | None


@dataclass(frozen=True)
class Work:
    """Counted work under way; ``total`` None if that is unknown, ``rate`` None before a unit is done."""

    what: str
    done: int
    total: int | None
    rate: Rate | None


@dataclass(frozen=True)
class Worker:
    """A process and what it is at, or was at last.

    Attributes:
        evaluation: what it trains or scores, in words; empty for the process that runs the study.
        alive: whether it was heard of lately; one that is not and did not end was lost.
        since: when the stage began (seconds since 1970).
        steps, of: optimiser steps done and to do.
        loss: of the latest steps.
        remaining: seconds to the last step, None outside of training.
        memory: bytes by kind: ``resident`` of ``total``, ``device`` of ``device_total``.
    """

    host: str
    process: int
    evaluation: str
    stage: str
    alive: bool
    ended: str | None
    since: float
    updated: float
    rows: int | None
    steps: int
    of: int
    loss: float | None
    remaining: float | None
    memory: dict[str, int]
    work: tuple[Work, ...]


@dataclass(frozen=True)
class Curve:
    """Losses of one training.

    Attributes:
        points: (optimiser step at the end of the mean, mean loss).
        steps: that the training takes.
    """

    evaluation: str
    running: bool
    steps: int
    updated: float
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Snapshot:
    """Everything that is shown.

    Attributes:
        at: when it was taken (seconds since 1970).
        stage: of the process that runs the study; empty where nothing tells.
        error: that ended it, empty if none did.
        since: when it began.
        heard: when that process was heard of last.
        started: when it started.
        work: counted work of that process, outermost first.
        workers: those alive, those lost, and idle ones of this run.
        version: of ``record``; the same number is the same record.
    """

    at: float
    state: State
    stage: str
    error: str
    since: float | None
    heard: float | None
    started: float | None
    work: tuple[Work, ...]
    workers: tuple[Worker, ...]
    curves: tuple[Curve, ...]
    record: Record
    version: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def snapshot(record: Record, activities: Sequence[Activity], now: float, version: int = 0) -> Snapshot:
    """The study at ``now`` (seconds since 1970).

    Args:
        activities: of its processes, in any order.
        version: to tell this record from others.
    """
    main = next((found for found in activities if not found.label), None)
    evaluations = sorted((found for found in activities if found.label), key=lambda found: -found.told.updated)
    running = [found for found in evaluations if found.alive]
    curves = [found for found in running if found.told.losses.points]
    curves += [found for found in evaluations if not found.alive and found.told.losses.points]
    return Snapshot(
        at=now,
        state=_state(record, main, bool(running)),
        stage=main.told.stage if main else "",
        error=main.told.error if main else "",
        since=main.told.since if main else None,
        heard=main.told.updated if main else None,
        started=main.told.started if main else None,
        work=tuple(_work(entry, now) for entry in main.told.counted) if main and main.alive else (),
        workers=tuple(_worker(found, record, now) for found in _shown(main, evaluations)),
        curves=tuple(_curve(found, record) for found in curves[:CURVES]),
        record=record,
        version=version,
    )


def _state(record: Record, main: Activity | None, others: bool) -> State:
    if (main is not None and main.alive) or (others and record.finished):  # compute curves run in a finished study
        return "running"
    if record.finished:
        return "finished"
    if main is None:
        return "running" if others else "unknown"
    if main.told.ended is None:
        return "silent"
    return "failed" if main.told.ended == "failed" else "stopped"


def _shown(main: Activity | None, evaluations: Sequence[Activity]) -> list[Activity]:
    """One a process: the study's own, then workers at work, lost ones, and idle ones while the study runs."""
    alive = main is not None and main.alive
    found = [main] if main is not None and alive else []
    seen = {(main.told.host, main.told.process)} if main is not None else set()
    for entry in sorted(evaluations, key=lambda entry: (not entry.alive, -entry.told.updated)):
        process = (entry.told.host, entry.told.process)
        own = main is not None and process == (main.told.host, main.told.process)  # evaluates in the study's process
        this_run = main is not None and alive and entry.told.updated >= main.told.started
        if entry.alive or (this_run and process not in seen):
            if process not in seen or own:
                found.append(entry)
            seen.add(process)
    return found


def _worker(found: Activity, record: Record, now: float) -> Worker:
    told = found.told
    training = found.alive and told.steps.total > told.steps.done > 0 and told.stage == "training"
    each = (told.updated - told.since) / told.steps.done if training else None
    return Worker(
        host=told.host,
        process=told.process,
        evaluation=evaluation_name(found.label, record),
        stage=told.stage,
        alive=found.alive,
        ended=told.ended,
        since=told.since,
        updated=told.updated,
        rows=told.about.rows,
        steps=told.steps.done,
        of=told.steps.total,
        loss=told.losses.points[-1] if told.losses.points else None,
        remaining=None if each is None else max(0.0, each * (told.steps.total - told.steps.done)),
        memory=dict(told.memory),
        work=tuple(_work(entry, now) for entry in told.counted) if found.alive else (),
    )


def _work(entry: CountedWork, now: float) -> Work:
    made, total = entry.done - entry.found, entry.total
    if made <= 0 or entry.latest <= entry.since:
        return Work(entry.what, entry.done, total, None)
    each = (entry.latest - entry.since) / made
    left = None if total is None else max(0.0, each * (total - entry.done) - max(0.0, now - entry.latest))
    return Work(entry.what, entry.done, total, Rate(each, left))


def _curve(found: Activity, record: Record) -> Curve:
    losses, steps = found.told.losses, found.told.steps
    points = tuple((min(steps.done, (place + 1) * losses.every), loss) for place, loss in enumerate(losses.points))
    return Curve(evaluation_name(found.label, record), found.alive, steps.total, found.told.updated, points)


def evaluation_name(label: str, record: Record) -> str:
    """What an evaluation is called, by its work folder: a trial, a row of the final table, or as the folder is."""
    found = _WORK.fullmatch(label)
    if found is None:
        return label
    name = found["name"]
    row = _ENTRY.fullmatch(name)
    if row is not None and int(row["number"]) < len(record.tests):
        name = record.tests[int(row["number"])].name
    elif name.startswith("incumbent-"):
        name = "today's data"
    return f"{name}, seed {found['seed']}"
