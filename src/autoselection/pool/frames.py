"""Rows of a pool as tables in memory: for Polars, and for the library ``datasets``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from autoselection.errors import MissingExtraError, PoolError
from autoselection.pool.openai_messages import has_huge_number, openai_message
from autoselection.pool.own_columns import own_columns
from autoselection.pool.rows import PLAIN_FIELDS, TYPED_FIELDS
from autoselection.pool.table import PoolTable
from autoselection.pool.typed_tables import table_of

if TYPE_CHECKING:
    import polars


_BATCH_ROWS = 4096
_TEXT = pa.string()
_JSON = pa.json_(_TEXT)
_NAMES = ("id", "source", "messages", "tools")


def polars_frame(pool: PoolTable, rows: NDArray[np.int64]) -> polars.DataFrame:
    """Rows as a data frame of Polars.

    Its columns are ``id``, ``source``, ``messages`` (a list of structures: role, content, and what else a turn of these rows
    has), ``tools`` (JSON text) if a row declares some, and the user's own columns, those of mixed or nested values as JSON text.
    """
    import polars

    picked = _picked(pool, rows)
    frame = polars.from_arrow(_with_own_columns(pool, rows, picked, json_type=_TEXT))
    assert isinstance(frame, polars.DataFrame)
    return frame


def hf_dataset(pool: PoolTable, rows: NDArray[np.int64]) -> Any:
    """Rows as a ``datasets.Dataset``: what ``load_dataset`` gives of an exported dataset folder.

    Where turns have more than role and content, each is a value of type JSON, so that none has the keys of others as nulls,
    which chat templates would stumble over; so are declared tools.

    Raises:
        MissingExtraError: the library is not installed.
        PoolError: a row declares tools with a whole number that the library cannot read.
    """
    try:
        from datasets import Dataset
    except ImportError as error:
        raise MissingExtraError("datasets", "train", "A dataset of the library datasets") from error
    picked = _picked(pool, rows)
    if picked.schema.field("messages").type.value_type.num_fields > len(PLAIN_FIELDS) or "tools" in picked.column_names:
        picked = _with_json(pool, rows, "tools" in picked.column_names)
    return Dataset(_with_own_columns(pool, rows, picked, json_type=_JSON))


def _picked(pool: PoolTable, rows: NDArray[np.int64]) -> Any:
    """The rows' id, source and messages, and tools if there are any; turns have those fields only that one of them has."""
    table = pool.table.select(_NAMES)
    if len(rows) < len(pool) or not np.array_equal(rows, np.arange(len(pool))):
        table = pa.concat_tables([table.take(pa.array(part)) for part in _parts(rows)] or [table.slice(0, 0)])
    table = table.set_column(1, "source", table.column("source").cast(_TEXT))
    chunks = table.column("messages").chunks
    more = [name for name in TYPED_FIELDS if any(_has(chunk, name) for chunk in chunks)]
    kept = {**PLAIN_FIELDS, **{name: TYPED_FIELDS[name] for name in more}}
    messages = pa.chunked_array([_only(chunk, kept) for chunk in chunks], pa.list_(pa.struct(kept)))
    table = table.set_column(2, "messages", messages)
    return table if table.column("tools").null_count < len(table) else table.drop_columns("tools")


def _parts(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    return (rows[start : start + _BATCH_ROWS] for start in range(0, len(rows), _BATCH_ROWS))


def _has(conversations: Any, name: str) -> bool:
    column = conversations.flatten().field(name)
    return bool(column.null_count < len(column))


def _only(conversations: Any, fields: dict[str, Any]) -> Any:
    """The conversations with these fields of their turns alone."""
    turns = conversations.values
    columns = [turns.field(name) for name in fields]
    inner = pa.StructArray.from_arrays(columns, fields=list(pa.struct(fields)))
    return pa.ListArray.from_arrays(conversations.offsets, inner)


def _with_json(pool: PoolTable, rows: NDArray[np.int64], tools: bool) -> Any:
    """The rows with turns, and tools, of type JSON."""
    schema = pa.schema(
        [("id", _TEXT), ("source", _TEXT), ("messages", pa.list_(_JSON)), *([("tools", _JSON)] if tools else [])]
    )
    return pa.concat_tables([table_of(_json_records(pool, part), schema) for part in _parts(rows)])


def _json_records(pool: PoolTable, rows: NDArray[np.int64]) -> list[dict[str, Any]]:
    records = []
    for row_id, source, conversation in zip(
        pool.row_ids(rows), pool.sources(rows), pool.conversations(rows), strict=True
    ):
        declared = None if conversation.tools is None else json.loads(conversation.tools)
        if has_huge_number(declared):
            raise PoolError(
                f"The tools of the row {row_id!r} have a whole number of more than 64 bits, which the library datasets cannot "
                "read: leave the row out."
            )
        messages = [openai_message(message, objects=True) for message in conversation.messages]
        records.append({"id": row_id, "source": source, "messages": messages, "tools": declared})
    return records


def _with_own_columns(pool: PoolTable, rows: NDArray[np.int64], table: Any, json_type: Any) -> Any:
    """The table and behind it the user's own columns of its rows."""
    own = own_columns(pool, rows, None, _NAMES, to_file=False)
    if not own.names:
        return table
    schema = pa.schema(own.schema())
    parts = [table_of(own.values(pool, part, typed=True), schema) for part in _parts(rows)]
    added = pa.concat_tables(parts)
    for name, kind in own.schema():
        column = added.column(name)
        table = table.append_column(name, column.cast(json_type) if kind == _JSON else column)
    return table
