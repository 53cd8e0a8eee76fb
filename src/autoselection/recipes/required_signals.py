"""Which signals a recipe reads, and which of them a pool still lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from autoselection.operators import Operator, OperatorRegistry, default_registry
from autoselection.operators.base import has_signal, needs_of_pool
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
    steps = every_step(recipe, registry or default_registry())
    return _signals(need for operator, params in steps for need in operator.needs(params))


def lacking_signals(recipe: Recipe, signals: SignalTable, registry: OperatorRegistry | None = None) -> tuple[str, ...]:
    """Those of :func:`recipe_signals` that ``signals`` do not hold, nor what stands in for them.

    Raises:
        RecipeError: the recipe is not valid.
    """
    return _signals(need for need in _read(recipe, signals, registry) if not has_signal(signals, need))


def read_signals(recipe: Recipe, signals: SignalTable, registry: OperatorRegistry | None = None) -> tuple[str, ...]:
    """Like :func:`recipe_signals`, but those that the recipe reads of this pool: of signals that stand in for one that it
    lacks, as SAE features do for embeddings, the one that it has.

    Raises:
        RecipeError: the recipe is not valid.
    """
    return _signals(_read(recipe, signals, registry))


def check_columns(recipe: Recipe, signals: SignalTable, registry: OperatorRegistry | None = None) -> None:
    """See that columns whose names depend on settings, such as ``dj/…``, were made by the settings that were given.

    Raises:
        SignalError: the recipe reads one that is not there; the message tells what makes it.
        RecipeError: the recipe is not valid.
    """
    for need in _read(recipe, signals, registry):
        if not has_signal(signals, need) and signal_registry().signal_of_column(need) is not None:
            signals.column(need)


def _read(recipe: Recipe, signals: SignalTable, registry: OperatorRegistry | None) -> Iterator[str]:
    for operator, params in every_step(recipe, registry or default_registry()):
        yield from needs_of_pool(operator, params, signals)


def every_step(recipe: Recipe, registry: OperatorRegistry) -> Iterator[tuple[Operator, Mapping[str, Any]]]:
    """The operators of a recipe and of those in its library, with their parameters; RecipeError if it is not valid."""
    left, seen = [("", recipe.canonical(registry))], set[str]()
    while left:
        digest, canonical = left.pop(0)
        if digest in seen:
            continue
        seen.add(digest)
        for step in canonical.steps:
            yield registry.get(step.operator), step.params
        left[:0] = canonical.library.items()  # depth first, as steps name them


def _signals(needs: Iterable[str]) -> tuple[str, ...]:
    arrays = ("mona", "text_hash", "sae", "embeddings", "near_duplicates")
    named = (
        _SIGNAL_OF.get(need) or (need if need in arrays else signal_registry().signal_of_column(need)) for need in needs
    )
    return tuple(dict.fromkeys(name for name in named if name is not None))
