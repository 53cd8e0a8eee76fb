"""What two subsets of a pool differ in: rows, sources, signals, state vectors, scores, and why one dropped what the other kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection import notebook
from autoselection.errors import PoolError, RecipeError
from autoselection.inspection.explanation import pool_of
from autoselection.operators import Rows
from autoselection.recipes import Fate, Recipe, materialize, state_vectors, why
from autoselection.recipes.state import HasRows
from autoselection.signals import SignalTable

#: Rows of each side that are shown.
EXAMPLES = 5


@dataclass(frozen=True, eq=False)
class Side:
    """One of two subsets.

    Attributes:
        name: what it is called.
        rows: its rows.
        signals: the pool's signals, as its recipe saw them.
        recipe: what selects it, if that is known.
        seed: of the recipe's random steps.
        scores: by task, and ``score`` over all, if it was evaluated.
    """

    name: str
    rows: Rows
    signals: SignalTable
    recipe: Recipe | None = None
    seed: int = 0
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SignalDifference:
    """The means of one signal; None where no row has a score.

    Attributes:
        name: of the column.
        pool, first, second: mean over the pool and over each subset.
        only_first, only_second: mean over the rows that only one has.
        apart: ``only_first - only_second`` in standard deviations of the pool.
    """

    name: str
    pool: float | None
    first: float | None
    second: float | None
    only_first: float | None
    only_second: float | None
    apart: float | None


@dataclass(frozen=True)
class Example:
    """A row that one subset has and the other has not.

    Attributes:
        row, id, source: which row.
        prompt, response: the beginnings of its two sides.
        fate: what the other side's recipe made of it; None without a recipe.
    """

    row: int
    id: str
    source: str
    prompt: str
    response: str
    fate: Fate | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**vars(self), "fate": None if self.fate is None else self.fate.to_dict()}


@dataclass(frozen=True, eq=False, repr=False)
class Difference:
    """Two subsets of a pool beside each other.

    Attributes:
        names: what they are called.
        both, only_first, only_second: rows in row order.
        sources: by name, rows of the pool, of both, of the first alone and of the second alone.
        signals: means, the signals that tell the two apart most first.
        state: by name the numbers of the state vectors.
        scores: by task, of the first and the second; None where one has none.
        recipes: in words; None where it is not known.
        examples: rows of the first alone, and of the second alone.
    """

    names: tuple[str, str]
    both: Rows
    only_first: Rows
    only_second: Rows
    sources: Mapping[str, tuple[int, int, int, int]]
    signals: tuple[SignalDifference, ...]
    state: Mapping[str, tuple[float | None, float | None]]
    scores: Mapping[str, tuple[float | None, float | None]]
    recipes: tuple[str | None, str | None]
    examples: tuple[tuple[Example, ...], tuple[Example, ...]]

    @property
    def overlap(self) -> float:
        """Rows in both over rows in either (Jaccard), 0 to 1."""
        union = len(self.both) + len(self.only_first) + len(self.only_second)
        return len(self.both) / max(1, union)

    @property
    def sentence(self) -> str:
        """The counts in words."""
        first, second = (f"'{name}'" for name in self.names)
        return (
            f"{len(self.both):,} rows are in both, {len(self.only_first):,} only in {first}, {len(self.only_second):,} only "
            f"in {second}: {self.overlap:.0%} of all that either has."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the numbers of all rows."""
        sides = ("pool", "both", "only_first", "only_second")
        return {
            "first": self.names[0],
            "second": self.names[1],
            "recipes": list(self.recipes),
            "both": self.both.tolist(),
            "only_first": self.only_first.tolist(),
            "only_second": self.only_second.tolist(),
            "overlap": self.overlap,
            "sentence": self.sentence,
            "sources": {name: dict(zip(sides, counts, strict=True)) for name, counts in self.sources.items()},
            "signals": [vars(each) for each in self.signals],
            "state": {name: list(values) for name, values in self.state.items()},
            "scores": {name: list(values) for name, values in self.scores.items()},
            "examples": {
                "only_first": [each.to_dict() for each in self.examples[0]],
                "only_second": [each.to_dict() for each in self.examples[1]],
            },
        }

    def __repr__(self) -> str:
        return notebook.line("Difference", self.sentence)

    def _repr_html_(self) -> str:
        first, second = self.names
        sources = [(name, *counts) for name, counts in self.sources.items()]
        signals = [(s.name, s.pool, s.first, s.second, s.only_first, s.only_second, s.apart) for s in self.signals]
        parts = [
            notebook.table(("source", "pool", "both", f"only {first}", f"only {second}"), sources, what="sources"),
            notebook.table(
                ("mean of", "pool", first, second, f"only {first}", f"only {second}", "apart (sd)"),
                signals,
                what="signals",
                shown=100,
            ),
            notebook.table(("state", first, second), [(name, *pair) for name, pair in self.state.items()], shown=100),
        ]
        if self.scores:
            parts.append(notebook.table(("dev score", first, second), [(n, *pair) for n, pair in self.scores.items()]))
        for name, examples in zip(self.names, self.examples, strict=True):
            lines = [
                (each.id, each.source, each.prompt, each.response, "" if each.fate is None else each.fate.sentence)
                for each in examples
            ]
            if lines:
                parts.append(notebook.table(("row", "source", f"only in {name}", "response", "why"), lines, cell=300))
        return notebook.page(self.sentence, {}, *parts)


def diff(
    first: Recipe | HasRows | Rows,
    second: Recipe | HasRows | Rows,
    signals: SignalTable,
    *,
    seed: int = 0,
    names: tuple[str, str] = ("first", "second"),
    examples: int = EXAMPLES,
) -> Difference:
    """What two subsets of a pool differ in.

    Args:
        first, second: recipes, what :func:`~autoselection.recipes.materialize` gave, or row numbers.
        signals: of the pool.
        seed: of the recipes' random steps, and of the examples.
        names: what to call the two.
        examples: rows of each side alone that are shown (count).

    Raises:
        PoolError: a row is not of the pool, or the signals are not of a pool.
        RecipeError, SignalError: as of ``materialize``.

    >>> import autoselection as au
    >>> rows = [{"id": f"r{n}", "prompt": "Say it.", "response": "word " * n} for n in (1, 2, 3)]
    >>> pool = au.ingest(rows, "compared").pool
    >>> report = au.score_pool(pool, signals=["lengths"])
    >>> recipe = au.Recipe((au.Step("score_filter", {"signal": "n_response_words", "threshold": 2}),))
    >>> type(diff(recipe, au.Recipe(), au.load_table(pool))).__name__
    'Difference'
    """
    sides = [_side(name, given, signals, seed) for name, given in zip(names, (first, second), strict=True)]
    return difference(sides[0], sides[1], examples=examples, seed=seed)


def _side(name: str, given: Any, signals: SignalTable, seed: int) -> Side:
    if isinstance(given, Recipe):
        return Side(name, materialize(given, signals, seed=seed).rows, signals, given, seed)
    if isinstance(given, str):
        raise RecipeError(f"'{given}' is a name, and two subsets are compared: load_recipe('{given}') gives a recipe.")
    rows = pool_of(signals).check_rows(getattr(given, "rows", given))
    return Side(name, rows, signals, getattr(given, "recipe", None), seed)


def difference(first: Side, second: Side, *, examples: int = EXAMPLES, seed: int = 0) -> Difference:
    """What two sides differ in; scores of signals are those that the first sees.

    Raises:
        PoolError: they are of different pools.
    """
    pool = pool_of(first.signals)
    if pool.fingerprint != pool_of(second.signals).fingerprint:
        raise PoolError(
            f"{first.name} and {second.name} are subsets of different pools: name one pool for both (--pool), or see what a "
            "recipe does on two pools with 'autoselection apply RECIPE --pool POOL --against OTHER'."
        )
    n = first.signals.n
    one, two = (_mask(side.rows, n) for side in (first, second))
    both, only_first, only_second = (np.flatnonzero(mask) for mask in (one & two, one & ~two, two & ~one))
    return Difference(
        names=(first.name, second.name),
        both=both,
        only_first=only_first,
        only_second=only_second,
        sources=_sources(first.signals, both, only_first, only_second),
        signals=_signals(first.signals, one, two),
        state=_states(first, second),
        scores={name: (first.scores.get(name), second.scores.get(name)) for name in {**first.scores, **second.scores}},
        recipes=(_words(first), _words(second)),
        examples=(
            _examples(only_first, first.signals, second, examples, seed),
            _examples(only_second, first.signals, first, examples, seed),
        ),
    )


def _words(side: Side) -> str | None:
    return None if side.recipe is None else side.recipe.describe()


def _mask(rows: Rows, n: int) -> NDArray[np.bool_]:
    mask = np.zeros(n, bool)
    mask[rows] = True
    return mask


def _sources(signals: SignalTable, *groups: Rows) -> dict[str, tuple[int, int, int, int]]:
    """Rows of each source in the pool and in each group, the largest source first."""
    width = len(signals.source_names)
    counts = [np.bincount(signals.source, minlength=width)]
    counts += [np.bincount(signals.source[rows], minlength=width) for rows in groups]
    order = np.argsort(-counts[0], kind="stable").tolist()
    return {
        signals.source_names[code]: (
            int(counts[0][code]),
            int(counts[1][code]),
            int(counts[2][code]),
            int(counts[3][code]),
        )
        for code in order
    }


def _signals(signals: SignalTable, one: NDArray[np.bool_], two: NDArray[np.bool_]) -> tuple[SignalDifference, ...]:
    found = []
    for name in sorted(signals.columns):
        scores = signals.columns[name].astype(np.float64)
        known = ~np.isnan(scores)
        pool, first, second = (_mean(scores[known & mask]) for mask in (known, one, two))
        only_first, only_second = (_mean(scores[known & mask]) for mask in (one & ~two, two & ~one))
        spread = float(scores[known].std()) if known.any() else 0.0
        apart = None
        if only_first is not None and only_second is not None and spread > 0:
            apart = (only_first - only_second) / spread
        found.append(SignalDifference(name, pool, first, second, only_first, only_second, apart))
    return tuple(sorted(found, key=lambda each: -abs(each.apart or 0.0)))


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None


def _states(first: Side, second: Side) -> dict[str, tuple[float | None, float | None]]:
    one, two = (state.flat() for state in state_vectors([first.rows, second.rows], first.signals))
    names = [name for name in {**one, **two} if name != "cumulative_cost_ratio" and not name.startswith("source_")]
    return {name: (one.get(name), two.get(name)) for name in names}


def _examples(rows: Rows, signals: SignalTable, other: Side, count: int, seed: int) -> tuple[Example, ...]:
    """Some rows that the other side has not, drawn at random, in row order."""
    drawn = np.sort(np.random.default_rng(seed).permutation(rows)[: max(0, count)])
    if not len(drawn) or other.recipe is None:
        return examples_of(drawn, signals, [None] * len(drawn))
    return examples_of(drawn, signals, why(other.recipe, other.signals, drawn, seed=other.seed))


def examples_of(rows: Rows, signals: SignalTable, fates: Sequence[Fate | None]) -> tuple[Example, ...]:
    """Rows as examples, each with its fate."""
    pool = pool_of(signals)
    sides = [[notebook.short(text, 300) for text in pool.parts(part, rows)] for part in ("prompt", "response")]
    return tuple(
        Example(*values)
        for values in zip(rows.tolist(), pool.row_ids(rows), pool.sources(rows), *sides, fates, strict=True)
    )
