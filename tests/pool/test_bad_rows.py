from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoselection.errors import PoolError
from autoselection.pool import IngestConfig, Pool, ingest, json_reader

Write = Callable[..., Path]
USER = {"role": "user", "content": "q"}
ANSWER = {"role": "assistant", "content": "a"}
GOOD = json.dumps({"messages": [USER, ANSWER]})


def messages(*turns: Any, **fields: Any) -> str:
    return json.dumps({"messages": list(turns), **fields})


BAD_LINES: dict[str, tuple[str | bytes, str]] = {
    "broken JSON": ('{"messages": [', "not valid JSON: Expecting value at column 15"),
    "NaN": ('{"messages": NaN}', "field 'messages' is missing"),
    "Infinity": ('{"messages": -Infinity}', "field 'messages' is missing"),
    "a key twice": ('{"messages": [], "messages": []}', "the key 'messages' appears twice in one object"),
    "a key twice in a turn": (
        GOOD.replace('"content": "a"', '"content": "a", "content": "b"'),
        "the key 'content' appears twice in one object",
    ),
    "a key twice in a JSON string": (
        json.dumps({"messages": GOOD[13:-1].replace('"content": "a"', '"content": "a", "content": "b"')}),
        "field 'messages' is a JSON string in which the key 'content' appears twice",
    ),
    "an answer first": (messages(ANSWER, USER, ANSWER), "opens with an answer that nobody asked for"),
    "raw control character": ('{"messages": "a\tb"}', "not valid JSON: Invalid control character"),
    "huge number": ('{"id": ' + "1" * 5000 + "}", "a whole number has more than 4,300 digits"),
    "deep nesting": ("[" * 100_000, "the JSON is nested too deeply"),
    "a list": ("[1, 2]", "not a JSON object"),
    "a string": ('"text"', "not a JSON object"),
    "invalid UTF-8": (b'{"messages": "\xff"}', "not valid UTF-8 (byte 15 of the line)"),
    "Latin-1": (GOOD.replace('"q"', '"é"').encode("latin-1"), "not valid UTF-8"),
    "lone surrogate": (messages({"role": "user", "content": "\ud800"}, ANSWER), "not valid Unicode"),
    "lone surrogate in metadata": (messages(USER, ANSWER, note="\udfff"), "not valid Unicode"),
    "lone surrogate in id": (messages(USER, ANSWER, id="\ud834"), "not valid Unicode"),
    "missing messages": ('{"note": "x"}', "field 'messages' is missing"),
    "text alone": ('{"text": "x"}', "pre-training text: field 'text'"),
    "null messages": ('{"messages": null}', "field 'messages' is missing"),
    "empty messages": (messages(), "field 'messages' is empty"),
    "messages a number": ('{"messages": 3}', "field 'messages' is not a list but a number"),
    "messages an object": ('{"messages": {"role": "user"}}', "field 'messages' is not a list but an object"),
    "messages a broken string": ('{"messages": "[{]"}', "field 'messages' is a string that is not valid JSON"),
    "turn not an object": (messages("hello", ANSWER), "turn 1 of 'messages' must be an object, not a string"),
    "no role": (messages({"content": "q"}, ANSWER), "turn 1 of 'messages' has no role"),
    "unknown role": (messages({"role": "narrator", "content": "q"}), "has the unknown role 'narrator'"),
    "no content": (messages(USER, {"role": "assistant"}), "turn 2 of 'messages' has no content"),
    "content a number": (messages(USER, {"role": "assistant", "content": 4}), "must be a string, not a number"),
    "empty content": (
        messages(USER, {"role": "assistant", "content": ""}),
        "turn 2 of 'messages' (assistant) has no text",
    ),
    "blank content": (messages({"role": "user", "content": " \n"}, ANSWER), "turn 1 of 'messages' (user) has no text"),
    "image part": (
        messages({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, ANSWER),
        "rows with an image: field 'messages[0].content[0]'",
    ),
    "tool calls": (
        messages(USER, {"role": "assistant", "content": "x", "tool_calls": [{}]}),
        "'tool_calls' of turn 2 of 'messages': a call has no name of a function",
    ),
    "no assistant": (messages(USER), "there is no assistant turn"),
    "no user": (messages(ANSWER), "there is no user turn"),
    "system a list": (messages(USER, ANSWER, system=["x"]), "field 'system' must be a string, not a list"),
    "two system prompts": (
        messages({"role": "system", "content": "x"}, USER, ANSWER, system="y"),
        "two different system prompts",
    ),
    "id a boolean": (messages(USER, ANSWER, id=True), "field 'id' must be a string or a whole number"),
    "id a fraction": (messages(USER, ANSWER, id=1.5), "field 'id' must be a string or a whole number"),
    "id empty": (messages(USER, ANSWER, id=" "), "field 'id' is empty"),
    "source a number": (messages(USER, ANSWER, source=3), "field 'source' must be a non-empty string"),
    "source empty": (messages(USER, ANSWER, source=""), "field 'source' must be a non-empty string"),
}


@pytest.mark.parametrize("kind", BAD_LINES)
def test_bad_line_is_skipped_and_reported_with_its_place(kind: str, write: Write, tmp_path: Path) -> None:
    line, reason = BAD_LINES[kind]
    raw = line if isinstance(line, bytes) else line.encode()
    path = write("rows.jsonl", GOOD.encode() + b"\n\n" + raw + b"\n" + GOOD.encode() + b"\n")
    report = ingest([path], tmp_path / "pool")
    assert (report.rows, report.skipped) == (2, 1)
    (bad,) = report.bad
    assert (bad.file, bad.line) == (str(path), 3)
    assert reason in bad.reason
    written = (tmp_path / "pool" / "skipped.jsonl").read_text().splitlines()
    place = {"field": bad.field} if bad.field else {}
    assert [json.loads(text) for text in written] == [
        {"file": str(path), "line": 3, "kind": bad.kind, **place, "reason": bad.reason}
    ]
    assert [(fault.rows, fault.first) for fault in report.faults] == [(1, bad)]
    assert Pool.open(tmp_path / "pool").manifest.files[0].skipped == 1


@pytest.mark.parametrize("kind", BAD_LINES)
def test_bad_line_ends_the_ingest_if_refused(kind: str, write: Write, tmp_path: Path) -> None:
    line, reason = BAD_LINES[kind]
    raw = line if isinstance(line, bytes) else line.encode()
    path = write("rows.jsonl", GOOD.encode() + b"\n" + raw + b"\n")
    with pytest.raises(PoolError) as error:
        ingest([path], tmp_path / "pool", IngestConfig(on_bad_row="refuse"))
    assert str(error.value).startswith(f"{path}:2: ")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["rows.jsonl"]


@pytest.mark.parametrize(
    ("row_format", "row", "reason"),
    [
        ("sharegpt", {"conversations": [{"from": "human", "value": "q"}]}, "there is no assistant turn"),
        ("sharegpt", {"conversations": [{"from": "human"}]}, "turn 1 of 'conversations' has no content"),
        ("alpaca", {"instruction": "q", "output": ""}, "field 'output' is missing or empty"),
        ("alpaca", {"instruction": " ", "output": "a"}, "field 'instruction' is missing or empty"),
        ("alpaca", {"instruction": ["q"], "output": "a"}, "field 'instruction' must be a string, not a list"),
        ("alpaca", {"instruction": "q", "output": "a", "history": "x"}, "field 'history' is a string that is not"),
        ("alpaca", {"instruction": "q", "output": "a", "history": {"a": 1}}, "field 'history' must be a list"),
        ("alpaca", {"instruction": "q", "output": "a", "history": [["x"]]}, "entry 1 of 'history' must be a"),
        ("alpaca", {"instruction": "q", "output": "a", "history": [["x", ""]]}, "entry 1 of 'history' has an empty"),
        ("prompt-completion", {"prompt": "q"}, "prompts without answers: field 'prompt'"),
        ("prompt-completion", {"prompt": "q", "Antwort": "a"}, "fields are missing or null"),
        ("prompt-completion", {"prompt": "q", "completion": 7}, "field 'completion' must be a string, not a number"),
        ("prompt-completion", {"prompt": "q", "completion": " "}, "field 'completion' is missing or empty"),
        ("prompt-completion", {"question": "q", "answer": "B", "choices": ["x"]}, "questions with options: fields"),
    ],
)
def test_bad_row_of_each_format(
    row_format: Any, row: dict[str, Any], reason: str, write: Write, tmp_path: Path
) -> None:
    good = {
        "sharegpt": {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        "alpaca": {"instruction": "q", "output": "a"},
        "prompt-completion": {"prompt": "q", "completion": "a"},
    }[row_format]
    report = ingest([write("rows.jsonl", [good, row])], tmp_path / "pool", IngestConfig(format=row_format))
    assert report.rows == 1
    assert [bad.line for bad in report.bad] == [2]
    assert reason in report.bad[0].reason


def test_overlong_line_is_skipped_whole(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_reader, "MAX_ROW_BYTES", 200)
    long = messages({"role": "user", "content": "x" * 2_500_000}, ANSWER)
    report = ingest([write("rows.jsonl", f"{long}\n{GOOD}\n{long}")], tmp_path / "pool")
    assert report.rows == 1
    assert [(bad.line, "longer than" in bad.reason) for bad in report.bad] == [(1, True), (3, True)]


def test_bad_rows_of_a_json_array_tell_the_line_they_start_on(write: Write, tmp_path: Path) -> None:
    text = f'[\n{GOOD},\n\n 5, {{"messages":\n []}},\n{{"a": NaN}},\n"x"\n]'
    report = ingest([write("rows.json", text)], tmp_path / "pool")
    assert report.rows == 1
    assert [(bad.line, bad.reason) for bad in report.bad] == [
        (4, "not a JSON object"),
        (4, "field 'messages' is empty; expected a list of turns"),
        (6, "field 'messages' is missing; expected a list of turns"),
        (7, "not a JSON object"),
    ]


def test_invalid_bytes_in_a_json_array_spoil_only_their_row(write: Write, tmp_path: Path) -> None:
    spoilt = GOOD.encode().replace(b'"q"', b'"\xff"')
    report = ingest([write("rows.json", b"[" + GOOD.encode() + b",\n" + spoilt + b"]")], tmp_path / "pool")
    assert (report.rows, [bad.line for bad in report.bad]) == (1, [2])
    assert "undecodable byte" in report.bad[0].reason


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"[{GOOD},\n{{,}}]", ":2: not valid JSON: Expecting property name"),
        (f"[{GOOD}\n{GOOD}]", ":2: expected ',' or ']' behind a row of the array, found '{'"),
        (f"[{GOOD},\n", ":2: the file ends in the middle of the JSON array, behind 1 whole rows"),
        (f"[{GOOD}", ":1: the file ends in the middle of the JSON array, behind 1 whole rows"),
        (f"[{GOOD},\n{GOOD[:30]}", ":2: the file ends in the middle of the JSON array, behind 1 whole rows"),
        (f"[{GOOD},\n{GOOD[:-2]}", ":2: the file ends in the middle of the JSON array, behind 1 whole rows"),
        (f"[{GOOD},\n]", ":2: not valid JSON"),
        (f"[{GOOD}]\n\nmore", ":3: there is text behind the end"),
        (f"[{GOOD}, 1{'1' * 5000}]", ":1: the row cannot be decoded"),
        ('{\n "data": []\n}', "holds one JSON object over several lines"),
    ],
)
def test_damaged_json_array_is_refused(text: str, message: str, write: Write, tmp_path: Path) -> None:
    with pytest.raises(PoolError) as error:
        ingest([write("rows.json", text)], tmp_path / "pool")
    assert message in str(error.value)
    assert not (tmp_path / "pool").exists()


def test_bad_csv_rows(write: Write, tmp_path: Path) -> None:
    text = 'prompt,completion\nq,a\n"multi\nline",b\nonly one\nx,y,z\nq,"bad"quote\n\nq,\xff\nlast,one\n'
    report = ingest([write("rows.csv", text.encode("latin-1"))], tmp_path / "pool")
    assert Pool.open(tmp_path / "pool").texts() == ["q\na", "multi\nline\nb", "last\none"]
    reasons = {bad.line: bad.reason for bad in report.bad}
    assert list(reasons) == [5, 6, 7, 9]
    assert reasons[5] == "the row has 1 cells, the header 2"
    assert reasons[6] == "the row has 3 cells, the header 2"
    assert reasons[7].startswith("not valid CSV")
    assert "undecodable byte" in reasons[9]


def test_csv_cells_longer_than_the_standard_limit(write: Write, tmp_path: Path) -> None:
    ingest([write("rows.csv", [{"prompt": "q" * 300_000, "completion": "a"}])], tmp_path / "pool")
    assert len(Pool.open(tmp_path / "pool").texts()[0]) == 300_002


def test_csv_with_a_column_twice_is_refused(write: Write, tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=r"rows\.csv:1: the column 'prompt' appears twice"):
        ingest([write("rows.csv", "prompt,prompt\na,b\n")], tmp_path / "pool")


def test_invalid_text_in_parquet_spoils_only_its_row(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = _unchecked([b"q", b"\xff", b"r"])
    pq.write_table(pa.table({"prompt": text, "completion": ["a", "b", "c"]}), tmp_path / "rows.parquet")
    report = ingest([tmp_path / "rows.parquet"], tmp_path / "pool")
    assert Pool.open(tmp_path / "pool").texts() == ["q\na", "r\nc"]
    assert [(bad.line, bad.reason) for bad in report.bad] == [(2, "a text is not valid UTF-8")]


def _unchecked(values: list[bytes]) -> Any:
    import pyarrow as pa

    binary = pa.array(values, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(values), binary.buffers())


@pytest.mark.parametrize("name", ["empty.jsonl", "empty.json", "empty.csv"])
def test_file_without_rows_is_refused(name: str, write: Write, tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=f"{name} holds no readable row"):
        ingest([write(name, "")], tmp_path / "pool")
    with pytest.raises(PoolError, match=f"{name} holds no usable row"):
        ingest([write(name, "")], tmp_path / "pool", IngestConfig(format="messages"))


def test_file_of_bad_rows_only_is_refused_with_the_first_reason(write: Write, tmp_path: Path) -> None:
    good, bad = write("good.jsonl", GOOD), write("bad.jsonl", messages(USER) + "\n" + messages())
    with pytest.raises(PoolError) as error:
        ingest([good, bad], tmp_path / "pool")
    said = str(error.value)
    assert said.startswith(f"{bad} holds no usable row; the first of 2 bad rows: {bad}:1: there is no assistant turn; ")
    assert (
        f"what would read it: `autoselection ingest {good} {bad} --out {tmp_path / 'pool'} --map prompt=…,response=…` with"
        in said
    )


def test_missing_unknown_and_repeated_files(write: Write, tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="does not exist"):
        ingest([tmp_path / "nowhere.jsonl"], tmp_path / "pool")
    with pytest.raises(PoolError, match=r"suffix '\.txt'"):
        ingest([write("rows.txt", GOOD)], tmp_path / "pool")
    path = write("rows.jsonl", GOOD)
    with pytest.raises(PoolError, match="was given twice"):
        ingest([path, tmp_path / "." / "rows.jsonl"], tmp_path / "pool")
    with pytest.raises(PoolError, match="No pool file was given, and no row"):
        ingest([], tmp_path / "pool")


def test_report_keeps_the_first_bad_rows_and_counts_all(write: Write, tmp_path: Path) -> None:
    report = ingest([write("rows.jsonl", "\n".join([GOOD, *["{"] * 100]))], tmp_path / "pool")
    assert (report.skipped, len(report.bad)) == (100, 20)
    assert len((tmp_path / "pool" / "skipped.jsonl").read_text().splitlines()) == 100
