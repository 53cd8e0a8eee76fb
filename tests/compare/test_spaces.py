"""A study's own space holds for every method: what a user left out, nobody tries."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import numpy as np
import pytest
from benchmarks.methods import METHODS as BENCHMARKED
from benchmarks.worlds.synthetic import SyntheticWorld

from autoselection.compare import METHODS, Session
from autoselection.compare.autocurate_search import columns_of
from autoselection.compare.session import Rows
from autoselection.compare.spaces import searched_scores
from autoselection.operators import default_registry
from autoselection.recipes import Recipe
from autoselection.search import SearchConfig, latin_hypercube_recipes, single_operator_recipes
from autoselection.search.baselines import most_single_operators
from autoselection.search.config import DrawConfig

BUDGET = 8
LOW_IFD = SearchConfig(
    operators=("ifd_filter",), draws=DrawConfig(low_direction=1.0, low_direction_of={}, source_scope=0.0)
)
KNOWN = {**METHODS, **BENCHMARKED}
# Not of the study's space: random rows, ways to mix sources, and autocurate's own recipes.
OF_RECIPES = [name for name in KNOWN if name != "random-rows" and not name.startswith(("ours:", "mix:", "autocurate"))]


@pytest.fixture(scope="module")
def world() -> SyntheticWorld:
    return SyntheticWorld(2, n=400)


def _run(world: SyntheticWorld, name: str, search: SearchConfig) -> Session:
    method = KNOWN[name]
    if method.requires and importlib.util.find_spec(method.requires) is None:
        pytest.skip(f"{method.requires} is not installed")
    session = Session(world, method.budget(BUDGET, world.table, search), 0, search)
    method.run(session, 0)
    assert session.log
    return session


def _cut(world: SyntheticWorld, rows: Rows, low: bool) -> bool:
    """Whether the rows are the lowest (highest) ones by IFD."""
    values = world.table.column("ifd")
    rest = np.setdiff1d(np.flatnonzero(np.isfinite(values)), rows)
    if not len(rest):
        return True
    return bool(values[rows].max() <= values[rest].min() if low else values[rows].min() >= values[rest].max())


@pytest.mark.parametrize("name", OF_RECIPES)
def test_only_operators_ends_and_scopes_of_the_study_are_tried(world: SyntheticWorld, name: str) -> None:
    session = _run(world, name, LOW_IFD)
    # Any cuts at the low end of one score, one after the other, leave its lowest rows. The published loop keeps high ends.
    assert all(_cut(world, item.rows, low=name != "published") for item in session.log)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Recipe]]:
    """Every recipe that a method turns into rows."""
    seen: list[Recipe] = []
    for place in ("autoselection.compare.method", "autoselection.search.proposals", "autoselection.search.baselines"):
        module = importlib.import_module(place)
        original = module.materialize

        def materialize(recipe, *given, original=original, **named):  # type: ignore[no-untyped-def]
            seen.append(recipe)
            return original(recipe, *given, **named)

        monkeypatch.setattr(module, "materialize", materialize)
    yield seen


@pytest.mark.parametrize("name", [name for name in OF_RECIPES if name != "random-top-k"])
def test_operators_that_are_left_out_or_added_are_so_for_every_method(
    world: SyntheticWorld, recorded: list[Recipe], name: str
) -> None:
    kept = ("truncate_samples", "ngram_entropy", "length_filter", "semantic_dedup")
    own = SearchConfig(operators=kept[:2], also=kept[2:], without=("semantic_dedup",), max_steps=2)
    _run(world, name, own)
    named = {step.operator for recipe in recorded for step in recipe.steps}
    assert named <= {"truncate_samples", "ngram_entropy", "length_filter"}
    assert "length_filter" in named or name == "published", "what a user added is tried"
    assert name != "published" or named == {"truncate_samples", "ngram_entropy"}, "its space is the published one"
    assert max(len(recipe.steps) for recipe in recorded) <= 2


def test_methods_of_scores_choose_among_those_that_the_search_cuts_by(world: SyntheticWorld) -> None:
    assert searched_scores(world.table, LOW_IFD) == {"ifd": (1.0,)}
    assert set(columns_of(world.table, LOW_IFD)) == {"id", "ifd", "source"}
    mona = SearchConfig(operators=("mona_filter", "semantic_dedup"))
    ends = searched_scores(world.table, mona)
    assert list(ends) == [f"mona/{task}" for task in world.table.tasks] and set(ends.values()) == {(-1.0, 1.0)}
    assert {"exact_group", "near_group"} <= set(columns_of(world.table, mona))
    own = SearchConfig(operators=("length_filter",))
    assert "n_tokens" in searched_scores(world.table, own)


def test_a_published_loop_without_published_operators_takes_those_of_the_study(world: SyntheticWorld) -> None:
    assert _run(world, "published", SearchConfig(operators=("length_filter",))).spent == BUDGET


def test_ends_and_scopes_without_a_chance_are_drawn_by_nobody(world: SyntheticWorld) -> None:
    for recipe in latin_hypercube_recipes(world.table, 30, config=LOW_IFD):
        assert [(step.params["direction"], step.params["scope"]) for step in recipe.steps] == [("low", "whole")]
    only_sources = LOW_IFD.model_copy(update={"draws": DrawConfig(low_direction=0.0, source_scope=1.0)})
    singles = [recipe.steps[0].params for recipe in single_operator_recipes(world.table, config=only_sources)]
    assert {(params["direction"], params["scope"]) for params in singles} == {("high", "source")}
    assert len(singles) == 4, "the strengths, of which one is the default"


def test_all_single_operators_are_counted_before_the_pool_is_known(world: SyntheticWorld) -> None:
    found = len(single_operator_recipes(world.table))
    most = most_single_operators(SearchConfig(), default_registry())
    assert found <= most <= found + 60  # operators whose signals this pool lacks, and scores of a user's own
    assert most_single_operators(LOW_IFD) == len(single_operator_recipes(world.table, config=LOW_IFD))
