"""Conversations as the rows that trainers read: messages, ShareGPT, Alpaca and prompt–completion.

A layout never changes a row to make it fit: a row that it cannot hold is left out, with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from autoselection.conversation import Conversation, Message
from autoselection.export.turns import sharegpt_turn
from autoselection.pool.openai_messages import has_huge_number, openai_message
from autoselection.pool.turns import MESSAGES_KEY

LayoutName = Literal["messages", "sharegpt", "alpaca", "prompt-completion"]


class CannotHold(Exception):
    """A layout cannot hold a row; the message is the reason."""


@dataclass(frozen=True)
class Layout:
    """One way to write a conversation.

    Attributes:
        name: what ``--format`` calls it.
        fields: the fields of a row besides ``id``, ``source`` and the user's own columns, with their types where the
            container has some and turns have no more than two keys.
        convert: a conversation as these fields; :class:`CannotHold` if it does not fit. Where its second argument is
            true, the container has types: arguments of calls are objects.
        optional: fields that are left out of a file in which no row has them.
        typed: types of fields in a file in which some turn has more than two keys.
        further: key that all turns of such a file have, as text; None: each has the keys that it needs.
        reserved: further names that what reads such rows would take for its own: no column of the user's has one.
    """

    name: LayoutName
    fields: Mapping[str, pa.DataType]
    convert: Callable[[Conversation, bool], dict[str, Any]]
    optional: tuple[str, ...] = ()
    typed: Mapping[str, pa.DataType] = field(default_factory=dict)
    further: str | None = None
    reserved: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Shape:
    """What the rows of one file have.

    Attributes:
        layout: the layout.
        objects: arguments of calls are objects.
        present: fields that the file has.
        more: some turn has more than two keys.
    """

    layout: Layout
    objects: bool
    present: tuple[str, ...]
    more: bool

    def fields(self) -> dict[str, pa.DataType]:
        """The fields of the file and their types."""
        types = {**self.layout.fields, **(self.layout.typed if self.more else {})}
        return {name: types[name] for name in self.present}

    def convert(self, conversation: Conversation) -> dict[str, Any]:
        """A conversation as these fields; :class:`CannotHold` if it does not fit."""
        converted = self.layout.convert(conversation, self.objects)
        if self.more and self.layout.further is not None:
            for turn in converted[self.present[0]]:
                turn.setdefault(self.layout.further, "")
        return {name: value for name in self.present if (value := converted[name]) is not None}


def _messages(conversation: Conversation, objects: bool) -> dict[str, Any]:
    tools = declared_tools(conversation)
    if objects and has_huge_number(tools):
        raise CannotHold("whose tools have a whole number of more than 64 bits, which the library datasets cannot read")
    return {
        "messages": [openai_message(message, objects=objects) for message in conversation.messages],
        "tools": tools,
    }


def declared_tools(conversation: Conversation) -> list[dict[str, Any]] | None:
    """The tools that a row declares, as a list; None without."""
    return None if conversation.tools is None else json.loads(conversation.tools)


def _sharegpt(conversation: Conversation, _objects: bool) -> dict[str, Any]:
    return {
        "conversations": [sharegpt_turn(message) for message in conversation.messages],
        "tools": conversation.tools or "",
    }


def _alpaca(conversation: Conversation, _objects: bool) -> dict[str, Any]:
    system, pairs = question_answer_pairs(conversation)
    instruction, output = pairs[-1]
    return {
        "instruction": instruction,
        "input": "",
        "output": output,
        "system": system,
        "history": [list(pair) for pair in pairs[:-1]],
    }


def _prompt_completion(conversation: Conversation, _objects: bool) -> dict[str, Any]:
    system, pairs = question_answer_pairs(conversation)
    if len(pairs) > 1:
        raise CannotHold("of several answers")
    return {"prompt": pairs[0][0], "completion": pairs[0][1], "system": system}


#: What a key of a message is to people.
_MORE = {
    "tool_calls": "with calls of tools",
    "reasoning_content": "with reasoning apart from the answer",
    "weight": "with answers of weight 0",
    "tool_call_id": "with ids of calls",
    "name": "with names of speakers",
}


def question_answer_pairs(conversation: Conversation) -> tuple[str, list[tuple[str, str]]]:
    """The system prompt ("" without one) and the pairs of question and answer that a conversation consists of.

    Raises:
        CannotHold: it consists of something else.
    """
    messages = conversation.messages
    system = messages[0]["content"] if messages and messages[0]["role"] == "system" else ""
    turns = messages[1:] if system else messages
    roles = [turn["role"] for turn in turns]
    if "tool" in roles:
        raise CannotHold("with turns of tools")
    if conversation.tools is not None:
        raise CannotHold("that declare tools")
    keys = {key for message in messages for key in message}
    for key, what in _MORE.items():
        if key in keys:
            raise CannotHold(what)
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


def has_more(turns: Sequence[Mapping[str, Any]] | Sequence[Message]) -> bool:
    """Whether a turn has more than two keys."""
    return any(len(turn) > 2 for turn in turns)


#: Columns that TRL's SFTTrainer (1.16) looks for besides those of a layout: it would train on them, mask by them, or stop.
_TRL_COLUMNS = frozenset((
    "messages", "conversations", "tools", "prompt", "completion", "chosen", "rejected", "image", "images",
    "input_ids", "labels", "completion_mask", "assistant_masks", "seq_lengths", "chat_template_kwargs",
))  # fmt: skip
#: Columns that ingest reads as parts of a conversation, or by which it takes rows of texts for another format or dialect.
_READ = frozenset((
    "messages", "conversations", "conversation", "request", "body", "contents", "data", "chat", "sample", "answers", "tools",
    "context", "system_prompt", "reasoning_content", "deepseek_reasoning", "deepseek_thinking_trajectory", "thinking_trajectories",
    "complex_cot",
))  # fmt: skip
_TEXT = pa.string()
#: Columns of every file with the user's own columns, before those of its layout.
IDENTITY: Mapping[str, pa.DataType] = {"id": _TEXT, "source": _TEXT}
_JSON = pa.json_(_TEXT)
#: Text with the logical type JSON: keys only where they are, whatever other rows have.
_TURN = pa.struct([("from", _TEXT), ("value", _TEXT)])
_PLAIN_TURN = pa.struct([("role", _TEXT), ("content", _TEXT)])
LAYOUTS: Mapping[LayoutName, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            "messages",
            {"messages": pa.list_(_PLAIN_TURN), "tools": _JSON},
            _messages,
            ("tools",),
            typed={"messages": pa.list_(_JSON)},
            reserved=_TRL_COLUMNS | {"system", "system_prompt"},
        ),
        Layout(
            "sharegpt",
            {"conversations": pa.list_(_TURN), "tools": _TEXT},
            _sharegpt,
            ("tools",),
            typed={"conversations": pa.list_(pa.struct([*_TURN, (MESSAGES_KEY, _TEXT)]))},
            further=MESSAGES_KEY,
            reserved=_TRL_COLUMNS | {"system", "system_prompt"},
        ),
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
            reserved=_READ | {"prompt", "question"},
        ),
        Layout(
            "prompt-completion",
            {"prompt": _TEXT, "completion": _TEXT, "system": _TEXT},
            _prompt_completion,
            ("system",),
            reserved=_TRL_COLUMNS | _READ | {"text", "instruction", "input"},
        ),
    )
}
