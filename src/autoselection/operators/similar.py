"""Pairs of similar rows, found exactly, and the greedy rule that turns them into duplicates.

The rule of every deduplication here: go through the rows in the order given and drop a row if it is similar enough to
an earlier row that was *kept*. Two ways lead to the same answer:

- *edges*: all similar pairs of the pool are found once and cached; a subset then costs milliseconds;
- *direct*: if the pool has too many similar pairs to list (:data:`EDGE_LIMIT`), rows are compared with kept rows only.

MinHash candidates come from locality-sensitive hashing with so many bands that none is missed: if two signatures of P
values differ in at most m places, at least one of m+1 bands is equal. Cosine candidates come from a prefix filter
(Bayardo et al. 2007, "Scaling up all pairs similarity search"): features are ordered rarest first, and a row's frequent
features whose joint norm is below the threshold cannot by themselves make two rows similar.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.operators.base import DIGITS, Rows

#: At most this many similar pairs of a pool are listed and cached (12 bytes each).
EDGE_LIMIT = 4_000_000
#: At most this many candidate pairs are checked to list the similar ones.
CANDIDATE_LIMIT = 20_000_000
#: Cosine similarities are single precision: this much below the threshold still counts as equal to it.
COSINE_SLACK = 1e-6
#: Rows wider than this are multiplied as sparse matrices.
DENSE_WIDTH = 4096
_BLOCK = 1024
_PREFIX_MARGIN = 0.1

IntArray = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Edges:
    """Similar pairs: int32 node numbers and their similarity (matching signature values, or cosine)."""

    left: NDArray[np.int32]
    right: NDArray[np.int32]
    similarity: NDArray[np.float32]

    @classmethod
    def join(cls, parts: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]) -> Edges:
        if not parts:
            return cls(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))
        left, right, similarity = (np.concatenate(column) for column in zip(*parts, strict=True))
        return cls(left.astype(np.int32), right.astype(np.int32), similarity.astype(np.float32))

    def at_least(self, limit: float, order: IntArray) -> tuple[IntArray, IntArray]:
        """Pairs of positions (earlier, later) in ``order`` whose similarity reaches ``limit``.

        ``order`` gives each node's position in the subset, or -1.
        """
        strong = self.similarity >= np.float32(limit)
        first, second = order[self.left[strong]], order[self.right[strong]]
        inside = (first >= 0) & (second >= 0)
        first, second = first[inside], second[inside]
        return np.minimum(first, second), np.maximum(first, second)


def keep_first(n: int, earlier: IntArray, later: IntArray) -> Mask:
    """Which of n ordered items the greedy rule keeps, given all similar pairs (earlier < later)."""
    kept = np.ones(n, bool)
    if len(earlier) == 0:
        return kept
    order = np.argsort(earlier, kind="stable")
    later = later[order]
    nodes, starts = np.unique(earlier[order], return_index=True)
    ends = np.append(starts[1:], len(later))
    for node, start, end in zip(nodes.tolist(), starts.tolist(), ends.tolist(), strict=True):
        if kept[node]:
            kept[later[start:end]] = False
    return kept


def first_of_each(codes: IntArray, groups: int) -> tuple[IntArray, IntArray]:
    """Positions of the first item of every group present, ascending, and each such item's group."""
    first = np.full(groups, -1, np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)  # the last assignment, that of the first item, stays
    positions = np.sort(first[first >= 0])
    return positions, codes[positions]


# ---------------------------------------------------------------------------------------------------- MinHash


@dataclass(frozen=True)
class Signatures:
    """The distinct MinHash signatures of a pool.

    Attributes:
        group: which distinct signature each row has.
        distinct: uint32[U, P].
    """

    group: IntArray
    distinct: NDArray[np.uint32]

    @classmethod
    def of(cls, signatures: NDArray[np.uint32]) -> Signatures:
        """Collapse equal signatures: a thousand copies of a row are one node."""
        hashes = _row_hashes(signatures)
        _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
        distinct = signatures[first]
        for start in range(0, len(group), _BLOCK * 8):
            part = slice(start, start + _BLOCK * 8)
            if not np.array_equal(distinct[group[part]], signatures[part]):  # two signatures share a 64-bit hash
                distinct, group = np.unique(signatures, axis=0, return_inverse=True)
                break
        return cls(group.reshape(-1).astype(np.int64), np.ascontiguousarray(distinct))

    @property
    def num_perm(self) -> int:
        return int(self.distinct.shape[1])

    def needed(self, threshold: float) -> int:
        """Equal values that make the estimated Jaccard similarity at least ``threshold``."""
        scale = 10**DIGITS
        return int(-(-round(threshold * scale) * self.num_perm // scale))

    def edges(self, threshold: float) -> Edges | None:
        """All pairs of distinct signatures at ``threshold`` or above; None if there are too many candidates."""
        pairs: list[NDArray[np.uint64]] = []
        total = 0
        width = np.uint64(len(self.distinct))
        for keys in _band_keys(self.distinct, self.num_perm - self.needed(threshold) + 1):
            order = np.argsort(keys, kind="stable")
            ordered = keys[order]
            starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
            sizes = np.diff(np.append(starts, len(ordered)))
            shared = sizes > 1
            total += int((sizes[shared] * (sizes[shared] - 1) // 2).sum())
            if total > CANDIDATE_LIMIT:
                return None
            left, right = _pairs_within(order, starts[shared], sizes[shared])
            low, high = np.minimum(left, right).astype(np.uint64), np.maximum(left, right).astype(np.uint64)
            pairs.append(low * width + high)
        candidates = _distinct(np.concatenate(pairs)) if pairs else np.zeros(0, np.uint64)
        found: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []
        low_bytes = _low_bytes(self.distinct)  # equal values have equal low bytes: a cheap upper bound
        for start in range(0, len(candidates), _BLOCK * 16):
            chunk = candidates[start : start + _BLOCK * 16]
            left, right = (chunk // width).astype(np.int64), (chunk % width).astype(np.int64)
            likely = _equal_bytes(low_bytes[left], low_bytes[right]) >= self.needed(threshold)
            left, right = left[likely], right[likely]
            equal = np.count_nonzero(self.distinct[left] == self.distinct[right], axis=1)
            enough = equal >= self.needed(threshold)
            found.append((left[enough], right[enough], equal[enough]))
            if sum(len(part[0]) for part in found) > EDGE_LIMIT:
                return None
        return Edges.join(found)

    def keep(self, rows: Rows, threshold: float, edges: Edges | None) -> Mask:
        """Which of ``rows`` the greedy rule keeps; ``edges`` (at ``threshold`` or below) make it fast."""
        positions, nodes = first_of_each(self.group[rows], len(self.distinct))
        if edges is None:
            survivors = self._keep_directly(nodes, threshold)
        else:
            order = np.full(len(self.distinct), -1, np.int64)
            order[nodes] = np.arange(len(nodes))
            survivors = keep_first(len(nodes), *edges.at_least(self.needed(threshold), order))
        kept = np.zeros(len(rows), bool)
        kept[positions[survivors]] = True
        return kept

    def _keep_directly(self, nodes: IntArray, threshold: float) -> Mask:
        signatures = self.distinct[nodes]
        needed = self.needed(threshold)
        buckets: list[tuple[IntArray, IntArray, IntArray]] = []
        for keys in _band_keys(signatures, self.num_perm - needed + 1):
            _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
            members = np.argsort(inverse, kind="stable")  # ascending inside each bucket
            ends = np.cumsum(counts)[inverse]
            after = np.empty(len(nodes), np.int64)
            after[members] = np.arange(1, len(nodes) + 1)
            buckets.append((members, after, ends))
        kept = np.ones(len(nodes), bool)
        for node in range(len(nodes)):
            if not kept[node]:
                continue
            parts = [members[after[node] : ends[node]] for members, after, ends in buckets if after[node] < ends[node]]
            if not parts:
                continue
            mates = _distinct(np.concatenate(parts))
            mates = mates[kept[mates]]
            equal = np.count_nonzero(signatures[mates] == signatures[node], axis=1)
            kept[mates[equal >= needed]] = False
        return kept


def _distinct(values: NDArray[Any]) -> NDArray[Any]:
    """The distinct values, sorted; ``np.unique`` hashes integers, which is many times slower."""
    ordered = np.sort(values)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if len(ordered) else ordered


def _low_bytes(signatures: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """The lowest byte of each value, filled up with zeros to a multiple of 8 values."""
    rows, width = signatures.shape
    low = np.zeros((rows, -(-width // 8) * 8), np.uint8)
    low[:, :width] = signatures.astype(np.uint8)
    return low


def _equal_bytes(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> IntArray:
    """How many bytes of each pair of rows are equal: eight flags are added at a time (each count stays below 256)."""
    words = (left == right).view(np.uint64).sum(axis=1, dtype=np.uint64)
    counts: IntArray = words.view(np.uint8).reshape(-1, 8).sum(axis=1, dtype=np.int64)
    return counts


def _row_hashes(values: NDArray[np.uint32]) -> NDArray[np.uint64]:
    return _mixed(np.ascontiguousarray(values.T))


def _mixed(columns: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """A 64-bit hash of each column of a (width, n) array."""
    keys = np.zeros(columns.shape[1], np.uint64)
    for values in columns:
        keys ^= values
        keys *= np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys


def _band_keys(signatures: NDArray[np.uint32], bands: int) -> Iterator[NDArray[np.uint64]]:
    columns = np.ascontiguousarray(signatures.T)
    for band in np.array_split(np.arange(len(columns)), min(bands, len(columns))):
        yield _mixed(columns[band[0] : band[-1] + 1])


def _pairs_within(order: IntArray, starts: IntArray, sizes: IntArray) -> tuple[IntArray, IntArray]:
    """All pairs inside each run ``order[start : start + size]``."""
    members = np.repeat(starts, sizes) + _ramp(sizes)
    partners = np.repeat(starts + sizes, sizes) - members - 1
    left = np.repeat(members, partners)
    return order[left], order[left + 1 + _ramp(partners)]


def _ramp(sizes: IntArray) -> IntArray:
    """0, 1, …, size-1 for each size, concatenated."""
    return np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)


# ----------------------------------------------------------------------------------------------------- cosine


def normalized(matrix: Any) -> Any:
    """The rows of a sparse matrix scaled to unit length, without the columns that are empty; zero rows stay zero."""
    from scipy.sparse import diags

    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1), np.float64)).reshape(-1)
    scaled = (diags(1.0 / np.where(norms > 0, norms, 1.0)) @ matrix).tocsr().astype(np.float32)
    used = np.flatnonzero(np.bincount(scaled.indices, minlength=scaled.shape[1]))
    return scaled if len(used) == scaled.shape[1] else scaled[:, used]


def _similar(left: Any, right: Any, limit: float) -> tuple[IntArray, IntArray, NDArray[Any]]:
    """All (i, j, cosine) with cosine >= limit - COSINE_SLACK between two blocks of unit rows."""
    if left.shape[1] <= DENSE_WIDTH:
        products = left.toarray() @ right.toarray().T
        i, j = np.nonzero(products >= limit - COSINE_SLACK)
        return i, j, products[i, j]
    sparse = (left @ right.T).tocoo()
    strong = sparse.data >= limit - COSINE_SLACK
    return sparse.row[strong].astype(np.int64), sparse.col[strong].astype(np.int64), sparse.data[strong]


def cosine_edges(unit: Any, threshold: float, limit: int = EDGE_LIMIT) -> Edges | None:
    """All pairs of unit rows with cosine >= threshold; None if there are more than ``limit``."""
    found: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []
    total = 0
    plain = unit.shape[1] <= DENSE_WIDTH or unit.shape[0] <= _BLOCK
    blocks = _plain_blocks if plain else _prefix_blocks
    for left, right, similarity in blocks(unit, threshold):
        found.append((left.astype(np.int32), right.astype(np.int32), similarity.astype(np.float32)))
        total += len(left)
        if total > limit:
            return None
    return Edges.join(found)


def _plain_blocks(unit: Any, threshold: float) -> Iterator[tuple[IntArray, IntArray, NDArray[Any]]]:
    for start in range(0, unit.shape[0], _BLOCK):
        block = unit[start : start + _BLOCK]
        for other in range(start, unit.shape[0], _BLOCK * 4):
            left, right, similarity = _similar(block, unit[other : other + _BLOCK * 4], threshold)
            left, right = left + start, right + other
            upper = left < right
            yield left[upper], right[upper], similarity[upper]


def _prefix_blocks(unit: Any, threshold: float) -> Iterator[tuple[IntArray, IntArray, NDArray[Any]]]:
    """Sparse rows: multiply only the rare features of each row, then check what can still reach the threshold.

    Let a row's *rest* be its most frequent features with joint norm r <= threshold - margin, its *prefix* the others.
    For a similar pair, let x be the row whose prefix ends at the rarer feature: shared features beyond it add at most
    r_x, and those up to it lie in both prefixes. So cosine <= prefix·prefix + r_x, and only pairs for which this bound
    reaches the threshold are multiplied in full.
    """
    from scipy.sparse import csr_matrix

    rows = unit.shape[0]
    frequency = np.bincount(unit.indices, minlength=unit.shape[1])
    rank = np.empty(unit.shape[1], np.int32)
    rank[np.argsort(frequency, kind="stable")] = np.arange(unit.shape[1], dtype=np.int32)
    ordered = csr_matrix((unit.data, rank[unit.indices], unit.indptr), shape=unit.shape)
    ordered.sort_indices()
    squares = np.cumsum(np.append(0.0, ordered.data.astype(np.float64) ** 2))
    ends = np.repeat(squares[ordered.indptr[1:]], np.diff(ordered.indptr))
    from_here = np.sqrt(np.maximum(ends - squares[:-1], 0.0))  # norm of this feature and the more frequent ones
    in_rest = from_here <= threshold - _PREFIX_MARGIN
    rest = np.zeros(rows)
    owner = np.repeat(np.arange(rows), np.diff(ordered.indptr))
    np.maximum.at(rest, owner[in_rest], from_here[in_rest])
    sizes = np.bincount(owner[~in_rest], minlength=rows)
    indptr = np.append(0, np.cumsum(sizes))
    prefix = csr_matrix((ordered.data[~in_rest], ordered.indices[~in_rest], indptr), shape=unit.shape)
    for start in range(0, rows, _BLOCK):
        if start % (_BLOCK * 4) == 0:
            base, later = start, prefix[start:].T.tocsr()
        partial = prefix[start : start + _BLOCK] @ later
        reaching = np.flatnonzero(partial.data >= _PREFIX_MARGIN - 2 * COSINE_SLACK)  # since r <= threshold - margin
        left = np.searchsorted(partial.indptr, reaching, side="right") - 1 + start
        right = partial.indices[reaching].astype(np.int64) + base
        bound = partial.data[reaching] + np.maximum(rest[left], rest[right])
        possible = (left < right) & (bound >= threshold - 2 * COSINE_SLACK)
        left, right = left[possible], right[possible]
        for part in range(0, len(left), _BLOCK * 64):
            i, j = left[part : part + _BLOCK * 64], right[part : part + _BLOCK * 64]
            similarity = np.asarray(unit[i].multiply(unit[j]).sum(axis=1)).reshape(-1)
            strong = similarity >= threshold - COSINE_SLACK
            yield i[strong], j[strong], similarity[strong]


def cosine_keep(unit: Any, threshold: float) -> Mask:
    """Which of the unit rows, in their order, the greedy rule keeps: block by block against the rows kept so far."""
    from scipy.sparse import vstack

    rows = unit.shape[0]
    kept = np.ones(rows, bool)
    chunks: list[Any] = []
    for start in range(0, rows, _BLOCK):
        block = unit[start : start + _BLOCK]
        alive = np.ones(block.shape[0], bool)
        for chunk in chunks:
            alive[_similar(block, chunk, threshold)[0]] = False
        open_rows = np.flatnonzero(alive)
        inner = block[open_rows]
        left, right, _ = _similar(inner, inner, threshold)
        upper = left < right
        survivors = open_rows[keep_first(len(open_rows), left[upper], right[upper])]
        kept[start : start + _BLOCK] = False
        kept[start + survivors] = True
        if len(survivors):
            fresh = block[survivors]
            if chunks and chunks[-1].shape[0] + len(survivors) <= _BLOCK * 4:
                chunks[-1] = vstack([chunks[-1], fresh]).tocsr()
            else:
                chunks.append(fresh)
    return kept


# --------------------------------------------------------------------------------------------------- clusters


def spherical_kmeans(unit: Any, clusters: int, seed: int, *, dims: int = 64, rounds: int = 10) -> IntArray:
    """Cluster of each unit row by k-means on the sphere, after a random projection to ``dims`` dimensions.

    Fitted on at most max(20,000, 40·clusters) rows from as many distinct random rows as there are clusters; rows
    without features get -1. Written out because scikit-learn's sums depend on thread timing, and subsets must not.
    """
    rng = np.random.default_rng([seed, clusters])
    labels = np.full(unit.shape[0], -1, np.int64)
    filled = np.flatnonzero(np.diff(unit.indptr))
    if len(filled) == 0:
        return labels
    points = unit
    if unit.shape[1] > dims:
        points = unit @ rng.standard_normal((unit.shape[1], dims), dtype=np.float32)
    else:
        points = unit.toarray()
    points = _scaled(points[filled])
    fit = points
    limit = max(20_000, 40 * clusters)
    if len(points) > limit:
        fit = points[np.sort(rng.choice(len(points), limit, replace=False))]
    centres = fit[np.sort(rng.choice(len(fit), min(clusters, len(fit)), replace=False))]
    previous = np.zeros(0, np.int64)
    for _ in range(rounds):
        nearest = _nearest(fit, centres)
        if np.array_equal(nearest, previous):
            break
        order = np.argsort(nearest, kind="stable")
        present, starts = np.unique(nearest[order], return_index=True)
        centres = centres.copy()
        centres[present] = _scaled(np.add.reduceat(fit[order], starts, axis=0))
        previous = nearest
    labels[filled] = _nearest(points, centres)
    return labels


def _scaled(points: NDArray[Any]) -> NDArray[np.float32]:
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    return np.asarray(points / np.where(norms > 0, norms, 1.0), np.float32)


def _nearest(points: NDArray[np.float32], centres: NDArray[np.float32]) -> IntArray:
    nearest = np.empty(len(points), np.int64)
    for start in range(0, len(points), _BLOCK * 4):
        nearest[start : start + _BLOCK * 4] = np.argmax(points[start : start + _BLOCK * 4] @ centres.T, axis=1)
    return nearest


def cluster_edges(unit: Any, labels: IntArray, threshold: float, limit: int = EDGE_LIMIT) -> Edges | None:
    """All pairs of rows of one cluster with cosine >= threshold; None if there are more than ``limit``."""
    found: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []
    total = 0
    for members in clusters_of(labels):
        inside = cosine_edges(unit[members], threshold, limit - total)
        if inside is None:
            return None
        found.append((members[inside.left], members[inside.right], inside.similarity))
        total += len(inside.left)
    return Edges.join(found)


def clusters_of(labels: IntArray) -> Iterator[IntArray]:
    """Positions of the members of each cluster of at least two, ascending; label -1 is no cluster."""
    order = np.argsort(labels, kind="stable")
    order = order[np.count_nonzero(labels < 0) :]
    if len(order):
        for members in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
            if len(members) > 1:
                yield members
