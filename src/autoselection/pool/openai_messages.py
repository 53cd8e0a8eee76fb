"""Turns as OpenAI's messages, which is also how libraries of datasets and chat templates take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoselection.conversation import Message, ToolCall
from autoselection.pool.row_error import RowError
from autoselection.pool.tools import json_text, parsed_object

#: Whole numbers that the JSON reader of the ``datasets`` library takes.
_LARGEST_NUMBER = 2**64 - 1
_SMALLEST_NUMBER = -(2**63)


def call_arguments(text: str) -> dict[str, Any] | str:
    """Arguments as the object that they are JSON text of; the text itself where it would not be the same text again."""
    value = parsed_object(text)
    try:
        return text if value is None or json_text(value) != text else value
    except RowError:  # a number beyond all numbers, such as 1e999
        return text


def has_huge_number(value: Any) -> bool:
    """Whether a JSON value has a whole number in it that is longer than 64 bits."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, int):
            if not _SMALLEST_NUMBER <= found <= _LARGEST_NUMBER:
                return True
        elif isinstance(found, dict):
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found
    return False


def openai_message(message: Message, *, objects: bool = False) -> Mapping[str, Any]:
    """A message in OpenAI's form, with those keys only that it has.

    Args:
        objects: arguments of calls are objects, as chat templates take them, and not the JSON text that OpenAI has;
            text that is no object, or not one that ``datasets`` can read, stays text.
    """
    if "tool_calls" not in message:
        return message
    written: dict[str, Any] = {}
    for key, value in message.items():
        written[key] = [_openai_call(call, objects) for call in message["tool_calls"]] if key == "tool_calls" else value
    return written


def _openai_call(call: ToolCall, objects: bool) -> dict[str, Any]:
    arguments: Any = call["arguments"]
    if objects:
        value = call_arguments(arguments)
        arguments = arguments if has_huge_number(value) else value
    written: dict[str, Any] = {"id": call["id"]} if "id" in call else {}
    return {**written, "type": "function", "function": {"name": call["name"], "arguments": arguments}}
