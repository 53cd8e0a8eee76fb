"""Judgements of deduplication: the earlier row, kept, to which a row is most similar."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.operators.base import Decision, Rows
from autoselection.operators.greedy import first_of_each
from autoselection.operators.judgement import Judgement, shown
from autoselection.signals.derived.cosine import single
from autoselection.signals.pairs import Edges

#: Cosines that are computed at once.
_CELLS = 1 << 24
#: Kept rows that are multiplied at once.
_ROWS = 1 << 14


def by_groups(decision: Decision, asked: Rows, codes: NDArray[Any], same: str) -> list[Judgement | None]:
    """Of rows that are duplicates if they have one code; ``same``: what they then share, in words."""
    first = _first_of(decision, codes, int(codes.max(initial=0)) + 1)
    return [
        Judgement(f"no earlier row has {same}")
        if other == row
        else Judgement(f"an earlier row, {other}, has {same}", value=1.0, limit=1.0, margin=0.0, other=other)
        for row, other in zip(asked.tolist(), first[codes[asked]].tolist(), strict=True)
    ]


def _first_of(decision: Decision, codes: NDArray[Any], groups: int) -> NDArray[np.int64]:
    """The first row given of every group; -1 where none was."""
    positions, present = first_of_each(codes[decision.rows], groups)
    first = np.full(groups, -1, np.int64)
    first[present] = decision.rows[positions]
    return first


def by_pairs(
    decision: Decision, asked: Rows, node: NDArray[Any], edges: Edges, threshold: float, measure: str
) -> list[Judgement | None]:
    """Of rows whose similar pairs are listed.

    Args:
        node: the row that stands for each row of the pool: rows of one node are equal.
        edges: pairs of nodes.
        measure: what the similarity is called.
    """
    n = decision.signals.n
    first, places = _first_of(decision, node, len(node)), decision.places()
    other = np.full(n, -1, np.int64)  # by node: the node of the kept row most similar to its first row
    similarity = np.full(n, np.nan, np.float32)
    wanted = np.zeros(n, bool)
    wanted[node[asked]] = True
    alive = (first >= 0) & decision.members[first]
    order = np.where(first >= 0, places[first], n)
    for one, two in ((edges.left, edges.right), (edges.right, edges.left)):
        found = np.flatnonzero(wanted[one])
        found = found[alive[two[found]]]
        found = found[order[two[found]] < order[one[found]]][::-1]  # so that the most similar is assigned last
        better = np.full(n, -1, np.int64)
        better[one[found]] = found
        nodes = np.flatnonzero(better >= 0)
        new = edges.similarity[better[nodes]]
        nodes = nodes[~(similarity[nodes] >= new)]
        similarity[nodes] = edges.similarity[better[nodes]]
        other[nodes] = two[better[nodes]]
    told: list[Judgement | None] = []
    for row in asked.tolist():
        own = int(node[row])
        if first[own] != row and alive[own]:
            told.append(similar(int(first[own]), 1.0, threshold, measure, kept=False))
        elif other[own] < 0:
            told.append(Judgement(f"no earlier row kept is known to be similar to it by {measure}", limit=threshold))
        else:
            stays = bool(decision.members[row])
            told.append(similar(int(first[other[own]]), float(similarity[own]), threshold, measure, kept=stays))
    return told


def by_cosines(
    decision: Decision, asked: Rows, unit: Any, label: NDArray[Any] | None, threshold: float
) -> list[Judgement | None]:
    """Of rows whose pairs are too many to list: each is multiplied with the kept rows, of its cluster if there are some.

    Args:
        unit: unit vectors of all rows, sparse or dense.
        label: cluster of each row; None: all are in one.
    """
    places = decision.places()
    told: list[Judgement | None] = [None] * len(asked)
    groups = np.zeros(len(asked), np.int64) if label is None else label[asked].astype(np.int64)
    for group in np.unique(groups).tolist():
        members = np.flatnonzero(groups == group)
        kept = decision.kept if label is None else decision.kept[label[decision.kept] == group]
        for block in np.array_split(members, max(1, -(-len(members) * max(1, len(kept)) // _CELLS))):
            near, cosine = _nearest_earlier(unit, asked[block], kept, places)
            for at, other, value in zip(block.tolist(), near.tolist(), cosine.tolist(), strict=True):
                stays = bool(decision.members[asked[at]])
                told[at] = (
                    Judgement("no earlier row was kept to compare it with", limit=threshold)
                    if other < 0
                    else similar(other, value, threshold, "cosine", kept=stays)
                )
    return told


def _nearest_earlier(
    unit: Any, rows: Rows, kept: Rows, places: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The most similar of the kept rows that stand before each row, -1 if there is none, and the cosine."""
    if not len(kept):
        return np.full(len(rows), -1, np.int64), np.zeros(len(rows))
    asked = single(unit[rows])
    cosines = np.empty((len(rows), len(kept)))
    for start in range(0, len(kept), _ROWS):
        products = asked @ single(unit[kept[start : start + _ROWS]]).T
        cosines[:, start : start + _ROWS] = products if isinstance(products, np.ndarray) else products.toarray()
    cosines[np.isnan(cosines)] = -np.inf
    cosines[places[kept][None, :] >= places[rows][:, None]] = -np.inf
    best = cosines.argmax(axis=1)
    value = cosines[np.arange(len(rows)), best]
    return np.where(np.isfinite(value), kept[best], -1), np.where(np.isfinite(value), value, 0.0)


def similar(other: int, value: float, threshold: float, measure: str, *, kept: bool) -> Judgement:
    """Of a row whose most similar earlier row that was kept is ``other``."""
    margin = max(0.0, threshold - value) if kept else min(0.0, threshold - value)
    said = f"{measure} {shown(value)} with the earlier row {other}; duplicates from {shown(threshold)} on"
    return Judgement(said, value=value, limit=threshold, margin=margin, other=other)
