"""A number that Python cannot read is said in plain words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoselection.pool import ingest

GOOD = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}


@pytest.mark.parametrize(("digits", "read"), [(4300, True), (4301, False)])
def test_a_number_of_thousands_of_digits(tmp_path: Path, digits: int, read: bool) -> None:
    path = tmp_path / "rows.jsonl"
    row = json.dumps({**GOOD, "note": 0}).replace('"note": 0', f'"note": {"9" * digits}')
    path.write_text(f"{json.dumps(GOOD)}\n{row}\n", encoding="utf-8")
    ingest([path], tmp_path / "pool")
    skipped = tmp_path / "pool" / "skipped.jsonl"
    faults = [json.loads(line) for line in skipped.read_text("utf-8").splitlines()] if skipped.exists() else []
    assert [(fault["line"], fault["kind"], "more than 4,300 digits" in fault["reason"]) for fault in faults] == (
        [] if read else [(2, "number too long", True)]
    )
