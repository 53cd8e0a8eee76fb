"""Similar pairs among rows that share most of their features: few directions rule out nearly all the others.

For unit rows of non-negative features, ``x·y = 1 - |x - y|² / 2``. Let V be orthonormal directions, m any point, ``z = Vᵀ(x - m)``, and r the length
of what V leaves of ``x - m``. Then

    |x - y|² >= |z_x - z_y|² + (r_x - r_y)²

whatever V and m are (by Cauchy and Schwarz); with the directions in which a sample of the rows varies most, and its mean,
the bound is close. Products of all pairs in these directions cost less than half of those of all common features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.signals.pairs import IntArray

Found = tuple[IntArray, IntArray, NDArray[np.float32]]

#: Directions multiplied for all pairs of rows.
_DIRECTIONS = 56
#: The features, of most variance, that these are made of.
_FEATURES = 128
#: Columns that the other features share.
_SHARED = 64
#: What single precision may add to a squared distance, with room to spare.
_SLACK = 1e-5
#: Rows multiplied with four times as many.
_ROWS = 1024
#: Candidates checked together, and those whose features are taken out at once: they stay in the processor's cache.
_CANDIDATES = 1 << 17
_TOGETHER = 1 << 12


class LeadingDirections:
    """Sparse unit rows, none negative, by the directions in which they vary most.

    Args:
        unit: sparse unit rows.
        sample: rows by which the directions are chosen; any will do.
    """

    def __init__(self, unit: Any, sample: IntArray) -> None:
        self._unit = unit
        self._features, self._mean, basis = _directions(unit[sample])
        self._basis = np.zeros((unit.shape[1], basis.shape[1]), np.float32)
        self._basis[self._features] = basis

    def coordinates(self, unit: Any) -> NDArray[np.float32]:
        """(z, r) of unit rows, float32[rows, directions + 1]."""
        squares = 1.0 - 2.0 * (unit @ self._mean) + self._mean @ self._mean
        along = unit @ self._basis - (self._mean @ self._basis)
        across = np.sqrt(np.maximum(squares - np.square(along, dtype=np.float64).sum(axis=1), 0.0))
        return np.column_stack([along, across]).astype(np.float32)

    def share(self, rows: IntArray, threshold: float) -> float:
        """Share of the pairs of some rows that may have a cosine >= threshold by the bound."""
        left, right = _factors(self.coordinates(self._unit[rows]))
        possible = left @ right.T >= threshold - 1.0 - _SLACK
        return float(np.count_nonzero(np.triu(possible, 1)) / max(1, len(rows) * (len(rows) - 1) // 2))

    def pairs(self, threshold: Callable[[], float]) -> Iterator[Found]:
        """All pairs of rows with cosine >= ``threshold()``, asked anew as it rises, and their cosines."""
        rows = np.flatnonzero(np.diff(self._unit.indptr))
        left, right = _factors(self.coordinates(self._unit)[rows])
        check = _Check(self._unit, self._features)
        waiting: list[tuple[IntArray, IntArray]] = []
        count = 0
        for start in range(0, len(rows), _ROWS):
            block = left[start : start + _ROWS]
            for other in range(start, len(rows), _ROWS * 4):
                possible = block @ right[other : other + _ROWS * 4].T >= threshold() - 1.0 - _SLACK
                one, two = np.divmod(np.flatnonzero(possible), possible.shape[1])
                one, two = one + start, two + other
                if other == start:
                    one, two = one[one < two], two[one < two]
                waiting.append((rows[one], rows[two]))
                count += len(one)
                if count >= _CANDIDATES:
                    yield from check.similar(waiting, threshold())
                    waiting, count = [], 0
        yield from check.similar(waiting, threshold())


class _Check:
    """Compares pairs of rows by a closer bound, then in full.

    Features of most variance have a column each; the others share columns, which hold the length of what a row has in
    them: the product of two rows' columns is at least that of the rows (Cauchy and Schwarz, column by column).
    """

    def __init__(self, unit: Any, features: IntArray) -> None:
        self._unit = unit
        column = len(features) + np.arange(unit.shape[1]) % _SHARED
        column[features] = np.arange(len(features))
        width = len(features) + _SHARED
        self._columns = np.empty((unit.shape[0], width), np.float32)
        for start in range(0, unit.shape[0], _ROWS):
            part = unit[start : start + _ROWS]
            cell = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr)) * width + column[part.indices]
            squares = np.bincount(cell, np.square(part.data, dtype=np.float64), part.shape[0] * width)
            self._columns[start : start + _ROWS] = np.sqrt(squares).reshape(-1, width)

    def similar(self, pairs: list[tuple[IntArray, IntArray]], threshold: float) -> Iterator[Found]:
        """Those of the pairs with cosine >= threshold."""
        if not pairs:
            return
        one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
        possible = np.empty(len(one), bool)
        for start in range(0, len(one), _TOGETHER):
            part = slice(start, start + _TOGETHER)
            products = np.einsum("ij,ij->i", self._columns[one[part]], self._columns[other[part]])
            possible[part] = products >= threshold - _SLACK
        left, right = one[possible], other[possible]
        products = self._unit[left].astype(np.float64).multiply(self._unit[right]).sum(axis=1)
        cosine = np.asarray(products, np.float32).reshape(-1)
        similar = cosine >= np.float32(threshold)
        yield left[similar], right[similar], cosine[similar]


def _directions(sample: Any) -> tuple[IntArray, NDArray[np.float64], NDArray[np.float32]]:
    """The features of most variance in a sample, ascending, the mean of all, and the directions, of these features."""
    count = max(1, sample.shape[0])
    mean = np.bincount(sample.indices, sample.data, sample.shape[1]) / count
    variance = np.bincount(sample.indices, np.square(sample.data), sample.shape[1]) / count - mean**2
    features = np.sort(np.argsort(-variance, kind="stable")[:_FEATURES])
    centred = sample[:, features].toarray().astype(np.float64) - mean[features]
    _, basis = np.linalg.eigh(centred.T @ centred)
    return features, mean, np.asarray(basis[:, ::-1][:, :_DIRECTIONS], np.float32)


def _factors(coordinates: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Left and right rows whose products are minus half the bound of the squared distance."""
    half = np.square(coordinates, dtype=np.float64).sum(axis=1).astype(np.float32)[:, None] / 2
    one = np.ones_like(half)
    return np.hstack([coordinates, half, one]), np.hstack([coordinates, -one, -half])
