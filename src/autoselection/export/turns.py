"""Turns in the words of ShareGPT, as LLaMA-Factory reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from autoselection.conversation import Message, ToolCall
from autoselection.pool.openai_messages import call_arguments, openai_message
from autoselection.pool.turns import MESSAGES_KEY

#: ``from`` of ShareGPT for each canonical role.
SHAREGPT_ROLES: Mapping[str, str] = {
    "system": "system",
    "user": "human",
    "assistant": "gpt",
    "tool": "observation",
}
#: ``from`` of an assistant's turn that calls tools.
FUNCTION_CALL = "function_call"
#: Where LLaMA-Factory looks for reasoning, and for calls that have something before them (from its version 0.9.4 on).
THOUGHT_MARKS = ("<think>\n", "\n</think>\n\n")
CALL_MARKS = ("<tool_call>", "</tool_call>")

_EXACT_CALL = {"role", "content", "tool_calls"}


def sharegpt_turn(message: Message) -> dict[str, str]:
    """A turn of ShareGPT: ``from`` and ``value``, and ``messages`` where these two do not tell all of the message."""
    turn = {"from": SHAREGPT_ROLES[message["role"]], "value": message["content"]}
    if len(message) == 2:
        return turn
    calls = message.get("tool_calls")
    if calls:
        turn = {"from": FUNCTION_CALL, "value": calls_text(calls)}
        if set(message) == _EXACT_CALL and not message["content"] and not any("id" in call for call in calls):
            return turn
    before = said_before_calls(message) if calls else ""
    if calls and before:
        turn["value"] = f"{before}{CALL_MARKS[0]}{turn['value']}{CALL_MARKS[1]}"
    elif "reasoning_content" in message:
        turn["value"] = _thought(message) + turn["value"]
    return {**turn, MESSAGES_KEY: messages_text([message])}


def said_before_calls(message: Message) -> str:
    """What a turn with calls says besides them: its reasoning between its marks, its content on a line of its own."""
    return _thought(message) + (f"{message['content']}\n" if message["content"] else "")


def _thought(message: Message) -> str:
    thought = message.get("reasoning_content")
    return "" if thought is None else f"{THOUGHT_MARKS[0]}{thought}{THOUGHT_MARKS[1]}"


def calls_text(calls: Sequence[ToolCall]) -> str:
    """The value of a ``function_call`` turn: JSON of the call, or of the list of calls where there are several.

    ``<`` is written as an escape where a mark would be found in the text.
    """
    found = [{"name": call["name"], "arguments": call_arguments(call["arguments"])} for call in calls]
    text = json.dumps(found if len(found) > 1 else found[0], ensure_ascii=False)
    marks = (*THOUGHT_MARKS, *CALL_MARKS)
    return text.replace("<", "\\u003c") if any(mark.strip() in text for mark in marks) else text


def messages_text(messages: Sequence[Message]) -> str:
    """JSON text of messages in OpenAI's form."""
    return json.dumps([openai_message(message) for message in messages], ensure_ascii=False)
