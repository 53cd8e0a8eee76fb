"""Which signals a recipe reads, and which of them a pool still lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from autoselection.operators import Operator, OperatorRegistry, default_registry, in_role
from autoselection.operators.base import has_signal
from autoselection.recipes.recipe import Recipe
from autoselection.signals.registry import default_registry as signal_registry
from autoselection.signals.table import SignalTable

#: Arrays of a table and the signal that yields them, where the names differ: near duplicates come with their signatures.
_SIGNAL_OF: Mapping[str, str] = {"minhash": "near_duplicates"}


def recipe_signals(recipe: Recipe, registry: OperatorRegistry | None = None) -> tuple[str, ...]:
    """The signals (as ``autoselection score --signals`` calls them) that a recipe reads, in the order of its steps.

    Recipes that its unions name count too, as far as they are in its library. What no signal yields is left out:
    running the recipe tells of it.

    Raises:
        RecipeError: the recipe is not valid.
    """
    return _signals(need for _, _, need in _needs(recipe, registry or default_registry()))


def lacking_signals(recipe: Recipe, signals: SignalTable, registry: OperatorRegistry | None = None) -> tuple[str, ...]:
    """Those of :func:`recipe_signals` that ``signals`` do not hold.

    Raises:
        RecipeError: the recipe is not valid.
    """
    found = _needs(recipe, registry or default_registry())
    return _signals(need for operator, params, need in found if not _held(operator, params, need, signals))


def _needs(recipe: Recipe, registry: OperatorRegistry) -> Iterator[tuple[Operator, Mapping[str, Any], str]]:
    canonical = recipe.canonical(registry)
    for step in canonical.steps:
        operator = registry.get(step.operator)
        for need in operator.needs(step.params):
            yield operator, step.params, need
    for inner in canonical.library.values():
        yield from _needs(inner, registry)


def _held(operator: Operator, params: Mapping[str, Any], need: str, signals: SignalTable) -> bool:
    scope = in_role(operator.params, "scope")
    within = None if scope is None else params.get(scope.name)
    if need == "embeddings" and within == "cluster" and signals.sae is not None:
        return True  # a pool without embeddings is clustered by its features
    if need == "minhash" and signals.near_duplicates is not None:
        return True
    return has_signal(signals, need)


def _signals(needs: Iterable[str]) -> tuple[str, ...]:
    arrays = ("mona", "text_hash", "sae", "embeddings", "near_duplicates")
    named = (
        _SIGNAL_OF.get(need) or (need if need in arrays else signal_registry().signal_of_column(need)) for need in needs
    )
    return tuple(dict.fromkeys(name for name in named if name is not None))
