"""Screening: both halves of every score that filters cut by, before anything is known of them.

Two subsets that differ in nothing but the end of one score tell which end is the better one. Blind probes mix several scores and
sizes; from as many of them the surrogate learns less (docs/results/search-parts.md). They are worth it where trainings are short.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from autoselection.operators import in_role
from autoselection.recipes import Recipe, Step
from autoselection.search.space import RecipeSpace

HALF = 0.5
"""Share of the rows that a screening recipe keeps."""
TOLERANCE = 0.02
"""How far it may be off (share of those rows)."""
_HALVINGS = 10


def screens(
    space: RecipeSpace, rng: np.random.Generator, rows_of: Callable[[Recipe], int], rows: int
) -> list[tuple[Recipe, ...]]:
    """Recipes of one step over the whole pool: scores in random order, for each the ends that the search draws.

    Each keeps half of the rows, or as near to it as its strength allows: the best half for every task is more than half
    of the pool, and ends of unlike sizes would say as much of the size as of the score.

    Args:
        rows_of: how many different rows a recipe selects.
        rows: of the pool.
    """
    found: list[tuple[Recipe, ...]] = []
    for name in space.filters:
        params = space.params(name)
        strength, end, scope, column = (in_role(params, role) for role in ("strength", "end", "scope", "column"))
        if strength is None or end is None:
            continue
        fixed: dict[str, Any] = {param.name: None for param in params if param.group and param.group == strength.group}
        fixed |= {} if scope is None else {scope.name: "whole"}
        for value in (None,) if column is None else column.choices or (column.default,):
            chosen = {**fixed, **({} if column is None else {column.name: value})}
            ends = [Step(name, {**chosen, end.name: side, strength.name: HALF}) for side in space.options(name, end)]
            found.append(tuple(_halved(space, step, strength.name, rows_of, HALF * rows) for step in ends))
    return [found[int(place)] for place in rng.permutation(len(found))]


def _halved(space: RecipeSpace, step: Step, strength: str, rows_of: Callable[[Recipe], int], target: float) -> Recipe:
    """A recipe of one step at the strength that selects as nearly ``target`` rows as can be; halving finds it, as more is
    kept the higher the share asked for."""
    low, high, share = 0.0, 1.0, HALF
    nearest: tuple[float, Recipe] | None = None
    for _ in range(_HALVINGS):
        recipe = Recipe((space.clamp(Step(step.operator, {**step.params, strength: share})),)).canonical(space.registry)
        kept = rows_of(recipe)
        off = abs(kept - target) / target
        if nearest is None or off < nearest[0]:
            nearest = off, recipe
        if off <= TOLERANCE:
            break
        low, high = (low, share) if kept > target else (share, high)
        share = (low + high) / 2
    assert nearest is not None
    return nearest[1]
