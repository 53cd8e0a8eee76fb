"""Conversations as the rows that trainers read: messages, ShareGPT, Alpaca and prompt–completion.

A layout never changes a row to make it fit: a row that it cannot hold is left out, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from autoselection.conversation import Message
from autoselection.pool.rows import PLAIN_MESSAGES_TYPE

LayoutName = Literal["messages", "sharegpt", "alpaca", "prompt-completion"]

#: ``from`` of ShareGPT for each canonical role.
SHAREGPT_ROLES: Mapping[str, str] = {
    "system": "system",
    "user": "human",
    "assistant": "gpt",
    "tool": "observation",
}


class CannotHold(Exception):
    """A layout cannot hold a row; the message is the reason."""


@dataclass(frozen=True)
class Layout:
    """One way to write a conversation.

    Attributes:
        name: what ``--format`` calls it.
        fields: the fields of a row besides ``id``, ``source`` and the user's own columns.
        convert: a conversation as these fields; :class:`CannotHold` if it does not fit.
        optional: fields that are left out of a file in which no row has them.
    """

    name: LayoutName
    fields: Mapping[str, pa.DataType]
    convert: Callable[[Sequence[Message]], dict[str, Any]]
    optional: tuple[str, ...] = ()


def _messages(messages: Sequence[Message]) -> dict[str, Any]:
    return {"messages": list(messages)}


def _sharegpt(messages: Sequence[Message]) -> dict[str, Any]:
    return {"conversations": [{"from": SHAREGPT_ROLES[turn["role"]], "value": turn["content"]} for turn in messages]}


def _alpaca(messages: Sequence[Message]) -> dict[str, Any]:
    system, pairs = question_answer_pairs(messages)
    instruction, output = pairs[-1]
    return {
        "instruction": instruction,
        "input": "",
        "output": output,
        "system": system,
        "history": [list(pair) for pair in pairs[:-1]],
    }


def _prompt_completion(messages: Sequence[Message]) -> dict[str, Any]:
    system, pairs = question_answer_pairs(messages)
    if len(pairs) > 1:
        raise CannotHold("of several answers")
    return {"prompt": pairs[0][0], "completion": pairs[0][1], "system": system}


def question_answer_pairs(messages: Sequence[Message]) -> tuple[str, list[tuple[str, str]]]:
    """The system prompt ("" without one) and the pairs of question and answer that a conversation consists of.

    Raises:
        CannotHold: it consists of something else.
    """
    system = messages[0]["content"] if messages and messages[0]["role"] == "system" else ""
    turns = messages[1:] if system else messages
    roles = [turn["role"] for turn in turns]
    if "tool" in roles:
        raise CannotHold("with turns of tools")
    if "system" in roles:
        raise CannotHold("with a system prompt that is not the first turn")
    if not roles or roles[0] != "user":
        raise CannotHold("whose first turn is not a question")
    if roles[-1] != "assistant":
        raise CannotHold("whose last turn is not an answer")
    if roles != ["user", "assistant"] * (len(roles) // 2):
        raise CannotHold("whose questions and answers do not alternate")
    texts = [turn["content"] for turn in turns]
    return system, list(zip(texts[::2], texts[1::2], strict=True))


_TEXT = pa.string()
LAYOUTS: Mapping[LayoutName, Layout] = {
    layout.name: layout
    for layout in (
        Layout("messages", {"messages": PLAIN_MESSAGES_TYPE}, _messages),
        Layout("sharegpt", {"conversations": pa.list_(pa.struct([("from", _TEXT), ("value", _TEXT)]))}, _sharegpt),
        Layout(
            "alpaca",
            {
                "instruction": _TEXT,
                "input": _TEXT,
                "output": _TEXT,
                "system": _TEXT,
                "history": pa.list_(pa.list_(_TEXT)),
            },
            _alpaca,
            ("system", "history"),
        ),
        Layout(
            "prompt-completion",
            {"prompt": _TEXT, "completion": _TEXT, "system": _TEXT},
            _prompt_completion,
            ("system",),
        ),
    )
}
