"""Numbers of a pool's rows, as people and programs give them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from autoselection.errors import PoolError


def row_numbers(rows: npt.ArrayLike | Iterable[int], n: int, pool: str = "the pool") -> npt.NDArray[np.int64]:
    """Rows as int64[m], in the order given; one that stands there twice is kept twice.

    Args:
        n: rows of the pool.
        pool: its name in messages.

    Raises:
        PoolError: they are not whole numbers in a list, or one is out of range.
    """
    listed: Any = rows if isinstance(rows, np.ndarray) else list(rows)  # type: ignore[arg-type]
    wanted = np.asarray(listed)
    if wanted.size == 0:
        return np.zeros(0, dtype=np.int64)
    if wanted.ndim != 1 or not np.issubdtype(wanted.dtype, np.integer):
        given = "text: row_of(ids) gives those of ids"
        if wanted.dtype.kind not in "US":
            given = f"an array of {wanted.dtype} of the shape {wanted.shape}"
        if wanted.dtype == np.bool_:
            given += " (np.flatnonzero makes them of a mask)"
        raise PoolError(f"Row numbers must be a list of whole numbers, not {given}.")
    outside = wanted[(wanted < 0) | (wanted >= n)]
    if outside.size:
        raise PoolError(f"Row {outside[0]} is not in {pool}, whose rows are 0 to {n - 1:,}.")
    return wanted.astype(np.int64)
