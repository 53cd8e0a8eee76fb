"""What a comparison could have found, and how many replicates the next one takes: power of Student's t test."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autoselection.statistics.bootstrap import Floats

#: Power that plans aim at: four of five such comparisons find a difference of this size.
POWER = 0.8
#: More replicates than this are not counted.
MOST = 10_000


def _unit_nodes(count: int) -> tuple[Floats, Floats]:
    """Gauss-Legendre nodes and weights of the unit interval."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return (nodes + 1) / 2, weights / 2


#: Probabilities at which a standard error is taken, and their weights.
_NODES, _WEIGHTS = _unit_nodes(200)


def power(difference: float, error: float, freedom: float, *, level: float = 0.95) -> float:
    """Probability that a two-sided t test finds a true difference (both tails of the non-central t).

    Args:
        difference: that is there.
        error: standard error of its estimate, in its unit.
        freedom: degrees of freedom of the error.
    """
    from scipy.special import chdtri, ndtr, ndtri, stdtrit

    if error == 0:
        return 1.0 if difference != 0 else 1 - level
    moved, tail = abs(difference) / error, (1 + level) / 2
    if math.isinf(freedom):
        limit = np.array([ndtri(tail)])
    else:  # the mean over what the standard error may turn out as; scipy's non-central t fails at few degrees of freedom
        limit = float(stdtrit(freedom, tail)) * np.sqrt(chdtri(freedom, _NODES) / freedom)
    return float(np.average(ndtr(moved - limit) + ndtr(-moved - limit), weights=_WEIGHTS if limit.size > 1 else None))


def detectable_difference(error: float, freedom: float, *, level: float = 0.95, at: float = POWER) -> float:
    """The smallest true difference that is found with the power ``at``, in the unit of ``error``."""
    from scipy.optimize import brentq

    if error == 0:
        return 0.0
    high = 1.0
    while power(high, 1.0, freedom, level=level) < at:
        high *= 2
    return error * float(brentq(lambda d: power(d, 1.0, freedom, level=level) - at, 0.0, high, xtol=1e-6))


@dataclass(frozen=True)
class Spread:
    """What the difference of two rows varies by, measured: enough to plan with.

    Attributes:
        seeds: variances of one replicate's score of either row, ``(first, second)``; of paired replicates the variance of
            their difference, ``(difference,)``.
        items: variance of the difference that any number of replicates leaves: that of the items.
    """

    seeds: tuple[float, ...]
    items: float = 0.0

    def error(self, replicates: int) -> tuple[float, float]:
        """Standard error and degrees of freedom (Satterthwaite; those of the items are taken for many)."""
        parts = [variance / replicates for variance in self.seeds]
        total = sum(parts) + self.items
        by_seed = sum(part**2 for part in parts)
        return math.sqrt(total), total**2 * (replicates - 1) / by_seed if by_seed > 0 else math.inf


def replicates_needed(difference: float, spread: Spread, *, level: float = 0.95, at: float = POWER) -> int | None:
    """The fewest replicates (at least 2) with which a true difference is found with the power ``at``.

    Returns:
        None if none up to 10,000 do: the items are too few.

    Raises:
        ValueError: the difference is zero.
    """
    if difference == 0:
        raise ValueError("No number of replicates finds a difference of zero.")

    def finds(replicates: int) -> bool:
        return power(difference, *spread.error(replicates), level=level) >= at

    low, high = 1, 2
    while not finds(high):
        low, high = high, high * 2
        if high > MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if finds(middle) else (middle, high)
    return high


def detectable_by_design(replicates: int, *, paired: bool, level: float = 0.95, at: float = POWER) -> float | None:
    """What a comparison of two rows finds, before anything is measured.

    Returns:
        In standard deviations of one replicate's score (alike in both rows; of the difference, where replicates are
        pairs), items not counted; None with one replicate.
    """
    if replicates < 2:
        return None
    error, freedom = Spread((1.0,) if paired else (1.0, 1.0)).error(replicates)
    return detectable_difference(error, freedom, level=level, at=at)
