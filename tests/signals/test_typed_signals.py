"""Text signals of rows with reasoning and calls: those of rows whose contents spell the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from autoselection.conversation import turn_text
from autoselection.pool import Pool, ingest
from autoselection.signals import SignalsConfig, load_table, score_pool
from autoselection.signals.contract import prompt_of, response_of

_CALLS = [
    {"id": "c1", "name": "search", "arguments": {"query": "How tall is the tower?"}},
    {"name": "area", "arguments": "no JSON"},
]
_TALK = [
    {"role": "user", "content": "Find the height of the tower."},
    {"role": "assistant", "content": "", "reasoning_content": "I had better search.", "tool_calls": _CALLS},
    {"role": "tool", "content": "330 m", "tool_call_id": "c1", "name": "search"},
    {"role": "tool", "content": ""},
    {"role": "assistant", "content": "It is 330 m tall.", "reasoning_content": "That is what the tool says."},
    {"role": "user", "content": "And in feet?", "name": "Ann"},
    {"role": "assistant", "content": "About 1083.", "weight": 0},
]


def _pool(folder: Path, rows: list[list[dict[str, Any]]]) -> Pool:
    lines = "".join(json.dumps({"messages": messages, "tools": [{"name": "search"}]}) + "\n" for messages in rows)
    folder.mkdir()
    (folder / "rows.jsonl").write_text(lines)
    return Pool.open(ingest([folder / "rows.jsonl"], folder / "pool").path)


def test_signals_see_reasoning_and_calls(tmp_path: Path) -> None:
    rows = [_TALK, _TALK[:-2], [*_TALK[:3], *_TALK[4:5]]]
    typed = _pool(tmp_path / "typed", rows)
    spelt = _pool(
        tmp_path / "spelt",
        [[{"role": turn["role"], "content": turn_text(turn)} for turn in turns] for turns in typed.messages()],
    )
    assert typed.fingerprint != spelt.fingerprint
    assert typed.texts() == spelt.texts()
    assert 'I had better search.\nsearch {"query": "How tall is the tower?"}\narea no JSON' in typed.texts()[0]
    for part, of in (("response", response_of), ("prompt", prompt_of)):
        # A prompt for people has no tools' results in it.
        theirs = [list(filter(lambda turn: turn["role"] != "tool", turns)) for turns in typed.messages()]
        assert typed.parts(part) == spelt.parts(part) == [of(turns) for turns in theirs]
    tables = []
    for pool in (typed, spelt):
        score_pool(
            pool, SignalsConfig(signals=("tokens", "lengths", "ngram_entropy", "repetition", "text_hash", "minhash"))
        )
        tables.append(load_table(pool))
    np.testing.assert_array_equal(*(table.require_text_hash() for table in tables))
    np.testing.assert_array_equal(*(table.minhash for table in tables))
    for name in tables[0].columns:
        np.testing.assert_array_equal(tables[0].column(name), tables[1].column(name), err_msg=name)
    assert tables[0].column("n_turns").tolist() == [7, 5, 4]
    assert tables[0].column("n_response_words")[2] == len(
        [
            "I",
            "had",
            "better",
            "search",
            "search",
            "query",
            "How",
            "tall",
            "is",
            "the",
            "tower",
            "area",
            "no",
            "JSON",
            "That",
            "is",
            "what",
            "the",
            "tool",
            "says",
            "It",
            "is",
            "330",
            "m",
            "tall",
        ]
    )
