"""What the model sees of a mixture: the logarithms of its shares.

A source's loss falls about as a power of its share, so logarithms are close to additive where shares are not. A share of
zero has none: shares are kept from below by a floor, half of the smallest positive share of the table (what a spreadsheet
rounds to zero may have been anything up to that), and at least 0.0005, for below it a source does not matter and the
logarithm would only stretch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LOWEST_FLOOR = 5e-4
"""Smallest floor of a share, whatever the table's smallest share."""


def share_floor(shares: Array) -> float:
    """Half of the smallest positive share, at least :data:`LOWEST_FLOOR`."""
    positive = shares[shares > 0]
    return max(LOWEST_FLOOR, float(positive.min()) / 2.0) if len(positive) else LOWEST_FLOOR


@dataclass(frozen=True, eq=False)
class LogShares:
    """Shares to inputs: logarithms in standard deviations over the runs that it was made from.

    Attributes:
        floor: smallest share that is told from zero.
        centre: mean logarithm of every source, shape (sources,).
        scale: its standard deviation; 0 for a source whose share never changed, which is then no input.
    """

    floor: float
    centre: Array
    scale: Array

    @classmethod
    def of(cls, shares: Array, floor: float | None = None) -> LogShares:
        """Learn floor, centre and scale from shares, shape (runs, sources)."""
        floor = share_floor(shares) if floor is None else floor
        logs = np.log(np.maximum(shares, floor))
        scale = logs.std(axis=0)
        return cls(floor, logs.mean(axis=0), np.where(scale > 1e-9, scale, 0.0))

    def __call__(self, shares: Array) -> Array:
        """Inputs of mixtures, shape (mixtures, sources that changed)."""
        used = self.scale > 0
        return np.asarray((np.log(np.maximum(shares, self.floor)) - self.centre)[:, used] / self.scale[used])
