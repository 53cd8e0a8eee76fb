"""Turns in the channels of Harmony, the format of gpt-oss: reasoning, calls and answers are what their channels say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoselection.pool import IngestConfig, Pool, ingest

Turn = dict[str, Any]
Read = Callable[..., Any]

ASK = {"role": "user", "content": "q"}


def says(channel: str | None, content: Any, **more: Any) -> Turn:
    return {"role": "assistant", "channel": channel, "content": content, **more}


def answer(content: str, **more: Any) -> Turn:
    return {"role": "assistant", "content": content, **more}


@pytest.fixture
def read(write: Callable[..., Path], tmp_path: Path) -> Read:
    """Ingest rows of turns; return (report, messages of each)."""

    def read(rows: list[list[Turn]], name: str = "rows.jsonl", **settings: Any) -> Any:
        path = write(name, [{"messages": turns} for turns in rows])
        report = ingest([path], tmp_path / f"pool of {name}", IngestConfig(**settings))
        return report, Pool.open(report.path).messages()

    return read


THINK = says("analysis", "hm")
CALL = says("commentary", '{"a":1}', recipient="functions.f")
CALLED = [{"name": "f", "arguments": '{"a": 1}'}]
RESULT = {"role": "tool", "name": "functions.f", "channel": "commentary", "recipient": "assistant", "content": "6"}
RESULTED = {"role": "tool", "content": "6", "name": "f"}


@pytest.mark.parametrize(
    ("turns", "meant"),
    [
        ([THINK, says("final", "a")], [answer("a", reasoning_content="hm")]),
        (
            [THINK, CALL, RESULT, says("analysis", "so"), says("final", "a")],
            [
                answer("", reasoning_content="hm", tool_calls=CALLED),
                RESULTED,
                answer("a", reasoning_content="so"),
            ],
        ),
        # What is said before a call stays a turn of its own, as calls and answers beside each other do everywhere.
        (
            [THINK, says("commentary", "I look."), CALL, RESULT, says("final", "a", recipient="all")],
            [answer("I look.", reasoning_content="hm"), answer("", tool_calls=CALLED), RESULTED, answer("a")],
        ),
        ([THINK, says("analysis", "so"), says("final", "a")], [answer("a", reasoning_content="hm\nso")]),
        ([THINK, ASK, says("final", "a")], [answer("", reasoning_content="hm"), ASK, answer("a")]),
        ([says("final", "a"), ASK, THINK], [answer("a"), ASK, answer("", reasoning_content="hm")]),
        ([THINK, says(None, "a", reasoning="so")], [answer("a", reasoning_content="hm\nso")]),
        (
            [says("analysis", "", recipient="functions.f"), RESULT, says("final", "a")],
            [answer("", tool_calls=[{"name": "f", "arguments": "{}"}]), RESULTED, answer("a")],
        ),
        (
            [{**THINK, "weight": 0}, says("final", "a", weight=0), ASK, {**THINK, "weight": 0}, says("final", "b")],
            [
                answer("a", reasoning_content="hm", weight=0),
                ASK,
                answer("", reasoning_content="hm", weight=0),
                answer("b"),
            ],
        ),
    ],
)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_a_channel_says_what_a_turn_is(turns: list[Turn], meant: list[Turn], name: str, read: Read) -> None:
    report, found = read([[ASK, *turns]], name)
    assert found == [[ASK, *meant]]
    assert report.ignored == {}


def test_contents_may_be_parts_as_harmonys_own_tools_write_them(read: Read) -> None:
    parts = [
        {**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in (THINK, CALL, says("final", "a"))
    ]
    _, found = read([[ASK, *parts]])
    assert found == [[ASK, answer("", reasoning_content="hm", tool_calls=CALLED), answer("a")]]


def test_words_of_sharegpt_have_channels_too(read: Read) -> None:
    turns = [
        {"from": "gpt", "channel": turn["channel"], "value": turn["content"]} for turn in (THINK, says("final", "a"))
    ]
    _, found = read([[ASK, *turns]])
    assert found == [[ASK, answer("a", reasoning_content="hm")]]


@pytest.mark.parametrize(
    ("turn", "kind", "field"),
    [
        (says("summary", "s"), "unknown channel", "channel"),
        (says("commentary", "ls", recipient="container.exec"), "recipient that is no function", "recipient"),
        (says("commentary", "{}", recipient="functions."), "recipient that is no function", "recipient"),
        (says("analysis", {"a": 1}), "content that is no text", "content"),
        (says("analysis", " "), "assistant turn without text", "content"),
    ],
)
def test_what_no_channel_says_is_a_bad_row(turn: Turn, kind: str, field: str, read: Read) -> None:
    report, found = read([[ASK, turn, says("final", "a")], [ASK, says("final", "a")]])
    assert found == [[ASK, answer("a")]]
    assert [(bad.kind, bad.field) for bad in report.bad] == [(kind, f"messages[1].{field}")]
    assert "turn 2 of 'messages'" in report.bad[0].reason


def test_channels_of_a_help_desk_are_fields_like_others(read: Read) -> None:
    report, found = read([[{**ASK, "channel": "email"}, says("phone", "a", recipient="Ann")]])
    assert found == [[ASK, answer("a")]]
    assert report.ignored == {"channel": 2, "recipient": 1}
