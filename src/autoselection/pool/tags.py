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

import ast
import json
import re
import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from autoselection.conversation import Conversation, Message, ToolCall
from autoselection.pool.json_reader import KeyTwiceError, unique_object
from autoselection.pool.row_error import RowError
from autoselection.pool.tools import declared_tools

Parsed = Literal["think", "tool_calls"]
PARSED: tuple[Parsed, ...] = get_args(Parsed)

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_ANSWER, _ANSWER_END = "<tool_response>", "</tool_response>"
#: Marks of reasoning: opening, closing, and those around the answer behind it.
_THOUGHTS = (
    ("<think>", "</think>", None),
    ("[THINK]", "[/THINK]", None),
    ("<|begin_of_thought|>", "<|end_of_thought|>", ("<|begin_of_solution|>", "<|end_of_solution|>")),
)
#: Longest literal of Python that is read (characters).
_MAX_LITERAL = 200_000
_XML_CALL = re.compile(
    r"\s*<function=([^>\s]+)>\s*((?:<parameter=[^>\s]+>.*?</parameter>\s*)*)</function>\s*", re.DOTALL
)
_XML_ARGUMENT = re.compile(r"<parameter=([^>\s]+)>\n?(.*?)\n?</parameter>", re.DOTALL)
_TOOLS = re.compile(r"<tools>(.*?)</tools>", re.DOTALL)
#: Where instructions about tools begin, in the words of Hermes, Qwen and SmolLM.
_INSTRUCTIONS = re.compile(
    r"(?:^|\n)#+ Tools[ \t]*\n|You are a function calling AI model|You are provided with function signatures"
    r"|You may call one or more functions|You have access to the following (?:functions|tools)|Here are the available tools"
)  # fmt: skip


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
    return any(match[1].strip() for match in _TOOLS.finditer(conversation.messages[0]["content"]))


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
    for opening, closing, around in _THOUGHTS:
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
    before, _, rest = text.partition(_OPEN)
    found: list[ToolCall] | str = "calls in a turn that has them in a field too" if "tool_calls" in message else []
    rest = _OPEN + rest
    while rest and not isinstance(found, str):
        if not rest.startswith(_OPEN):
            found = f"text behind a {_OPEN}"
            break
        call, rest = _call(rest.removeprefix(_OPEN), tools)
        found = [*found, call] if not isinstance(call, str) else call
        rest = rest.lstrip()
    if isinstance(found, str):
        tally.kept[found] += 1
        return message
    tally.parsed[f"turns with {_OPEN}"] += 1
    return {**message, "content": before.rstrip("\n"), "tool_calls": found}


def _call(text: str, tools: str | None) -> tuple[ToolCall | str, str]:
    """The call that a text begins with, or what is wrong with it; and what follows its closing mark."""
    start = len(text) - len(text.lstrip())
    if (match := _XML_CALL.match(text)) is not None:
        end, call = match.end(), _xml_call(match[1], match[2], tools)
    else:
        try:
            value, end = _DECODER.raw_decode(text, start)
        except KeyTwiceError:
            return f"{_OPEN} with a key twice", text
        except (ValueError, RecursionError):
            inner, closing, _ = text.partition(_CLOSE)
            if not closing:
                return f"{_OPEN} that never closes", text
            value, end = _literal(inner), len(inner)
            if value is None:
                return f"{_OPEN} that is no JSON", text
        call = _json_call(value)
    rest = text[end:].lstrip()
    if not rest.startswith(_CLOSE):
        return f"{_OPEN} that is no JSON" if _CLOSE in rest else f"{_OPEN} that never closes", text
    return call, rest.removeprefix(_CLOSE)


def _literal(text: str) -> Any:
    """The value of a literal of Python, as much of Hermes' data is spelled, if JSON has it; None if it is none."""
    text = text.strip()
    if len(text) > _MAX_LITERAL or not text.startswith(("{", "[")):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the parser thinks of a text's escapes is nobody's affair
            tree = ast.parse(text, mode="eval")
        value = ast.literal_eval(tree)
        written = json.dumps(value, allow_nan=False)
        return value if _DECODER.decode(written) == value and _has_keys_once(tree) else None
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _has_keys_once(tree: ast.AST) -> bool:
    """Whether no key of an object stands twice, which a literal would pass over."""
    return not any(
        isinstance(node, ast.Dict)
        and len({key.value for key in node.keys if isinstance(key, ast.Constant)}) < len(node.keys)
        for node in ast.walk(tree)
    )


def _json_call(value: Any) -> ToolCall | str:
    wrong = f"{_OPEN} that is no object of name and arguments"
    if not isinstance(value, dict) or not {"name", "arguments"} <= set(value) <= {"name", "arguments", "id"}:
        return wrong
    name, arguments = value["name"], value["arguments"]
    if not isinstance(name, str) or not name.strip() or not isinstance(arguments, dict):
        return wrong
    call: ToolCall = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    if "id" in value:
        if not isinstance(value["id"], str):
            return wrong
        call = {"id": value["id"], **call}
    return call


def _xml_call(name: str, parameters: str, tools: str | None) -> ToolCall | str:
    """A call as Qwen3-Coder writes it: values are bare text, whose types only the declared tools tell."""
    found = _XML_ARGUMENT.findall(parameters)
    if len({key for key, _ in found}) < len(found):
        return f"{_OPEN} with a key twice"
    types = _types(name, tools)
    arguments = {key: _typed(value, types.get(key, "string")) for key, value in found}
    return {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}


def _types(name: str, tools: str | None) -> dict[str, Any]:
    for tool in json.loads(tools) if tools else ():
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if isinstance(function, dict) and function.get("name") == name:
            schema = function.get("parameters")
            properties = schema.get("properties") if isinstance(schema, dict) else None
            if isinstance(properties, dict):
                return {key: item.get("type") for key, item in properties.items() if isinstance(item, dict)}
    return {}


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
    rest, found = text.strip("\n"), []
    while rest.startswith(_ANSWER):
        inner, closing, rest = rest.removeprefix(_ANSWER).partition(_ANSWER_END)
        if not closing or _ANSWER in inner:
            rest = text
            break
        found.append(inner.strip("\n"))
        rest = rest.lstrip("\n")
    reason = None
    if rest or not all(map(str.strip, found)):
        reason = f"{_ANSWER} that is not a whole turn" if rest else f"{_ANSWER} without a text"
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
    blocks = [match for match in _TOOLS.finditer(text) if match[1].strip()]
    if not blocks:
        return text, tools
    start = _INSTRUCTIONS.search(text)
    found = _definitions(blocks[0][1])
    reason = None
    if len(blocks) > 1 or found is None:
        reason = "<tools> that are no list of definitions"
    elif start is None or start.start() > blocks[0].start() or not _ends_with_instructions(text[blocks[0].end() :]):
        reason = "<tools> in a system prompt of its own words"
    elif tools is not None and json.loads(tools) != json.loads(found):
        reason = "<tools> that are others than the row's 'tools'"
    if reason is not None or start is None:
        tally.kept[str(reason)] += 1
        return text, tools
    tally.parsed["system prompts with <tools>"] += 1
    return text[: start.start()].rstrip(), found


def _ends_with_instructions(text: str) -> bool:
    """Whether what follows the definitions is how to call them, and nothing else."""
    return not text.strip() or text.rstrip().endswith(_CLOSE)


def _definitions(text: str) -> str | None:
    """The tools of a list of definitions, or of definitions one behind the other; None where it is neither."""
    found: list[Any] = []
    rest = text.strip()
    while rest:
        try:
            value, end = _DECODER.raw_decode(rest)
        except (ValueError, RecursionError):
            value, end = _literal(rest), len(rest)
            if value is None:
                return None
        found += value if isinstance(value, list) else [value]
        rest = rest[end:].lstrip(" \t\r\n,")
    try:
        return declared_tools(found)[0]
    except RowError:
        return None
