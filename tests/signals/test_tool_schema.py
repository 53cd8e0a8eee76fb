"""Arguments against schemas: the validator beside jsonschema's, and what untrusted schemas cannot do to it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from autoselection.signals.families.traces.tool_schema import ToolSchema, UncheckableError, canonical, matches

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.5, 1.0, -2.0])
    | st.sampled_from(["", "a", "ab", "ä1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "object", "array", "null"])
NAMED = st.sampled_from("abc")


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, min_size=1, max_size=2)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True),
            "enum": st.lists(VALUES, min_size=1, max_size=3),
            "const": VALUES,
            "minimum": st.integers(-2, 2),
            "exclusiveMaximum": st.integers(-2, 2),
            "multipleOf": st.sampled_from([1, 2, 0.5]),
            "minLength": st.integers(0, 2),
            "maxLength": st.integers(0, 2),
            "pattern": st.sampled_from(["^a", "b$", "[0-9]", "^$"]),
            "minItems": st.integers(0, 2),
            "uniqueItems": st.booleans(),
            "items": inner,
            "prefixItems": lists,
            "contains": inner,
            "properties": st.dictionaries(NAMED, inner, max_size=2),
            "patternProperties": st.dictionaries(st.sampled_from(["a", "[bc]"]), inner, max_size=1),
            "required": st.lists(NAMED, max_size=2, unique=True),
            "additionalProperties": inner,
            "propertyNames": inner,
            "maxProperties": st.integers(0, 2),
            "anyOf": lists,
            "oneOf": lists,
            "allOf": lists,
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "$ref": st.sampled_from(["#/$defs/d"]),
        },
    )


SCHEMAS = st.recursive(st.booleans() | _schemas(st.booleans()), _schemas, max_leaves=4)


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@given(SCHEMAS, SCHEMAS, VALUES)
def test_a_value_fits_as_jsonschema_says(schema: Any, definition: Any, value: Any) -> None:
    # Below a property, so that the rule about the tool's own arguments has no part in it.
    whole = {"type": "object", "properties": {"x": schema}, "$defs": {"d": definition}}
    if "'$ref'" in repr(definition):  # a definition that names itself never ends, there or here
        return
    assert ToolSchema(whole).fits({"x": value}) == Draft202012Validator(whole).is_valid({"x": value})


@given(VALUES, VALUES)
def test_canonical_text_is_equal_where_values_are(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == Draft202012Validator({"const": one}).is_valid(other)


@pytest.mark.parametrize(
    ("more", "fits"),
    [
        ({}, False),
        ({"additionalProperties": True}, True),
        ({"additionalProperties": False}, False),
        ({"patternProperties": {"^b": True}}, True),
        ({"anyOf": [{}]}, True),
    ],
)
def test_an_argument_that_is_not_declared_fits_only_where_others_are_allowed(more: dict[str, Any], fits: bool) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, **more}
    assert ToolSchema(schema).fits({"a": "x"})
    assert ToolSchema(schema).fits({"b": 1}) is fits


def test_spellings_of_other_kinds_of_schemas() -> None:
    assert ToolSchema({"a": {"type": "str"}, "b": {"type": "float"}}).fits({"a": "x", "b": 1})
    assert not ToolSchema({"a": {"type": "str"}}).fits({"a": 1})
    assert ToolSchema({"type": "dict", "properties": {"a": {"type": "string", "nullable": True}}}).fits({"a": None})
    assert ToolSchema({"type": "object", "properties": {"a": {"minimum": 1, "exclusiveMinimum": True}}}).fits({"a": 2})
    assert not ToolSchema({"type": "object", "properties": {"a": {"minimum": 1, "exclusiveMinimum": True}}}).fits(
        {"a": 1}
    )
    assert ToolSchema(None).fits({"a": 1})
    assert ToolSchema({}).fits({"a": 1})


@pytest.mark.parametrize(
    ("rule", "fits", "other"),
    [
        ({"oneOf": [{"type": "integer"}, {"minimum": 3}]}, 1, 4),
        ({"oneOf": [{"type": "integer"}, {"minimum": 3}]}, 3.5, 0.5),
        ({"minimum": 3}, 3, 2.9),
        ({"exclusiveMinimum": 3}, 3.1, 3),
        ({"maximum": 3}, 3, 4),
        ({"multipleOf": 0.1}, 0.3, 0.35),
        ({"type": "integer"}, 2.0, True),
        ({"enum": [1, "a"]}, 1.0, True),
        ({"maxItems": 1, "uniqueItems": True}, [1], [1, 1.0]),
        ({"uniqueItems": True}, [1, True], [1, 1.0]),
        ({"prefixItems": [{"type": "string"}], "items": False}, ["a"], ["a", 1]),
        ({"items": [{"type": "string"}]}, ["a", 1], [1]),
    ],
)
def test_rules_by_hand(rule: dict[str, Any], fits: Any, other: Any) -> None:
    schema = ToolSchema({"type": "object", "properties": {"x": rule}})
    assert schema.fits({"x": fits}) and not schema.fits({"x": other})


def test_bare_text_is_read_as_text_or_as_json() -> None:
    schema = ToolSchema(
        {"type": "object", "properties": {"n": {"type": "integer"}, "s": {"type": "string"}}, "required": ["n"]}
    )
    assert schema.fits_loosely({"n": "3", "s": "3"})
    assert not schema.fits_loosely({"n": "three"})
    assert not schema.fits_loosely({"s": "3"})


@pytest.mark.parametrize(
    "schema",
    [
        [], "text", 3, {"type": "strin"}, {"type": []}, {"type": "object", "properties": []}, {"required": "a"}, {"required": [1]},
        {"enum": "a"}, {"anyOf": {}}, {"type": "string", "minLength": "1"}, {"type": "number", "multipleOf": 0}, {"pattern": 1, "type": "string"},
        {"$ref": "#/$defs/nothing"}, {"$ref": "https://example.org/schema"}, {"type": "array", "items": 3}, {"type": "object", "properties": {"a": {"type": "integr"}}},
    ],
)  # fmt: skip
def test_malformed_schemas_are_told(schema: Any) -> None:
    with pytest.raises(UncheckableError):
        ToolSchema(schema)


def _deep(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


LIST: dict[str, Any] = {"a": 1}
for _ in range(40):
    LIST = {"a": LIST}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"$ref": "#"}, {"a": 1}),
        ({"anyOf": [{"$ref": "#"}, {"$ref": "#"}], "type": "object"}, {"a": 1}),
        ({"type": "object", "additionalProperties": {"anyOf": [{"allOf": [{"$ref": "#"}] * 9}, {"$ref": "#"}]}}, LIST),
        (_deep(500), {}),
        ({"type": "object", "properties": {"a": {"enum": list(range(200_000))}}}, {"a": -1}),
    ],
)
def test_no_schema_hangs_or_recurses_for_ever(schema: Any, value: Any) -> None:
    started = time.process_time()
    with pytest.raises(UncheckableError):
        ToolSchema(schema).fits(value)
    assert time.process_time() - started < 10


def test_recursive_schemas_work() -> None:
    tree = {"type": "object", "properties": {"v": {"type": "integer"}, "next": {"$ref": "#"}}, "required": ["v"]}
    assert ToolSchema(tree).fits({"v": 1, "next": {"v": 2, "next": {"v": 3}}})
    assert not ToolSchema(tree).fits({"v": 1, "next": {"v": 2, "next": {"w": 3}}})


def test_patterns_take_linear_time_and_unknown_ones_rule_nothing_out() -> None:
    started = time.process_time()
    assert not matches(r"^(a+)+$", "a" * 100_000 + "!")
    assert not matches(r"^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 50_000)
    assert time.process_time() - started < 5
    for pattern in (r"(?=a)b", r"(a)\1", "(", "(a{1000}){1000}", "a" * 5_000, "\ud800"):
        assert matches(pattern, "anything")
    assert matches("a", "\ud800")
