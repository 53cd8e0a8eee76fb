"""The contract of operators (``autoselection.operators.base``), tried on small tables."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import RecipeError, SignalError
from autoselection.operators import (
    Context,
    Decision,
    Judgement,
    Operator,
    OperatorRegistry,
    Outcome,
    Rows,
    builtin_operators,
    sample_params,
    validate_params,
)
from autoselection.operators.base import declaration_problem, has_signal, needs_of_pool
from autoselection.plugins import has_members
from autoselection.recipes import Recipe, Step, materialize
from autoselection.recipes.copies import copied
from autoselection.signals.table import SignalTable
from autoselection.testing.tables import signal_table

#: Draws parameters for a table from a seed.
Draw = Callable[[SignalTable, int], Mapping[str, Any]]

_LARGEST_SEED = 2**63 - 1
_OTHER = "other"
#: Why two calls differ, most often.
_RANDOM = (
    "most often something random that is not drawn from context.rng(), such as np.random or random without context.seed, or "
    "something that is kept from one call to the next"
)
#: Rows of the tables that are tried, beside two that have one row and two.
_SIZES = (60, 1, 2, 7, 40, 25)


@dataclass(frozen=True)
class _Case:
    """An operator with parameters on some rows of a table."""

    operator: Operator
    table: SignalTable
    rows: Rows
    params: Mapping[str, Any]
    seed: int

    @property
    def context(self) -> Context:
        """What the operator sees besides its rows, as the first step of its kind in a recipe."""
        every_other = np.arange(0, self.table.n, 2, dtype=np.int64)
        return Context(self.table, self.seed, lambda _: every_other, operator=self.operator.name)

    def run(self, **changes: Any) -> Outcome:
        """The outcome, with other rows, parameters or another seed where they are given."""
        case = replace(self, **changes)
        try:
            outcome = case.operator(case.rows, case.params, case.context)
        except SignalError as error:
            needs = needs_of_pool(case.operator, case.params, case.table)
            what = ", ".join(f"'{name}'" for name in needs if not has_signal(case.table, name)) or "a signal"
            raise AssertionError(
                f"The operator '{case.operator.name}' cannot be tried: it reads {what}, which the tables that it is tried on "
                f"do not have. Give columns=[...] with the names of columns of other signals than ours, params= that name "
                f"other columns, or tables= that have them. (In a recipe the error would be: {error})"
            ) from error
        if not isinstance(outcome, Outcome):
            case.expect(False, f"it returns a {type(outcome).__name__}, not an Outcome: let it return Outcome(rows)")
        return outcome

    def expect(self, kept: bool, rule: str) -> None:
        """Raise AssertionError unless a rule was kept."""
        where = f"with {dict(self.params)}, seed {self.seed}, given {_some(self.rows)} of {self.table.n} rows"
        _expect(kept, self.operator, f"{rule} ({where})")


def check_operator(
    operator: Operator | type[Operator],
    *,
    params: Draw | None = None,
    tables: Iterable[SignalTable] | None = None,
    columns: Iterable[str] = (),
    seeds: Iterable[int] = range(18),
    greedy: bool = False,
) -> None:
    """Try an operator against its contract.

    It must be declared completely; be pure (rows, signals and NumPy's global random numbers stay as they are) and
    deterministic, with nothing random but by the seed it is given, however large; return distinct rows that it was given, in
    the order it states; break ties by row; do with no row, one row, and rows without a score, which it drops or keeps as its
    parameter says and counts; judge rows, if it says why it keeps or drops them, with margins of the right sign; search
    parameters that it accepts; and its parameters must survive a recipe's YAML.

    Args:
        operator: the operator, or its class, which is then called without arguments.
        params: parameters for a table, drawn from a seed; by default the searched ones at random.
        tables: to try it on; by default tables with every signal, ties and gaps (:func:`signal_table`).
        columns: names of further columns that the tables made by default have: those of signals of one's own that the
            operator reads.
        seeds: one case each.
        greedy: which rows it keeps depends on the order in which they are given, as with greedy deduplication.

    Raises:
        AssertionError: a rule is broken; the message names it, the parameters and the rows.
    """
    made: Operator = operator() if isinstance(operator, type) else operator
    further = tuple(columns)
    _check_declaration(made)
    given = None if tables is None else list(tables)
    tried = 0
    for number, seed in enumerate(seeds):
        table = _table(number, further) if given is None else given[number % len(given)]
        if not _is_available(made, table):
            continue
        _check_space(made, table, seed)
        for case in _cases(made, table, seed, params):
            tried += 1
            _check_parameters(case)
            _check_purity(case)
            _check_rows(case)
            _check_order(case, greedy)
            _check_missing(case)
            _check_edges(case)
            _check_judgements(case)
            _check_recipe(case)
            if isinstance(operator, type):
                again = replace(case, operator=operator()).run()
                case.expect(_same(again, case.run()), "another object of the class keeps other rows")
    _expect(
        tried > 0,
        made,
        "none of the tables has what it needs: give 'columns' of other signals than ours, or 'tables' that have it",
    )


def _table(number: int, columns: tuple[str, ...]) -> SignalTable:
    size, missing = _SIZES[number % len(_SIZES)], (0.1, 0.4, 0.0)[number % 3]
    return signal_table(number, n=size, sources=1 + number % 4, missing=missing, columns=columns)


def _some(rows: NDArray[Any]) -> str:
    shown = ", ".join(map(str, rows[:8].tolist()))
    return f"[{shown}{', …' if len(rows) > 8 else ''}]"


def _expect(kept: bool, operator: Operator, rule: str) -> None:
    if not kept:
        raise AssertionError(f"The operator '{getattr(operator, 'name', operator)}' breaks its contract: {rule}.")


def _same(left: Outcome, right: Outcome) -> bool:
    return (
        np.array_equal(left.rows, right.rows)
        and left.missing == right.missing
        and dict(left.notes) == dict(right.notes)
        and left.best == right.best
        and np.array_equal(copied(left.rows, left.copies), copied(right.rows, right.copies))
    )


def _check_declaration(operator: Operator) -> None:
    _expect(has_members(operator, Operator), operator, "it lacks members of autoselection.operators.Operator")
    for name in ("name", "family", "summary", "order"):
        value = getattr(operator, name)
        said = isinstance(value, str) and bool(value.strip()) and "\n" not in value
        _expect(said, operator, f"'{name}' must be a text of one line, not {value!r}")
    problem = declaration_problem(operator)
    _expect(problem is None, operator, str(problem))
    ours = next((each for each in builtin_operators() if each.name == operator.name), operator)
    _expect(type(ours) is type(operator), operator, "an operator of AutoSelection's own has that name: choose another")
    for param in operator.params:
        if param.default is None:
            continue
        try:
            param.checked(param.default)
        except ValueError as error:
            _expect(False, operator, f"the default of '{param.name}' {error}")
    bare = SignalTable.from_arrays(n=3)
    _expect(isinstance(_is_available(operator, bare), bool), operator, "available() must say True or False")


def _is_available(operator: Operator, table: SignalTable) -> bool:
    available = operator.available(table)
    return bool(available) if isinstance(available, (bool, np.bool_)) else available


def _check_space(operator: Operator, table: SignalTable, seed: int) -> None:
    """The space of a pool: the declared parameters, and nothing in it that would be refused."""
    space = operator.space(table)
    declared = [param.name for param in operator.params]
    _expect(
        [param.name for param in space] == declared,
        operator,
        "space() must have the parameters of 'params', in their order",
    )
    rng = np.random.default_rng(seed)
    for _ in range(5):
        try:
            drawn = sample_params(operator, table, rng, recipes=(_OTHER,))
        except RecipeError as error:
            if any(param.default is None and not param.searched for param in operator.params):
                return  # parameters that must be given and are not searched
            _expect(False, operator, f"its space holds parameters that it refuses: {error}")
        else:
            _expect(
                validate_params(operator, drawn) == drawn, operator, f"checked again, {drawn} become other parameters"
            )


def _cases(operator: Operator, table: SignalTable, seed: int, draw: Draw | None) -> Iterator[_Case]:
    rng = np.random.default_rng([seed, 1])
    rows = rng.permutation(table.n)[: rng.integers(1, table.n + 1)].astype(np.int64)
    try:
        drawn = (
            draw(table, seed)
            if draw
            else sample_params(operator, table, np.random.default_rng(seed), recipes=(_OTHER,))
        )
    except RecipeError as error:
        raise AssertionError(
            f"The operator '{operator.name}' needs parameters that are not searched: give 'params' ({error})"
        ) from error
    chosen = validate_params(operator, drawn)
    yield _Case(operator, table, rows, chosen, seed)
    for missing in operator.params:
        if missing.role == "missing" and missing.name in chosen:
            others = (choice for choice in missing.choices if choice != chosen[missing.name])
            yield from (_Case(operator, table, rows, {**chosen, missing.name: choice}, seed) for choice in others)


def _check_parameters(case: _Case) -> None:
    """Parameters in recipes, words and needs."""
    operator = case.operator
    case.expect(
        validate_params(operator, case.params) == case.params, "its parameters are others when they are checked again"
    )
    needs = operator.needs(case.params)
    case.expect(
        isinstance(needs, tuple) and all(isinstance(name, str) for name in needs), "needs() must be a tuple of names"
    )
    words = operator.phrases(case.params, {})
    case.expect(
        isinstance(words, list) and all(isinstance(word, str) for word in words), "phrases() must be a list of texts"
    )
    share = operator.as_fraction(case.params, case.table)
    case.expect(share is None or 0 <= share <= 1, f"as_fraction() must be from 0 to 1 or None, not {share}")


def _check_recipe(case: _Case) -> None:
    """The step in a recipe: written to YAML, read and run."""
    operator, registry = case.operator, OperatorRegistry([case.operator])
    if any(param.kind == "recipe" for param in operator.params):
        return
    recipe = Recipe((Step(operator.name, dict(case.params)),))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        recipe.dump(path)
        read = Recipe.load(path, registry=registry)
    case.expect(
        read.digest(registry) == recipe.digest(registry), "its parameters are others when a recipe's YAML is read"
    )
    outcome, selected = (
        case.run(rows=case.table.selectable),
        materialize(recipe, case.table, seed=case.seed, registry=registry),
    )
    if len(outcome.rows):
        case.expect(
            np.array_equal(copied(outcome.rows, outcome.copies), selected.rows),
            f"a recipe of this step selects other rows: {_RANDOM}",
        )


def _check_rows(case: _Case) -> None:
    outcome = case.run()
    rows = outcome.rows
    case.expect(
        isinstance(rows, np.ndarray) and rows.dtype == np.int64 and rows.ndim == 1, "rows must be one array of int64"
    )
    case.expect(len(np.unique(rows)) == len(rows), f"it returns a row twice: {_some(rows)}")
    if outcome.copies is not None:
        fits = np.shape(outcome.copies) == rows.shape and np.asarray(outcome.copies).dtype.kind in "iu"
        case.expect(
            fits and bool((outcome.copies >= 1).all()), "copies must be one whole number of at least 1 for each row"
        )
    if case.operator.family != "set":
        invented = rows[~np.isin(rows, case.rows)]
        case.expect(len(invented) == 0, f"it returns rows that it was not given: {_some(invented)}")
    case.expect(0 <= outcome.missing <= len(case.rows), f"it counts {outcome.missing} rows without a score")
    case.expect(
        outcome.best is None or outcome.best in case.rows, f"'best' is row {outcome.best}, which it was not given"
    )


def _check_purity(case: _Case) -> None:
    rows, signals = case.rows.copy(), _arrays(case.table)
    np.random.seed(1)
    state = np.random.get_state()[1].tobytes()  # type: ignore[index]
    first = case.run()
    case.expect(np.array_equal(case.rows, rows), "it changes the rows that it is given")
    case.expect(_arrays(case.table) == signals, "it changes the signals")
    unchanged = np.random.get_state()[1].tobytes() == state  # type: ignore[index]
    case.expect(unchanged, "it draws from NumPy's global random numbers: draw from context.rng()")
    other = case.run(seed=case.seed + 1)
    np.random.seed(2)
    case.expect(_same(case.run(), first), f"the same call keeps other rows the second time: {_RANDOM}")
    if not case.operator.randomized:
        case.expect(_same(other, first), "with another seed it keeps other rows, but is not declared as 'randomized'")
    large = replace(case, seed=_LARGEST_SEED)
    case.expect(_same(large.run(), large.run()), "the same call with a large seed keeps other rows the second time")


def _arrays(table: SignalTable) -> dict[str, bytes]:
    found = {name: np.asarray(column).tobytes() for name, column in table.columns.items()}
    for name in ("source", "text_hash", "minhash", "embeddings"):
        if (array := getattr(table, name)) is not None:
            found[name] = np.asarray(array).tobytes()
    return found


def _check_order(case: _Case, greedy: bool) -> None:
    kept = case.run().rows
    stated = case.operator.order.startswith("the order in which")
    if stated and case.operator.family != "set":
        in_order = case.rows[np.isin(case.rows, kept)]
        case.expect(np.array_equal(kept, in_order), f"it does not keep {case.operator.order}: {_some(kept)}")
    if greedy:
        return
    backward = case.run(rows=case.rows[::-1].copy()).rows
    case.expect(
        np.array_equal(np.sort(kept), np.sort(backward)),
        "given in another order, other rows are kept: ties are broken by row (or say greedy=True)",
    )
    if not stated:
        case.expect(
            np.array_equal(kept, backward), "given in another order, the rows kept are in another order than is stated"
        )


def _check_missing(case: _Case) -> None:
    """Rows without a score are dropped or kept as the parameter in the role ``missing`` says, and counted."""
    missing = next((param for param in case.operator.params if param.role == "missing"), None)
    column = case.operator.scored_by(case.params)
    if missing is None or column is None or column not in case.table.columns:
        return
    outcome = case.run()
    without = case.rows[np.isnan(case.table.columns[column][case.rows])]
    case.expect(
        outcome.missing == len(without),
        f"it counts {outcome.missing} rows without a score in '{column}', of {len(without)} given",
    )
    found = np.isin(without, outcome.rows)
    if case.params[missing.name] == "drop":
        case.expect(
            not found.any(), f"it keeps rows without a score that '{missing.name}: drop' drops: {_some(without[found])}"
        )
    elif not case.operator.randomized:  # which may draw among them
        case.expect(
            bool(found.all()),
            f"it drops rows without a score that '{missing.name}: keep' keeps: {_some(without[~found])}",
        )


def _check_judgements(case: _Case) -> None:
    """What an operator that has ``judge`` says of the rows it was given."""
    judge = getattr(case.operator, "judge", None)
    if judge is None:
        return
    kept = case.run().rows
    context = case.context
    asked = np.sort(case.rows)
    judged = judge(Decision.of(case.rows, kept, case.params, context), asked)
    case.expect(
        len(judged) == len(asked) and all(each is None or isinstance(each, Judgement) for each in judged),
        "judge() must give one Judgement, or None, of each row asked about",
    )
    for row, stays, each in zip(asked.tolist(), np.isin(asked, kept).tolist(), judged, strict=True):
        margin = None if each is None else each.margin
        case.expect(
            margin is None or (margin >= 0 if stays else margin <= 0),
            f"judge() says that row {row}, which it {'kept' if stays else 'dropped'}, has the margin {margin}: "
            "at least 0 of a row kept, at most 0 of one dropped",
        )


def _check_edges(case: _Case) -> None:
    nothing = case.run(rows=case.rows[:0])
    if case.operator.family != "set":
        case.expect(len(nothing.rows) == 0, f"given no row, it returns {_some(nothing.rows)}")
    alone = case.run(rows=case.rows[:1]).rows
    if case.operator.family != "set":
        case.expect(set(alone.tolist()) <= set(case.rows[:1].tolist()), f"given one row, it returns {_some(alone)}")
