"""The contract of a proposer: what makes the recipes that a search chooses from.

For every candidate that is no starting point, probe or new trajectory, the search asks its proposer for recipes, sees
which of them select a new subset of allowed size, ranks these, and (with ``search.generations`` above 1) asks again with
the leading proposals as starting points. :class:`EditProposer` is the one that comes with the package. Another is an object
with the same member, given to ``SearchController(proposer=...)`` itself or by the name under which its package registers
the class::

    [project.entry-points."autoselection.proposers"]
    mutations = "my_package.proposer:Mutations"

The class is called with the search's :class:`~autoselection.search.config.SearchConfig`. A proposer keeps nothing between
calls and draws from the request's generator alone, so that a search can be replayed. A language model that proposes beside
it is another thing: a role (:mod:`autoselection.search.roles`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from autoselection.operators import Param
from autoselection.operators.blends import leading, near
from autoselection.operators.param import blend_of, mix_of
from autoselection.operators.shares import canonical
from autoselection.recipes import Recipe, Step
from autoselection.recipes.recipe import digest_steps
from autoselection.search.config import SearchConfig
from autoselection.search.credit import Credit
from autoselection.search.edits import Editor, UnionSource
from autoselection.search.learnt_mixtures import LearntMixture
from autoselection.search.proposals import by_rank, shares
from autoselection.search.records import EvaluatedCandidate
from autoselection.search.space import RecipeSpace
from autoselection.search.warmup import draw_any, draw_probe, zone_of

LEARNT_BLENDS = 0.25
"""Share of the new random recipes that begin from what the ranker learnt of scores, where blends are searched."""
ALONE = 0.5
"""Share of these that hold no other step."""


@dataclass(frozen=True, eq=False)
class StartingPoint:
    """A recipe that is worth editing.

    Attributes:
        recipe: in canonical form.
        parent: the evaluated candidate it is, or was made from; None for a fresh one.
        made: how it was made from its parent, if it is a proposal itself.
    """

    recipe: Recipe
    parent: EvaluatedCandidate | None
    made: str = ""


@dataclass(frozen=True, eq=False)
class ProposalRequest:
    """What a proposer is asked for.

    Attributes:
        count: how many recipes; fewer are taken, more are ranked too.
        generation: 0 first; from 1 on the starting points are the leaders of what was proposed so far.
        starts: starting points, the most promising first.
        scored: evaluated candidates with a score, one a subset.
        credit: operator credit.
        space: operators, and the ranges of their parameters on this pool.
        rng: all random draws.
        effects: what a higher mean of each score is expected to add, by column; empty where no operator blends scores.
        mixtures: mixtures of sources that the scores point to; empty where no operator mixes sources.
    """

    count: int
    generation: int
    starts: Sequence[StartingPoint]
    scored: Sequence[EvaluatedCandidate]
    credit: Credit
    space: RecipeSpace
    rng: np.random.Generator
    effects: Mapping[str, float] = field(default_factory=dict)
    mixtures: Sequence[LearntMixture] = ()


@dataclass(frozen=True, eq=False)
class ProposedRecipe:
    """A recipe to rank.

    Attributes:
        recipe: any valid recipe of the space's operators.
        made: how it was made, as a sentence without a full stop.
        parent: the evaluated candidate it was made from; None for one that was made afresh.
        key: digest of its canonical steps, if that is known.
    """

    recipe: Recipe
    made: str
    parent: EvaluatedCandidate | None = None
    key: str | None = None


@dataclass(frozen=True, eq=False)
class ProposedRecipes:
    """An answer: recipes in the order in which ties are broken, and how many draws led nowhere."""

    recipes: Sequence[ProposedRecipe]
    wasted: int = 0


class Proposer(Protocol):
    """Makes recipes to choose from; see the module's docstring."""

    def propose(self, request: ProposalRequest) -> ProposedRecipes:
        """Recipes for a request. None at all start a new trajectory."""
        ...


class EditProposer:
    """Edits of the starting points, the first ones more often, and in the first generation fresh random recipes too."""

    def __init__(self, config: SearchConfig) -> None:
        self.config = config

    def propose(self, request: ProposalRequest) -> ProposedRecipes:
        config = self.config
        fresh = 0 if request.generation else round(config.fresh * config.proposals)
        made: list[ProposedRecipe] = []
        wasted = 0
        counts = shares(by_rank(len(request.starts)), request.count - fresh)
        for start, count in zip(request.starts, counts, strict=True):
            sources = union_sources(request.scored, start.parent)
            editor = Editor(request.space, config.edits, config.max_steps, sources, request.credit)
            found, nowhere = editor.propose(start.recipe, count, request.rng)
            wasted += nowhere
            for edit in found:
                said = f"{start.made}; then {edit.edit}" if start.made else edit.edit
                made.append(ProposedRecipe(edit.recipe, said, start.parent, edit.key))
        known = {
            name: blend
            for name in request.space.blends
            if (blend := blend_of(request.space.params(name))) and leading(blend, request.effects)
        }
        learnt = round(LEARNT_BLENDS * fresh) if known else 0
        made += [
            ProposedRecipe(self._learnt(place, known, request), "fresh recipe with a blend of what was learnt so far")
            for place in range(learnt)
        ]
        mixed = self._mixed(request)[: fresh - learnt]
        made += mixed
        recipes = [self._fresh(place, request) for place in range(learnt + len(mixed), fresh)]
        made += [ProposedRecipe(recipe, "fresh random recipe") for recipe in recipes]
        return ProposedRecipes(made, wasted)

    def _learnt(self, place: int, known: Mapping[str, Param], request: ProposalRequest) -> Recipe:
        """A recipe like a warmup probe, in which the blend is one near the effects of scores: alone or with other filters.

        Args:
            known: operators that blend scores of which an effect is known, and their weights.
        """
        config, space, rng = self.config, request.space, request.rng
        name, blend = list(known.items())[int(rng.integers(len(known)))]
        probe, target = draw_probe(space, zone_of(place, config.zones), config.max_steps, rng)
        others = tuple(step for step in probe.steps if step.operator != name)[: config.max_steps - 1]
        if rng.random() < ALONE:
            others = ()
        drawn = space.draw(name, rng, ratio=target ** (1 / (1 + len(others))))
        step = Step(name, {**drawn.params, blend.name: near(blend, request.effects, rng)})
        at = int(rng.integers(len(others) + 1))
        return Recipe((*others[:at], space.clamp(step), *others[at:]))

    def _mixed(self, request: ProposalRequest) -> list[ProposedRecipe]:
        """Each learnt mixture, by itself and after the filters of a warmup probe."""
        config, space, rng = self.config, request.space, request.rng
        made = []
        for name, param in ((name, mix_of(space.params(name))) for name in space.plain):
            strength = space.in_role(name, "strength")
            if param is None or strength is None:
                continue
            for place, mixture in enumerate(request.mixtures):
                weights = canonical(mixture.shares, param.choices)
                probe, target = draw_probe(space, zone_of(place, config.zones), config.max_steps, rng)
                filters = [step for step in probe.steps if step.operator in space.filters][: config.max_steps - 1]
                for others, kept in (((), mixture.kept), (tuple(filters), target ** (1 / (1 + len(filters))))):
                    step = Step(name, {**space.draw(name, rng, ratio=kept).params, param.name: weights})
                    recipe = Recipe((*others, space.clamp(step)))
                    made.append(ProposedRecipe(recipe, f"fresh recipe with the mixture that {mixture.method} proposes"))
        return made

    def _fresh(self, place: int, request: ProposalRequest) -> Recipe:
        """A random recipe, every other one aimed at one of the warmup zones in turn."""
        config = self.config
        if place % 2:
            return draw_any(request.space, config.max_steps, request.rng)
        zone = zone_of(place // 2, config.zones)
        return draw_probe(request.space, zone, config.max_steps, request.rng)[0]


def union_sources(scored: Sequence[EvaluatedCandidate], parent: EvaluatedCandidate | None) -> list[UnionSource]:
    """Evaluated candidates that a union with the parent may name, weighted by one over their rank."""
    own = parent.id if parent else None
    ranked = sorted(
        (trial for trial in scored if trial.id != own),
        key=lambda trial: (-(trial.score or 0.0), -trial.candidate.number),
    )
    return [
        UnionSource(trial.candidate.recipe, digest_steps(trial.candidate.recipe.steps), trial.id, 1.0 / (1.0 + rank))
        for rank, trial in enumerate(ranked)
    ]
