"""Bad rows in one table: a line a kind of fault and field, with the right counts, and the place of the first."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from autoselection.cli import app
from autoselection.errors import PoolError
from autoselection.pool import IngestConfig, Pool, ingest

Write = Callable[..., Path]
USER = {"role": "user", "content": "q"}
ANSWER = {"role": "assistant", "content": "a"}
TOOL = {"role": "tool", "content": "4"}


def call(**fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "arguments": "{}", **fields}}


def row(*turns: Any, **fields: Any) -> str:
    return json.dumps({"messages": list(turns), **fields})


def calling(*calls: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": "", "tool_calls": list(calls)}


#: Of each fault: the line, and the kind and field of its row in the table.
FAULTS: list[tuple[str | bytes, str, str]] = [
    ('{"messages": [}', "not valid JSON", ""),
    ("[1, 2]", "not a JSON object", ""),
    (b'{"messages": "\xff"}', "not UTF-8", ""),
    ('{"messages": [], "messages": []}', "key twice", "messages"),
    ('{"messages": ' + "[" * 100_000, "nested too deeply", ""),
    (row({"role": "user", "content": "\ud800"}, ANSWER), "not valid Unicode", ""),
    ('{"note": "x"}', "turns missing", "messages"),
    (row(), "empty list of turns", "messages"),
    ('{"messages": 3}', "turns that are a number", "messages"),
    ('{"messages": "[{]"}', "not valid JSON", "messages"),
    (row("hello", ANSWER), "not a turn", "messages[0]"),
    (row({"content": "q"}, ANSWER), "turn without role", "messages[0].role"),
    (row({"role": "narrator", "content": "q"}, ANSWER), "unknown role", "messages[0].role"),
    (row(USER, {"role": "assistant"}), "turn without content", "messages[1].content"),
    (row(USER, ANSWER, USER, {"role": "assistant", "content": 4}), "content that is a number", "messages[3].content"),
    (row(USER, {"role": "assistant", "content": "\u200b"}), "assistant turn without text", "messages[1].content"),
    (row({"role": "user", "content": " "}, ANSWER), "user turn without text", "messages[0].content"),
    (row({"role": "user", "content": [{"type": "file"}]}, ANSWER), "part that is not text", "messages[0].content[0]"),
    (
        row({"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url"}]}, ANSWER),
        "rows with an image",
        "messages[0].content[1]",
    ),
    (row(USER, calling(call(), call(name=""))), "call without a name", "messages[1].tool_calls[1].function.name"),
    (row(USER, calling({**call(), "type": "code"})), "a call of another type", "messages[1].tool_calls[0].type"),
    (row({**USER, "tool_calls": [call()]}, ANSWER), "calls of no assistant", "messages[0].tool_calls"),
    (row(USER, {**ANSWER, "weight": 0.5}), "weight that is neither 0 nor 1", "messages[1].weight"),
    (row(USER, {**ANSWER, "weight": 0}), "no answer with a weight", ""),
    (row(USER), "no assistant turn", ""),
    (row(ANSWER), "no user turn", ""),
    (row(ANSWER, USER, ANSWER), "answer that nobody asked for", ""),
    (row({"role": "system", "content": "x"}, USER, ANSWER, system="y"), "two system prompts", "system"),
    (row(USER, ANSWER, system=["x"]), "text that is a list", "system"),
    (row(USER, TOOL, ANSWER, tools=[{"type": "function", "function": {}}]), "tool definition without a name", "tools[0].function.name"),
    (row(USER, ANSWER, id=True), "id that is a boolean", "id"),
    (row(USER, ANSWER, source=3), "source that is no text", "source"),
    (json.dumps({"prompt": "q", "chosen": "a", "rejected": "b"}), "preference pairs", "prompt"),
    (row(USER, ANSWER, label=False), "unpaired preferences, label false", "label"),
    (json.dumps({"text": "Once upon a time."}), "pre-training text", "text"),
    (json.dumps({"instruction": "q", "output": "a"}), "another format", "messages"),
]  # fmt: skip


def planted(rows: int, faults: int, seed: int) -> tuple[bytes, dict[tuple[str, str], tuple[int, int]], int]:
    """A file of ``rows`` rows with ``faults`` kinds of them: its bytes, count and first line of each, and its good rows."""
    draw = random.Random(seed)
    chosen = FAULTS[:faults] if faults < len(FAULTS) else FAULTS
    order = [*range(len(chosen)), *draw.choices(range(-len(chosen), len(chosen)), k=rows - len(chosen))]
    draw.shuffle(order)
    lines, expected = [], {}
    for number, fault in enumerate(order, start=1):
        if fault < 0:
            lines.append(row({"role": "user", "content": f"q{number}"}, ANSWER).encode())
            continue
        line, kind, field = chosen[fault]
        lines.append(line if isinstance(line, bytes) else line.encode())
        count, first = expected.get((kind, field), (0, number))
        expected[kind, field] = (count + 1, first)
    return b"\n".join(lines) + b"\n", expected, sum(fault < 0 for fault in order)


@pytest.mark.parametrize("faults", [30, len(FAULTS)])
def test_a_thousand_rows_with_many_faults_are_one_table(faults: int, write: Write, tmp_path: Path) -> None:
    content, expected, good = planted(1000, faults, seed=faults)
    path = write("rows.jsonl", content)
    report = ingest([path], tmp_path / "pool")
    assert (report.rows, report.skipped) == (good, 1000 - good)
    assert len(report.faults) == faults == len(expected)
    found = {(fault.first.kind, fault.first.field): (fault.rows, fault.first.line) for fault in report.faults}
    assert found == expected
    assert [fault.rows for fault in report.faults] == sorted((fault.rows for fault in report.faults), reverse=True)
    assert all(fault.first.file == str(path) for fault in report.faults)
    listed = [json.loads(line) for line in (tmp_path / "pool" / "skipped.jsonl").read_text().splitlines()]
    assert len(listed) == 1000 - good and all(entry["kind"] and entry["reason"] for entry in listed)


def test_the_screen_shows_one_table_and_json_has_it_too(write: Write, tmp_path: Path) -> None:
    content, expected, _ = planted(1000, 30, seed=1)
    path = write("rows.jsonl", content)
    shown = CliRunner().invoke(app, ["ingest", str(path), "--out", str(tmp_path / "pool")])
    assert shown.exit_code == 0, shown.output
    lines = _table(shown.output.partition("Skipped rows by kind")[2])
    assert {(kind, field): (int(rows), place) for kind, rows, place, field, _, _ in lines} == {
        key: (count, f"rows.jsonl:{first}") for key, (count, first) in expected.items()
    }
    assert all(reason for _, _, _, _, reason, _ in lines)
    assert sum(hint != "" for *_, hint in lines) > 15
    said = CliRunner().invoke(app, ["ingest", str(path), "--out", str(tmp_path / "pool"), "--json"])
    document = json.loads(said.stdout)
    assert {
        (fault["kind"], fault.get("field", "")): (fault["rows"], fault["line"]) for fault in document["faults"]
    } == expected
    assert all(fault["file"] == str(path) and fault["reason"] for fault in document["faults"])


def _table(text: str) -> list[list[str]]:
    """The cells of a printed table; where a cell is broken into lines, its parts are joined."""
    found: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("│"):
            cells = [cell.strip() for cell in line.strip().strip("│").split("│")]
            if cells[1]:
                found.append(cells)
            else:
                found[-1] = [former + more for former, more in zip(found[-1], cells, strict=True)]
    return found


@pytest.mark.parametrize("number", range(len(FAULTS)))
def test_a_refusal_names_kind_place_and_field(number: int, write: Write, tmp_path: Path) -> None:
    line, kind, field = FAULTS[number]
    good = row(USER, ANSWER).encode() + b"\n"
    content = good * 40 + (line if isinstance(line, bytes) else line.encode()) + b"\n"
    with pytest.raises(PoolError) as error:
        ingest([write("rows.jsonl", content)], tmp_path / "pool", IngestConfig(on_bad_row="refuse"))
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'rows.jsonl'}:41: ") and "\n" not in message
    assert f"(kind: {kind}{f', field {field}' if field else ''})" in message
    assert not (tmp_path / "pool").exists()


def test_one_fault_in_many_turns_is_one_line(write: Write, tmp_path: Path) -> None:
    rows = [row(*[USER, ANSWER] * turns, USER, {"role": "asistant", "content": "x"}) for turns in range(50)]
    report = ingest([write("rows.jsonl", "\n".join([row(USER, ANSWER), *rows]))], tmp_path / "pool")
    ((fault,),) = (report.faults,)
    assert (fault.rows, fault.first.kind, fault.first.field) == (50, "unknown role", "messages[1].role")
    assert fault.first.hint.startswith("one of the roles system")


def test_fields_are_named_as_the_file_names_them(write: Write, tmp_path: Path) -> None:
    good = {"Frage": "q", "Antwort": "a"}
    rows = [good, {"Frage": "q", "Antwort": " "}, {"Frage": 7, "Antwort": "a"}]
    report = ingest(
        [write("faq.jsonl", rows)], tmp_path / "pool", IngestConfig(map={"prompt": "Frage", "response": "Antwort"})
    )
    assert [(bad.kind, bad.field) for bad in report.bad] == [
        ("field missing or empty", "Antwort"),
        ("text that is a number", "Frage"),
    ]
    talk = [{"Chat": [USER, ANSWER]}, {"Chat": [USER, {"role": "assistant", "content": 3}]}]
    report = ingest([write("talk.jsonl", talk)], tmp_path / "other")
    assert [bad.field for bad in report.bad] == ["Chat[1].content"]


def test_faults_without_end_are_counted_together(write: Write, tmp_path: Path) -> None:
    doubled = [f'{{"k{number}": 1, "k{number}": 2}}' for number in range(300)]
    report = ingest([write("rows.jsonl", "\n".join([row(USER, ANSWER), *doubled]))], tmp_path / "pool")
    assert report.skipped == 300 == sum(fault.rows for fault in report.faults)
    assert len(report.faults) == 201 and report.faults[0].first.kind == "others"
    assert len(Pool.open(tmp_path / "pool")) == 1


def test_a_few_first_rows_in_another_format_do_not_hide_the_files(write: Write, tmp_path: Path) -> None:
    talk = [json.loads(row({"role": "user", "content": f"q{number}"}, ANSWER)) for number in range(40)]
    alpaca = {"instruction": "q", "output": "a"}
    report = ingest([write("rows.jsonl", [talk[0], alpaca, *talk[1:], alpaca])], tmp_path / "pool")
    assert (report.rows, [(fault.first.kind, fault.rows) for fault in report.faults]) == (40, [("another format", 2)])
    with pytest.raises(PoolError, match=r"fits several row formats \(alpaca, messages\)"):
        ingest([write("half.jsonl", [*talk[:8], *[alpaca] * 8])], tmp_path / "half")
    both = {**talk[0], **alpaca}
    with pytest.raises(PoolError, match=r"fits several row formats \(alpaca, messages\)"):
        ingest([write("both.jsonl", [*talk[:30], both])], tmp_path / "both")
