"""Turns whose contents are typed blocks: those of Anthropic's and of Gemini's interfaces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from autoselection.pool.dialects.base import Dialect, call, count_rest
from autoselection.pool.json_reader import Record
from autoselection.pool.row_error import RowError
from autoselection.pool.turns import raw_turns, weights_of
from autoselection.pool.values import is_missing, peeked

_CALL, _RESULT = "tool_use", "tool_result"
_HIDDEN = "redacted_thinking"
#: What is read of Gemini's parts, and its other spelling.
_PART: Mapping[str, str] = {
    "functionCall": "function_call", "function_call": "functionCall", "text": "text", "thought": "thought",
    "functionResponse": "function_response", "function_response": "functionResponse",
}  # fmt: skip
#: Roles of Gemini's turns that are the model's.
_ANSWERERS = ("model", "assistant")

_GOOGLE_TYPES = ("STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL")
#: Keys of a schema that hold values, not schemas.
_VALUES = frozenset(("enum", "default", "example", "examples", "const", "required", "description", "title"))


def has_blocks(turns: Any) -> bool:
    """Whether turns hold calls or results as blocks of their contents."""
    return isinstance(turns, list) and any(
        isinstance(block, dict) and block.get("type") in (_CALL, _RESULT, _HIDDEN)
        for turn in turns
        if isinstance(turn, dict) and isinstance(turn.get("content"), list)
        for block in turn["content"]
    )


def without_blocks(turns: Iterable[Any], ignored: Counter[str]) -> list[Any]:
    """The turns with calls, results and reasoning in fields of their own, as OpenAI's have them.

    Raises:
        RowError: a block stands where its turn would change.
    """
    found: list[Any] = []
    for number, turn in enumerate(turns, start=1):
        if not isinstance(turn, dict) or not isinstance(turn.get("content"), list):
            found.append(turn)
        elif turn.get("role") == "assistant":
            found.append(_answer(turn, number, ignored))
        else:
            found += _results(turn, ignored)
    return found


def _answer(turn: Mapping[str, Any], number: int, ignored: Counter[str]) -> dict[str, Any]:
    parts, calls = [], []
    for block in turn["content"]:
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == _CALL:
            count_rest(block, ("type", "id", "name", "input"), _CALL, ignored)
            calls.append({"id": block.get("id"), **call(block.get("name"), block.get("input") or {})})
        elif kind == _HIDDEN:
            ignored[f"{_HIDDEN} blocks"] += 1
        elif calls:
            raise RowError(
                f"turn {number} has text behind a call", "text behind a call", f"messages[{number - 1}].content"
            )
        else:
            parts.append(block)
    if calls and turn.get("tool_calls"):
        raise RowError(
            f"turn {number} has calls in its content and in 'tool_calls'", "calls twice", f"messages[{number - 1}]"
        )
    return {**turn, "content": parts or "", **({"tool_calls": calls} if calls else {})}


def _results(turn: Mapping[str, Any], ignored: Counter[str]) -> list[Mapping[str, Any]]:
    """A user's turn as those of the tools and the user that it is, in their order; without any block, as it is."""
    found: list[dict[str, Any]] = []
    for block in turn["content"]:
        if isinstance(block, dict) and block.get("type") == _RESULT:
            count_rest(block, ("type", "tool_use_id", "content"), _RESULT, ignored)
            content = block.get("content")
            result = "" if is_missing(content) else content
            found.append({"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": result})
        elif found and found[-1].get("role") != "tool":
            found[-1]["content"].append(block)
        else:
            found.append({**turn, "content": [block]})
    if found and all(said.get("role") == "tool" for said in found):
        count_rest(turn, ("role", "content"), "messages", ignored)
    return [*found] or [turn]


def _is_anthropic(record: Record) -> bool:
    turns = record.get("messages")
    if isinstance(turns, str) and not any(kind in turns for kind in (_CALL, _RESULT, _HIDDEN)):
        return False
    return has_blocks(peeked(turns))


def _anthropic(record: Record, ignored: Counter[str]) -> Record:
    turns = without_blocks(raw_turns(record.get("messages"), "messages"), ignored)
    return {"messages": turns, "system": record.get("system"), "tools": record.get("tools")}


ANTHROPIC = Dialect(
    "anthropic",
    "messages",
    frozenset(("messages", "system", "tools")),
    _is_anthropic,
    _anthropic,
    over=frozenset(("messages",)),
)


def _either(value: Mapping[str, Any], *names: str) -> Any:
    return next((value[name] for name in names if not is_missing(value.get(name))), None)


def _is_gemini(record: Record) -> bool:
    turns = peeked(record.get("contents"))
    return isinstance(turns, list) and any(isinstance(turn, dict) and "parts" in turn for turn in turns)


def _gemini(record: Record, ignored: Counter[str]) -> Record:
    turns = raw_turns(record.get("contents"), "contents")
    messages: list[dict[str, Any]] = []
    for number, turn in enumerate(turns, start=1):
        parts = turn.get("parts") if isinstance(turn, dict) else None
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            raise RowError(
                f"turn {number} of 'contents' has no list of parts", "no parts", f"contents[{number - 1}].parts"
            )
        weights = weights_of(turn) if turn.get("role") in _ANSWERERS else {}
        count_rest(turn, ("role", "parts", *weights), "contents", ignored)
        messages += _gemini_turn(turn, parts, number, ignored)
    instruction = peeked(_either(record, "systemInstruction", "system_instruction"))
    parts = instruction.get("parts") if isinstance(instruction, dict) else None
    system = (
        [{"type": "text", **part} if isinstance(part, dict) else part for part in parts]
        if isinstance(parts, list)
        else instruction
    )
    return {"messages": messages, "system": system, "tools": _gemini_tools(record.get("tools"))}


def _gemini_tools(value: Any) -> Any:
    """The declarations of a row in JSON Schema; what is no list of them is left for who reads tools to judge."""
    declared = peeked(value)
    if not isinstance(declared, list) or not all(isinstance(tool, dict) for tool in declared):
        return value
    tools: list[Any] = []
    for tool in declared:
        tools += _either(tool, "functionDeclarations", "function_declarations") or [tool]
    return [_in_json_schema(tool) for tool in tools] or None


def _in_json_schema(value: Any) -> Any:
    """A definition with the types of JSON Schema where it has those of Google (``OBJECT``, ``TYPE_UNSPECIFIED``, …)."""
    if isinstance(value, list):
        return [_in_json_schema(item) for item in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for key, item in value.items():
        if key == "type" and isinstance(item, str):
            if item != "TYPE_UNSPECIFIED":
                found[key] = item.lower() if item in _GOOGLE_TYPES else item
        elif key == "properties" and isinstance(item, dict):
            found[key] = {name: _in_json_schema(schema) for name, schema in item.items()}
        else:
            found[key] = item if key in _VALUES else _in_json_schema(item)
    return found


def _gemini_turn(turn: Mapping[str, Any], parts: list[Any], number: int, ignored: Counter[str]) -> list[dict[str, Any]]:
    """A turn as those of the tools and of the user or the model that it is, in the order of its parts.

    Raises:
        RowError: a part is no text, call or result, or several of them, or text stands behind a call.
    """
    role = turn.get("role") or "user"
    opened = {"role": "assistant", **weights_of(turn)} if role in _ANSWERERS else {"role": role}
    place = f"contents[{number - 1}].parts"
    found: list[dict[str, Any]] = []
    open_turn: dict[str, Any] | None = None  # what further text and calls belong to
    for part in parts:
        called, answered = _object(part, "functionCall"), _object(part, "functionResponse")
        text = part.get("text") if isinstance(part.get("text"), str) else None
        if (called is not None) + (answered is not None) + bool(text) > 1:
            raise RowError(f"turn {number} of 'contents' has a part that is several things", "part of two kinds", place)
        if called is None and answered is None and text is None:
            kinds = ", ".join(name for name, value in part.items() if not is_missing(value))
            raise RowError(
                f"turn {number} of 'contents' has a part that is not text ({kinds})", "part that is not text", place
            )
        count_rest(part, _PART, "parts", ignored)
        if answered is not None:
            count_rest(answered, ("id", "name", "response"), "functionResponse", ignored)
            result = {"name": answered.get("name"), "content": answered.get("response")}
            found.append({"role": "tool", "tool_call_id": answered.get("id"), **result})
            open_turn = None
            continue
        if called is None and not text:
            continue
        if open_turn is None:
            open_turn = {**opened, "content": []}
            found.append(open_turn)
        if called is not None:
            count_rest(called, ("id", "name", "args"), "functionCall", ignored)
            made = {"id": called.get("id"), **call(called.get("name"), called.get("args") or {})}
            open_turn.setdefault("tool_calls", []).append(made)
        elif "tool_calls" in open_turn:
            raise RowError(f"turn {number} of 'contents' has text behind a call", "text behind a call", place)
        else:
            kind = "thinking" if part.get("thought") else "text"
            open_turn["content"].append({"type": kind, kind: text})
    return found or [{**opened, "content": ""}]


def _object(part: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """A part's call or result, by its name in camel or in snake case."""
    value = _either(part, name, _PART[name])
    return value if isinstance(value, dict) else None


GEMINI = Dialect(
    "gemini",
    "contents",
    frozenset(("contents", "systemInstruction", "system_instruction", "tools")),
    _is_gemini,
    _gemini,
    systems=("systemInstruction", "system_instruction"),
)
