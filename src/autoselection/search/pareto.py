"""Trade-offs between several objectives: the front of what no other beats in all of them, and what a proposal may add to it.

The hypervolume of a set is the volume of what it dominates above a reference point. What a proposal is expected to add is exact
here: its objectives are independent normals, the space above the reference point is cut into cells by the coordinates of the front,
and over each cell that the front does not dominate the expectation is a product of one-dimensional ones (Yang, Emmerich, Deutz and
Bäck 2019, "Efficient computation of expected hypervolume improvement using box decomposition algorithms").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from autoselection.statistics import without_rounding

Array = NDArray[np.float64]

SCORE, ROWS, TOKENS = "score", "rows", "tokens"
"""Objectives that are no tasks: the weighted mean of the tasks, and what a subset costs (fewer is better, known before it is
trained on)."""
NO_TASKS = (SCORE, ROWS, TOKENS)
MOST = 4
"""Most objectives: cells grow with the power of their number."""
BELOW = 0.1
"""How far the reference point lies below the worst values seen, as a share of their range."""


def front(values: Array) -> NDArray[np.bool_]:
    """Which of some points, float64[points, objectives], no other is better than: at least as good in all, better in one;
    a difference by rounding alone is none."""
    values = _tied(values)
    at_least = (values[:, None] >= values[None]).all(axis=2)
    better = (values[:, None] > values[None]).any(axis=2)
    return np.asarray(~(at_least & better).any(axis=0))


def _tied(values: Array) -> Array:
    return np.apply_along_axis(without_rounding, 0, values)


def reference_point(values: Array) -> Array:
    """A little below the worst of every objective, so that the ends of the front count too; shape (objectives,)."""
    return np.asarray(values.min(axis=0) - BELOW * _spread(values))


def _spread(values: Array) -> Array:
    """Range of each objective, 1 where it has none."""
    found = np.asarray(np.ptp(_tied(values), axis=0))
    return np.where(found > 0, found, 1.0)


def expected_hypervolume_improvement(mean: Array, deviation: Array, known: Array) -> Array:
    """What points are expected to add to the hypervolume of those that are known, shape (points,), in units of the ranges of the
    known ones.

    Args:
        mean: of the points' objectives, float64[points, objectives], higher is better.
        deviation: their standard deviations; 0 for what is certain.
        known: objectives of the known points, at least one.
    """
    reference = reference_point(known)
    unit = _spread(known)
    best = (known[front(known)] - reference) / unit
    mean, deviation = (mean - reference) / unit, deviation / unit
    edges = [np.unique(np.append(0.0, best[:, place])) for place in range(best.shape[1])]
    # A cell is told by its lower corner: the front dominates it if one of its points is above that in every objective.
    lower = np.stack(np.meshgrid(*edges, indexing="ij"), axis=-1)
    dominated = np.asarray((best > lower[..., None, :]).all(axis=-1)).any(axis=-1)
    found = np.asarray(~dominated, np.float64)[None]
    for place, edge in enumerate(edges):
        above = _above(mean[:, place, None], deviation[:, place, None], edge)
        within = above - np.append(above[:, 1:], np.zeros((len(mean), 1)), axis=1)
        found = np.einsum("pc...,pc->p...", found, within)  # sums over this objective's cells
    return np.asarray(found)


def _above(mean: Array, deviation: Array, edge: Array) -> Array:
    """``E[max(0, y - edge)]`` of normals, shape (points, edges)."""
    z = np.clip((mean - edge) / np.maximum(deviation, 1e-12), -38.0, 38.0)
    density = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    spread = np.maximum(deviation * density + (mean - edge) * ndtr(z), 0.0)
    return np.asarray(np.where(deviation > 0, spread, np.maximum(mean - edge, 0.0)))
