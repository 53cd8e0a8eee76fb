"""Tool calls and tool definitions in their usual forms, and the canonical form of each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from autoselection.conversation import ToolCall
from autoselection.pool.json_reader import TEXT_DECODER, KeyTwiceError, OwnKeys, unique_object
from autoselection.pool.row_error import RowError, within
from autoselection.pool.values import is_missing, kind_of, python_literal, transposed

#: Where a row may declare its tools; the first that is there counts.
TOOL_FIELDS = ("tools", "functions")
#: Usual names of a call's arguments and of a definition's schema; the first is canonical.
_ARGUMENTS = ("arguments", "parameters", "args", "input")
_SCHEMAS = ("parameters", "input_schema", "inputSchema")
_CALL_FIELDS = frozenset({"id", "type", "function", "name", *_ARGUMENTS})
#: Keys of a JSON schema whose value may be null.
_MAY_BE_NULL = ("default", "const")
_EXPECTED = (
    "calls as {'name': …, 'arguments': …} or {'id': …, 'type': 'function', 'function': {'name': …, 'arguments': …}}"
)
_TOOLS = "definitions as {'name': …, 'parameters': …} or {'type': 'function', 'function': {'name': …, 'parameters': …}}"

#: Names of the parameters of each declared tool; of a tool that takes any, nothing.
Parameters = Mapping[str, frozenset[str]]


def json_text(value: Any) -> str:
    """Canonical JSON text of a value.

    Raises:
        RowError: it is no JSON value.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise RowError(f"a value is not JSON ({error})", "not a JSON value") from error


def calls_of(value: Any, parameters: Parameters, ignored: Counter[str], *, filled: bool = False) -> list[ToolCall]:
    """The calls of a turn: a list of them, one alone, or either as JSON text.

    Args:
        parameters: of the row's tools.
        ignored: counts what is not kept, by name.
        filled: the container gives every object all the keys that any has, so that nulls say nothing.

    Raises:
        RowError: a call is none; its field is the path within the value.
    """
    value = _parsed(value, "the calls are")
    if isinstance(value, dict):
        value = [value] if isinstance(_name_of(value), str) else transposed(value) or [value]
    if is_missing(value):
        return []
    if not isinstance(value, list):
        raise RowError(f"the calls are no list but {kind_of(value)}", "calls that are no list", None, _EXPECTED)
    calls = []
    for number, item in enumerate(value):
        try:
            calls.append(_call_of(item, parameters, ignored, filled))
        except RowError as error:
            raise within(error, f"[{number}]") from error
    return calls


def _parsed(value: Any, what: str) -> Any:
    """What a container holds as JSON text, or as Python spells it; blank text is no value."""
    if not isinstance(value, str):
        return value
    try:
        return TEXT_DECODER.decode(value.strip()) if value.strip() else None
    except KeyTwiceError as error:
        raise RowError(f"{what} JSON text in which {error}", "key twice") from error
    except (ValueError, RecursionError) as error:
        if (found := python_literal(value)) is not None:
            return found
        raise RowError(f"{what} text that is not valid JSON", "not valid JSON") from error


def _name_field(value: Any) -> str:
    """Where the name of a call or a definition stands, or should."""
    return "function.name" if isinstance(value, dict) and isinstance(value.get("function"), dict) else "name"


def _name_of(value: Mapping[str, Any]) -> Any:
    function = value.get("function")
    return function.get("name") if isinstance(function, dict) else value.get("name")


def _call_of(value: Any, parameters: Parameters, ignored: Counter[str], filled: bool) -> ToolCall:
    value = _parsed(value, "a call is")
    name = _name_of(value) if isinstance(value, dict) else None
    if not isinstance(name, str) or not name.strip():
        raise RowError("a call has no name of a function", "call without a name", _name_field(value), _EXPECTED)
    inner = value["function"] if isinstance(value.get("function"), dict) else value
    kind = value.get("type")
    if kind not in (None, "", "function", "tool_call", "function_call"):
        raise RowError(f"a call has the type {str(kind)[:40]!r}", "a call of another type", "type", _EXPECTED)
    given = next((field for field in _ARGUMENTS if not is_missing(inner.get(field))), "arguments")
    call: ToolCall = {"name": name, "arguments": ""}
    identity = id_text(value.get("id"), "id")
    if identity is not None:
        call = {"id": identity, **call}
    call["arguments"] = _arguments_text(inner.get(given), parameters.get(name), ignored, filled)
    for part in (value, inner) if inner is not value else (value,):
        for field, extra in part.items():
            if not is_missing(extra) and (field not in _CALL_FIELDS or (field in _ARGUMENTS and field != given)):
                ignored[f"tool_calls.{field}"] += 1
    return call


def id_text(value: Any, field: str) -> str | None:
    """The id of a call; None if there is none.

    Raises:
        RowError: it is neither a string nor a whole number.
    """
    if is_missing(value) or value == "":
        return None
    if isinstance(value, float) and value == int(value):  # tables hold whole numbers as floats where some have none
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise RowError(f"the id of a call must be a string or a whole number, not {kind_of(value)}", "no id", field)
    return str(value)


def _arguments_text(value: Any, known: frozenset[str] | None, ignored: Counter[str], filled: bool) -> str:
    """Arguments as JSON text; text that is not that of an object stays as it is, for people to see."""
    if is_missing(value):
        return "{}"
    if isinstance(value, str):
        return canonical_arguments(value)
    if filled:
        value = without_nulls(value)
    elif isinstance(value, dict) and known and not isinstance(value, OwnKeys):
        # What a table wrote as JSON has the parameters of all tools in every call.
        kept = {key: item for key, item in value.items() if item is not None or key in known}
        if len(kept) < len(value):
            ignored["null arguments that the tool does not declare"] += len(value) - len(kept)
        value = kept
    if not isinstance(value, dict):
        ignored["arguments that are no object (kept as JSON text)"] += 1
    return json_text(value)


def canonical_arguments(text: str) -> str:
    """Arguments as canonical JSON text if they are that of an object, else as they are."""
    parsed = parsed_object(text)
    try:
        return text if parsed is None else json_text(parsed)
    except RowError:  # a number beyond all numbers, such as 1e999
        return text


def parsed_object(text: str) -> dict[str, Any] | None:
    """The object that a JSON text stands for; None if it stands for none, or not for one alone."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text, object_pairs_hook=unique_object, parse_constant=_refused)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def without_nulls(value: Any) -> Any:
    """A value without the keys whose value is null, where these may be other objects' keys."""
    if isinstance(value, OwnKeys):
        return value
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if not is_missing(item)}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def _schema_without_nulls(value: Any, filled: bool) -> Any:
    """A definition without the nulls that no JSON schema has."""
    if isinstance(value, dict):
        return {
            key: _schema_without_nulls(item, filled)
            for key, item in value.items()
            if not is_missing(item)
            or (key in _MAY_BE_NULL and item is None and (not filled or isinstance(value, OwnKeys)))
        }
    return [_schema_without_nulls(item, filled) for item in value] if isinstance(value, list) else value


def declared_tools(value: Any, *, filled: bool = False) -> tuple[str | None, Parameters]:
    """Tool definitions as JSON text of ``[{"type": "function", "function": {"name": …, …}}]``, and their parameters.

    Args:
        value: a list of definitions, with or without the wrapping, one alone, or either as JSON text.
        filled: as of :func:`calls_of`.

    Returns:
        The text, None if no tool is declared; and the parameters' names of each.

    Raises:
        RowError: it is something else.
    """
    value = _parsed(value, "the tool definitions are")
    if isinstance(value, dict):
        value = [value] if isinstance(_name_of(value), str) else transposed(value) or [value]
    if is_missing(value):
        return None, {}
    if not isinstance(value, list):
        raise RowError(
            f"the tool definitions are no list but {kind_of(value)}", "tool definitions that are no list", None, _TOOLS
        )
    tools = []
    for number, item in enumerate(value):
        try:
            tools.append(_definition(item, filled))
        except RowError as error:
            raise within(error, f"[{number}]") from error
    if not tools:
        return None, {}
    functions = [tool["function"] for tool in tools]
    return json_text(tools), {function["name"]: _parameters(function) for function in functions}


def _definition(value: Any, filled: bool) -> dict[str, Any]:
    value = _parsed(value, "a tool definition is")
    name = _name_of(value) if isinstance(value, dict) else None
    if not isinstance(name, str) or not name.strip():
        raise RowError("a tool definition has no name", "tool definition without a name", _name_field(value), _TOOLS)
    value = _schema_without_nulls(value, filled)
    if isinstance(value.get("function"), dict):
        rest = {key: item for key, item in value.items() if key != "type"}
        return {"type": value.get("type", "function"), **rest, "function": _with_schema(value["function"])}
    value = _with_schema(value)
    function = {key: item for key, item in value.items() if (key, item) != ("type", "function")}
    given = next((field for field in _SCHEMAS if isinstance(function.get(field), dict)), None)
    if given is not None:
        function = {"parameters" if key == given else key: item for key, item in function.items()}
    return {"type": "function", "function": function}


def _with_schema(function: dict[str, Any]) -> dict[str, Any]:
    """A function whose schema is an object also where its container holds it as JSON text."""
    parsed = {
        field: parsed_object(text)
        for field in _SCHEMAS
        if isinstance(text := function.get(field), str) and text.strip()
    }
    schemas = {field: _schema_without_nulls(schema, False) for field, schema in parsed.items() if schema is not None}
    return {key: schemas.get(key, item) for key, item in function.items()}


def _parameters(function: Mapping[str, Any]) -> frozenset[str]:
    schema = function.get("parameters")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return frozenset(properties) if isinstance(properties, dict) else frozenset()
