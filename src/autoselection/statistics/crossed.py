"""Seeds *and* items as samples: standard errors, tests and intervals of scores and of differences of two rows.

A score is the mean over tasks of the mean over seeds and items. Both are drawn: other trainings (or searches) and other
items would give another score. With D_s the score of seed s, d_ti the mean over seeds of item i of task t, T tasks, S
seeds and n_t items, the variance of the mean is that over seeds, plus that over items, less the interaction, which both
hold (the quasi-t of two crossed random factors: Clark, J. Verbal Learning Verbal Behav. 12, 1973; Baayen, Davidson &
Bates 2008 for its place):

    V = var(D) / S + sum_t var(d_t) / (T² n_t) - sum_t MS_res,t / (T² S n_t)

never less than either of the first two terms. A few seeds leave the first term very uncertain, and many items the second
one not; so the estimate's error has the distribution of Behrens and Fisher, a sum of Student's t of each term's own
degrees of freedom. (Satterthwaite's degrees of freedom for the whole of V follow chance: where few seeds happen to be
alike, they are many, and small p-values come two to four times too often.) A percentile bootstrap over a handful of seeds
is too narrow: it takes 1.96 for Student's quantile and S for S - 1 (docs/statistics.md says how much).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoselection.statistics.bootstrap import Floats, Interval, Table, checked, table_score


@dataclass(frozen=True)
class Error:
    """Error of an estimate: the sum of two independent errors at most, each with its own degrees of freedom.

    Attributes:
        parts: variance (squared unit of the estimate) and degrees of freedom of each; none: the error is unknown.
    """

    parts: tuple[tuple[float, float], ...]

    @property
    def known(self) -> bool:
        """Whether there is anything to tell it from."""
        return bool(self.parts)

    @property
    def error(self) -> float:
        """Standard error; NaN where it is unknown."""
        return math.sqrt(sum(variance for variance, _ in self.parts)) if self.known else math.nan

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the standard error as a whole (Satterthwaite 1946): to plan with, not to test with."""
        squares = sum(variance**2 / free for variance, free in self.parts)
        return self.error**4 / squares if squares > 0 else math.inf if self.known else math.nan

    def p(self, estimate: float) -> float:
        """Two-sided p-value of the estimate's truth being zero; NaN where the error is unknown."""
        if not self.known:
            return math.nan
        if self.error == 0:
            return 1.0 if estimate == 0 else 0.0
        return min(1.0, 2 * _above(self._mixture(), abs(estimate)))

    def reach(self, level: float) -> float:
        """Half the width of the interval at ``level``; infinite where the error is unknown."""
        from scipy.optimize import brentq

        if not self.known:
            return math.inf
        if self.error == 0:
            return 0.0
        mixture, tail, high = self._mixture(), (1 - level) / 2, 2 * self.error
        while _above(mixture, high) > tail:
            high *= 2
        return float(brentq(lambda x: _above(mixture, x) - tail, 0.0, high, xtol=1e-7 * self.error))

    def _mixture(self) -> _Mixture:
        """The distribution as one Student's t whose scale is drawn.

        With a², b² the variances of the two parts and f, g their degrees of freedom,

            a t_f + b t_g  ~  t_(f+g) · sqrt((a² f / W + b² g / (1 - W)) / (f + g)),   W ~ Beta(f/2, g/2)

        (Ruben, J. R. Stat. Soc. B 22, 1960). The mean over W is the trapezoidal rule over its logit y: the integrand is
        smooth there, and falls off exponentially to both sides, so that the tail is right however narrow the part is that
        has the few degrees of freedom.
        """
        from scipy.special import polygamma

        parts = [(variance, min(free, _MANY)) for variance, free in self.parts if variance > 0]
        if len(parts) == 1:
            ((variance, free),) = parts
            return _Mixture(free, np.sqrt([variance]), np.ones(1))
        (one, f), (other, g) = parts
        deviation = math.sqrt(float(polygamma(1, f / 2) + polygamma(1, g / 2)))
        step, middle = min(0.25, deviation / 2), math.log(f / g)
        below, above = ((80 / free + 10 * deviation) // step for free in (f, g))
        y = middle + step * np.arange(-below, above + 1)
        logarithm = y * f / 2 - (f + g) / 2 * np.logaddexp(0, y)  # of the density of y, less a constant
        weights = np.exp(logarithm - logarithm.max())
        kept = weights > _NEGLIGIBLE
        y, weights = y[kept], weights[kept]
        variances = (one * f * (1 + np.exp(-y)) + other * g * (1 + np.exp(y))) / (f + g)
        return _Mixture(f + g, np.sqrt(variances), weights / weights.sum())


@dataclass(frozen=True)
class _Mixture:
    """Student's t of so many degrees of freedom, times a scale that is drawn.

    Attributes:
        freedom: degrees of freedom.
        scales: float64[K], in the unit of the estimate.
        weights: float64[K], their probabilities.
    """

    freedom: float
    scales: Floats
    weights: Floats


def _above(mixture: _Mixture, x: float) -> float:
    """Probability of more than ``x``."""
    from scipy.special import stdtr

    return float(mixture.weights @ stdtr(mixture.freedom, -x / mixture.scales))


#: More degrees of freedom than these make no difference.
_MANY = 1e8
#: Of the density's maximum: what is less adds nothing.
_NEGLIGIBLE = 1e-16

#: Nothing is known of the error.
UNKNOWN = Error(())


@dataclass(frozen=True)
class Parts:
    """What an estimate varies by.

    Attributes:
        seeds: variances of the estimate by seeds, each with its degrees of freedom.
        items: the same by items, one a task.
        shared: what both hold: the interaction of seeds and items.
    """

    seeds: Sequence[tuple[float, float]]
    items: Sequence[tuple[float, float]]
    shared: float

    @property
    def of_items(self) -> float:
        """Variance beside that by seeds, which more seeds would not lower: items, less what both hold."""
        by_seed, by_item = (sum(variance for variance, _ in part) for part in (self.seeds, self.items))
        return max(by_seed + by_item - self.shared, by_seed, by_item) - by_seed

    def error(self) -> Error:
        """Error of the estimate: what varies by seeds, and what by items; unknown where there is one of each."""
        if not self.seeds and not self.items:
            return UNKNOWN
        items = [(self.of_items, free) for _, free in _merged(self.items)]
        return Error((*_merged(self.seeds), *items) or ((0.0, math.inf),))


def _merged(parts: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Parts of one kind as one, with the degrees of freedom of Welch and Satterthwaite."""
    total, squares = sum(variance for variance, _ in parts), sum(variance**2 / free for variance, free in parts)
    return [(total, total**2 / squares)] if squares > 0 else []


def crossed_interval(table: Table, *, level: float = 0.95) -> Interval:
    """Interval of the score of a table, seeds and items being samples; with one seed over items alone.

    With one item in every task it is over seeds alone; with one seed besides, nothing is known and it has no ends (-inf, inf).
    """
    arrays = checked(table)
    score, parts = table_score(arrays), table_parts(arrays)
    reach = parts.error().reach(level)
    over = "items" if not parts.seeds else "items and seeds" if parts.items else "seeds"
    return Interval(score, score - reach, score + reach, level, over)


def crossed_test(differences: Table) -> tuple[float, float, float]:
    """Whether the score of differences *paired by seed and item* is zero: (standard error, degrees of freedom, p).

    Returns:
        NaN, NaN, NaN with one seed, or with one item in every task.
    """
    arrays = checked(differences)
    found = table_parts(arrays).error() if _is_crossed(arrays) else UNKNOWN
    return found.error, found.freedom, found.p(table_score(arrays))


def independent_test(first: Table, second: Table) -> tuple[float, float, float]:
    """Whether two tables of the same items have the same score where their seeds are *no pairs*: error, freedom, p.

    Items are paired, seeds are not, and there may be other numbers of them: seed 3 of one search and seed 3 of another
    have only the number in common. Pairing them would give S - 1 degrees of freedom where S1 - 1 and S2 - 1 are had:

        V = var(D1) / S1 + var(D2) / S2 + sum_t var(d1_t - d2_t) / (T² n_t) - sum_t (MS1_t / S1 + MS2_t / S2) / (T² n_t)

    If the seeds have something in common after all, the difference varies less than this says: it errs on the safe side.
    A table of one seed is taken to vary by seeds as the other one, see :func:`row_variances`.

    Returns:
        NaN, NaN, NaN if neither has two seeds that differ, or with one item in every task.

    Raises:
        ValueError: they have not the same items.
    """
    one, other = checked(first), checked(second)
    parts = independent_parts(one, other)
    found = parts.error() if parts.seeds and parts.items else UNKNOWN
    return found.error, found.freedom, found.p(table_score(one) - table_score(other))


def table_parts(arrays: Sequence[Floats]) -> Parts:
    """What the score of a checked table varies by; with one seed, by items alone."""
    seeds = len(arrays[0])
    by_item, shared = _item_parts([array.mean(axis=0) for array in arrays]), 0.0
    if seeds < 2:
        return Parts((), by_item, 0.0)
    shared = sum(_interaction(array, len(arrays)) for array in arrays)
    return Parts([(float(seed_scores(arrays).var(ddof=1)) / seeds, seeds - 1)], by_item, shared)


def independent_parts(one: Sequence[Floats], other: Sequence[Floats]) -> Parts:
    """What the difference of two checked tables varies by whose items are pairs and whose seeds are none.

    Where one has a single seed, the variance that the other lends it has no degrees of freedom of its own: ``v / S + v``
    is one part, of S - 1. The interaction is lent with it.
    """
    if [array.shape[1] for array in one] != [array.shape[1] for array in other]:
        raise ValueError("A comparison needs two tables of the same items.")
    by_item = _item_parts([mine.mean(axis=0) - theirs.mean(axis=0) for mine, theirs in zip(one, other, strict=True)])
    variances = row_variances(seed_scores(one), seed_scores(other))
    if variances is None:
        return Parts((), by_item, 0.0)
    several = [arrays for arrays in (one, other) if len(arrays[0]) > 1]
    shared = [sum(_interaction(array, len(arrays)) for array in arrays) for arrays in several]
    freedoms = [len(arrays[0]) - 1 for arrays in several]
    if len(several) == 1:
        return Parts([(sum(variances), freedoms[0])], by_item, shared[0] * (1 + len(several[0][0])))
    return Parts(list(zip(variances, freedoms, strict=True)), by_item, sum(shared))


def row_variances(one: Floats, other: Floats) -> tuple[float, float] | None:
    """Variances by seeds of the mean scores of two rows whose seeds are no pairs.

    A row of one seed says nothing of how far its seeds differ; it is taken to vary as the other row does, which has
    several. None where neither has several, or where those do not differ: an untrained model would lend a certainty that
    trainings do not have.

    Args:
        one, other: scores of the seeds, float64[S1] and float64[S2].
    """
    if len(one) > 1 and len(other) > 1:
        return float(one.var(ddof=1)) / len(one), float(other.var(ddof=1)) / len(other)
    several = max(one, other, key=len)
    if np.ptp(several) == 0:
        return None
    lent = float(several.var(ddof=1))
    return lent / len(one), lent / len(other)


def seed_scores(arrays: Sequence[Floats]) -> Floats:
    """Score of every seed, float64[S]: the mean over tasks of the mean over items."""
    return np.asarray(np.mean([array.mean(axis=1) for array in arrays], axis=0), np.float64)


def _item_parts(by_task: Sequence[Floats]) -> list[tuple[float, float]]:
    tasks = len(by_task)
    return [(float(d.var(ddof=1)) / (tasks**2 * len(d)), len(d) - 1) for d in by_task if len(d) > 1]


def _interaction(array: Floats, tasks: int) -> float:
    """Of one task, the interaction's share of the variance of the score."""
    seeds, items = array.shape
    if items < 2:
        return 0.0
    residual = array - array.mean(axis=0) - array.mean(axis=1, keepdims=True) + array.mean()
    mean_square = float((residual**2).sum()) / ((seeds - 1) * (items - 1))
    return float(mean_square / (tasks**2 * items * seeds))


def _is_crossed(arrays: Sequence[Floats]) -> bool:
    return len(arrays[0]) > 1 and any(array.shape[1] > 1 for array in arrays)
