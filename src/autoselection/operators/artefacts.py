"""Heavy things that depend on the pool alone, such as similar pairs and clusterings: built once, held, and stored.

In memory they are held while their table lives and they are among the last used ones, up to :data:`MEMORY_LIMIT` bytes and
:data:`MEMORY_PER_ROW` for each row of the table.
Arrays are also stored beside the pool's signals, in ``signals/artefacts/<name>/<key>/``, under a key of everything they
depend on: another process, or the next run, reads them memory-mapped. A folder is written under another name and renamed
into place, so that two processes may build the same at once; what does not have its checksum is built again, and said so.
"""

from __future__ import annotations

import hashlib
import json
import logging
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from autoselection import files
from autoselection.signals.table import SignalTable

#: Bytes of artefacts held in memory, memory-mapped ones not counted; the one last built stays whatever its size.
MEMORY_LIMIT = 512 * 1024 * 1024
#: And so many more for each row of the table: about a dozen rankings.
MEMORY_PER_ROW = 200

T = TypeVar("T")
Arrays = Mapping[str, NDArray[Any]]

_LOG = logging.getLogger(__name__)
_FORMAT = 1


class _Memory:
    """Artefacts by table and key, the least recently used dropped first."""

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


def pool_artefact(signals: SignalTable, key: Hashable, build: Callable[[], T]) -> T:
    """Return what ``build()`` returned for this table object and key, calling it only if that is no longer held.

    Tables are told apart by identity, so loading a pool's signals again builds its artefacts again.
    """
    result: T = _MEMORY.get(signals, key, build)
    return result


def stored_artefact(
    signals: SignalTable,
    name: str,
    params: Mapping[str, Any],
    build: Callable[[], Arrays],
    *,
    version: int,
    needs: Sequence[str],
) -> Arrays:
    """Return the arrays that ``build()`` returned for these signals and parameters, in this process or an earlier one.

    A table that was not loaded from a pool's signals has no folder: then the arrays are held in memory only.

    Args:
        name: folder of this kind of artefact.
        params: JSON values that change the result.
        version: raised whenever the definition changes.
        needs: the signals it is made of.
    """
    key = hashlib.blake2b(
        json.dumps(
            [_FORMAT, name, version, dict(params), {need: signals.keys.get(need) for need in ("pool", *needs)}],
            sort_keys=True,
        ).encode(),
        digest_size=8,
    ).hexdigest()

    def fetch() -> Arrays:
        if signals.folder is None or any(need not in signals.keys for need in ("pool", *needs)):
            return build()
        folder = signals.folder / "artefacts" / name / key
        stamps = signals.folder / files.STAMPS_FILE
        arrays = _read(folder, stamps)
        if arrays is not None:
            return arrays
        built = build()
        try:
            _write(folder, built, stamps)
        except OSError as error:
            _LOG.warning("%s cannot be written (%s): it will be built again by the next process.", folder, error)
            return built
        return _read(folder, stamps) or built

    return pool_artefact(signals, ("stored", name, key), fetch)


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


def _read(folder: Path, stamps: Path) -> Arrays | None:
    """The arrays of a folder, memory-mapped; None if it is absent or not what was written (which is logged)."""
    try:
        facts, _ = files.read_sealed(folder / "meta.json")
        arrays: dict[str, NDArray[Any]] = {}
        for name, checksum in facts["files"].items():
            path = folder / f"{name}.npy"
            if not files.is_sound(path, checksum, stamps):
                raise ValueError(f"{path.name} has changed")
            arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
        return arrays
    except FileNotFoundError:
        if not folder.exists():
            return None
        _LOG.warning("%s is incomplete: it is built again.", folder)
    except (*files.UNREADABLE_ARRAY, AttributeError) as error:
        _LOG.warning("%s is damaged (%s): it is built again.", folder, error)
    return None


def _write(folder: Path, arrays: Arrays, stamps: Path) -> None:
    if folder.exists() and _read(folder, stamps) is not None:  # another process was faster
        return
    with files.whole_folder(folder) as part:
        checksums: dict[str, str] = {}
        for name, array in arrays.items():
            files.write_array(part / f"{name}.npy", array)
            checksums[name] = files.checksum(part / f"{name}.npy")
        files.write_sealed(part / "meta.json", {"format": _FORMAT, "files": checksums})
