"""One row against several others: differences, intervals and p-values alone and all together, and what they say."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from autoselection.statistics.bootstrap import Floats, Interval, bootstrap_interval, checked
from autoselection.statistics.correlation import difference_correlation
from autoselection.statistics.crossed import (
    UNKNOWN,
    Error,
    independent_parts,
    row_variances,
    seed_scores,
    table_parts,
)
from autoselection.statistics.family import consistent, in_sequence, null_p_values, single_level, step_down
from autoselection.statistics.noise import SeedNoise, difference_error
from autoselection.statistics.paired import mcnemar, sign_flip_test
from autoselection.statistics.power import POWER, Spread, detectable_difference

NamedTable = Mapping[str, Floats]

Units = Literal["training seeds", "replicates", "searches"]
"""What the rows of a table may be."""
_ONE: Mapping[Units, str] = {"training seeds": "training", "replicates": "replicate", "searches": "search"}


@dataclass(frozen=True)
class BaselineComparison:
    """The winner against one baseline on the same items.

    *Alone* is this comparison by itself; *together* are figures that hold for all comparisons of the family at once. Interval
    and p-value may come of two methods; each interval is shown as its p-value says: it holds zero, or ends there at the latest
    (:func:`~autoselection.statistics.family.consistent`).

    Attributes:
        difference: winner minus baseline, mean over tasks, with its bootstrap interval over items (mean over seeds), alone: as
            ``p_items`` says.
        interval_seeds: interval with seeds and items as samples, ``difference ± t · standard error``, alone, as ``p`` says; None
            where neither row has several seeds. (Resampling two or three seeds would give a far too narrow one.)
        tasks: the difference of each task.
        seeds: training seeds (or replicates, or searches) of the row that has fewer.
        test: ``mcnemar`` (exact; right or wrong items, tasks of one size, one seed) or ``permutation``.
        p_items: p-value over items, for these trainings, alone.
        p_seeds: p-value with seeds and items as samples, alone; None where neither row has several seeds. Where seeds are no
            pairs, a row of one seed is taken to vary as the other one does, see
            :func:`~autoselection.statistics.independent_test`.
        p: the larger of the two: both have to hold. Alone.
        p_adjusted: ``p`` for all comparisons together: never below ``p``.
        significant: ``p_adjusted <= 1 - level``.
        verdict: one sentence.
        interval_all: interval that holds together with those of all other comparisons, those named first too; it leaves
            zero out where ``significant``, and holds it where not. None in results of earlier versions.
        family: comparisons that were corrected for (the same comparison under two names counts once); 1: none but this.
        gate: a comparison that was to be significant first, and is not or could not be made; so this one is not claimed. None:
            there is none.
        p_family: ``p`` corrected for the comparisons of the family alone, whatever a gate says: to read, not to claim.
        same_as: a baseline listed before with the very same scores.
        detectable: the true difference that this comparison alone finds with 80% power; None where that cannot be said, as
            scores vary over nothing, or every task has one item and there is one seed.
        spread: what the difference varies by, to plan with; None where ``p_seeds`` is.
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
    interval_all: tuple[float, float] | None = None
    family: int = 1
    gate: str | None = None
    p_family: float | None = None
    same_as: str | None = None
    detectable: float | None = None
    spread: Spread | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """Interval alone: over seeds and items where there are several seeds, else over items."""
        return self.interval_seeds or (self.difference.low, self.difference.high)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Alone:
    """One comparison by itself."""

    difference: Interval
    error: Error
    over_seeds: bool
    seeds: int
    freedom: float  # of the tables' seeds; infinite where neither row has several
    test: str
    p_items: float
    p_seeds: float | None
    spread: Spread | None

    @property
    def lent(self) -> bool:
        """One row has a single seed, and is taken to vary as the other one."""
        return self.over_seeds and self.seeds == 1 and math.isfinite(self.freedom)

    @property
    def p(self) -> float:
        return self.p_items if self.p_seeds is None else max(self.p_items, self.p_seeds)

    def detectable(self, level: float) -> float | None:
        """What it finds with 80% power; None where its error is unknown or zero, which says nothing of other scores."""
        if not self.error.error > 0:
            return None
        return detectable_difference(self.error.error, self.error.freedom, level=level)

    def interval(self, level: float) -> tuple[float, float]:
        """Student's, over what the comparison has several of; over items, as shown, where it has several of nothing."""
        if not self.error.known:
            return self.difference.low, self.difference.high
        reach = self.error.reach(level)
        return self.difference.estimate - reach, self.difference.estimate + reach

    def interval_seeds(self, level: float) -> tuple[float, float] | None:
        """The same as the p-value says, over seeds and items; None with one seed."""
        if not self.over_seeds:
            return None
        return consistent(self.interval(level), self.difference.estimate, significant=self.p <= 1 - level)


@dataclass(frozen=True)
class _Together:
    """What a comparison comes to beside the others."""

    p_adjusted: float
    p_family: float
    interval: tuple[float, float]
    family: int
    gate: str | None
    items_alone: bool
    comparisons: int
    gate_made: bool


def compare_all(
    winner: str,
    pairs: Mapping[str, tuple[NamedTable, NamedTable]],
    *,
    level: float = 0.95,
    draws: int = 4000,
    seed: int = 0,
    units: Units = "training seeds",
    independent: Collection[str] = (),
    noise: SeedNoise | None = None,
    overlap: Mapping[str, float] | None = None,
    first: Sequence[str] = (),
    factors: Mapping[str, float] | None = None,
) -> list[BaselineComparison]:
    """Compare the winner with every baseline.

    Comparisons named ``first`` are made one after the other, each at the full level, as long as they are significant
    (a sequence fixed before needs no correction). All others wait for them, and are corrected for each other by
    :func:`~autoselection.statistics.family.step_down`. A baseline with the scores of another one is the same comparison
    and counts once.

    Args:
        winner: its name.
        pairs: by baseline, the tables of the winner and of the baseline, per task (seeds, items), column for column the
            same items, and row for row the same seeds.
        units: what the rows of a table are: ``training seeds``, ``replicates``, ``searches``.
        independent: baselines whose seeds are no pairs of the winner's, see
            :func:`~autoselection.statistics.independent_test`; they may have other numbers of them. Where one of the two has a
            single one, it is taken to vary as the other does: items alone decide only where both have one, or where the
            several do not differ.
        noise: chance in training if more is known of it than these tables hold, see
            :func:`~autoselection.statistics.difference_error`.
        overlap: by baseline, correlation of its chance with the winner's at the same seed (0 for others); only with
            ``noise``, as tables of several seeds hold it themselves.
        first: baselines named before, in their order; one without a pair holds up all behind it, since it is not significant.
        factors: of the tasks that count, see :func:`autoselection.tasks.factors`; a task that is not there is no part of
            the difference, and stands among ``tasks`` alone. None: all count alike.

    Raises:
        ValueError: two tables do not have the same tasks, seeds (where these are pairs) and items.
    """
    known = {name: _task_differences(*tables) for name, tables in pairs.items()}
    pairs = {name: (_weighed(ours, factors), _weighed(theirs, factors)) for name, (ours, theirs) in pairs.items()}
    alone = {
        name: _alone(
            *tables,
            name in independent,
            noise=noise,
            overlap=(overlap or {}).get(name, 0.0),
            level=level,
            draws=draws,
            seed=seed,
        )
        for name, tables in pairs.items()
    }
    same = _same_scores(pairs, [name for name in first if name in pairs])
    together = _together(alone, pairs, same, first, independent, level=level, seed=seed)
    comparisons = []
    for name, found in alone.items():
        beside = together[same.get(name, name)]
        significant = beside.p_adjusted <= 1 - level
        comparisons.append(
            BaselineComparison(
                name,
                found.difference,
                found.interval_seeds(level),
                known[name],
                found.seeds,
                found.test,
                found.p_items,
                found.p_seeds,
                found.p,
                beside.p_adjusted,
                significant,
                _verdict(winner, name, found, beside, same.get(name), level, units),
                beside.interval,
                beside.family,
                beside.gate,
                beside.p_family,
                same.get(name),
                found.detectable(level),
                found.spread,
            )
        )
    return comparisons


def _task_differences(winner: NamedTable, baseline: NamedTable) -> dict[str, float]:
    """Winner minus baseline by task."""
    if list(winner) != list(baseline):
        raise ValueError("A comparison needs two tables of the same tasks.")
    return {
        name: float(np.mean(winner[name].mean(axis=0) - baseline[name].mean(axis=0)))
        for name in winner
        if winner[name].shape[1:] == baseline[name].shape[1:]
    }


def _weighed(table: NamedTable, factors: Mapping[str, float] | None) -> NamedTable:
    if factors is None:
        return table
    return {name: array * factors[name] for name, array in table.items() if name in factors}


def _alone(
    winner: NamedTable,
    baseline: NamedTable,
    independent: bool,
    *,
    noise: SeedNoise | None,
    overlap: float,
    level: float,
    draws: int,
    seed: int,
) -> _Alone:
    ours, theirs = checked(list(winner.values())), checked(list(baseline.values()))
    unlike = [a.shape[independent:] != b.shape[independent:] for a, b in zip(ours, theirs, strict=True)]
    if any(unlike):
        raise ValueError("A comparison needs two tables of the same seeds and items.")
    by_item = [(one.mean(axis=0) - other.mean(axis=0))[None] for one, other in zip(ours, theirs, strict=True)]
    seeds = min(len(ours[0]), len(theirs[0]))
    binary = all(np.isin(array, (0.0, 1.0)).all() for array in (*ours, *theirs))
    once = len(ours[0]) == len(theirs[0]) == 1
    exact = binary and once and len({array.shape[1] for array in ours}) == 1
    p_items = (
        mcnemar(np.concatenate(ours, axis=1), np.concatenate(theirs, axis=1))
        if exact
        else sign_flip_test(by_item, seed=seed)
    )
    over_items = bootstrap_interval(by_item, level=level, draws=draws, seed=seed)
    low, high = consistent((over_items.low, over_items.high), over_items.estimate, significant=p_items <= 1 - level)
    error, spread, freedom = _error(ours, theirs, independent, noise, overlap)
    known = error.known
    return _Alone(
        replace(over_items, low=low, high=high),
        error if known else table_parts(by_item).error(),
        known,
        seeds,
        freedom,
        "mcnemar" if exact else "permutation",
        p_items,
        error.p(over_items.estimate) if known else None,
        spread,
    )


def _error(
    ours: Sequence[Floats], theirs: Sequence[Floats], independent: bool, noise: SeedNoise | None, overlap: float
) -> tuple[Error, Spread | None, float]:
    """Error over seeds and items (unknown with one seed), what it is made of, and the seeds' fewest degrees of freedom."""
    each: tuple[float, ...] | None
    counts: tuple[int, ...]
    if independent:
        parts, counts = independent_parts(ours, theirs), (len(ours[0]), len(theirs[0]))
        each = row_variances(seed_scores(ours), seed_scores(theirs))
    else:
        differences = [one - other for one, other in zip(ours, theirs, strict=True)]
        parts, counts = table_parts(differences), (len(ours[0]),)
        each = tuple(variance for variance, _ in parts.seeds)
    freedom = min((free for _, free in parts.seeds), default=math.inf)
    if noise is not None and noise.known and not independent:
        own = noise.variance * (1 - overlap)
        return difference_error(differences, noise, overlap=overlap), Spread((own, own), parts.of_items), freedom
    if not each or not parts.items:
        return UNKNOWN, None, freedom
    variances = tuple(variance * count for variance, count in zip(each, counts, strict=True))
    return parts.error(), Spread(variances, parts.of_items), freedom


def _same_scores(pairs: Mapping[str, tuple[NamedTable, NamedTable]], first: Sequence[str]) -> dict[str, str]:
    """Baselines with the tables of one listed before them, by name: that one's name. Those tested first come first."""
    known: dict[bytes, str] = {}
    same = {}
    for name in (*first, *(name for name in pairs if name not in first)):
        key = b"".join(
            np.ascontiguousarray(array, np.float64).tobytes() for table in pairs[name] for array in table.values()
        )
        if key in known:
            same[name] = known[key]
        else:
            known[key] = name
    return same


def _together(
    alone: Mapping[str, _Alone],
    pairs: Mapping[str, tuple[NamedTable, NamedTable]],
    same: Mapping[str, str],
    first: Sequence[str],
    independent: Collection[str],
    *,
    level: float,
    seed: int,
) -> dict[str, _Together]:
    named = [name for name in first if name in alone and name not in same]
    absent = next((name for name in first if name not in alone), None)
    made = len(named) if absent is None else sum(name in named for name in first[: first.index(absent)])
    others = [name for name in alone if name not in same and name not in named]
    every = [*named, *others]
    if not every:
        return {}
    # Bytes of two tables may differ while one has other seeds: each pair brings its own of the shared row.
    tables = [tuple(list(table.values()) for table in pairs[name]) for name in every]
    paired = [name not in independent for name in every]
    correlation = difference_correlation([ours for ours, _ in tables], [theirs for _, theirs in tables], paired=paired)
    freedom = min((alone[name].freedom for name in every if alone[name].over_seeds), default=math.inf)
    null = null_p_values(correlation, freedom, seed=seed)
    each = single_level(null, level)
    among = null[:, len(named) :]
    in_family = step_down([alone[name].p for name in others], among) if others else []
    by_items = step_down([alone[name].p_items for name in others], among) if others else []
    in_order = in_sequence([alone[name].p if place < made else 1.0 for place, name in enumerate(named)])
    reached = 1.0 if absent is not None else in_order[-1] if named else 0.0
    adjusted = [*in_order, *(max(p, reached) for p in in_family)]
    families = [*(alone[name].p for name in named), *in_family]
    items = [*(alone[name].p_items for name in named), *by_items]
    found: dict[str, _Together] = {}
    gate = None
    for place, name in enumerate(every):
        if place == made and gate is None:
            gate = absent
        own = alone[name]
        bounds = own.interval(each) if own.over_seeds or len(every) > 1 else (own.difference.low, own.difference.high)
        bounds = consistent(bounds, own.difference.estimate, significant=adjusted[place] <= 1 - level)
        family = 1 if place < len(named) else len(others)
        found[name] = _Together(
            adjusted[place], families[place], bounds, family, gate, items[place] <= 1 - level, len(every), gate in alone
        )
        if place < len(named) and gate is None and adjusted[place] > 1 - level:
            gate = name
    return found


def _verdict(
    winner: str, baseline: str, found: _Alone, beside: _Together, same_as: str | None, level: float, units: Units
) -> str:
    interval = found.difference
    low, high = found.interval_seeds(level) or (interval.low, interval.high)
    over = f"{units} and items" if found.over_seeds else "items"
    corrected = beside.family > 1 or beside.gate is not None
    figures = f"{interval.estimate:+.4f}, {interval.level:.0%} interval {low:+.4f} to {high:+.4f} over {over}, {p_text(found.p)}"
    if corrected:
        figures += " alone"
        if beside.family > 1:
            figures += (
                f"; with all {beside.comparisons} comparisons {beside.interval[0]:+.4f} to {beside.interval[1]:+.4f}"
            )
        if beside.gate is None:
            figures += f", {p_text(beside.p_adjusted)}"
    notes = f" It has the very scores of {same_as}, and counts once." if same_as is not None else ""
    if found.lent:
        notes += f" The row of one {_ONE[units]} is taken to vary as the other one does."
    if beside.p_adjusted <= 1 - level:
        word = "better" if interval.estimate > 0 else "worse"
        return f"{winner} is {word} than {baseline} ({figures}).{notes}"
    sentence = f"No significant difference between {winner} and {baseline} ({figures})."
    if beside.gate is not None:
        others = f" (among the others, {p_text(beside.p_family)})" if beside.family > 1 else ""
        why = "is not significant" if beside.gate_made else "could not be made (it has no scores)"
        sentence += f" None is claimed, as the comparison named before it, with {beside.gate}, {why}{others}."
    else:
        detectable = found.detectable(level)
        if detectable is not None:
            sentence += f" A difference of {detectable:.4f} is found by this comparison alone with {POWER:.0%} power."
        if beside.items_alone and found.over_seeds:
            few = f"{found.seeds} {units} are too few, or differ too much,"
            few = few if found.seeds > 1 else f"one {_ONE[units]} is too few"
            sentence += f" The items alone would show one, for these trainings; {few} to say it of others."
    return sentence + notes


def p_text(p: float) -> str:
    """A p-value for people."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def p_cell(p: float) -> str:
    """The same in the cell of a table, whose heading names it."""
    return p_text(p).removeprefix("p ").removeprefix("= ")
