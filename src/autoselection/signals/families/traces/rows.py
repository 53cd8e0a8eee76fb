"""A row as what happened in it: turns with their calls, results and reasoning, typed or written as tags; declared tools."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from autoselection.conversation import Conversation, Message
from autoselection.signals.families.traces.markup import Call, Said, calls_in, json_object, results_in, said, tools_in
from autoselection.signals.families.traces.tool_schema import ToolSchema, UncheckableError


@dataclass(frozen=True)
class Result:
    """What a tool returned.

    Attributes:
        text: as it came.
        id: of the call that it answers, if it says so.
        name: of the tool, if it says so.
    """

    text: str
    id: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class Turn:
    """One turn; a user's turn that consists of results is one of ``tool``.

    Attributes:
        role: system, user, assistant or tool.
        said: of an assistant's turn its content apart, else all of it as visible text.
        calls: of an assistant.
        results: of a tool.
        written: characters that an assistant wrote: content, reasoning, names and arguments of calls.
    """

    role: str
    said: Said
    calls: Sequence[Call] = ()
    results: Sequence[Result] = ()
    written: int = 0


@dataclass(frozen=True)
class Declared:
    """The tools that a row declares.

    Attributes:
        schemas: by name; None where the arguments are not described, or not soundly.
        complete: whether every declaration could be read, so that a tool without one is not declared.
        malformed: declarations that could not be read, or whose schema is not sound.
    """

    schemas: Mapping[str, ToolSchema | None] = field(default_factory=dict)
    complete: bool = True
    malformed: int = 0


NONE_DECLARED = Declared()


def turns_of(messages: Sequence[Message]) -> list[Turn]:
    """The turns of a row, in order."""
    return [_turn(message) for message in messages]


def _turn(message: Message) -> Turn:
    role, content = message["role"], message["content"]
    if role == "assistant":
        return _assistant(message, content)
    wrapped = results_in(content) if role in ("user", "tool") else None
    if role == "tool" or wrapped is not None:
        texts = [content] if wrapped is None else wrapped
        one = len(texts) == 1
        results = [Result(text, message.get("tool_call_id") if one else None, message.get("name")) for text in texts]
        return Turn("tool", Said(content), results=results)
    return Turn(role, Said(content))


def _assistant(message: Message, content: str) -> Turn:
    own = said(content)
    typed = message.get("reasoning_content") or ""
    if typed:
        ending = own.ending or typed[-600:]
        own = Said(own.visible, own.reasoning + len(typed), ending, own.unclosed)
    calls = [_typed_call(call) for call in message.get("tool_calls") or ()]
    written = len(content) + len(typed) + sum(len(call.name or "") + len(call.text) for call in calls)
    return Turn("assistant", own, calls + calls_in(own.visible), written=written)


def _typed_call(call: Mapping[str, Any]) -> Call:
    text = call.get("arguments", "")
    arguments = json_object(text) if text.strip() else {}  # nothing at all is how some services write no arguments
    return Call(call.get("name") or None, arguments, text, id=call.get("id") or None)


def declared_by(conversation: Conversation) -> Declared:
    """The tools of a row: those of its own field, else those between ``<tools>`` tags of a system message."""
    if conversation.tools is not None:
        return _declared(conversation.tools)
    for message in conversation.messages:
        if message["role"] == "system":
            text = tools_in(message["content"])
            if text is not None:
                return _declared(text)
    return NONE_DECLARED


@lru_cache(maxsize=1024)
def _declared(text: str) -> Declared:
    try:
        tools = json.loads(text)
    except (ValueError, RecursionError):
        return Declared(complete=False, malformed=1)
    if not isinstance(tools, list):
        return Declared(complete=False, malformed=1)
    schemas: dict[str, ToolSchema | None] = {}
    complete, malformed = True, 0
    for tool in tools:
        own = tool.get("function", tool) if isinstance(tool, dict) else None
        name = own.get("name") if isinstance(own, dict) else None
        if name is None and own is tool and isinstance(own, dict) and own.get("type") != "function":
            name = own.get("type")  # a tool of the service itself, such as a search
        if not isinstance(own, dict) or not isinstance(name, str) or not name:
            complete, malformed = False, malformed + 1
            continue
        try:
            schemas[name] = _schema(
                next((own[key] for key in ("parameters", "input_schema", "arguments") if key in own), None)
            )
        except UncheckableError:
            schemas[name], malformed = None, malformed + 1
    return Declared(schemas, complete, malformed)


def _schema(parameters: Any) -> ToolSchema | None:
    return None if parameters is None else ToolSchema(parameters)
