"""Bootstrap intervals over items, stratified by task, and over training seeds where there are several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Table = Sequence[Floats]

#: Resampling counts that are held at once.
_HELD = 4_000_000


@dataclass(frozen=True)
class Interval:
    """An estimate with a two-sided interval at ``level``.

    Attributes:
        over: what was resampled, ``items``, ``seeds`` or ``items and seeds``: what the interval allows to vary.
    """

    estimate: float
    low: float
    high: float
    level: float
    over: str


def checked(table: Table) -> list[Floats]:
    """The table as float64 arrays of shape (seeds, items).

    Raises:
        ValueError: no task, an empty one, a value that is not finite, or tasks of different numbers of seeds.
    """
    arrays = [np.atleast_2d(np.asarray(values, np.float64)) for values in table]
    if not arrays or any(array.ndim != 2 or array.size == 0 for array in arrays):
        raise ValueError("A table needs at least one task, each with an array of shape (seeds, items).")
    if len({len(array) for array in arrays}) != 1:
        raise ValueError("Every task of a table needs the same training seeds.")
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("A table holds a value that is not finite: leave failed evaluations out.")
    return arrays


def table_score(table: Table) -> float:
    """Mean over tasks of the mean over seeds and items."""
    return float(np.mean([array.mean() for array in checked(table)]))


def bootstrap_interval(table: Table, *, level: float = 0.95, draws: int = 4000, seed: int = 0) -> Interval:
    """Percentile bootstrap interval of the score of a table (of scores, or of paired differences of two tables).

    Items are drawn with replacement within their task. With several training seeds these are drawn too, independently
    and the same for all items of a draw: the crossed bootstrap of Owen, "The pigeonhole bootstrap", Ann. Appl. Stat. 1
    (2007), which errs on the wide side for the interaction. Few seeds (under about 5) still tell little about seeds.
    """
    arrays = checked(table)
    rng = np.random.default_rng(seed)
    seeds = len(arrays[0])
    weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
    totals = np.zeros(draws)
    for array in arrays:
        items = array.shape[1]
        step = max(1, _HELD // items)
        for start in range(0, draws, step):
            end = min(draws, start + step)
            counts = rng.multinomial(items, np.full(items, 1 / items), size=end - start)
            totals[start:end] += ((counts @ array.T) * weights[start:end]).sum(axis=1) / items
    low, high = np.quantile(totals / len(arrays), [(1 - level) / 2, (1 + level) / 2])
    return Interval(table_score(arrays), float(low), float(high), level, "items and seeds" if seeds > 1 else "items")
