"""Judgements of operators that keep the first rows of a ranking, of the whole or of each group, and of random draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoselection.operators.base import Decision, Rows
from autoselection.operators.judgement import Judgement, shown, unscored
from autoselection.operators.ranking import Ranking

Numbers = NDArray[np.int64]
_FIRST = {"high": "highest first", "low": "lowest first"}


class Standing:
    """Where rows stand in a ranking among those that compete in it.

    Args:
        ranked: the pool, ranked.
        rows: those that compete.
        stays: bool[N], the rows of the pool that were kept.
        asked: rows of the pool.

    Attributes:
        group: of each row asked about; -1 without a score.
        rank: its place in its group, from 1.
        places, among: of its group, how many rows stayed, and how many there are.
        last: the last row of its group that stayed; -1 where none did.
    """

    def __init__(self, ranked: Ranking, rows: Rows, stays: NDArray[np.bool_], asked: Rows) -> None:
        positions, _ = ranked.split(rows)
        bounds = np.searchsorted(positions, ranked.starts)
        stayed = np.append(0, np.cumsum(stays[ranked.order[positions]]))
        places = np.diff(stayed[bounds])
        last = np.full(len(places), -1, np.int64)
        some = places > 0
        last[some] = ranked.order[positions[(bounds[:-1] + places)[some] - 1]]
        own = ranked.rank[asked].astype(np.int64)
        scored = own < ranked.scored
        group = np.searchsorted(ranked.starts, own, side="right") - 1
        group[~scored] = 0
        self.rank: Numbers = np.searchsorted(positions, own) - bounds[group] + 1
        self.places: Numbers = places[group]
        self.among: Numbers = np.diff(bounds)[group]
        self.last: Numbers = last[group]
        self.group: Numbers = np.where(scored, group, -1)


def by_place(
    standing: Standing,
    scores: NDArray[np.float32],
    decision: Decision,
    asked: Rows,
    column: str,
    direction: str,
    groups: tuple[str, Sequence[str]] | None = None,
) -> list[Judgement | None]:
    """Judgements of rows by their places in a ranking by ``column``, of which the first stay.

    Args:
        groups: what the cut is made within, in a word, and the names of the groups; None: the whole.
    """
    found: list[Judgement | None] = []
    limits = np.where(standing.last >= 0, scores[standing.last], np.nan)
    columns = (standing.group, standing.rank, standing.places, standing.among, limits, scores[asked])
    stays = decision.members[asked].tolist()
    for row, (group, rank, places, among, limit, value) in enumerate(
        zip(*(values.tolist() for values in columns), strict=True)
    ):
        if group < 0:
            found.append(unscored(column, stays[row]))
            continue
        name = None if groups is None else groups[1][group]
        within = "" if name is None or groups is None else f" of {groups[0]} {name}"
        kept = f"the first {places:,} are kept" if places else "none is kept"
        until = "" if np.isnan(limit) else f", {'down' if direction == 'high' else 'up'} to {shown(limit)}"
        said = f"{column} {shown(value)} has place {rank:,} of {among:,}{within} ({_FIRST[direction]}); {kept}{until}"
        known = None if np.isnan(limit) else limit
        margin = None if known is None else value - known if direction == "high" else known - value
        found.append(Judgement(said, column, value, known, margin, rank, places, among, name))
    return found


def by_draw(standing: Standing, names: Sequence[str], what: str) -> list[Judgement | None]:
    """Judgements of rows by their places in a random order within each group.

    Args:
        names: of the groups.
        what: a group is, in a word.
    """
    columns = (standing.group, standing.rank, standing.places, standing.among)
    return [
        Judgement(
            f"drawn at random it has place {rank:,} of {among:,} of {what} {names[group]}; "
            + (f"the first {places:,} are kept" if places else "none is kept"),
            rank=rank,
            places=places,
            among=among,
            group=names[group],
        )
        for group, rank, places, among in zip(*(values.tolist() for values in columns), strict=True)
    ]
