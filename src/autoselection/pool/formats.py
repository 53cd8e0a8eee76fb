"""The four row formats, and their conversion to canonical turns.

========================  ==========================================================================================
``messages``              field ``messages``: a list of turns (OpenAI chat); optional ``system``
``sharegpt``              field ``conversations``: a list of turns; optional ``system``
``alpaca``                ``instruction``, ``output`` (or ``response``); optional ``input`` (or ``context``), ``system``
                          and ``history`` (pairs of user and assistant texts, oldest first)
``prompt-completion``     ``prompt`` with ``completion`` or ``response``, or ``question`` with ``answer`` (no options);
                          strings, or lists of turns; optional ``system``
========================  ==========================================================================================

A turn is an object with ``role`` and ``content`` or with ``from`` and ``value``. The canonical roles are ``system``,
``user``, ``assistant`` and ``tool``. Containers without nesting (CSV) hold lists as JSON strings. A text of nothing but
white space and characters that show nothing (zero-width spaces, byte order marks, variation selectors, …) is empty, and
a number that is none (NaN, infinity: what tables hold where a value is missing) is no value. Other names of these
fields are told by ``columns``, which gives the rows the names above.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from autoselection.conversation import Conversation, Message
from autoselection.pool.json_reader import DECODER, KeyTwiceError
from autoselection.pool.row_error import RowError

RowFormat = Literal["messages", "sharegpt", "alpaca", "prompt-completion"]
FORMATS: tuple[RowFormat, ...] = ("messages", "sharegpt", "alpaca", "prompt-completion")

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
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "ipython": "tool",
    "tool_response": "tool",
    "function_response": "tool",
}

_TURN_FIELDS = frozenset({"role", "content", "from", "value"})
_CALL_FIELDS = ("tool_calls", "function_call")
_PAIRS = (("prompt", "completion"), ("prompt", "response"), ("question", "answer"))
_OPTION_FIELDS = ("choices", "options")


#: Text that shows nothing: white space, controls, format characters (Unicode Cf), and what else is ignored by default.
_BLANK = re.compile(
    "[\\s\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]*"
)


def is_blank(text: str) -> bool:
    """Whether a text shows nothing."""
    return _BLANK.fullmatch(text) is not None


def is_missing(value: Any) -> bool:
    """Whether a field holds no value: null, or a number that is none."""
    return value is None or (isinstance(value, (float, np.floating)) and not math.isfinite(value))


def matching_formats(record: Mapping[str, Any]) -> frozenset[RowFormat]:
    """The formats whose required fields ``record`` has (a missing value counts as absent)."""
    present = {name for name, value in record.items() if not is_missing(value)}
    found: set[RowFormat] = set()
    if "messages" in present:
        found.add("messages")
    if "conversations" in present:
        found.add("sharegpt")
    if "instruction" in present and present & {"output", "response"}:
        found.add("alpaca")
    if _pair(record) is not None:
        found.add("prompt-completion")
    return frozenset(found)


def convert(
    row_format: RowFormat, record: Mapping[str, Any], ignored: Counter[str], assistant_opens: bool = False
) -> tuple[Conversation, frozenset[str]]:
    """Convert one row to a conversation.

    Args:
        row_format: how to read the row.
        record: the row's fields.
        ignored: counts, by name, the fields of turns that are not kept (``name``, ``weight``, …) and, as
            ``empty system prompt``, system prompts without text.
        assistant_opens: take conversations that the assistant begins.

    Returns:
        The conversation, and the names of the fields it was made from.

    Raises:
        RowError: a field is missing, empty or of the wrong type, or nobody asks or answers, or an answer comes first.
    """
    if row_format == "messages":
        used = frozenset(("messages", "system"))
        turns = _with_system(record, _turns(record, "messages", ignored), ignored)
    elif row_format == "sharegpt":
        used = frozenset(("conversations", "system"))
        turns = _with_system(record, _turns(record, "conversations", ignored), ignored)
    elif row_format == "alpaca":
        turns, used = _alpaca(record, ignored)
    else:
        turns, used = _prompt_completion(record, ignored)
    roles = {turn["role"] for turn in turns}
    if "assistant" not in roles:
        raise RowError("there is no assistant turn")
    if "user" not in roles:
        raise RowError("there is no user turn")
    if not assistant_opens and next(role for turn in turns if (role := turn["role"]) != "system") != "user":
        raise RowError(
            "the conversation opens with an answer that nobody asked for (--assistant-opens keeps such rows; in a configuration: pool.ingest.assistant_opens)"
        )
    return Conversation(turns), used


def _alpaca(record: Mapping[str, Any], ignored: Counter[str]) -> tuple[list[Message], frozenset[str]]:
    answer_field = _first_present(record, "output", "response")
    input_field = _first_present(record, "input", "context")
    question = [text for text in (_optional(record, "instruction"), _optional(record, input_field)) if text]
    if not question:
        raise RowError("field 'instruction' is missing or empty")
    turns = _history(record.get("history"))
    turns.append({"role": "user", "content": "\n".join(question)})
    turns.append({"role": "assistant", "content": _required(record, answer_field)})
    used = frozenset(("instruction", input_field, answer_field, "system", "history"))
    return _with_system(record, turns, ignored), used


def _first_present(record: Mapping[str, Any], name: str, other: str) -> str:
    return other if is_missing(record.get(name)) and not is_missing(record.get(other)) else name


def _history(value: Any) -> list[Message]:
    value = _from_json(value, "history")
    turns: list[Message] = []
    if is_missing(value) or not value:
        return turns
    if not isinstance(value, list):
        raise RowError("field 'history' must be a list of [user, assistant] pairs")
    for number, pair in enumerate(value, start=1):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise RowError(f"entry {number} of 'history' must be a [user, assistant] pair of strings")
        if is_blank(pair[0]) or is_blank(pair[1]):
            raise RowError(f"entry {number} of 'history' has an empty text")
        turns += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return turns


def _pair(record: Mapping[str, Any]) -> tuple[str, str] | None:
    for prompt, completion in _PAIRS:
        if is_missing(record.get(prompt)) or is_missing(record.get(completion)):
            continue
        if prompt == "question" and any(not is_missing(record.get(name)) for name in _OPTION_FIELDS):
            continue  # multiple choice: the answer alone is an index or a letter, not a response
        return prompt, completion
    return None


def _prompt_completion(record: Mapping[str, Any], ignored: Counter[str]) -> tuple[list[Message], frozenset[str]]:
    pair = _pair(record)
    if pair is None:
        for prompt, completion in _PAIRS:
            if prompt in record and completion in record and not any(name in record for name in _OPTION_FIELDS):
                missing = next(name for name in (prompt, completion) if is_missing(record[name]))
                raise RowError(f"field '{missing}' is missing or empty")
        known = ", ".join(f"'{prompt}' and '{completion}'" for prompt, completion in _PAIRS)
        raise RowError(f"fields are missing or null: expected {known} (without options), found {field_list(record)}")
    turns: list[Message] = []
    for name, role in zip(pair, ("user", "assistant"), strict=True):
        if isinstance(record[name], list):
            turns += _turns(record, name, ignored)
        else:
            turns.append({"role": role, "content": _required(record, name)})
    return _with_system(record, turns, ignored), frozenset((*pair, "system"))


def _with_system(record: Mapping[str, Any], turns: list[Message], ignored: Counter[str]) -> list[Message]:
    value = record.get("system")
    if is_missing(value):
        return turns
    if not isinstance(value, str):
        raise RowError(f"field 'system' must be a string, not {_kind(value)}")
    if is_blank(value):
        if value:
            ignored["empty system prompt"] += 1
        return turns
    if turns and turns[0]["role"] == "system":
        if turns[0]["content"] == value:
            return turns
        raise RowError("field 'system' and the first turn give two different system prompts")
    return [{"role": "system", "content": value}, *turns]


def _turns(record: Mapping[str, Any], name: str, ignored: Counter[str]) -> list[Message]:
    value = _from_json(record.get(name), name)
    if isinstance(value, dict):
        value = _transposed(value, name)
    if not isinstance(value, list) or not value:
        found = "missing" if is_missing(value) else "empty" if value == [] else f"not a list but {_kind(value)}"
        raise RowError(f"field '{name}' is {found}; expected a list of turns")
    turns: list[Message] = []
    for number, item in enumerate(value, start=1):
        if not isinstance(item, dict):
            raise RowError(f"turn {number} of '{name}' must be an object, not {_kind(item)}")
        role, content = item.get("role"), item.get("content")
        if role is None or (content is None and "content" not in item):  # "role" and "value" are seen too
            role = item.get("from") if role is None else role
            content = item.get("value") if content is None else content
        canonical = ROLES.get(role) if isinstance(role, str) else None
        if canonical is None:
            canonical = _role(role, number, name)
        if len(item) > 2:
            _extra_fields(item, number, name, ignored)
        if not isinstance(content, str):
            content = _parts(content, number, name)
        if is_blank(content):
            if canonical == "system":
                ignored["empty system prompt"] += 1
                continue
            raise RowError(f"turn {number} of '{name}' ({canonical}) has no text")
        turns.append({"role": canonical, "content": content})
    return turns


def _role(role: Any, number: int, name: str) -> str:
    if not isinstance(role, str):
        raise RowError(f"turn {number} of '{name}' has no role (field 'role' or 'from')")
    canonical = ROLES.get(role.strip().lower())
    if canonical is None:
        raise RowError(f"turn {number} of '{name}' has the unknown role {role[:40]!r}")
    return canonical


def _extra_fields(item: Mapping[str, Any], number: int, name: str, ignored: Counter[str]) -> None:
    for field in _CALL_FIELDS:
        if item.get(field):
            raise RowError(
                f"turn {number} of '{name}' has structured '{field}', which a text pool cannot hold; render it into the content"
            )
    for field, value in item.items():
        if field not in _TURN_FIELDS and value is not None:
            ignored[field] += 1


def _parts(content: Any, number: int, name: str) -> str:
    """Join OpenAI content parts, if all of them are text."""
    if is_missing(content):
        raise RowError(f"turn {number} of '{name}' has no content (field 'content' or 'value')")
    if not isinstance(content, list):
        raise RowError(f"the content of turn {number} of '{name}' must be a string, not {_kind(content)}")
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
        if not isinstance(text, str):
            raise RowError(f"the content of turn {number} of '{name}' has a part that is not text")
        texts.append(text)
    return "".join(texts)


def _transposed(value: dict[str, Any], name: str) -> list[Any]:
    """Undo the dictionary of lists that Hugging Face makes of a sequence of objects."""
    columns = {key: column for key, column in value.items() if column is not None}
    lengths = {len(column) if isinstance(column, list) else -1 for column in columns.values()}
    if len(lengths) != 1 or -1 in lengths:
        raise RowError(f"field '{name}' is not a list but an object; expected a list of turns")
    return [dict(zip(columns, items, strict=True)) for items in zip(*columns.values(), strict=True)]


def _from_json(value: Any, name: str) -> Any:
    """Parse a nested value that its container holds as a JSON string."""
    if not isinstance(value, str) or not value.strip():
        return None if isinstance(value, str) else value
    try:
        return DECODER.decode(value.strip())
    except KeyTwiceError as error:
        raise RowError(f"field '{name}' is a JSON string in which {error}") from error
    except (ValueError, RecursionError) as error:
        raise RowError(f"field '{name}' is a string that is not valid JSON; expected a list") from error


def _optional(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    if is_missing(value):
        return None
    if not isinstance(value, str):
        raise RowError(f"field '{name}' must be a string, not {_kind(value)}")
    return None if is_blank(value) else value


def _required(record: Mapping[str, Any], name: str) -> str:
    text = _optional(record, name)
    if text is None:
        raise RowError(f"field '{name}' is missing or empty")
    return text


def _kind(value: Any) -> str:
    names = {"dict": "an object", "list": "a list", "str": "a string", "bool": "a boolean", "NoneType": "null"}
    return names.get(type(value).__name__, "a number" if isinstance(value, (int, float)) else type(value).__name__)


def field_list(names: Iterable[str], limit: int = 12) -> str:
    """Field names for an error message, quoted and cut to a readable length."""
    quoted = [repr(str(name)[:40]) for name in names]
    if not quoted:
        return "no fields"
    more = f" and {len(quoted) - limit} more" if len(quoted) > limit else ""
    return ", ".join(quoted[:limit]) + more
