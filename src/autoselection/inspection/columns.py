"""The columns that conditions on rows may name: what every row has, signals, and the user's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from autoselection.errors import SignalError
from autoselection.inspection.expression import numbers
from autoselection.pool import Pool
from autoselection.signals import SignalTable
from autoselection.wording import suggestion

#: What every row has, whatever signals and columns of one's own there are.
BUILT_IN = ("row", "id", "source", "text", "prompt", "response", "turns", "file", "line")
#: In front of a column of one's own that is called like a signal or like one of these.
OWN = "own."


class RowColumns:
    """The columns of a pool by name: :data:`BUILT_IN` first, then signals, then the user's own (also as ``own.NAME``).

    Args:
        signals: those of the pool; None: without.
    """

    def __init__(self, pool: Pool, signals: SignalTable | None) -> None:
        self._pool = pool
        self._signals = signals
        self._found: dict[str, NDArray[Any]] = {}

    def column(self, name: str) -> NDArray[Any]:
        """A value of each row: float32 or float64 with NaN, or objects, see :meth:`~autoselection.inspection.expression.Columns.column`.

        Raises:
            LookupError: there is no such column.
        """
        if name not in self._found:
            self._found[name] = self._read(name)
        return self._found[name]

    def _read(self, name: str) -> NDArray[Any]:
        if name in BUILT_IN:
            return self._built_in(name)
        if self._signals is not None and name in self._signals.columns:
            return self._signals.columns[name]
        if (own := name.removeprefix(OWN)) in self._own:
            return _column([meta.get(own) for meta in self._metas])
        if self._signals is not None and name not in self._signals:
            try:
                self._signals.column(name)
            except SignalError as error:
                if not str(error).startswith("There is no signal"):
                    raise LookupError(str(error)) from error  # one that was not computed, and how to get it
        known = (*BUILT_IN, *(() if self._signals is None else self._signals.columns), *self._own)
        raise LookupError(f"there is no column or signal '{name}'{suggestion(name, known)}")

    def _built_in(self, name: str) -> NDArray[Any]:
        pool = self._pool
        if name == "row":
            return np.arange(len(pool), dtype=np.float64)
        if name == "source":
            return np.asarray([*pool.source_names, None], object)[pool.source_codes]
        if name == "turns":
            return np.asarray(pc.list_value_length(pool.table.column("messages")), np.float64)
        if name == "line":
            return np.array([np.nan if line is None else line for line in pool.lines()], np.float64)
        if name in ("prompt", "response"):
            return _objects(pool.parts(name))
        read: Mapping[str, Callable[[], list[Any]]] = {"id": pool.row_ids, "file": pool.files, "text": pool.texts}
        return _objects(read[name]())

    @cached_property
    def _metas(self) -> list[dict[str, Any]]:
        return self._pool.metas()

    @cached_property
    def _own(self) -> dict[str, None]:
        """Names of the columns of one's own, in order."""
        return dict.fromkeys(name for meta in self._metas for name in meta)


def _column(values: list[Any]) -> NDArray[Any]:
    """Numbers and truth values as numbers; anything else as text, nested values as JSON."""
    if all(value is None or isinstance(value, (bool, int, float)) for value in values):
        return numbers(values)
    return _objects(
        [
            value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for value in values
        ]
    )


def _objects(values: list[Any]) -> NDArray[Any]:
    found = np.empty(len(values), object)
    found[:] = values
    return found
