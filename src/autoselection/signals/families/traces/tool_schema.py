"""Whether a call's arguments fit the JSON schema that its tool declares.

A validator of our own, because schemas and arguments are untrusted: it cannot hang or recurse for ever (steps and depth
are counted), patterns run in RE2 (linear time, from Arrow), and nothing is ever fetched. It knows what schemas of tools
use of JSON Schema 2020-12, and the names of Python's types that many data sets write for those of JSON. ``format`` is a
remark, not a rule.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

MOST_STEPS = 50_000
DEEPEST = 64
_LONGEST_PATTERN = 1_000

#: Names of types, JSON's and what data sets write for them.
_TYPES: Mapping[str, frozenset[str]] = {
    name: frozenset(kinds.split())
    for kinds, names in {
        "string": "string str text",
        "integer": "integer int long",
        "number": "number float double decimal",
        "boolean": "boolean bool",
        "object": "object dict map",
        "array": "array list tuple set",
        "null": "null none",
        "string integer number boolean object array null": "any",
    }.items()
    for name in names.split()
}
_OF_SCHEMAS = ("anyOf", "oneOf", "allOf", "prefixItems")
_BY_NAME = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_ONE_SCHEMA = ("additionalProperties", "propertyNames", "contains", "not", "if", "then", "else")
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_NUMBERS = ("minimum", "maximum", "multipleOf")


class UncheckableError(Exception):
    """The schema is malformed, or needs more steps than anything real does: nothing can be said of a value."""


class ToolSchema:
    """The parameters that one tool declares."""

    def __init__(self, parameters: Any) -> None:
        """Raises UncheckableError where ``parameters`` are no sound schema."""
        root = _with_properties(parameters)
        _check(root, root, _Budget())
        self._root: Any = root
        self._names = _closed_names(root)

    def fits(self, arguments: Mapping[str, Any]) -> bool:
        """Whether the arguments are ones that the tool takes.

        As JSON Schema has it, but for one thing: an argument that is not among the tool's ``properties`` does not fit
        unless ``additionalProperties`` allows it, because no function takes it.

        Raises:
            UncheckableError: the check takes too many steps.
        """
        if self._names is not None and not self._names.issuperset(arguments):
            return False
        try:
            return _fits(arguments, self._root, self._root, _Budget(), 0)
        except RecursionError:
            raise UncheckableError("it nests too deep") from None

    def fits_loosely(self, arguments: Mapping[str, str]) -> bool:
        """The same for arguments written as bare text: each may be read as text or as the JSON value that it spells."""
        readings: dict[str, Any] = {}
        properties = self._root.get("properties") if isinstance(self._root, dict) else None
        for name, text in arguments.items():
            own = properties.get(name) if isinstance(properties, dict) else None
            readings[name] = text
            if own is not None and not _fits(text, own, self._root, _Budget(), 0):
                readings[name] = spelled(text)
        return self.fits(readings)


def spelled(text: str) -> Any:
    """The JSON value that a text spells, else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return {"True": True, "False": False, "None": None}.get(text.strip(), text)


class _Budget:
    """Steps that are left."""

    def __init__(self) -> None:
        self.left = MOST_STEPS

    def spend(self, steps: int = 1) -> None:
        self.left -= steps
        if self.left < 0:
            raise UncheckableError("it takes too many steps")


def _with_properties(parameters: Any) -> Any:
    """Parameters as a schema: none means no rule; a bare mapping from names to schemas is one of properties."""
    if parameters is None:
        return True
    if isinstance(parameters, str):  # JSON text of a schema, as some exports have it
        parameters = spelled(parameters)
    if not isinstance(parameters, dict):
        raise UncheckableError("parameters are not an object")
    rules = {
        "type",
        "properties",
        "required",
        "$ref",
        "additionalProperties",
        *_OF_SCHEMAS,
        "not",
        "if",
        "enum",
        "const",
    }
    if parameters and not rules & set(parameters) and all(isinstance(own, dict) for own in parameters.values()):
        return {"type": "object", "properties": parameters}
    return parameters


def _closed_names(root: Any) -> frozenset[str] | None:
    """The only arguments a tool takes; None where others are allowed, or where that is unknown."""
    if not isinstance(root, dict) or "properties" not in root:
        return None
    if {"additionalProperties", "patternProperties", "$ref", "if", *_OF_SCHEMAS} & set(root):
        return None
    return frozenset(root["properties"])


def _types(value: Any) -> frozenset[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names:
        raise UncheckableError("type is no name")
    found: frozenset[str] = frozenset()
    for name in names:
        kinds = _TYPES.get(name.strip().lower()) if isinstance(name, str) else None
        if kinds is None:
            raise UncheckableError("an unknown type")
        found |= kinds
    return found


def _check(schema: Any, root: Any, budget: _Budget, depth: int = 0) -> None:
    """Raise UncheckableError unless every keyword has a value of the right kind and every reference leads somewhere."""
    budget.spend()
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict) or depth > DEEPEST:
        raise UncheckableError("a schema is no object, or nests too deep")
    if "type" in schema:
        _types(schema["type"])
    if not isinstance(schema.get("required", []), (list, bool)) or not isinstance(schema.get("enum", []), list):
        raise UncheckableError("required and enum are lists")
    if isinstance(schema.get("required"), list) and not all(isinstance(name, str) for name in schema["required"]):
        raise UncheckableError("required holds names")
    for key in _COUNTS:
        if key in schema and not _is_number(schema[key]):
            raise UncheckableError(f"{key} is a number")
    for key in _NUMBERS:
        if key in schema and (not _is_number(schema[key]) or (key == "multipleOf" and schema[key] <= 0)):
            raise UncheckableError(f"{key} is a number")
    for key in ("exclusiveMinimum", "exclusiveMaximum"):
        if key in schema and not isinstance(schema[key], (int, float)):
            raise UncheckableError(f"{key} is a number")
    if not isinstance(schema.get("pattern", ""), str):
        raise UncheckableError("pattern is text")
    if "$ref" in schema:
        _resolved(schema["$ref"], root)
    for inner in _inner(schema):
        _check(inner, root, budget, depth + 1)


def _inner(schema: Mapping[str, Any]) -> Iterable[Any]:
    for key in _OF_SCHEMAS:
        if key in schema:
            if not isinstance(schema[key], list):
                raise UncheckableError(f"{key} is a list")
            yield from schema[key]
    for key in _BY_NAME:
        if key in schema:
            if not isinstance(schema[key], dict):
                raise UncheckableError(f"{key} is a mapping")
            yield from schema[key].values()
    for key in _ONE_SCHEMA:
        if key in schema:
            yield schema[key]
    items = schema.get("items")
    if isinstance(items, list):  # as before 2020: one schema a place
        yield from items
    elif items is not None:
        yield items


@lru_cache(maxsize=256)
def _pointer(ref: str) -> tuple[str, ...]:
    from urllib.parse import unquote

    return tuple(unquote(part).replace("~1", "/").replace("~0", "~") for part in ref[1:].split("/")[1:])


def _resolved(ref: Any, root: Any) -> Any:
    """What a reference within the schema names; others are never fetched."""
    if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
        raise UncheckableError("a reference leads out of the schema")
    found = root
    for part in _pointer(ref):
        if isinstance(found, dict) and part in found:
            found = found[part]
        elif isinstance(found, list) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        else:
            raise UncheckableError("a reference leads nowhere")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_of(value: Any, kinds: frozenset[str]) -> bool:
    if isinstance(value, str):
        return "string" in kinds
    if value is None:
        return "null" in kinds
    if isinstance(value, bool):
        return "boolean" in kinds
    if isinstance(value, int):
        return "integer" in kinds or "number" in kinds
    if isinstance(value, float):
        return "number" in kinds or ("integer" in kinds and value.is_integer())
    return "array" in kinds if isinstance(value, list) else "object" in kinds


def _fits(value: Any, schema: Any, root: Any, budget: _Budget, depth: int) -> bool:
    budget.spend()
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, dict) or depth > DEEPEST:  # what a reference leads to is checked as it is met
        raise UncheckableError("a schema is no object, or nests too deep")
    if value is None and schema.get("nullable") is True:
        return True
    if "type" in schema and not _is_of(value, _types(schema["type"])):
        return False
    if "enum" in schema and not _among(value, schema["enum"], budget):
        return False
    if "const" in schema and not _among(value, [schema["const"]], budget):
        return False

    def inner(own: Any, rule: Any) -> bool:
        return _fits(own, rule, root, budget, depth + 1)

    if "$ref" in schema and not inner(value, _resolved(schema["$ref"], root)):
        return False
    if not all(inner(value, rule) for rule in schema.get("allOf", ())):
        return False
    if "anyOf" in schema and not any(inner(value, rule) for rule in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(inner(value, rule) for rule in schema["oneOf"]) != 1:
        return False
    if "not" in schema and inner(value, schema["not"]):
        return False
    if "if" in schema and not inner(value, schema.get("then" if inner(value, schema["if"]) else "else", True)):
        return False
    if isinstance(value, str):
        return _text_fits(value, schema)
    if _is_number(value):
        return _number_fits(value, schema)
    if isinstance(value, list):
        return _list_fits(value, schema, budget, inner)
    return _object_fits(value, schema, budget, inner) if isinstance(value, dict) else True


def _text_fits(value: str, schema: Mapping[str, Any]) -> bool:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        return False
    return "pattern" not in schema or matches(schema["pattern"], value)


def _number_fits(value: float, schema: Mapping[str, Any]) -> bool:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if (low is not None and value < low) or (high is not None and value > high):
        return False
    if isinstance(above, bool):  # draft 4: whether the minimum itself is left out
        above = low if above else None
    if isinstance(below, bool):
        below = high if below else None
    if (above is not None and value <= above) or (below is not None and value >= below):
        return False
    step = schema.get("multipleOf")
    if step is None:
        return True
    try:
        if isinstance(value, int) and isinstance(step, int):
            return value % step == 0
        times = value / step
        return bool(abs(times - round(times)) <= 1e-9 * max(1.0, abs(times)))
    except OverflowError:
        return True


def _list_fits(value: list[Any], schema: Mapping[str, Any], budget: _Budget, inner: Any) -> bool:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return False
    items = schema.get("items")
    places = schema.get("prefixItems", items if isinstance(items, list) else [])
    if not all(inner(own, rule) for own, rule in zip(value, places, strict=False)):
        return False
    if items is not None and not isinstance(items, list) and not all(inner(own, items) for own in value[len(places) :]):
        return False
    if "contains" in schema and not any(inner(own, schema["contains"]) for own in value):
        return False
    if schema.get("uniqueItems") is True:
        budget.spend(len(value))
        return len({canonical(own) for own in value}) == len(value)
    return True


def _object_fits(value: Mapping[str, Any], schema: Mapping[str, Any], budget: _Budget, inner: Any) -> bool:
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)):
        return False
    required = schema.get("required")
    if isinstance(required, list):
        budget.spend(len(required))
        if not all(name in value for name in required):
            return False
    properties, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    others, names = schema.get("additionalProperties", True), schema.get("propertyNames")
    for name, own in value.items():
        if name in properties and not inner(own, properties[name]):
            return False
        found = [rule for pattern, rule in patterns.items() if matches(pattern, name)]
        if not all(inner(own, rule) for rule in found):
            return False
        if name not in properties and not found and others is not True and not inner(own, others):
            return False
        if names is not None and not inner(name, names):
            return False
    return True


def _among(value: Any, allowed: list[Any], budget: _Budget) -> bool:
    budget.spend(len(allowed))
    return value in allowed and canonical(value) in {canonical(one) for one in allowed if one == value}


def canonical(value: Any) -> str:
    """JSON text by which equal JSON values are equal: sorted keys, 1.0 as 1."""
    return json.dumps(_plain(value), sort_keys=True, ensure_ascii=True)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [_plain(own) for own in value]
    if isinstance(value, dict):
        return {name: _plain(own) for name, own in value.items()}
    return value


def matches(pattern: str, text: str) -> bool:
    """Whether the pattern occurs in the text, in linear time; a pattern that RE2 does not know rules nothing out."""
    if not _is_known(pattern):
        return True
    try:
        return bool(pc.match_substring_regex(pa.scalar(text), pattern=pattern).as_py())
    except UnicodeEncodeError:  # a lone surrogate
        return True


@lru_cache(maxsize=4096)
def _is_known(pattern: str) -> bool:
    if len(pattern) > _LONGEST_PATTERN:
        return False
    try:
        pc.match_substring_regex(pa.scalar(""), pattern=pattern)
    except (pa.ArrowInvalid, UnicodeEncodeError):
        return False
    return True
