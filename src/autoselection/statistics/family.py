"""Several comparisons at once: p-values and intervals that hold for all of them together.

The differences of one row from many others go up and down together, because they share that row. Holm's correction
does not use it; the step-down minP procedure of Westfall & Young (*Resampling-Based Multiple Testing*, 1993) does: the
smallest p-value of a family is judged by how small the smallest of so many is by chance, then the next one by how small
the smallest of the *others* is, and so on. It holds the family-wise error in the strong sense where any null hypotheses
hold together as they do alone (subset pivotality), as differences of means do.

By chance: replicates of normal numbers with the correlation of the differences are drawn, each difference is tested by
its own t. With five replicates there are too few flips of their signs to draw from (16, so that no p-value is below
.06); what is added to the t tests' own assumption is the correlation (:mod:`~autoselection.statistics.correlation`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from autoselection.statistics.bootstrap import Floats

DRAWS = 9999


def null_p_values(correlation: Floats, freedom: float, *, draws: int = DRAWS, seed: int = 0) -> Floats:
    """P-values of two-sided t tests of K correlated true null hypotheses, float64[draws, K], each uniform by itself.

    Args:
        correlation: of the K differences, float64[K, K].
        freedom: of each test, one less than the replicates that are drawn; infinity: the variances are known.
    """
    from scipy.stats import norm
    from scipy.stats import t as student

    values, vectors = np.linalg.eigh(correlation)
    factor = vectors * np.sqrt(np.maximum(values, 0.0))  # a correlation of few replicates may lack rank
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(draws, len(values))) @ factor.T
    if math.isinf(freedom):
        return np.asarray(2 * norm.sf(np.abs(means)), np.float64)
    freedom = max(1, round(freedom))
    squares = np.zeros_like(means)
    for _ in range(freedom):  # deviations from the mean, as freedom independent normals (Helmert)
        squares += (rng.normal(size=means.shape) @ factor.T) ** 2
    return np.asarray(2 * student.sf(np.abs(means) / np.sqrt(squares / freedom), freedom), np.float64)


def step_down(p_values: Sequence[float], null: Floats) -> list[float]:
    """P-values adjusted for all of them being looked at, none below its own.

    Args:
        p_values: K of them.
        null: float64[draws, K], what they are together where nothing is to be found, see :func:`null_p_values`.
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    # Column j: the smallest of the j-th smallest observed one and all after it.
    smallest = np.minimum.accumulate(null[:, order][:, ::-1], axis=1)[:, ::-1]
    hits = (smallest <= values[order]).sum(axis=0)
    stepped = np.maximum((1 + hits) / (1 + len(null)), values[order])
    stepped[-1:] = values[order][-1:]  # the last one stands alone: no draw is needed
    adjusted = np.empty(len(values))
    adjusted[order] = np.maximum.accumulate(stepped)
    return [float(value) for value in adjusted]


def single_level(null: Floats, level: float) -> float:
    """The level that each of K intervals needs, so that all of them hold together at ``level``."""
    if null.shape[1] < 2:
        return level
    return 1 - float(np.quantile(null.min(axis=1), 1 - level))


def consistent(interval: tuple[float, float], estimate: float, *, significant: bool) -> tuple[float, float]:
    """A simultaneous interval that says what the adjusted p-value says of zero.

    Stepping down and an order of tests (gatekeeping) call other differences significant than intervals of one width do.
    As in the intervals of Strassburger & Bretz (Stat. Med. 27, 2008) one that is called significant ends at zero, and
    one that is not, because a test before it was not, reaches to it.
    """
    low, high = interval
    if not significant:
        return min(low, 0.0), max(high, 0.0)
    return (max(low, 0.0), high) if estimate > 0 else (low, min(high, 0.0))


def in_sequence(p_values: Sequence[float]) -> list[float]:
    """P-values of tests made one after the other, each at the full level and only if all before it were significant.

    No correction is needed for a sequence that was fixed before (Maurer, Hothorn & Lehmacher 1995).
    """
    return [float(value) for value in np.maximum.accumulate(np.asarray(p_values, np.float64))]
