"""The best subset that recipes reach, by a long search with the truth in hand: many random recipes, then edits of the
best ones, generation after generation. An estimate from below."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from autoselection.operators import default_registry
from autoselection.recipes import PrefixCache, Recipe, materialize
from autoselection.search.baselines import latin_hypercube_recipes, random_recipes, single_operator_recipes
from autoselection.search.config import SearchConfig
from autoselection.search.credit import Credit
from autoselection.search.edits import Editor, UnionSource
from autoselection.search.space import RecipeSpace
from autoselection.signals.table import SignalTable

Rows = NDArray[np.int64]


def climb(
    table: SignalTable,
    truth: Callable[[list[Rows]], NDArray[np.float64]],
    min_rows: int,
    seed: int = 0,
    *,
    starts: int = 300,
    generations: int = 10,
    parents: int = 6,
    edits: int = 24,
    extra: Iterable[Recipe] = (),
) -> tuple[float, Recipe, Rows]:
    """The best score, recipe and rows found.

    Args:
        truth: scores many subsets at once, higher is better.
        extra: recipes to start from, beside the random ones.
    """
    registry = default_registry()
    config = SearchConfig(seed=seed)
    space = RecipeSpace(table, registry, config)
    cache = PrefixCache()
    known: dict[str, tuple[float, Recipe, Rows]] = {}
    tried: set[str] = set()

    def add(recipes: Iterable[Recipe]) -> None:
        fresh: dict[str, tuple[Recipe, Rows]] = {}
        for recipe in recipes:
            key = recipe.digest(registry)
            if key in tried:
                continue
            tried.add(key)
            outcome = materialize(recipe, table, seed=0, registry=registry, cache=cache)
            if len(outcome.rows) >= min_rows and outcome.subset_hash not in known:
                fresh[outcome.subset_hash] = (outcome.recipe, outcome.rows)
        scores = truth([rows for _, rows in fresh.values()]) if fresh else np.zeros(0)
        for (key, (recipe, rows)), score in zip(fresh.items(), scores.tolist(), strict=True):
            known[key] = (score, recipe, rows)

    add([Recipe(name="full"), *single_operator_recipes(table), *extra])
    add(random_recipes(table, starts // 2, seed))
    add(latin_hypercube_recipes(table, starts // 2, seed))
    rng = np.random.default_rng([seed, 5])
    for _ in range(generations):
        best = sorted(known.values(), key=lambda item: -item[0])[:parents]
        sources = [
            UnionSource(recipe, recipe.digest(registry), f"r{place}", 1.0 / (1 + place))
            for place, (_, recipe, _) in enumerate(best)
        ]
        for _, recipe, _ in best:
            editor = Editor(space, config.edits, config.max_steps, sources, Credit())
            proposals, _ = editor.propose(recipe, edits, rng)
            add(proposal.recipe for proposal in proposals)
    return max(known.values(), key=lambda item: item[0])
