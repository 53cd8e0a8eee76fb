"""The outcome of a comparison: runs, methods, and the differences between what they chose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autoselection.evaluation import EvaluationResult
from autoselection.statistics import BaselineComparison, compare_all
from autoselection.tasks import sign_of

REFERENCE = "random"
SEARCHES, ITEMS = "searches and items", "items"
DRAWS = 2000
"""Bootstrap resamples of the items where a method has one search only."""

Items = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Run:
    """One method with one seed.

    Attributes:
        method: its name.
        seed: of the method.
        curve: dev score of its incumbent after each evaluation; NaN before it has one.
        incumbent: hash of the subset that it would pick at the end; None if every evaluation failed.
        rows: number of rows of that.
        evaluations: evaluations paid for.
        failed: of these, the ones that failed.
        seconds: of the method itself, without evaluations (s; after a restart those of the replay).
        test: mean test score of the incumbent over the test seeds; None if it was not scored.
        test_tasks: the same by task.
    """

    method: str
    seed: int
    curve: tuple[float, ...]
    incumbent: str | None
    rows: int
    evaluations: int
    failed: int
    seconds: float
    test: float | None = None
    test_tasks: Mapping[str, float] = field(default_factory=dict)

    @property
    def best_dev(self) -> float:
        """Dev score of the incumbent at the end (the best of several noisy ones: biased upward)."""
        return self.curve[-1]


@dataclass(frozen=True)
class Difference:
    """A method's test score minus the reference's, mean over searches and items, items paired, tasks by their
    weights.

    *Alone* is this method by itself; *together* holds for all methods of the comparison at once.

    Attributes:
        low, high: 95% interval, alone.
        items: paired items.
        over: what the interval and p-values allow to vary: searches and items, or, where both methods made one search
            only, items (other searches may show something else). One search is taken to vary as the other method's do.
        searches: scored searches of the method with fewer.
        p: of no difference, alone.
        together: 95% interval, together with the other methods.
        p_together: the same of the p-value.
        detectable: the true difference that is found, alone, with 80% power; None where that cannot be said.
    """

    value: float
    low: float
    high: float
    items: int
    over: str
    searches: int
    p: float
    together: tuple[float, float]
    p_together: float
    detectable: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "value": self.value,
            "ci95": [self.low, self.high],
            "items": self.items,
            "over": self.over,
            "searches": self.searches,
            "p": self.p,
            "ci95_together": list(self.together),
            "p_together": self.p_together,
            "detectable": self.detectable,
        }


@dataclass(frozen=True)
class Standings:
    """One method over its seeds.

    Attributes:
        method: its name.
        runs: one a seed.
        curve: mean dev score of the incumbents after each evaluation (of the runs that have one).
        evaluations_to_reference: first evaluation after which the curve is at the reference's last value; None if never.
        test: mean test score over the seeds that have one; None if none has.
        difference: on test, minus the reference; None where there is nothing to compare.
    """

    method: str
    runs: tuple[Run, ...]
    curve: tuple[float, ...]
    evaluations_to_reference: int | None
    test: float | None
    difference: Difference | None

    @property
    def best_dev(self) -> float:
        """Mean dev score of the incumbents at the end."""
        return self.curve[-1]

    def to_dict(self) -> dict[str, Any]:
        """Plain data; NaN becomes None."""
        return {
            "method": self.method,
            "best_dev": _plain(self.best_dev),
            "curve": [_plain(value) for value in self.curve],
            "evaluations_to_reference": self.evaluations_to_reference,
            "test": self.test,
            "test_minus_reference": self.difference.to_dict() if self.difference else None,
            "failed": sum(run.failed for run in self.runs),
            "runs": [
                {**vars(run), "curve": [_plain(value) for value in run.curve], "test_tasks": dict(run.test_tasks)}
                for run in self.runs
            ],
        }


@dataclass(frozen=True)
class Comparison:
    """Methods under one budget, the best mean dev score first.

    Attributes:
        reference: the method that others are compared with: ``random`` if it took part, else the first named.
        evaluations: evaluations made by this call; those of earlier calls and of other methods cost nothing.
        arithmetics: kinds of device and number that evaluations were made with; of several it warns.
        remarks: what the evaluations remarked (many rows dropped or cut, answers that ended at the limit).
    """

    name: str
    budget: int
    reference: str
    methods: tuple[Standings, ...]
    evaluations: int
    arithmetics: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "budget": self.budget,
            "reference": self.reference,
            "evaluations_made": self.evaluations,
            "arithmetics": list(self.arithmetics),
            "remarks": list(self.remarks),
            "methods": [method.to_dict() for method in self.methods],
        }


def compare_runs(
    name: str,
    budget: int,
    runs: Sequence[Run],
    items: Mapping[str, Items],
    evaluations: int,
    arithmetics: Sequence[str] = (),
    remarks: Sequence[str] = (),
    factors: Mapping[str, float] | None = None,
) -> Comparison:
    """Put runs together.

    Args:
        runs: of every method with the same seeds.
        items: score of every test item by task, of each incumbent that was scored on test, by subset hash.
        evaluations: made by this call.
        arithmetics, remarks: see :class:`Comparison`.
        factors: of the tasks that count, see :func:`autoselection.tasks.factors`.
    """
    by_method: dict[str, list[Run]] = {}
    for run in runs:
        by_method.setdefault(run.method, []).append(run)
    reference = REFERENCE if REFERENCE in by_method else runs[0].method
    curves = {method: _mean_curve([run.curve for run in mine]) for method, mine in by_method.items()}
    target = curves[reference][-1]
    differences = _differences(by_method, reference, items, factors)
    found = []
    for method, mine in by_method.items():
        scored = [run.test for run in mine if run.test is not None]
        found.append(
            Standings(
                method,
                tuple(mine),
                curves[method],
                first_at(curves[method], target),
                float(np.mean(scored)) if scored else None,
                differences.get(method),
            )
        )
    found.sort(key=lambda item: -math.inf if math.isnan(item.best_dev) else item.best_dev, reverse=True)
    return Comparison(name, budget, reference, tuple(found), evaluations, tuple(arithmetics), tuple(remarks))


def first_at(curve: Sequence[float], target: float) -> int | None:
    """First evaluation (from 1) after which a curve is at a target; None if it never is."""
    reached = np.flatnonzero(np.asarray(curve, np.float64) >= target)
    return int(reached[0]) + 1 if len(reached) else None


def _mean_curve(curves: Sequence[Sequence[float]]) -> tuple[float, ...]:
    values = np.array(curves, np.float64)
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    sums = np.where(known, values, 0.0).sum(axis=0)
    return tuple(float(s) / int(c) if c else math.nan for s, c in zip(sums, counts, strict=True))


def item_scores(results: Sequence[EvaluationResult], metrics: Mapping[str, str]) -> Items | None:
    """Score of every item by task, mean over evaluations of one subset (higher is better, as in the search).

    Args:
        metrics: what each task is scored by.

    Returns:
        None if an evaluation holds no item scores of a task (those of earlier versions in ``nll_per_byte`` do not).
    """
    scores: dict[str, dict[str, float]] = {}
    for task, metric in metrics.items():
        by_item: dict[str, list[float]] = {}
        for result in results:
            items = result.items.get(task, {})
            if metric not in items:
                return None
            for key, value in zip(items["ids"], items[metric], strict=True):
                by_item.setdefault(str(key), []).append(sign_of(metric) * value)
        scores[task] = {key: float(np.mean(values)) for key, values in by_item.items()}
    return scores


def _differences(
    by_method: Mapping[str, Sequence[Run]],
    reference: str,
    items: Mapping[str, Items],
    factors: Mapping[str, float] | None,
) -> dict[str, Difference]:
    """Every method against the reference. Searches are no pairs: those of one seed have only the number in common."""
    scored = {
        method: [found for run in runs if (found := items.get(run.incumbent or "")) is not None]
        for method, runs in by_method.items()
    }
    scored = {method: found for method, found in scored.items() if found}
    if reference not in scored or len(scored) < 2:
        return {}
    every = [found for searches in scored.values() for found in searches]
    ids = {task: sorted(set.intersection(*(set(found[task]) for found in every))) for task in sorted(every[0])}
    tables = {
        method: {
            task: np.array([[found[task][key] for key in keys] for found in searches], np.float64)
            for task, keys in ids.items()
        }
        for method, searches in scored.items()
    }
    pairs = {method: (tables[reference], table) for method, table in tables.items() if method != reference}
    compared = compare_all(reference, pairs, draws=DRAWS, units="searches", independent=set(pairs), factors=factors)
    counted = sum(len(keys) for task, keys in ids.items() if factors is None or task in factors)
    return {found.baseline: _turned(found, counted) for found in compared}


def _turned(found: BaselineComparison, items: int) -> Difference:
    """The method minus the reference, of the reference minus the method."""
    high, low = (-end for end in found.interval)
    above, below = (-end for end in found.interval_all or found.interval)
    return Difference(
        -found.difference.estimate,
        low,
        high,
        items,
        ITEMS if found.interval_seeds is None else SEARCHES,
        found.seeds,
        found.p,
        (below, above),
        found.p_adjusted,
        found.detectable,
    )


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
