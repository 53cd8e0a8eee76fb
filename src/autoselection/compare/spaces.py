"""The recipe space as numbers, for general optimisers.

:class:`Cube` is the space of ``latin_hypercube_recipes``: an inclusion, a place and all parameters of every operator,
each in [0, 1], and how many operators are used. It is complete but wide. :class:`Slots` is the compact one that a
person would hand to an optimiser: up to four steps, each with an operator, a strength, and an end and scope.
"""

from __future__ import annotations

from collections.abc import Sequence

from autoselection.operators import default_registry
from autoselection.recipes import Recipe, Step
from autoselection.search.baselines import params_at
from autoselection.search.config import SearchConfig
from autoselection.search.space import RecipeSpace
from autoselection.signals.table import SignalTable

SLOTS = 4
ENDS = ("high whole", "high source", "low whole", "low source")


class Cube:
    """Every operator and parameter as a coordinate in [0, 1]."""

    def __init__(self, table: SignalTable, config: SearchConfig | None = None) -> None:
        self.registry = default_registry()
        self.config = config or SearchConfig()
        self.space = RecipeSpace(table, self.registry, self.config)
        self._searched = {
            name: [param for param in self.space.params(name) if param.searched] for name in self.space.plain
        }
        #: Names of the coordinates, in the order of ``latin_hypercube_recipes``.
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


class Slots:
    """Up to four steps; a slot without an operator is skipped."""

    def __init__(self, table: SignalTable, config: SearchConfig | None = None) -> None:
        self.registry = default_registry()
        self.config = config or SearchConfig()
        self.space = RecipeSpace(table, self.registry, self.config)
        self.operators = ("none", *self.space.plain)

    def recipe(self, slots: Sequence[tuple[str, float, str]]) -> Recipe | None:
        """The recipe of (operator, strength in [0, 1], one of :data:`ENDS`) a slot; None if all are empty."""
        steps: list[Step] = []
        for name, strength, end in slots:
            if name == "none" or any(step.operator == name for step in steps) or len(steps) == self.config.max_steps:
                continue
            kept, scope = end.split()
            params = self.space.params(name)
            units: dict[str, float] = {}
            for param in params:
                if not param.searched:
                    continue
                if param.role in ("end", "scope"):
                    value = kept if param.role == "end" else scope
                    units[param.name] = (param.choices.index(value) + 0.5) / len(param.choices)
                elif param.kind == "choice":
                    units[param.name] = (ENDS.index(end) + 0.5) / len(ENDS)
                else:
                    units[param.name] = strength
            steps.append(Step(name, params_at(self.space, name, units)))
        return Recipe(tuple(steps)).canonical(self.registry) if steps else None
