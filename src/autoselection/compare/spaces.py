"""The recipe space as numbers, for general optimisers.

:class:`~autoselection.search.baselines.Cube` is complete but wide. :class:`Slots` is the compact one that a person
would hand to an optimiser: up to four steps, each with an operator, a strength, and an end and scope. Both hold the recipes
of a search's own space and no others.
"""

from __future__ import annotations

from collections.abc import Sequence

from autoselection.operators import Role, default_registry, in_role
from autoselection.recipes import Recipe, Step
from autoselection.search.baselines import params_at
from autoselection.search.config import SearchConfig
from autoselection.search.scores import named_by
from autoselection.search.space import RecipeSpace
from autoselection.signals.table import SignalTable

SLOTS = 4


def searched_scores(table: SignalTable, search: SearchConfig) -> dict[str, tuple[float, ...]]:
    """Columns that the filters of a search's space cut by, sorted, each with its ends: 1.0 for the low one, -1.0 for the
    high one. For methods that choose among scores instead of operators."""
    space = RecipeSpace(table, default_registry(), search)
    found: dict[str, set[float]] = {}
    for name in space.plain:
        params = space.params(name)
        end = in_role(params, "end")
        if end is None or not end.searched:
            continue
        signs = {1.0 if option == "low" else -1.0 for option in space.options(name, end)}
        for column in named_by(space.operator(name), space):
            if column in table.columns:
                found.setdefault(column, set()).update(signs)
    return {column: tuple(sorted(found[column])) for column in sorted(found)}


class Slots:
    """Up to four steps; a slot without an operator is skipped.

    Attributes:
        operators: what a slot may hold; ``none`` is nothing.
        ends: what a slot's end and scope may be, such as ``low source``: those of some operator of the space.
    """

    def __init__(self, table: SignalTable, config: SearchConfig) -> None:
        self.registry = default_registry()
        self.config = config
        self.space = RecipeSpace(table, self.registry, self.config)
        self.operators = ("none", *self.space.plain)
        options = {role: self._options(role) for role in ("end", "scope")}
        self.ends = tuple(f"{end} {scope}" for end in options["end"] for scope in options["scope"])

    def _options(self, role: Role) -> tuple[str, ...]:
        """Choices of a role that some operator of the space has, in the order of their declarations; never empty."""
        found = [
            option
            for name in self.space.plain
            for param in self.space.params(name)
            if param.role == role and param.searched
            for option in self.space.options(name, param)
        ]
        return tuple(dict.fromkeys(found)) or ("only",)

    def recipe(self, slots: Sequence[tuple[str, float, str]]) -> Recipe | None:
        """The recipe of (operator, strength in [0, 1], one of :attr:`ends`) a slot; None if all are empty."""
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
                    value, options = kept if param.role == "end" else scope, self.space.options(name, param)
                    units[param.name] = (options.index(value) + 0.5) / len(options) if value in options else 0.0
                elif param.kind == "choice":
                    units[param.name] = (self.ends.index(end) + 0.5) / len(self.ends)
                else:
                    units[param.name] = strength
            steps.append(Step(name, params_at(self.space, name, units)))
        return Recipe(tuple(steps)).canonical(self.registry) if steps else None
