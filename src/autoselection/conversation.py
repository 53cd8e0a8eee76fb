"""The canonical conversation: what a pool holds a row, what encoders render and exports write.

A message has ``role`` (system, user, assistant or tool) and ``content`` (text; "" where an assistant only calls tools),
and further keys only where the row has them, so that plain rows are plain dictionaries of two keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict


class ToolCall(TypedDict, total=False):
    """One call that an assistant makes.

    Attributes:
        id: by which its result names it; absent where the data has none.
        name: of the function.
        arguments: JSON text, as ``json.dumps(…, ensure_ascii=False)`` writes it; text that is not JSON as it came.
    """

    id: str
    name: str
    arguments: str


class _Spoken(TypedDict):
    role: str
    content: str


class Message(_Spoken, total=False):
    """One turn.

    Attributes:
        reasoning_content: what an assistant thought before it answered or called.
        tool_calls: the calls of an assistant, in order.
        tool_call_id: of a tool's result: the call that it answers.
        name: of the speaker, or of the tool that a result comes from.
        weight: 0 where an assistant's turn is context only; absent where it is learnt from.
    """

    reasoning_content: str
    tool_calls: list[ToolCall]
    tool_call_id: str
    name: str
    weight: int


@dataclass(frozen=True)
class Conversation:
    """One row.

    Attributes:
        messages: the turns, in order.
        tools: JSON text of the list of declared tools, each ``{"type": "function", "function": {…}}``; None without.
    """

    messages: Sequence[Message]
    tools: str | None = None


def turn_pieces(message: Message) -> list[str]:
    """The texts of a turn, in order and without empty ones: its reasoning, its content, and each call as name and arguments."""
    pieces = [message.get("reasoning_content", ""), message["content"]]
    pieces += [f"{call['name']} {call['arguments']}" for call in message.get("tool_calls", ())]
    return [piece for piece in pieces if piece]


def turn_text(message: Message) -> str:
    r"""All that a turn says: its content, behind its reasoning and before its calls, where it has them, joined by ``\n``."""
    return message["content"] if len(message) == 2 else "\n".join(turn_pieces(message))
