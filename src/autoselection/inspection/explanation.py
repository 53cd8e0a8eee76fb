"""Everything about a row and a recipe: its signals, what each step made of it, its duplicates, its nearest target items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection import notebook
from autoselection.errors import PoolError
from autoselection.inspection.relatives import NearItem, Relative, nearest_items, relatives
from autoselection.inspection.show import ShownRow, numbers_of, shown_rows
from autoselection.pool import Pool
from autoselection.recipes import Fate, PrefixCache, Recipe, materialize, why
from autoselection.signals import SignalTable
from autoselection.tasks.items import TaskItem


@dataclass(frozen=True)
class Twin:
    """A row of the pool that is like the one explained.

    Attributes:
        relative: which row, how alike, how much.
        id: its id.
        selected: whether the recipe selects it.
    """

    relative: Relative
    id: str
    selected: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"id": self.id, **self.relative.to_dict(), "selected": self.selected}


@dataclass(frozen=True, repr=False)
class Explanation:
    """A row, and what a recipe made of it.

    Attributes:
        shown: the row with its signals and their percentiles.
        fate: what each step made of it.
        twins: the rows most like it.
        items: the nearest target items, where tasks were given.
        ids: of the rows that the judgements name, by number.
    """

    shown: ShownRow
    fate: Fate
    twins: tuple[Twin, ...]
    items: tuple[NearItem, ...]
    ids: Mapping[int, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **self.shown.to_dict(),
            "fate": self.fate.to_dict(),
            "duplicates": [twin.to_dict() for twin in self.twins],
            "target_items": [item.to_dict() for item in self.items],
            "ids": {str(row): name for row, name in self.ids.items()},
        }

    def __repr__(self) -> str:
        return notebook.line("Explanation", f"{self.shown.row.id}: {self.fate.sentence}")

    def _repr_html_(self) -> str:
        row = self.shown.row
        steps = [
            (each.number, each.phrase, "kept" if each.kept else "dropped", said)
            for each in self.fate.steps
            for said in ("" if each.judgement is None else each.judgement.sentence,)
        ]
        twins = [(t.id, t.relative.likeness, t.relative.similarity, "yes" if t.selected else "no") for t in self.twins]
        parts = [notebook.table(("step", "what it does", "the row was", "why"), steps, what="steps", cell=400)]
        parts += self.shown.html()
        parts += [notebook.table(("duplicate", "by", "similarity", "selected"), twins, what="rows")] if twins else []
        items = [(item.task, item.id, item.similarity, item.prompt) for item in self.items]
        if items:
            parts.append(notebook.table(("task", "target item", "similarity", "question"), items, what="items"))
        return notebook.page(f"Row {row.row}: {row.id}", {"source": row.source, "fate": self.fate.sentence}, *parts)


@dataclass(frozen=True, repr=False)
class Explanations(Sequence[Explanation]):
    """Explanations of several rows by one recipe."""

    recipe: Recipe
    rows: tuple[Explanation, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"recipe": self.recipe.describe(), "rows": [each.to_dict() for each in self.rows]}

    def __repr__(self) -> str:
        return notebook.line("Explanations", f"{notebook.counted(len(self), 'row')}:", self.recipe.describe())

    def _repr_html_(self) -> str:
        return notebook.page(
            f"Why {self.recipe.describe()} kept or dropped rows", {}, *(each._repr_html_() for each in self.rows)
        )


def explain(
    recipe: Recipe,
    signals: SignalTable,
    rows: Sequence[str | int] | NDArray[np.int64],
    *,
    seed: int = 0,
    targets: Mapping[str, Sequence[TaskItem]] | None = None,
    most: int = 5,
) -> Explanations:
    """Say of rows why a recipe kept or dropped them, and what they are like.

    Args:
        recipe, signals, seed: as of :func:`~autoselection.recipes.materialize`; the signals are those of a pool.
        rows: ids or numbers.
        targets: target items by task, of which the nearest are named.
        most: duplicates of each kind, and target items of each task, that are named (count).

    Raises:
        PoolError: there is no such row, or the signals are not of a pool.
        RecipeError, SignalError: as of ``materialize``.

    >>> import autoselection as au
    >>> rows = [{"id": f"r{n}", "prompt": "Say it.", "response": "word " * n} for n in (1, 2, 3)]
    >>> pool = au.ingest(rows, "explained").pool
    >>> report = au.score_pool(pool, signals=["lengths"])
    >>> recipe = au.Recipe((au.Step("score_filter", {"signal": "n_response_words", "threshold": 2}),))
    >>> [each.fate.sentence[:7] for each in explain(recipe, au.load_table(pool), ["r1"])]
    ['Step 1,']
    """
    pool = pool_of(signals)
    numbers, cache = numbers_of(pool, rows), PrefixCache()
    selected = np.zeros(signals.n, bool)
    selected[materialize(recipe, signals, seed=seed, cache=cache).rows] = True
    fates = why(recipe, signals, numbers, every_step=True, seed=seed, cache=cache)
    found = []
    for shown, fate in zip(shown_rows(pool, signals, numbers), fates, strict=True):
        near = relatives(signals, fate.row, most)
        named = sorted({*(each.row for each in near), *others_of(fate)})
        ids = dict(zip(named, pool.row_ids(named), strict=True))
        twins = tuple(Twin(each, ids[each.row], bool(selected[each.row])) for each in near)
        items = tuple(nearest_items(shown.row.text, targets or {}, most))
        found.append(Explanation(shown, fate, twins, items, ids))
    return Explanations(recipe, tuple(found))


def pool_of(signals: SignalTable) -> Pool:
    """The pool whose signals these are.

    Raises:
        PoolError: they were made from arrays.
    """
    if signals.pool is None:
        raise PoolError("The signals were made from arrays: load them from a pool (load_table) to have its rows.")
    return signals.pool


def others_of(fate: Fate) -> Iterator[int]:
    """The rows that the judgements of a row name."""
    for each in fate.steps:
        if each.judgement is not None and each.judgement.other is not None:
            yield each.judgement.other
        if each.other is not None:
            yield from others_of(each.other)
