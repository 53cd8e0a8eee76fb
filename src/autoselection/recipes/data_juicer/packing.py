"""Recipes of any number of steps: runs of cuts go into recipes of their own, and come out of them again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import MappingProxyType

from autoselection.errors import RecipeError
from autoselection.recipes.recipe import MAX_STEPS, Recipe, Step


def packed(steps: Sequence[Step], name: str | None = None) -> Recipe:
    """A recipe of any number of steps: where they are more than a recipe has, cuts by thresholds go into recipes of their own.

    A cut by a threshold keeps the same rows wherever it stands, so that those of an inner recipe, run on the whole pool, can
    be brought in by ``intersect``; where they keep none, the recipe says so as it does of a cut of its own, and the one row
    that it then keeps may be another.

    Raises:
        RecipeError: too many other steps are left.
    """
    library: dict[str, Recipe] = {}
    outer = list(steps)
    while len(outer) > MAX_STEPS:
        run = longest_run(outer)
        if len(run) < 2:
            raise RecipeError(f"it takes {len(outer)} steps, and a recipe has at most {MAX_STEPS}: cut it in two.")
        inner = outer[run.start : run.stop][:MAX_STEPS]
        key = f"filters-{len(library) + 1}"
        library[key] = Recipe(tuple(inner), key)
        outer[run.start : run.start + len(inner)] = [Step("intersect", {"source_recipe": key})]
    return Recipe(tuple(outer), name, MappingProxyType(library))


def longest_run(steps: Sequence[Step]) -> range:
    best, start = range(0), 0
    for place, step in enumerate([*steps, None]):
        if step is None or step.operator != "score_filter" or step.params.get("threshold") is None:
            best = max(best, range(start, place), key=len)
            start = place + 1
    return best


def unpacked(recipe: Recipe) -> Iterable[Step]:
    """The steps, those of :func:`packed` recipes in their places."""
    for step in recipe.canonical().steps:
        inner = recipe.library.get(str(step.params.get("source_recipe"))) or recipe.canonical().library.get(
            str(step.params.get("source_recipe"))
        )
        cuts = [] if inner is None else list(inner.canonical().steps)
        if step.operator == "intersect" and cuts and len(longest_run(cuts)) == len(cuts):
            yield from cuts
        else:
            yield step
