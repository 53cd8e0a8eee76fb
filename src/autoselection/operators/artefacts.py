"""Heavy things that depend on the pool alone: built once per signal table, kept while the table lives."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from autoselection.signals.table import SignalTable

T = TypeVar("T")
_ARTEFACTS: WeakKeyDictionary[SignalTable, dict[Hashable, Any]] = WeakKeyDictionary()


def pool_artefact(signals: SignalTable, key: Hashable, build: Callable[[], T]) -> T:
    """Return what ``build()`` returned for this table object and key, calling it the first time only.

    Tables are told apart by identity, so loading a pool's signals again builds its artefacts again.
    """
    store = _ARTEFACTS.setdefault(signals, {})
    if key not in store:
        store[key] = build()
    result: T = store[key]
    return result
