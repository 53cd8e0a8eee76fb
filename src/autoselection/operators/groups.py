"""Groups of a pool's rows within which a filter may cut."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autoselection.signals.table import SignalTable


def group_codes(signals: SignalTable, scope: str) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Group of each row of the pool, int32[N], and the names of the groups."""
    assert scope == "source"
    return signals.source, signals.source_names
