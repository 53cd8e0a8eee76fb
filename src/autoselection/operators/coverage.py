"""Choosing vectors that cover all others: greedy k-center and greedy facility location, exact up to stated limits.

Cosines are compared in steps of 1e-5, so that equal vectors tie and the tie goes to the first.
apricot-select and submodlib-py would offer the second algorithm; neither has had a release for years, and both bring
compilers along for what are sixty lines here.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Places = NDArray[np.int64]

WORK = 5e10
"""Multiply-adds a step may spend on picks: ``picks · rows · width``; about 2 s on two cores."""
GROUND = 4096
"""Most rows among which facility location chooses and which it covers."""
_STEPS = 1e5
_FEWEST, _MOST = 8, 128


def most_picks(rows: int, width: int) -> int:
    """Picks within :data:`WORK`: 1,446 of 90,000 rows of 384 numbers."""
    return max(1, int(WORK / max(1, rows * width)))


def k_center(unit: Vectors, count: int) -> tuple[Places, int]:
    """Places of ``count`` rows in the order of choice, and how many of them were chosen greedily.

    Greedy farthest point (Gonzalez 1985; Sener and Savarese 2018): first the row nearest to the mean direction, then
    always the row whose largest cosine with those chosen is smallest. Beyond :func:`most_picks` the rest comes in the
    order of that cosine, without looking at each other. A shorter choice is the beginning of a longer one.

    The cosines of the next row to be chosen are computed together with those of the rows that are next in line: one
    product of matrices serves many picks, and a pick that was not foreseen starts another.
    """
    greedy = min(count, most_picks(*unit.shape))
    near = np.full(len(unit), -np.inf, np.float32)
    chosen: list[int] = []
    place = int(np.argmax(_rounded(unit @ _direction(unit))))
    ready: dict[int, int] = {}
    block = np.zeros((0, len(unit)), np.float32)
    size, used = _FEWEST, _FEWEST
    while len(chosen) < greedy:
        if place not in ready:
            size, used = _next_size(size, used), 0
            candidates = _next_in_line(near, place, size) if chosen else np.array([place])
            block = unit[candidates] @ unit.T
            ready = {int(row): position for position, row in enumerate(candidates)}
        np.maximum(near, _rounded(block[ready[place]]), out=near)
        near[place] = np.inf
        chosen.append(place)
        used += 1
        place = int(np.argmin(near))
    rest = np.argsort(near, kind="stable")[: count - len(chosen)]  # those chosen have +inf and come last
    return np.concatenate([np.array(chosen, np.int64), rest]), len(chosen)


def _next_size(size: int, used: int) -> int:
    """A larger block after one that served many picks, a smaller one after a waste."""
    if used > size // 2:
        return min(_MOST, size * 2)
    return max(_FEWEST, size // 2) if used < size // 4 else size


def _next_in_line(near: Vectors, place: int, size: int) -> Places:
    """The place itself and the others with the smallest values."""
    if size >= len(near):
        return np.arange(len(near))
    others = np.argpartition(near, size - 1)[:size]
    return np.unique(np.append(others, place))


def facility_location(unit: Vectors, count: int, ground: Places) -> tuple[Places, int]:
    """Places of ``count`` rows in the order of choice, and how many of them were chosen greedily.

    Greedy maximisation of ``Σ_i max_{j chosen} max(0, cos(i, j))`` over the rows of ``ground``, which are both the
    candidates and the rows to cover (Nemhauser et al. 1978: at least 63% of the best value; lazy evaluation after
    Minoux 1978). Values are whole numbers of 1e-5, so that lazy and plain greedy agree exactly. If ``count`` exceeds the
    ground set, the other rows follow, least similar to the first :func:`most_picks` chosen first.
    """
    vectors = unit[ground]
    similar = np.rint(np.maximum(vectors @ vectors.T, 0.0) * _STEPS).astype(np.int32)
    covered = np.zeros(len(ground), np.int32)
    heap = [(-int(gain), place) for place, gain in enumerate(similar.sum(axis=0, dtype=np.int64))]
    heapq.heapify(heap)
    chosen: list[int] = []
    while heap and len(chosen) < count:
        place = heap[0][1]
        gain = int(np.maximum(similar[place] - covered, 0).sum(dtype=np.int64))
        if -heap[0][0] != gain:  # the known gain is out of date; a smaller one sinks
            heapq.heapreplace(heap, (-gain, place))
            continue
        heapq.heappop(heap)
        np.maximum(covered, similar[place], out=covered)
        chosen.append(place)
    picked = ground[np.array(chosen, np.int64)]
    if len(picked) == count:
        return picked, len(picked)
    near = np.full(len(unit), -np.inf, np.float32)
    for start in range(0, min(len(picked), most_picks(*unit.shape)), _MOST):
        np.maximum(near, _rounded(unit[picked[start : start + _MOST]] @ unit.T).max(axis=0), out=near)
    near[picked] = np.inf
    rest = np.argsort(near, kind="stable")[: count - len(picked)]
    return np.concatenate([picked, rest]), len(picked)


def _direction(unit: Vectors) -> Vectors:
    mean = unit.mean(axis=0, dtype=np.float64)
    norm = np.linalg.norm(mean)
    return np.asarray(mean / norm if norm > 0 else mean, np.float32)


def _rounded(cosines: Vectors) -> Vectors:
    cosines *= np.float32(_STEPS)
    return np.rint(cosines, out=cosines)
