"""What a study found, in the order in which one asks: which recipe, what it gains, what it costs and hurts, whether to believe it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from autoselection.diagnose import agreements
from autoselection.evaluation import EvaluationResult
from autoselection.report.sheet import Sheet
from autoselection.statistics.compare import p_text
from autoselection.statistics.family import consistent
from autoselection.study import Study, Trial
from autoselection.study.evidence import final_evidence, final_progress, other_winner, touches_of_test
from autoselection.study.incumbent import current_verdict, went_on
from autoselection.study.references import watched_tasks
from autoselection.tasks import labels

DEV, TEST = "dev", "test"


@dataclass(frozen=True)
class Gain:
    """The winner's score minus that of something else.

    Attributes:
        winner: trial whose subset was scored: another one than the best now, if the search went on afterwards.
        against: what it is compared with.
        today: whether that is what is used today.
        split: dev or test.
        flattery: taken off, as being chosen is expected to add it; 0 on test, and where the winner is worse all the same.
        low, high: ends of the 95% interval, over training seeds and items where there are several seeds, else over items: as
            ``significant`` says, it holds 0 or not.
        over: what the interval is over.
        scope: what it holds for: ``with all comparisons`` of the table, or this one ``alone``; empty: there is only one.
        p: of no difference; on test corrected for all baselines. None while test is being scored.
        significant: whether it is one beyond chance; None while test is being scored.
        tasks: the difference of each task; on dev less the flattery in the tasks that count.
    """

    winner: str
    against: str
    today: bool
    split: str
    flattery: float
    estimate: float
    low: float
    high: float
    over: str
    scope: str
    seeds: int
    p: float | None
    significant: bool | None
    tasks: Mapping[str, float]

    @property
    def finding(self) -> str:
        """What the winner is, in a word or a few."""
        if self.significant is None:
            return "not known yet"
        return ("better" if self.estimate > 0 else "worse") if self.significant else "no significant difference"

    @property
    def held(self) -> str:
        """What the interval is over, and for how many comparisons it holds."""
        return f"{self.over}, {self.scope}" if self.scope else self.over

    def sentence(self) -> str:
        """For people."""
        found = "not all is scored yet" if self.significant is None else self.finding
        p = "" if self.p is None else f", {p_text(self.p)}"
        return (
            f"On {self.split} {self.winner} has {self.estimate:+.4f} against {self.against} (95% interval {self.low:+.4f} to "
            f"{self.high:+.4f} over {self.held}{p}): {found}{' beyond chance' if self.significant else ''}."
        )


@dataclass(frozen=True)
class Answer:
    """What a study found so far.

    Attributes:
        headline: in one sentence.
        recipe: steps of the best recipe in words, with the rows that each leaves; empty before there is one.
        trial: that evaluated it first: all below is of it, but for gains that name another winner.
        rows, pool_rows: of its subset and of the pool (counts).
        gains: the winner against today's data first, then against the baselines.
        measured: what a score is, and the shares of right answers on test, a sentence each.
        hurts: tasks that are worse than with today's data, a sentence each, or that none is.
        belief: whether to believe it: yes, partly, no, not yet.
        reasons: why, in sentences.
    """

    headline: str
    recipe: tuple[tuple[str, int], ...]
    trial: str | None
    rows: int
    pool_rows: int
    gains: tuple[Gain, ...]
    measured: tuple[str, ...]
    hurts: tuple[str, ...]
    belief: str
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def sentences(self) -> list[str]:
        """All of it for people, the headline first."""
        return [
            self.headline,
            *(gain.sentence() for gain in self.gains if gain.today),
            *self.measured,
            *self.hurts,
            f"Is it to be believed? {self.belief}. {self.reasons[0] if self.reasons else ''}".rstrip(),
        ]


def study_answer(study: Study) -> Answer:
    """What a study found so far; as good an answer as an unfinished one can give."""
    best = study.best()
    opening = study.journal.of("study")
    pool_rows = int(opening[0]["rows"]) if opening else 0
    gains = (*_dev_gain(study, best), *_test_gains(study, best))
    now = tuple(gain for gain in gains if best is not None and gain.winner == best.id)
    belief, reasons = _belief(study, best, now)
    return Answer(
        headline=_headline(study, best, pool_rows),
        recipe=() if best is None else _steps(best),
        trial=None if best is None else best.id,
        rows=0 if best is None else best.size,
        pool_rows=pool_rows,
        gains=gains,
        measured=_measured(study, best, now),
        hurts=_hurts(study, now),
        belief=belief,
        reasons=reasons,
    )


def _steps(best: Trial) -> tuple[tuple[str, int], ...]:
    rows = [int(step["rows_out"]) for step in best.record["lineage"]]
    return tuple(zip(best.recipe.describe_steps(), rows, strict=True)) or (("the whole pool", best.size),)


def _judged(study: Study, best: Trial | None) -> dict[str, Any] | None:
    """The verdict on the best recipe; None before there is one, also where the last one was on the best before."""
    judged = current_verdict(study)
    if judged is None or best is None or _best_then(study) == best.record["subset_hash"]:
        return judged
    return None


def _best_then(study: Study) -> str | None:
    """Hash of the subset that the current verdict is on."""
    found: str | None = study.journal.of("incumbent_plan")[-1]["winner_hash"]
    return found


def _same(subset: str | None, trial: str, best: Trial | None) -> str:
    """The trial of a subset by the name it has now, as its repeats have others."""
    return best.id if best is not None and best.record["subset_hash"] == subset else trial


#: What the best recipe is where what is used today stays, by the outcome of the verdict.
_KEPT = {
    "below a floor": "is below a floor",
    "worse": "is worse on dev",
    "same rows": "selects the same rows",
    "winner failed": "could not be trained again",
    "not comparable": "could not be compared with it",
}


def _headline(study: Study, best: Trial | None, pool_rows: int) -> str:
    if best is None:
        return "Nothing is found yet: no recipe has a score."
    judged = _judged(study, best)
    share = f"{best.size:,} of {pool_rows:,} rows ({best.size / max(1, pool_rows):.0%})"
    if judged is None:
        rule = "" if study.best_rule == "best" else f" ({study.best_rule})"
        return f"The best recipe so far is {best.id}: {share}, dev score {best.score:.4f}{rule}."
    if judged["exported"] == "incumbent":
        why = _KEPT.get(judged["outcome"], "is not shown to be better")
        return (
            f"Keep what is used today ({judged['incumbent']}): the best recipe found, {judged['winner'] or best.id} with {share}, "
            f"{why}."
        )
    return f"Train on the rows of {judged['winner']} instead of what is used today ({judged['incumbent']}): {share}."


def _dev_gain(study: Study, best: Trial | None) -> list[Gain]:
    judged = current_verdict(study)
    if judged is None or "comparison" not in judged:
        return []
    found = {**judged["comparison"], "significant": is_shown(judged)}
    flattery = judged.get("flattery", {}).get("mean", 0.0) if is_corrected(judged) else 0.0
    return [_gain(found, _same(_best_then(study), judged["winner"], best), True, DEV, flattery)]


def is_shown(judged: Mapping[str, Any]) -> bool:
    """Whether a verdict found a difference of scores beyond chance."""
    return bool(
        judged.get("on_score", judged["outcome"]) in ("better", "worse") and judged["comparison"]["significant"]
    )


def is_corrected(judged: Mapping[str, Any]) -> bool:
    """Whether a verdict's comparison is less what being chosen is expected to add: what is worse is judged as it is."""
    return bool(judged.get("on_score", judged["outcome"]) != "worse")


def _tested(study: Study, best: Trial | None) -> str | None:
    """The trial that the final table is of; None before it is planned."""
    plans = study.journal.of("final_plan")
    return _same(plans[-1]["entries"][0]["subset_hash"], plans[-1]["winner"], best) if plans else None


def _test_gains(study: Study, best: Trial | None) -> list[Gain]:
    evidence, winner = final_evidence(study), _tested(study, best)
    if evidence is None or winner is None:
        return []
    plans = study.journal.of("incumbent_plan")
    today = plans[-1]["incumbent_hash"] if plans else None
    entries = study.journal.of("final_plan")[-1]["entries"]
    names = {entry["name"] for entry in entries if today is not None and entry["subset_hash"] == today}
    found = [_gain(entry, winner, entry["baseline"] in names, TEST) for entry in evidence["comparisons"]]
    return sorted(found, key=lambda gain: not gain.today)


def _gain(found: Mapping[str, Any], winner: str, today: bool, split: str, flattery: float = 0.0) -> Gain:
    interval, wide, together = found["difference"], found["interval_seeds"], found.get("interval_all")
    low, high = together or wide or (interval["low"], interval["high"])
    if found["significant"] is not None:
        # A verdict has several conditions (over items, over seeds, flattered or not): where one fails, 0 is not ruled out.
        low, high = consistent((low, high), interval["estimate"], significant=found["significant"])
    return Gain(
        winner=winner,
        against=found["baseline"],
        today=today,
        split=split,
        flattery=flattery,
        estimate=interval["estimate"],
        low=low,
        high=high,
        over="items" if wide is None else "training seeds and items",
        scope="" if split == DEV else "alone" if together is None else "with all comparisons",
        seeds=found["seeds"],
        p=found["p_adjusted"],
        significant=found["significant"],
        tasks=dict(found["tasks"]),
    )


def _today(gains: tuple[Gain, ...], split: str) -> Gain | None:
    return next((gain for gain in gains if gain.today and gain.split == split), None)


_METRICS = {
    "nll": "minus the loss of the right answer, in nats a token",
    "nll_per_byte": "minus the loss of the right answer, in nats a byte",
    "accuracy": "the share of items whose right option is the likeliest",
    "option_likelihood": "the share of the right option in the probability of all options",
    "blend": "minus the mean of two losses in nats, of the right answer and of the right option among all",
    "exact_match": "the share of items answered rightly",
}


def _measured(study: Study, best: Trial | None, gains: tuple[Gain, ...]) -> tuple[str, ...]:
    """What a score is; then how many answers are right after training on the winner and on today's data, where test tells it."""
    tasks = [task for task in study.config.tasks if task.weight] or study.config.tasks  # all of them guards
    counted: dict[str, list[str]] = {}
    for task in tasks:
        counted.setdefault(task.metric, []).append(task.name)
    parts = [
        _METRICS[metric] + (f" ({', '.join(names)})" if len(counted) > 1 else "") for metric, names in counted.items()
    ]
    over = ""
    if len(tasks) > 1:
        over = "the mean over tasks of "
        if len(tasks) < len(study.config.tasks):
            over = "the mean over the tasks that are no guards of "
        if len({task.weight for task in tasks}) > 1:
            over = f"the mean, by their weights, over {', '.join(labels(tasks))} of "
    said = [f"A score is {over}{' and '.join(parts)}: higher is better."]
    evidence, results = final_evidence(study), study.final_results()
    if evidence is None or not evidence["complete"] or best is None or _tested(study, best) != best.id:
        return tuple(said)
    today = _today(gains, TEST)
    found = []
    for task in study.config.tasks:
        own, theirs = (
            None if name not in results else right_share(list(results[name].values()), task.name)
            for name in (evidence.get("winner", ""), "" if today is None else today.against)
        )
        if own is not None:
            found.append(f"{task.name} {own:.0%}" + ("" if theirs is None else f" ({theirs:.0%})"))
    if found:
        beside = "" if today is None else f" (in brackets with {today.against})"
        said.append(f"Right answers on test{beside}: {', '.join(found)}.")
    return tuple(said)


def right_share(results: Sequence[EvaluationResult], task: str) -> float | None:
    """Share of right items, mean over seeds: accuracy where the items have choices, else exact match; None where neither is known."""
    for metric in ("accuracy", "exact_match"):
        values = [result.metrics.get(task, {}).get(metric) for result in results]
        known = [value for value in values if value is not None]
        if known:
            return sum(known) / len(known)
    return None


def _hurts(study: Study, gains: tuple[Gain, ...]) -> tuple[str, ...]:
    """By test if all of it was scored, else by dev."""
    test = _today(gains, TEST)
    gain = test if test is not None and test.significant is not None else _today(gains, DEV)
    forgotten = _forgotten(study)
    if gain is None:
        return forgotten
    tasks = study.config.tasks
    named = dict(zip((task.name for task in tasks), labels(tasks), strict=True))
    # As they were measured: being chosen is expected to add to their mean, and of which task is not known.
    taken = {task.name: gain.flattery for task in tasks if task.weight > 0}
    # What is shown as no difference is none (and 0.0 has no sign).
    measured = {task: round(value + taken.get(task, 0.0), 4) + 0.0 for task, value in gain.tasks.items()}
    worse = sorted((value, task) for task, value in measured.items() if value < 0)
    said = [f"No task is worse than with {gain.against} on {gain.split}."]
    if worse:
        listed = ", ".join(f"{named.get(task, task)} {value:+.4f}" for value, task in worse)
        how = "single tasks as measured, without intervals" if gain.flattery else "single tasks, without intervals"
        said = [f"Worse than with {gain.against} on {gain.split}: {listed} ({how})."]
    kept = [task.name for task in tasks if task.weight == 0 and measured.get(task.name, -1.0) >= 0]
    if kept:
        said.append(
            f"Guards, which are no part of the score, that are no worse: {', '.join(f'{task} {measured[task]:+.4f}' for task in kept)}."
        )
    return (*said, *forgotten)


def _forgotten(study: Study) -> tuple[str, ...]:
    """What guards and tasks with a floor lost since the model without training, and how it is with today's data."""
    found = []
    for entry in watched_tasks(study):
        if entry.base is None or entry.winner is None:
            continue
        today = "" if entry.incumbent is None else f" (with today's data {entry.incumbent - entry.base:+.4f})"
        found.append(f"{entry.task} {entry.winner - entry.base:+.4f}{today}")
    return (f"Against the model without training, on dev: {', '.join(found)}.",) if found else ()


def _belief(study: Study, best: Trial | None, gains: tuple[Gain, ...]) -> tuple[str, tuple[str, ...]]:
    judged = _judged(study, best)
    dev, test = _today(gains, DEV), _today(gains, TEST)
    reasons = []
    if best is None:
        return "Not yet", ("No recipe has been scored.",)
    if judged is None:
        why = _not_judged(study, best)
        belief = "Not yet"
        reasons.append(f"{why} The dev score of the best of several trials flatters it.")
    elif judged["outcome"] == "above the floors":
        belief = "Partly"
        reasons.append(judged["sentences"][0])
    elif judged["outcome"] != "better" or dev is None:
        belief = "No" if dev is not None else "Not compared"
        reasons.append(judged["sentences"][0])
    elif test is None or test.significant is None:
        belief = "Partly"
        reasons.append(
            f"{judged['winner']} is better than {judged['incumbent']} on dev, with trainings that the search did not use; "
            f"{_not_on_test(study)}."
        )
    elif test.significant and test.estimate > 0:
        belief = "Partly" if went_on(study) else "Yes"
        reasons.append(
            f"{judged['winner']} is better than {judged['incumbent']} on dev, with trainings that the search did not use, and on "
            "test, which was fixed before it was read."
        )
    else:
        belief = "No" if test.significant else "Partly"
        said = "worse" if test.significant else "not shown to be better"
        reasons.append(f"{judged['winner']} is better than {judged['incumbent']} on dev, but {said} on test.")
    return belief, (*reasons, *_caveats(study, dev, test))


def _not_judged(study: Study, best: Trial) -> str:
    """Why there is no verdict on the best recipe."""
    if (earlier := current_verdict(study)) is not None:
        return f"{best.id} was not compared with {earlier['incumbent']} yet: the verdict is on the best before."
    last = study.journal.of("trial")[-1]["seq"]
    comparing, testing = (
        [plan for plan in study.journal.of(kind) if plan["seq"] > last] for kind in ("incumbent_plan", "final_plan")
    )
    if comparing and study.config.incumbent.recipe != "none":
        return f"The comparison with {comparing[-1]['incumbent']} has not ended."
    if testing or study.finished:
        return "Nothing is named that is used today (incumbent.recipe)."
    return "The search has not ended."


def _not_on_test(study: Study) -> str:
    """Why test says nothing of the winner and what is used today."""
    if other_winner(study):
        return "on test it was not scored"
    progress = final_progress(study)
    if progress is not None and not progress.complete:
        return f"test is being scored ({progress}), and says nothing before all of it is"
    pending = progress is None and study.config.final.enabled
    return f"on test they were not compared{' yet' if pending else ''}"


def _caveats(study: Study, dev: Gain | None, test: Gain | None) -> list[str]:
    said: list[str] = []
    said += filter(None, (went_on(study), other_winner(study)))
    for gain in (dev, test):
        if gain is not None and gain.seeds < 2 and gain.significant is not None:
            said.append(
                f"On {gain.split} one training seed was used: the interval says what other items would show, not what other "
                "trainings would."
            )
    if len(touches_of_test(study)) > 1:
        said.append(f"Test was touched {len(touches_of_test(study))} times.")
    said += [each.sentence() for each in agreements(study) if each.warns]
    failed = sum(1 for trial in study.all_trials() if trial.failure)
    if failed:
        said.append(f"{failed} evaluation(s) failed.")
    return said


def gain_sheet(gains: tuple[Gain, ...]) -> Sheet:
    """Every comparison as a table."""
    rows = [
        (
            gain.winner,
            gain.against + (" (today)" if gain.today else ""),
            gain.split,
            f"{gain.estimate:+.4f}",
            f"{gain.low:+.4f} to {gain.high:+.4f}",
            gain.held,
            str(gain.seeds),
            "" if gain.p is None else p_text(gain.p),
            gain.finding,
        )
        for gain in gains
    ]
    headings = ("winner", "against", "on", "difference", "95% interval", "over", "seeds", "p", "the winner is")
    return Sheet.of("The winner against today's data and the baselines", headings, rows)
