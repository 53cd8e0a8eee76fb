"""Files that hold rows: JSON Lines, JSON, CSV and Parquet, whole or not at all, compressed if the name says so."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from autoselection.errors import ConfigError
from autoselection.export.layouts import CannotHold
from autoselection.files import whole_file
from autoselection.pool.suffixes import COMPRESSIONS, CONTAINERS
from autoselection.pool.typed_tables import Records, table_of

Write = Callable[[Records], None]

#: Container of each suffix that is written.
SUFFIXES: Mapping[str, str] = {
    suffix: name for suffix, name in CONTAINERS.items() if name in ("jsonl", "json", "csv", "tsv", "parquet")
}
#: Cells that begin so are formulas to a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def container_of(path: Path) -> str | None:
    """The container that a file's name tells; None for a folder: an existing one, or a name without a suffix.

    Raises:
        ConfigError: the suffix is unknown.
    """
    if path.is_dir():
        return None
    compressed = path.suffix.lower() in COMPRESSIONS
    suffix = (Path(path.stem) if compressed else path).suffix.lower()
    if not suffix and not compressed:
        return None
    container = SUFFIXES.get(suffix)
    if container is None or (compressed and container == "parquet"):
        raise ConfigError(
            f"{path}: cannot tell a format from the suffix '{path.suffix}': use one of {', '.join(SUFFIXES)} (also with .gz "
            "or .zst behind it, but for Parquet), or a name without a suffix for a dataset folder."
        )
    return container


def has_types(container: str) -> bool:
    """Whether columns have types there."""
    return container == "parquet"


@contextmanager
def open_container(path: Path, container: str, schema: pa.Schema) -> Iterator[Write]:
    """A function that writes rows, batch after batch, to a file that appears when it is complete.

    Args:
        schema: names of all fields in their order, and their types where the container has some.
    """
    with whole_file(path, "wb") as stream:
        if container == "parquet":
            with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
                yield lambda records: writer.write_table(table_of(records, schema))
            return
        with _compressed(stream, path) as raw:
            if container == "jsonl":
                yield lambda records: _put(raw, "".join(json_line(record) + "\n" for record in records))
            elif container == "json":
                yield from _json_array(raw)
            else:
                yield _csv_writer(raw, {"csv": ",", "tsv": "\t"}[container], schema.names)


def plain(values: Sequence[Any]) -> list[str]:
    """Cells of a CSV file: text as it is, nothing for None, JSON for all else."""
    return [
        "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for value in values
    ]


def json_line(record: Mapping[str, Any]) -> str:
    """One line of JSON. U+2028 and its like end a line for many readers of text: escaped, they cannot break it."""
    text = json.dumps(record, ensure_ascii=False)
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085")


def _json_array(raw: Any) -> Iterator[Write]:
    first = True

    def write(records: Records) -> None:
        nonlocal first
        for record in records:
            _put(raw, ("[\n" if first else ",\n") + json_line(record))
            first = False

    yield write
    _put(raw, "[]\n" if first else "\n]\n")


def _csv_writer(raw: Any, delimiter: str, names: Sequence[str]) -> Write:
    def put(rows: Sequence[Sequence[str]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
        _put(raw, text.getvalue())

    put([list(names)])
    return lambda records: put([plain([record.get(name) for name in names]) for record in records])


def checked_cells(record: Mapping[str, Any]) -> int:
    """How many cells of a CSV row a spreadsheet would run as formulas; CannotHold if CSV cannot hold the row."""
    if any("\0" in cell for cell in plain(list(record.values()))):
        raise CannotHold("with a NUL character, which CSV files cannot hold")
    return sum(isinstance(value, str) and value.startswith(_FORMULA) for value in record.values())


@contextmanager
def _compressed(stream: IO[Any], path: Path) -> Iterator[Any]:
    how = COMPRESSIONS.get(path.suffix.lower())
    if how == "gzip":
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as raw:  # the same rows, the same bytes
            yield raw
    elif how == "zstd":
        with pa.CompressedOutputStream(pa.PythonFile(_KeptOpen(stream), "w"), "zstd") as raw:
            yield raw
    else:
        yield stream


class _KeptOpen(io.RawIOBase):
    """A stream that Arrow may write to, but not close: it is synced afterwards."""

    def __init__(self, stream: IO[Any]) -> None:
        self._stream = stream

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Pass the bytes on."""
        return self._stream.write(data)


def _put(raw: Any, text: str) -> None:
    raw.write(text.encode("utf-8"))
