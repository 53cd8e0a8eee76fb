"""Conversations as lists without roles, or with parts of them in other columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from autoselection.pool.dialects.base import Dialect, is_json, nested
from autoselection.pool.json_reader import Record
from autoselection.pool.row_error import RowError
from autoselection.pool.turns import as_context, holds_turns, raw_turns, weights_of
from autoselection.pool.values import from_json, is_missing, peeked, required_text


def _texts_field(record: Record, names: Iterable[str]) -> str | None:
    """The first of these fields that holds texts in turn."""
    for name in names:
        value = peeked(record.get(name))
        if isinstance(value, list) and len(value) > 1 and all(isinstance(text, str) for text in value):
            return name
    return None


def _in_turn(texts: Iterable[Any]) -> list[dict[str, Any]]:
    return [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(texts)]


def _texts_dialect(name: str, over: str | None, *fields: str) -> Dialect:
    """A dialect of rows whose turns are texts, question and answer in turn, in the first of ``fields`` that a row has."""

    def rewrite(record: Record, ignored: Counter[str]) -> Record:
        found = _texts_field(record, fields) or dialect.turns_field(record)
        return {"messages": _in_turn(raw_turns(record.get(found), found)), "system": record.get("system")}

    dialect = Dialect(
        name,
        fields[0],
        frozenset((*fields, "system")),
        lambda record: _texts_field(record, fields) is not None,
        rewrite,
        over=frozenset(() if over is None else (over,)),
        aliases=fields[1:],
    )
    return dialect


ULTRACHAT = _texts_dialect("ultrachat", None, "data")
TEXTS = _texts_dialect("texts", "sharegpt", "conversations", "conversation")


def _turn_pairs_field(record: Record) -> str | None:
    for name in ("conversation", "conversations"):
        value = peeked(record.get(name))
        if (
            isinstance(value, list)
            and value
            and all(isinstance(pair, dict) and {"input", "output"} <= set(pair) for pair in value)
        ):
            return name
    return None


def _turn_pairs(record: Record, ignored: Counter[str]) -> Record:
    name = _turn_pairs_field(record)
    if name is None:
        raise RowError(
            "field 'conversation' must be a list of objects with 'input' and 'output'",
            "no list of objects",
            "conversation",
        )
    turns = []
    for pair in from_json(record[name], name):
        weights = weights_of(pair)
        turns.append({"role": "user", "content": pair["input"]})
        turns.append({"role": "assistant", "content": pair["output"], **weights})
        for field, value in pair.items():
            if field not in ("input", "output", *weights) and value is not None:
                ignored[field] += 1
    return {"messages": turns, "system": record.get("system")}


TURN_PAIRS = Dialect(
    "turn-pairs",
    "conversation",
    frozenset(("conversation", "conversations", "system")),
    lambda record: _turn_pairs_field(record) is not None,
    _turn_pairs,
    over=frozenset(("sharegpt",)),
    aliases=("conversations",),
)


def _turns_or_text(record: Record, name: str) -> Any:
    """The turns of a field that may hold a text instead, which may look like JSON too."""
    value = record.get(name)
    return nested(record, name) if isinstance(value, str) and holds_turns(value) else value


def _is_nemotron(record: Record) -> bool:
    asked = record.get("input")
    if is_missing(asked) or not isinstance(record.get("output"), str) or not is_missing(record.get("instruction")):
        return False
    if isinstance(asked, str):
        return isinstance(record.get("system_prompt"), str) or holds_turns(asked)
    return isinstance(asked, list)


def _nemotron(record: Record, ignored: Counter[str]) -> Record:
    asked = _turns_or_text(record, "input")
    if is_missing(asked):
        raise RowError("field 'input' is missing or empty", "field missing or empty", "input")
    turns = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
    if not isinstance(turns, list):
        raise RowError("field 'input' must be a text or a list of turns", "no turns", "input")
    system = record.get("system")
    system = record.get("system_prompt") if is_missing(system) else system
    return {
        "messages": [*as_context(turns), {"role": "assistant", "content": required_text(record, "output")}],
        "system": system,
        "tools": record.get("tools"),
    }


NEMOTRON = Dialect(
    "input-output",
    "input",
    frozenset(("input", "output", "system", "system_prompt", "tools")),
    _is_nemotron,
    _nemotron,
    systems=("system", "system_prompt"),
)


def _is_smoltalk(record: Record) -> bool:
    # Recognized by the column, not by what it holds: the first rows of a file may have nothing in it.
    given = record.get("chat_template_kwargs")
    return "chat_template_kwargs" in record and "messages" in record and (is_missing(given) or is_json(given, "{"))


def _smoltalk(record: Record, ignored: Counter[str]) -> Record:
    """What the data's authors give their template besides the messages: tools, and instructions of the system."""
    if is_missing(record.get("chat_template_kwargs")):
        return record
    given: Mapping[str, Any] = nested(record, "chat_template_kwargs")
    if not isinstance(given, Mapping):
        raise RowError("field 'chat_template_kwargs' must be an object", "no object", "chat_template_kwargs")
    row = dict(record)
    tools = given.get("xml_tools")
    if not is_missing(tools) and tools:
        row["tools"] = (
            [nested({"xml_tools": tool}, "xml_tools") for tool in tools] if isinstance(tools, list) else tools
        )
    if given.get("python_tools"):
        ignored["python_tools (signatures, not JSON definitions)"] += 1
    instructions = given.get("custom_instructions")
    if isinstance(instructions, str) and instructions.strip() and is_missing(row.get("system")):
        row["system"] = instructions
    return row


SMOLTALK = Dialect(
    "smoltalk",
    "messages",
    frozenset(("messages", "system", "tools")),  # chat_template_kwargs stays a column: it says more (enable_thinking)
    _is_smoltalk,
    _smoltalk,
    over=frozenset(("messages",)),
    systems=("system", "chat_template_kwargs.custom_instructions"),
)


#: Columns of a question, the reasoning and the answer: of OpenThoughts, s1K-1.1, s1K, medical-o1 and R1's distillates.
_REASONED = (
    ("problem", "deepseek_reasoning", "deepseek_solution"),
    ("question", "deepseek_thinking_trajectory", "deepseek_attempt"),
    ("question", "thinking_trajectories", "attempt"),
    ("Question", "Complex_CoT", "Response"),
    ("input", "reasoning_content", "content"),
)


def _reasoned_fields(record: Record) -> tuple[str, str, str] | None:
    return next((names for names in _REASONED if not any(is_missing(record.get(name)) for name in names)), None)


def _reasoned(record: Record, ignored: Counter[str]) -> Record:
    names = _reasoned_fields(record)
    if names is None:
        known = "; ".join(", ".join(repr(name) for name in names) for names in _REASONED)
        raise RowError(
            f"a field of a question, its reasoning or its answer is missing: expected {known}", "fields missing"
        )
    question, reasoning, answer = (record[name] for name in names)
    reasoning = peeked(reasoning)
    if isinstance(reasoning, list):
        ignored["reasonings behind the first"] += max(len(reasoning) - 1, 0)
        reasoning = reasoning[0] if reasoning else None
    turn = {"role": "assistant", "content": answer, "reasoning_content": reasoning}
    return {"messages": [{"role": "user", "content": question}, turn], "system": record.get("system")}


REASONED = Dialect(
    "reasoned",
    "reasoning",
    frozenset(name for names in _REASONED for name in names) | {"system"},
    lambda record: _reasoned_fields(record) is not None,
    _reasoned,
    over=frozenset(("prompt-completion",)),
)
