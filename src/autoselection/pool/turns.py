"""Lists of turns, as chat formats write them, and the canonical messages that they are.

A turn is an object with ``role`` and ``content`` or with ``from`` and ``value``. Besides these it may have what
:class:`~autoselection.conversation.Message` holds, under its usual names; other fields are counted, not kept.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoselection.conversation import Message, ToolCall
from autoselection.pool.channels import has_channels, with_thoughts, without_channel
from autoselection.pool.json_reader import TEXT_DECODER
from autoselection.pool.reasoning import REASONING_PARTS, pop_reasoning, reasoning_part
from autoselection.pool.row_error import RowError, within
from autoselection.pool.tools import Parameters, calls_of, id_text, json_text, without_nulls
from autoselection.pool.values import from_json, is_blank, is_missing, kind_of, peeked, transposed

#: Role spellings found in the wild, and the canonical role of each.
ROLES: Mapping[str, str] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "ai": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "ipython": "tool",
    "tool_response": "tool",
    "function_response": "tool",
}
#: Roles of most turns.
_USUAL_ROLES = frozenset({"system", "user", "assistant", "human", "gpt", "tool"})
#: Roles whose text is a call, or a list of calls, as JSON.
CALL_ROLES = frozenset({"function_call", "tool_call"})

#: Where a turn may say whether it is learnt from: 1 or true, 0 or false. A ``loss`` that is a number was measured.
_WEIGHT_FIELDS = ("weight", "train", "loss")
CALL_FIELDS = ("tool_calls", "function_call")
#: Key of a turn beside ``from`` and ``value``: JSON text of the list of messages that it stands for, or "" if these two tell all.
MESSAGES_KEY = "messages"
_TURN_FIELDS = frozenset({"role", "content", "from", "value"})
#: Fields of which a turn has at least one.
_SAID = frozenset({"content", "value", *CALL_FIELDS})
_TEXT_PARTS = ("text", "output_text", "input_text")
#: Thoughts before a call, which stay text.
_THOUGHTS = re.compile(r"\s*(<think>.*?</think>)\s*(?=[\[{])", re.DOTALL)


@dataclass
class Reading:
    """How the rows of a file are read, and what of the row at hand is not kept.

    Attributes:
        ignored: counts, by name, the fields of turns that are not kept, and system prompts without text.
        assistant_opens: conversations that the assistant begins are taken.
        filled: the columns whose objects have all keys that any of them has, so that nulls in them say nothing.
        columns: what the fields of the row at hand are called in the file, where that is something else.
        parameters: of the tools that the row at hand declares.
    """

    ignored: Counter[str] = field(default_factory=Counter)
    assistant_opens: bool = False
    filled: frozenset[str] = frozenset()
    columns: Mapping[str, str] = field(default_factory=dict)
    parameters: Parameters = field(default_factory=dict)

    def is_filled(self, name: str) -> bool:
        """Whether nulls say nothing in a field of the row at hand."""
        return bool(self.filled) and self.columns.get(name, name) in self.filled


def raw_turns(value: Any, name: str) -> list[Any]:
    """The items of a field that holds a list, a dictionary of lists, or the text of either.

    Raises:
        RowError: it is something else, or empty.
    """
    value = from_json(value, name)
    if isinstance(value, dict):
        items = transposed(value)
        if items is None:
            raise _no_turns(name, "not a list but an object", "turns that are an object")
        value = items
    if is_missing(value):
        raise _no_turns(name, "missing", "turns missing")
    if not isinstance(value, list):
        raise _no_turns(name, f"not a list but {kind_of(value)}", f"turns that are {kind_of(value)}")
    if not value:
        raise _no_turns(name, "empty", "empty list of turns")
    return value


def turns_of(record: Mapping[str, Any], name: str, reading: Reading) -> list[Message]:
    """The messages of a field that holds a list of turns, a dictionary of lists, or either as JSON text.

    System prompts without text are left out and counted.

    Raises:
        RowError: it is something else, or a turn is none.
    """
    value = raw_turns(record.get(name), name)
    turns: list[Message] = []
    filled = reading.is_filled(name)
    channels = has_channels(value)
    for number, item in enumerate(value):
        message = _plain(item)
        if message is not None:
            turns.append(message)
            continue
        try:
            stated = _stated(item)
            if channels:
                stated = [without_channel(one, _canonical(one)) for one in stated]
            messages = [_message(one, reading, filled, turns) for one in stated]
        except RowError as error:
            place = f"turn {number + 1} of '{name}'"
            said = RowError(str(error).replace("{turn}", place), error.kind, error.field, error.hint)
            raise within(said, f"{name}[{number}]") from error
        turns += [message for message in messages if message is not None]
    return with_thoughts(turns) if channels else turns


def as_context(turns: Iterable[Any]) -> list[Any]:
    """The turns of a prompt: its answers have no loss, for only the completion is learnt, as TRL trains it."""
    return [
        {**{name: value for name, value in turn.items() if not _is_weight(name, value)}, "weight": 0}
        if _canonical(turn) == "assistant"
        else turn
        for turn in turns
    ]


def weights_of(turn: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a turn that say whether it is learnt from."""
    return {name: value for name, value in turn.items() if not is_missing(value) and _is_weight(name, value)}


def _is_weight(name: str, value: Any) -> bool:
    return name in _WEIGHT_FIELDS and (name != "loss" or isinstance(value, bool))


def system_text(value: Any, reading: Reading) -> str | None:
    """A system prompt beside the turns: text, parts of the type text, or a turn, also as JSON text; None if it shows nothing.

    Raises:
        RowError: it is something else.
    """
    given = peeked(value)
    if isinstance(given, dict) and _canonical(given) == "system":
        given = given.get("content", given.get("value"))
    elif isinstance(value, str) and not (isinstance(given, list) and _are_texts(given)):
        given = value  # text that looks like data
    if is_missing(given):
        return None
    if not isinstance(given, str) and not (isinstance(given, list) and all(isinstance(part, dict) for part in given)):
        said = f"field 'system' must be a string, not {kind_of(value)}"
        raise RowError(said, f"text that is {kind_of(value)}", "system", "text, or a list of text parts")
    message: Message = {"role": "system", "content": given}  # type: ignore[typeddict-item]
    try:
        _set_content(message, False, reading.ignored)
    except RowError as error:
        said = (
            str(error).replace("the content of {turn}", "field 'system'").replace("{turn} (system)", "field 'system'")
        )
        raise RowError(said, error.kind, "system", error.hint) from error
    if is_blank(message["content"]):
        if given:
            reading.ignored["empty system prompt"] += 1
        return None
    return message["content"]


def _are_texts(parts: list[Any]) -> bool:
    return bool(parts) and all(
        isinstance(part, dict) and part.get("type") in _TEXT_PARTS and isinstance(part.get("text"), str)
        for part in parts
    )


def holds_turns(value: Any) -> bool:
    """Whether a value is a list of turns, or the text of one. Other data in a text is what the text is about."""
    value = peeked(value)  # a key that stands twice is refused by who reads the turns
    return isinstance(value, list) and bool(value) and is_turn(value[0]) and all(_role_of(item) for item in value)


def is_turn(value: Any) -> bool:
    """Whether a value is an object with a known role and something that it says or calls."""
    return _canonical(value) is not None and not value.keys().isdisjoint(_SAID)


def _role_of(item: Any) -> str | None:
    role = item.get("role", item.get("from")) if isinstance(item, dict) else None
    return role if isinstance(role, str) else None


def _canonical(item: Any) -> str | None:
    """The canonical role of a turn; None if it has none that is known."""
    return ROLES.get((_role_of(item) or "").strip().lower())


def _stated(item: Any) -> list[Any]:
    """The turns that a turn stands for: itself, or the messages that an export to ShareGPT put beside its text."""
    text = item.get(MESSAGES_KEY) if isinstance(item, dict) else None
    if not isinstance(text, str):
        return [item]
    try:
        value = TEXT_DECODER.decode(text) if text else []
    except (ValueError, RecursionError):
        return [item]
    if not isinstance(value, list):
        return [item]
    return value or [{key: held for key, held in item.items() if key != MESSAGES_KEY}]


def _no_turns(name: str, found: str, kind: str) -> RowError:
    hint = 'a list such as [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]'
    return RowError(f"field '{name}' is {found}; expected a list of turns", kind, name, hint)


def _plain(item: Any) -> Message | None:
    """A turn that is a text with a usual role and nothing else, as most are; None if it has to be looked at."""
    if type(item) is not dict or len(item) != 2:
        return None
    role, content = (item.get("role"), item["content"]) if "content" in item else (item.get("from"), item.get("value"))
    if type(content) is not str or type(role) is not str or role not in _USUAL_ROLES or not content[:1].isalnum():
        return None
    return {"role": ROLES[role], "content": content}


def _message(item: Any, reading: Reading, filled: bool, before: Sequence[Message]) -> Message | None:
    """One turn, behind those ``before``; None if it is a system prompt without text.

    ``{turn}`` in the reason of a refusal stands for its place.
    """
    if not isinstance(item, dict):
        raise RowError(
            f"{{turn}} must be an object, not {kind_of(item)}", "not a turn", None, "an object with role and content"
        )
    role, content = item.get("role"), item.get("content")
    if role is None or (content is None and "content" not in item):  # "role" and "value" are seen too
        role = item.get("from") if role is None else role
        content = item.get("value") if content is None else content
    canonical = ROLES.get(role) if isinstance(role, str) else None
    if canonical is None:
        role = _spelled(role)
        canonical = ROLES[role]
    message: Message = {"role": canonical, "content": content}  # type: ignore[typeddict-item]
    if len(item) > 2 or role in CALL_ROLES or not isinstance(content, str):
        _complete(message, item, role, reading, filled, before)
    if not is_blank(message["content"]):
        return message
    if canonical == "system":
        reading.ignored["empty system prompt"] += 1
        return None
    # A tool may have nothing to say, and who calls a tool or only thinks says nothing.
    if canonical == "tool" or "tool_calls" in message or "reasoning_content" in message:
        message["content"] = ""
        return message
    if is_missing(content):
        raise RowError("{turn} has no content (field 'content' or 'value')", "turn without content", "content", "text")
    raise RowError(
        f"{{turn}} ({canonical}) has no text", f"{canonical} turn without text", "content", "text that shows something"
    )


def _spelled(role: Any) -> str:
    if not isinstance(role, str):
        raise RowError(
            "{turn} has no role (field 'role' or 'from')",
            "turn without role",
            "role",
            "role or from, such as user and assistant",
        )
    spelled = role.strip().lower()
    if spelled not in ROLES:
        raise RowError(
            f"{{turn}} has the unknown role {role[:40]!r}",
            "unknown role",
            "role",
            f"one of the roles {', '.join(ROLES)}",
        )
    return spelled


def _complete(
    message: Message,
    item: Mapping[str, Any],
    role: Any,
    reading: Reading,
    filled: bool,
    before: Sequence[Message],
) -> None:
    """Fill a message in: its content, where that is more than a text, and its other fields."""
    answers = message["role"] == "assistant"
    calls: list[ToolCall] = []
    if role in CALL_ROLES:
        message["content"], calls = _called(message["content"], role, reading, filled)
    reasoning = _set_content(message, filled, reading.ignored)
    rest = {name: value for name, value in item.items() if name not in _TURN_FIELDS and not is_missing(value)}
    for name in CALL_FIELDS:
        value = rest.pop(name, None)
        if value and not answers:
            said = f"{{turn}} ({message['role']}) has '{name}', which only an assistant makes"
            raise RowError(said, "calls of no assistant", name, "the role assistant")
        if value:
            calls = _joined_calls(calls, _of_field(name, value, reading, filled), name)
    if answers:
        reasoning = pop_reasoning(rest, reasoning, message["content"], reading.ignored)
        if _pop_weight(rest) == 0:
            message["weight"] = 0
    if reasoning:
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = calls
    if message["role"] == "tool":
        try:
            identity = _pop_answered(rest, before)
        except RowError as error:
            raise RowError(f"{{turn}}: {error}", error.kind, error.field) from error
        if identity is not None:
            message["tool_call_id"] = identity
    if isinstance(rest.get("name"), str):
        name = rest.pop("name")
        if name.strip():
            message["name"] = name
    reading.ignored.update(rest.keys())


def _pop_answered(rest: dict[str, Any], before: Sequence[Message]) -> str | None:
    """The id of the call that a tool's turn answers, taken out of ``rest``: its own id too, where a call before has it."""
    identity = id_text(rest.pop("tool_call_id", None), "tool_call_id")
    several = rest.get("tool_call_ids")
    if isinstance(several, list) and len(several) == 1:
        only = id_text(several[0], "tool_call_ids")
        if identity in (None, only):
            identity = only
            del rest["tool_call_ids"]
    own = rest.get("id")
    if (
        identity is None
        and isinstance(own, (str, int))
        and any(call.get("id") == str(own) for turn in before for call in turn.get("tool_calls", ()))
    ):
        identity = str(own)
        del rest["id"]
    return identity


def _joined_calls(said: list[ToolCall], found: list[ToolCall], name: str) -> list[ToolCall]:
    """The calls of a turn that says them in several places: one that stands in ``tool_calls`` too is that one, with its id."""
    first, second = (found, said) if name == "tool_calls" else (said, found)
    known = {(call["name"], call["arguments"]) for call in first}
    others = [call for call in second if (call["name"], call["arguments"]) not in known]
    return [*others, *first] if name == "tool_calls" else [*first, *others]


def _of_field(name: str, value: Any, reading: Reading, filled: bool) -> list[ToolCall]:
    try:
        return calls_of(value, reading.parameters, reading.ignored, filled=filled)
    except RowError as error:
        said = RowError(f"'{name}' of {{turn}}: {error}", error.kind, error.field, error.hint)
        raise within(said, name) from error


def _pop_weight(rest: dict[str, Any]) -> int:
    """0 if a turn is context only, else 1; the fields that say it are taken out of ``rest``."""
    said: dict[str, int] = {}
    for name, value in weights_of(rest).items():
        del rest[name]
        if not isinstance(value, (bool, int, float)) or value not in (0, 1):
            reason = f"{{turn}} has the {name} {str(value)[:40]!r}, which is neither 0 (context only) nor 1"
            raise RowError(reason, "weight that is neither 0 nor 1", name, "0 or 1, false or true")
        said[name] = int(value)
    if len(set(said.values())) > 1:
        raise RowError(f"{{turn}} has fields that contradict each other: {', '.join(said)}", "weights that contradict")
    return min(said.values(), default=1)


def _called(value: Any, role: str, reading: Reading, filled: bool) -> tuple[Any, list[ToolCall]]:
    """Content and calls of a turn whose text is a call; text that is none stays text and is counted."""
    before, text = "", value
    if isinstance(value, str):
        thoughts = _THOUGHTS.match(value)
        if thoughts is not None:
            before, text = thoughts[1], value[thoughts.end() :]
    ignored: Counter[str] = Counter()
    try:
        calls = calls_of(text, reading.parameters, ignored, filled=filled)
    except RowError:
        calls = []
    if calls:
        reading.ignored.update(ignored)
        return before, calls
    if value and not is_missing(value):
        reading.ignored[f"text of {role} turns that is no call as JSON (kept as text)"] += 1
    return value, []


def _set_content(message: Message, filled: bool, ignored: Counter[str]) -> str:
    """Make a message's content a text; returns the reasoning that was among its parts."""
    content: Any = message["content"]
    if isinstance(content, str):
        return ""
    if is_missing(content):
        message["content"] = ""
        return ""
    if isinstance(content, list) and not (message["role"] == "tool" and not _are_parts(content)):
        text, reasoning, behind = _joined(content)
        if reasoning and message["role"] != "assistant":
            said = f"{{turn}} ({message['role']}) has reasoning, which only an assistant has"
            raise RowError(said, "reasoning of no assistant", "content")
        message["content"] = text
        if behind:
            ignored["places of reasoning behind text (put in front of it)"] += behind
        return reasoning
    if message["role"] != "tool":
        said = f"the content of {{turn}} must be a string, not {kind_of(content)}"
        raise RowError(said, f"content that is {kind_of(content)}", "content", "text, or a list of text parts")
    message["content"] = json_text(without_nulls(content) if filled else content)
    return ""


def _are_parts(content: list[Any]) -> bool:
    return bool(content) and all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in content)


def _joined(content: list[Any]) -> tuple[str, str, int]:
    """Text and reasoning of content parts, if all of them are either, and how many of reasoning stand behind text.

    Texts are joined by nothing, as templates write them, and reasonings by line breaks.
    """
    texts, reasonings = [], []
    behind = 0
    for number, part in enumerate(content):
        if isinstance(part, str):
            texts.append(part)
            continue
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in _TEXT_PARTS and isinstance(part.get("text"), str):
            texts.append(part["text"])
            continue
        reasoning = reasoning_part(part) if kind in REASONING_PARTS else None
        if reasoning is None:
            said = f" but {kind[:40]!r}" if isinstance(kind, str) else ""
            reason = f"the content of {{turn}} has a part that is not text{said}"
            raise RowError(reason, "part that is not text", f"content[{number}]", "parts of the type text")
        reasonings.append(reasoning)
        behind += any(map(str.strip, texts)) and bool(reasoning.strip())
    return "".join(texts), "\n".join(reasonings), behind
