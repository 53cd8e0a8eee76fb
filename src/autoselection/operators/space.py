"""Moving in an operator's parameter space: sample, perturb, clamp and encode parameters.

Everything here works on the *searched* parameters of ``operator.space(signals)``, whose ranges depend on the pool, and
returns parameters as :func:`~autoselection.operators.base.validate_params` does: complete and canonical.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import RecipeError
from autoselection.operators import shares
from autoselection.operators.base import Operator, validate_params
from autoselection.operators.blends import drawn_blend, moved_blend
from autoselection.operators.param import DIGITS, Param, in_role
from autoselection.signals.table import SignalTable

#: A ``sources`` parameter is encoded with a bit a source up to this many sources, beyond it as the share of rows named.
MAX_SOURCE_BITS = 16
_SHARE = 0.02
"""Shares of a mix are encoded by ``log(1 + share / _SHARE)``, over its value for the whole: log shares, but finite at 0."""
_WHOLE = math.log1p(1 / _SHARE)
#: How often a move of the size of a step that needs none leaves it unset.
_UNSET = 0.25


def sample_params(
    operator: Operator, signals: SignalTable, rng: np.random.Generator, *, recipes: Sequence[str] = ()
) -> dict[str, Any]:
    """Draw the searched parameters uniformly (numbers on their scale); the others keep their defaults.

    Args:
        recipes: ids that a ``recipe`` parameter may name.

    Raises:
        RecipeError: the operator needs a recipe and ``recipes`` is empty.
    """
    drawn: dict[str, Any] = {}
    for param in operator.space(signals):
        if param.searched and param.active(drawn):
            drawn[param.name] = _draw(operator, param, rng, recipes)
        elif param.kind == "choice" and param.active(drawn):
            drawn[param.name] = param.default
    return validate_params(operator, drawn)


def perturb_params(
    operator: Operator,
    params: Mapping[str, Any],
    signals: SignalTable,
    rng: np.random.Generator,
    scale: float = 0.15,
    *,
    recipes: Sequence[str] = (),
) -> dict[str, Any]:
    """Change one searched parameter, or with probability 0.3 two.

    A number moves by a normal step of standard deviation ``scale`` in the unit interval of its range (reflected at the
    ends), or is set back to none where none of its group has to be set; a choice changes to another; a list of sources gains
    or loses one; weights move on the simplex (:mod:`autoselection.operators.shares`), those of blends as
    :mod:`autoselection.operators.blends` says. The result differs from ``params`` unless
    the operator has nothing to change.
    """
    current = clamp_params(operator, params, signals)
    movable = [
        param
        for param in operator.space(signals)
        if param.searched and param.active(current) and _can_move(param, current.get(param.name), recipes)
    ]
    if not movable:
        return current
    count = 2 if len(movable) > 1 and rng.random() < 0.3 else 1
    picked = {movable[int(i)].name for i in rng.choice(len(movable), count, replace=False)}
    changed: dict[str, Any] = {}
    for param in operator.space(signals):
        value = current.get(param.name, param.default if param.implicit else None)
        if not param.active(changed):
            continue
        if param.name not in picked:
            if value is None and param.searched and param.when is not None:
                value = _draw(operator, param, rng, recipes)  # a changed choice has just brought it into play
        elif value is None and param.group is not None:  # another of its group decided: this one takes over
            value = _draw(operator, param, rng, recipes)
            for other in operator.params:
                if other.group == param.group:
                    changed[other.name] = None
                    current[other.name] = None
        elif _may_be_unset(param, operator.params) and rng.random() < _UNSET:
            value = None
        else:
            value = _moved(param, value, rng, scale, recipes)
        changed[param.name] = value
    return validate_params(operator, changed)


def clamp_params(operator: Operator, params: Mapping[str, Any], signals: SignalTable) -> dict[str, Any]:
    """The nearest valid parameters on this pool: for proposals from outside (a language model, another pool).

    Numbers are clipped to the pool's range; unknown parameters, those that do not apply and values of the wrong type
    are left out, so that defaults take their place; of two parameters of a group the first declared stays.

    Raises:
        RecipeError: a required parameter has no usable value.
    """
    space = operator.space(signals)
    usable: dict[str, Any] = {}
    groups: set[str] = set()
    for param in space:
        value = _clamped(param, params.get(param.name))
        if param.kind == "signal" and value is not None and value not in signals.columns:
            value = None
        if param.kind == "blend" and value is not None:
            value = _checked(param, {name: weight for name, weight in value.items() if name in signals.columns})
        if value is None and param.kind == "choice":
            value = param.default
        if value is None or not param.active(usable) or param.group in groups:
            continue
        usable[param.name] = value
        if param.group is not None:
            groups.add(param.group)
    for param in space:  # a default outside the pool's range is clipped too
        if param.name not in usable and param.active(usable) and param.group is None and param.default is not None:
            usable[param.name] = _clamped(param, param.default)
    return validate_params(operator, usable)


def encoding_names(operator: Operator, signals: SignalTable) -> tuple[str, ...]:
    """What each number of :func:`encode_params` stands for."""
    names: list[str] = []
    for param in operator.space(signals):
        if param.searched:
            names += [f"{operator.name}.{part}" for part in _parts(param)]
    return tuple(names)


def encode_params(operator: Operator, params: Mapping[str, Any], signals: SignalTable) -> NDArray[np.float64]:
    """The searched parameters as numbers in [0, 1]; the length depends on the operator and the pool alone.

    Numbers are scaled to the pool's range, a choice of two becomes a bit, one of more a bit each, sources a bit each;
    parameters that do not apply are 0, a signal is a bit for
    each that is searched, a blend its weight of each, moved from [-1, 1]. The parameter of role ``strength`` is encoded as the share of the pool that the step stands for
    (:meth:`Operator.as_fraction`), whichever parameter decides it. A ``recipe`` is not encoded here.
    """
    values = dict(params)
    space = operator.space(signals)
    strength = in_role(space, "strength")
    if strength is not None:
        values[strength.name] = operator.as_fraction(validate_params(operator, params), signals)
    encoded: list[float] = []
    for param in space:
        if param.searched:
            encoded += _encoded(param, values.get(param.name, param.default), param.active(values), signals)
    return np.asarray(encoded, np.float64)


def to_unit(param: Param, value: float) -> float:
    """Position of a number in its range, on its scale, clipped to [0, 1]."""
    low, high = _ends(param)
    if high <= low:
        return 0.0
    if param.log:
        low, high, value = math.log(low), math.log(high), math.log(max(value, low))
    return min(1.0, max(0.0, (value - low) / (high - low)))


def from_unit(param: Param, position: float) -> float | int:
    """The number at a position in [0, 1] of its range."""
    low, high = _ends(param)
    value = low * (high / low) ** position if param.log else low + (high - low) * position
    if param.kind == "int":
        return int(min(high, max(low, round(value))))
    return round(min(high, max(low, value)), DIGITS)


def _ends(param: Param) -> tuple[float, float]:
    if param.low is None or param.high is None:
        raise RecipeError(f"parameter '{param.name}' cannot be searched: it declares no low and high.")
    return float(param.low), float(param.high)


def _may_be_unset(param: Param, params: Sequence[Param]) -> bool:
    """Whether a number may be left out, with all of its group."""
    group = [other for other in params if param.group is not None and other.group == param.group]
    return bool(group) and all(other.default is None and other.optional for other in group)


def _draw(operator: Operator, param: Param, rng: np.random.Generator, recipes: Sequence[str]) -> Any:
    if param.kind in ("float", "int"):
        return from_unit(param, float(rng.random()))
    if param.kind == "bool":
        return bool(rng.integers(2))
    if param.kind in ("choice", "signal"):
        if not param.choices:
            raise RecipeError(f"operator '{operator.name}': the pool has nothing that '{param.name}' could name.")
        return param.choices[int(rng.integers(len(param.choices)))]
    if param.kind == "recipe":
        if not recipes:
            raise RecipeError(f"operator '{operator.name}': there is no recipe yet that it could name.")
        return recipes[int(rng.integers(len(recipes)))]
    if param.kind == "sources":
        return [param.choices[int(rng.integers(len(param.choices)))]]
    if param.kind == "weights" and param.choices:
        return shares.drawn(param, rng)
    if param.kind == "blend" and param.choices:
        return drawn_blend(param, rng)
    raise RecipeError(f"operator '{operator.name}': parameter '{param.name}' ({param.kind}) cannot be searched.")


def _can_move(param: Param, value: Any, recipes: Sequence[str]) -> bool:
    """Whether :func:`_moved` has anywhere to go from ``value``."""
    if param.kind in ("float", "int"):
        return any(from_unit(param, end) != value for end in (0.0, 1.0))
    if param.kind in ("weights", "blend"):
        return len(param.choices) > 1
    return bool(_others(param, value, recipes))


def _moved(param: Param, value: Any, rng: np.random.Generator, scale: float, recipes: Sequence[str]) -> Any:
    """Another value than ``value``; there is one where :func:`_can_move` says so."""
    if param.kind in ("float", "int"):
        return _stepped(param, value, float(rng.normal(0.0, scale)))
    if param.kind == "bool":
        return not value
    if param.kind == "weights":
        return shares.moved(param, value, rng, scale)
    if param.kind == "blend":
        return moved_blend(param, value, rng, scale)
    others = _others(param, value, recipes)
    return others[int(rng.integers(len(others)))]


def _stepped(param: Param, value: float, step: float) -> float | int:
    """The number a step away in the unit interval of its range, reflected at its ends; never ``value`` itself."""
    position = to_unit(param, float(value))
    target = position + step
    if not 0.0 <= target <= 1.0:
        target = min(1.0, max(0.0, position - step))
    moved = from_unit(param, target)
    if moved != value:
        return moved
    # Too small a step for the digits kept: the next number in its direction, or in the other at an end.
    low, high = from_unit(param, 0.0), from_unit(param, 1.0)
    up = (step > 0 and value < high) or value <= low
    if param.kind == "int":
        return int(value) + (1 if up else -1)
    unit = 10.0**-DIGITS
    return round(min(high, value + unit) if up else max(low, value - unit), DIGITS)


def _others(param: Param, value: Any, recipes: Sequence[str]) -> list[Any]:
    """The values one move away from ``value``, of a parameter that is no number.

    A list of sources gains or loses one, without naming none or all of them; where neither is possible, as with one of
    two sources, it names another instead.
    """
    if param.kind == "bool":
        return [not value]
    if param.kind != "sources":
        return [option for option in (recipes if param.kind == "recipe" else param.choices) if option != value]
    named = set(value)
    toggled = [named ^ {name} for name in param.choices]
    found = [names for names in toggled if 0 < len(names) < len(param.choices)]
    if not found:
        found = [named - {old} | {new} for old in sorted(named) for new in param.choices if new not in named]
    return [sorted(names) for names in found]


def _clamped(param: Param, value: Any) -> Any:
    if value is None:
        return None
    if param.kind in ("float", "int"):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return None
        low = value if param.low is None else max(value, param.low)
        clipped = low if param.high is None else min(low, param.high)
        return round(clipped) if param.kind == "int" else clipped
    if param.kind == "sources" and param.choices:
        named = [value] if isinstance(value, str) else value
        known = [name for name in param.choices if isinstance(named, (list, tuple)) and name in named]
        return known or None
    if param.kind == "weights" and param.choices and isinstance(value, Mapping):
        named = {name: weight for name, weight in value.items() if name in param.choices}
        checked = _checked(param, named)
        found = None if checked is None else shares.shares_of(checked, param.choices)
        return None if found is None else shares.canonical(found, param.choices)
    return _checked(param, value)


def _checked(param: Param, value: Any) -> Any:
    try:
        return param.checked(value)
    except ValueError:
        return None


def _parts(param: Param) -> tuple[str, ...]:
    if param.kind == "choice" and len(param.choices) == 2:
        return (f"{param.name}={param.choices[1]}",)
    if param.kind in ("choice", "signal") or (param.kind == "sources" and len(param.choices) <= MAX_SOURCE_BITS):
        return tuple(f"{param.name}={choice}" for choice in param.choices)
    if param.kind == "blend" or (param.kind == "weights" and 0 < len(param.choices) <= MAX_SOURCE_BITS):
        return tuple(f"{param.name}={choice}" for choice in param.choices)
    return () if param.kind in ("recipe", "weights") else (param.name,)


def _encoded(param: Param, value: Any, active: bool, signals: SignalTable) -> list[float]:
    parts = _parts(param)
    if value is None or not active:
        return [0.0] * len(parts)
    if param.kind in ("float", "int"):
        return [to_unit(param, float(value))]
    if param.kind == "bool":
        return [float(value)]
    if param.kind == "weights":
        found = shares.shares_of(value, param.choices) if parts else None
        return [0.0] * len(parts) if found is None else [float(np.log1p(share / _SHARE) / _WHOLE) for share in found]
    if param.kind == "blend":
        return [(1.0 + float(value.get(choice, 0.0))) / 2.0 for choice in param.choices]
    if param.kind in ("choice", "signal"):
        bits = [float(value == choice) for choice in param.choices]
        return bits[1:] if len(parts) < len(bits) else bits
    if param.kind == "sources":
        bits = [float(name in value) for name in param.choices]
        if len(parts) > 1 or not bits:
            return bits
        counts = np.bincount(signals.source, minlength=len(bits))
        return [float(np.dot(bits, counts) / max(1, signals.n))]
    return []
