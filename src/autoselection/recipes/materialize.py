"""From a recipe to rows: apply the steps to a pool's signals, and tell what each of them did."""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from autoselection import notebook
from autoselection.errors import AutoSelectionError, PoolError, RecipeError, SignalError
from autoselection.operators import Context, Operator, OperatorRegistry, Outcome, Rows, default_registry
from autoselection.operators.base import needs_of_pool
from autoselection.pool import Pool, Row, Subset
from autoselection.recipes.copies import copied
from autoselection.recipes.lineage import LEFT_NOTHING, WITH_COPIES, StepLineage, selects_nothing, told_of
from autoselection.recipes.lineage_warnings import lineage_remarks
from autoselection.recipes.recipe import Recipe, RecipeBook, Step, digest_steps, recipe_params
from autoselection.signals.table import SignalTable

if TYPE_CHECKING:
    import polars

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, repr=False)
class Materialization:
    """The rows a recipe selects from a pool.

    Attributes:
        recipe: the recipe in canonical form, with all its unions name inlined.
        rows: row indices, int64, read-only, in the order of the last step; a row that counts more than once stands there as
            often, one behind the other.
        subset_hash: 16 hex digits of the set of rows, and of how often each counts.
        lineage: what each step did.
        pool: the pool, if the signals were loaded from one.
        seed: what its random steps drew with.

    It is a sequence as its ``subset`` is: of rows, by id, place and slice.
    """

    recipe: Recipe
    rows: Rows
    subset_hash: str
    lineage: tuple[StepLineage, ...]
    pool: Pool | None = None
    seed: int = 0

    @cached_property
    def ordered_hash(self) -> str:
        """16 hex digits of the rows in their order."""
        return _row_hash(self.rows)

    @property
    def distinct(self) -> int:
        """Number of different rows."""
        return self.lineage[-1].rows_out if self.lineage else len(self.rows)

    @property
    def subset(self) -> Subset:
        """The rows themselves.

        Raises:
            PoolError: the signals were not loaded from a pool.
        """
        if self.pool is None:
            raise PoolError(
                "The signals were made from arrays, so that the rows are numbers alone (.rows): load the signals from a pool "
                "(load_table) to have their ids and texts."
            )
        return Subset(self.pool, self.rows)

    @property
    def ids(self) -> list[str]:
        """The ids of the rows, in their order."""
        return self.subset.ids

    def to_polars(self) -> polars.DataFrame:
        """The rows as a data frame, see :meth:`~autoselection.pool.Subset.to_polars`."""
        return self.subset.to_polars()

    def to_dataset(self) -> Any:
        """The rows as a ``datasets.Dataset``, see :meth:`~autoselection.pool.Subset.to_dataset`."""
        return self.subset.to_dataset()

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int | str) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Subset: ...

    def __getitem__(self, index: int | str | slice) -> Row | Subset:
        return self.subset[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.subset)

    def __contains__(self, item: object) -> bool:
        return item in self.subset

    def __repr__(self) -> str:
        return notebook.line("Materialization", f"{notebook.counted(len(self.rows), 'row')}:", self.recipe.describe())

    def _repr_html_(self) -> str:
        facts = {"recipe": self.recipe.describe(), "hash of the rows": self.subset_hash}
        steps = [
            (phrase, step.rows_in, step.rows_out, step.dropped, step.missing)
            for phrase, step in zip(self.recipe.describe_steps(), self.lineage, strict=True)
        ]
        headings = ("step", "rows in", "rows out", "dropped", "without a score")
        parts = [notebook.table(headings, steps, what="steps")] if steps else []
        parts += [notebook.bullets(lineage_remarks([step.to_dict() for step in self.lineage]))]
        parts += self.subset.tables() if self.pool is not None else []
        return notebook.page(f"{notebook.counted(len(self.rows), 'row')} selected", facts, *parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain data without the rows themselves."""
        return {
            "recipe": self.recipe.to_dict(),
            "recipe_hash": self.recipe.hash,
            "rows": len(self.rows),
            "subset_hash": self.subset_hash,
            "ordered_hash": self.ordered_hash,
            "lineage": [step.to_dict() for step in self.lineage],
        }


@dataclass(frozen=True, eq=False)
class StepResult:
    """What came out of a step.

    Attributes:
        rows: distinct rows, in the order of the step.
        lineage: what it did.
        copies: how often each of ``rows`` counts; None: once.
    """

    rows: Rows
    lineage: StepLineage
    copies: NDArray[np.int64] | None = None

    @property
    def held(self) -> int:
        """Numbers held in memory."""
        return len(self.rows) * (1 if self.copies is None else 2)


class PrefixCache:
    """Rows after the first steps of recipes, for one signal table: neighbours in a search share their first steps.

    Least recently used entries are dropped beyond ``limit`` rows in all.
    """

    def __init__(self, limit: int = 20_000_000) -> None:
        self.limit = limit
        self.hits = 0
        self._held = 0
        self._table: SignalTable | None = None
        self._entries: OrderedDict[tuple[int, str], StepResult] = OrderedDict()

    def get(self, signals: SignalTable, seed: int, prefix: str) -> StepResult | None:
        """What came out of the last step of the prefix with this digest, if known."""
        if self._table is not signals:
            self._table, self._held = signals, 0
            self._entries.clear()
        entry = self._entries.get((seed, prefix))
        if entry is None:
            return None
        self.hits += 1
        self._entries.move_to_end((seed, prefix))
        return entry

    def put(self, seed: int, prefix: str, result: StepResult) -> None:
        """Remember the outcome of a prefix of the table last asked about."""
        self._entries[seed, prefix] = result
        self._held += result.held
        while self._held > self.limit and len(self._entries) > 1:
            _, dropped = self._entries.popitem(last=False)
            self._held -= dropped.held


def materialize(
    recipe: Recipe,
    signals: SignalTable,
    *,
    seed: int = 0,
    book: RecipeBook | None = None,
    registry: OperatorRegistry | None = None,
    cache: PrefixCache | None = None,
) -> Materialization:
    """Apply a recipe to a pool. The same recipe, signals and seed give the same ordered rows.

    A step that would leave nothing keeps the best row instead (the one that came nearest to passing, for a step that cuts by
    values, else the first row it was given) and notes it. A recipe that a set operation names and that is left with nothing has no rows for it.

    Args:
        recipe: unions may name recipes of its own library, or of ``book`` by id or hash.
        signals: the pool's signals.
        seed: of all random steps.
        book: recipes that unions may name.
        registry: the operators (default: built-in ones and entry points).
        cache: keeps what prefixes of recipes selected, for the next call.

    Raises:
        RecipeError: the recipe is not valid, or names an unknown recipe, or the seed is no whole number from 0 on.
        SignalError: a step needs a signal that the pool does not have; names the step.

    >>> import autoselection as au
    >>> table = au.SignalTable.from_arrays({"ngram_entropy": [0.1, 0.9, 0.5, 0.7]})
    >>> recipe = au.Recipe((au.Step("ngram_entropy", {"fraction": 0.5}),))
    >>> materialize(recipe, table).rows.tolist()
    [1, 3]
    """
    if not isinstance(recipe, Recipe):
        raise RecipeError(
            f"materialize takes a Recipe, not {type(recipe).__name__}: load_recipe(name or file) gives one."
        )
    if not isinstance(signals, SignalTable):
        raise SignalError(
            f"materialize takes signals, not {type(signals).__name__}: load_table(pool) gives those of a pool."
        )
    _check_seed(seed)
    registry, inlined, cache = _prepared(recipe, signals, book, registry, cache)
    found, lineage, members = _run(inlined, signals, seed, registry, cache)
    rows = _frozen(copied(found.rows, found.copies))
    return Materialization(
        recipe=inlined,
        rows=rows,
        subset_hash=_row_hash(np.flatnonzero(members) if found.copies is None else np.sort(rows)),
        lineage=lineage,
        pool=signals.pool,
        seed=int(seed),
    )


@dataclass(frozen=True, eq=False)
class StepRun:
    """One step of a recipe as it ran on a pool.

    Attributes:
        number: from 1.
        step: the step, with complete parameters.
        operator: its operator.
        given, kept: rows before and after it, in their order.
        context: what the operator saw.
        lineage: what it did.
        member_recipe: of a set operation, the recipe that it names.
    """

    number: int
    step: Step
    operator: Operator
    given: Rows
    kept: Rows
    context: Context
    lineage: StepLineage
    member_recipe: Recipe | None = None


def step_runs(
    recipe: Recipe,
    signals: SignalTable,
    *,
    seed: int = 0,
    book: RecipeBook | None = None,
    registry: OperatorRegistry | None = None,
    cache: PrefixCache | None = None,
) -> list[StepRun]:
    """The steps of a recipe as they run; arguments and errors as of :func:`materialize`."""
    _check_seed(seed)
    registry, inlined, cache = _prepared(recipe, signals, book, registry, cache)
    runs: list[StepRun] = []
    _run(inlined, signals, seed, registry, cache, runs.append)
    return runs


def rows_by_step(
    recipe: Recipe,
    signals: SignalTable,
    *,
    seed: int = 0,
    book: RecipeBook | None = None,
    registry: OperatorRegistry | None = None,
    cache: PrefixCache | None = None,
) -> list[Rows]:
    """The distinct rows after each step of a recipe, in the order of its lineage; arguments and errors as of :func:`materialize`."""
    runs = step_runs(recipe, signals, seed=seed, book=book, registry=registry, cache=cache)
    return [run.kept for run in runs]


def dropped_rows(
    recipe: Recipe,
    signals: SignalTable,
    *,
    seed: int = 0,
    book: RecipeBook | None = None,
    registry: OperatorRegistry | None = None,
    cache: PrefixCache | None = None,
) -> tuple[Rows, NDArray[np.int64]]:
    """The rows of the pool that a recipe leaves out, in row order, and the number of the step that dropped each, from 1.

    A row that a set operation brought back counts for the step that dropped it last. 0: it could not be selected at all,
    because the pool's table excludes it (contaminated rows of a study).
    """
    dropped = np.full(signals.n, -1, np.int64)
    inside = _mask(signals.selectable, signals.n)
    dropped[~inside] = 0
    steps = rows_by_step(recipe, signals, seed=seed, book=book, registry=registry, cache=cache)
    for number, rows in enumerate(steps, start=1):
        kept = _mask(rows, signals.n)
        dropped[inside & ~kept] = number
        dropped[kept] = -1
        inside = kept
    left_out = np.flatnonzero(dropped >= 0)
    return left_out, dropped[left_out]


def subset_hash(rows: Rows, n: int | None = None) -> str:
    """16 hex digits of a set of rows and of how often each stands there, whatever their order; ``n`` (rows of the pool) makes
    it faster."""
    members = None if n is None else np.flatnonzero(_mask(rows, n))
    return _row_hash(np.sort(rows) if members is None or len(members) < len(rows) else members)


def ordered_hash(rows: Rows) -> str:
    """16 hex digits of rows in their order."""
    return _row_hash(rows)


def _check_seed(seed: int) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise RecipeError(f"A seed is a whole number from 0 on, not {seed!r}.")


def _prepared(
    recipe: Recipe,
    signals: SignalTable,
    book: RecipeBook | None,
    registry: OperatorRegistry | None,
    cache: PrefixCache | None,
) -> tuple[OperatorRegistry, Recipe, PrefixCache]:
    """What a recipe is applied with: the operators, the recipe in canonical form with all it names, the cache."""
    if len(signals.selectable) == 0:
        raise RecipeError("the pool has no rows to select from.")
    registry = registry or default_registry()
    inlined = (RecipeBook() if book is None else book).inline(recipe, registry=registry).canonical(registry)
    return registry, inlined, PrefixCache() if cache is None else cache


def _mask(rows: Rows, n: int) -> Mask:
    mask = np.zeros(n, bool)
    mask[rows] = True
    return mask


def _row_hash(rows: Rows) -> str:
    return hashlib.blake2b(np.ascontiguousarray(rows, "<i8").data, digest_size=8).hexdigest()


def _run(
    recipe: Recipe,
    signals: SignalTable,
    seed: int,
    registry: OperatorRegistry,
    cache: PrefixCache,
    told: Callable[[StepRun], None] | None = None,
) -> tuple[StepResult, tuple[StepLineage, ...], Mask]:
    """Apply a canonical, self-contained recipe; returns its last step's result, what each step did, and the rows as a mask.

    Args:
        told: is given each step as it ran.
    """

    inner: list[StepLineage] = []
    brought: dict[str, StepResult] = {}

    def resolve(key: str) -> Rows:
        found, steps, _ = _run(recipe.library[key], signals, seed, registry, cache)
        for step in told_of(steps):
            if step not in inner:  # recipes that name each other many times over are told of once
                inner.append(step)
        if selects_nothing(steps):  # the row kept instead of none is no row that this recipe asks for
            found = replace(found, rows=found.rows[:0], copies=None)
        brought[key] = found
        return found.rows

    result = StepResult(signals.selectable, _NO_STEP)
    members: Mask | None = None  # of rows; None: not looked at yet
    lineage: list[StepLineage] = []
    seen: Counter[str] = Counter()
    inside: dict[int, Counter[str]] = {}
    for index, step in enumerate(recipe.steps):
        prefix = digest_steps(recipe.steps[: index + 1])
        known = cache.get(signals, seed, prefix)
        context = Context(signals, seed, resolve, seen[step.operator], step.operator)
        before = result.rows
        if known is None:
            given = _mask(result.rows, signals.n) if members is None else members
            inner.clear()
            brought.clear()
            known, members = _apply(index + 1, registry.get(step.operator), step, result, given, context, brought)
            known = replace(known, lineage=replace(known.lineage, inner=tuple(inner))) if inner else known
            cache.put(seed, prefix, known)
        else:
            members = None
        result = known
        lineage.append(known.lineage)
        if told is not None:
            operator = registry.get(step.operator)
            named = next((step.params[name] for name in recipe_params(operator)), None)
            member = None if named is None else recipe.library.get(named)
            told(StepRun(index + 1, step, operator, before, known.rows, context, known.lineage, member))
        seen = _drawn(seen, recipe, step, registry, inside)
    return result, tuple(lineage), _mask(result.rows, signals.n) if members is None else members


def _drawn(
    seen: Counter[str], recipe: Recipe, step: Step, registry: OperatorRegistry, inside: dict[int, Counter[str]]
) -> Counter[str]:
    """How many steps of each operator have drawn after ``step``: those of the recipes that it names did, too.

    Args:
        inside: how many each recipe that was named before has, by its identity.
    """
    seen = seen + Counter([step.operator])
    for param in recipe_params(registry.get(step.operator)):
        member = recipe.library.get(step.params[param])
        if member is not None:
            if id(member) not in inside:
                inner: Counter[str] = Counter()
                for each in member.steps:
                    inner = _drawn(inner, member, each, registry, inside)
                inside[id(member)] = inner
            seen |= inside[id(member)]
    return seen


#: Of a recipe without steps, which nobody reads.
_NO_STEP = StepLineage("", {}, 0, 0, 0, 0)


def _apply(
    number: int,
    operator: Operator,
    step: Step,
    before: StepResult,
    given: Mask,
    context: Context,
    brought: Mapping[str, StepResult],
) -> tuple[StepResult, Mask]:
    rows = before.rows
    try:
        outcome = operator(rows, step.params, context)
    except (RecipeError, SignalError) as error:
        raise _located(error, number, operator.name) from error
    if not isinstance(outcome, Outcome):
        raise RecipeError(
            f"step {number}: operator '{operator.name}' returned a {type(outcome).__name__}, not an Outcome: "
            "let it return Outcome(rows)."
        )
    kept = np.ascontiguousarray(outcome.rows, np.int64)
    notes = dict(outcome.notes)
    own = outcome.copies
    if len(kept) == 0:
        own = None
        kept = np.array([rows[0] if outcome.best is None else outcome.best], np.int64)
        notes[LEFT_NOTHING] = int(kept[0])
    members, inside = _checked(number, operator, given, kept)
    copies = _counted(number, operator, kept, own, before, list(brought.values()), len(given))
    if copies is not None:
        notes[WITH_COPIES] = int(copies.sum())
    lineage = StepLineage(
        operator=step.operator,
        params=step.params,
        rows_in=len(rows),
        rows_out=len(kept),
        dropped=len(rows) - inside,
        missing=outcome.missing,
        notes=notes,
        reasons=_reasons(operator, step, context) if outcome.missing else {},
    )
    return StepResult(_frozen(kept), lineage, copies), members


def _counted(
    number: int,
    operator: Operator,
    kept: Rows,
    own: NDArray[np.int64] | None,
    before: StepResult,
    brought: Sequence[StepResult],
    n: int,
) -> NDArray[np.int64] | None:
    """How often each of the kept rows counts: as before the step, times what the step says; one that a set operation adds as
    in the recipe it comes from. None: once."""
    if own is None and all(found.copies is None for found in (*brought, before)):
        return None
    copies = np.ones(n, np.int64)
    for found in brought:
        copies[found.rows] = 1 if found.copies is None else found.copies
    copies[before.rows] = 1 if before.copies is None else before.copies
    result = copies[kept]
    if own is not None:
        said = np.asarray(own)
        if said.shape != kept.shape or said.dtype.kind not in "iu" or said.min() < 1:
            raise RecipeError(
                f"step {number}: operator '{operator.name}' returned copies that are not a whole number of at least 1 for "
                "each of its rows: fix the operator."
            )
        result = result * said
    return _frozen(result) if (result > 1).any() else None


def _reasons(operator: Operator, step: Step, context: Context) -> Mapping[str, int]:
    """Why rows of the pool lack what the step reads: the column it cuts by, else the first of which it is known."""
    column = operator.scored_by(step.params)
    named = () if column is None else (column,)
    found = (
        context.signals.why_unscored(need) for need in (*named, *needs_of_pool(operator, step.params, context.signals))
    )
    return next((why for why in found if why), {})


def _checked(number: int, operator: Operator, given: Mask, kept: Rows) -> tuple[Mask, int]:
    """The kept rows as a mask, and how many of them were given; RecipeError if the operator broke the rules."""
    if kept.min() < 0 or kept.max() >= len(given):
        problem = "returned a row that the pool does not have"
    else:
        members = _mask(kept, len(given))
        inside = int(np.count_nonzero(members & given))
        if np.count_nonzero(members) != len(kept):
            problem = "returned a row twice"
        elif inside < len(kept) and operator.family != "set":
            problem = "returned a row it was not given"
        else:
            return members, inside
    raise RecipeError(f"step {number}: operator '{operator.name}' {problem}: fix the operator.")


def _located(error: AutoSelectionError, number: int, name: str) -> AutoSelectionError:
    text = str(error)
    named = "" if f"'{name}'" in text else f"operator '{name}': "
    return type(error)(f"step {number}: {named}{text}", hint=error.hint)


def _frozen(rows: Rows) -> Rows:
    rows.flags.writeable = False
    return rows
