"""The four row formats, and their conversion to canonical turns.

========================  ==========================================================================================
``messages``              field ``messages``: a list of turns (OpenAI chat); optional ``system``
``sharegpt``              field ``conversations``: a list of turns; optional ``system``
``alpaca``                ``instruction``, ``output`` (or ``response``); optional ``input`` (or ``context``), ``system``,
                          ``reasoning_content`` and ``history`` (pairs of user and assistant texts, oldest first)
``prompt-completion``     ``prompt`` with ``completion`` or ``response``, or ``question`` with ``answer`` (no options);
                          strings, or lists of turns; optional ``system`` and, of an answer, ``reasoning_content``
========================  ==========================================================================================

A turn is an object with ``role`` and ``content`` or with ``from`` and ``value``. The canonical roles are ``system``,
``user``, ``assistant`` and ``tool``. Containers without nesting (CSV) hold lists as JSON strings; where a string may stand
instead, JSON that is no list of turns is that string. A text of nothing but white space and characters that show nothing (zero-width spaces, byte order marks, variation selectors, …) is empty, and
a number that is none (NaN, infinity: what tables hold where a value is missing) is no value. Other names of these
fields are recognized by ``columns``, which gives the rows the names above.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from autoselection.conversation import Conversation, Message
from autoselection.pool.reasoning import is_repeated
from autoselection.pool.row_error import RowError, within
from autoselection.pool.tools import TOOL_FIELDS, declared_tools
from autoselection.pool.turns import Reading, as_context, holds_turns, system_text, turns_of
from autoselection.pool.values import (
    field_list,
    from_json,
    is_blank,
    is_missing,
    kind_of,
    optional_text,
    required_text,
)

RowFormat = Literal["messages", "sharegpt", "alpaca", "prompt-completion"]

_MESSAGES_USED, _SHAREGPT_USED = frozenset(("messages", "system")), frozenset(("conversations", "system"))
_PAIRS = (("prompt", "completion"), ("prompt", "response"), ("question", "answer"))
#: The fields without which a row is not of a format, by format: of one of these lines all.
NEEDED: Mapping[RowFormat, tuple[tuple[str, ...], ...]] = {
    "messages": (("messages",),),
    "sharegpt": (("conversations",),),
    "alpaca": (("instruction", "output"), ("instruction", "response")),
    "prompt-completion": _PAIRS,
}
#: What was thought before an answer that is a text of its own.
_REASONING = "reasoning_content"
_PAIRED = "must be a list of [user, assistant] pairs"
_OPTION_FIELDS = ("choices", "options")


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


def text_fields(row_format: str, record: Mapping[str, Any]) -> dict[str, str]:
    """The fields that hold the texts of a row of a pair's format, by their roles in a map; none of a format of turns."""
    if row_format == "alpaca":
        answer, given = _first_present(record, "output", "response"), _first_present(record, "input", "context")
        fields = {"prompt": "instruction", "input": given, "response": answer, "history": "history"}
    elif row_format == "prompt-completion" and (pair := _pair(record)) is not None:
        fields = {"prompt": pair[0], "response": pair[1]}
    else:
        return {}
    fields |= {"reasoning": _REASONING, "system": "system"}
    return {role: name for role, name in fields.items() if not is_missing(record.get(name))}


def convert(row_format: RowFormat, record: Mapping[str, Any], reading: Reading) -> tuple[Conversation, frozenset[str]]:
    """Convert one row to a conversation.

    Args:
        row_format: how to read the row.
        record: the row's fields.
        reading: how; counts what is not kept.

    Returns:
        The conversation, and the names of the fields it was made from.

    Raises:
        RowError: a field is missing, empty or of the wrong type, or nobody asks or answers, or an answer comes first.
    """
    problem: RowError | None = None
    try:
        tools, tools_field = _tools(record, reading)
    except RowError as error:  # a column of the user's own, unless the row calls tools
        problem, tools, tools_field = error, None, None
    if row_format == "messages":
        used = _MESSAGES_USED
        turns = _with_system(record, turns_of(record, "messages", reading), reading)
    elif row_format == "sharegpt":
        used = _SHAREGPT_USED
        turns = _with_system(record, turns_of(record, "conversations", reading), reading)
    elif row_format == "alpaca":
        turns, used = _alpaca(record, reading)
    else:
        turns, used = _prompt_completion(record, reading)
    _check(turns, reading)
    if problem is not None and any(turn["role"] == "tool" or "tool_calls" in turn for turn in turns):
        raise problem
    return Conversation(turns, tools), used if tools_field is None else used | {tools_field}


def _tools(record: Mapping[str, Any], reading: Reading) -> tuple[str | None, str | None]:
    """The tools that a row declares, and the field that does."""
    reading.parameters = {}
    for name in TOOL_FIELDS:
        if name not in record or is_missing(value := record[name]):
            continue
        try:
            tools, reading.parameters = declared_tools(value, filled=reading.is_filled(name))
        except RowError as error:
            raise within(RowError(f"field '{name}': {error}", error.kind, error.field, error.hint), name) from error
        return tools, name
    return None, None


def _check(turns: Iterable[Message], reading: Reading) -> None:
    """Refuse a conversation that teaches nothing.

    Raises:
        RowError: nobody asks or answers, or an answer comes first, or none is learnt from.
    """
    first, roles, learnt = None, set(), False
    for turn in turns:
        role = turn["role"]
        roles.add(role)
        if role == "assistant" and "weight" not in turn:
            learnt = True
        if first is None and role != "system":
            first = role
    if "assistant" not in roles:
        hint = "`--map prompt=…,response=…` with the columns of the turns and of their answer, or a turn with the role assistant"
        raise RowError("there is no assistant turn", "no assistant turn", None, hint)
    if "user" not in roles:
        raise RowError(
            "there is no user turn", "no user turn", None, "a turn with the role user in front of the answer"
        )
    if first != "user" and not reading.assistant_opens:
        raise RowError(
            "the conversation opens with an answer that nobody asked for (--assistant-opens keeps such rows; in a configuration: pool.ingest.assistant_opens)",
            "answer that nobody asked for",
            None,
            "`--assistant-opens`",
        )
    if not learnt:
        raise RowError(
            "no answer of the row is learnt from: all have the weight 0",
            "no answer with a weight",
            None,
            "an answer without the weight 0",
        )


def _alpaca(record: Mapping[str, Any], reading: Reading) -> tuple[list[Message], frozenset[str]]:
    answer_field = _first_present(record, "output", "response")
    input_field = _first_present(record, "input", "context")
    question = [text for text in (optional_text(record, "instruction"), optional_text(record, input_field)) if text]
    if not question:
        raise RowError(
            "field 'instruction' is missing or empty",
            "field missing or empty",
            "instruction",
            "text that shows something",
        )
    turns = history_turns(record.get("history"))
    turns.append({"role": "user", "content": "\n".join(question)})
    turns.append(_answer(record, answer_field, reading))
    used = frozenset(("instruction", input_field, answer_field, _REASONING, "system", "history"))
    return _with_system(record, turns, reading), used


def _first_present(record: Mapping[str, Any], name: str, other: str) -> str:
    return other if is_missing(record.get(name)) and not is_missing(record.get(other)) else name


def history_turns(value: Any) -> list[Message]:
    """The turns of a list of [user, assistant] pairs, also as JSON text.

    Raises:
        RowError: it is something else.
    """
    value = from_json(value, "history")
    turns: list[Message] = []
    if is_missing(value) or not value:
        return turns
    if not isinstance(value, list):
        raise RowError(f"field 'history' {_PAIRED}", f"history that is {kind_of(value)}", "history")
    for number, pair in enumerate(value, start=1):
        where = f"history[{number - 1}]"
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise RowError(
                f"entry {number} of 'history' must be a [user, assistant] pair of strings", "no pair of texts", where
            )
        if is_blank(pair[0]) or is_blank(pair[1]):
            raise RowError(f"entry {number} of 'history' has an empty text", "pair with an empty text", where)
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


def _prompt_completion(record: Mapping[str, Any], reading: Reading) -> tuple[list[Message], frozenset[str]]:
    pair = _pair(record)
    if pair is None:
        for prompt, completion in _PAIRS:
            if prompt in record and completion in record and not any(name in record for name in _OPTION_FIELDS):
                missing = next(name for name in (prompt, completion) if is_missing(record[name]))
                raise RowError(
                    f"field '{missing}' is missing or empty",
                    "field missing or empty",
                    missing,
                    "text that shows something",
                )
        known = ", ".join(f"'{prompt}' and '{completion}'" for prompt, completion in _PAIRS)
        raise RowError(
            f"fields are missing or null: expected {known} (without options), found {field_list(record)}",
            "fields missing",
            None,
            "`--map prompt=…,response=…` with the columns' names",
        )
    turns: list[Message] = []
    for name, role in zip(pair, ("user", "assistant"), strict=True):
        if _is_list_of_turns(record[name]):
            found = turns_of(record, name, reading)
            turns += as_context(found) if role == "user" else found
        elif role == "assistant":
            turns.append(_answer(record, name, reading))
        else:
            turns.append({"role": role, "content": required_text(record, name)})
    used = (*pair, "system") if _is_list_of_turns(record[pair[1]]) else (*pair, _REASONING, "system")
    return _with_system(record, turns, reading), frozenset(used)


def _is_list_of_turns(value: Any) -> bool:
    return isinstance(value, list) or (isinstance(value, str) and holds_turns(value))


def _answer(record: Mapping[str, Any], name: str, reading: Reading) -> Message:
    turn: Message = {"role": "assistant", "content": required_text(record, name)}
    reasoning = optional_text(record, _REASONING)
    if reasoning is None or is_repeated(_REASONING, reasoning, turn["content"], reading.ignored):
        return turn
    return {**turn, "reasoning_content": reasoning}


def _with_system(record: Mapping[str, Any], turns: list[Message], reading: Reading) -> list[Message]:
    value = system_text(record.get("system"), reading)
    if value is None:
        return turns
    if turns and turns[0]["role"] == "system":
        if turns[0]["content"] == value:
            return turns
        raise RowError(
            "field 'system' and the first turn give two different system prompts",
            "two system prompts",
            "system",
            "one of the two",
        )
    return [{"role": "system", "content": value}, *turns]
