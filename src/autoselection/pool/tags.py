"""Calls, results, tool definitions and reasoning that stand as marked-up text in contents, as typed fields on request.

What is read is what Hermes and Qwen write: ``<think>…</think>`` before an answer (also ``<|begin_of_thought|>`` with
``<|begin_of_solution|>``, and ``[THINK]``), ``<tool_call>{"name": …, "arguments": {…}}</tool_call>`` (also
``<function=…><parameter=…>``) at the end of a turn, ``<tool_response>…</tool_response>`` as a whole turn, and the section
of a system prompt that declares ``<tools>…</tools>``.

Nothing is lost: writing the typed fields as these models' templates do gives the text again, but for white space next to
marks and the spelling of JSON, which may be that of Python's literals. A turn of which that is not so stays as it is, and is counted with the reason. Only the
instructions around ``<tools>``, which a template writes in its own words, go.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from autoselection.conversation import Conversation, Message, ToolCall
from autoselection.marks import CALL_TAGS, REASONING
from autoselection.pool.json_reader import KeyTwiceError, unique_object
from autoselection.pool.row_error import RowError
from autoselection.pool.tools import declared_tools
from autoselection.pool.values import MAX_LITERAL, python_literal

Parsed = Literal["think", "tool_calls"]

_OPEN, _CLOSE = f"<{CALL_TAGS[0]}>", f"</{CALL_TAGS[0]}>"
_ANSWER, _ANSWER_END = "<tool_response>", "</tool_response>"
#: Marks of reasoning that are parsed, and those around the answer behind it, without which it stays text.
_AROUND = {
    "<think>": None,
    "[THINK]": None,
    "<|begin_of_thought|>": ("<|begin_of_solution|>", "<|end_of_solution|>"),
}
_SPACE = re.compile(r"\s*")
_FUNCTION = re.compile(r"<function=([^<>\s]+)>")
_PARAMETER = re.compile(r"<parameter=([^<>\s]+)>")
_FUNCTION_END, _PARAMETER_END = "</function>", "</parameter>"
_TOOLS, _TOOLS_END = "<tools>", "</tools>"
#: A template of a call, as the instructions around ``<tools>`` show it.
_EXAMPLE = (
    r"<tool_call> ?\{ ?(?:tool_call|[\"']?(?:name|arguments)[\"']?: ?<[\w-]+>, ?[\"']?(?:name|arguments)[\"']?: ?<[\w-]+>) ?\}"
    r" ?</tool_call>"
)
#: The JSON schema of a call, whose words stand in any order.
_CALL_SCHEMA = r"(?:<schema> ?)?\{(?:[\s\"':,{}\[\]]|title|FunctionCall|type|object|properties|arguments|name|string|required)*\}(?: ?</schema>)?"
#: The instructions around ``<tools>`` of Hermes, Qwen and SmolLM, sentence by sentence; a blank is any white space.
_SENTENCES = (
    r"#+ Tools(?=\s)",
    r"You are a function calling AI model(?: named Hermes 2 Pro)?\.",
    r"You are provided with function signatures within <tools> ?</tools> XML tags[.:]",
    r"You may call one or more functions to assist with the user query\.",
    r"Don['’]t make assumptions about what values to plug into functions\.",
    r"If available tools are not relevant in assisting with user query, just respond in natural conversational language\.",
    r"After calling & executing the functions, you will be provided with function results within <tool_response> "
    r"?</tool_response> XML tags\.",
    r"Here are the available tools:",
    r"You have access to the following (?:functions|tools):",
    rf"Use the following pydantic model json schema for each tool call you will make: {_CALL_SCHEMA}",
    rf"For each function call,? return a json object,? with the following pydantic model json schema(?: for each)?: {_CALL_SCHEMA}",
    r"Each function call should be enclosed within <tool_call> ?</tool_call> XML tags\.(?: Example:)?",
    r"For each function call,? return a json object with function name and arguments within <tool_call> ?</tool_call>(?: XML)? tags"
    r"(?: as follows| with the following schema)?:",
    _EXAMPLE,
    r"The output MUST strictly adhere to the following format, and NO other text MUST be included\.",
    r"The example format is as follows\.(?: Please make sure the parameter type is correct\.)?",
    r"If no function call is needed, please make the tool calls an empty list '\[\]'\.?",
    r"<tool_call> ?\[ ?(?:\{\"name\": \"func_name\d\", \"arguments\": \{\"argument1\": \"value1\", \"argument2\": \"value2\"\}\}, ?)+"
    r"(?:\.\.\. ?)?\(more tool calls as required\) ?\] ?</tool_call>",
)
_INSTRUCTION = re.compile("|".join(_SENTENCES).replace(" ?", r"\s*").replace(" ", r"\s+"), re.IGNORECASE)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=unique_object, parse_constant=_no_constant)


@dataclass
class Tally:
    """What was parsed, and what stays text and why: turns, by words for people."""

    parsed: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Add the counts of a row."""
        self.parsed.update(other.parsed)
        self.kept.update(other.kept)

    def notes(self) -> list[str]:
        """One sentence a kind of count, for people."""
        notes = []
        if self.parsed:
            notes.append(f"Parsed from texts: {_listed(self.parsed)}.")
        if self.kept:
            notes.append(f"Marked-up text that was not parsed and stays as it is: {_listed(self.kept)}.")
        return notes


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(
        f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def declares_twice(conversation: Conversation) -> bool:
    """Whether a row declares tools in a field and in the text of its system prompt, so that a template would write both."""
    if conversation.tools is None or not conversation.messages or conversation.messages[0]["role"] != "system":
        return False
    return bool(_tool_blocks(conversation.messages[0]["content"]))


def parse(conversation: Conversation, wanted: Collection[str], tally: Tally) -> Conversation:
    """The conversation with what ``wanted`` names (``think``, ``tool_calls``) as typed fields."""
    tools = conversation.tools
    messages: list[Message] = []
    for message in conversation.messages:
        role = message["role"]
        if role == "assistant":
            if "think" in wanted:
                message = _with_reasoning(message, tally)
            if "tool_calls" in wanted:
                message = _with_calls(message, tools, tally)
            messages.append(message)
        elif role == "system" and "tool_calls" in wanted:
            text, tools = _without_tools(message["content"], tools, tally)
            if text:
                messages.append({**message, "content": text})
        elif role in ("tool", "user") and "tool_calls" in wanted:
            asked = bool(messages) and (messages[-1]["role"] == "tool" or bool(messages[-1].get("tool_calls")))
            messages += _results(message, asked, tally)
        else:
            messages.append(message)
    return Conversation(messages, tools)


def _with_reasoning(message: Message, tally: Tally) -> Message:
    text = message["content"]
    for opening, around in _AROUND.items():
        closing = REASONING[opening]
        if opening not in text and closing not in text:
            continue
        reason = None
        if text.count(opening) != 1 or text.count(closing) != 1:
            reason = (
                f"{opening} that never closes" if closing not in text
                else f"{closing} that nothing opens" if opening not in text
                else f"several {opening}"
            )  # fmt: skip
        elif text.index(opening) > text.index(closing) or text[: text.index(opening)].strip("\n"):
            reason = f"{opening} behind other text"
        elif "reasoning_content" in message:
            reason = f"{opening} in a turn that has its reasoning in a field too"
        if reason is None:
            thought, answer = text.lstrip("\n").removeprefix(opening).split(closing)
            thought, answer = thought.strip("\n"), answer.lstrip("\n")
            if not thought.strip():
                reason = f"{opening} without reasoning"
            elif around is not None:
                inner = answer.removeprefix(around[0]).rstrip("\n").removesuffix(around[1])
                if f"{around[0]}{inner}{around[1]}" != answer.rstrip("\n") or around[0] in inner or around[1] in inner:
                    reason = f"{opening} without an answer in {around[0]}"
                answer = inner.strip("\n")
        if reason is None:
            tally.parsed[f"reasoning in {opening}"] += 1
            return {**message, "content": answer, "reasoning_content": thought}
        tally.kept[reason] += 1
        return message
    return message


def _with_calls(message: Message, tools: str | None, tally: Tally) -> Message:
    text = message["content"]
    if _OPEN not in text:
        if _CLOSE in text:
            tally.kept[f"{_CLOSE} that nothing opens"] += 1
        return message
    place = start = text.index(_OPEN)
    calls: list[ToolCall] = []
    reason = "calls in a turn that has them in a field too" if "tool_calls" in message else None
    while place < len(text) and reason is None:
        if not text.startswith(_OPEN, place):
            reason = f"text behind a {_OPEN}"
            break
        call, place = _call(text, place + len(_OPEN), tools)
        if isinstance(call, str):
            reason = call
        else:
            calls.append(call)
        place = _behind_space(text, place)
    if reason is not None:
        tally.kept[reason] += 1
        return message
    tally.parsed[f"turns with {_OPEN}"] += 1
    return {**message, "content": text[:start].rstrip("\n"), "tool_calls": calls}


def _behind_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match is not None else place


def _call(text: str, place: int, tools: str | None) -> tuple[ToolCall | str, int]:
    """The call at a place of a text, or what is wrong with it; and where its closing mark ends."""
    start = _behind_space(text, place)
    if (match := _FUNCTION.match(text, start)) is not None:
        call, end = _xml_call(text, match, tools)
    else:
        try:
            value, end = _DECODER.raw_decode(text, start)
        except KeyTwiceError:
            return f"{_OPEN} with a key twice", place
        except (ValueError, RecursionError):
            end = text.find(_CLOSE, start)
            if end < 0:
                return f"{_OPEN} that never closes", place
            value = python_literal(text[start : min(end, start + MAX_LITERAL + 1)])
            if value is None:
                return f"{_OPEN} that is no JSON", place
        call = _json_call(value)
    if isinstance(call, str):
        return call, place
    end = _behind_space(text, end)
    if not text.startswith(_CLOSE, end):
        return f"{_OPEN} that is no JSON" if text.find(_CLOSE, end) >= 0 else f"{_OPEN} that never closes", place
    return call, end + len(_CLOSE)


def _json_call(value: Any) -> ToolCall | str:
    wrong = f"{_OPEN} that is no object of name and arguments"
    if not isinstance(value, dict) or not {"name", "arguments"} <= set(value) <= {"name", "arguments", "id"}:
        return wrong
    name, arguments = value["name"], value["arguments"]
    if not isinstance(name, str) or not name.strip() or not isinstance(arguments, dict):
        return wrong
    try:
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):  # a number beyond all numbers, such as 1e999
        return f"{_OPEN} that is no JSON"
    call: ToolCall = {"name": name, "arguments": text}
    if "id" in value:
        if not isinstance(value["id"], str):
            return wrong
        call = {"id": value["id"], **call}
    return call


def _xml_call(text: str, function: re.Match[str], tools: str | None) -> tuple[ToolCall | str, int]:
    """A call as Qwen3-Coder writes it, and where it ends: values are bare text, whose types only the declared tools tell."""
    types = _types(tools).get(function[1], {})
    arguments: dict[str, Any] = {}
    place = _behind_space(text, function.end())
    while (match := _PARAMETER.match(text, place)) is not None:
        end = text.find(_PARAMETER_END, match.end())
        if end < 0:
            break
        if match[1] in arguments:
            return f"{_OPEN} with a key twice", place
        value = text[match.end() : end].removeprefix("\n").removesuffix("\n")
        arguments[match[1]] = _typed(value, types.get(match[1], "string"))
        place = _behind_space(text, end + len(_PARAMETER_END))
    if not text.startswith(_FUNCTION_END, place):
        return f"{_OPEN} that is no JSON", place
    call: ToolCall = {"name": function[1], "arguments": json.dumps(arguments, ensure_ascii=False)}
    return call, place + len(_FUNCTION_END)


@lru_cache(maxsize=1)
def _types(tools: str | None) -> dict[str, dict[str, Any]]:
    """The types of the parameters of each declared tool."""
    found: dict[str, dict[str, Any]] = {}
    for tool in json.loads(tools) if tools else ():
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        schema = function.get("parameters") if isinstance(function, dict) else None
        properties = schema.get("properties") if isinstance(schema, dict) else None
        if isinstance(function, dict) and isinstance(properties, dict):
            types = {key: item.get("type") for key, item in properties.items() if isinstance(item, dict)}
            found.setdefault(str(function.get("name")), types)
    return found


def _typed(text: str, kind: Any) -> Any:
    if kind == "string":
        return text
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return text
    # A template writes other values than strings as JSON: one that it would spell otherwise stays the text it was.
    return value if not isinstance(value, str) and json.dumps(value, ensure_ascii=False) == text else text


def _results(message: Message, asked: bool, tally: Tally) -> list[Message]:
    """A turn of results as a tool's turns, one a result."""
    text = message["content"]
    if _ANSWER not in text:
        return [message]
    text = text.strip("\n")
    place, found = 0, []
    while text.startswith(_ANSWER, place):
        start = place + len(_ANSWER)
        end = text.find(_ANSWER_END, start)
        if end < 0 or text.find(_ANSWER, start, end) >= 0:
            break
        found.append(text[start:end].strip("\n"))
        place = end + len(_ANSWER_END)
        while text.startswith("\n", place):
            place += 1
    reason = None
    if place < len(text) or not all(map(str.strip, found)):
        whole = place == len(text)
        reason = f"{_ANSWER} without a text" if whole else f"{_ANSWER} that is not a whole turn"
    elif message["role"] == "user" and not asked:
        reason = f"{_ANSWER} of a user, with no call before"
    elif len(found) > 1 and len(message) > 2:
        reason = f"several {_ANSWER} in a turn with a name or an id"
    if reason is not None:
        tally.kept[reason] += 1
        return [message]
    tally.parsed[f"results in {_ANSWER}"] += len(found)
    return [{**message, "role": "tool", "content": inner} for inner in found]


def _without_tools(text: str, tools: str | None, tally: Tally) -> tuple[str, str | None]:
    """A system prompt without its section about tools, and the tools; unchanged where that would lose something."""
    blocks = _tool_blocks(text)
    if not blocks:
        return text, tools
    (first, last), *others = blocks
    start = _begin_of_instructions(text[: first - len(_TOOLS)])
    found = _definitions(text[first:last])
    reason = None
    if others or found is None:
        reason = "<tools> that are no list of definitions"
    elif start is None or not _are_instructions(text[last + len(_TOOLS_END) :]):
        reason = "<tools> in a system prompt of its own words"
    elif tools is not None and json.loads(tools) != json.loads(found):
        reason = "<tools> that are others than the row's 'tools'"
    if reason is not None:
        tally.kept[reason] += 1
        return text, tools
    tally.parsed["system prompts with <tools>"] += 1
    return text[:start].rstrip(), found


def _tool_blocks(text: str) -> list[tuple[int, int]]:
    """Where what stands between ``<tools>`` and ``</tools>`` begins and ends; empty blocks, which only name the marks, left out."""
    found: list[tuple[int, int]] = []
    place = 0
    while (start := text.find(_TOOLS, place)) >= 0 and (end := text.find(_TOOLS_END, start)) >= 0:
        start += len(_TOOLS)
        if text[start:end].strip():
            found.append((start, end))
        place = end + len(_TOOLS_END)
    return found


def _begin_of_instructions(text: str) -> int | None:
    """Where the instructions begin that a text ends with; None if it does not, or has other words between them."""
    start: int | None = None
    end = 0
    for match in _INSTRUCTION.finditer(text):
        if start is None:
            start = match.start()
        elif text[end : match.start()].strip():
            return None
        end = match.end()
    return None if text[end:].strip() else start


def _are_instructions(text: str) -> bool:
    """Whether what follows the definitions is how to call them, and nothing else."""
    text = text.removeprefix(".")
    start = _begin_of_instructions(text)
    return not text[: len(text) if start is None else start].strip()


def _definitions(text: str) -> str | None:
    """The tools of a list of definitions, or of definitions one behind the other; None where it is neither."""
    found: list[Any] = []
    text = text.strip()
    place = 0
    while place < len(text):
        try:
            value, place = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            value = python_literal(text[place:])
            if value is None:
                return None
            place = len(text)
        found += value if isinstance(value, list) else [value]
        while text[place : place + 1] in (" ", "\t", "\r", "\n", ","):
            place += 1
    try:
        return declared_tools(found)[0]
    except RowError:
        return None
