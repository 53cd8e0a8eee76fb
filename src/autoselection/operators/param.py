"""What an operator declares of each of its parameters, and how their values are checked."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from autoselection.operators.blend_weights import MOST_TERMS, canonical_blend
from autoselection.wording import clipped, suggestion

Kind: TypeAlias = Literal["float", "int", "choice", "bool", "recipe", "sources", "weights", "signal", "blend"]
#: What a parameter is to the search, to tables and to sentences, whatever its name; see :class:`Param`.
Role: TypeAlias = Literal["strength", "end", "scope", "column", "missing"]

#: Decimal digits kept of every float parameter, so that equal recipes have equal hashes; of one without two bounds at least as
#: many significant ones, so that a small threshold does not become 0.
DIGITS = 6
#: Numbers lie between minus this and this.
LARGEST = 2**53
#: Choices that a parameter of a role must offer.
_CHOICES_OF_ROLE: Mapping[str, frozenset[str]] = {
    "end": frozenset({"high", "low"}),
    "scope": frozenset({"whole"}),
    "missing": frozenset({"drop", "keep"}),
}


@dataclass(frozen=True)
class Term:
    """A signal that a blend may hold, for a search.

    Attributes:
        group: number of the group of signals that order the pool alike: one of a group at most is drawn.
        low: probability that a draw prefers its low end; at 0 and 1 the other end is no part of the space.
    """

    group: int
    low: float = 0.5


@dataclass(frozen=True)
class Param:
    """One declared parameter of an operator.

    Attributes:
        name: its key in a recipe.
        kind: float, int, choice, bool; ``recipe`` (id of a recipe), ``sources`` (source names), ``weights`` (a number
            >= 0 per source name), ``signal`` (name of a numeric column of the signal table; that it exists is checked
            when the step runs), ``blend`` (a weight of either sign per name of such a column,
            see :class:`autoselection.operators.blend.BlendFilter`).
        default: value when it is not given; ``None`` for a parameter that is neither optional, grouped nor conditional
            means that it must be given.
        low, high: inclusive range of a number; ``None`` leaves the end open.
        log: searched on a logarithmic scale.
        choices: allowed values of a choice; known names in a searched ``sources``, ``weights``, ``signal`` or ``blend``
            parameter.
        optional: ``None`` is allowed.
        searched: part of the default search space.
        help: one phrase for people, with the unit.
        group: exactly one parameter of a group is set; if none is given, the one with a default decides.
        when: ``(parameter, values)``: applies only while that choice has one of these values, and is refused otherwise;
            without values: applies, and is then required, only while that parameter is set.
        implicit: left out of canonical parameters while it has its default, so that a parameter declared later does not
            change the hashes of recipes that were stored before it.
        role: what the parameter is to others than its operator, whatever it is called; one parameter a role at most.

            - ``strength``: share of the rows given that the step keeps, from 0 to 1. A search draws it to reach a size;
              baselines take it through a few values.
            - ``end``: which end of a score is kept (or likelier), a choice of ``high`` and ``low``. Drawn by
              ``search.draws``, turned round by an edit of its own, never moved by another.
            - ``scope``: what the cut is made within, a choice that offers ``whole``; ``source``, ``task`` and
              ``cluster`` are drawn by ``search.draws`` too, anything else is never drawn.
            - ``column``: name of the signal table's column that the step cuts by.
            - ``missing``: what becomes of rows without that score, a choice of ``drop`` and ``keep``.
        verb: of a ``recipe`` parameter, what an edit that names one did, as a sentence says it.
        mixtures: of a searched ``weights`` parameter, shares of its choices by name (such as equal): a search begins near
            them and moves towards them. One at least.
        terms: of a searched ``blend`` parameter, what a search knows of its choices; one of each, in their order.
        blends: of a searched ``blend`` parameter, weights that a search begins near, by name (such as relevance).
    """

    name: str
    kind: Kind
    default: Any = None
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[str, ...] = ()
    optional: bool = False
    searched: bool = False
    help: str = ""
    group: str | None = None
    when: tuple[str, tuple[str, ...]] | None = None
    implicit: bool = False
    role: Role | None = None
    verb: str = "added the rows of"
    mixtures: Mapping[str, tuple[float, ...]] = field(default_factory=lambda: MappingProxyType({}))
    terms: tuple[Term, ...] = ()
    blends: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        for what, value, known in (("kind", self.kind, get_args(Kind)), ("role", self.role, get_args(Role))):
            if value not in known and not (what == "role" and value is None):
                raise ValueError(
                    f"parameter '{self.name}': there is no {what} '{value}'{suggestion(str(value), known)}"
                )
        wanted = _CHOICES_OF_ROLE.get(self.role or "", frozenset())
        if wanted and not (self.kind == "choice" and wanted <= set(self.choices)):
            raise ValueError(
                f"parameter '{self.name}' has the role {self.role}: declare it as a choice that offers "
                f"{' and '.join(sorted(wanted))}."
            )
        if self.kind == "blend" and len(self.terms) != len(self.choices):
            raise ValueError(
                f"parameter '{self.name}' has {len(self.choices)} choices and {len(self.terms)} terms: give one of each."
            )
        if self.role == "strength" and self.kind != "float":
            raise ValueError(f"parameter '{self.name}' has the role strength: declare it as a float from 0 to 1.")

    def active(self, params: Mapping[str, Any]) -> bool:
        """Whether the parameter applies, given the others."""
        if self.when is None:
            return True
        value = params.get(self.when[0])
        return value in self.when[1] if self.when[1] else value is not None

    @property
    def domain(self) -> str:
        """The allowed values, in words."""
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        if self.kind in ("float", "int"):
            noun = "a number" if self.kind == "float" else "a whole number"
            if self.low is not None and self.high is not None:
                return f"{noun} from {self.low:g} to {self.high:,g}"
            if self.low is not None:
                return f"{noun} of at least {self.low:g}"
            return noun if self.high is None else f"{noun} of at most {self.high:g}"
        return {
            "bool": "true or false",
            "recipe": "the id of a recipe",
            "signal": "the name of a numeric signal",
            "sources": "a list of distinct source names, not empty",
            "weights": "a mapping from source name to a weight of at least 0, not all 0",
            "blend": f"a mapping from one to {MOST_TERMS} signal names to weights, below 0 where low scores are better",
        }[self.kind]

    def checked(self, value: Any) -> Any:
        """Return ``value`` in canonical form; ``ValueError`` if it is not in the domain."""
        result = self._coerced(value)
        if result is None:
            raise ValueError(f"must be {self.domain}, not {shown(value)}")
        return result

    def _coerced(self, value: Any) -> Any:
        if self.kind in ("float", "int"):
            return self._number(value)
        if self.kind == "choice":
            return value if isinstance(value, str) and value in self.choices else None
        if self.kind == "bool":
            return value if isinstance(value, bool) else None
        if self.kind in ("recipe", "signal"):
            return value if isinstance(value, str) and value else None
        if self.kind == "sources":
            names = [value] if isinstance(value, str) else value
            if not isinstance(names, (list, tuple)) or not names or not all(isinstance(name, str) for name in names):
                return None
            return sorted(names) if len(set(names)) == len(names) else None
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            return None
        if self.kind == "blend":
            exact = {name: _real(weight) for name, weight in value.items()}
            return None if "" in value else canonical_blend(exact)
        weights = {name: _significant(_real(weight)) for name, weight in sorted(value.items())}
        if any(weight is None or weight < 0 for weight in weights.values()) or not any(weights.values()):
            return None
        return weights

    def _number(self, value: Any) -> float | int | None:
        number = _real(value)
        if self.kind == "float" and (self.low is None or self.high is None):
            number = _significant(number)
        elif number is not None:
            number = round(number, DIGITS)
        if number is None or (self.low is not None and number < self.low):
            return None
        if self.high is not None and number > self.high:
            return None
        if self.kind == "float":
            return number
        return int(number) if number == int(number) else None


def shown(value: Any) -> str:
    """A value as a message quotes it."""
    return clipped(repr(value) if isinstance(value, (str, int, float)) else reprlib.repr(value))


def _real(value: Any) -> float | None:
    """A number; None if it is none, or too large."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        return None
    if isinstance(value, int) and abs(value) > LARGEST:  # floats, which whole numbers become, are exact below
        return None
    number = float(value)
    return number if abs(number) <= LARGEST else None


def _significant(number: float | None) -> float | None:
    """A number rounded to :data:`DIGITS` decimal digits or, if it is small, to as many significant ones."""
    if number is None:
        return None
    return round(number, DIGITS) if abs(number) >= 0.1 else float(f"{number:.{DIGITS - 1}e}")


def ranged(params: tuple[Param, ...], **changes: Mapping[str, Any]) -> tuple[Param, ...]:
    """A copy of ``params`` with fields of the named ones replaced: ``ranged(params, top_k={"high": 10})``."""
    return tuple(replace(param, **changes.get(param.name, {})) for param in params)


def in_role(params: Iterable[Param], role: Role) -> Param | None:
    """The parameter of a role, if one of ``params`` has it."""
    return next((param for param in params if param.role == role), None)


def blend_of(params: Iterable[Param]) -> Param | None:
    """The searched parameter that weighs signals, if one of ``params`` does."""
    return next((param for param in params if param.kind == "blend" and param.searched), None)


def mix_of(params: Iterable[Param]) -> Param | None:
    """The searched parameter that holds shares of sources, if one of ``params`` does."""
    return next((param for param in params if param.kind == "weights" and param.searched and param.mixtures), None)
