"""The pool's rows as Arrow columns: their types, what they mean as conversations, and their content hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autoselection.conversation import Conversation, Message, turn_text

CALLS_TYPE = pa.list_(pa.struct([("id", pa.string()), ("name", pa.string()), ("arguments", pa.string())]))
#: What only some turns have: null in the others (a weight of 1 too, which is what a turn without one has).
TYPED_FIELDS = {
    "reasoning_content": pa.string(),
    "tool_calls": CALLS_TYPE,
    "tool_call_id": pa.string(),
    "name": pa.string(),
    "weight": pa.int8(),
}
PLAIN_FIELDS = {"role": pa.string(), "content": pa.string()}
MESSAGES_TYPE = pa.list_(pa.struct({**PLAIN_FIELDS, **TYPED_FIELDS}))
PLAIN_MESSAGES_TYPE = pa.list_(pa.struct(PLAIN_FIELDS))
#: ``tools``: JSON text of the list of declared tools; ``meta``: JSON text of the user's other columns; ``file`` and
#: ``line`` (for Parquet and dataset folders the number of the row, from 1): where the row was read, which is no part
#: of the fingerprint.
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("messages", MESSAGES_TYPE, nullable=False),
        pa.field("tools", pa.string()),
        pa.field("meta", pa.string()),
        pa.field("file", pa.dictionary(pa.int32(), pa.string())),
        pa.field("line", pa.int64()),
    ]
)
_PLAIN_MESSAGES = pa.field("messages", PLAIN_MESSAGES_TYPE, nullable=False)
#: Tables of layout version 1: with places, and from before rows knew their file and line.
_OLD_SCHEMAS = tuple(
    pa.schema([_PLAIN_MESSAGES if name == "messages" else SCHEMA.field(name) for name in names])
    for names in (("id", "source", "messages", "meta", "file", "line"), ("id", "source", "messages", "meta"))
)


def as_current(table: Any) -> Any:
    """A table with the columns of ``SCHEMA`` if it is one of an older layout; nothing is copied but nulls are added."""
    if not any(table.schema.equals(schema) for schema in _OLD_SCHEMAS):
        return table
    columns = []
    for column in SCHEMA:
        if column.name == "messages":
            chunks = [_with_null_fields(chunk) for chunk in table.column("messages").chunks]
            columns.append(pa.chunked_array(chunks, MESSAGES_TYPE))
        elif column.name in table.column_names:
            columns.append(table.column(column.name))
        else:
            columns.append(pa.nulls(table.num_rows, column.type))
    return pa.table(columns, schema=SCHEMA)


def _with_null_fields(conversations: Any) -> Any:
    turns = conversations.values
    columns = [turns.field(name) for name in PLAIN_FIELDS]
    columns += [pa.nulls(len(turns), kind) for kind in TYPED_FIELDS.values()]
    return pa.ListArray.from_arrays(
        conversations.offsets, pa.StructArray.from_arrays(columns, fields=list(MESSAGES_TYPE.value_type))
    )


def without_unused_fields(conversations: Any) -> Any:
    """Role and content alone where no turn has more, which is much faster to read; a view, not a copy."""
    turns = conversations.values
    if turns.type.num_fields == len(PLAIN_FIELDS):
        return conversations
    if any(turns.field(name).null_count < len(turns) for name in TYPED_FIELDS):
        return conversations
    columns = [turns.field(name) for name in PLAIN_FIELDS]
    return pa.ListArray.from_arrays(
        conversations.offsets, pa.StructArray.from_arrays(columns, fields=list(PLAIN_MESSAGES_TYPE.value_type))
    )


def turns_array(ends: Sequence[int], roles: Sequence[str], contents: Sequence[str], typed: dict[int, Message]) -> Any:
    """Conversations of consecutive turns as an Arrow array of ``MESSAGES_TYPE``.

    Args:
        ends: 0, and where each conversation ends, as numbers of turns.
        roles: of each turn.
        contents: of each turn.
        typed: the turns that have more than role and content, by their number.
    """
    columns = [pa.array(roles, pa.string()), pa.array(contents, pa.string())]
    for name, kind in TYPED_FIELDS.items():
        if typed:
            values: list[Any] = [None] * len(roles)
            for number, message in typed.items():
                values[number] = message.get(name)
            columns.append(pa.array(values, kind))
        else:
            columns.append(pa.nulls(len(roles), kind))
    turns = pa.StructArray.from_arrays(columns, fields=list(MESSAGES_TYPE.value_type))
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), turns)


def as_messages(conversations: Any) -> list[list[Message]]:
    """List<struct> array to Python; reads the flat columns, several times faster than ``to_pylist``."""
    turns = conversations.flatten()
    flat: list[Any] = [
        {"role": role, "content": content}
        for role, content in zip(turns.field("role").to_pylist(), turns.field("content").to_pylist(), strict=True)
    ]
    for name in TYPED_FIELDS if turns.type.num_fields > len(PLAIN_FIELDS) else ():
        column = turns.field(name)
        if column.null_count == len(column):
            continue
        values = column.drop_null().to_pylist()
        if name == "tool_calls":
            values = [[_without_nulls(call) for call in calls] for calls in values]
        present = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        for number, value in zip(present.tolist(), values, strict=True):
            flat[number][name] = value
    ends = np.cumsum(conversations.value_lengths().to_numpy(zero_copy_only=False)).tolist()
    return [flat[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _without_nulls(call: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in call.items() if value is not None}


def turn_texts(conversations: Any) -> Any:
    """The text of every turn (``conversation.turn_text``), an Arrow string array."""
    if without_unused_fields(conversations).type.value_type.num_fields == len(PLAIN_FIELDS):
        return conversations.flatten().field("content")
    flat = (message for messages in as_messages(conversations) for message in messages)
    return pa.array(map(turn_text, flat), pa.string())


def joined_texts(conversations: Any, role: str | None = None) -> list[str]:
    r"""The texts of each conversation's turns, or of those of one role, joined by ``\n``."""
    texts = turn_texts(conversations)
    counts = conversations.value_lengths().to_numpy(zero_copy_only=False)
    if role is not None:
        chosen = pc.equal(conversations.flatten().field("role"), role)
        row = np.repeat(np.arange(len(counts)), counts)[chosen.to_numpy(zero_copy_only=False)]
        texts, counts = texts.filter(chosen), np.bincount(row, minlength=len(counts))
    contents = texts.to_pylist()
    ends = np.cumsum(counts).tolist()
    return ["\n".join(contents[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def turns_digest(source: str, messages: Sequence[Message], tools: str | None = None) -> Any:
    """Hash object (128 bits) over a row's source, turns and tools.

    Raises:
        UnicodeEncodeError: a text is not valid Unicode.
    """
    # Lengths make the encoding unambiguous whatever the texts hold; "+" begins no role.
    parts = [f"{len(source)}:{source}"]
    for message in messages:
        content = message["content"]
        parts.append(f"{message['role']}:{len(content)}:")
        parts.append(content)
        if len(message) > len(PLAIN_FIELDS):
            parts += _typed_parts(message)
    if tools is not None:
        parts.append(f"+tools:{len(tools)}:{tools}")
    return hashlib.blake2b("".join(parts).encode("utf-8"), digest_size=16)


def _typed_parts(message: Message) -> list[str]:
    parts = []
    for name in TYPED_FIELDS:
        value = message.get(name)
        if isinstance(value, list):
            parts.append(f"+{name}:{len(value)}:")
            for call in value:
                texts = [call[key] for key in ("id", "name", "arguments") if key in call]
                parts += [f"{len(texts)}:", *(f"{len(text)}:{text}" for text in texts)]
        elif value is not None:
            text = str(value)
            parts.append(f"+{name}:{len(text)}:{text}")
    return parts


def content_hash(conversation: Conversation) -> int:
    """64 bits, the same only within this process, where they are only compared with each other."""
    messages = conversation.messages
    key: list[Any] = [(message["role"], message["content"]) for message in messages]
    if max(map(len, messages)) > len(PLAIN_FIELDS) or conversation.tools is not None:
        key += (tuple(_typed_parts(message)) for message in messages)
        key.append(conversation.tools)
    return hash(tuple(key)) & ((1 << 64) - 1)


class Fingerprint:
    """Running content hash over a pool's rows: does not depend on how they are split into batches."""

    def __init__(self) -> None:
        # The same in all layouts: rows that need none of what a layout added have one fingerprint in all.
        self._digest = hashlib.blake2b(b"autoselection-pool-1", digest_size=16)

    def add(self, row_id: str, row_digest: bytes, meta: str | None) -> None:
        """Add one row.

        Raises:
            UnicodeEncodeError: the id or the metadata is not valid Unicode.
        """
        head = f"{len(row_id)}:{row_id}" if meta is None else f"{len(row_id)}:{row_id}{len(meta)}:{meta}"
        self._digest.update(head.encode("utf-8") + row_digest)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()
