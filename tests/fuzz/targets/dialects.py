"""Rows in every dialect, told by their fields, converted, and parsed for marked-up text."""

from __future__ import annotations

import json
from typing import get_args

from tests.fuzz.harness import Target
from tests.pool.dialect_examples import EXAMPLES, REFUSED

from autoselection.pool import formats
from autoselection.pool.dialects import DIALECTS, dialects_of, unreadable
from autoselection.pool.row_error import RowError
from autoselection.pool.tags import Parsed, Tally, parse
from autoselection.pool.turns import Reading


def _parse(data: bytes) -> None:
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(record, dict):
        return
    dialects_of([record])
    unreadable([record])
    for dialect in DIALECTS.values():
        reading = Reading()
        try:
            conversation, _ = formats.convert(dialect.base, dialect.rewrite(record, reading.ignored), reading)
        except RowError as error:
            assert str(error)
        else:
            tally = Tally()
            again = parse(conversation, get_args(Parsed), tally)
            assert bool(tally.parsed) == (again != conversation)
            assert all(set(message) >= {"role", "content"} for message in again.messages)


TARGET = Target(
    "dialects",
    _parse,
    tuple(json.dumps(example.row).encode() for example in EXAMPLES.values())
    + tuple(json.dumps(row).encode() for row, _ in REFUSED.values())
    + (b'{"messages": [{"content": [{"type": "text"}, {"type": "tool_result"}, {}, {}]}]}',),
    (b"<think>", b"</think>", b"<tool_call>", b"</tool_call>", b"<tools>", b"<functioncall>", b"USER:", b'"content": [1],', b'"parts"'),
)  # fmt: skip
