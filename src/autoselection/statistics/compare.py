"""The winner against each baseline: difference, interval, p-values, and a sentence that says what they say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from autoselection.statistics.bootstrap import Floats, Interval, bootstrap_interval, checked
from autoselection.statistics.paired import crossed_test, holm, mcnemar, sign_flip_test

NamedTable = Mapping[str, Floats]


@dataclass(frozen=True)
class BaselineComparison:
    """The winner against one baseline on the same items.

    Attributes:
        difference: winner minus baseline, mean over tasks, with its bootstrap interval over items (mean over seeds).
        interval_seeds: interval with seeds and items as samples, ``difference ± t · standard error`` of
            :func:`~autoselection.statistics.crossed_test`; None with one seed. (Resampling two or three seeds would give
            a far too narrow one.)
        tasks: the difference of each task.
        seeds: training seeds both have (the pairs).
        test: ``mcnemar`` (exact; right or wrong items, tasks of one size, one seed) or ``permutation``.
        p_items: p-value over items, for these trainings.
        p_seeds: p-value with seeds and items as samples; None with one seed.
        p: the larger of the two: both have to hold.
        p_adjusted: ``p`` after Holm's correction for all baselines.
        significant: ``p_adjusted <= 1 - level``.
        verdict: one sentence.
    """

    baseline: str
    difference: Interval
    interval_seeds: tuple[float, float] | None
    tasks: Mapping[str, float]
    seeds: int
    test: str
    p_items: float
    p_seeds: float | None
    p: float
    p_adjusted: float
    significant: bool
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def compare_all(
    winner: str,
    pairs: Mapping[str, tuple[NamedTable, NamedTable]],
    *,
    level: float = 0.95,
    draws: int = 4000,
    seed: int = 0,
) -> list[BaselineComparison]:
    """Compare the winner with every baseline.

    Args:
        winner: its name.
        pairs: by baseline, the tables of the winner and of the baseline, per task (seeds, items), row for row the same
            seeds and column for column the same items.

    Raises:
        ValueError: two tables do not have the same tasks, seeds and items.
    """
    found = [_compare(*tables, level=level, draws=draws, seed=seed) for tables in pairs.values()]
    adjusted = holm([entry["p"] for entry in found])
    by_items = holm([entry["p_items"] for entry in found])
    comparisons = []
    for name, entry, p_adjusted, p_items in zip(pairs, found, adjusted, by_items, strict=True):
        significant = p_adjusted <= 1 - level
        verdict = _verdict(winner, name, entry, p_adjusted, significant, p_items <= 1 - level)
        comparisons.append(
            BaselineComparison(name, **entry, p_adjusted=p_adjusted, significant=significant, verdict=verdict)
        )
    return comparisons


def _compare(winner: NamedTable, baseline: NamedTable, *, level: float, draws: int, seed: int) -> dict[str, Any]:
    if list(winner) != list(baseline):
        raise ValueError("A comparison needs two tables of the same tasks.")
    ours, theirs = checked(list(winner.values())), checked(list(baseline.values()))
    if any(one.shape != other.shape for one, other in zip(ours, theirs, strict=True)):
        raise ValueError("A comparison needs two tables of the same seeds and items.")
    differences = [one - other for one, other in zip(ours, theirs, strict=True)]
    seeds = len(differences[0])
    binary = all(np.isin(array, (0.0, 1.0)).all() for array in (*ours, *theirs))
    exact = binary and seeds == 1 and len({array.shape[1] for array in ours}) == 1
    p_items = (
        mcnemar(np.concatenate(ours, axis=1), np.concatenate(theirs, axis=1))
        if exact
        else sign_flip_test(differences, seed=seed)
    )
    error, df, p_seeds = crossed_test(differences)
    known = not math.isnan(p_seeds)
    by_item = [array.mean(axis=0) for array in differences]
    over_items = bootstrap_interval(by_item, level=level, draws=draws, seed=seed)
    reach = error * float(student.ppf((1 + level) / 2, df)) if known and error > 0 else 0.0
    return {
        "difference": over_items,
        "interval_seeds": (over_items.estimate - reach, over_items.estimate + reach) if known else None,
        "tasks": {name: float(array.mean()) for name, array in zip(winner, differences, strict=True)},
        "seeds": seeds,
        "test": "mcnemar" if exact else "permutation",
        "p_items": p_items,
        "p_seeds": p_seeds if known else None,
        "p": max(p_items, p_seeds) if known else p_items,
    }


def _verdict(winner: str, baseline: str, entry: Mapping[str, Any], p: float, significant: bool, by_items: bool) -> str:
    interval: Interval = entry["difference"]
    low, high = entry["interval_seeds"] or (interval.low, interval.high)
    over = "items" if entry["interval_seeds"] is None else "seeds and items"
    figures = (
        f"{interval.estimate:+.4f}, {interval.level:.0%} interval {low:+.4f} to {high:+.4f} over {over}, "
        f"{p_text(p)} after Holm"
    )
    if significant:
        word = "better" if interval.estimate > 0 else "worse"
        return f"{winner} is {word} than {baseline} ({figures})."
    sentence = f"No significant difference between {winner} and {baseline} ({figures})."
    if by_items:
        sentence += (
            f" The items alone would show one, for these trainings; {entry['seeds']} training seeds are too few, or "
            "differ too much, to say it of others."
        )
    return sentence


def p_text(p: float) -> str:
    """A p-value for people."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
