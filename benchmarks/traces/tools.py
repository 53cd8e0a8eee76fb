"""Tools of the synthetic traces: a schema, arguments that fit it, and results."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

Arguments = dict[str, Any]

CITIES = (
    "Paris",
    "Łódź",
    "São Paulo",
    "東京",
    "Zürich",
    "Kraków",
    "نيويورك",
    "New Delhi",
    "Ho Chi Minh City",
    "Reykjavík",
)
PEOPLE = ("Ana", "Bob", "李雷", "Frédéric", "Ngozi", "Олег", "Siobhán", "山田")
WORDS = [
    "invoice",
    "solar",
    "panel",
    "bridge",
    "recipe",
    "quarterly",
    "budget",
    "hiking",
    "violin",
    "tax",
    "router",
    "garden",
    "chess",
    "vaccine",
    "parser",
]


def _object(properties: Mapping[str, Any], required: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": dict(properties), **more}
    if required:
        schema["required"] = list(required)
    return schema


@dataclass(frozen=True)
class Tool:
    """A tool of the traces.

    Attributes:
        schema: its parameters; None declares nothing of them.
        arguments: draws arguments that fit.
        result: draws what it returns.
        wrong: for single arguments values that do not fit, beside those that any schema excludes.
    """

    name: str
    schema: dict[str, Any] | None
    arguments: Callable[[Random], Arguments]
    result: Callable[[Random, Arguments], str]
    wrong: Mapping[str, tuple[Any, ...]]

    def declaration(self) -> dict[str, Any]:
        function: dict[str, Any] = {"name": self.name, "description": f"Calls {self.name.replace('_', ' ')}."}
        if self.schema is not None:
            function["parameters"] = self.schema
        return {"type": "function", "function": function}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _some(rng: Random, always: Arguments, **optional: Any) -> Arguments:
    """The arguments that must be there, and each of the others with a chance of a half, in any order."""
    items = [*always.items(), *((name, value) for name, value in optional.items() if rng.random() < 0.5)]
    rng.shuffle(items)
    return dict(items)


def _words(rng: Random, low: int, high: int) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(low, high)))


def _date(rng: Random) -> str:
    return f"20{rng.randint(20, 29)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


_CODE = (
    'print("<tool_call>")\nx = {"name": "y", "arguments": {}}',
    "def f(a):\n    return {k: v for k, v in a.items()}  # </tool_call>",
    "re.findall(r'<think>(.*?)</think>', text)",
    'json.loads(\'{"a": [1, 2, {"b": null}]}\')',
    "s = '```python\\n<tool_response>'",
)

TOOLS: tuple[Tool, ...] = (
    Tool(
        "get_weather",
        _object(
            {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 14},
            },
            ("city",),
        ),
        lambda r: _some(r, {"city": r.choice(CITIES)}, unit=r.choice(["celsius", "fahrenheit"]), days=r.randint(1, 14)),
        lambda r, a: _json(
            {"temperature": r.randint(-20, 40), "sky": r.choice(["clear", "rain", "überwiegend bewölkt"])}
        ),
        {"city": (5, ["Paris"], None), "unit": ("kelvin", "Celsius", 1), "days": (0, 15, "three", 2.5)},
    ),
    Tool(
        "search_flights",
        _object(
            {
                "origin": {"type": "string", "pattern": "^[A-Z]{3}$"},
                "destination": {"type": "string", "pattern": "^[A-Z]{3}$"},
                "date": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"},
                "passengers": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
                        "required": ["name", "age"],
                    },
                },
            },
            ("origin", "destination", "date"),
            additionalProperties=False,
        ),
        lambda r: _some(
            r,
            {
                "origin": r.choice(["CDG", "JFK", "NRT"]),
                "destination": r.choice(["LHR", "GRU", "WAW"]),
                "date": _date(r),
            },
            passengers=[{"name": r.choice(PEOPLE), "age": r.randint(0, 90)} for _ in range(r.randint(1, 3))],
        ),
        lambda r, a: _json(
            [{"flight": f"XY{r.randint(100, 999)}", "price": r.randint(40, 900)} for _ in range(r.randint(0, 4))]
        ),
        {
            "origin": ("Paris", "cdg", ""),
            "date": ("tomorrow", "2025-1-2", 20250102),
            "passengers": ([], [{"name": "Ana"}], [{"name": "Ana", "age": -1}], "2"),
        },
    ),
    Tool(
        "send_email",
        _object(
            {
                "to": {"type": "array", "items": {"type": "string"}, "minItems": 1},
                "subject": {"type": "string", "maxLength": 120},
                "body": {"type": "string", "minLength": 1},
                "urgent": {"type": "boolean"},
            },
            ("to", "body"),
        ),
        lambda r: _some(
            r,
            {
                "to": [f"{r.choice(WORDS)}@example.org"],
                "body": f"Dear {r.choice(PEOPLE)},\n\nI'm sorry, but I can't come: {_words(r, 2, 6)}.",
            },
            subject=_words(r, 1, 4),
            urgent=r.random() < 0.5,
        ),
        lambda r, a: _json({"status": "sent", "id": f"m-{r.randint(1, 10**6)}"}),
        {"to": ("bob@example.org", [], [1]), "body": ("", 7), "urgent": ("yes", 1)},
    ),
    Tool(
        "run_python",
        _object(
            {"code": {"type": "string"}, "timeout": {"type": ["number", "null"], "exclusiveMinimum": 0}}, ("code",)
        ),
        lambda r: _some(r, {"code": r.choice(_CODE) + f"\n# {r.randint(0, 999)}"}, timeout=r.choice([None, 0.5, 30])),
        lambda r, a: r.choice(
            [
                "",
                "None",
                "Traceback (most recent call last):\n  …\nKeyError: 'a'",
                str(r.random()),
                "<html><title>502 Bad Gateway</title></html>",
            ]
        ),
        {"code": (["print(1)"], None), "timeout": (0, -3, "10s")},
    ),
    Tool("get_time", _object({}), lambda r: {}, lambda r, a: f"{r.randint(0, 23):02d}:{r.randint(0, 59):02d}", {}),
    Tool("list_alarms", None, lambda r: {}, lambda r, a: _json([f"{r.randint(5, 9)}:30"]), {}),
    Tool(
        "get_order_status",
        _object({"order_id": {"type": "string"}}, ("order_id",)),
        lambda r: {"order_id": f"A-{r.randint(1000, 9999)}"},
        lambda r, a: _json({"status": r.choice(["processing", "shipped", "delivered"]), "eta_days": r.randint(0, 9)}),
        {"order_id": (1234, {"id": "A-1"})},
    ),
    Tool(
        "set_thermostat",
        _object(
            {
                "room": {"$ref": "#/$defs/room"},
                "target": {"type": "number", "minimum": 5, "maximum": 30, "multipleOf": 0.5},
            },
            ("room", "target"),
            **{"$defs": {"room": {"type": "string", "enum": ["kitchen", "bedroom", "bath"]}}},
        ),
        lambda r: {"room": r.choice(["kitchen", "bedroom", "bath"]), "target": r.randint(10, 60) / 2},
        lambda r, a: "ok",
        {"room": ("garage", 3), "target": (4, 31, 20.3, "warm")},
    ),
    Tool(
        "create_ticket",
        _object(
            {
                "title": {"type": "string"},
                "assignee": {
                    "anyOf": [
                        {"type": "string"},
                        {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
                    ]
                },
                "kind": {"const": "bug"},
                "labels": {"type": "array", "items": {"type": "string"}, "uniqueItems": True, "maxItems": 4},
            },
            ("title",),
        ),
        lambda r: _some(
            r,
            {"title": _words(r, 2, 5)},
            assignee=r.choice([r.choice(PEOPLE), {"id": r.randint(1, 99)}]),
            kind="bug",
            labels=r.sample(WORDS, r.randint(0, 4)),
        ),
        lambda r, a: f"Created ticket #{r.randint(1, 9999)}.",
        {"assignee": (7, {"name": "Ana"}, []), "kind": ("feature", "Bug"), "labels": (["a", "a"], list("abcde"), "a")},
    ),
    Tool(
        "convert_currency",
        _object(
            {
                "amount": {"type": "number", "exclusiveMinimum": 0},
                "source": {"type": "string", "minLength": 3, "maxLength": 3},
                "target": {"type": "string", "minLength": 3, "maxLength": 3},
            },
            ("amount", "source", "target"),
        ),
        lambda r: {
            "amount": r.choice([r.randint(1, 5000), round(r.uniform(0.01, 99), 2)]),
            "source": r.choice(["EUR", "USD"]),
            "target": r.choice(["JPY", "PLN"]),
        },
        lambda r, a: _json({"result": round(r.uniform(1, 9999), 2)}),
        {"amount": (0, -5, "100", True), "source": ("euro", "", 978)},
    ),
    Tool(
        "query_database",
        _object(
            {
                "sql": {"type": "string"},
                "parameters": {"type": "object", "additionalProperties": {"type": ["string", "integer"]}},
                "limit": {"type": "integer", "minimum": 1},
            },
            ("sql",),
        ),
        lambda r: _some(
            r,
            {"sql": f"SELECT * FROM {r.choice(WORDS)} WHERE a < {r.randint(1, 99)} AND b > '{{x}}'"},
            parameters={"x": r.randint(0, 9), "y": r.choice(WORDS)},
            limit=r.randint(1, 500),
        ),
        lambda r, a: "\n".join(f"{i}|{r.choice(WORDS)}" for i in range(r.randint(0, 5))) or "(0 rows)",
        {"sql": (["SELECT 1"],), "parameters": ({"x": 1.5}, {"x": []}, "x=1"), "limit": (0, "ten")},
    ),
    Tool(
        "control_light",
        _object(
            {
                "state": {"type": "string", "enum": ["on", "off"]},
                "brightness": {"type": "integer", "minimum": 0, "maximum": 100},
                "rgb": {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 0, "maximum": 255},
                    "minItems": 3,
                    "maxItems": 3,
                },
            },
            ("state",),
        ),
        lambda r: _some(
            r,
            {"state": r.choice(["on", "off"])},
            brightness=r.randint(0, 100),
            rgb=[r.randint(0, 255) for _ in range(3)],
        ),
        lambda r, a: "done",
        {"state": ("dim", True, "ON"), "brightness": (101, -1, "50%"), "rgb": ([1, 2], [0, 0, 256], "#fff")},
    ),
    Tool(
        "translate_text",
        {
            "type": "dict",
            "properties": {"text": {"type": "str"}, "target_language": {"type": "str"}, "formal": {"type": "bool"}},
            "required": ["text", "target_language"],
        },
        lambda r: _some(
            r,
            {
                "text": r.choice(["I'm sorry, but I can't help with that.", _words(r, 2, 8), "¿Dónde está <think>?"]),
                "target_language": r.choice(["de", "ja", "pl"]),
            },
            formal=True,
        ),
        lambda r, a: r.choice(["Es tut mir leid, dabei kann ich nicht helfen.", "申し訳ありません", _words(r, 2, 8)]),
        {"text": (1, None), "formal": ("yes", 1)},
    ),
    Tool(
        "find_restaurants",
        _object(
            {
                "near": {
                    "type": "object",
                    "properties": {"lat": {"type": "number", "minimum": -90, "maximum": 90}, "lon": {"type": "number"}},
                    "required": ["lat", "lon"],
                    "additionalProperties": False,
                },
                "cuisine": {"type": "string"},
                "max_price": {"type": "integer", "nullable": True},
            },
            ("near",),
        ),
        lambda r: _some(
            r,
            {"near": {"lat": round(r.uniform(-90, 90), 3), "lon": round(r.uniform(-180, 180), 3)}},
            cuisine=r.choice(["ramen", "tapas", "pierogi"]),
            max_price=r.choice([None, 20]),
        ),
        lambda r, a: _json(
            [{"name": r.choice(WORDS).title(), "stars": r.randint(1, 5)} for _ in range(r.randint(0, 3))]
        ),
        {
            "near": ({"lat": 3}, {"lat": 91, "lon": 0}, "here", {"lat": 1, "lon": 2, "alt": 3}),
            "max_price": ("cheap", 19.5),
        },
    ),
    Tool(
        "edit_file",
        _object(
            {
                "path": {"type": "string"},
                "edits": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "oneOf": [
                            _object(
                                {"op": {"const": "insert"}, "line": {"type": "integer"}, "text": {"type": "string"}},
                                ("op", "line", "text"),
                            ),
                            _object({"op": {"const": "delete"}, "line": {"type": "integer"}}, ("op", "line")),
                        ]
                    },
                },
            },
            ("path", "edits"),
        ),
        lambda r: {
            "path": f"src/{r.choice(WORDS)}.py",
            "edits": [
                r.choice(
                    [
                        {"op": "insert", "line": r.randint(1, 99), "text": "</think> {}"},
                        {"op": "delete", "line": r.randint(1, 99)},
                    ]
                )
                for _ in range(r.randint(1, 3))
            ],
        },
        lambda r, a: "applied",
        {
            "path": (3,),
            "edits": ([], [{"op": "replace", "line": 1}], [{"op": "insert", "line": 1}], {"op": "delete", "line": 2}),
        },
    ),
)
