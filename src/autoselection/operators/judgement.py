"""Why a step kept or dropped a row: found afterwards, for the rows asked about, from what the step was given and kept.

Nothing of this is done while a recipe runs: materialization stays as fast as it is, and whoever asks pays.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Judgement:
    """Why a step kept or dropped a row that it was given.

    Attributes:
        sentence: in words, a clause without a full stop.
        signal: the column whose score decided; None where it was none.
        value: the row's score in it, or its similarity with ``other``.
        limit: the score at which rows began to stay: the threshold, or the score of the last row kept; the similarity
            from which on rows are duplicates.
        margin: how far the value is on the side that stays, in its unit: at most 0 of a row that was dropped for it
            (0: equal scores, decided by the row's number), at least 0 of one that was kept.
        rank: the row's place among those that it competed with, from 1.
        places: how many of these stayed.
        among: how many these were.
        group: the source, task or cluster within which the cut was made.
        other: the row of the pool because of which this one went (a duplicate that was kept), or the nearest one kept.
    """

    sentence: str
    signal: str | None = None
    value: float | None = None
    limit: float | None = None
    margin: float | None = None
    rank: int | None = None
    places: int | None = None
    among: int | None = None
    group: str | None = None
    other: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without what is unknown."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def shown(value: float) -> str:
    """A number as a sentence says it: four digits, whole numbers in full."""
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"


def unscored(signal: str, kept: bool, what: str = "score") -> Judgement:
    """Of a row without the score that a step needs."""
    return Judgement(f"it has no {what} in {signal}, and such rows are {'kept' if kept else 'dropped'}", signal)


def past_threshold(signal: str, value: float, limit: float, direction: str) -> Judgement:
    """Of a score beside a threshold.

    Args:
        direction: ``high`` keeps scores of at least the limit, ``low`` of at most it.
    """
    margin = value - limit if direction == "high" else limit - value
    side = "below" if direction == "high" else "above"
    said = f"is {side} {shown(limit)}" if margin < 0 else f"is on the right side of {shown(limit)}"
    return Judgement(f"{signal} {shown(value)} {said}", signal, value, limit, margin)


def beside_kept(
    column: str,
    values: NDArray[np.float32],
    stays: NDArray[np.bool_],
    kept: NDArray[np.float32],
    direction: str | None,
) -> list[Judgement]:
    """What scores alone tell of rows, beside those of all rows that were kept.

    A margin is given only if it is on the right side, as an operator may weigh more than one column.

    Args:
        values: the scores of the rows asked about.
        stays: whether each of them was kept.
        kept: the scores of all rows kept.
        direction: which end is kept, ``high`` or ``low``; None where that is not known.
    """
    kept = kept[~np.isnan(kept)]
    low, high = (float(kept.min()), float(kept.max())) if len(kept) else (np.nan, np.nan)
    limit = {"high": low, "low": high}.get(direction or "", np.nan)
    return [
        _beside(column, value, inside, (low, high, limit), direction)
        for value, inside in zip(values.tolist(), stays.tolist(), strict=True)
    ]


def _beside(
    column: str, value: float, stays: bool, kept: tuple[float, float, float], direction: str | None
) -> Judgement:
    low, high, limit = kept
    if np.isnan(value):
        return unscored(column, stays)
    if np.isnan(low):
        return Judgement(f"its {column} is {shown(value)}, and no row with a score was kept", column, value)
    said = f"its {column} is {shown(value)}, and the rows kept have {shown(low)} to {shown(high)}"
    margin = value - limit if direction == "high" else limit - value
    if margin == 0 or ((margin > 0) == stays and not np.isnan(margin)):
        return Judgement(said, column, value, limit, margin)
    return Judgement(said, column, value)
