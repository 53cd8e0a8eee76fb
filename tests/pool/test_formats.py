from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoselection.errors import PoolError
from autoselection.pool import ROLES, IngestConfig, Pool, ingest

Write = Callable[..., Path]


@pytest.fixture
def read(write: Write, tmp_path: Path) -> Callable[..., Any]:
    """Ingest rows; return (report, pool)."""

    def read(rows: list[dict[str, Any]], **config: Any) -> Any:
        report = ingest([write("rows.jsonl", rows)], tmp_path / "pool", IngestConfig(**config))
        return report, Pool.open(tmp_path / "pool")

    return read


def turn(role: str, content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **fields}


@pytest.mark.parametrize("role", sorted(ROLES))
def test_roles_are_normalised_whatever_their_case(role: str, read: Callable[..., Any]) -> None:
    row = {"conversations": [{"from": "human", "value": "q"}, {"from": role.upper(), "value": "x"}, turn("gpt", "a")]}
    _, pool = read([row])
    assert [message["role"] for message in pool.messages()[0]] == ["user", ROLES[role], "assistant"]


def test_extra_fields_of_turns_are_counted(read: Callable[..., Any]) -> None:
    turns = [turn("user", "q", date="1", weight=0), turn("assistant", "a", date="2", tool_calls=None, refusal=None)]
    report, pool = read([{"messages": turns}])
    assert report.ignored == {"date": 2, "weight": 1}
    assert pool.manifest.ignored == report.ignored
    assert pool.messages()[0] == [turn("user", "q"), turn("assistant", "a")]


def test_text_parts_are_joined(read: Callable[..., Any]) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    _, pool = read([{"messages": [turn("user", parts), turn("assistant", "c")]}])
    assert pool.texts() == ["ab\nc"]


def test_empty_system_prompt_is_left_out_and_counted(read: Callable[..., Any]) -> None:
    report, pool = read([{"messages": [turn("system", ""), turn("user", "q"), turn("assistant", "a")], "system": ""}])
    assert [message["role"] for message in pool.messages()[0]] == ["user", "assistant"]
    assert report.ignored == {"empty system prompt": 1}


def test_system_prompt_given_twice_alike_is_kept_once(read: Callable[..., Any]) -> None:
    _, pool = read([{"messages": [turn("system", "s"), turn("user", "q"), turn("assistant", "a")], "system": "s"}])
    assert pool.texts() == ["s\nq\na"]


def test_turn_of_the_user_behind_the_last_answer_is_kept(read: Callable[..., Any]) -> None:
    _, pool = read([{"messages": [turn("user", "q"), turn("assistant", "a"), turn("user", "bye")]}])
    assert pool.texts() == ["q\na\nbye"]


def test_alpaca_input_follows_the_instruction(read: Callable[..., Any]) -> None:
    _, pool = read([{"instruction": "Sort.", "input": "3 1 2", "output": "1 2 3", "history": []}])
    assert pool.messages()[0] == [turn("user", "Sort.\n3 1 2"), turn("assistant", "1 2 3")]
    assert pool.metas() == [{}]


def test_dolly_names_of_alpaca(read: Callable[..., Any]) -> None:
    report, pool = read([{"instruction": "i", "context": "c", "response": "r", "category": "qa"}])
    assert report.format == "alpaca"
    assert (pool.texts(), pool.metas()) == (["i\nc\nr"], [{"category": "qa"}])


@pytest.mark.parametrize(
    ("prompt", "completion"), [("prompt", "completion"), ("prompt", "response"), ("question", "answer")]
)
def test_prompt_completion_names(prompt: str, completion: str, read: Callable[..., Any]) -> None:
    report, pool = read([{prompt: "q", completion: "a", "system": "s"}])
    assert report.format == "prompt-completion"
    assert pool.texts() == ["s\nq\na"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"words": "x", "n": 1}, "is unknown: its first rows have the fields 'words', 'n'"),
        ({"messages": [], "conversations": []}, r"several row formats \(messages, sharegpt\)"),
        ({"instruction": "i", "output": "o", "prompt": "p", "response": "r"}, r"\(alpaca, prompt-completion\)"),
        ({}, "the fields no fields"),
    ],
)
def test_unknown_or_ambiguous_fields_are_refused(row: dict[str, Any], message: str, read: Callable[..., Any]) -> None:
    with pytest.raises(PoolError, match=message):
        read([row])


def test_rows_of_two_formats_in_one_file_are_refused(read: Callable[..., Any]) -> None:
    with pytest.raises(PoolError, match=r"several row formats \(alpaca, prompt-completion\)"):
        read([{"instruction": "i", "output": "o"}, {"prompt": "p", "completion": "c"}])


def test_named_format_settles_an_ambiguous_file(read: Callable[..., Any]) -> None:
    row = {"instruction": "i", "output": "o", "prompt": "p", "response": "r"}
    _, pool = read([row], format="prompt-completion")
    assert pool.texts() == ["p\nr"]
    assert pool.metas() == [{"instruction": "i", "output": "o"}]


def test_prompt_beside_messages_is_metadata(read: Callable[..., Any]) -> None:
    _, pool = read([{"prompt": "q", "prompt_id": "7", "messages": [turn("user", "q"), turn("assistant", "a")]}])
    assert pool.metas() == [{"prompt": "q", "prompt_id": "7"}]


def test_detection_looks_past_bad_rows(write: Write, tmp_path: Path) -> None:
    path = write("rows.jsonl", '{\n{"other": 1}\n{"prompt": "q", "completion": "a"}\n')
    report = ingest([path], tmp_path / "pool")
    assert (report.rows, report.skipped, report.format) == (1, 2, "prompt-completion")


def test_files_of_different_formats_make_a_mixed_pool(write: Write, tmp_path: Path) -> None:
    one = write("one.jsonl", [{"prompt": "q", "completion": "a"}])
    two = write("two.csv.gz", [{"instruction": "i", "output": "o"}], "gzip")
    report = ingest([one, two], tmp_path / "pool")
    assert report.format == "mixed"
    assert [(file.format, file.rows) for file in Pool.open(tmp_path / "pool").manifest.files] == [
        ("prompt-completion", 1),
        ("alpaca", 1),
    ]
    assert report.sources == {"one": 1, "two": 1}


@pytest.mark.parametrize("names", [("role", "value"), ("from", "content")])
def test_turns_may_mix_the_two_spellings(names: tuple[str, str], read: Callable[..., Any]) -> None:
    role, content = names
    _, pool = read([{"messages": [{role: "user", content: "q"}, {role: "assistant", content: "a"}]}])
    assert pool.messages()[0] == [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


def test_a_turn_without_content_stays_a_bad_row(read: Callable[..., Any]) -> None:
    bad = {"messages": [turn("user", "q"), turn("assistant", None, value="not meant")]}
    good = {"messages": [turn("user", "q2"), turn("assistant", "a2")]}
    report, pool = read([bad, good])
    assert report.skipped == 1 and pool.messages()[0][0]["content"] == "q2"


def test_whole_numbers_are_ids_also_where_the_table_holds_floats(read: Callable[..., Any]) -> None:
    ids = (3.0, float("nan"), 5.0)
    _, pool = read([{"id": number, "prompt": f"q{number}", "response": "a"} for number in ids])
    assert len(pool) == 3 and [pool.row_ids()[place] for place in (0, 2)] == ["3", "5"]
