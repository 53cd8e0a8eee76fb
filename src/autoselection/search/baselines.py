"""What a search has to beat: the whole pool, a random subset, single operators, and random recipes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.operators import OperatorRegistry, Param, default_registry, in_role, validate_params
from autoselection.operators.blends import drawn_blend
from autoselection.operators.param import blend_of
from autoselection.operators.space import from_unit
from autoselection.recipes import Materialization, PrefixCache, Recipe, Step, materialize
from autoselection.search.config import SearchConfig
from autoselection.search.space import RecipeSpace, drawn_options, named_operators
from autoselection.search.warmup import TOLERANCE, TRIES, distance_to_zone, draw_probe, zone_of
from autoselection.signals.table import SignalTable

STRENGTHS = (0.75, 0.5, 0.25, 0.1)
"""Shares kept by single filters and caps."""
THRESHOLD_POSITIONS = (0.25, 0.5, 0.75)
"""Positions, in the range of a deduplication threshold, of single deduplication steps."""
MAX_SINGLE_SOURCES = 8


def full_recipe() -> Recipe:
    """The whole pool."""
    return Recipe(name="full")


def random_subset(pool_rows: int, size: int, seed: int = 0) -> NDArray[np.int64]:
    """Distinct rows drawn uniformly, in row order; all of them if ``size`` is not below ``pool_rows``."""
    rng = np.random.default_rng([seed, pool_rows, size])
    chosen = rng.choice(pool_rows, min(size, pool_rows), replace=False)
    return np.sort(chosen).astype(np.int64)


def single_operator_recipes(
    signals: SignalTable, registry: OperatorRegistry | None = None, config: SearchConfig | None = None
) -> list[Recipe]:
    """Every operator of the space by itself: first each with its defaults (catalog order), then other strengths,
    directions and scopes; no recipe twice."""
    registry = registry or default_registry()
    space = RecipeSpace(signals, registry, config or SearchConfig())
    counts = np.bincount(signals.source, minlength=len(signals.source_names))
    order = sorted(range(len(counts)), key=lambda code: (-int(counts[code]), code))
    sources = [signals.source_names[code] for code in order]
    variants = {
        name: list(_variants(space.params(name), partial(space.options, name), sources)) for name in space.plain
    }
    found: dict[str, Recipe] = {}
    heads = [(name, params) for name, listed in variants.items() for params in listed[:1]]
    tails = [(name, params) for name, listed in variants.items() for params in listed[1:]]
    for name, params in [*heads, *tails]:
        recipe = Recipe((space.clamp(Step(name, params)),)).canonical(registry)
        found.setdefault(recipe.digest(registry), recipe)
    return list(found.values())


def most_single_operators(config: SearchConfig, registry: OperatorRegistry | None = None) -> int:
    """How many recipes :func:`single_operator_recipes` gives at most, before anything is known of the pool.

    The pool is taken to have every signal that the operators need, :data:`MAX_SINGLE_SOURCES` sources, and one score of
    the user's own.
    """
    registry = registry or default_registry()
    sources = [str(number) for number in range(MAX_SINGLE_SOURCES)]
    total = 0
    default = [operator for operator in registry.operators() if operator.searched]
    for operator in named_operators(config, registry, default):
        if not any(param.kind == "recipe" for param in operator.params):
            options = partial(drawn_options, config.draws, operator.name)
            params = [
                replace(param, choices=("score",)) if param.kind == "signal" else param for param in operator.params
            ]
            total += len({repr(sorted(variant.items())) for variant in _variants(params, options, sources)})
    return total


def _variants(
    space: Sequence[Param], options: Callable[[Param], tuple[str, ...]], sources: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Parameters of an operator by itself, its defaults first.

    Args:
        options: choices of a parameter that are part of the space.
        sources: names of the pool's sources, the largest first.
    """
    searched = {param.name: param for param in space if param.searched}
    if blend_of(space) is not None:
        return  # of one signal alone it is what the filters are
    signal = next((param for param in searched.values() if param.kind == "signal"), None)
    if signal is not None and not signal.when:
        rest = [param for param in space if param is not signal]
        for column in signal.choices:
            yield from ({signal.name: column, **params} for params in _variants(rest, options, sources))
        return
    strength, end, scope = (in_role(searched.values(), role) for role in ("strength", "end", "scope"))
    if strength is not None:
        choices = {param.name: options(param) for param in (end, scope) if param is not None}
        if strength.default is not None:
            usual = {param.name: param.default for param in (end, scope) if param is not None}
            known = {name: usual[name] if usual[name] in choices[name] else choices[name][0] for name in choices}
            yield {strength.name: strength.default, **known}
        for values in product(*choices.values()):
            yield from ({strength.name: share, **dict(zip(choices, values, strict=True))} for share in STRENGTHS)
        return
    named = next((param for param in searched.values() if param.kind == "sources"), None)
    if named is not None:
        yield from ({named.name: [source]} for source in sources[:MAX_SINGLE_SOURCES])
        return
    yield {}
    choice = next((param for param in searched.values() if param.kind == "choice"), None)
    for option in options(choice) if choice is not None else (None,):
        fixed = {} if choice is None else {choice.name: option}
        numbers = [param for param in searched.values() if param.kind in ("float", "int") and param.active(fixed)]
        yield fixed
        for param in numbers:
            for position in THRESHOLD_POSITIONS:
                yield {**fixed, param.name: from_unit(param, position)}


def random_recipes(
    signals: SignalTable,
    count: int,
    seed: int = 0,
    registry: OperatorRegistry | None = None,
    config: SearchConfig | None = None,
) -> list[Recipe]:
    """Random recipe search: independent draws like the warmup probes of a search without usual effects, zones in turn, no
    realized subset twice.

    A zone that no draw comes near gives the nearest one, one without a new subset leaves its turn to the next. Fewer than
    ``count`` recipes come back if the space holds no more.
    """
    config = config or SearchConfig()
    registry = registry or default_registry()
    space = RecipeSpace(signals, registry, config)
    rng = np.random.default_rng([seed, 1])
    cache = PrefixCache()
    found: dict[str, Recipe] = {}
    selectable, least = len(signals.selectable), config.least_rows(signals)
    turn = in_vain = 0
    while len(found) < count and in_vain < max(count, len(config.zones)):
        zone = zone_of(turn, config.zones)
        nearest: tuple[float, Materialization] | None = None
        for _ in range(TRIES):
            recipe, _ = draw_probe(space, zone, config.max_steps, rng)
            outcome = materialize(recipe, signals, seed=config.seed, registry=registry, cache=cache)
            if outcome.subset_hash in found or outcome.distinct < least:
                continue
            distance = distance_to_zone(len(outcome.rows) / selectable, zone)
            if nearest is None or distance < nearest[0]:
                nearest = (distance, outcome)
            if distance <= np.log(TOLERANCE):
                break
        turn += 1
        in_vain += 1
        if nearest is not None:
            found[nearest[1].subset_hash] = nearest[1].recipe
            in_vain = 0
    return list(found.values())


class Cube:
    """The recipe space as points of [0, 1]^d: how many operators are used, and for every one an inclusion, a place and all
    its parameters.

    A recipe uses the 2 to 4 operators with the highest inclusion, in the order of their places.
    """

    def __init__(self, signals: SignalTable, config: SearchConfig, registry: OperatorRegistry | None = None) -> None:
        self.registry = registry or default_registry()
        self.config = config
        self.space = RecipeSpace(signals, self.registry, config)
        self._searched = {
            name: [param for param in self.space.params(name) if param.searched] for name in self.space.plain
        }
        #: Names of the coordinates.
        self.names: list[str] = ["length"]
        for name, params in self._searched.items():
            self.names += [f"{name}/use", f"{name}/place", *(f"{name}.{param.name}" for param in params)]

    def recipe(self, point: Sequence[float]) -> Recipe:
        """The recipe at a point."""
        at = dict(zip(self.names, point, strict=True))
        names = list(self._searched)
        used = min(len(names), self.config.max_steps, 2 + int(3 * at["length"]))
        chosen = sorted(sorted(names, key=lambda name: -at[f"{name}/use"])[:used], key=lambda name: at[f"{name}/place"])
        steps = []
        for name in chosen:
            units = {param.name: at[f"{name}.{param.name}"] for param in self._searched[name]}
            steps.append(Step(name, params_at(self.space, name, units)))
        return Recipe(tuple(steps)).canonical(self.registry)


def latin_hypercube_recipes(
    signals: SignalTable,
    count: int,
    seed: int = 0,
    registry: OperatorRegistry | None = None,
    config: SearchConfig | None = None,
) -> list[Recipe]:
    """Space-filling random recipes: a Latin hypercube over :class:`Cube`. Recipes too small to be evaluated are left in: the
    list always has ``count`` entries."""
    from scipy.stats.qmc import LatinHypercube

    cube = Cube(signals, config or SearchConfig(), registry)
    sample = LatinHypercube(d=len(cube.names), rng=np.random.default_rng([seed, 2])).random(count)
    return [cube.recipe(point) for point in sample.tolist()]


def params_at(space: RecipeSpace, name: str, units: Mapping[str, float]) -> dict[str, Any]:
    """Parameters of an operator at positions in [0, 1] of the searched ones."""
    operator = space.operator(name)
    params: dict[str, Any] = {}
    for param in space.params(name):
        if param.name not in units:
            if param.kind == "choice" and param.active(params):
                params[param.name] = param.default
            continue
        if not param.active(params):
            continue
        unit = units[param.name]
        if param.kind in ("float", "int"):
            params[param.name] = from_unit(param, unit)
        elif param.kind == "bool":
            params[param.name] = unit >= 0.5
        elif param.kind in ("choice", "signal", "sources"):
            options = space.options(name, param)
            option = options[min(len(options) - 1, int(unit * len(options)))]
            params[param.name] = [option] if param.kind == "sources" else option
        elif param.kind == "blend":  # a number cannot stand for all weights: it is the seed of a draw
            params[param.name] = drawn_blend(param, np.random.default_rng(int(unit * 2**32)))
    return validate_params(operator, params)
