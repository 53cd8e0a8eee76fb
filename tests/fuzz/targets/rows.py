"""Rows of any container, then the conversion of each in every format: the formats' own target and the others' last step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from tests.fuzz.harness import Target

from autoselection.conversation import turn_text
from autoselection.pool import formats
from autoselection.pool.formats import RowError, RowFormat
from autoselection.pool.readers import Reader
from autoselection.pool.turns import Reading


def read_rows(path: Path) -> None:
    """Read a file, and convert what it holds."""
    with Reader(path) as reader:
        for line, record, problem in reader.rows():
            assert line >= 1
            assert (record is None) == (problem is not None)
            if record is not None:
                convert(record)


def convert(record: dict[str, Any]) -> None:
    """Convert a row in every format; a row that cannot be used says so by RowError, which ingest counts."""
    formats.matching_formats(record)
    for row_format in get_args(RowFormat):
        try:
            conversation, _ = formats.convert(row_format, record, Reading())
        except RowError as error:
            assert str(error)
        else:
            assert all(turn_text(message).strip() for message in conversation.messages)


def _parse(data: bytes) -> None:
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(record, dict):
        convert(record)


_TURNS = b'[{"role": "user", "content": "q"}, {"from": "gpt", "value": [{"type": "text", "text": "a"}]}]'

TARGET = Target(
    "rows",
    _parse,
    (
        b'{"messages": ' + _TURNS + b', "system": "s"}',
        b'{"conversations": {"from": ["human", "gpt"], "value": ["q", "a"]}}',
        b'{"instruction": "i", "input": "", "output": "o", "history": [["q", "a"]]}',
        b'{"prompt": ' + _TURNS + b', "completion": "a"}',
        b'{"question": "q", "answer": "a", "choices": null}',
        b'{"messages": "[{\\"role\\": \\"user\\", \\"content\\": \\"q\\"}]"}',
    ),
    (b'"messages"', b'"role"', b'"content"', b'"system"', b'"tool_calls": [1],', b'"history"', b'"options"', b'"type"'),
)
