from __future__ import annotations

import numpy as np
import pytest
from benchmarks.worlds.synthetic import SyntheticWorld

from autoselection.compare import METHODS, EvaluationFailed, Rows, Session
from autoselection.compare.single_operators import SCREENED, families
from autoselection.operators import default_registry
from autoselection.recipes import Recipe, materialize, subset_hash
from autoselection.search import SearchConfig, single_operator_recipes
from autoselection.testing import signal_table

NAME = "single-operators"
SPACE = SearchConfig(operators=("truncate_samples", "ifd_filter", "ngram_entropy", "varentropy_filter"))
FAMILIES = 7
"""Three scores at two ends each, and the cap."""


class Preferring:
    """A pool on which a training is the better, the nearer its subset is to one that is the best."""

    def __init__(self, best: Recipe | None = None) -> None:
        world = SyntheticWorld(2, n=400)
        self.table, self.min_rows = world.table, world.min_rows
        self.best = None if best is None else set(materialize(best, self.table).rows.tolist())

    def observe(self, rows: Rows, seed: int, fidelity: float = 1.0) -> dict[str, float]:
        if self.best is None:
            raise EvaluationFailed("the loss is not a number")
        mine = set(rows.tolist())
        return {"task": len(mine & self.best) / len(mine | self.best)}


def _tried(scorer: Preferring, budget: int, seed: int = 0) -> list[Recipe]:
    """The single operators whose rows were evaluated, in their order."""
    session = Session(scorer, budget, 0, SPACE)
    METHODS[NAME].run(session, seed)
    assert session.spent == budget
    known = {
        subset_hash(np.sort(materialize(recipe, scorer.table, seed=seed).rows)): recipe
        for recipe in single_operator_recipes(scorer.table, config=SPACE)
    }
    return [known[subset_hash(item.rows)] for item in session.log]


def _family(recipe: Recipe) -> tuple[str, str | None]:
    step = recipe.steps[0]
    return step.operator, step.params.get("direction")


@pytest.mark.parametrize("seed", range(4))
def test_families_are_screened_once_each_and_then_the_best_is_refined(seed: int) -> None:
    best = Recipe.from_dict(
        {"steps": [{"operator": "ifd_filter", "params": {"direction": "low", "scope": "source", "fraction": 0.1}}]}
    )
    scorer = Preferring(best)
    tried = _tried(scorer, 15, seed)
    heads = tried[:FAMILIES]
    assert len({_family(recipe) for recipe in heads}) == FAMILIES
    assert {recipe.steps[0].params["fraction"] for recipe in heads} == {0.5}
    assert {_family(recipe) for recipe in _tried(scorer, 6, seed)[round(SCREENED * 6) :]} <= {
        _family(recipe) for recipe in _tried(scorer, 6, seed)[: round(SCREENED * 6)]
    }, "a third of a budget refines, even if families are left"
    assert best.canonical(default_registry()) in tried, "a climb to the best of its family"


def test_families_hold_all_recipes_once_and_begin_at_half() -> None:
    table = SyntheticWorld(2, n=400).table
    recipes = single_operator_recipes(table)
    found = families(recipes, np.random.default_rng(0), default_registry())
    assert sorted(recipe.hash for family in found for recipe in family.recipes) == sorted(r.hash for r in recipes)
    (low,) = [family for family in found if _family(family.recipes[0]) == ("ifd_filter", "low")]
    assert {_family(recipe) for recipe in low.recipes} == {("ifd_filter", "low")}
    assert low.recipes[0].steps[0].params["fraction"] == 0.5
    near = [(r.steps[0].params["fraction"], r.steps[0].params["scope"]) for r in low.nearest_first(low.recipes[0])]
    start = low.recipes[0].steps[0].params["scope"]
    assert near[0] == (0.5, start)
    assert {share for share, scope in near[1:4]} == {0.75, 0.5, 0.25}, "one step of the strengths, or the other scope"


@pytest.mark.parametrize("name", default_registry().names())
def test_whatever_operator_a_space_holds_its_recipes_are_ordered(name: str) -> None:
    """Some have no strength, or one that is not searched."""
    recipes = single_operator_recipes(signal_table(0, 60), config=SearchConfig(operators=("truncate_samples", name)))
    found = families(recipes, np.random.default_rng(0), default_registry())
    assert sum(len(family.recipes) for family in found) == len(recipes)
    for family in found:
        for recipe in family.recipes:
            near = family.nearest_first(recipe)
            assert near[0] == recipe and len(near) == len(family.recipes)


def test_a_space_with_a_step_that_has_no_strength_is_screened_and_refined() -> None:
    scorer = Preferring(Recipe.from_dict({"steps": [{"operator": "varentropy_mix", "params": {"temperature": 0.1}}]}))
    session = Session(scorer, 8, 0, SearchConfig(operators=("truncate_samples", "varentropy_mix")))
    METHODS[NAME].run(session, 0)
    assert max(item.observed for item in session.log) == 1.0


def test_all_of_them_have_the_budget_that_they_need() -> None:
    scorer = Preferring(Recipe.from_dict({"steps": [{"operator": "truncate_samples", "params": {"fraction": 0.5}}]}))
    method, search = METHODS["single-operators:all"], SearchConfig(operators=("ifd_filter", "truncate_samples"))
    budget = method.budget(3, scorer.table, search)
    assert budget == 20  # two ends, two scopes, four strengths; four caps
    session = Session(scorer, budget, 0, search)
    method.run(session, 0)
    subsets = {subset_hash(item.rows) for item in session.log}
    assert len(subsets) == len(session.log) <= budget
    single = Session(scorer, 3, 0, search)
    METHODS[NAME].run(single, 0)
    assert {subset_hash(item.rows) for item in single.log} <= subsets, "trainings of the budgeted one are among them"


def test_a_family_whose_trainings_fail_is_not_the_best() -> None:
    session = Session(Preferring(), 5, 0)
    METHODS[NAME].run(session, 0)
    assert len(session.log) == 5 and all(item.failure for item in session.log)
