"""Steps in words for people: what decides, the rest only where it is not the default.

Numbers have three significant digits; the recipe itself, and what is hashed, has all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoselection.operators.param import Param, in_role

_WITHIN = {
    "source": "within source",
    "task": "within task",
    "cluster": "within cluster",
    "tools": "within set of tools",
}
_LISTED = 5  # names of a list that are written out (count)
_FATES = {"keep": "rows without a score kept", "drop": "rows without a score dropped"}


def default_phrases(declared: tuple[Param, ...], params: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """Words of a step by the roles of its parameters; see :meth:`autoselection.operators.Operator.phrases`.

    The column, the strength with its end, the recipe named, then the others where they differ from their defaults.
    """
    strength, end = (in_role(declared, role) for role in ("strength", "end"))
    share = None if strength is None else params.get(strength.name)
    column, named, cut, others = [], [], [], []
    for param in declared:
        value = params.get(param.name)
        if value is None or param is strength or (param is end and share is not None):
            continue
        if param.role == "column":
            column.append(str(value))
        elif param.kind == "recipe":
            named.append(in_words(value, names))
        elif param.group is None and value == param.default:
            continue
        elif param.role == "scope":
            cut.append(within(value))
        elif param.role == "missing":
            others.append(_FATES[value])
        else:
            others.append(f"{param.name}={in_words(value, names)}")
    if share is not None:
        side = "" if end is None or params.get(end.name) is None else _SIDES[params[end.name]]
        cut.insert(0, f"{side}{percent(share)}")
    return [*column, *named, *cut, *others]


_SIDES = {"high": "highest ", "low": "lowest "}


def within(scope: str) -> str:
    """What a cut is made within."""
    return _WITHIN.get(scope, f"within {scope}")


def missing_phrases(params: Mapping[str, Any], default: str = "drop") -> list[str]:
    """What becomes of rows without a score, where that is not the default."""
    value = params.get("missing", default)
    return [] if value == default else [_FATES[value]]


def number(value: float) -> str:
    """A number with three significant digits."""
    shown = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return shown.removesuffix(".0")


def percent(share: float) -> str:
    """A share with three significant digits; never 0% or 100% for what is neither."""
    shown = f"{100 * share:.3g}%"
    return f"{100 * share:.6g}%" if shown in ("100%", "0%") and share not in (0.0, 1.0) else shown


def listed(names: Any) -> str:
    """The first names of a list, and how many more there are."""
    shown = ", ".join(map(str, list(names)[:_LISTED]))
    return shown if len(names) <= _LISTED else f"{shown} and {len(names) - _LISTED} more"


def in_words(value: Any, names: Mapping[str, str]) -> str:
    """Any value of a parameter; ``names`` is what recipes are called, by id."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, (list, tuple)):
        return listed(value)
    if isinstance(value, Mapping):
        return " : ".join(f"{name} {in_words(weight, names)}" for name, weight in value.items())
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number(value)
    return str(value)
