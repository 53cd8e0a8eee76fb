"""Marked-up text as typed fields: what is parsed can be written again, and the rest stays as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoselection.conversation import Conversation
from autoselection.pool import IngestConfig, Pool, ingest
from autoselection.pool.tags import Parsed, Tally, parse

_MARKS = re.compile(r"(</?(?:think|tool_call|tool_response)>)")


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def parsed(
    *messages: dict[str, Any], tools: str | None = None, wanted: Any = get_args(Parsed)
) -> tuple[Conversation, Tally]:
    tally = Tally()
    return parse(Conversation(messages, tools), wanted, tally), tally


def written(messages: Any) -> list[str]:
    """The texts as Qwen's template writes the fields, one a run of roles."""
    texts: list[str] = []
    for message in messages:
        text = message["content"]
        if message["role"] == "tool":
            text = f"<tool_response>\n{text}\n</tool_response>"
        if "reasoning_content" in message:
            text = f"<think>\n{message['reasoning_content']}\n</think>\n\n{text}"
        for call in message.get("tool_calls", ()):
            body = json.dumps({"name": call["name"], "arguments": json.loads(call["arguments"])}, ensure_ascii=False)
            text += f"\n<tool_call>\n{body}\n</tool_call>"
        texts.append(text)
    return texts


def meaning(text: str) -> list[str]:
    """A text but for white space next to marks, and the spelling of JSON."""
    pieces = []
    for piece in map(str.strip, _MARKS.split(text)):
        try:
            value = json.loads(piece)
            piece = json.dumps(value, sort_keys=True) if isinstance(value, dict) else piece
        except ValueError:
            pass
        if piece:
            pieces.append(piece)
    return pieces


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
_CALL = st.fixed_dictionaries({"name": st.text("ab_", min_size=1, max_size=3), "arguments": st.dictionaries(st.text(max_size=3), _JSON, max_size=2)})  # fmt: skip
_FRAGMENT = st.one_of(
    st.sampled_from(["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "\n", " ", "{"]),
    st.text("xyz \n", max_size=4),
    _CALL.map(json.dumps),
    _CALL.map(lambda call: f"<tool_call>\n{json.dumps(call)}\n</tool_call>\n"),
    st.text("xyz \n", max_size=6).map(lambda text: f"<think>\n{text}\n</think>\n"),
    st.text("xyz \n", max_size=6).map(lambda text: f"<tool_response>{text}</tool_response>"),
)  # fmt: skip


@given(st.lists(_FRAGMENT, max_size=7).map("".join), st.sampled_from(["assistant", "tool", "user"]))
def test_what_is_parsed_writes_the_text_again(text: str, role: str) -> None:
    message = {"role": role, "content": text}
    conversation, tally = parsed(message)
    if conversation.messages == [message]:
        assert not tally.parsed
    else:
        assert "".join(tally.parsed) and meaning("".join(written(conversation.messages))) == meaning(text)
    assert all(turn["role"] == role for turn in conversation.messages)


@given(
    thought=st.text("ab c\nд", min_size=1, max_size=9).filter(
        lambda text: bool(text.strip()) and text == text.strip("\n")
    ),
    answer=st.text("ab c\nд", max_size=9).filter(lambda text: text == text.strip("\n")),
    calls=st.lists(_CALL, max_size=3),
)
def test_what_a_template_wrote_is_read_as_the_fields(thought: str, answer: str, calls: list[dict[str, Any]]) -> None:
    message = assistant(answer, reasoning_content=thought)
    if calls:
        message["tool_calls"] = [
            {"name": call["name"], "arguments": json.dumps(call["arguments"], ensure_ascii=False)} for call in calls
        ]
    (text,) = written([message])
    conversation, tally = parsed(user("q"), assistant(text))
    assert conversation.messages == [user("q"), message]
    assert not tally.kept


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<think>on and on", "<think> that never closes"),
        ("so</think>A", "</think> that nothing opens"),
        ("Well, <think>hm</think>A", "<think> behind other text"),
        ("<think>\n\n</think>\n\nA", "<think> without reasoning"),
        ("<think>a</think>b<think>c</think>d", "several <think>"),
        ("</think>a<think>", "<think> behind other text"),
        ("<|begin_of_thought|>a<|end_of_thought|>b", "<|begin_of_thought|> without an answer in <|begin_of_solution|>"),
        ('<tool_call>{"name": "f", "arguments": {}}</tool_call> Done.', "text behind a <tool_call>"),
        ('<tool_call>{"name": "f", "arguments": {}}', "<tool_call> that never closes"),
        ('{"name": "f", "arguments": {}}</tool_call>', "</tool_call> that nothing opens"),
        ("<tool_call>{'name': 'f', 'arguments': {1: 2}}</tool_call>", "<tool_call> that is no JSON"),
        ("<tool_call>{'name': 'f', 'arguments': {'a': (1, 2)}}</tool_call>", "<tool_call> that is no JSON"),
        ("<tool_call>{'name': 'f', 'arguments': {'a': 1, 'a': 2}}</tool_call>", "<tool_call> that is no JSON"),
        ('<tool_call>{"name": "f", "arguments": {"a": 1e999}}</tool_call>', "<tool_call> that is no JSON"),
        ("<tool_call><function=f><parameter=a>1</parameter></tool_call>", "<tool_call> that is no JSON"),
        ("<tool_call>{'name': f()}</tool_call>", "<tool_call> that is no JSON"),
        ("<tool_call>" + "[" * 5000 + "</tool_call>", "<tool_call> that is no JSON"),
        ('<tool_call>{"name": "f", "arguments": {}} x</tool_call>', "<tool_call> that is no JSON"),
        ('<tool_call>{"name": "f"}</tool_call>', "<tool_call> that is no object of name and arguments"),
        ('<tool_call>{"name": "f", "arguments": {}, "why": 1}</tool_call>', "<tool_call> that is no object of name and arguments"),
        ('<tool_call>{"name": "", "arguments": {}}</tool_call>', "<tool_call> that is no object of name and arguments"),
        ('<tool_call>{"name": "f", "arguments": "{}"}</tool_call>', "<tool_call> that is no object of name and arguments"),
        ('<tool_call>["f"]</tool_call>', "<tool_call> that is no object of name and arguments"),
        ('<tool_call>{"name": "f", "arguments": {"a": 1, "a": 2}}</tool_call>', "<tool_call> with a key twice"),
        ('<tool_call>{"name": "f", "arguments": {"a": NaN}}</tool_call>', "<tool_call> that is no JSON"),
        ("<tool_call><function=f><parameter=a>1</parameter><parameter=a>2</parameter></function></tool_call>", "<tool_call> with a key twice"),
        ('<tool_call>{"name": "f", "arguments": {}}</tool_call><tool_call>{}</tool_call>', "<tool_call> that is no object of name and arguments"),
    ],
)  # fmt: skip
def test_what_cannot_be_restored_stays_text_and_is_counted(text: str, reason: str) -> None:
    conversation, tally = parsed(user("q"), assistant(text))
    assert conversation.messages == [user("q"), assistant(text)]
    assert dict(tally.kept) == {reason: 1} and not tally.parsed


@given(_CALL)
def test_a_call_spelled_as_pythons_literal_is_the_same_call(call: dict[str, Any]) -> None:
    as_json, _ = parsed(assistant(f"<tool_call>\n{json.dumps(call)}\n</tool_call>"))
    as_literal, _ = parsed(assistant(f"<tool_call>\n{call!r}\n</tool_call>"))
    assert as_literal == as_json and "tool_calls" in as_json.messages[0]


def test_a_mark_inside_a_calls_argument_is_its_text() -> None:
    text = '<tool_call>\n{"name": "say", "arguments": {"t": "</tool_call> and <tool_call>"}}\n</tool_call>'
    conversation, _ = parsed(assistant(text))
    assert conversation.messages == [
        assistant("", tool_calls=[{"name": "say", "arguments": '{"t": "</tool_call> and <tool_call>"}'}])
    ]


def test_qwen_coders_values_have_the_types_that_the_tool_declares() -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "s": {"type": "string"}, "l": {"type": "array"}},
    }
    tools = json.dumps([{"type": "function", "function": {"name": "f", "parameters": schema}}])
    text = (
        "<tool_call>\n<function=f>\n<parameter=n>\n5\n</parameter>\n<parameter=s>\n5\n</parameter>\n<parameter=l>\n[1, 2]\n"
        "</parameter>\n<parameter=x>\na\nb\n</parameter>\n</function>\n</tool_call>"
    )
    expected = {"n": 5, "s": "5", "l": [1, 2], "x": "a\nb"}
    conversation, _ = parsed(assistant(text), tools=tools)
    assert json.loads(conversation.messages[0]["tool_calls"][0]["arguments"]) == expected
    conversation, _ = parsed(assistant(text))
    assert json.loads(conversation.messages[0]["tool_calls"][0]["arguments"]) == {**expected, "n": "5", "l": "[1, 2]"}


def test_results_are_turns_of_tools() -> None:
    call = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    two = "<tool_response>\na\n</tool_response>\n<tool_response>\nb\n</tool_response>"
    conversation, tally = parsed(user("q"), assistant(call), user(two), assistant("Done."))
    assert [(turn["role"], turn["content"]) for turn in conversation.messages] == [
        ("user", "q"), ("assistant", ""), ("tool", "a"), ("tool", "b"), ("assistant", "Done.")
    ]  # fmt: skip
    assert tally.parsed["results in <tool_response>"] == 2
    for other in (
        [user(two), assistant("So?")],
        [user("q"), assistant(call), {"role": "tool", "content": f"{two} and more"}],
        [user("q"), assistant(call), {"role": "tool", "content": two, "tool_call_id": "1"}],
        [user("q"), assistant(call), {"role": "tool", "content": "<tool_response> </tool_response>"}],
    ):
        conversation, tally = parsed(*other)
        assert list(conversation.messages)[-1]["content"] == other[-1]["content"] and sum(tally.kept.values()) == 1


TOOL = {"type": "function", "function": {"name": "f", "description": "F.", "parameters": {"type": "object"}}}
HERMES = (
    "You are a function calling AI model. You are provided with function signatures within <tools> </tools> XML tags. You may "
    "call one or more functions to assist with the user query. Don't make assumptions about what values to plug into functions.\n"
    "<tools>\n%s\n</tools>\nFor each function call return a JSON object with function name and arguments within <tool_call> "
    "</tool_call> XML tags as follows:\n<tool_call>\n{'arguments': <args-dict>, 'name': <function-name>}\n</tool_call>"
)
QWEN = (
    "You are Qwen.\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function "
    "signatures within <tools></tools> XML tags:\n<tools>\n%s\n</tools>\n\nFor each function call, return a json object with function "
    "name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)

_SCHEMA = (
    '{"title": "FunctionCall", "type": "object", "properties": {"arguments": {"title": "Arguments", "type": "object"}, "name": '
    '{"title": "Name", "type": "string"}}, "required": ["arguments", "name"]}'
)
HERMES_PRO = (
    "You are a function calling AI model. You are provided with function signatures within <tools></tools> XML tags. You may call one "
    "or more functions to assist with the user query. Don't make assumptions about what values to plug into functions. Here are the "
    f"available tools: <tools> %s </tools> Use the following pydantic model json schema for each tool call you will make: {_SCHEMA} "
    "For each function call return a json object with function name and arguments within <tool_call></tool_call> XML tags as follows:\n"
    '<tool_call>\n{"arguments": <args-dict>, "name": <function-name>}\n</tool_call>'
)
HERMES_DATA = (
    "You are a function calling AI model. You are provided with function signatures within <tools> </tools> XML tags. You may call one "
    "or more functions to assist with the user query. If available tools are not relevant in assisting with user query, just respond "
    "in natural conversational language. Don't make assumptions about what values to plug into functions. After calling & executing "
    "the functions, you will be provided with function results within <tool_response> </tool_response> XML tags.\n<tools>\n%s\n"
    "</tools>\nFor each function call return a JSON object, with the following pydantic model json schema for each:\n"
    f"{_SCHEMA.replace(chr(34), chr(39))}\nEach function call should be enclosed within <tool_call> </tool_call> XML tags.\n"
    "Example:\n<tool_call>\n{'name': <function-name>, 'arguments': <args-dict>}\n</tool_call>"
)
SMOL = (
    "Be an expert.\n\nYou have access to the following tools:\n<tools>%s</tools>\n\nThe output MUST strictly adhere to the following "
    "format, and NO other text MUST be included.\nThe example format is as follows. Please make sure the parameter type is correct. If "
    "no function call is needed, please make the tool calls an empty list '[]'.\n<tool_call>[\n"
    '{"name": "func_name1", "arguments": {"argument1": "value1", "argument2": "value2"}},\n... (more tool calls as required)\n]</tool_call>'
)
PROMPTS = {"hermes": HERMES, "hermes pro": HERMES_PRO, "hermes data": HERMES_DATA, "qwen": QWEN, "smol": SMOL}
OWN = "You work for ACME and must refuse refunds above 100 EUR."


@pytest.mark.parametrize("name", PROMPTS)
def test_own_words_stay_wherever_they_stand_in_known_instructions(name: str) -> None:
    """In front of the instructions they are what is left; anywhere else the prompt is one of its own words."""
    prompt = PROMPTS[name] % json.dumps([TOOL])
    ends = [match.end() for match in re.finditer(r"(?<=[.:>])\s", prompt)]
    in_tools = range(prompt.rindex("[{"), prompt.index("}]") + 2)
    for place in (0, *(end for end in ends if end not in in_tools), len(prompt)):
        said = f"{prompt[:place]} {OWN} {prompt[place:]}"
        conversation, tally = parsed({"role": "system", "content": said}, user("q"), assistant("a"))
        left = conversation.messages[0]["content"]
        assert OWN in left
        assert left == said or ("<tools>" not in left and tally.parsed)


@pytest.mark.parametrize(
    ("prompt", "left"),
    [
        (HERMES % json.dumps([TOOL]), []),
        (HERMES % json.dumps(TOOL), []),
        (HERMES % str([TOOL]).replace("'name': 'f'", "'name': \"f\"").replace("'name'", '"name"'), []),
        (QWEN % f"{json.dumps(TOOL)}\n{json.dumps(TOOL)}", ["You are Qwen."]),
        (QWEN % json.dumps(TOOL["function"]), ["You are Qwen."]),
        (HERMES_PRO % json.dumps(TOOL), []),
        (HERMES_DATA % repr([TOOL]).replace("'name': 'f'", "'name': \"f\"").replace("'name'", '"name"'), []),
        (SMOL % json.dumps([TOOL]), ["Be an expert."]),
    ],
)
def test_declared_tools_leave_the_system_prompt(prompt: str, left: list[str]) -> None:
    conversation, tally = parsed({"role": "system", "content": prompt}, user("q"), assistant("a"))
    assert [turn["content"] for turn in conversation.messages] == [*left, "q", "a"]
    found = json.loads(conversation.tools or "")
    assert found == [TOOL] * prompt.count('"name": "f"') and tally.parsed["system prompts with <tools>"] == 1
    again, _ = parsed({"role": "system", "content": prompt}, user("q"), assistant("a"), tools=conversation.tools)
    assert again == conversation


@pytest.mark.parametrize(
    ("prompt", "tools", "reason"),
    [
        (f"Mine: <tools>[{json.dumps(TOOL)}]</tools>", None, "<tools> in a system prompt of its own words"),
        (f"{HERMES % json.dumps([TOOL])} Be kind.", None, "<tools> in a system prompt of its own words"),
        (
            f"You are Bob.\n\n## Tools\nOnly for weather.\n<tools>[{json.dumps(TOOL)}]</tools>",
            None,
            "<tools> in a system prompt of its own words",
        ),
        (
            f"You are a function calling AI model. {OWN} <tools>[{json.dumps(TOOL)}]</tools>",
            None,
            "<tools> in a system prompt of its own words",
        ),
        (
            f"Here are the available tools: <tools>[{json.dumps(TOOL)}]</tools> Answer in French. <tool_call>\n{{}}\n</tool_call>",
            None,
            "<tools> in a system prompt of its own words",
        ),
        (HERMES % "{'name': 'f'", None, "<tools> that are no list of definitions"),
        (HERMES % "[1]", None, "<tools> that are no list of definitions"),
        (HERMES % json.dumps([TOOL]), "[]", "<tools> that are others than the row's 'tools'"),
    ],
)
def test_a_system_prompt_that_would_lose_something_stays(prompt: str, tools: str | None, reason: str) -> None:
    before = ({"role": "system", "content": prompt}, user("q"), assistant("a"))
    conversation, tally = parsed(*before, tools=tools)
    assert (list(conversation.messages), conversation.tools) == (list(before), tools)
    assert dict(tally.kept) == {reason: 1}


def test_nothing_is_parsed_unless_asked(write: Callable[..., Path], tmp_path: Path) -> None:
    text = '<think>\nhm\n</think>\n\n<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
    row = {"messages": [user("q"), assistant(text)]}
    bad = {"messages": [user("r"), assistant("<think>hm")]}
    file = write("rows.jsonl", [row, bad])
    call = [{"name": "f", "arguments": "{}"}]
    for kinds, expected in {
        (): assistant(text),
        ("think",): assistant(text.split("\n\n")[1], reasoning_content="hm"),
        ("tool_calls",): assistant("<think>\nhm\n</think>", tool_calls=call),
        ("think", "tool_calls"): assistant("", reasoning_content="hm", tool_calls=call),
    }.items():
        report = ingest([file], tmp_path / f"pool-{len(kinds)}-{''.join(kinds)}", IngestConfig(parse=kinds))
        assert Pool.open(report.path).messages()[0] == [user("q"), expected]
        notes = " ".join(report.notes)
        assert ("reasoning in <think> 1" in notes, "<think> that never closes 1" in notes) == (("think" in kinds),) * 2
        assert ("turns with <tool_call> 1" in notes) == ("tool_calls" in kinds)


def test_tools_that_a_template_would_write_twice_are_told(write: Callable[..., Path], tmp_path: Path) -> None:
    prompt = {"role": "system", "content": HERMES % json.dumps([TOOL])}
    row = {"messages": [prompt, user("q"), assistant("a")], "tools": [TOOL]}
    file = write("rows.jsonl", [row, {"messages": [user("q"), assistant("a")], "tools": [TOOL]}])
    report = ingest([file], tmp_path / "plain")
    assert any(note.startswith("1 row declares its tools in a field and") for note in report.notes)
    report = ingest([file], tmp_path / "parsed", IngestConfig(parse=("tool_calls",)))
    assert not any("twice" in note for note in report.notes)
    assert Pool.open(tmp_path / "parsed").messages()[0] == [user("q"), assistant("a")]


def test_tools_that_stay_in_the_text_although_parsing_was_asked_for_are_to_be_removed_there(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    own = {"role": "system", "content": f"{HERMES % json.dumps([TOOL])} Be kind."}
    other = {"role": "system", "content": HERMES % json.dumps([TOOL, TOOL])}
    rows = [{"messages": [system, user("q"), assistant("a")], "tools": [TOOL]} for system in (own, other)]
    report = ingest([write("rows.jsonl", rows)], tmp_path / "pool", IngestConfig(parse=("think", "tool_calls")))
    (note,) = (note for note in report.notes if "twice" in note)
    assert note.startswith("2 rows declare their tools in a field and in the text of their system prompt")
    assert "--parse tool_calls could not take them out of the text" in note and "reads both as one" not in note
    # What a user does who follows it.
    without = [{name: value for name, value in row.items() if name != "tools"} for row in rows]
    again = ingest([write("again.jsonl", without)], tmp_path / "again", IngestConfig(parse=("think", "tool_calls")))
    assert not any("twice" in note for note in again.notes)
    thought = ingest([tmp_path / "rows.jsonl"], tmp_path / "thought", IngestConfig(parse=("think",)))
    assert any(
        "--parse tool_calls (in a configuration: pool.ingest.parse) reads both as one" in note for note in thought.notes
    )


@pytest.mark.parametrize(
    "piece",
    [
        "<tool_call>", "</tool_call>", "<think>", "<tools>", "\n", "<tool_response>", "<tool_response></tool_response>",
        '<tool_call>{"name": "f", "arguments": {}}</tool_call>', "<tool_call>{'name': 'f', 'arguments': {}}</tool_call>",
        "<tool_response>a</tool_response>", "<tools> {} </tools>",
    ],
)  # fmt: skip
def test_marks_without_end_are_not_looked_for_again_and_again(piece: str) -> None:
    """A row may be 64 MiB long: this ends at once, or never."""
    text = piece * 1_000
    for role in ("system", "user", "assistant", "tool"):
        conversation, tally = parsed({"role": role, "content": text}, user("q"), tools="[]")
        assert bool(tally.parsed) == (conversation.messages[0]["content"] != text)
    for unclosed in ("<function=f>" + "<parameter=a>1</parameter>" * 1_000, text):
        conversation, tally = parsed(user("q"), assistant(f"<tool_call>{unclosed}"))
        assert conversation.messages[1] == assistant(f"<tool_call>{unclosed}") and tally.kept
