"""Turns in the channels of Harmony, the format of gpt-oss, as turns of their own kinds.

==================================================  ================================================================
``"channel": "analysis"``                           what the assistant thought before its next turn
``"recipient": "functions.NAME"``, on any channel   a call of NAME; its arguments are the content
``"channel": "commentary"``, for nobody             what is said before a call
``"channel": "final"``                              the answer
==================================================  ================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from autoselection.conversation import Message
from autoselection.pool.reasoning import reasoning_text
from autoselection.pool.row_error import RowError
from autoselection.pool.values import is_missing

_CHANNELS = ("analysis", "commentary", "final")
_FUNCTIONS = "functions."
#: Of a turn that is for nobody in particular.
_ALL = "all"
#: What a turn has that was only thought.
_THOUGHT = frozenset(("role", "content", "reasoning_content", "weight"))


def has_channels(turns: Iterable[Any]) -> bool:
    """Whether a conversation is written in these channels; other data have channels too, such as those of a help desk."""
    return any(isinstance(turn, dict) and turn.get("channel") in _CHANNELS for turn in turns)


def without_channel(turn: Any, role: str | None) -> Any:
    """A turn of such a conversation as one without a channel; ``role`` is its canonical role.

    Raises:
        RowError: its channel or its recipient is another. ``{turn}`` in the reason stands for its place.
    """
    if role not in ("assistant", "tool"):
        return turn
    rest = {name: value for name, value in turn.items() if name not in ("channel", "recipient")}
    if role == "tool":
        name = rest.get("name")
        return {**rest, "name": name.removeprefix(_FUNCTIONS)} if isinstance(name, str) else rest
    channel, recipient = (None if is_missing(turn.get(name)) else turn[name] for name in ("channel", "recipient"))
    if channel not in (None, *_CHANNELS):
        said = f"{{turn}} has the channel {str(channel)[:40]!r}, beside turns with those of Harmony"
        raise RowError(said, "unknown channel", "channel", f"one of the channels {', '.join(_CHANNELS)}")
    if recipient in (None, "", _ALL):
        return _thought(rest) if channel == "analysis" else rest
    name = recipient.removeprefix(_FUNCTIONS) if str(recipient).startswith(_FUNCTIONS) else ""
    if not name.strip():
        said = f"{{turn}} has the recipient {str(recipient)[:40]!r}, which is no function"
        raise RowError(said, "recipient that is no function", "recipient", f"{_FUNCTIONS} and the name of a tool")
    return {**_without_content(rest), "function_call": {"name": name, "arguments": _text(rest) or None}}


def _thought(turn: Mapping[str, Any]) -> dict[str, Any]:
    text = _text(turn)
    return {**_without_content(turn), "content": [{"type": "reasoning", "text": text}] if text else ""}


def _without_content(turn: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: value for name, value in turn.items() if name != "value"}, "content": ""}


def _text(turn: Mapping[str, Any]) -> str:
    """The text of a turn that is no answer; Harmony's own tools write contents as a list of one text."""
    content = turn.get("content", turn.get("value"))
    text = "" if is_missing(content) else reasoning_text(content)
    if text is None:
        said = "the content of {turn} must be text where it is reasoning or a call"
        raise RowError(said, "content that is no text", "content", "text, or a list of text parts")
    return text


def with_thoughts(messages: Iterable[Message]) -> list[Message]:
    """The messages, each with what was only thought before it; not where one of the two is context and the other is learnt."""
    found: list[Message] = []
    for message in messages:
        if found and message["role"] == "assistant" and _only_thinks(found[-1]):
            thought = found[-1]
            if thought.get("weight") == message.get("weight"):
                texts = (thought["reasoning_content"], message.get("reasoning_content", ""))
                message = {**message, "reasoning_content": "\n".join(filter(None, texts))}
                found.pop()
        found.append(message)
    return found


def _only_thinks(message: Message) -> bool:
    return not message["content"] and "reasoning_content" in message and message.keys() <= _THOUGHT
