"""What is made of a table's signals, held in memory while the table lives.

It is held while it is among the last used things, up to :data:`MEMORY_LIMIT` bytes and :data:`MEMORY_PER_ROW` for each row
of the table.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from autoselection.signals.table import SignalTable

#: Bytes held in memory, memory-mapped ones not counted; the one last built stays whatever its size.
MEMORY_LIMIT = 512 * 1024 * 1024
#: And so many more for each row of the table: about a dozen rankings.
MEMORY_PER_ROW = 200

T = TypeVar("T")


class _Memory:
    """Things by table and key, the least recently used dropped first."""

    def __init__(self) -> None:
        self.held = 0
        self._numbers: WeakKeyDictionary[SignalTable, int] = WeakKeyDictionary()
        self._entries: OrderedDict[tuple[int, Hashable], tuple[Any, int]] = OrderedDict()
        self._next = 0

    def get(self, table: SignalTable, key: Hashable, build: Callable[[], Any]) -> Any:
        place = (self._number(table), key)
        if place not in self._entries:
            value = build()
            self._entries[place] = (value, _bytes_of(value))
            self.held += self._entries[place][1]
        self._entries.move_to_end(place)
        value = self._entries[place][0]
        while self.held > MEMORY_LIMIT + MEMORY_PER_ROW * table.n and len(self._entries) > 1:
            self._drop(next(iter(self._entries)))
        return value

    def _number(self, table: SignalTable) -> int:
        if table not in self._numbers:
            self._next += 1
            self._numbers[table] = self._next
            weakref.finalize(table, self._forget, self._next)
        return self._numbers[table]

    def _forget(self, number: int) -> None:
        for place in [place for place in self._entries if place[0] == number]:
            self._drop(place)

    def _drop(self, place: tuple[int, Hashable]) -> None:
        self.held -= self._entries.pop(place)[1]


_MEMORY = _Memory()


def kept_with(table: SignalTable, key: Hashable, build: Callable[[], T]) -> T:
    """Return what ``build()`` returned for this table object and key, calling it only if that is no longer held.

    Tables are distinguished by identity, so loading a pool's signals again makes them again.
    """
    result: T = _MEMORY.get(table, key, build)
    return result


def _bytes_of(value: Any) -> int:
    """Memory of the arrays in a value."""
    if isinstance(value, np.ndarray):
        return 0 if _is_mapped(value) else value.nbytes
    if isinstance(value, Mapping):
        return sum(map(_bytes_of, value.values()))
    if isinstance(value, (tuple, list)):
        return sum(map(_bytes_of, value))
    return sum(map(_bytes_of, vars(value).values())) if hasattr(value, "__dict__") else 0


def _is_mapped(array: Any) -> bool:
    """Whether an array, or the one that it is a view of, is memory-mapped."""
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    return array is not None
