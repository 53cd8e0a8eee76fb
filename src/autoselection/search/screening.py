"""Screening: both halves of every score that filters cut by, before anything is known of them.

Two subsets that differ in nothing but the end of one score tell which end is the better one. Blind probes mix several scores and
sizes; from as many of them the surrogate learns less (docs/results/search-parts.md). They are worth it where trainings are short.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from autoselection.operators import in_role
from autoselection.recipes import Recipe, Step
from autoselection.search.space import RecipeSpace

HALF = 0.5
"""Share of the rows that a screening recipe keeps."""


def screens(space: RecipeSpace, rng: np.random.Generator) -> list[Recipe]:
    """Recipes of one step over the whole pool: scores in random order, the ends of each that the search draws in turn."""
    found: list[list[Recipe]] = []
    for name in space.filters:
        params = space.params(name)
        strength, end, scope, column = (in_role(params, role) for role in ("strength", "end", "scope", "column"))
        if strength is None or end is None:
            continue
        fixed: dict[str, Any] = {param.name: None for param in params if param.group and param.group == strength.group}
        fixed |= {strength.name: HALF, **({} if scope is None else {scope.name: "whole"})}
        columns = (None,) if column is None else column.choices or (column.default,)
        by_column: dict[str | None, list[Recipe]] = {}
        for value, side in product(columns, space.options(name, end)):
            chosen = {**fixed, end.name: side, **({} if column is None else {column.name: value})}
            recipe = Recipe((space.clamp(Step(name, chosen)),)).canonical(space.registry)
            by_column.setdefault(value, []).append(recipe)
        found += by_column.values()
    return [recipe for place in rng.permutation(len(found)) for recipe in found[int(place)]]
