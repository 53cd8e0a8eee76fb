"""Rank correlations of a cheap number with the score of a full evaluation, with intervals over trials.

An interval holds both the bootstrap's over trials and the normal one of so many pairs
(:func:`~autoselection.statistics.spearman_interval`, :func:`~autoselection.statistics.kendall_interval`): every resample of trials
in the same order is in that order, which says nothing of other trials.

A resample of n trials is a vector of counts w. With the signs ``s_ij = sign(x_i - x_j)`` and ``t_ij = sign(y_i - y_j)``,

* Kendall's tau-b is ``Σ w_i w_j s_ij t_ij / sqrt(Σ w_i w_j |s_ij| · Σ w_i w_j |t_ij|)`` (Kendall 1945);
* the average rank of trial i is, but for a constant and a factor, ``r_i = Σ_j w_j s_ij``, whose weighted mean is 0; so
  Spearman's rho is ``Σ w_i r_i q_i / sqrt(Σ w_i r_i² · Σ w_i q_i²)``.

Both are exact, ties included, and all resamples are a few matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.statistics import kendall_interval, spearman_interval, without_rounding

Array = NDArray[np.float64]

MIN_TRIALS = 8
"""Fewer pairs than this are not correlated: a bootstrap over them says nothing."""
MIN_DIFFERING = 3
"""Fewer trials than this that have another value than the commonest are not correlated: they would be the luck of one or two."""
RESAMPLES = 2000
LEVEL = 0.95
_BLOCK = 250
"""Resamples multiplied at once: bounds the memory at hundreds of trials."""


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95% interval.

    Attributes:
        value: over all trials.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.low > 0 or self.high < 0

    def holding(self, low: float, high: float) -> Estimate:
        """The same with an interval that holds another one, too."""
        return Estimate(self.value, min(self.low, low), max(self.high, high))

    def to_dict(self) -> dict[str, Any]:
        """Plain data: ``value``, ``ci95`` and ``excludes_zero``."""
        return {"value": self.value, "ci95": [self.low, self.high], "excludes_zero": self.excludes_zero}


@dataclass(frozen=True)
class Correlation:
    """Rank correlation of a proxy with the truth.

    Attributes:
        trials: pairs in which both are known.
        spearman: Spearman's rho; None with a ``reason``.
        kendall: Kendall's tau-b; None with a ``reason``.
        reason: why there is no correlation, as a short sentence.
    """

    trials: int
    spearman: Estimate | None
    kendall: Estimate | None
    reason: str | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether Spearman's interval lies on one side of 0."""
        return self.spearman is not None and self.spearman.excludes_zero

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "trials": self.trials,
            "spearman": self.spearman.to_dict() if self.spearman else None,
            "kendall": self.kendall.to_dict() if self.kendall else None,
            "reason": self.reason,
        }


def correlate(proxy: Array, truth: Array, *, seed: int = 0, resamples: int = RESAMPLES) -> Correlation:
    """Correlate a proxy with the truth over trials; values that differ by rounding alone are ties.

    Args:
        proxy: one value a trial, NaN where there is none.
        truth: score of the full evaluation of each trial, NaN where there is none.
        seed: of the resamples; the same number of pairs is always resampled alike, so that proxies compare.
        resamples: bootstrap resamples of the trials (count).

    Raises:
        ValueError: the lengths differ.
    """
    x, y = np.asarray(proxy, np.float64), np.asarray(truth, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"correlate needs two vectors of one length, not {x.shape} and {y.shape}.")
    known = np.isfinite(x) & np.isfinite(y)
    x, y = without_rounding(x[known]), without_rounding(y[known])
    n = len(x)
    if n < MIN_TRIALS:
        return Correlation(n, None, None, f"too few trials: {n}, at least {MIN_TRIALS} are needed")
    for values, name in ((x, "the proxy"), (y, "the score")):
        differing = n - int(np.unique(values, return_counts=True)[1].max())
        if not differing:
            return Correlation(n, None, None, f"{name} is the same in all trials")
        if differing < MIN_DIFFERING:
            reason = f"{name} is the same in all trials but {differing}, at least {MIN_DIFFERING} must differ"
            return Correlation(n, None, None, reason)
    rho, tau = rank_correlations(x, y, np.ones((1, n)))
    # A resample of equal values shows no relation: left out, those that hold the few others would decide alone.
    rhos, taus = map(np.nan_to_num, rank_correlations(x, y, resample_counts(n, resamples, seed)))
    return Correlation(
        n,
        interval(float(rho[0]), rhos).holding(*spearman_interval(float(rho[0]), n, level=LEVEL)),
        interval(float(tau[0]), taus).holding(*kendall_interval(float(tau[0]), n, level=LEVEL)),
    )


@lru_cache(maxsize=8)
def resample_counts(n: int, resamples: int, seed: int) -> Array:
    """How often each of n trials is drawn in each resample; shape (resamples, n), read-only."""
    rng = np.random.default_rng([seed, n, resamples])
    counts = rng.multinomial(n, np.full(n, 1.0 / n), size=resamples).astype(np.float64)
    counts.flags.writeable = False
    return counts


def rank_correlations(x: Array, y: Array, counts: Array) -> tuple[Array, Array]:
    """Spearman's rho and Kendall's tau-b of every weighting of n trials; formulas in the module's docstring.

    Args:
        x: n values.
        y: n values.
        counts: (m, n) multiplicities of the trials.

    Returns:
        Two vectors of m; NaN where a resample has only equal values.
    """
    s = np.sign(x[:, None] - x[None, :])
    t = np.sign(y[:, None] - y[None, :])
    both, some_s, some_t = s * t, np.abs(s), np.abs(t)
    rho, tau = np.empty(len(counts)), np.empty(len(counts))
    for start in range(0, len(counts), _BLOCK):
        w = counts[start : start + _BLOCK]
        ranks_x, ranks_y = w @ s.T, w @ t.T
        concordant, pairs_x, pairs_y = (((w @ matrix) * w).sum(axis=1) for matrix in (both, some_s, some_t))
        common = (w * ranks_x * ranks_y).sum(axis=1)
        spread = (w * ranks_x**2).sum(axis=1) * (w * ranks_y**2).sum(axis=1)
        place = slice(start, start + len(w))
        with np.errstate(invalid="ignore", divide="ignore"):
            rho[place] = common / np.sqrt(spread)
            tau[place] = concordant / np.sqrt(pairs_x * pairs_y)
    return rho, tau


def interval(value: float, resampled: Array) -> Estimate:
    """The estimate with the 95% percentile interval of its resampled values, widened to hold the estimate where it lies outside."""
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(resampled, [tail, 1.0 - tail])
    return Estimate(value, min(value, float(low)), max(value, float(high)))
