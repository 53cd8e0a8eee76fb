"""k-means on the sphere, for all that clusters a pool's rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.signals.pairs import IntArray

_FIT_ROWS = 20_000
#: Points at a time: their products with a thousand centres stay in the processor's cache.
_BLOCK = 1024
#: From this share of moved centres on, all are compared again.
_MOST_MOVED = 0.9


@dataclass(frozen=True, eq=False)
class _Assignment:
    """The centre with the highest cosine of each point, the lower on ties, int64[N]; that cosine, and one that no other
    centre's exceeds, float32[N]."""

    nearest: IntArray
    cosine: NDArray[np.float32]
    bound: NDArray[np.float32]


def spherical_kmeans(points: NDArray[np.float32], count: int, rng: np.random.Generator, *, rounds: int) -> IntArray:
    """Cluster of each unit row (Dhillon and Modha 2001), int64[N]: the centre with the highest cosine, the lower on ties.

    Fitted in at most ``rounds`` rounds on at most max(20,000, 40 · count) random rows, from as many distinct random rows
    as there are clusters; a cluster that loses all its rows, or whose rows cancel out, keeps its centre. Written out
    because scikit-learn's sums depend on the timing of threads, and subsets must not.

    A centre whose rows stayed the same does not move and is not multiplied again, but for points whose own centre moved
    so far away that one which did not move may now be nearer.
    """
    limit = max(_FIT_ROWS, 40 * count)
    fit = points if len(points) <= limit else points[np.sort(rng.choice(len(points), limit, replace=False))]
    centres = fit[np.sort(rng.choice(len(fit), min(count, len(fit)), replace=False))].copy()
    moved = np.ones(len(centres), bool)
    found: _Assignment | None = None
    for _ in range(rounds):
        previous, found = found, _assigned(fit, centres, moved, found)
        if previous is not None and np.array_equal(found.nearest, previous.nearest):
            moved[:] = False
            break
        moved = _recentred(fit, centres, found.nearest, None if previous is None else previous.nearest)
    return _assigned(points, centres, moved, found if fit is points else None).nearest


def _recentred(
    points: NDArray[Any], centres: NDArray[Any], nearest: IntArray, before: IntArray | None
) -> NDArray[np.bool_]:
    """Move the centres to the mean directions of their points, in place; which of them moved."""
    changed = np.zeros(len(centres), bool)  # those whose points are others than before
    if before is None:
        changed[nearest] = True
    else:
        differ = nearest != before
        changed[nearest[differ]] = changed[before[differ]] = True
    rows = np.flatnonzero(changed[nearest])
    order = rows[np.argsort(nearest[rows], kind="stable")]
    present, starts = np.unique(nearest[order], return_index=True)
    sums = np.add.reduceat(points[order], starts, axis=0)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    former = centres[present]
    centres[present] = np.where(norms > 0, sums / np.where(norms > 0, norms, 1.0), former)
    moved = np.zeros(len(centres), bool)
    moved[present] = (centres[present] != former).any(axis=1)
    return moved


def _assigned(
    points: NDArray[Any], centres: NDArray[Any], moved: NDArray[np.bool_], before: _Assignment | None
) -> _Assignment:
    """Each point's nearest centre, from what it was ``before`` some of the centres moved."""
    if before is None or np.count_nonzero(moved) > _MOST_MOVED * len(moved):
        return _compared(points, centres)
    if not moved.any():
        return before
    names = np.flatnonzero(moved)
    found = _compared(points, centres[names])
    candidate = names[found.nearest]
    stays = ~moved[before.nearest]
    better = (found.cosine > before.cosine) | ((found.cosine == before.cosine) & (candidate < before.nearest))
    change = ~stays | better
    nearest = np.where(change, candidate, before.nearest)
    cosine = np.where(change, found.cosine, before.cosine)
    others = np.where(stays & better, before.cosine, before.bound)  # centres that did not move
    bound = np.maximum(others, np.where(change, found.bound, found.cosine))
    unsure = np.flatnonzero(~stays & (found.cosine <= others))
    again = _compared(points[unsure], centres)
    nearest[unsure], cosine[unsure], bound[unsure] = again.nearest, again.cosine, again.bound
    return _Assignment(nearest, cosine, bound)


def _compared(points: NDArray[Any], centres: NDArray[Any]) -> _Assignment:
    """Each point's nearest of all the centres."""
    nearest = np.empty(len(points), np.int64)
    cosine, bound = np.empty((2, len(points)), np.float32)
    for start in range(0, len(points), _BLOCK):
        block = slice(start, start + _BLOCK)
        products = points[block] @ centres.T
        nearest[block] = np.argmax(products, axis=1)
        best = np.arange(len(products)), nearest[block]
        cosine[block] = products[best]
        products[best] = -np.inf
        bound[block] = products.max(axis=1)
    return _Assignment(nearest, cosine, bound)
