"""Rows of any kind through what tells them apart: it refuses them by RowError, whatever their columns hold."""

from __future__ import annotations

import json
from typing import Any, get_args

from tests.fuzz.harness import Target

from autoselection.pool import formats
from autoselection.pool.formats import RowError, RowFormat
from autoselection.pool.row_kinds import ROWS_FROM, Teller
from autoselection.pool.turns import Reading


def _parse(data: bytes) -> None:
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(record, dict):
        tell(record)


def tell(record: dict[str, Any]) -> None:
    """Tell a row's kind under every setting; what is a conversation is checked as ingest does."""
    for rows_from in ROWS_FROM:
        teller = Teller(rows_from)
        ((line, told, problem),) = teller.rows([(1, record, None)])
        assert line == 1 and (told is None) == (problem is not None)
        if problem is not None:
            assert isinstance(problem, RowError) and str(problem) and problem.kind
            continue
        assert told is not None
        evidence = teller.evidence([told, told])
        for row_format in get_args(RowFormat):
            reading = Reading()
            try:
                conversation, _ = formats.convert(row_format, told, reading)
                teller.check(told, conversation, reading.ignored, evidence)
            except RowError as error:
                assert str(error) and error.kind


_TURNS = b'[{"role": "user", "content": "<image>q"}, {"from": "gpt", "value": [{"type": "text", "text": "a"}]}]'

TARGET = Target(
    "row kinds",
    _parse,
    (
        b'{"prompt": ' + _TURNS + b', "chosen": ' + _TURNS + b', "rejected": "b", "score_chosen": 1}',
        b'{"chosen": "\\n\\nHuman: q\\n\\nAssistant: a", "rejected": "\\n\\nHuman: q\\n\\nAssistant: b"}',
        b'{"prompt": "q", "completion": "a", "label": false, "images": ["a.png", {"bytes": null, "path": "b.jpg"}]}',
        b'{"messages": ' + _TURNS + b', "kto_tag": 0, "audio": {"array": [0.5], "sampling_rate": 8000}}',
        b'{"instruction": "i", "input": "j", "history": [["q", "a"]], "chosen": {"from": "gpt", "value": "a"}, "rejected": "b"}',
        b'{"prompt": "q", "completions": ["a", "b"], "labels": [true, false], "ground_truth": "4"}',
        b'{"text": "t", "label": 1, "query": "q", "pos": ["a"], "neg": ["b"], "choices": ["x"], "answer": "A"}',
        b'{"response_a": "x", "response_b": "y", "winner": "a", "question": "q"}',
    ),
    (
        b'"messages"',
        b'"chosen"',
        b'"rejected"',
        b'"label"',
        b'"image"',
        b'"text"',
        b'"prompt"',
        b'"role"',
        b'"<image>"',
        b"[{}]",
    ),
)
