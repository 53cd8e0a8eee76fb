"""From a model's steps to recipes of the search's space. What is outside the space is clipped or refused, and counted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoselection.errors import RecipeError
from autoselection.llm.answers import (
    AnswerError,
    ProposedRecipes,
    WeighingRecipeAnswer,
    WeighingStepAnswer,
    printable,
    read_proposed,
)
from autoselection.llm.source_names import SourceNames
from autoselection.operators import Param
from autoselection.operators.blend_weights import canonical_blend
from autoselection.operators.blends import leading
from autoselection.operators.param import DIGITS, LARGEST
from autoselection.operators.shares import DECIMALS
from autoselection.recipes import Recipe, Step
from autoselection.search.roles import Briefing, Suggestion
from autoselection.search.space import RecipeSpace


@dataclass(frozen=True)
class Suggestions:
    """Usable recipes of an answer.

    Attributes:
        kept: distinct recipes inside the space.
        refused: why the others were not usable, one sentence each.
        adjusted: parameters that were clipped, replaced by their default or left out.
    """

    kept: tuple[Suggestion, ...]
    refused: tuple[str, ...]
    adjusted: int


def searched_params(space: RecipeSpace, operator: str) -> tuple[Param, ...]:
    """The parameters that a model may set."""
    return tuple(param for param in space.params(operator) if param.searched)


def allowed_choices(space: RecipeSpace, operator: str, param: Param) -> tuple[str, ...]:
    """The choices of a parameter that the search would draw too."""
    if param.role == "end":
        low = space.low_probability(operator)
        chances = {"low": low, "high": 1.0 - low}
    elif param.role == "scope":
        chances = space.scope_odds(space.operator(operator))
    else:
        return param.choices
    return tuple(choice for choice in param.choices if chances.get(choice, 1.0) > 0)


def read_suggestions(answer: ProposedRecipes, briefing: Briefing, names: SourceNames, most: int) -> Suggestions:
    """Recipes of an answer that the search can rank.

    Raises:
        AnswerError: none is usable; says why for each.
    """
    sources = {trial.id: trial.candidate.recipe for trial in briefing.history if trial.score is not None}
    kept: dict[str, Suggestion] = {}
    refused: list[str] = []
    adjusted = 0
    for number, given in enumerate(answer.recipes[:most], 1):
        try:
            item = read_proposed(given)
            recipe, changed = _recipe(item, briefing, names, sources)
        except (AnswerError, RecipeError) as error:
            refused.append(printable(f"recipe {number}: {error}", 300))
            continue
        adjusted += changed
        key = recipe.digest(briefing.space.registry)
        kept.setdefault(key, Suggestion(recipe, printable(item.reason) or "no reason given"))
    if not kept:
        raise AnswerError(" ".join(refused[:5]))
    return Suggestions(tuple(kept.values()), tuple(refused), adjusted)


def _recipe(
    item: WeighingRecipeAnswer, briefing: Briefing, names: SourceNames, sources: Mapping[str, Recipe]
) -> tuple[Recipe, int]:
    space = briefing.space
    if len(item.steps) > briefing.config.max_steps:
        raise AnswerError(f"it has {len(item.steps)} steps, at most {briefing.config.max_steps} are allowed.")
    if sum(step.operator in space.unions for step in item.steps) > 1:
        raise AnswerError("only one step may name a trial.")
    steps: list[Step] = []
    changes = 0
    for answer in item.steps:
        step, changed = _step(answer, space, names, sources)
        steps.append(step)
        changes += changed
    library = {recipe.digest(space.registry): recipe for recipe in sources.values()}
    return Recipe(tuple(steps), library=library).canonical(space.registry), changes


def _step(
    answer: WeighingStepAnswer, space: RecipeSpace, names: SourceNames, sources: Mapping[str, Recipe]
) -> tuple[Step, int]:
    name = answer.operator
    if name not in space.names:
        raise AnswerError(f"unknown operator '{name}'; the operators are {', '.join(space.names)}.")
    params = {param.name: param for param in searched_params(space, name)}
    given: dict[str, Any] = {}
    for key, raw in answer.params.items():
        if key not in params or raw is None:
            continue
        value = _value(names.inward(params[key], raw), params[key], space, name, sources)
        if value is not None:
            given[key] = value
    for param in params.values():
        if param.kind == "blend" and param.name not in given:
            raise AnswerError(f"operator '{name}': '{param.name}' must be a list such as {_example(param)}.")
        if param.kind == "recipe" and param.name not in given:
            raise AnswerError(f"operator '{name}': '{param.name}' must be the id of an evaluated recipe, such as t001.")
    step = space.clamp(Step(name, given))
    changed = sum(
        raw is not None and (key not in given or not _same(given[key], step.params.get(key)))
        for key, raw in answer.params.items()
    )
    return step, changed


def _same(given: Any, used: Any) -> bool:
    """Whether a value was used as it was given, but for rounding; weights count by their shares."""
    if isinstance(given, Mapping) and isinstance(used, Mapping) and min(sum(given.values()), sum(used.values())) > 0:
        names = sorted({*given, *used})
        shares = [np.array([float(weights.get(name, 0.0)) for name in names]) for weights in (given, used)]
        asked, got = (found / found.sum() for found in shares)
        return bool(np.abs(asked - got).max() <= 10.0**-DECIMALS)
    if isinstance(given, float) and isinstance(used, float):
        return abs(given - used) < 10.0**-DIGITS
    return bool(given == used)


def _value(value: Any, param: Param, space: RecipeSpace, operator: str, sources: Mapping[str, Recipe]) -> Any:
    """The value, or None if it is no value of the search space at all; numbers are clipped later."""
    if param.kind == "recipe":
        found = sources.get(value) if isinstance(value, str) else None
        return None if found is None else found.digest(space.registry)
    if param.kind in ("choice", "signal"):
        return value if value in allowed_choices(space, operator, param) else None
    if param.kind == "blend":
        return _blend(value, next(own for own in space.params(operator) if own.name == param.name))
    return value


def _example(param: Param) -> str:
    return str([f"{choice}=0.5" for choice in param.choices[:2]])


def _blend(value: Any, param: Param) -> dict[str, float] | None:
    """Weights from a list such as ``["ifd=-0.6", "reward=0.4"]``: of signals and ends that the search would draw; None where
    none is left."""
    found: dict[str, float] = {}
    for entry in value if isinstance(value, list) else ():
        name, _, weight = str(entry).rpartition("=")
        with suppress(ValueError):
            number = float(weight)
            if math.isfinite(number) and abs(number) <= LARGEST:
                found[name.strip()] = number
    return canonical_blend(leading(param, found))
