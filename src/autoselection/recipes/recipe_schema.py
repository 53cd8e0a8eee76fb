"""JSON schema of recipes, for editors: which steps there are, and what each may be given."""

from __future__ import annotations

from typing import Any

from autoselection.operators import Operator, OperatorRegistry, Param, default_registry
from autoselection.recipes.recipe import MAX_STEPS, VERSION

Schema = dict[str, Any]


def recipe_schema(registry: OperatorRegistry | None = None) -> Schema:
    """What recipe files may hold, with the operators of this package and of those installed beside it.

    It is a little wider than a recipe: which parameters exclude or need one another is seen when the recipe is read.
    """
    operators = (registry or default_registry()).operators()
    steps = {"type": "array", "maxItems": MAX_STEPS, "items": {"$ref": "#/$defs/step"}}
    inner = {
        "type": "object",
        "properties": {"name": {"type": ["string", "null"]}, "steps": steps},
        "required": ["steps"],
        "additionalProperties": False,
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A recipe of AutoSelection",
        "type": "object",
        "properties": {
            "version": {"const": VERSION, "description": "Of the format."},
            "name": {"type": ["string", "null"], "description": "For people."},
            "for": {"type": "string", "description": "What it is for."},
            "source": {"type": "string", "description": "Where the idea is from."},
            "steps": {**steps, "description": "What to do, in order; none selects the whole pool."},
            "recipes": {
                "type": ["object", "null"],
                "description": "Recipes that steps name, by id.",
                "additionalProperties": {"anyOf": [inner, steps]},
            },
        },
        "required": ["steps"],
        "additionalProperties": False,
        "$defs": {
            "step": {
                "type": "object",
                "properties": {
                    "operator": {
                        "enum": [operator.name for operator in operators],
                        "description": "What the step does.",
                    },
                    "params": {"type": ["object", "null"], "description": "Those not given have their defaults."},
                },
                "required": ["operator"],
                "additionalProperties": False,
                "allOf": [_case(operator) for operator in operators],
            }
        },
    }


def _case(operator: Operator) -> Schema:
    params = {
        "type": ["object", "null"],
        "description": f"{operator.summary}. Order: {operator.order}.",
        "properties": {param.name: _param(param) for param in operator.params},
        "additionalProperties": False,
    }
    return {
        "if": {"properties": {"operator": {"const": operator.name}}},
        "then": {"properties": {"params": params}},
    }


def _param(param: Param) -> Schema:
    allowed = _domain(param)
    if param.optional or param.default is None:
        allowed = {"anyOf": [allowed, {"type": "null"}]}
    about = ". ".join(filter(None, (param.help, param.domain)))
    default = {} if param.default is None else {"default": param.default}
    return {**allowed, **default, "description": f"{about}."}


def _domain(param: Param) -> Schema:
    if param.kind in ("float", "int"):
        ends = {"minimum": param.low, "maximum": param.high}
        kind = "number" if param.kind == "float" else "integer"
        return {"type": kind, **{name: end for name, end in ends.items() if end is not None}}
    if param.kind == "choice":  # or with the parameter that it brings into play
        return {"anyOf": [{"enum": list(param.choices)}, {"type": "object"}]}
    if param.kind == "sources":
        return {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True}
    if param.kind == "weights":
        return {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}}
    if param.kind == "blend":
        return {"type": "object", "additionalProperties": {"type": "number"}}
    return {"type": {"bool": "boolean"}.get(param.kind, "string")}
