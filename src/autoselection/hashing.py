"""64-bit hashes as arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

#: Factors of MurmurHash3's finalizer.
FACTORS = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))


def mixed(values: Hashes) -> Hashes:
    """A bijection of 64-bit numbers that spreads every bit over all (the finalizer of MurmurHash3); ``values`` is spent."""
    for factor in FACTORS:
        values ^= values >> np.uint64(33)
        values *= factor
    values ^= values >> np.uint64(33)
    return values
