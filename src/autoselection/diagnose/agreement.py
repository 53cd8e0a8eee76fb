"""Does the search metric mean what the user wants: how it ranks a study's recipes beside right answers, task by task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from autoselection.diagnose.correlation import MIN_TRIALS, Array
from autoselection.statistics import RankAgreement, Reliability, rank_agreement, reliability
from autoselection.study import Study, Trial
from autoselection.tasks import Knowledge, TaskConfig, factors, knowledge, weighed

Verdict = Literal["agrees", "opposes", "weak", "unknown"]

COUNTED = ("accuracy", "exact_match")
"""Metrics that count right answers."""

STAND_IN = "greedy_match"
"""Gold answers that greedy decoding would write; it stands in where neither of :data:`COUNTED` is known."""

WEAK = 0.5
"""A search metric whose correlation with right answers is surely below this, chance in items taken off, tells little of them."""

ALL_TASKS = "all tasks"


@dataclass(frozen=True)
class Agreement:
    """How the search metric of a task and a measure of right answers rank the same trials.

    Attributes:
        task: its name, or :data:`ALL_TASKS`.
        metric: what the search maximises.
        right: the measure of right answers.
        counts: whether the task counts in the score; a guard does not.
        trials: of which both are known.
        correlation: over the trials; None if there is none, see ``reason``.
        reliability: how far the trials' right answers differ by more than chance in items; None if unknown.
        knowledge: the most accurate trial beside guessing; None where there are no options.
        verdict: ``agrees``, ``opposes``, ``weak`` (surely below :data:`WEAK`), or ``unknown``.
        reason: why it is unknown.
    """

    task: str
    metric: str
    right: str
    counts: bool
    trials: int
    correlation: RankAgreement | None
    reliability: Reliability | None
    knowledge: Knowledge | None
    verdict: Verdict
    reason: str = ""

    @property
    def corrected(self) -> float | None:
        """The correlation with chance in the items of the right answers taken off (Spearman 1904); None if unknown."""
        if self.correlation is None or self.reliability is None or self.reliability.value <= 0.0:
            return None
        return float(np.clip(self.correlation.value / np.sqrt(self.reliability.value), -1.0, 1.0))

    @property
    def warns(self) -> bool:
        """Whether a search for this metric is shown to be no search for right answers."""
        return self.counts and self.verdict in ("opposes", "weak")

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        known = self.knowledge
        return {
            **asdict(self),
            "knowledge": None if known is None else {**asdict(known), "at_chance": known.at_chance},
            "corrected": self.corrected,
            "sentence": self.sentence(),
        }

    def sentence(self) -> str:
        """For people."""
        where = self.task if self.task == ALL_TASKS else f"'{self.task}'"
        if self.verdict == "unknown":
            return (
                f"Whether {self.metric} ranks recipes on {where} as {self.right} does cannot be told from {self.trials} "
                f"trials: {self.reason}."
            )
        assert self.correlation is not None
        said = {
            "agrees": f"on {where} {self.metric} ranks recipes as {self.right} does",
            "opposes": f"on {where} {self.metric} ranks recipes against {self.right}: what the search takes for better gets fewer "
            "answers right",
            "weak": f"on {where} {self.metric} says little about {self.right}: which recipe is better in one hardly tells which is "
            "in the other",
        }[self.verdict]
        return f"{said[0].upper()}{said[1:]} ({_figures(self.correlation)}).{self._shrinkage()}"

    def _shrinkage(self) -> str:
        """How much smaller chance makes the correlation look, where that is much."""
        if self.reliability is None or self.corrected is None or self.reliability.value >= 0.9:
            return ""
        return (
            f" {1.0 - self.reliability.value:.0%} of the differences in {self.right} between trials is chance in which items were "
            f"asked, which makes the correlation look smaller: about {self.corrected:+.2f} without."
        )

    def chance_sentence(self) -> str:
        """What to know where no trial knows more than guessing; else empty."""
        if self.knowledge is None or not self.knowledge.at_chance or self.trials == 0:
            return ""
        return (
            f"On '{self.task}' no trial is above chance: the most accurate of {self.trials} has {self.knowledge.told()}. Which "
            f"trial gets more answers right there is luck; a better {self.metric} means that gold answers look more familiar, not "
            "that the model knows them."
        )


def _figures(found: RankAgreement) -> str:
    return (
        f"rank correlation {found.value:+.2f}, 95% interval {found.low:+.2f} to {found.high:+.2f}, {found.pairs} trials"
    )


def agreements(study: Study) -> tuple[Agreement, ...]:
    """Every task's search metric beside every measure of right answers that its trials have, and the score beside their mean.

    Full trainings only, each subset with the mean of its trainings. A metric is not compared with itself.
    """
    return agreements_of(study.config.tasks, study.subsets())


def agreements_of(tasks: Sequence[TaskConfig], subsets: Sequence[Trial]) -> tuple[Agreement, ...]:
    """The same over subsets, each with the results of its full trainings; those without a score are left out."""
    trials = [trial for trial in subsets if trial.score is not None]
    if not trials:
        return ()
    found = [_of_task(task, right, trials) for task in tasks for right in measures(task, trials)]
    return (*found, *_of_all(tasks, trials))


def measures(task: TaskConfig, trials: Sequence[Trial]) -> tuple[str, ...]:
    """What trials tell of right answers on a task, besides its own metric.

    Empty where there is none, and where the task's metric, which counts right answers, is the only one.
    """
    told = [name for name in COUNTED if name == task.metric or _tells(trials, task.name, name)]
    if not told and _tells(trials, task.name, STAND_IN):
        return (STAND_IN,)
    return tuple(name for name in told if name != task.metric)


def _tells(trials: Sequence[Trial], task: str, name: str) -> bool:
    return bool(np.isfinite(_values(trials, task, name)).any())


def _of_task(task: TaskConfig, right: str, trials: Sequence[Trial]) -> Agreement:
    x = np.array([trial.tasks.get(task.name, np.nan) for trial in trials], np.float64)
    y = _values(trials, task.name, right)
    kept = np.isfinite(x) & np.isfinite(y)
    known = [trial for trial, keep in zip(trials, kept, strict=True) if keep]
    table = _table(known, task.name, right)
    return _judged(
        (task.name, task.metric, right, task.weight > 0),
        x[kept],
        y[kept],
        None if table is None else reliability(table),
        _knowledge(task.name, known) if right == "accuracy" else None,
    )


def _of_all(tasks: Sequence[TaskConfig], trials: Sequence[Trial]) -> list[Agreement]:
    """The score beside the weighted mean of right answers, where several tasks count and all of them tell any."""
    by = factors(tasks)
    counted = [task for task in tasks if task.name in by]
    if len(counted) < 2 or all(task.metric in COUNTED for task in counted):
        return []
    rights = {task.name: _right_answers(task, trials) for task in counted}
    values = {name: _values(trials, name, right) for name, right in rights.items() if right is not None}
    if len(values) < len(counted):
        return []
    y = np.mean(list(weighed(values, by).values()), axis=0)
    x = np.array([trial.score for trial in trials], np.float64)
    kept = np.isfinite(y)
    return [_judged((ALL_TASKS, "the score", "the share of right answers", True), x[kept], y[kept], None, None)]


def _right_answers(task: TaskConfig, trials: Sequence[Trial]) -> str | None:
    """What counts a task's right answers: its own metric if that does, else the first measure of them; None if none does."""
    return task.metric if task.metric in COUNTED else next(iter(measures(task, trials)), None)


def _judged(
    named: tuple[str, str, str, bool], x: Array, y: Array, certain: Reliability | None, known: Knowledge | None
) -> Agreement:
    correlation = rank_agreement(x, y)
    verdict, reason = _verdict(len(x), correlation, certain, known, named[2])
    return Agreement(*named, len(x), correlation, certain, known, verdict, reason)


def _verdict(
    trials: int, found: RankAgreement | None, certain: Reliability | None, known: Knowledge | None, right: str
) -> tuple[Verdict, str]:
    """What may be said, and why no more."""
    if trials < MIN_TRIALS:
        return "unknown", f"at least {MIN_TRIALS} are needed"
    if found is None:
        return "unknown", f"one of both is the same in all of them (usually {right}, of which all or none is right)"
    if known is not None and known.at_chance:
        return "unknown", f"none is above chance ({known.told()}), so their {right} differs by luck"
    if certain is not None and certain.p > 0.05:
        return "unknown", f"their {right} differs by no more than other items would make it differ"
    if found.low > 0:
        return "agrees", ""
    if found.high < 0:
        return "opposes", ""
    if found.high < WEAK * np.sqrt(1.0 if certain is None else certain.value):
        return "weak", ""
    return "unknown", f"the interval is too wide ({_figures(found)})"


def _values(trials: Sequence[Trial], task: str, name: str) -> Array:
    """A metric of each trial, the mean over its trainings; NaN if one lacks it, as those of earlier versions may."""
    rows = [[result.metrics.get(task, {}).get(name, np.nan) for result in trial.results.values()] for trial in trials]
    return np.array([np.mean(row) if row else np.nan for row in rows], np.float64)


def _table(trials: Sequence[Trial], task: str, name: str) -> Array | None:
    """Items' values, float64[trials, items]; None if some were not kept, or are of other items."""
    rows, ids = [], None
    for trial in trials:
        items = [result.items.get(task, {}) for result in trial.results.values()]
        if not items or any(name not in found for found in items):
            return None
        if any(found["ids"] != (ids := ids or found["ids"]) for found in items):
            return None
        rows.append(np.mean([found[name] for found in items], axis=0))
    return np.array(rows, np.float64) if rows else None


def _knowledge(task: str, trials: Sequence[Trial]) -> Knowledge | None:
    """The most accurate trial beside guessing; None if that is not known."""
    guessing = _values(trials, task, "guessing")
    if not trials or not np.isfinite(guessing).all():
        return None
    accuracy = _values(trials, task, "accuracy")
    best = int(np.argmax(accuracy))
    items = int(next(iter(trials[best].results.values())).metrics[task]["items"])
    return knowledge(float(accuracy[best]), items, float(guessing[best]), models=len(trials))


def agreement_warnings(found: Sequence[Agreement]) -> list[str]:
    """What a reader of a study's result has to know: metrics that are shown not to go with right answers, and chance."""
    said = [f"{each.sentence()} See docs/metrics.md." for each in found if each.warns]
    return said + [sentence for each in found if each.counts and (sentence := each.chance_sentence())]
