"""Sets of function calls with a shape of their own: Glaive (v1 and v2) and xLAM."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from autoselection.pool.dialects.base import Dialect, call, count_rest, is_json, nested
from autoselection.pool.json_reader import DECODER, Record
from autoselection.pool.row_error import RowError
from autoselection.pool.values import kind_of

_END = "<|endoftext|>"
_CALL = "<functioncall>"
_SPEAKERS = {"SYSTEM": "system", "USER": "user", "ASSISTANT": "assistant", "FUNCTION RESPONSE": "tool"}
_SPEAKER = re.compile("(SYSTEM|USER|ASSISTANT|FUNCTION RESPONSE):[ \\t]?")
#: Longest white space in front of a speaker that is looked at.
_GAP = 256
#: The sentence that only introduces the definitions behind it, which a template writes in its own words.
_INTRODUCTION = re.compile(
    r"You are an? helpful assistant (?:with access to|who has access to) the following functions\b[^\n{]*[-:]?\s*"
)
#: A call whose arguments are JSON text between single quotes.
_QUOTED_CALL = re.compile(r"""\{\s*"name"\s*:\s*"([^"\\]+)"\s*,\s*"arguments"\s*:\s*'(.*)'\s*\}""", re.DOTALL)


def _is_glaive(record: Record) -> bool:
    chat, sample = record.get("chat"), record.get("sample")
    if isinstance(sample, str):
        return sample.lstrip().startswith("SYSTEM:") and "\nUSER:" in sample
    return isinstance(chat, str) and re.match(r"\s*(USER|ASSISTANT):", chat) is not None


def _glaive(record: Record, ignored: Counter[str]) -> Record:
    name = "sample" if isinstance(record.get("sample"), str) else "chat"
    text = record.get(name)
    if not isinstance(text, str) or not text.strip():
        raise RowError(f"field '{name}' is missing or empty", "field missing or empty", name)
    turns = _speakers(text, name)
    system = record.get("system") if name == "chat" else None
    if system is not None and not isinstance(system, str):
        raise RowError("field 'system' must be a string", f"text that is {kind_of(system)}", "system")
    system = (system or "").strip().removeprefix("SYSTEM:").strip()
    if turns[0][0] == "system":
        system = turns.pop(0)[1]
    prompt, tools = _glaive_tools(system, ignored)
    messages: list[dict[str, Any]] = [{"role": "system", "content": prompt}] if prompt else []
    messages += [_glaive_turn(role, content, ignored) for role, content in turns]
    return {"messages": messages, "tools": tools or None}


def _speakers(text: str, name: str) -> list[tuple[str, str]]:
    """The turns: a speaker begins the text, or stands behind an end mark, an empty line (version 2) or a line (version 1)."""
    lines = 1 if name == "sample" else 2
    marks: list[re.Match[str]] = []
    for mark in _SPEAKER.finditer(text):
        window = text[max(mark.start() - _GAP, marks[-1].end() if marks else 0) : mark.start()]
        before = window.rstrip()
        opens = not marks and not before
        begins = opens or before.endswith(_END) or window.count("\n", len(before)) >= lines
        if begins and (mark[1] != "SYSTEM" or not marks):
            marks.append(mark)
    if not marks or text[: marks[0].start()].strip():
        raise RowError(
            f"field '{name}' does not begin with a speaker such as 'USER:'",
            "turns without speakers",
            name,
            "Glaive's 'USER: …'",
        )
    ends = [*(match.start() for match in marks[1:]), len(text)]
    turns = []
    for match, end in zip(marks, ends, strict=True):
        content = text[match.end() : end].strip().removesuffix(_END).rstrip()
        turns.append((_SPEAKERS[match[1]], content))
    return turns


def _glaive_turn(role: str, content: str, ignored: Counter[str]) -> dict[str, Any]:
    if role != "assistant" or _CALL not in content:
        return {"role": role, "content": content}
    before, _, text = content.partition(_CALL)
    found = _glaive_call(text.strip().removesuffix(_END).strip())
    if found is None:
        ignored[f"{_CALL} that cannot be read, kept as text"] += 1
        return {"role": role, "content": content}
    return {"role": role, "content": before.strip(), "tool_calls": [found]}


def _glaive_call(text: str) -> dict[str, Any] | None:
    try:
        value = DECODER.decode(text)
    except (ValueError, RecursionError):
        match = _QUOTED_CALL.fullmatch(text)
        return call(match[1], match[2].replace("\\'", "'")) if match is not None else None
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or set(value) - {"name", "arguments"}:
        return None
    return call(value["name"], value.get("arguments", {}))


def _glaive_tools(system: str, ignored: Counter[str]) -> tuple[str, list[Any]]:
    """The system prompt without the definitions behind it, and these."""
    start = system.find("{")
    tools: list[Any] = []
    place = start if start >= 0 else len(system)
    while place < len(system):
        try:
            value, place = DECODER.raw_decode(system, place)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            ignored["function definitions that cannot be read, kept as text"] += 1
            return system, []
        tools.append(value)
        while system[place : place + 1] in (" ", "\t", "\r", "\n", ","):
            place += 1
    prompt = system[:start].rstrip() if tools else system
    if tools and _INTRODUCTION.fullmatch(prompt):
        prompt = ""
    return prompt, tools


GLAIVE = Dialect("glaive", "chat", frozenset(("system", "chat", "sample")), _is_glaive, _glaive)

_XLAM_TYPES: Mapping[str, str] = {
    "str": "string", "string": "string", "int": "integer", "integer": "integer", "float": "number", "number": "number",
    "bool": "boolean", "boolean": "boolean", "dict": "object", "object": "object", "list": "array", "array": "array",
    "set": "array", "tuple": "array",
}  # fmt: skip


def _is_xlam(record: Record) -> bool:
    answers, tools = record.get("answers"), record.get("tools")
    return isinstance(record.get("query"), str) and is_json(answers, "[") and is_json(tools, "[")


def _xlam(record: Record, ignored: Counter[str]) -> Record:
    query = record.get("query")
    if not isinstance(query, str) or not query.strip():
        raise RowError("field 'query' is missing or empty", "field missing or empty", "query")
    answers, tools = nested(record, "answers"), nested(record, "tools")
    for name, value in (("answers", answers), ("tools", tools)):
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise RowError(f"field '{name}' must be a list of objects", "no list of objects", name)
    if not answers:
        raise RowError("field 'answers' is an empty list: no call, and no text that says why", "no call", "answers")
    calls = []
    for number, answer in enumerate(answers, start=1):
        if not isinstance(answer.get("name"), str):
            raise RowError(
                f"entry {number} of 'answers' has no name", "call without a name", f"answers[{number - 1}].name"
            )
        count_rest(answer, ("name", "arguments"), "answers", ignored)
        calls.append(call(answer["name"], answer.get("arguments") or {}))
    turns = [
        {"role": "user", "content": query},
        {"role": "assistant", "content": "", "tool_calls": calls},
    ]
    return {"messages": turns, "tools": [_xlam_tool(tool, ignored) for tool in tools], "system": record.get("system")}


def _xlam_tool(tool: dict[str, Any], ignored: Counter[str]) -> dict[str, Any]:
    """A definition as JSON Schema: xLAM's parameters are a list of names, with types of Python in words."""
    parameters = tool.get("parameters")
    if isinstance(parameters, str) and parameters.lstrip().startswith("{"):
        parameters = nested(tool, "parameters")
    if "function" in tool or not isinstance(parameters, dict) or isinstance(parameters.get("properties"), dict):
        return tool
    properties, required = {}, []
    for name, given in parameters.items():
        if given is None:  # a field of other rows' definitions, in a Parquet file
            continue
        if not isinstance(given, dict):
            return tool
        kind, _, optional = str(given.get("type") or "").partition(",")
        schema, known = _schema(kind.strip())
        if not known:
            ignored["types of parameters that JSON Schema has not"] += 1
        properties[name] = {
            **schema,
            **{key: value for key, value in given.items() if key != "type" and value is not None},
        }
        if "optional" not in optional and given.get("default") is None:
            required.append(name)
    return {**tool, "parameters": {"type": "object", "properties": properties, "required": required}}


def _schema(kind: str) -> tuple[dict[str, Any], bool]:
    """JSON Schema of a type of Python as a definition spells it, and whether it is one that JSON Schema has."""
    outer, _, inner = kind.partition("[")
    inner = inner.strip().removesuffix("]")
    name = _XLAM_TYPES.get(outer.strip().lower())
    if name is None:
        if outer.strip() == "Optional" and inner:
            return _schema(inner)
        return {}, False
    if name == "array" and inner and outer.strip().lower() != "tuple":
        items, known = _schema(inner)
        return {"type": name, "items": items} if known else {"type": name}, True
    return {"type": name}, True


XLAM = Dialect("xlam", "answers", frozenset(("query", "answers", "tools", "system")), _is_xlam, _xlam)
