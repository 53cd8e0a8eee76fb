"""What an operator is: a pure function from ordered rows to ordered rows, with a declared parameter space.

Contract of every operator:

- it gets distinct row indices (int64) in an order that means something, and returns distinct row indices in the
  order its ``order`` sentence states; only the family ``set`` may return rows it was not given;
- it is deterministic: its randomness comes from :meth:`Context.rng` alone, ties are broken by row index;
- a row without a score (NaN) is dropped or kept as the parameter ``missing`` says, and counted in the outcome;
- it may return no rows at all; ``Outcome.best`` then names the row that a recipe falls back to.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import RecipeError
from autoselection.schema import clipped, suggestion
from autoselection.signals.table import SignalTable

Rows: TypeAlias = NDArray[np.int64]
Kind: TypeAlias = Literal["float", "int", "choice", "bool", "recipe", "sources", "weights", "signal"]
Note: TypeAlias = int | float | str

#: Decimal digits kept of every float parameter, so that equal recipes have equal hashes.
DIGITS = 6
#: Numbers lie between minus this and this.
LARGEST = 2**53


@dataclass(frozen=True)
class Param:
    """One declared parameter of an operator.

    Attributes:
        name: its key in a recipe.
        kind: float, int, choice, bool; ``recipe`` (id of a recipe), ``sources`` (source names), ``weights`` (a number
            >= 0 per source name), ``signal`` (name of a numeric column of the signal table; that it exists is checked
            when the step runs).
        default: value when it is not given; ``None`` for a parameter that is neither optional, grouped nor conditional
            means that it must be given.
        low, high: inclusive range of a number; ``None`` leaves the end open.
        log: searched on a logarithmic scale.
        choices: allowed values of a choice; known names in a searched ``sources`` or ``signal`` parameter.
        optional: ``None`` is allowed.
        searched: part of the default search space.
        help: one phrase for people, with the unit.
        group: exactly one parameter of a group is set; if none is given, the one with a default decides.
        when: ``(parameter, values)``: applies only while that choice has one of these values, and is refused otherwise;
            without values: applies, and is then required, only while that parameter is set.
        implicit: left out of canonical parameters while it has its default, so that a parameter declared later does not
            change the hashes of recipes that were stored before it.
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
        }[self.kind]

    def checked(self, value: Any) -> Any:
        """Return ``value`` in canonical form; ``ValueError`` if it is not in the domain."""
        result = self._coerced(value)
        if result is None:
            raise ValueError(f"must be {self.domain}, not {_shown(value)}")
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
        weights = {name: _real(weight) for name, weight in sorted(value.items())}
        if any(weight is None or weight < 0 for weight in weights.values()) or not any(weights.values()):
            return None
        return weights

    def _number(self, value: Any) -> float | int | None:
        number = _real(value)
        if number is None or (self.low is not None and number < self.low):
            return None
        if self.high is not None and number > self.high:
            return None
        if self.kind == "float":
            return number
        return int(number) if number == int(number) else None


def _shown(value: Any) -> str:
    return clipped(repr(value) if isinstance(value, (str, int, float)) else reprlib.repr(value))


def _real(value: Any) -> float | None:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        return None
    if isinstance(value, int) and abs(value) > LARGEST:  # floats, which whole numbers become, are exact below
        return None
    number = round(float(value), DIGITS)
    return number if abs(number) <= LARGEST else None


@dataclass(frozen=True)
class Context:
    """What an operator may see besides its rows.

    Attributes:
        signals: the pool's signals.
        seed: seed of the materialization.
        resolve: maps a recipe's id to its ordered rows (for set operations).
        occurrence: how many steps of the same operator came before in the recipe, so that two random steps draw
            independently while an edit elsewhere in the recipe does not change their draws.
    """

    signals: SignalTable
    seed: int
    resolve: Callable[[str], Rows]
    occurrence: int = 0

    def rng(self) -> np.random.Generator:
        """The step's random numbers."""
        return np.random.default_rng([self.seed, self.occurrence])


@dataclass(frozen=True)
class Outcome:
    """What an operator returns: the kept rows in order, and what happened.

    Attributes:
        rows: kept rows.
        missing: rows that came without the score the step needs (dropped or kept, as the step says).
        notes: further counts, for the lineage.
        best: the row to fall back to if ``rows`` is empty (default: the first row given).
    """

    rows: Rows
    missing: int = 0
    notes: Mapping[str, Note] = field(default_factory=lambda: MappingProxyType({}))
    best: int | None = None


class Operator(Protocol):
    """A selection step; see the module's docstring for the rules. :class:`BaseOperator` gives sensible defaults."""

    name: str
    family: str
    summary: str
    order: str
    params: tuple[Param, ...]
    randomized: bool
    searched: bool
    published: bool

    def needs(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """Signals read with these parameters: column names, ``mona``, ``text_hash``, ``minhash``, ``sae``,
        ``embeddings``, ``texts``."""
        ...

    def space(self, signals: SignalTable) -> tuple[Param, ...]:
        """The parameters with the ranges that make sense to search on this pool, in the order of ``params``."""
        ...

    def available(self, signals: SignalTable) -> bool:
        """Whether the pool has what the operator needs."""
        ...

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        """Apply the operator; ``params`` have been through :func:`validate_params`."""
        ...


class BaseOperator:
    """Defaults for the members of :class:`Operator` that many operators share."""

    name: str
    family: str
    summary: str
    order: str
    params: tuple[Param, ...] = ()
    randomized: bool = False
    searched: bool = True
    published: bool = True

    def needs(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        return ()

    def space(self, signals: SignalTable) -> tuple[Param, ...]:
        return self.params

    def available(self, signals: SignalTable) -> bool:
        return all(has_signal(signals, name) for name in self.needs({}))

    def check(self, params: Mapping[str, Any]) -> None:
        """Rules between parameters that single declarations cannot say; ``ValueError`` with one sentence."""


def has_signal(signals: SignalTable, name: str) -> bool:
    """Whether ``signals`` hold what :meth:`Operator.needs` calls ``name``."""
    if name == "mona":
        return bool(signals.tasks)
    if name in ("text_hash", "minhash", "sae", "embeddings", "texts"):
        return getattr(signals, name) is not None
    return name in signals.columns


def ranged(params: tuple[Param, ...], **changes: Mapping[str, Any]) -> tuple[Param, ...]:
    """A copy of ``params`` with fields of the named ones replaced: ``ranged(params, top_k={"high": 10})``."""
    return tuple(replace(param, **changes.get(param.name, {})) for param in params)


def validate_params(operator: Operator, params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the complete, canonical parameters of a step.

    Defaults are filled in, floats rounded to :data:`DIGITS` digits, the unset members of a group are ``None`` and
    parameters that do not apply (``Param.when``) are left out, and ``implicit`` ones at their default. Idempotent.

    Raises:
        RecipeError: unknown parameter, two of a group, one that does not apply, or a value out of range.
    """
    name = operator.name
    if not isinstance(params or {}, Mapping):
        raise RecipeError(
            f"operator '{name}': params must be a mapping of parameter names to values, not {_shown(params)}."
        )
    given = {str(key): value for key, value in (params or {}).items()}
    declared = {param.name: param for param in operator.params}
    for key in given:
        if key not in declared:
            raise RecipeError(f"operator '{name}': unknown parameter '{clipped(key)}'{suggestion(key, declared)}")
    deciding = _deciding(name, operator.params, given)
    result: dict[str, Any] = {}
    for param in operator.params:  # a choice is declared before the parameters that depend on it
        value = given.get(param.name)
        if not param.active(result):
            if value is not None:
                owner, values = param.when or ("", ())
                state = f"is {' or '.join(values)}" if values else "is set"
                raise RecipeError(
                    f"operator '{name}': parameter '{param.name}' applies only if {owner} {state}: "
                    f"remove it or change {owner} (now {'unset' if result.get(owner) is None else result[owner]})."
                )
            continue
        if param.group is not None and deciding[param.group] != param.name:
            result[param.name] = None
            continue
        value = param.default if value is None else value
        if param.implicit and value == param.default:
            continue
        if value is None and not param.optional:
            raise RecipeError(f"operator '{name}': parameter '{param.name}' is required: give {param.domain}.")
        try:
            result[param.name] = None if value is None else param.checked(value)
        except ValueError as error:
            raise RecipeError(f"operator '{name}': parameter '{param.name}' {error}.") from None
    check = getattr(operator, "check", None)  # not part of the protocol: operators from elsewhere may lack it
    if check is not None:
        try:
            check(result)
        except ValueError as error:
            raise RecipeError(f"operator '{name}': {error}.") from None
    return result


def _deciding(name: str, params: tuple[Param, ...], given: Mapping[str, Any]) -> dict[str, str | None]:
    """The parameter that decides in each group; ``None`` for an optional group of which nothing is given."""
    deciding: dict[str, str | None] = {}
    for group in dict.fromkeys(param.group for param in params if param.group is not None):
        members = [param for param in params if param.group == group]
        chosen = [param.name for param in members if given.get(param.name) is not None]
        if len(chosen) > 1:
            raise RecipeError(
                f"operator '{name}': {' and '.join(chosen)} are both given: "
                f"set exactly one of {', '.join(param.name for param in members)}."
            )
        fallback = next((param.name for param in members if param.default is not None), None)
        deciding[group] = chosen[0] if chosen else fallback
    return deciding
