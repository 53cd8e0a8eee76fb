"""All near duplicates of a pool: candidates by locality-sensitive hashing, then the exact Jaccard similarity.

The signatures are cut into b bands of r values; two rows are candidates if a band is equal, which happens to a pair of
Jaccard similarity s with probability 1 − (1 − sʳ)ᵇ. The banding is the most selective one that reaches the recall asked
for at the lowest similarity. Candidates are then compared by their sets of shingles, made again from the texts of the
few rows concerned, so that no false pair is left and similarities carry no error of estimation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from autoselection.hashing import mixed
from autoselection.schema import StrictModel
from autoselection.segmentation import for_batches
from autoselection.signals.contract import Loaded, Rows, Signal
from autoselection.signals.families.shingles import shingles_of
from autoselection.signals.inputs import Inputs
from autoselection.signals.pairs import Edges, IntArray, NearDuplicates
from autoselection.signals.stored import Shard, SignalSpec, StoredSignal

#: Raised whenever other pairs would be found with the same signatures.
VERSION = 3
#: Lowest Jaccard similarity listed.
JACCARD_FLOOR = 0.5
#: Share of the pairs at the lowest similarity that are found, unless the user says otherwise.
DEFAULT_RECALL = 0.95
#: At most this many candidate pairs are compared; beyond it, rows of large groups are compared with the next ones only.
CANDIDATE_LIMIT = 10_000_000
#: Up to this many distinct rows, all pairs are compared: nothing is missed.
ALL_PAIRS = 1_000
#: Pairs whose sets of shingles are compared at once.
_PAIRS = 1 << 15
_ROWS = 1 << 14
_WIDEST = 32
_FIRST_VALUES = 32
#: Candidates are dropped unseen if their signatures put them this many standard deviations below the lowest similarity.
_DEVIATIONS = 5.0

Texts = Callable[[IntArray], Sequence[str]]


def banding(num_perm: int, recall: float, floor: float = JACCARD_FLOOR) -> tuple[int, int]:
    """(values a band, bands): the longest bands, and the fewest, that find a pair at ``floor`` with this probability."""
    for width in range(min(num_perm, _WIDEST), 0, -1):
        bands = max(1, math.ceil(math.log1p(-recall) / math.log1p(-(floor**width))))
        if bands * width <= num_perm:
            return width, bands
    return 1, num_perm


def near_duplicates(
    signatures: NDArray[np.uint32],
    texts: Texts | None,
    ngram_size: int,
    *,
    recall: float = DEFAULT_RECALL,
    floor: float = JACCARD_FLOOR,
) -> NearDuplicates:
    """List the pairs of rows whose Jaccard similarity is at least ``floor``.

    Args:
        signatures: uint32[N, num_perm], one a row; may be memory-mapped.
        texts: maps row numbers to texts; None takes the share of equal signature values for the similarity.
        recall: share of the pairs at ``floor`` to be found.

    If the candidates were more than ``CANDIDATE_LIMIT``, rows of a large group are compared with a limited number of
    the rows after them; what was left out is counted in ``stats["pairs_not_compared"]``.
    """
    node = _nodes(signatures, texts, ngram_size) if len(signatures) else np.zeros(0, np.int64)
    nodes = np.flatnonzero(node == np.arange(len(node)))
    left, right, skipped = _candidates(signatures, nodes, recall, floor)
    candidates = len(left)
    left, right, share = _likely(signatures, left, right, floor)
    if texts is None:
        enough = share >= floor
        edges = Edges.join([(left[enough], right[enough], share[enough])])
    else:
        edges = Edges.join(list(_verified(left, right, texts, ngram_size, floor)))
    stats = {"candidates": candidates, "pairs": len(edges), "pairs_not_compared": skipped}
    stats["rows_equal_to_an_earlier_one"] = len(node) - len(nodes)
    found = 1.0 if len(nodes) <= ALL_PAIRS else recall
    return NearDuplicates(node.astype(np.int32), edges, ngram_size, floor, found, texts is not None, stats)


# ------------------------------------------------------------------------------------------------- equal sets first


def _nodes(signatures: NDArray[np.uint32], texts: Texts | None, ngram_size: int) -> IntArray:
    """The lowest row with the same shingles (without texts: the same signature) as each row."""
    # With texts the first values do: whoever shares them is distinguished by the shingles.
    keys = _signature_keys(signatures if texts is None else signatures[:, :_FIRST_VALUES])
    order, starts, sizes = _groups(keys)
    if texts is not None:
        twins = np.sort(order)
        for start in range(0, len(twins), _ROWS):
            rows = twins[start : start + _ROWS]
            keys[rows] = mixed(keys[rows] ^ _set_keys(_sets(texts(rows), ngram_size)))
        order, starts, sizes = _groups(keys)
    node = np.arange(len(keys))
    node[order] = np.repeat(order[starts], sizes)
    copies = np.flatnonzero(node != np.arange(len(node)))
    for start in range(0, len(copies), _ROWS):  # two signatures with one 64-bit hash stay apart
        rows = copies[start : start + _ROWS]
        different = (signatures[rows] != signatures[node[rows]]).any(axis=1)
        node[rows[different]] = rows[different]
    return node


def _signature_keys(signatures: NDArray[np.uint32]) -> NDArray[np.uint64]:
    return _band_keys(signatures, signatures.shape[1], 1).reshape(-1)


def _band_keys(signatures: NDArray[np.uint32], width: int, bands: int) -> NDArray[np.uint64]:
    """A 64-bit hash of each band of each signature, uint64[bands, N]: a sum of its values, each times a random number."""
    factors = np.random.default_rng(width).integers(1 << 63, 1 << 64, width, dtype=np.uint64) | np.uint64(1)
    keys = np.empty((bands, len(signatures)), np.uint64)
    for start in range(0, len(signatures), _ROWS):
        block = signatures[start : start + _ROWS, : bands * width].astype(np.uint64)
        keys[:, start : start + _ROWS] = (block.reshape(len(block), bands, width) @ factors).T
    return keys


# -------------------------------------------------------------------------------------------------------- candidates


def _candidates(
    signatures: NDArray[np.uint32], nodes: IntArray, recall: float, floor: float
) -> tuple[IntArray, IntArray, int]:
    """Distinct pairs of rows (left < right) that are equal in a band, and how many were left out as too many."""
    if len(nodes) <= ALL_PAIRS:
        one, other = np.triu_indices(len(nodes), 1)
        return nodes[one], nodes[other], 0
    width, bands = banding(signatures.shape[1], recall, floor)
    pairs = np.zeros(0, np.uint64)
    skipped = 0
    for keys in _band_keys(signatures, width, bands):
        one, other, left_out = _equal_keys(keys[nodes], max(CANDIDATE_LIMIT - len(pairs), CANDIDATE_LIMIT // bands))
        skipped += left_out
        found = (one.astype(np.uint64) << np.uint64(32)) | other.astype(np.uint64)
        pairs = distinct(np.concatenate([pairs, distinct(found)]))
    left, right = pairs >> np.uint64(32), pairs & np.uint64(0xFFFFFFFF)
    return nodes[left.astype(np.int64)], nodes[right.astype(np.int64)], skipped


def _equal_keys(keys: NDArray[np.uint64], limit: int) -> tuple[IntArray, IntArray, int]:
    """Pairs of positions (first < second) with equal keys, about ``limit`` at most, and how many were left out."""
    order, starts, sizes = _groups(keys)
    reach = _reach(sizes, limit)
    members = np.arange(len(order))
    partners = np.minimum(np.repeat(starts + sizes, sizes) - members - 1, reach)
    first = np.repeat(members, partners)
    skipped = int((sizes * (sizes - 1) // 2).sum()) - len(first)
    return order[first], order[first + 1 + ramp(partners)], skipped


def _groups(keys: NDArray[np.uint64]) -> tuple[IntArray, IntArray, IntArray]:
    """Positions whose key is not alone, group by group, ascending in each; where each group starts, and its size.

    Most keys are alone, and only the others need sorting: each key is written to a slot named by its upper bits, and
    whoever reads back another position is not alone in that slot, nor is the one it reads. A second round by the lower
    bits leaves few that only share slots.
    """
    bits = max(8, len(keys).bit_length() + 3)
    positions: IntArray | None = None
    for shift in (64 - bits, 0):
        chosen = keys if positions is None else keys[positions]
        slots = (chosen >> np.uint64(shift)).astype(np.int64)
        if not shift:
            slots &= (1 << bits) - 1
        place = np.arange(len(chosen), dtype=np.int32)
        last = np.empty(1 << bits, np.int32)
        last[slots] = place
        read = last[slots]
        beaten = np.flatnonzero(read != place)
        shared = np.zeros(len(chosen), np.bool_)
        shared[beaten] = True
        shared[read[beaten]] = True
        kept = np.flatnonzero(shared)
        positions = kept if positions is None else positions[kept]
    assert positions is not None
    order = positions[np.argsort(keys[positions], kind="stable")]
    ordered = keys[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))[: len(ordered)]
    sizes = np.diff(np.append(starts, len(ordered)))
    order = order[np.repeat(sizes > 1, sizes)]
    sizes = sizes[sizes > 1]
    return order, np.cumsum(sizes) - sizes, sizes


def _reach(sizes: IntArray, limit: int) -> int:
    """With how many of the next members of its group each is compared, so that about ``limit`` pairs arise in all."""
    low, high = 1, max(1, int(sizes.max(initial=1)))
    while low < high:
        reach = (low + high + 1) // 2
        inner = np.minimum(sizes - 1, reach)
        if int((inner * sizes - inner * (inner + 1) // 2).sum()) <= limit:
            low = reach
        else:
            high = reach - 1
    return low


def distinct(values: NDArray[Any]) -> NDArray[Any]:
    """The distinct values, sorted; ``np.unique`` hashes integers, which is many times slower."""
    ordered = np.sort(values, kind="stable")  # which merges sorted runs in linear time
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if len(ordered) else ordered


def ramp(sizes: IntArray) -> IntArray:
    """0, 1, …, size-1 for each size, concatenated."""
    return np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def _likely(
    signatures: NDArray[np.uint32], left: IntArray, right: IntArray, floor: float
) -> tuple[IntArray, IntArray, NDArray[np.float64]]:
    """The pairs that may reach ``floor``, with the share of equal values of their signatures."""
    places = signatures.shape[1]
    least = floor - _DEVIATIONS * math.sqrt(floor * (1 - floor) / places)
    parts: list[tuple[IntArray, IntArray, NDArray[np.float64]]] = []
    for start in range(0, len(left), _ROWS):
        one, other = left[start : start + _ROWS], right[start : start + _ROWS]
        share = np.count_nonzero(signatures[one] == signatures[other], axis=1) / places
        likely = share >= least
        parts.append((one[likely], other[likely], share[likely]))
    if not parts:
        return left, right, np.zeros(0)
    one, other, share = (np.concatenate(column) for column in zip(*parts, strict=True))
    return one, other, share


# ------------------------------------------------------------------------------------------------- exact similarities


def _verified(
    left: IntArray, right: IntArray, texts: Texts, ngram_size: int, floor: float
) -> Iterator[tuple[IntArray, IntArray, NDArray[np.float64]]]:
    """The pairs whose sets of shingles have a Jaccard similarity of at least ``floor``, with it."""
    for start in range(0, len(left), _PAIRS):
        one, other = left[start : start + _PAIRS], right[start : start + _PAIRS]
        rows, place = np.unique(np.concatenate([one, other]), return_inverse=True)
        sets = _sets(texts(rows), ngram_size)
        sizes = np.diff(sets.indptr)
        first, second = place[: len(one)], place[len(one) :]
        possible = np.flatnonzero(
            np.minimum(sizes[first], sizes[second]) >= floor * np.maximum(sizes[first], sizes[second])
        )
        first, second = first[possible], second[possible]
        common = np.empty(len(possible), np.int64)
        for part in range(0, len(possible), _ROWS):
            span = slice(part, part + _ROWS)
            common[span] = np.diff(sets[first[span]].multiply(sets[second[span]]).indptr)
        jaccard = common / (sizes[first] + sizes[second] - common)
        enough = jaccard >= floor
        yield one[possible][enough], other[possible][enough], jaccard[enough]


def _sets(texts: Sequence[str], ngram_size: int) -> Any:
    """The distinct shingles of each text, as a sparse 0/1 matrix whose columns are their hashes (62 bits of them)."""
    from scipy.sparse import csr_matrix

    def work(_: slice, batch: Sequence[str]) -> tuple[IntArray, IntArray]:
        found = shingles_of(batch, ngram_size)
        columns = (found.hashes >> np.uint64(2)).astype(np.int64)
        shape = (len(batch), 1 << 62)
        matrix = csr_matrix((np.ones(len(columns), np.int8), columns, found.offsets), shape=shape)
        matrix.sum_duplicates()
        return matrix.indices, np.diff(matrix.indptr)

    parts = list(for_batches(texts, work))
    columns = np.concatenate([part[0] for part in parts])
    offsets = np.append(0, np.cumsum(np.concatenate([part[1] for part in parts])))
    matrix = csr_matrix((np.ones(len(columns), np.int8), columns, offsets), shape=(len(texts), 1 << 62))
    matrix.has_canonical_format = True  # so that products need no sorting
    return matrix


def _set_keys(sets: Any) -> NDArray[np.uint64]:
    """A 64-bit hash of each set, whatever its order."""
    keys: NDArray[np.uint64] = np.add.reduceat(mixed(sets.indices.astype(np.uint64)), sets.indptr[:-1])
    return keys


class NearDuplicateOptions(StrictModel):
    """Options of ``near_duplicates``."""

    recall: float = Field(
        DEFAULT_RECALL,
        ge=0.5,
        le=0.9999,
        description="Share of the near duplicates with a Jaccard similarity of 0.5 that are found (of more similar "
        "ones: more, 0.9999 at 0.7 with the default); a higher share takes longer.",
    )


class NearDuplicatePairs(Signal):
    """All near duplicates, from the signatures of the pool and, exactly, from its texts."""

    name = "near_duplicates"
    version = VERSION
    arrays = ("node",)
    options_model = NearDuplicateOptions
    made_from = ("minhash",)
    rowwise = False
    asked_as: ClassVar[Mapping[str, tuple[str, ...]]] = {"near_duplicates": ("near_duplicates",)}

    _found: NearDuplicates | None = None

    def spec(self, inputs: Inputs, needed: Mapping[str, SignalSpec]) -> SignalSpec:
        params = {**needed["minhash"].params, "recall": self.options.recall, "floor": JACCARD_FLOOR}
        # The key of the signatures too: with others, other pairs are candidates.
        return SignalSpec(self.name, self.version, params, uses=needed, rowwise=False)

    def compute(self, rows: Rows) -> Shard:
        found = self._pairs(rows)
        return Shard({"node": found.node}, found.stats)

    def whole(self, rows: Rows) -> Mapping[str, Any]:
        return {name: array for name, array in self._pairs(rows).arrays.items() if name not in self.arrays}

    def _pairs(self, rows: Rows) -> NearDuplicates:
        if self._found is None:
            stored = rows.needed["minhash"]
            ngram_size = int(stored.meta["params"]["ngram_size"])
            signatures = stored.arrays["minhash"]
            self._found = near_duplicates(signatures, rows.pool.texts, ngram_size, recall=self.options.recall)
        return self._found

    @classmethod
    def load(cls, stored: StoredSignal) -> Loaded:
        params, arrays, stats = stored.meta["params"], stored.arrays, stored.meta["stats"]
        nodes = len(arrays["node"]) - stats["rows_equal_to_an_earlier_one"]
        recall = 1.0 if nodes <= ALL_PAIRS else params["recall"]
        facts = {"ngram_size": params["ngram_size"], "floor": params["floor"], "recall": recall, "stats": stats}
        pairs = NearDuplicates.of_arrays(arrays, **facts)
        return Loaded(arrays={"near_duplicates": pairs})
