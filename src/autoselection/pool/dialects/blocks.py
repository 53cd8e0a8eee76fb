"""Turns whose contents are typed blocks: those of Anthropic's and of Gemini's interfaces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from autoselection.pool.dialects.base import Dialect, call, nested, unpacked
from autoselection.pool.json_reader import Record
from autoselection.pool.row_error import RowError
from autoselection.pool.values import is_missing

_CALL, _RESULT = "tool_use", "tool_result"
_HIDDEN = "redacted_thinking"


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
            found += _results(turn)
    return found


def _answer(turn: Mapping[str, Any], number: int, ignored: Counter[str]) -> dict[str, Any]:
    parts, calls = [], []
    for block in turn["content"]:
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == _CALL:
            calls.append({"id": block.get("id"), **call(block.get("name"), block.get("input") or {})})
        elif kind == _HIDDEN:
            ignored[f"{_HIDDEN} blocks"] += 1
        elif calls:
            raise RowError(
                f"turn {number} has text behind a call", "text behind a call", f"messages[{number - 1}].content"
            )
        else:
            parts.append(block)
    return {**turn, "content": parts or "", **({"tool_calls": calls} if calls else {})}


def _results(turn: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A user's turn as those of the tools and the user that it is, in their order."""
    found: list[dict[str, Any]] = []
    for block in turn["content"]:
        if isinstance(block, dict) and block.get("type") == _RESULT:
            content = block.get("content")
            result = "" if is_missing(content) else content
            found.append({"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": result})
        elif found and found[-1].get("role") != "tool":
            found[-1]["content"].append(block)
        else:
            found.append({**turn, "content": [block]})
    return found


def joined(value: Any) -> Any:
    """A system prompt that is a list of text blocks, as a text; anything else as it is."""
    if isinstance(value, list) and all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in value):
        return "\n".join(part["text"] for part in value)
    return value


def _is_anthropic(record: Record) -> bool:
    turns = record.get("messages")
    if isinstance(turns, str) and f'"{_CALL}"' not in turns and f'"{_RESULT}"' not in turns:
        return False
    return has_blocks(unpacked(turns))


def _anthropic(record: Record, ignored: Counter[str]) -> Record:
    turns = nested(record, "messages")
    turns = without_blocks(turns, ignored) if isinstance(turns, list) else turns
    return {"messages": turns, "system": joined(unpacked(record.get("system"))), "tools": record.get("tools")}


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
    turns = unpacked(record.get("contents"))
    return isinstance(turns, list) and any(isinstance(turn, dict) and "parts" in turn for turn in turns)


def _gemini(record: Record, ignored: Counter[str]) -> Record:
    turns = nested(record, "contents")
    if not isinstance(turns, list):
        raise RowError("field 'contents' must be a list of turns", "turns that are no list", "contents")
    messages: list[dict[str, Any]] = []
    for number, turn in enumerate(turns, start=1):
        parts = turn.get("parts") if isinstance(turn, dict) else None
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            raise RowError(
                f"turn {number} of 'contents' has no list of parts", "no parts", f"contents[{number - 1}].parts"
            )
        messages += _gemini_turn(turn.get("role") or "user", parts, number, ignored)
    instruction = unpacked(_either(record, "systemInstruction", "system_instruction"))
    system = joined(instruction.get("parts")) if isinstance(instruction, dict) else instruction
    tools: list[Any] = []
    declared = unpacked(record.get("tools"))
    for tool in declared if isinstance(declared, list) else ():
        if isinstance(tool, dict):
            tools += _either(tool, "functionDeclarations", "function_declarations") or [tool]
    return {"messages": messages, "system": system, "tools": tools or None}


def _gemini_turn(role: Any, parts: list[Any], number: int, ignored: Counter[str]) -> list[dict[str, Any]]:
    text, thought, calls, results = "", "", [], []
    for part in parts:
        called, answered = (
            _either(part, "functionCall", "function_call"),
            _either(part, "functionResponse", "function_response"),
        )
        if called is not None and isinstance(called, dict):
            calls.append(call(called.get("name"), called.get("args") or {}))
        elif answered is not None and isinstance(answered, dict):
            results.append({"role": "tool", "name": answered.get("name"), "content": answered.get("response")})
        elif isinstance(part.get("text"), str):
            if calls or results:
                raise RowError(
                    f"turn {number} of 'contents' has text behind a call or a result",
                    "text behind a call",
                    f"contents[{number - 1}].parts",
                )
            if part.get("thought"):
                thought += part["text"]
            else:
                text += part["text"]
        else:
            kinds = ", ".join(name for name, value in part.items() if not is_missing(value))
            raise RowError(
                f"turn {number} of 'contents' has a part that is not text ({kinds})",
                "part that is not text",
                f"contents[{number - 1}].parts",
            )
    if results and not text:
        return results
    turn: dict[str, Any] = {"role": "assistant" if role == "model" else role, "content": text}
    if thought:
        turn["reasoning_content"] = thought
    if calls:
        turn["tool_calls"] = calls
    return [turn, *results]


GEMINI = Dialect(
    "gemini",
    "contents",
    frozenset(("contents", "systemInstruction", "system_instruction", "tools")),
    _is_gemini,
    _gemini,
)
