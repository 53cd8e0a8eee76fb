"""What a derived signal is: arrays of the whole pool, made when a step of a recipe first asks for them, and stored.

They lie beside the pool's other signals, in ``signals/artefacts/<name>/<key>/``, under a key of everything that they depend on:
another process, or the next run, reads them memory-mapped. A folder is written under another name and renamed into
place, so that two processes may make the same at once; what does not have its checksum is made again, and logged.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from autoselection import files
from autoselection.signals.contract import Signal
from autoselection.signals.derived.memory import kept_with
from autoselection.signals.table import SignalTable

Arrays = Mapping[str, NDArray[Any]]

_LOG = logging.getLogger(__name__)
_FORMAT = 1
_FOLDER = "artefacts"


class DerivedSignal(Signal):
    """A signal of the whole pool that is made of a table. Subclasses say how (``build``), and of what (``made_from``).

    Args:
        params: what changes the result besides the signals that it is made from.
    """

    asked_as: ClassVar[Mapping[str, tuple[str, ...]] | None] = {}
    rowwise = False
    by_default = False
    uses: tuple[str, ...] = ()

    def __init__(self, **params: Any) -> None:
        super().__init__()
        self._params = params

    @property
    def params(self) -> Mapping[str, Any]:
        return self._params

    def build(self, table: SignalTable) -> Arrays:
        """Make the arrays."""
        raise NotImplementedError(f"the signal '{self.name}' has no 'build'")

    def key(self, table: SignalTable) -> str:
        """16 hex digits: a hash of all that the arrays depend on."""
        needed = {need: table.keys.get(need) for need in ("pool", *self.uses)}
        text = json.dumps([_FORMAT, self.name, self.version, dict(self.params), needed], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def of(self, table: SignalTable) -> Arrays:
        """The arrays for a table, made in this process or an earlier one.

        A table that was not loaded from a pool's signals has no folder: then they are held in memory only.
        """
        key = self.key(table)
        return kept_with(table, ("stored", self.name, key), lambda: self._stored(table, key))

    def _stored(self, table: SignalTable, key: str) -> Arrays:
        if table.folder is None or any(need not in table.keys for need in ("pool", *self.uses)):
            return self.build(table)
        folder = table.folder / _FOLDER / self.name / key
        stamps = table.folder / files.STAMPS_FILE
        arrays = _read(folder, stamps)
        if arrays is not None:
            return arrays
        built = self.build(table)
        try:
            _write(folder, built, stamps)
        except OSError as error:
            _LOG.warning("%s cannot be written (%s): it will be built again by the next process.", folder, error)
            return built
        return _read(folder, stamps) or built


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
