"""Arrow's record batches as raw rows: of Parquet files, dataset folders, and tables in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from autoselection.errors import PoolError
from autoselection.pool.json_reader import TEXT_DECODER, KeyTwiceError, RawRow, Record
from autoselection.pool.row_error import RowError

#: Rows converted at once.
BATCH_ROWS = 1024


class ColumnarRows:
    """The rows of record batches, numbered from 1; read once.

    Args:
        batches: all of one schema.
        total: their rows (count).
        path: where they are from, for messages.

    Attributes:
        filled: columns whose objects have all keys that any of them has, so that nulls in them say nothing: those of
            Arrow's structures (known once rows are read).
    """

    def __init__(self, batches: Iterator[Any], total: int, path: Path) -> None:
        self.filled: frozenset[str] = frozenset()
        self._batches, self._total, self._path, self._row = batches, total, path, 0

    def share(self) -> float:
        """Share of the rows that were read."""
        return self._row / max(self._total, 1)

    def __iter__(self) -> Iterator[RawRow]:
        for batch in self._batches:
            if self._row == 0:
                self.filled = frozenset(field.name for field in batch.schema if _has_structures(field.type))
            if self._row == 0 and (twice := _twice(batch.schema)) is not None:
                raise PoolError(f"{self._path}: the column {twice!r} appears twice: rename one.")
            for record, problem in _records(batch):
                self._row += 1
                yield self._row, record, problem


def _records(batch: Any) -> Iterator[tuple[Record | None, RowError | None]]:
    decoders = {field.name: decode for field in batch.schema if (decode := _json_decoder(field.type)) is not None}
    try:
        records = batch.to_pylist(maps_as_pydicts="strict")
        for record in records:
            _decode(record, decoders)
    except (ValueError, OverflowError, KeyError, RecursionError):
        # A key twice in a map, text that is not UTF-8, or no JSON in a column of JSON; dates and durations that Python has not.
        for start in range(batch.num_rows):
            yield _record(batch.slice(start, 1), decoders)
        return
    for record in records:
        yield record, None


def _record(row: Any, decoders: Mapping[str, Callable[[Any], Any]]) -> tuple[Record | None, RowError | None]:
    """The one row of a batch, or what is wrong with it."""
    record: Record = {}
    for name, column in zip(row.schema.names, row.columns, strict=True):
        try:
            record[name] = column[0].as_py(maps_as_pydicts="strict")
        except UnicodeDecodeError:
            return None, RowError("a text is not valid UTF-8", "not UTF-8", name)
        except (ValueError, OverflowError, KeyError) as error:
            return None, RowError(
                f"the column {name!r} has a value of type {column.type} that cannot be read ({error})",
                "a value that cannot be read",
                name,
            )
        try:
            _decode(record, {name: decoders[name]} if name in decoders else {})
        except KeyTwiceError as error:
            return None, RowError(f"the column {name!r} holds JSON in which {error}", "key twice", name)
        except (ValueError, RecursionError):
            return None, RowError(
                f"the column {name!r} is typed as JSON and holds something else", "not valid JSON", name
            )
    return record, None


def _decode(record: Record, decoders: Mapping[str, Callable[[Any], Any]]) -> None:
    for name, decode in decoders.items():
        record[name] = decode(record[name])


def _json_decoder(kind: Any) -> Callable[[Any], Any] | None:
    """What makes values of JSON text in a column typed as JSON; None if nothing in its type is."""
    if isinstance(kind, pa.JsonType):
        return lambda value: None if value is None else TEXT_DECODER.decode(value)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = _json_decoder(kind.value_type)
        return inner and (lambda value: None if value is None else [inner(item) for item in value])
    if pa.types.is_struct(kind):
        fields = {field.name: decode for field in kind if (decode := _json_decoder(field.type)) is not None}

        def decoded(value: Any) -> Any:
            if value is not None:
                _decode(value, fields)
            return value

        return decoded if fields else None
    return None


def _has_structures(kind: Any) -> bool:
    """Whether a type has structures in it, and not values of JSON, whose nulls are their own."""
    return "struct<" in str(kind) and _json_decoder(kind) is None


def _twice(fields: Iterable[Any]) -> str | None:
    """A name that two of a table's columns have, or two fields of a structure in it."""
    fields = list(fields)
    names = [field.name for field in fields]
    for field in fields:
        if names.count(field.name) > 1:
            return str(field.name)
        inner = [field.type.field(place) for place in range(field.type.num_fields)]
        if not pa.types.is_map(field.type) and (found := _twice(inner)) is not None:
            return found
    return None
