"""A proposer of one's own: every recipe is a starting point with one more step, or with its last step drawn anew.

Register it in ``pyproject.toml``, and name it where a search is made: ``SearchController(signals, proposer="last_step")``::

    [project.entry-points."autoselection.proposers"]
    last_step = "autoselection_plugin_example.proposer:LastStep"
"""

from __future__ import annotations

from autoselection.recipes import Recipe
from autoselection.search import ProposalRequest, ProposedRecipe, ProposedRecipes, SearchConfig


class LastStep:
    """Takes the starting points in turn, the most promising first."""

    def __init__(self, config: SearchConfig) -> None:
        self.config = config

    def propose(self, request: ProposalRequest) -> ProposedRecipes:
        made = []
        for place in range(request.count):
            start = request.starts[place % len(request.starts)]
            steps = start.recipe.steps[: self.config.max_steps - 1]
            if steps and request.rng.random() < 0.5:
                steps = steps[:-1]
            name = request.space.plain[int(request.rng.integers(len(request.space.plain)))]
            step = request.space.draw(name, request.rng, ratio=float(request.rng.uniform(0.3, 0.95)))
            recipe = Recipe((*steps, step), library=start.recipe.library)
            made.append(ProposedRecipe(recipe, f"ended with {name}", start.parent))
        return ProposedRecipes(made)
