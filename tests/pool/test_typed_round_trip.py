"""Any typed conversation, written as API logs and as ShareGPT write it, is in the pool what it was."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from autoselection.conversation import Conversation, Message, ToolCall
from autoselection.pool import Pool, ingest
from autoselection.pool.rows import turns_digest
from autoselection.pool.tools import declared_tools, parsed_object
from autoselection.pool.values import is_blank

texts = st.text(max_size=12).filter(lambda text: not is_blank(text))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
objects = st.dictionaries(st.text(max_size=4), values, max_size=3)
arguments = objects.map(lambda value: json.dumps(value, ensure_ascii=False)) | st.text(max_size=8).filter(
    lambda text: parsed_object(text) is None
)


@st.composite
def calls(draw: st.DrawFn) -> list[ToolCall]:
    found: list[ToolCall] = []
    for _ in range(draw(st.integers(1, 2))):
        call: ToolCall = {"name": draw(texts), "arguments": draw(arguments)}
        found.append({"id": draw(texts), **call} if draw(st.booleans()) else call)
    return found


@st.composite
def turns(draw: st.DrawFn, role: str) -> Message:
    message: Message = {"role": role, "content": draw(texts)}
    if draw(st.integers(0, 3)) == 0:
        message["name"] = draw(texts)
    if role == "tool":
        message["content"] = draw(texts | st.just(""))
        if draw(st.booleans()):
            message["tool_call_id"] = draw(texts)
    if role == "assistant":
        if draw(st.booleans()):
            message["reasoning_content"] = draw(texts)
        if draw(st.booleans()):
            message["tool_calls"] = draw(calls())
        if draw(st.integers(0, 3)) == 0:
            message["weight"] = 0
        if draw(st.booleans()) and message.keys() & {"reasoning_content", "tool_calls"}:
            message["content"] = ""
    return message


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    roles = draw(st.lists(st.sampled_from(["user", "assistant", "tool", "system"]), max_size=3))
    messages = [draw(turns(role)) for role in ("user", *roles, "assistant")]
    messages[-1].pop("weight", None)
    if draw(st.booleans()):
        messages.insert(0, {"role": "system", "content": draw(texts)})
    declared = [{"name": draw(texts), "parameters": draw(objects)} for _ in range(draw(st.integers(0, 2)))]
    return Conversation(messages, declared_tools(declared)[0])


def logged(message: Message, draw: Any) -> dict[str, Any]:
    """A turn as an API logs it, in one of its spellings."""
    turn: dict[str, Any] = {**message, "refusal": None}
    if "tool_calls" in turn:
        turn["tool_calls"] = [
            {
                **({"id": call["id"]} if "id" in call else {}),
                "type": "function",
                "function": {"name": call["name"], "arguments": written(call["arguments"], draw)},
            }
            for call in message["tool_calls"]
        ]
    if not message["content"] and draw(st.booleans()):
        turn["content"] = None
    if "reasoning_content" in turn:
        names = ["reasoning_content", "reasoning", "thinking", "thought"]
        # Under the other names, what the content begins with is no reasoning.
        said = message["content"].strip().startswith(message["reasoning_content"].strip())
        name = names[0] if said else draw(st.sampled_from(names))
        turn[name] = turn.pop("reasoning_content")
    if message["role"] == "assistant":
        weight = turn.pop("weight", 1)
        name = draw(st.sampled_from(["weight", "train"]))
        turn[name] = draw(st.sampled_from([weight, bool(weight), float(weight)]))
    if draw(st.booleans()):
        turn["from"], turn["value"] = turn.pop("role"), turn.pop("content")
    return turn


def written(text: str, draw: Any) -> Any:
    value = parsed_object(text)
    return text if value is None or draw(st.booleans()) else value


@settings(max_examples=40, deadline=None)
@given(st.lists(conversations(), min_size=1, max_size=4), st.data())
def test_what_is_logged_is_in_the_pool(rows: list[Conversation], data: st.DataObject) -> None:
    lines = []
    for row in rows:
        tools: Any = row.tools
        if tools is not None and data.draw(st.booleans()):
            tools = json.loads(tools)
        messages = [logged(message, data.draw) for message in row.messages]
        lines.append(json.dumps({"messages": messages, "tools": tools, "mine": 1}) + "\n")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
        report = ingest([Path(folder) / "rows.jsonl"], Path(folder) / "pool")
        pool = Pool.open(Path(folder) / "pool")
        pool.verify()
        assert (report.rows, report.ignored) == (len(rows), {})
        assert pool.conversations() == rows
        assert pool.metas() == [{"mine": 1}] * len(rows)
        assert pool.messages([len(rows) - 1, 0]) == [rows[-1].messages, rows[0].messages]


@settings(max_examples=300, deadline=None)
@given(conversations(), conversations())
def test_rows_have_one_digest_if_they_are_one(one: Conversation, other: Conversation) -> None:
    first, second = (turns_digest("s", row.messages, row.tools).digest() for row in (one, other))
    assert (first == second) == (one == other)


def test_what_belongs_to_which_turn_is_part_of_the_digest() -> None:
    asked: Message = {"role": "user", "content": "q"}
    call: ToolCall = {"name": "f", "arguments": "{}"}
    rows: list[list[Message]] = [
        [asked, {"role": "assistant", "content": "a"}],
        [asked, {"role": "assistant", "content": "a", "weight": 0}],
        [asked, {"role": "assistant", "content": "a", "name": "0"}],
        [asked, {"role": "assistant", "content": "a", "reasoning_content": "0"}],
        [{**asked, "name": "0"}, {"role": "assistant", "content": "a"}],
        [asked, {"role": "assistant", "content": "a", "tool_calls": [call]}],
        [asked, {"role": "assistant", "content": "a", "tool_calls": [call, call]}],
        [asked, {"role": "assistant", "content": "a", "tool_calls": [{"id": "f", **call}]}],
        [asked, {"role": "assistant", "content": "a", "tool_calls": [{"id": "f", "name": "{}", "arguments": ""}]}],
        [asked, {"role": "assistant", "content": "a+weight:1:0"}],
        [asked, {"role": "assistant", "content": "a"}, {"role": "tool", "content": "", "tool_call_id": "1"}],
        [asked, {"role": "assistant", "content": "a"}, {"role": "tool", "content": "1"}],
    ]
    # The same five texts in the same order, in two calls.
    first: list[ToolCall] = [{"id": "1", "name": "2", "arguments": "3"}, {"name": "4", "arguments": "5"}]
    other: list[ToolCall] = [{"name": "1", "arguments": "2"}, {"id": "3", "name": "4", "arguments": "5"}]
    rows += [[asked, {"role": "assistant", "content": "a", "tool_calls": calls}] for calls in (first, other)]
    digests = {turns_digest("s", row).digest() for row in rows}
    digests |= {turns_digest("s", rows[0], tools).digest() for tools in ("[]", "[{}]")}
    assert len(digests) == len(rows) + 2
