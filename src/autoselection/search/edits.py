"""Local edits: recipes one step away from the best one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autoselection.recipes import Recipe, Step
from autoselection.recipes.recipe import digest_steps
from autoselection.search.config import EDIT_KINDS, EditConfig
from autoselection.search.credit import Credit
from autoselection.search.space import RecipeSpace

ADDED_RATIO = (0.25, 0.98)
"""Share of its rows that a newly added filter or cap keeps: extreme cuts are reached in several edits."""
# Both moves are drawn equally often, so the search has a fine and a coarse one whatever their scales are exactly.
SMALL_STEP = 0.1
"""Scale of a small step of a parameter (share of its range)."""
LARGE_STEP = 0.4
"""Scale of a large step (share of its range)."""
REDUNDANT_FAMILY = 0.3
"""Factor on the chance of adding an operator whose family the recipe already has: seldom of use, not never."""


@dataclass(frozen=True)
class UnionSource:
    """An evaluated recipe that a union may name: canonical, with its hash, its trial, and how likely it is drawn."""

    recipe: Recipe
    key: str
    trial: str
    weight: float


@dataclass(frozen=True)
class Edit:
    """An edited recipe (canonical), its hash and the sentence that says what was done."""

    recipe: Recipe
    key: str
    edit: str


Steps = tuple[Step, ...]
Edited = tuple[Steps, str] | None


class Editor:
    """Draws edits of a recipe.

    Args:
        space: the operators and their parameters.
        config: frequencies of the kinds of edit, and step sizes.
        max_steps: longest recipe that may come out.
        sources: evaluated recipes for unions.
        credit: operator credit, steering what is added.
    """

    def __init__(
        self, space: RecipeSpace, config: EditConfig, max_steps: int, sources: Sequence[UnionSource], credit: Credit
    ) -> None:
        self.space = space
        self.config = config
        self.max_steps = max_steps
        self.sources = sources
        self.preference = operator_preference(space.plain, credit, config.credit)
        self._kinds: Mapping[str, Callable[[Steps, np.random.Generator], Edited]] = {
            "add": self._add,
            "drop": self._drop,
            "swap": self._swap,
            "reorder": self._reorder,
            "reparametrise": self._reparametrise,
            "flip": self._flip,
            "union": self._union,
            "cross": self._cross,
        }

    def propose(self, parent: Recipe, count: int, rng: np.random.Generator) -> tuple[list[Edit], int]:
        """Up to ``count`` distinct recipes near ``parent``, and how many draws led nowhere or repeated another.

        Gives up after ``8 * count + 40`` draws.
        """
        library = {**parent.library, **{source.key: source.recipe for source in self.sources}}
        registry = self.space.registry
        own = parent.digest(registry)
        found: dict[str, Edit] = {}
        wasted = 0
        for _ in range(8 * count + 40):
            if len(found) == count:
                break
            edited = self.edit(parent.steps, rng)
            if edited is None:
                wasted += 1
                continue
            recipe = Recipe(edited[0], library=library).canonical(registry)
            key = digest_steps(recipe.steps)
            if key in found or key == own:
                wasted += 1
                continue
            found[key] = Edit(recipe, key, edited[1])
        return list(found.values()), wasted

    def edit(self, steps: Steps, rng: np.random.Generator) -> Edited:
        """One edit, or with probability ``second_edit`` two; None if the drawn kind does not apply."""
        first = self._one(steps, rng)
        if first is None or rng.random() >= self.config.second_edit:
            return first
        second = self._one(first[0], rng)
        if second is None:
            return first
        return second[0], f"{first[1]}; then {second[1]}"

    def _one(self, steps: Steps, rng: np.random.Generator) -> Edited:
        weights = np.array([self.config.weights.get(kind, 0.0) for kind in EDIT_KINDS])
        kind = EDIT_KINDS[int(rng.choice(len(EDIT_KINDS), p=weights / weights.sum()))]
        return self._kinds[kind](steps, rng)

    def _add(self, steps: Steps, rng: np.random.Generator) -> Edited:
        if len(steps) >= self.max_steps:
            return None
        name = self._operator(steps, rng)
        if name is None:
            return None
        step = self.space.draw(name, rng, ratio=float(rng.uniform(*ADDED_RATIO)))
        place = int(rng.integers(len(steps) + 1))
        return (*steps[:place], step, *steps[place:]), f"added {self._say(step)} as step {place + 1}"

    def _drop(self, steps: Steps, rng: np.random.Generator) -> Edited:
        if len(steps) < 2:
            return None
        place = int(rng.integers(len(steps)))
        return (*steps[:place], *steps[place + 1 :]), f"dropped step {place + 1}, {self._say(steps[place])}"

    def _swap(self, steps: Steps, rng: np.random.Generator) -> Edited:
        if not steps:
            return None
        place = int(rng.integers(len(steps)))
        old = steps[place]
        rest = (*steps[:place], *steps[place + 1 :])
        name = self._operator(rest, rng, but=old.operator)
        if name is None:
            return None
        kept = self.space.fraction(old)
        ratio = float(rng.uniform(*ADDED_RATIO)) if kept is None else kept
        step = self.space.draw(name, rng, ratio=ratio)
        return (
            (*steps[:place], step, *steps[place + 1 :]),
            f"replaced step {place + 1}, {self._say(old)}, by {self._say(step)}",
        )

    def _reorder(self, steps: Steps, rng: np.random.Generator) -> Edited:
        if len(steps) < 2:
            return None
        origin = int(rng.integers(len(steps)))
        rest = [*steps[:origin], *steps[origin + 1 :]]
        target = int(rng.choice([place for place in range(len(steps)) if place != origin]))
        rest.insert(target, steps[origin])
        return tuple(rest), f"moved {steps[origin].operator} from step {origin + 1} to step {target + 1}"

    def _reparametrise(self, steps: Steps, rng: np.random.Generator) -> Edited:
        if not steps:
            return None
        place = int(rng.integers(len(steps)))
        small = bool(rng.random() < 0.5)
        scale = SMALL_STEP if small else LARGE_STEP
        old = steps[place]
        step = self.space.perturb(old, rng, scale, recipes=[source.key for source in self.sources])
        if dict(step.params) == dict(old.params):
            return None
        changed = ", ".join(
            said
            for name in {**old.params, **step.params}
            if old.params.get(name) != step.params.get(name)
            for said in _changes(name, old.params.get(name), step.params.get(name))
        )
        return (
            (*steps[:place], step, *steps[place + 1 :]),
            f"changed step {place + 1}, {step.operator} ({'small' if small else 'large'} step): {changed}",
        )

    def _flip(self, steps: Steps, rng: np.random.Generator) -> Edited:
        options = [(place, change) for place, step in enumerate(steps) for change in self.space.flips(step)]
        if not options:
            return None
        place, change = options[int(rng.integers(len(options)))]
        step = self.space.clamp(Step(steps[place].operator, {**steps[place].params, **change}))
        said = ", ".join(f"{name} to {value}" for name, value in change.items())
        return (*steps[:place], step, *steps[place + 1 :]), f"turned step {place + 1}, {step.operator}: {said}"

    def _union(self, steps: Steps, rng: np.random.Generator) -> Edited:
        unions = self.space.unions
        if not unions or not self.sources or len(steps) >= self.max_steps:
            return None
        if any(step.operator in unions for step in steps):
            return None  # one union a recipe; its source may hold one of its own
        weights = np.array([source.weight for source in self.sources])
        source = self.sources[int(rng.choice(len(self.sources), p=weights / weights.sum()))]
        step = self.space.draw(unions[int(rng.integers(len(unions)))], rng, recipes=[source.key])
        return (*steps, step), f"{self.space.naming(step.operator).verb} {source.trial} ({step.operator})"

    def _cross(self, steps: Steps, rng: np.random.Generator) -> Edited:
        """The first steps of this recipe and the last ones of another good one, each operator once."""
        if not self.sources:
            return None
        weights = np.array([source.weight for source in self.sources])
        source = self.sources[int(rng.choice(len(self.sources), p=weights / weights.sum()))]
        other = tuple(step for step in source.recipe.steps if step.operator not in self.space.unions)
        if not other:
            return None
        kept = steps[: int(rng.integers(len(steps) + 1))]
        taken = other[int(rng.integers(len(other))) :]
        used = {step.operator for step in taken}
        joined = (*(step for step in kept if step.operator not in used), *taken)
        if len(joined) > self.max_steps:
            return None
        return joined, f"crossed with {source.trial}: {len(joined) - len(taken)} of its own steps, {len(taken)} of that"

    def _operator(self, rest: Steps, rng: np.random.Generator, but: str | None = None) -> str | None:
        """Draw an operator that the rest of the recipe does not use; its own family is less likely."""
        used = {step.operator for step in rest}
        families = {self.space.family(name) for name in used}
        names = [name for name in self.space.plain if name not in used and name != but]
        weights = np.array(
            [
                self.preference[name] * (REDUNDANT_FAMILY if self.space.family(name) in families else 1.0)
                for name in names
            ]
        )
        if not names or weights.sum() <= 0:
            return None
        return names[int(rng.choice(len(names), p=weights / weights.sum()))]

    def _say(self, step: Step) -> str:
        kept = self.space.fraction(step)
        chosen = (self.space.in_role(step.operator, role) for role in ("column", "end", "scope"))
        parts = [str(step.params[param.name]) for param in chosen if param and step.params.get(param.name)]
        if kept is not None:
            parts.append(f"{kept:.2f}")
        return f"{step.operator} ({', '.join(parts)})" if parts else step.operator


def operator_preference(names: Sequence[str], credit: Credit, strength: float) -> dict[str, float]:
    """Weight of each operator when one is drawn: ``exp(strength * credit / largest credit)``, by mean credit."""
    means = {name: credit.operators[name].mean if name in credit.operators else 0.0 for name in names}
    largest = max((abs(value) for value in means.values()), default=0.0)
    return {name: float(np.exp(strength * value / largest)) if largest > 0 else 1.0 for name, value in means.items()}


def _changes(name: str, before: object, after: object) -> list[str]:
    """What became of a parameter; of weights, what became of each that changed."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        parts = [(key, before.get(key, 0.0), after.get(key, 0.0)) for key in sorted({*before, *after})]
        return [f"{name} of {key} {_show(old)} → {_show(new)}" for key, old, new in parts if old != new]
    return [f"{name} {_show(before)} → {_show(after)}"]


def _show(value: object) -> str:
    if isinstance(value, Mapping):
        return " : ".join(f"{key} {_show(part)}" for key, part in value.items())
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(str, value)) + "]"
    return str(value)
