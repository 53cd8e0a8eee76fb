"""Rows that are in memory already: data frames, Arrow tables, datasets, and any iterable of mappings or rows of pools.

They become the rows that the same rows in a file would: NaN and NA are missing values, values of NumPy are plain ones, and
what cannot be used is a bad row with its number, from 1. A library is known by being imported: whoever has a data frame has
imported its library, and nobody else needs it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from autoselection.errors import PoolError
from autoselection.pool.columnar import BATCH_ROWS, ColumnarRows
from autoselection.pool.json_reader import RawRow, Record
from autoselection.pool.manifest import IN_MEMORY
from autoselection.pool.readers import choose_split
from autoselection.pool.row_error import RowError
from autoselection.pool.settings import in_python
from autoselection.pool.subset import Row
from autoselection.pool.values import kind_of

#: What stands for a file's path, and the source of rows that name none.
PLACE, SOURCE = Path(IN_MEMORY), "rows"
#: Bits of the longest whole number that Python writes.
_LONGEST = int(sys.get_int_max_str_digits() * math.log2(10))
_EXPECTED = (
    "expected paths of files, a data frame (pandas, polars), an Arrow table, a dataset of the library datasets, or an iterable "
    "of mappings from column to value"
)


class MemoryRows:
    """Rows in memory, to be read once; has what :class:`~autoselection.pool.readers.Reader` has."""

    path: Path = PLACE
    source = SOURCE
    encoding: str | None = None
    delimiter: str | None = None

    def __init__(self, rows: Iterable[RawRow], size: int = 0) -> None:
        self.guesses: list[str] = []
        self.bytes = size  # so far as it is known
        self._rows = rows

    @property
    def filled(self) -> frozenset[str]:
        """See ``Reader``: structures of Arrow have all keys that any of them has."""
        return self._rows.filled if isinstance(self._rows, ColumnarRows) else frozenset()

    def __enter__(self) -> MemoryRows:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def position(self) -> int:
        """Bytes read so far (for progress)."""
        return int(self.bytes * self._rows.share()) if isinstance(self._rows, ColumnarRows) else 0

    def rows(self) -> Iterator[RawRow]:
        """All rows, numbered from 1.

        Raises:
            PoolError: the table is damaged, or has a column twice.
        """
        try:
            yield from self._rows
        except pa.ArrowException as error:
            raise PoolError(f"The rows cannot be read: {' '.join(str(error).split())}.") from error


def rows_or_paths(given: object, split: str | None = None) -> MemoryRows | list[Path | str]:
    """Rows in memory, or the paths of files.

    Args:
        given: see :func:`~autoselection.pool.ingest`.
        split: the one to take of a dataset that has several.

    Raises:
        PoolError: it is nothing that rows can be read from, or a dataset has several splits and none is named.
    """
    if isinstance(given, (str, Path)):
        return [given]
    if isinstance(given, _imported("datasets", "DatasetDict") + _imported("datasets", "IterableDatasetDict")):
        try:
            given = given[choose_split(PLACE, list(given), split)]
        except PoolError as error:
            raise PoolError(in_python(str(error))) from None
    if isinstance(given, _imported("datasets", "Dataset")):
        tables = given.with_format("arrow").iter(batch_size=BATCH_ROWS)
        batches = (batch for table in tables for batch in table.to_batches())
        return MemoryRows(ColumnarRows(batches, len(given), PLACE), given.data.nbytes)
    table = _arrow_table(given)
    if table is not None:
        batches = iter(table.to_batches(max_chunksize=BATCH_ROWS))
        return MemoryRows(ColumnarRows(batches, table.num_rows, PLACE), table.nbytes)
    stream = _stream(given)
    if stream is not None:
        return MemoryRows(ColumnarRows(stream, 0, PLACE))
    if isinstance(given, _imported("pandas", "DataFrame")):
        return MemoryRows(_numbered(_frame_records(given)))
    if isinstance(given, (Mapping, bytes, bytearray)) or not isinstance(given, Iterable):
        advice = "; give one row as [row]" if isinstance(given, Mapping) else ""
        raise PoolError(f"No rows can be read from {_kind(given)}: {_EXPECTED}{advice}.")
    rest = iter(given)
    first = next(rest, None)
    if first is None or isinstance(first, (str, Path)):
        return [] if first is None else [first, *rest]
    return MemoryRows(_numbered(chain([first], rest)))


def _kind(given: object) -> str:
    return "nothing" if given is None else f"an object of type {type(given).__name__}"


def _imported(package: str, name: str) -> tuple[type[Any], ...]:
    """A class of a package, for ``isinstance``; none where the package is not imported."""
    found = getattr(sys.modules.get(package), name, None)
    return (found,) if isinstance(found, type) else ()


def _arrow_table(given: object) -> Any:
    """A table of Arrow or Polars as one of Arrow; None if it is no table.

    Raises:
        PoolError: it has columns that Arrow cannot hold.
    """
    table: Any = given
    if isinstance(table, _imported("polars", "LazyFrame")):
        table = table.collect()
    if isinstance(table, _imported("polars", "DataFrame")):
        objects = [name for name, kind in table.schema.items() if str(kind) == "Object"]
        if objects:
            raise PoolError(
                f"The column {objects[0]!r} holds Python objects, which cannot be read: make it text or structures."
            )
        return table.to_arrow()
    if isinstance(table, pa.RecordBatch):
        return pa.Table.from_batches([table])
    return table if isinstance(table, pa.Table) else None


def _stream(given: Any) -> Iterator[Any] | None:
    """The record batches of what gives them one by one: readers and datasets of Arrow, relations of DuckDB, datasets of Lance."""
    found: Iterator[Any] | None = None
    if isinstance(given, pa.RecordBatchReader):
        found = iter(given)
    elif isinstance(given, (*_imported("pyarrow.dataset", "Dataset"), *_imported("lance", "LanceDataset"))):
        data: Any = given
        found = iter(data.to_batches(batch_size=BATCH_ROWS))
    elif isinstance(given, _imported("duckdb", "DuckDBPyRelation")):
        found = iter(pa.RecordBatchReader.from_stream(given))
    return found


def _frame_records(frame: Any) -> Iterator[Record]:
    """The rows of a data frame of pandas; an index that has a name is a column, as in the files that pandas writes.

    Raises:
        PoolError: two columns have one name.
    """
    kept = [name for name in frame.index.names if name is not None]
    names = [*map(str, kept), *map(str, frame.columns)]
    for name in names:
        if names.count(name) > 1:
            raise PoolError(f"The rows have the column {name!r} twice: rename one.")
    if kept:
        frame = frame.reset_index(level=kept)
    for start in range(0, len(frame), BATCH_ROWS):
        part = frame.iloc[start : start + BATCH_ROWS].astype(object)
        for values in part.where(part.notna(), None).itertuples(index=False, name=None):
            yield dict(zip(names, values, strict=True))


def _numbered(rows: Iterable[Any]) -> Iterator[RawRow]:
    """Mappings as raw rows."""
    missing = tuple(
        value for name in ("NA", "NaT") if (value := getattr(sys.modules.get("pandas"), name, None)) is not None
    )
    for number, row in enumerate(rows, 1):
        try:
            if isinstance(row, Row):
                row = row.record()
            if not isinstance(row, Mapping):
                hint = "a mapping from column to value"
                raise RowError(f"not a mapping from column to value, but {kind_of(row)}", "not a mapping", None, hint)
            yield number, _plain(row, missing), None
        except RowError as error:
            yield number, None, error
        except RecursionError:
            hint = "lists and mappings that are less deep"
            yield number, None, RowError("the row is nested too deeply", "nested too deeply", None, hint)


def _plain(value: Any, missing: tuple[Any, ...]) -> Any:
    """A value as a reader of JSON would give it; others, such as dates, as they are.

    Raises:
        RowError: a key is no text, or a number too long to be written.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        if value.bit_length() > _LONGEST:
            digits = f"{sys.get_int_max_str_digits():,}"
            hint = "such a number as text, in quotes"
            raise RowError(f"a whole number has more than {digits} digits", "number too long", None, hint)
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise RowError(f"the name of a field is {kind_of(key)}, not text", "name that is no text", None, "text")
        return {str(key): _plain(item, missing) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, missing) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist(), missing)
    return None if any(value is one for one in missing) else value
