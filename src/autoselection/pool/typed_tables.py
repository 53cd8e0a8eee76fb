"""Records as Arrow tables in which some columns hold values of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

Records = Sequence[Mapping[str, Any]]


def table_of(records: Records, schema: pa.Schema) -> pa.Table:
    """Rows as a table; values in fields of type JSON are written as JSON text."""
    storage = pa.schema([(field.name, _stored(field.type)) for field in schema])
    encoded = {field.name: field.type for field in schema if storage.field(field.name).type != field.type}
    rows = [
        {**record, **{name: _as_stored(record.get(name), kind) for name, kind in encoded.items()}} for record in records
    ]
    return pa.Table.from_pylist(rows, schema=storage).cast(schema)


def _stored(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.JsonType):
        return kind.storage_type
    return pa.list_(kind.value_type.storage_type) if _lists_json(kind) else kind


def _lists_json(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) and isinstance(kind.value_type, pa.JsonType)


def _as_stored(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    return [_json(item) for item in value] if _lists_json(kind) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
