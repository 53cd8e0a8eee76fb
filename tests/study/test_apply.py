"""``apply``: what came in goes out, and what was left out is told with its step."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml
from test_cli import document, run

from autoselection.pool import Pool, ingest

RECIPE = {
    "steps": [
        {"operator": "semantic_dedup", "params": {"strategy": "exact"}},
        {"operator": "length_filter", "params": {"length": "n_response_characters", "min": 4}},
    ]
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSELECTION_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A user's own CSV: two rows are equal, one answer is short."""
    path = tmp_path / "mine.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "completion", "topic", "note"])
        writer.writerow(["What is 2 + 2?", "It is four.", "sums", "a, b"])
        writer.writerow(["Say no.", "No.", "words", ""])
        writer.writerow(["What is 2 + 2?", "It is four.", "sums", "again"])
        writer.writerow(["Name a tree.", "An oak.", "words", 'q"q'])
    return path


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "clean.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return path


def test_from_a_csv_to_a_csv_with_its_columns_and_places(table: Path, recipe: Path, tmp_path: Path) -> None:
    out, dropped = tmp_path / "kept.csv", tmp_path / "dropped.jsonl"
    applied = document(
        "apply", recipe, "--pool", table, "--out", out, "--format", "prompt-completion", "--dropped", dropped
    )
    assert applied["rows"] == 2 and applied["dropped"]["rows"] == 2 and applied["export"]["left_out"] == []
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["prompt"], row["completion"], row["topic"], row["note"]) for row in rows] == [
        ("What is 2 + 2?", "It is four.", "sums", "a, b"),
        ("Name a tree.", "An oak.", "words", 'q"q'),
    ]
    assert [(row["_file"], row["_line"]) for row in rows] == [(str(table), "2"), (str(table), "5")]
    lost = [json.loads(line) for line in dropped.read_text().splitlines()]
    assert [(row["_line"], row["dropped_step"], row["dropped_by"]) for row in lost] == [
        (3, 2, "length_filter"),
        (4, 1, "semantic_dedup"),
    ]
    ingest([out], tmp_path / "again")
    assert [turns[0]["content"] for turns in Pool.open(tmp_path / "again").messages()] == [
        "What is 2 + 2?",
        "Name a tree.",
    ]


@pytest.mark.parametrize(
    ("out", "options"),
    [
        ("x.json", ["--format", "sharegpt"]),
        ("x.parquet", ["--format", "alpaca"]),
        ("x.tsv", []),
        ("x", []),
        ("lf", ["--format", "sharegpt"]),
        ("ax", ["--format", "axolotl"]),
        ("x.jsonl.zst", ["--columns", "none"]),
        ("y.jsonl", ["--columns", "topic,_line"]),
    ],
)
def test_formats_by_suffix_and_by_name(table: Path, recipe: Path, tmp_path: Path, out: str, options: list[str]) -> None:
    code, shown, _ = run("apply", recipe, "--pool", table, "--out", tmp_path / out, *options)
    assert code == 0 and f"Wrote 2 rows to {tmp_path / out}" in " ".join(shown.split()).replace(" ", " ")
    file = tmp_path / out / "subset.jsonl" if out in ("lf", "ax") else tmp_path / out
    ingest([file], tmp_path / "again")
    assert [turns[-1]["content"] for turns in Pool.open(tmp_path / "again").messages()] == ["It is four.", "An oak."]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--out", "x.docx"], "suffix '.docx'"),
        (["--out", "taken.jsonl"], "--overwrite"),
        (["--out", "x.jsonl", "--dropped", "taken.jsonl"], "--overwrite"),
        (["--out", "x.jsonl", "--dropped", "x.jsonl"], "--out and --dropped both name"),
        (["--out", "x.jsonl", "--dropped", "folder"], "give a file name"),
        (["--out", "x.jsonl", "--columns", "topik"], "did you mean 'topic'"),
        (["--out", "x.jsonl", "--format", "hf"], "dataset folder"),
        (["--out", "x.jsonl", "--format", "axolotl"], "folder of data and YAML"),
        (["--out", "x.jsonl", "--report", "r.json"], "--against"),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_is_left(
    table: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], words: str
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    Path("taken.jsonl").write_text("old")
    code, shown, said = run("apply", recipe, "--pool", table, *options)
    assert code == 2 and words in said and shown == ""
    assert [entry.name for entry in place.iterdir()] == ["taken.jsonl"] and Path("taken.jsonl").read_text() == "old"


def test_overwrite_replaces_all_that_is_written(table: Path, recipe: Path, tmp_path: Path) -> None:
    for name in ("kept.jsonl", "dropped.csv"):
        (tmp_path / name).write_text("old")
    document(
        *("apply", recipe, "--pool", table, "--out", tmp_path / "kept.jsonl"),
        *("--dropped", tmp_path / "dropped.csv", "--overwrite"),
    )
    assert len((tmp_path / "kept.jsonl").read_text().splitlines()) == 2
    assert "length_filter" in (tmp_path / "dropped.csv").read_text()


def test_rows_that_a_format_cannot_hold_are_counted_said_and_among_those_left_out(recipe: Path, tmp_path: Path) -> None:
    lines = [
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a long answer"}]},
        {
            "messages": [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "another answer"},
                {"role": "user", "content": "bye"},
            ]
        },
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = (
        "apply",
        recipe,
        "--pool",
        tmp_path / "rows.jsonl",
        "--out",
        tmp_path / "out.json",
        "--format",
        "alpaca",
    )
    code, _, said = run(*arguments, "--dropped", tmp_path / "dropped.jsonl")
    assert code == 0 and "1 rows are not in" in said and "1 whose last turn is not an answer" in said
    (lost,) = [json.loads(line) for line in (tmp_path / "dropped.jsonl").read_text().splitlines()]
    assert lost["dropped_by"] == "format of the subset" and lost["_line"] == 2


def test_calls_tools_and_weights_are_in_both_files(tmp_path: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    turns = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "", "reasoning_content": "r", "tool_calls": [call], "weight": 0},
        {"role": "tool", "content": "5", "tool_call_id": "c1"},
    ]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    rows = [
        {"id": answer, "messages": [*turns, {"role": "assistant", "content": answer}], "tools": tools}
        for answer in ("no", "a long answer")
    ]
    raw, out, dropped = (tmp_path / name for name in ("rows.jsonl", "kept.jsonl", "dropped.jsonl"))
    raw.write_text("".join(json.dumps(row) + "\n" for row in rows))
    keep_long = tmp_path / "long.yaml"
    step = {"operator": "length_filter", "params": {"length": "n_response_characters", "min": 20}}
    keep_long.write_text(yaml.safe_dump({"steps": [step]}))
    document("apply", keep_long, "--pool", raw, "--out", out, "--dropped", dropped)
    for path, row in ((dropped, rows[0]), (out, rows[1])):
        (written,) = [json.loads(line) for line in path.read_text().splitlines()]
        assert {name: written[name] for name in row} == row
