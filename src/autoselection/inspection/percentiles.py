"""Where a row's scores stand among those of all rows, and of its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.signals import SignalTable


@dataclass(frozen=True)
class Score:
    """One signal of one row.

    Attributes:
        value: the score; None where the row has none.
        pool: percentile in the pool, 0 to 100: the share of the rows with a score that have a lower one, half of the
            equal ones (itself too) counted.
        source: the same among the rows of its source.
    """

    value: float | None
    pool: float | None = None
    source: float | None = None

    def to_dict(self) -> dict[str, float | None]:
        """Plain data."""
        return asdict(self)


def row_scores(
    signals: SignalTable, rows: Sequence[int] | NDArray[np.int64], names: Sequence[str] | None = None
) -> list[dict[str, Score]]:
    """The scores of rows with their percentiles, by signal; ``names``: of these columns (default: all).

    Raises:
        SignalError: the table has no such column.
    """
    wanted = np.asarray(rows, np.int64)
    found: list[dict[str, Score]] = [{} for _ in wanted]
    own = signals.source[wanted]
    codes = np.unique(own)
    groups = list(zip(_by_source(signals.source, codes), _by_source(own, codes), strict=True))
    for name in sorted(signals.columns) if names is None else names:
        column = signals.column(name)
        values = column[wanted]
        pool = _percentiles(column, values)
        source = np.full(len(wanted), np.nan)
        for members, places in groups:
            source[places] = _percentiles(column[members], values[places])
        for scores, *three in zip(found, values.tolist(), pool.tolist(), source.tolist(), strict=True):
            scores[name] = Score(*(None if np.isnan(number) else number for number in three))
    return found


def _by_source(source: NDArray[np.integer[Any]], codes: NDArray[np.integer[Any]]) -> list[NDArray[np.int64]]:
    """Places of each of the ``codes``, which are sorted, in ``source``: all of them together are no longer than it."""
    inside = np.flatnonzero(np.isin(source, codes))
    order = inside[np.argsort(source[inside], kind="stable")]
    return np.split(order, np.searchsorted(source[order], codes[1:]))


def _percentiles(column: NDArray[Any], values: NDArray[Any]) -> NDArray[np.float64]:
    known = np.sort(column[~np.isnan(column)])
    if not len(known):
        return np.full(len(values), np.nan)
    below, until = (np.searchsorted(known, values, side=side) for side in ("left", "right"))
    return np.where(np.isnan(values), np.nan, 50.0 * (below + until) / len(known))
