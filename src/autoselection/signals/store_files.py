"""The files of the cache of signals: one a shard while a signal is computed, one an array when it is finished.

A shard's file ends in a checksum of its own. Arrays are joined piece by piece, so that none has to fit into memory.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
import zlib
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from autoselection import files
from autoselection.signals.stored import Array, Shard

_STAT = "stat:"
#: Rows (or sparse entries) copied at once from one array file to another.
_COPY_ROWS = 1 << 16
UNREADABLE = (*files.UNREADABLE_ARRAY, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error)
#: How the archive of a shard ends that carries no checksum: with an empty comment.
_END_OF_ARCHIVE, _CHECKSUM_BYTES = b"PK\x05\x06", 32


class ArrayFiles:
    """Writes ``.npy`` files of one folder piece by piece, so that no array has to fit into memory; in place at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._writers: dict[str, _ArrayWriter] = {}

    def __enter__(self) -> ArrayFiles:
        return self

    def append(self, name: str, array: Array) -> None:
        """Add rows to the array called ``name``."""
        if name not in self._writers:
            stream = self._stack.enter_context(files.whole_file(self._folder / f"{name}.npy", "wb"))
            self._writers[name] = _ArrayWriter(stream, array)
        self._writers[name].append(array)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                for writer in self._writers.values():
                    writer.header()
        finally:
            self._stack.__exit__(kind, error, traceback)

    def facts(self) -> dict[str, dict[str, Any]]:
        """Size and checksum of each file."""
        paths = {name: self._folder / f"{name}.npy" for name in self._writers}
        return {name: {"bytes": path.stat().st_size, "blake2b": files.checksum(path)} for name, path in paths.items()}


class _ArrayWriter:
    """Writes one array to a stream."""

    def __init__(self, stream: IO[bytes], like: Array) -> None:
        self.stream = stream
        self.dtype, self.tail, self.length = like.dtype, like.shape[1:], 0
        self.header()

    def header(self) -> None:
        """Write the header, or, as its version 1.0 leaves room for the length to grow, write it again."""
        header = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (self.length, *self.tail),
        }
        self.stream.seek(0)
        np.lib.format.write_array_header_1_0(self.stream, header)

    def append(self, array: Array) -> None:
        for start in range(0, len(array), _COPY_ROWS):  # what is copied may be larger than memory
            self.stream.write(np.ascontiguousarray(array[start : start + _COPY_ROWS], self.dtype).tobytes())
        self.length += len(array)


def read_shard(path: Path) -> Shard:
    """A shard's arrays.

    Raises:
        what ``UNREADABLE`` names: it is damaged.
    """
    data = path.read_bytes()
    if data[-22:-18] != _END_OF_ARCHIVE:  # only those of older versions end without a checksum
        body, digest = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
        if hashlib.blake2b(body, digest_size=_CHECKSUM_BYTES // 2).hexdigest().encode() != digest:
            raise ValueError("it does not have its checksum")
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    stats = {name[len(_STAT) :]: int(arrays.pop(name)) for name in list(arrays) if name.startswith(_STAT)}
    return Shard(arrays, stats)


def write_shard(path: Path, shard: Shard) -> None:
    """Write a shard to a file that ends in its own checksum, and is whole or absent."""
    content: dict[str, Any] = dict(shard.arrays)
    content |= {_STAT + name: np.int64(count) for name, count in shard.stats.items()}
    archive = io.BytesIO()
    np.savez(archive, **content)
    data = archive.getvalue()[:-2] + struct.pack("<H", _CHECKSUM_BYTES)  # the checksum is the archive's comment
    with files.whole_file(path, "wb") as stream:
        stream.write(data + hashlib.blake2b(data, digest_size=_CHECKSUM_BYTES // 2).hexdigest().encode())
