"""Which recipes are evaluated: drawn to cover the space, from the package's own operators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoselection.operators import default_registry
from autoselection.recipes import PrefixCache, Recipe, materialize
from autoselection.search.baselines import (
    full_recipe,
    latin_hypercube_recipes,
    random_recipes,
    random_subset,
    single_operator_recipes,
)
from autoselection.search.config import SearchConfig
from autoselection.search.credit import Credit
from autoselection.search.edits import Editor, UnionSource
from autoselection.search.space import RecipeSpace
from autoselection.signals.table import SignalTable

SEED = 20_261_124
#: Recipes of each kind. ``edits`` are drawn in rounds around the best recipes so far, by their dev scores.
COUNTS = {"zones": 150, "hypercube": 100, "free": 150, "random rows": 20, "edits": 60}
EDIT_ROUNDS = 4
PARENTS = 12
#: Smaller subsets are not evaluated, as in a search.
LEAST_ROWS = 37


@dataclass(frozen=True)
class Entry:
    """A subset to evaluate, and where it comes from. ``recipe`` is None for rows drawn at random."""

    kind: str
    recipe: Recipe | None
    rows: NDArray[np.int64]


class Drawer:
    """Draws the recipes of one pool.

    Args:
        counts: recipes of each kind; ``single`` limits the single operators to so many, drawn at random.
        least_rows: smaller subsets are left out.
    """

    def __init__(
        self, table: SignalTable, counts: Mapping[str, int] = COUNTS, seed: int = SEED, least_rows: int = LEAST_ROWS
    ) -> None:
        self.table = table
        self.counts = counts
        self.seed = seed
        self.least_rows = least_rows
        self.config = SearchConfig()
        self.registry = default_registry()
        self.space = RecipeSpace(table, self.registry, self.config)
        self.cache = PrefixCache()

    def first(self) -> list[Entry]:
        """Everything but the edits."""
        entries = [self._entry("full", full_recipe())]
        entries += [self._entry("single", recipe) for recipe in self._single()]
        zones = random_recipes(self.table, self.counts["zones"], self.seed)
        entries += [self._entry("zones", recipe) for recipe in zones]
        cube = latin_hypercube_recipes(self.table, self.counts["hypercube"], self.seed)
        entries += [self._entry("hypercube", recipe) for recipe in cube]
        entries += [self._entry("free", recipe) for recipe in self._free(self.counts["free"])]
        shares = np.random.default_rng([self.seed, 1]).uniform(0.05, 0.95, self.counts["random rows"])
        for number, share in enumerate(shares.tolist()):
            rows = random_subset(self.table.n, int(share * self.table.n), self.seed + number)
            entries.append(Entry("random rows", None, rows))
        return [entry for entry in entries if len(entry.rows) >= self.least_rows]

    def _single(self) -> list[Recipe]:
        recipes = single_operator_recipes(self.table)
        most = self.counts.get("single", len(recipes))
        if most >= len(recipes):
            return recipes
        chosen = np.random.default_rng([self.seed, 4]).choice(len(recipes), most, replace=False)
        return [recipes[i] for i in np.sort(chosen)]

    def edits(self, number: int, best: Sequence[Recipe]) -> list[Entry]:
        """Round ``number`` of edits of the best recipes so far (best first)."""
        rng = np.random.default_rng([self.seed, 2, number])
        sources = [
            UnionSource(recipe, recipe.digest(self.registry), f"r{place}", 1.0 / (1 + place))
            for place, recipe in enumerate(best)
        ]
        entries: list[Entry] = []
        each = -(-self.counts["edits"] // len(best))
        for recipe in best:
            editor = Editor(self.space, self.config.edits, self.config.max_steps, sources, Credit())
            proposals, _ = editor.propose(recipe, each, rng)
            entries += [self._entry("edits", proposal.recipe) for proposal in proposals]
        return [entry for entry in entries if len(entry.rows) >= self.least_rows][: self.counts["edits"]]

    def _free(self, count: int) -> Iterator[Recipe]:
        """One to five distinct operators in any order, with any parameters; one in five ends with a union."""
        rng = np.random.default_rng([self.seed, 3])
        made: list[Recipe] = []
        while len(made) < count:
            length = int(rng.integers(1, self.config.max_steps + 1))
            names = rng.permutation(self.space.plain)[:length].tolist()
            recipe = Recipe(tuple(self.space.draw(name, rng) for name in names)).canonical(self.registry)
            if made and length < self.config.max_steps and rng.random() < 0.2:
                other = made[int(rng.integers(len(made)))]
                key = other.digest(self.registry)
                step = self.space.draw("union", rng, recipes=[key])
                recipe = Recipe((*recipe.steps, step), library={**recipe.library, key: other}).canonical(self.registry)
            if len(self._entry("free", recipe).rows) >= self.least_rows:
                made.append(recipe)
                yield recipe

    def _entry(self, kind: str, recipe: Recipe) -> Entry:
        outcome = materialize(recipe, self.table, seed=0, registry=self.registry, cache=self.cache)
        return Entry(kind, outcome.recipe, outcome.rows)
