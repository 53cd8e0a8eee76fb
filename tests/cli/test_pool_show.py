"""``pool show`` on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Outcome

Command = Callable[..., Outcome]


def test_rows_are_shown_with_their_turns_as_text(command: Command, pool: Path) -> None:
    told = command("pool", "show", pool, "7", "--signals", "none")
    assert told.code == 0
    assert "1 row of 60, all shown." in told.out and "Row 7: " in told.out
    assert "user: question 7" in told.out and "assistant: answer 7" in told.out


def test_json_has_the_rows_that_match(command: Command, pool: Path) -> None:
    told = command("pool", "show", pool, "--where", "row >= 50 and source = 'a'", "--sample", "2", "--json")
    document = json.loads(told.out)
    assert told.code == 0 and document["matching"] == 3 and document["of"] == 60
    assert [row["source"] for row in document["rows"]] == ["a", "a"]
    assert document["rows"][0]["messages"][0]["content"].startswith("question ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--where", "row <"], "condition, character 6"),
        (["nothing"], "no row with the id 'nothing'"),
        (["--source", "d"], "has no source 'd'"),
        (["--signals", "reward"], "The pool has no signal 'reward'"),
        (["--brief", "--full"], "give one of them"),
        (["--sample", "0"], "--sample"),
    ],
)
def test_a_fault_is_one_sentence(command: Command, pool: Path, options: list[str], said: str) -> None:
    told = command("pool", "show", pool, *options, "--json")
    assert told.code in (2, 3, 4) and said in json.loads(told.out)["error"]["message"]


def test_a_second_file_is_told_from_an_id_and_faults_name_no_cache(command: Command, tmp_path: Path) -> None:
    for name in ("c1.jsonl", "c2.jsonl"):
        (tmp_path / name).write_text('{"prompt": "q", "response": "a"}\n')
    one, two = tmp_path / "c1.jsonl", tmp_path / "c2.jsonl"
    told = command("pool", "show", one, two)
    assert told.code == 2 and f"takes one place, {one}," in (said := " ".join(told.err.split())), told.err
    assert f"{two} is a file or folder" in said and "autoselection ingest" in said
    for options, fault in (
        (["c3"], "The pool has no row with the id 'c3'"),
        (["--source", "d"], "The pool has no source 'd'"),
    ):
        told = command("pool", "show", one, *options)
        assert told.code == 3 and fault in " ".join(told.err.split())


def test_brief_rows_take_a_line_each(command: Command, pool: Path) -> None:
    told = command("pool", "show", pool, "--brief", "--limit", "4")
    assert told.code == 0 and "question 3" in told.out and "question 4" not in told.out


def test_hostile_text_stays_text(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSELECTION_CACHE", str(tmp_path / "cache"))
    row = {"id": "\x1b]0;x\x07", "prompt": "\x1b[2J[red]hi[/red]", "response": "\u202eabc\r\nx", "note": "\x9b1m"}
    (tmp_path / "raw.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    told = command("pool", "show", tmp_path / "raw.jsonl", "--full")
    assert told.code == 0 and "[red]hi[/red]" in told.out
    assert not any(character in told.out for character in "\x1b\x07\x9b\u202e\r")
