"""The cosines of all rows that share a cluster, for pools whose rows are alike wherever they are.

Where rows share most of their features, nearly every pair within a cluster is similar. A sorted list of them is then
larger than the cosines themselves, takes longer to sort than they take to multiply, and every deduplication goes through
most of it. A square of cosines for each cluster needs no sorting and no lowest similarity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.signals.derived import cosine as pair_limits
from autoselection.signals.derived.contract import Arrays, DerivedSignal
from autoselection.signals.derived.cosine import COSINE_SLACK, Halves
from autoselection.signals.derived.cosine_pairs import CLUSTER_FLOOR, FeatureClusters, listable, same_rows, unit_vectors
from autoselection.signals.pairs import Edges, IntArray
from autoselection.signals.table import SignalTable

#: About so many of the most similar pairs for each row are listed too: above their similarity few pairs count.
STRONGEST = 8
#: Cosines, and rows, that are multiplied at once.
_CELLS = 1 << 22
_ROWS = 1 << 14
#: Cosines by which the similarity is estimated from which on pairs are listed.
_SAMPLE = 1 << 20
#: The lowest similarity listed where no pair is.
_NOTHING = 2.0


@dataclass(frozen=True, eq=False)
class Squares:
    """The cosines of the rows of each cluster with each other, one square a cluster, row by row.

    Attributes:
        node: int32[N]: which row stands for each (equal ones are one node).
        label: int32[N]: cluster of each row; -1 for a row that is in none, or that another stands for.
        begin: int64[N]: where in ``cosines`` those of a row with the rows of its cluster begin.
        place: int32[N]: number of a row in its cluster.
        cosines: float32[sum of the squares of the clusters' sizes].
        strongest: the most similar pairs of nodes, from ``floor`` on.
    """

    node: NDArray[np.int32]
    label: NDArray[np.int32]
    begin: NDArray[np.int64]
    place: NDArray[np.int32]
    cosines: NDArray[np.float32]
    strongest: Edges
    floor: float


class ClusterCosines(DerivedSignal):
    """The cosines within clusters of features, multiplied in double precision and rounded to single."""

    name = "cluster cosines"
    uses = ("sae",)

    def __init__(self, clusters: FeatureClusters) -> None:
        super().__init__(**clusters.params)
        self._clusters = clusters

    def suits(self, table: SignalTable) -> bool:
        """Whether most pairs within clusters are similar, as in a pool whose similar pairs are too many to list, and few
        enough to hold."""
        if listable(table, "sae", CLUSTER_FLOOR) == CLUSTER_FLOOR:
            return False
        label = self._clusters.labels(table)
        sizes = np.bincount(label[label >= 0])
        return int((sizes * (sizes - 1) // 2).sum()) <= pair_limits.EDGE_LIMIT

    def build(self, table: SignalTable) -> Arrays:
        unit = unit_vectors(table, "sae")
        node = same_rows(table, "sae")
        label = np.where(node == np.arange(len(node)), self._clusters.labels(table), -1)
        found = squares_of(unit, node, label, STRONGEST * table.n)
        arrays = {name: getattr(found, name) for name in ("node", "label", "begin", "place", "cosines")}
        strongest = found.strongest
        listed = {"left": strongest.left, "right": strongest.right, "similarity": strongest.similarity}
        return {**arrays, **listed, "floor": np.array(found.floor)}

    def squares(self, table: SignalTable) -> Squares:
        """Those of a table."""
        arrays = self.of(table)
        strongest = Edges(arrays["left"], arrays["right"], arrays["similarity"])
        rows = {name: arrays[name] for name in ("node", "label", "begin", "place", "cosines")}
        return Squares(**rows, strongest=strongest, floor=float(arrays["floor"]))


def squares_of(unit: Any, node: IntArray, label: IntArray, strongest: int) -> Squares:
    """The cosines within clusters of sparse unit rows.

    Args:
        node: int64[N]: which row stands for each.
        label: int64[N]: cluster of each row; -1 for a row in none.
        strongest: about how many of the most similar pairs are listed too.
    """
    members = np.argsort(label, kind="stable")[np.count_nonzero(label < 0) :]
    sizes = np.bincount(label[members], minlength=1)
    first = (np.cumsum(sizes) - sizes)[label[members]]  # of each member's cluster, among the members
    size = sizes[label[members]]
    start = np.cumsum(size) - size
    cosines = np.empty(int(size.sum()), np.float32)
    for part in _parts(size):
        cells = slice(start[part.start], start[part.stop - 1] + size[part.stop - 1])
        cosines[cells] = _rows_of_squares(unit, members, first, size, part)
    begin, place = np.full(len(label), -1, np.int64), np.full(len(label), -1, np.int32)
    begin[members], place[members] = start, np.arange(len(members)) - first
    edges, floor = _strongest(members, first, start, cosines, strongest)
    return Squares(node.astype(np.int32), label.astype(np.int32), begin, place, cosines, edges, floor)


def _parts(size: IntArray) -> Iterator[slice]:
    """Members in turn, as many as have few enough cosines for one product."""
    ends = np.cumsum(size)
    begin = 0
    while begin < len(size):
        done = ends[begin - 1] if begin else 0
        end = int(np.searchsorted(ends, done + _CELLS, side="right"))
        yield slice(begin, min(max(end, begin + 1), begin + _ROWS))
        begin = min(max(end, begin + 1), begin + _ROWS)


def _rows_of_squares(unit: Any, members: IntArray, first: IntArray, size: IntArray, part: slice) -> NDArray[np.float64]:
    """Cosines of some members with all of their clusters, float64, row by row."""
    from scipy.sparse import csr_matrix

    low, high = int(first[part.start]), int(first[part.stop - 1] + size[part.stop - 1])
    halves = Halves.of(unit[members[low:high]])
    common = halves.common.toarray().astype(np.float64)
    offset = np.cumsum(size[part]) - size[part]
    found = np.empty(int(size[part].sum()))
    for begin in np.flatnonzero(np.append(True, np.diff(first[part]) != 0)) + part.start:
        own, count = int(first[begin]), int(size[begin])
        rows = slice(int(begin) - low, min(own + count, part.stop) - low)
        block = common[rows] @ common[own - low : own - low + count].T
        found[offset[begin - part.start] :][: block.size] = block.ravel()
    # Features renamed cluster by cluster: rows of different clusters then share none.
    rare = halves.rare
    names = np.repeat(first[low:high], np.diff(rare.indptr)) * rare.shape[1] + rare.indices
    names, renamed = np.unique(names, return_inverse=True)
    shape = (high - low, len(names))
    rare = csr_matrix((rare.data.astype(np.float64), renamed.reshape(-1).astype(np.int32), rare.indptr), shape=shape)
    products = rare[part.start - low : part.stop - low] @ rare.T
    row = np.repeat(np.arange(part.stop - part.start), np.diff(products.indptr))
    found[offset[row] + products.indices + low - first[part][row]] += products.data
    return found


def _strongest(
    members: IntArray, first: IntArray, start: IntArray, cosines: NDArray[np.float32], count: int
) -> tuple[Edges, float]:
    """About ``count`` of the most similar pairs, and the lowest similarity listed.

    Where far more are as similar as that, none are listed: of rows as alike, few are kept, and squares are fast.
    """
    sample = cosines[:: max(1, len(cosines) // _SAMPLE)]
    ranks = round((2 * count + len(members)) / max(1, len(cosines)) * len(sample))  # both ways, and with themselves
    floor = float(np.partition(sample, -ranks)[-ranks]) if 0 < ranks <= len(sample) else -1.0
    found = np.flatnonzero(cosines >= np.float32(floor - COSINE_SLACK))
    if len(found) > 4 * count + len(members):
        return Edges.join([]), _NOTHING
    one = np.searchsorted(start, found, side="right") - 1
    other = first[one] + found - start[one]
    upper = one < other
    return Edges.join([(members[one[upper]], members[other[upper]], cosines[found[upper]])]), floor
