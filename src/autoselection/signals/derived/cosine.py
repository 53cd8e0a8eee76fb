"""Pairs of similar rows by cosine, found exactly.

All similar pairs of the pool are found once, down to the lowest threshold offered, and stored; any threshold, subset and
order then costs milliseconds. If the pool has too many similar pairs to list (:data:`EDGE_LIMIT`), those from a higher
similarity on are listed: from the one that a sample of them tells, or higher.

Where few pairs are similar, cosine candidates come from a prefix filter (Bayardo et al. 2007, "Scaling up all pairs
similarity search"): features are ordered rarest first, and a row's frequent features whose joint norm is below the
threshold cannot by themselves make two rows similar. Where rows share most of their features, as those of language models
do, all pairs are multiplied: in the few directions in which rows vary most, where these rule out most pairs
(:mod:`~autoselection.signals.derived.leading_directions`), else with frequent features as dense matrices, rare ones as
sparse ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.signals.derived.kmeans import spherical_kmeans
from autoselection.signals.derived.leading_directions import LeadingDirections
from autoselection.signals.pairs import Edges, IntArray

#: At most this many similar pairs of a pool are listed and stored (12 bytes each).
EDGE_LIMIT = 16_000_000
#: If there are more, the lowest similarity listed rises by this step until they fit; above 0.98 by half of what is left.
FLOOR_STEP = 0.02
#: Cosine similarities are single precision: this much below the threshold still counts as equal to it.
COSINE_SLACK = 1e-6
_HIGHEST_FLOOR = 0.999
BLOCK = 1024
_PREFIX_MARGIN = 0.1
#: Share of pairs that the prefix filter may leave: multiplying a pair on its own costs about a hundred times more than
#: in a block.
_PREFIX_WORTH = 0.01
#: Share of pairs that a bound in few directions may leave: it saves more than half of the products in blocks.
_DIRECTIONS_WORTH = 0.02
#: A feature that so large a share of the rows has is cheaper to multiply as a dense column.
_COMMON = 0.1

Found = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def normalized(matrix: Any) -> Any:
    """The rows of a sparse matrix scaled to unit length, without the columns that are empty; zero rows stay zero."""
    from scipy.sparse import csr_matrix

    data = np.array(matrix.data, np.float32)
    counts = np.diff(matrix.indptr)
    filled = np.flatnonzero(counts)
    for start in range(0, len(filled), BLOCK * 16):
        rows = filled[start : start + BLOCK * 16]
        first, last = int(matrix.indptr[rows[0]]), int(matrix.indptr[rows[-1] + 1])
        squares = np.add.reduceat(np.square(data[first:last], dtype=np.float64), matrix.indptr[rows] - first)
        norms = np.sqrt(squares)
        data[first:last] /= np.repeat(np.where(norms > 0, norms, 1.0), counts[rows])
    used = np.flatnonzero(np.bincount(matrix.indices, minlength=matrix.shape[1]))
    indices = matrix.indices
    if len(used) < matrix.shape[1]:
        renamed = np.zeros(matrix.shape[1], indices.dtype)
        renamed[used] = np.arange(len(used))
        indices = renamed[indices]
    return csr_matrix((data, indices, matrix.indptr), shape=(matrix.shape[0], len(used)))


def equal_rows(unit: Any) -> IntArray:
    """The lowest row with the same features as each row, int64[N]; a row without features stands for itself."""
    from autoselection.hashing import mixed

    rows = unit.shape[0]
    keys = np.zeros(rows, np.uint64)
    if isinstance(unit, np.ndarray):
        filled = np.flatnonzero(~np.isnan(unit[:, 0])) if unit.shape[1] else np.zeros(0, np.int64)
        places = np.arange(unit.shape[1], dtype=np.uint64) << np.uint64(32)
        for start in range(0, len(filled), BLOCK):
            part = filled[start : start + BLOCK]
            bits = np.ascontiguousarray(unit[part], np.float32).view(np.uint32)
            keys[part] = mixed(bits | places).sum(axis=1, dtype=np.uint64)
    else:
        filled = np.flatnonzero(np.diff(unit.indptr))
        for start in range(0, len(filled), BLOCK * 16):
            part = filled[start : start + BLOCK * 16]
            first, last = int(unit.indptr[part[0]]), int(unit.indptr[part[-1] + 1])
            bits = np.ascontiguousarray(unit.data[first:last], np.float32).view(np.uint32)
            features = mixed((unit.indices[first:last].astype(np.uint64) << np.uint64(32)) | bits)
            keys[part] = np.add.reduceat(features, unit.indptr[part] - first)
    order = filled[np.argsort(keys[filled], kind="stable")]
    starts = np.flatnonzero(np.append(True, keys[order[1:]] != keys[order[:-1]]))[: len(order)]
    node = np.arange(rows)
    node[order] = np.repeat(order[starts], np.diff(np.append(starts, len(order))))
    return node


class Halves:
    """Sparse unit rows in two parts: the features that many rows have, and the others."""

    def __init__(self, common: Any, rare: Any) -> None:
        self.common = common
        self.rare = rare
        self.shape: tuple[int, int] = (common.shape[0], common.shape[1] + rare.shape[1])

    @classmethod
    def of(cls, unit: Any) -> Halves:
        from scipy.sparse import csr_matrix

        frequent = np.bincount(unit.indices, minlength=unit.shape[1]) >= _COMMON * unit.shape[0]
        parts = []
        for wanted in (frequent, ~frequent):
            name = np.cumsum(wanted, dtype=np.int32) - 1
            kept = wanted[unit.indices]
            indptr = np.append(0, np.cumsum(kept))[unit.indptr]
            shape = (unit.shape[0], int(np.count_nonzero(wanted)))
            parts.append(csr_matrix((unit.data[kept], name[unit.indices[kept]], indptr), shape=shape))
        return cls(*parts)

    def __getitem__(self, rows: slice | IntArray) -> Halves:
        return Halves(self.common[rows], self.rare[rows])

    def above(self, below: Halves) -> Halves:
        from scipy.sparse import vstack

        return Halves(vstack([self.common, below.common], format="csr"), vstack([self.rare, below.rare], format="csr"))

    def products(self, other: Halves) -> NDArray[np.float32]:
        products: NDArray[np.float32] = self.common.toarray() @ other.common.toarray().T
        products += (self.rare @ other.rare.T).toarray()
        return products


def single(unit: Any) -> Any:
    """A block of dense unit rows as float32; sparse rows as they are.

    Embeddings are stored as float16, in which products are slow and round by 5e-4. Only what is multiplied at once is
    converted: a whole pool's would take twice the memory of what is stored.
    """
    return np.asarray(unit, np.float32) if isinstance(unit, np.ndarray) else unit


def products_from(left: Any, right: Any, limit: float) -> tuple[IntArray, IntArray, NDArray[Any]]:
    """All (i, j, cosine) with cosine >= limit - COSINE_SLACK between two blocks of unit rows, dense or in halves."""
    products = left.products(right) if isinstance(left, Halves) else single(left) @ single(right).T
    i, j = np.divmod(np.flatnonzero(products >= limit - COSINE_SLACK), max(1, products.shape[1]))
    return i, j, products[i, j]


def _raised(floor: float) -> float:
    """The next lowest similarity to try; above 1, where nothing is listed, after the last."""
    return round(min(floor + FLOOR_STEP, (1 + floor) / 2), 6) if floor < _HIGHEST_FLOOR else 1 + FLOOR_STEP


class _Listing:
    """Collects similar pairs; while there are more than ``limit``, the lowest similarity listed rises."""

    def __init__(self, floor: float, limit: int) -> None:
        self.floor = floor
        self.limit = limit
        self.parts: list[Found] = []
        self.total = 0

    def add(self, left: NDArray[Any], right: NDArray[Any], similarity: NDArray[Any]) -> None:
        part = (left.astype(np.int32), right.astype(np.int32), similarity.astype(np.float32))
        self.parts.append(self._strong(part))
        self.total += len(self.parts[-1][0])
        while self.total > self.limit:
            self.floor = _raised(self.floor)
            self.parts = [self._strong(part) for part in self.parts]
            self.total = sum(len(part[0]) for part in self.parts)

    def _strong(self, part: Found) -> Found:
        strong = part[2] >= self.floor - COSINE_SLACK
        return part if strong.all() else (part[0][strong], part[1][strong], part[2][strong])

    def edges(self) -> tuple[Edges, float]:
        return Edges.join(self.parts), self.floor


def cosine_edges(unit: Any, floor: float, limit: int | None = None) -> tuple[Edges, float]:
    """All pairs of unit rows with cosine >= floor, and the floor, which is higher if there are more than ``limit``.

    Args:
        unit: sparse unit rows (see :func:`normalized`), or a dense array of unit rows; rows of NaN are similar to none.
        limit: pairs (default: ``EDGE_LIMIT``).
    """
    listing = _Listing(floor, EDGE_LIMIT if limit is None else limit)
    for found in _similar_pairs(unit, listing):
        listing.add(*found)
    return listing.edges()


def sampled(rows: int) -> IntArray:
    """About a thousand evenly spaced rows: what a pool's pairs are judged by."""
    return np.arange(0, rows, max(1, -(-rows // BLOCK)))


def listable_floor(sample: Any, rows: int, floor: float) -> float:
    """The lowest similarity, in steps from ``floor``, from which on a pool's pairs can be listed, by a sample of them.

    Args:
        sample: unit rows like those of :func:`cosine_edges`.
        rows: of the pool.
    """
    sample = single(sample)
    products = sample @ sample.T if isinstance(sample, np.ndarray) else (sample @ sample.T).toarray()
    cosines = products[np.triu_indices(len(products), 1)]
    pairs, limit = math.comb(rows, 2), EDGE_LIMIT * len(cosines)
    while floor < _HIGHEST_FLOOR and pairs * np.count_nonzero(cosines >= floor) > limit:
        floor = _raised(floor)
    return floor


def _similar_pairs(unit: Any, listing: _Listing) -> Iterator[Found]:
    """The pairs of unit rows that a listing wants, by the cheapest of three ways."""
    if isinstance(unit, np.ndarray):
        return _plain_blocks(unit, listing)
    if unit.shape[0] > BLOCK:
        if _possible_share(unit, listing.floor) < _PREFIX_WORTH:
            return _prefix_blocks(unit, listing.floor)
        sample = sampled(unit.shape[0])
        directions = LeadingDirections(unit, sample)
        if directions.share(sample, listing.floor) < _DIRECTIONS_WORTH:
            return directions.pairs(lambda: listing.floor - COSINE_SLACK)
    return _plain_blocks(Halves.of(unit), listing)


def _plain_blocks(unit: Any, listing: _Listing) -> Iterator[Found]:
    """All pairs are multiplied; what is below the listing's floor, which may rise between blocks, is left out."""
    for start in range(0, unit.shape[0], BLOCK):
        block = unit[start : start + BLOCK]
        for other in range(start, unit.shape[0], BLOCK * 4):
            left, right, similarity = products_from(block, unit[other : other + BLOCK * 4], listing.floor)
            left, right = left + start, right + other
            upper = left < right
            yield left[upper], right[upper], similarity[upper]


def _possible_share(unit: Any, threshold: float) -> float:
    """Share of pairs that the prefix filter cannot rule out, by about a thousand rows."""
    prefix, rest = _prefix(unit[sampled(unit.shape[0])], threshold)
    possible = (prefix @ prefix.T).toarray() + np.maximum.outer(rest, rest) >= threshold - 2 * COSINE_SLACK
    return float(np.count_nonzero(np.triu(possible, 1)) / max(1, math.comb(len(rest), 2)))


def _prefix_blocks(unit: Any, threshold: float) -> Iterator[Found]:
    """Sparse rows: multiply only the rare features of each row, then check what can still reach the threshold.

    Let a row's *rest* be its most frequent features with joint norm r <= threshold - margin, its *prefix* the others.
    For a similar pair, let x be the row whose prefix ends at the rarer feature: shared features beyond it add at most
    r_x, and those up to it lie in both prefixes. So cosine <= prefix·prefix + r_x, and only pairs for which this bound
    reaches the threshold are multiplied in full.
    """
    rows = unit.shape[0]
    prefix, rest = _prefix(unit, threshold)
    step = max(1, BLOCK // 4)  # the product of a block with all later rows has many non-zeros
    for start in range(0, rows, step):
        if start % (step * 16) == 0:
            base, later = start, prefix[start:].T.tocsr()
        partial = prefix[start : start + step] @ later
        reaching = np.flatnonzero(partial.data >= _PREFIX_MARGIN - 2 * COSINE_SLACK)  # since r <= threshold - margin
        left = np.searchsorted(partial.indptr, reaching, side="right") - 1 + start
        right = partial.indices[reaching].astype(np.int64) + base
        bound = partial.data[reaching] + np.maximum(rest[left], rest[right])
        possible = (left < right) & (bound >= threshold - 2 * COSINE_SLACK)
        left, right = left[possible], right[possible]
        for part in range(0, len(left), BLOCK * 64):
            i, j = left[part : part + BLOCK * 64], right[part : part + BLOCK * 64]
            similarity = np.asarray(unit[i].multiply(unit[j]).sum(axis=1)).reshape(-1)
            strong = similarity >= threshold - COSINE_SLACK
            yield i[strong], j[strong], similarity[strong]


def _prefix(unit: Any, threshold: float) -> tuple[Any, NDArray[np.float32]]:
    """Every row's prefix, features renumbered from the rarest to the most frequent, and the norm of its rest."""
    from scipy.sparse import csr_matrix

    frequency = np.bincount(unit.indices, minlength=unit.shape[1])
    rank = np.empty(unit.shape[1], np.int32)
    rank[np.argsort(frequency, kind="stable")] = np.arange(unit.shape[1], dtype=np.int32)
    ordered = csr_matrix((unit.data.copy(), rank[unit.indices], unit.indptr), shape=unit.shape)
    ordered.sort_indices()  # in place: hence the copy of the values
    kept = np.empty(len(ordered.data), bool)
    rest = np.zeros(unit.shape[0], np.float32)
    sizes = np.zeros(unit.shape[0], np.int64)
    for start in range(0, unit.shape[0], BLOCK * 16):
        block = slice(start, min(start + BLOCK * 16, unit.shape[0]))
        first, last = int(ordered.indptr[block.start]), int(ordered.indptr[block.stop])
        counts = np.diff(ordered.indptr[block.start : block.stop + 1])
        squares = np.cumsum(np.append(0.0, ordered.data[first:last].astype(np.float64) ** 2))
        ends = np.repeat(squares[ordered.indptr[block.start + 1 : block.stop + 1] - first], counts)
        from_here = np.sqrt(np.maximum(ends - squares[:-1], 0.0))  # norm of this feature and the more frequent ones
        in_rest = from_here <= threshold - _PREFIX_MARGIN
        owner = np.repeat(np.arange(block.start, block.stop), counts)
        np.maximum.at(rest, owner[in_rest], from_here[in_rest].astype(np.float32))
        sizes[block] = np.bincount(owner[~in_rest] - block.start, minlength=block.stop - block.start)
        kept[first:last] = ~in_rest
    indptr = np.append(0, np.cumsum(sizes))
    return csr_matrix((ordered.data[kept], ordered.indices[kept], indptr), shape=unit.shape), rest


def feature_clusters(unit: Any, clusters: int, seed: int, *, dims: int = 64, rounds: int = 10) -> IntArray:
    """Cluster of each sparse unit row by k-means on the sphere, after a random projection to ``dims`` dimensions.

    Rows without features get -1.
    """
    rng = np.random.default_rng([seed, clusters])
    labels = np.full(unit.shape[0], -1, np.int64)
    filled = np.flatnonzero(np.diff(unit.indptr))
    if len(filled) == 0:
        return labels
    if unit.shape[1] > dims:
        points = unit @ rng.standard_normal((unit.shape[1], dims), dtype=np.float32)
    else:
        points = unit.toarray()
    points = points[filled]
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    points = np.asarray(points / np.where(norms > 0, norms, 1.0), np.float32)
    labels[filled] = spherical_kmeans(points, clusters, rng, rounds=rounds)
    return labels


def cluster_edges(unit: Any, labels: IntArray, floor: float, limit: int | None = None) -> tuple[Edges, float]:
    """All pairs of rows of one cluster with cosine >= floor, and the floor, higher if there are more than ``limit``."""
    listing = _Listing(floor, EDGE_LIMIT if limit is None else limit)
    for members in clusters_of(labels):
        for left, right, similarity in _similar_pairs(unit[members], listing):
            listing.add(members[left], members[right], similarity)
    return listing.edges()


def clusters_of(labels: IntArray) -> Iterator[IntArray]:
    """Positions of the members of each cluster of at least two, ascending; label -1 is no cluster."""
    order = np.argsort(labels, kind="stable")
    order = order[np.count_nonzero(labels < 0) :]
    if len(order):
        for members in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
            if len(members) > 1:
                yield members
