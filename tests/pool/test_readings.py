"""Rows whose columns can be read in several ways, and values that containers spell in their own way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoselection.pool import IngestConfig, IngestReport, Pool, ingest

Write = Callable[..., Path]
Read = Callable[..., tuple[IngestReport, Pool]]
ASK = {"role": "user", "content": "q"}
SAY = {"role": "assistant", "content": "a"}


@pytest.fixture
def read(write: Write, tmp_path: Path) -> Read:
    """Ingest rows or bytes; return (report, pool)."""

    def read(rows: Any, name: str = "rows.jsonl", **config: Any) -> tuple[IngestReport, Pool]:
        report = ingest([write(name, rows)], tmp_path / "pool", IngestConfig(**config), overwrite=True)
        return report, Pool.open(tmp_path / "pool")

    return read


# -- Nested values as text ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spell", [json.dumps, repr])
@pytest.mark.parametrize(
    ("row", "messages"),
    [
        ({"messages": [ASK, SAY]}, [ASK, SAY]),
        ({"messages": {"role": ["user", "assistant"], "content": ["q", "it's"]}}, [ASK, {**SAY, "content": "it's"}]),
        ({"Dialogue": [ASK, SAY]}, [ASK, SAY]),
        ({"prompt": [ASK], "completion": [SAY]}, [ASK, SAY]),
        ({"data": ["q", "a"]}, [ASK, SAY]),
        ({"conversation": [{"input": "q", "output": "a"}]}, [ASK, SAY]),
        ({"contents": [{"role": "user", "parts": [{"text": "q"}]}, {"role": "model", "parts": [{"text": "a"}]}]}, [ASK, SAY]),
        ({"request": {"messages": [ASK]}, "response": {"message": SAY}}, [ASK, SAY]),
        ({"chosen": [ASK, SAY], "rejected": [ASK, {**SAY, "content": "b"}]}, [ASK, SAY]),
    ],
)  # fmt: skip
def test_lists_in_cells_are_json_or_as_python_spells_them(
    row: dict[str, Any], messages: Any, spell: Callable[[Any], str], read: Read
) -> None:
    cells = {name: spell(value) for name, value in row.items()}
    report, pool = read([cells], "rows.csv", **({"from": "preference:chosen"} if "chosen" in row else {}))
    assert (pool.messages(), report.skipped) == ([messages], 0)


@pytest.mark.parametrize(
    "text", ["[{'role': 'user', 'role': 'user', 'content': 'q'}]", "[{'role': ('user',)}]", "[{'a"]
)
def test_what_python_spells_and_json_has_not_is_refused(text: str, read: Read) -> None:
    good = {"messages": repr([ASK, SAY])}
    report, _ = read([good, {"messages": text}], "rows.csv")
    assert [bad.kind for bad in report.bad] == ["not valid JSON"]


def test_a_column_is_one_column_whatever_its_joints(read: Read) -> None:
    rows = [{"Prompt": "q", "Completion": "a", "Reasoning-Content": "hm", "System Prompt": "s"}]
    _, pool = read(rows)
    assert pool.messages() == [[{"role": "system", "content": "s"}, ASK, {**SAY, "reasoning_content": "hm"}]]
    assert pool.metas() == [{}]
