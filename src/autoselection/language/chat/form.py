"""Conversations in the form in which chat templates read them, and the marks by which row text is recognized in what
they write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from autoselection.conversation import Conversation, Message

Form = dict[str, Any]

#: Private-use characters around a number: no template writes them, and row text that has them is found by ``has_marks``.
_OPEN, _CLOSE = "\ue0f0", "\ue0f1"
MARK = re.compile(f"{_OPEN}(\\d+){_CLOSE}")


@dataclass(frozen=True)
class TemplateInput:
    """What a template is given.

    Attributes:
        messages: as ``apply_chat_template`` takes them.
        tools: definitions of tools, or None.
    """

    messages: list[Form]
    tools: list[Any] | None = None


def as_conversation(row: Conversation | Sequence[Message]) -> Conversation:
    """A row as a conversation; bare messages have no tools."""
    return row if isinstance(row, Conversation) else Conversation(row)


def template_input(conversation: Conversation, *, arguments_as_text: bool = False) -> TemplateInput:
    """A conversation as templates read it.

    Args:
        arguments_as_text: give the arguments of calls as JSON text; by default as objects, which most templates expect.
    """
    tools = None if conversation.tools is None else json.loads(conversation.tools)
    return TemplateInput([_form(message, arguments_as_text) for message in conversation.messages], tools or None)


def _form(message: Message, arguments_as_text: bool) -> Form:
    form: Form = {"role": message["role"], "content": message["content"]}
    if "reasoning_content" in message:
        form["reasoning_content"] = message["reasoning_content"]
    if calls := message.get("tool_calls"):
        form["tool_calls"] = [
            {
                "type": "function",
                **({"id": call["id"]} if "id" in call else {}),
                "function": {
                    "name": call["name"],
                    "arguments": call["arguments"] if arguments_as_text else _object(call["arguments"]),
                },
            }
            for call in calls
        ]
    for name in ("tool_call_id", "name"):
        if name in message:
            form[name] = message[name]
    return form


def _object(arguments: str) -> Any:
    """The object that a call's arguments spell; text that spells none as it is."""
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    return value if isinstance(value, dict) else arguments


def changed(given: TemplateInput, change: Callable[[str], str]) -> TemplateInput:
    """The same with every text of the row changed; roles and kinds are no text of the row."""
    return TemplateInput(
        [
            {key: value if key == "role" else _changed(value, change) for key, value in message.items()}
            for message in given.messages
        ],
        None if given.tools is None else _changed(given.tools, change),
    )


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(key): item if key == "type" else _changed(item, change) for key, item in value.items()}
    return [_changed(item, change) for item in value] if isinstance(value, list) else value


class Marker:
    """Puts marks in the place of control tokens that row text spells.

    Attributes:
        texts: what each mark stands for.
    """

    def __init__(self, control: re.Pattern[str]) -> None:
        self.texts: list[str] = []
        self._control = control

    def __call__(self, text: str) -> str:
        """The text with marks."""
        return self._control.sub(self._mark, text)

    def _mark(self, found: re.Match[str]) -> str:
        self.texts.append(found[0])
        return mark(len(self.texts) - 1)

    def restore(self, text: str) -> tuple[str, list[tuple[int, int]]]:
        """The text with what the marks stand for put back, and where in it that is."""
        pieces: list[str] = []
        spans: list[tuple[int, int]] = []
        done = length = 0
        for found in MARK.finditer(text):
            spelled = self.texts[int(found[1])]
            pieces += [text[done : found.start()], spelled]
            length += found.start() - done
            spans.append((length, length + len(spelled)))
            length += len(spelled)
            done = found.end()
        pieces.append(text[done:])
        return "".join(pieces), spans

    def place(self, text: str, position: int) -> int:
        """Where a position of the marked text is in the restored one."""
        shift = 0
        for found in MARK.finditer(text):
            if found.end() > position:
                break
            shift += len(self.texts[int(found[1])]) - len(found[0])
        return position + shift

    def origin(self, text: str, position: int) -> int:
        """Where a position of the restored text is in the marked one; behind a mark if it is within what that stands for."""
        shift = 0
        for found in MARK.finditer(text):
            if found.start() + shift >= position:
                break
            shift += len(self.texts[int(found[1])]) - len(found[0])
            if found.end() + shift >= position:
                return found.end()
        return position - shift


def mark(number: int) -> str:
    """A mark."""
    return f"{_OPEN}{number}{_CLOSE}"


def texts_of(given: TemplateInput) -> list[str]:
    """Every text of the row that a template can write."""
    found: list[str] = []

    def note(text: str) -> str:
        found.append(text)
        return text

    changed(given, note)
    return found


def has_marks(text: str) -> bool:
    """Whether row text holds the characters of marks."""
    return _OPEN in text or _CLOSE in text
