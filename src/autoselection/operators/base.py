"""What an operator is: a pure function from ordered rows to ordered rows, with a declared parameter space.

Contract of every operator:

- it gets distinct row indices (int64) in an order that means something, and returns distinct row indices in the
  order its ``order`` sentence states; only the family ``set`` may return rows it was not given;
- it is deterministic: its randomness comes from :meth:`Context.rng` alone, ties are broken by row index;
- a row without a score (NaN) is dropped or kept as the parameter ``missing`` says, and counted in the outcome;
- it may return no rows at all; ``Outcome.best`` then names the row that a recipe falls back to;
- how often a row counts is no business of an operator, except of one that sets ``Outcome.copies``: rows are given and
  returned once, and the recipe keeps count beside them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import RecipeError
from autoselection.operators.judgement import Judgement, beside_kept
from autoselection.operators.param import Param, in_role, shown
from autoselection.operators.phrases import default_phrases
from autoselection.signals.table import SignalTable
from autoselection.wording import clipped, suggestion

Rows: TypeAlias = NDArray[np.int64]
Note: TypeAlias = int | float | str

#: Operators whose name is no part of the seed of their random numbers, as it once was for all: recipes with a random cap keep
#: their rows.
_FIRST_STREAM = ("", "truncate_samples")

#: Operators and parameters are keys of recipes, and words of sentences.
_WORD = re.compile(r"[\w-]+")


@dataclass(frozen=True)
class Context:
    """What an operator may see besides its rows.

    Attributes:
        signals: the pool's signals.
        seed: seed of the materialization.
        resolve: maps a recipe's id to its ordered rows (for set operations).
        occurrence: how many steps of the same operator came before in the recipe, those of recipes named by set operations
            included, so that two random steps draw independently while an edit elsewhere in the recipe does not change their draws.
        operator: name of the step's operator.
    """

    signals: SignalTable
    seed: int
    resolve: Callable[[str], Rows]
    occurrence: int = 0
    operator: str = ""

    @property
    def stream(self) -> tuple[int, ...]:
        """What the step's random numbers are seeded with: other operators have others."""
        own = () if self.operator in _FIRST_STREAM else (_named(self.operator),)
        return self.seed, self.occurrence, *own

    def rng(self) -> np.random.Generator:
        """The step's random numbers."""
        return np.random.default_rng(self.stream)


@cache
def _named(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Outcome:
    """What an operator returns: the kept rows in order, and what happened.

    Attributes:
        rows: kept rows.
        missing: rows that came without the score the step needs (dropped or kept, as the step says).
        notes: further counts, for the lineage.
        best: the row to fall back to if ``rows`` is empty (default: the first row given).
        copies: how often each of ``rows`` is to be trained on in one pass, at least once; None: as often as before the step,
            which is once where no step has said otherwise.
    """

    rows: Rows
    missing: int = 0
    notes: Mapping[str, Note] = field(default_factory=lambda: MappingProxyType({}))
    best: int | None = None
    copies: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class Decision:
    """One step of a recipe that ran: what it was given, and what it kept.

    Attributes:
        rows: the rows given, in their order.
        kept: the rows that the operator returned, in their order; none where it returned none.
        params: complete parameters.
        context: what the operator saw besides.
        members: bool[N], which rows of the pool are in ``kept``.
    """

    rows: Rows
    kept: Rows
    params: Mapping[str, Any]
    context: Context
    members: NDArray[np.bool_]

    @classmethod
    def of(cls, rows: Rows, kept: Rows, params: Mapping[str, Any], context: Context) -> Decision:
        """A decision from its rows."""
        members = np.zeros(context.signals.n, bool)
        members[kept] = True
        return cls(rows, kept, params, context, members)

    @property
    def signals(self) -> SignalTable:
        """The pool's signals."""
        return self.context.signals

    def places(self) -> NDArray[np.int64]:
        """int64[N]: where each row of the pool stands in ``rows``, from 0; -1 for one that was not given."""
        found = np.full(self.signals.n, -1, np.int64)
        found[self.rows] = np.arange(len(self.rows))
        return found


class Operator(Protocol):
    """A selection step; see the module's docstring for the rules. :class:`BaseOperator` has a default for every method but
    ``__call__``: derive from it and say what differs.

    What others than the operator need to know of a parameter is its :class:`~autoselection.operators.param.Param.role`:
    nothing is read from names.

    Attributes:
        name: its name in recipes.
        family: operators that do much the same: an edit seldom adds a second one. Two families mean more: ``set`` may return
            rows it was not given, ``size`` caps the number of rows whatever they hold, so that probes and new trajectories
            begin with one.
        summary: what it does, one line for people and language models.
        order: the order of the rows returned, one line.
        params: what a recipe may set.
        randomized: it draws from :meth:`Context.rng`.
        searched: part of the default search space, where the pool has what it needs.
        published: part of the published search space.
    """

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

    def check(self, params: Mapping[str, Any]) -> None:
        """Rules between parameters that single declarations cannot say; ``ValueError`` with one sentence."""
        ...

    def as_fraction(self, params: Mapping[str, Any], signals: SignalTable) -> float | None:
        """The strength of the step as a share of the pool's rows, whichever parameter decides it; None: it has none."""
        ...

    def scored_by(self, params: Mapping[str, Any]) -> str | None:
        """The column of the signal table whose scores decide which rows are kept, if it is one."""
        ...

    def phrases(self, params: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
        """The step in words, what decides first: ``["lowest 50%", "within source"]``.

        Args:
            params: complete parameters.
            names: what recipes are called, by the id that a step names.
        """
        ...

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        """Apply the operator; ``params`` have been through :func:`validate_params`."""
        ...


class BaseOperator:
    """Defaults for the members of :class:`Operator`, by the roles of parameters where these matter.

    Attributes:
        stand_ins: for a signal that :meth:`needs` names, those that the operator reads in its place on a pool without it,
            the first that the pool has. No part of :class:`Operator`: one that does not say so needs what it names.
    """

    name: str
    family: str
    summary: str
    order: str
    params: tuple[Param, ...] = ()
    randomized: bool = False
    searched: bool = True
    published: bool = True
    stand_ins: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    def needs(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """The column that decides, if the parameters name one."""
        column = self.scored_by(params)
        return () if column is None else (column,)

    def space(self, signals: SignalTable) -> tuple[Param, ...]:
        return self.params

    def available(self, signals: SignalTable) -> bool:
        return all(has_signal(signals, name) for name in needs_of_pool(self, {}, signals))

    def check(self, params: Mapping[str, Any]) -> None:
        """No rules."""

    def as_fraction(self, params: Mapping[str, Any], signals: SignalTable) -> float | None:
        """The parameter of role ``strength``."""
        strength = in_role(self.params, "strength")
        return None if strength is None else params.get(strength.name)

    def scored_by(self, params: Mapping[str, Any]) -> str | None:
        """The parameter of role ``column``."""
        column = in_role(self.params, "column")
        return None if column is None else params.get(column.name)

    def phrases(self, params: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
        """The parameters that have roles in the usual words, the others as ``name=value`` where they differ from their
        defaults."""
        return default_phrases(self.params, params, names)

    def judge(self, decision: Decision, asked: Rows) -> Sequence[Judgement | None]:
        """Why each of the rows ``asked`` about, all of them given, was kept or dropped; None where nothing is known of it.

        It is asked after the recipe ran, and no part of :class:`Operator`: an operator without it is judged like this
        one, by the scores of the column that it cuts by.
        """
        return judged_by_column(self.params, self.scored_by(decision.params), decision, asked)


def judged_by_column(
    params: tuple[Param, ...], column: str | None, decision: Decision, asked: Rows
) -> Sequence[Judgement | None]:
    """What can be told of any operator: by the scores of the column that it declares to cut by, if it declares one.

    Args:
        params: those that the operator declares.
        column: :meth:`Operator.scored_by` of the step.
    """
    end = in_role(params, "end")
    if column is None or column not in decision.signals.columns:
        return [None] * len(asked)
    scores = decision.signals.column(column)
    direction = None if end is None else decision.params.get(end.name)
    return beside_kept(column, scores[asked], decision.members[asked], scores[decision.kept], direction)


def declaration_problem(operator: Operator) -> str | None:
    """What is wrong with the names and roles that an operator declares, as one clause; None: nothing."""
    names = [param.name for param in operator.params]
    for what, name in (("its name", operator.name), *(("the name of a parameter", each) for each in names)):
        if not isinstance(name, str) or not _WORD.fullmatch(name):
            return f"{what}, {name!r}, is no plain word: use letters, digits, '_' and '-'"
    if len(set(names)) < len(names):
        return f"two parameters have one name ({', '.join(names)})"
    owners: dict[str, str] = {}
    for param in operator.params:
        if param.role is not None and owners.setdefault(param.role, param.name) != param.name:
            return (
                f"the parameters '{owners[param.role]}' and '{param.name}' both have the role {param.role}: one has it"
            )
    return None


def has_signal(signals: SignalTable, name: str) -> bool:
    """Whether ``signals`` hold what :meth:`Operator.needs` calls ``name``."""
    if name == "mona":
        return bool(signals.tasks)
    if name in ("text_hash", "minhash", "near_duplicates", "sae", "embeddings", "texts"):
        return getattr(signals, name) is not None
    return name in signals.columns


def alternatives(operator: Operator | BaseOperator, need: str) -> tuple[str, ...]:
    """What :meth:`Operator.needs` calls ``need``, and what stands in for it, the preferred one first."""
    stand_ins: Mapping[str, tuple[str, ...]] = getattr(operator, "stand_ins", {})
    return (need, *stand_ins.get(need, ()))


def needs_in_words(operator: Operator, mark: str = "") -> list[str]:
    """What the operator needs with its default parameters: ``embeddings or sae``, each name between two ``mark``."""
    return [" or ".join(f"{mark}{name}{mark}" for name in alternatives(operator, need)) for need in operator.needs({})]


def needs_of_pool(
    operator: Operator | BaseOperator, params: Mapping[str, Any], signals: SignalTable
) -> tuple[str, ...]:
    """What the operator reads of this pool: a need that it lacks is replaced by what stands in for it, if it has that."""
    return tuple(
        next((name for name in alternatives(operator, need) if has_signal(signals, name)), need)
        for need in operator.needs(params)
    )


def validate_params(operator: Operator, params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the complete, canonical parameters of a step.

    Defaults are filled in, floats rounded (:data:`~autoselection.operators.param.DIGITS`), the unset members of a group are ``None`` and
    parameters that do not apply (``Param.when``) are left out, and ``implicit`` ones at their default. A choice may be given
    with the parameter that it brings into play, ``groups: {column: topic}`` for ``groups: column`` and ``column: topic``.
    Idempotent.

    Raises:
        RecipeError: unknown parameter, two of a group, one that does not apply, or a value out of range.
    """
    name = operator.name
    params = {} if params is None else params
    if not isinstance(params, Mapping):
        raise RecipeError(
            f"operator '{name}': params must be a mapping of parameter names to values, not {shown(params)}."
        )
    given = {str(key): value for key, value in params.items()}
    declared = {param.name: param for param in operator.params}
    for key in given:
        if key not in declared:
            raise RecipeError(f"operator '{name}': unknown parameter '{clipped(key)}'{suggestion(key, declared)}")
    _spell_out(operator, given)
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
    try:
        operator.check(result)
    except ValueError as error:
        raise RecipeError(f"operator '{name}': {error}.") from None
    return result


def _spell_out(operator: Operator, given: dict[str, Any]) -> None:
    """Write ``choice: {value: more}`` out, where the value brings one parameter into play that is not given itself."""
    for param in operator.params:
        value = given.get(param.name)
        if param.kind != "choice" or not isinstance(value, Mapping) or len(value) != 1:
            continue
        chosen, more = next(iter(value.items()))
        brought = [other for other in operator.params if other.when == (param.name, (chosen,))]
        if chosen in param.choices and len(brought) == 1 and given.get(brought[0].name) is None:
            given |= {param.name: chosen, brought[0].name: more}


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
