"""README's way from a CSV file to a subset runs as it is written."""

import json
import re

import pytest
from pages import ROOT, code_blocks

from autoselection.cli import app
from autoselection.cli._outcome import run

README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = re.split(r"(?m)^## ", README.partition("## My CSV to my subset")[2])[0]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with a file mine.csv of 80 rows, ten of them copies."""
    rows = [
        f'"What is the use of tool {number}?","It cuts {number} boards, then {number * 7} more."'
        for number in range(70)
    ]
    (tmp_path / "mine.csv").write_text("\n".join(["prompt,response", *rows, *rows[:10]]) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOSELECTION_CACHE", str(tmp_path / "cache"))
    return tmp_path


def blocks(*languages):
    return [block for language, block in code_blocks(SECTION) if language in languages]


def test_the_commands_write_the_rows_kept_and_the_rows_left_out(folder, capsys):
    lines = [line.split("#")[0].split() for line in "\n".join(blocks("sh")).splitlines()]
    commands = [words[1:] for words in lines if words and words[0] == "autoselection"]
    assert len(commands) == 3
    for command in commands:
        assert run(app, command) == 0
    kept = [json.loads(line) for line in (folder / "subset.jsonl").read_text().splitlines()]
    dropped = [json.loads(line) for line in (folder / "dropped.jsonl").read_text().splitlines()]
    assert len(kept) + len(dropped) == 80
    assert [row["dropped_by"] for row in dropped].count("semantic_dedup") >= 10


def test_the_python_lines_select_the_same_rows(folder, capsys):
    (program,) = blocks("python")
    exec(compile(program, "README.md", "exec"), {})
    written = [json.loads(line)["id"] for line in (folder / "subset.jsonl").read_text().splitlines()]
    assert run(app, ["apply", "text-only", "--pool", "mine.csv", "--out", "same.jsonl"]) == 0
    assert written == [json.loads(line)["id"] for line in (folder / "same.jsonl").read_text().splitlines()]


def test_the_search_with_a_trainer_of_ones_own_runs(folder, capsys):
    (program,) = [block for _, block in code_blocks(README) if "train_and_score" in block]
    (first,) = blocks("python")
    scores = {"train_and_score": lambda rows: -abs(len(rows) - 40.0)}
    exec(compile(first + program, "README.md", "exec"), scores)
    assert "(" in capsys.readouterr().out.splitlines()[-1]
