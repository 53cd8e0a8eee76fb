"""Four scopes, three set operations and named signals in the moves of a search."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from autoselection.errors import RecipeError
from autoselection.operators import default_registry
from autoselection.recipes import Recipe, Step, materialize
from autoselection.search import SearchConfig, SearchController, latin_hypercube_recipes, single_operator_recipes
from autoselection.search.config import DrawConfig, EditConfig
from autoselection.search.credit import Credit
from autoselection.search.edits import Editor, UnionSource
from autoselection.search.space import RecipeSpace
from autoselection.signals.table import SignalTable


@pytest.fixture(scope="module")
def table() -> SignalTable:
    rng = np.random.default_rng(0)
    n = 500
    columns = {name: rng.random(n) for name in ("ifd", "mona/a", "mona/b", "reward", "politeness", "n_response_tokens")}
    return SignalTable.from_arrays(
        columns, source=rng.choice(["x", "y"], n), text_hash=rng.integers(0, 400, n), embeddings=rng.normal(size=(n, 8))
    )


def space_of(table: SignalTable, **draws: float) -> RecipeSpace:
    return RecipeSpace(table, default_registry(), SearchConfig(draws=DrawConfig(**draws)))


FOUR = {"source_scope": 0.4, "task_scope": 0.3, "cluster_scope": 0.2}


def test_scopes_are_drawn_with_their_probabilities(table):
    space = space_of(table, **FOUR)
    rng = np.random.default_rng(1)
    drawn = Counter(space.draw("ifd_filter", rng).params["scope"] for _ in range(3000))
    for scope, chance in {"source": 0.4, "task": 0.3, "cluster": 0.2, "whole": 0.1}.items():
        assert drawn[scope] / 3000 == pytest.approx(chance, abs=0.035)


def test_a_scope_the_pool_lacks_gives_its_share_to_the_whole():
    bare = SignalTable.from_arrays({"ifd": np.arange(100.0)}, source=["x", "y"] * 50)
    space = space_of(bare, **FOUR)
    assert space.scope_odds(space.operator("ifd_filter")) == {"whole": 0.6, "source": 0.4}


def test_turning_a_step_reaches_every_other_scope(table):
    step = Step("ifd_filter", {"direction": "high", "scope": "task"})
    flips = space_of(table, **FOUR).flips(step)
    assert [flip for flip in flips if "direction" not in flip] == [{"scope": s} for s in ("whole", "source", "cluster")]
    assert len(flips) == 1 + 3 + 3
    assert space_of(table, task_scope=0.0, cluster_scope=0.0).flips(step)[1:3] == (
        {"scope": "whole"},
        {"scope": "source"},
    )


def test_without_a_chance_a_scope_is_no_part_of_the_space_but_stays_where_it_is_given(table):
    space = space_of(table, task_scope=0.0, cluster_scope=0.0)
    scope = {param.name: param for param in space.params("ifd_filter")}["scope"]
    assert scope.choices == ("whole", "source")
    step = space.clamp(Step("ifd_filter", {"scope": "task", "fraction": 0.5}))
    assert step.params["scope"] == "task"
    assert space.perturb(step, np.random.default_rng(0), 0.3).params["scope"] == "task"
    assert np.isfinite(space.encode(Recipe((step,)))).all()


def test_probabilities_of_scopes_must_fit():
    with pytest.raises(ValueError, match=r"add up to 1\.2"):
        DrawConfig(source_scope=0.7, task_scope=0.3, cluster_scope=0.2)


def test_every_set_operation_is_proposed_with_evaluated_recipes(table):
    registry = default_registry()
    other = Recipe((Step("truncate_samples", {"fraction": 0.5}),)).canonical(registry)
    space = RecipeSpace(table, registry, SearchConfig(also=("intersect", "subtract")))
    config = EditConfig(weights={"union": 1.0}, second_edit=0.0)
    editor = Editor(space, config, 5, [UnionSource(other, other.digest(registry), "t007", 1.0)], Credit())
    parent = Recipe((Step("ifd_filter", {"fraction": 0.4}),)).canonical(registry)
    proposals, _ = editor.propose(parent, 3, np.random.default_rng(0))
    assert sorted(proposal.edit for proposal in proposals) == [
        "added the rows of t007 (union)",
        "dropped the rows of t007 (subtract)",
        "kept only the rows shared with t007 (intersect)",
    ]
    own = set(materialize(parent, table).rows.tolist())
    there = set(materialize(other, table).rows.tolist())
    wanted = {"union": own | there, "intersect": own & there, "subtract": own - there}
    for proposal in proposals:
        result = materialize(proposal.recipe, table)
        step = result.lineage[-1]
        assert set(result.rows.tolist()) == wanted[step.operator]
        assert step.notes["other rows"] == len(there)
        assert Recipe.from_dict(proposal.recipe.to_dict()).hash == proposal.recipe.hash  # travels with what it names


def test_a_search_with_every_new_operator_runs_and_repeats_itself(table):
    names = ("ifd_filter", "score_filter", "length_filter", "sample", "diversity", "cluster_balance", "source_mix")
    config = SearchConfig(
        operators=(*names, "intersect", "subtract", "union"),
        evaluations=12,
        warmup=3,
        proposals=12,
        min_rows=10,
        draws=DrawConfig(**FOUR),
    )

    def run() -> list[str]:
        controller = SearchController(table, config)
        controller.run(lambda candidate: float(table.column("reward")[candidate.rows].mean()))
        return [candidate.recipe.hash for candidate in controller.candidates]

    first = run()
    assert len(first) == 12 and first == run()


def test_baselines_name_every_signal(table):
    config = SearchConfig(
        operators=("score_filter", "cluster_balance", "sample", "source_mix", "length_filter", "diversity")
    )
    singles = single_operator_recipes(table, config=config)
    named = {step.params["signal"] for recipe in singles for step in recipe.steps if step.operator == "score_filter"}
    assert named == {"reward", "politeness"}
    for recipe in latin_hypercube_recipes(table, 20, config=config):
        materialize(recipe, table)


def test_operators_are_added_to_the_default_ones_and_left_out():
    bare = SignalTable.from_arrays({"ifd": np.arange(100.0), "reward": np.arange(100.0), "n_tokens": np.arange(100.0)})
    registry = default_registry()
    assert RecipeSpace(bare, registry, SearchConfig()).names == (
        "truncate_samples",
        "ifd_filter",
        "union",
        "score_filter",
    )
    config = SearchConfig(also=("length_filter", "union"), without=("score_filter", "ifd_filter"))
    assert RecipeSpace(bare, registry, config).names == ("truncate_samples", "union", "length_filter")
    with pytest.raises(RecipeError, match="unknown operator 'scorefilter'"):
        RecipeSpace(bare, registry, SearchConfig(without=("scorefilter",)))


def test_a_search_over_a_pool_without_more_signals_is_offered_none_of_them():
    bare = SignalTable.from_arrays({"ifd": np.arange(100.0)}, source=["x", "y"] * 50)
    assert "score_filter" not in RecipeSpace(bare, default_registry(), SearchConfig()).names
    with pytest.raises(RecipeError, match="nothing that 'signal' could name"):
        RecipeSpace(bare, default_registry(), SearchConfig()).draw("score_filter", np.random.default_rng(0))
