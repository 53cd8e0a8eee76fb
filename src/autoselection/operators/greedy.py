"""The greedy rule of every deduplication here, exactly and fast.

The rule: go through the rows in the order given and drop a row if it is similar enough to an earlier row that was *kept*.
Three ways lead to the same answer: by *edges*, the pairs of similar rows of the pool that were found once; by *squares*, the
cosines of all rows of a cluster; or *directly*, each row compared with kept rows only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.signals.derived.cluster_cosines import Squares
from autoselection.signals.derived.cosine import BLOCK, COSINE_SLACK, Halves, products_from
from autoselection.signals.pairs import Edges, IntArray

#: Edges whose greedy pass is finished edge by edge are turned into Python numbers in blocks of this many.
_EDGE_BLOCK = 1 << 20

Mask = NDArray[np.bool_]


def keep_first(n: int, earlier: IntArray, later: IntArray) -> Mask:
    """Which of n ordered items the greedy rule keeps, given all similar pairs (earlier < later).

    In rounds: an item without an undecided earlier neighbour is kept and its later neighbours go. In most orders few
    rounds decide all (Blelloch et al. 2012); once a round no longer halves the pairs, as in a long chain, the rest is
    done pair by pair.
    """
    kept = np.ones(n, bool)
    waiting = np.zeros(n, bool)
    while len(earlier):
        waiting[later] = True
        decided = ~waiting[earlier]
        waiting[later] = False
        kept[later[decided]] = False
        left = ~decided & kept[earlier] & kept[later]
        halved = 2 * np.count_nonzero(left) <= len(left)
        earlier, later = earlier[left], later[left]
        if not halved:
            return _finished(kept, earlier, later)
    return kept


def _finished(kept: Mask, earlier: IntArray, later: IntArray) -> Mask:
    """The greedy rule pair by pair, in the order of the earlier items: then each of them is decided when its turn comes."""
    from scipy.sparse import csr_matrix

    n = len(kept)
    pairs = csr_matrix((np.ones(len(earlier), np.int8), (earlier, later)), shape=(n, n))  # sorts by counting
    sources, targets = np.repeat(np.arange(n), np.diff(pairs.indptr)), pairs.indices
    alive = bytearray(kept.tobytes())
    for start in range(0, len(targets), _EDGE_BLOCK):
        block = slice(start, start + _EDGE_BLOCK)
        for source, target in zip(sources[block].tolist(), targets[block].tolist(), strict=True):
            if alive[source]:
                alive[target] = 0
    return np.frombuffer(alive, bool)


def first_of_each(codes: NDArray[Any], groups: int) -> tuple[IntArray, IntArray]:
    """Positions of the first item of every group present, ascending, and each such item's group."""
    first = np.full(groups, -1, np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)  # the last assignment, that of the first item, stays
    found = np.zeros(len(codes), bool)
    found[first[first >= 0]] = True
    positions = np.flatnonzero(found)
    return positions, codes[positions]


def keep_by_edges(rows: IntArray, node: NDArray[Any], edges: Edges, threshold: float) -> Mask:
    """Which of ``rows``, in their order, the greedy rule keeps.

    Args:
        node: the row that stands for each row of the pool: rows of one node are equal.
        edges: pairs of nodes.
        threshold: similarity from which on a pair counts.
    """
    positions, nodes = first_of_each(node[rows], len(node))
    order = np.full(len(node), -1, np.int64)
    order[nodes] = np.arange(len(nodes))
    kept = np.zeros(len(rows), bool)
    kept[positions[keep_first(len(nodes), *edges.at_least(threshold, order))]] = True
    return kept


def keep_in_squares(rows: IntArray, squares: Squares, threshold: float) -> Mask:
    """Which of ``rows``, in their order, the greedy rule keeps inside clusters.

    In rounds: of every cluster the first row left is kept, and those that are similar to it go. Rows are compared with
    kept ones only, so that a low threshold, which keeps few rows of a cluster, is soon done.

    Args:
        threshold: cosine from which on a pair counts.
    """
    if threshold >= squares.floor - COSINE_SLACK:
        return keep_by_edges(rows, squares.node, squares.strongest, threshold)
    positions, nodes = first_of_each(squares.node[rows], len(squares.node))
    label = squares.label[nodes]
    kept = np.zeros(len(rows), bool)
    kept[positions[label < 0]] = True
    order = np.argsort(label.astype(np.int16) if label.max(initial=0) < 1 << 15 else label, kind="stable")  # radix
    order = order[np.count_nonzero(label < 0) :]
    left, nodes, label = positions[order], nodes[order], label[order]
    begin, place = squares.begin[nodes], squares.place[nodes]
    limit = np.float32(threshold)
    while len(left):
        leads = np.append(True, label[1:] != label[:-1])
        heads = np.flatnonzero(leads)
        kept[left[heads]] = True
        counts = np.diff(np.append(heads, len(left)))
        open_ = squares.cosines.take(np.repeat(begin[heads], counts) + place) < limit
        open_[heads] = False
        left, label, begin, place = left[open_], label[open_], begin[open_], place[open_]
    return kept


def cosine_keep(unit: Any, threshold: float) -> Mask:
    """Which of the unit rows, in their order, the greedy rule keeps: block by block against the rows kept so far."""
    if not isinstance(unit, np.ndarray):
        unit = Halves.of(unit)
    rows = unit.shape[0]
    kept = np.ones(rows, bool)
    chunks: list[Any] = []
    for start in range(0, rows, BLOCK):
        block = unit[start : start + BLOCK]
        alive = np.ones(block.shape[0], bool)
        for chunk in chunks:
            alive[products_from(block, chunk, threshold)[0]] = False
        open_rows = np.flatnonzero(alive)
        inner = block[open_rows]
        left, right, _ = products_from(inner, inner, threshold)
        upper = left < right
        survivors = open_rows[keep_first(len(open_rows), left[upper], right[upper])]
        kept[start : start + BLOCK] = False
        kept[start + survivors] = True
        if len(survivors):
            fresh = block[survivors]
            if chunks and chunks[-1].shape[0] + len(survivors) <= BLOCK * 4:
                chunks[-1] = _stacked(chunks[-1], fresh)
            else:
                chunks.append(fresh)
    return kept


def _stacked(above: Any, below: Any) -> Any:
    return above.above(below) if isinstance(above, Halves) else np.concatenate([above, below])
