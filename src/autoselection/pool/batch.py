"""Rows as columns: batches of the pool's table, and the JSON of what rows hold besides their conversation."""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import math
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from autoselection.conversation import Conversation, Message, turn_pieces
from autoselection.pool.json_reader import Record
from autoselection.pool.row_error import RowError
from autoselection.pool.rows import SCHEMA, turns_array

_BATCH_ROWS = 4096
_BATCH_CHARACTERS = 8 * 2**20


def grown(array: Any, names: Sequence[str]) -> Any:
    """``names`` as a string array of Arrow's, made of the one that holds the first of them: only new ones are converted."""
    new = names[len(array) :]
    return pa.concat_arrays([array, pa.array(new, pa.string())]) if new else array


class Batch:
    """Rows on their way to the table, column by column."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.sources: list[int] = []
        self.roles: list[str] = []
        self.contents: list[str] = []
        self.typed: dict[int, Message] = {}  # turns with more than role and content, by their number
        self.tools: list[str | None] = []
        self.ends: list[int] = [0]
        self.metas: list[str | None] = []
        self.files: list[int] = []
        self.lines: list[int] = []
        self.characters = 0

    def add(self, row_id: str, source: int, conversation: Conversation, meta: str | None, file: int, line: int) -> None:
        self.ids.append(row_id)
        self.sources.append(source)
        for message in conversation.messages:
            content = message["content"]
            if len(message) > 2:
                self.typed[len(self.roles)] = message
                self.characters += sum(map(len, turn_pieces(message))) - len(content)
            self.roles.append(message["role"])
            self.contents.append(content)
            self.characters += len(content)
        self.ends.append(len(self.roles))
        self.tools.append(conversation.tools)
        self.metas.append(meta)
        self.files.append(file)
        self.lines.append(line)
        self.characters += len(meta or "") + len(conversation.tools or "")

    def full(self) -> bool:
        return len(self.ids) >= _BATCH_ROWS or self.characters >= _BATCH_CHARACTERS

    def to_arrow(self, source_names: Any, file_names: Any) -> Any:
        """The rows as Arrow's; ``source_names`` and ``file_names`` are string arrays."""
        return pa.record_batch(
            [
                pa.array(self.ids, pa.string()),
                pa.DictionaryArray.from_arrays(pa.array(self.sources, pa.int32()), source_names),
                turns_array(self.ends, self.roles, self.contents, self.typed),
                pa.array(self.tools, pa.string()),
                pa.array(self.metas, pa.string()),
                pa.DictionaryArray.from_arrays(pa.array(self.files, pa.int32()), file_names),
                pa.array(self.lines, pa.int64()),
            ],
            schema=SCHEMA,
        )


def _json_value(value: Any) -> Any:
    """JSON form of what columnar files hold besides JSON's own types."""
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, uuid.UUID, datetime.timedelta)):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise RowError(
        f"a field holds {type(value).__name__}, which JSON metadata cannot hold", "a value that JSON cannot hold"
    )


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return _without_nan(value.tolist())
    return value


def meta_of(record: Record, own: Collection[str | None]) -> str | None:
    """The row's fields but its ``own`` as JSON; None if there are none."""
    extra = {name: value for name, value in record.items() if value is not None and name not in own}
    if not extra:
        return None
    try:
        text = json.dumps(extra, ensure_ascii=False, allow_nan=False, default=_json_value)
    except RowError:
        raise _named(extra) from None
    except ValueError:  # NaN in a float column
        try:
            text = json.dumps(_without_nan(extra), ensure_ascii=False, allow_nan=False, default=_json_value)
        except RowError:
            raise _named(extra) from None
    text.encode("utf-8")
    return text


def _named(extra: Mapping[str, Any]) -> RowError:
    """The fault of the first field that JSON cannot hold, with its name."""
    for name, value in extra.items():
        try:
            json.dumps(value, default=_json_value)
        except RowError as error:
            return RowError(str(error).replace("a field", f"field {name!r}", 1), error.kind, name)
    return RowError("a field holds what JSON metadata cannot hold", "a value that JSON cannot hold")
