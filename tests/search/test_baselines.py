from __future__ import annotations

import numpy as np

from autoselection.recipes import materialize
from autoselection.search import (
    full_recipe,
    latin_hypercube_recipes,
    random_recipes,
    random_subset,
    single_operator_recipes,
)


def test_the_full_recipe_keeps_every_row(small):
    assert (materialize(full_recipe(), small.signals).rows == np.arange(small.signals.n)).all()


def test_a_random_subset_is_seeded_sorted_and_distinct():
    rows = random_subset(100, 30, seed=4)
    assert len(rows) == 30 and (np.diff(rows) > 0).all() and rows.dtype == np.int64
    assert (rows == random_subset(100, 30, seed=4)).all()
    assert (rows != random_subset(100, 30, seed=5)).any()
    assert (random_subset(10, 30) == np.arange(10)).all()


def test_single_operators_start_with_the_defaults_of_each_and_cover_directions_and_scopes(small):
    recipes = single_operator_recipes(small.signals)
    assert all(len(recipe.steps) == 1 for recipe in recipes)
    assert len({recipe.hash for recipe in recipes}) == len(recipes)
    heads = [recipe.steps[0].operator for recipe in recipes[:8]]
    assert heads == [
        "truncate_samples",
        "mona_filter",
        "ifd_filter",
        "ngram_entropy",
        "action_object_branching",
        "varentropy_filter",
        "semantic_dedup",
        "source_filter",
    ]
    seen = {
        (step.params["direction"], step.params["scope"], step.params["fraction"])
        for recipe in recipes
        for step in recipe.steps
        if step.operator == "ifd_filter"
    }
    assert len(seen) == 16
    dropped = [r.steps[0].params["sources"] for r in recipes if r.steps[0].operator == "source_filter"]
    assert sorted(dropped) == [[name] for name in small.signals.source_names]


def test_random_recipes_are_seeded_and_select_distinct_subsets(small):
    recipes = random_recipes(small.signals, 15, seed=2)
    assert [r.hash for r in recipes] == [r.hash for r in random_recipes(small.signals, 15, seed=2)]
    assert len({materialize(recipe, small.signals).subset_hash for recipe in recipes}) == 15


def test_latin_hypercube_recipes_have_two_to_four_steps_and_fill_the_space(small):
    recipes = latin_hypercube_recipes(small.signals, 40, seed=1)
    assert [r.hash for r in recipes] == [r.hash for r in latin_hypercube_recipes(small.signals, 40, seed=1)]
    assert {len(recipe.steps) for recipe in recipes} == {2, 3, 4}
    used = {step.operator for recipe in recipes for step in recipe.steps}
    assert used == {recipe.steps[0].operator for recipe in single_operator_recipes(small.signals)}
    for recipe in recipes:
        assert len(materialize(recipe, small.signals).rows) >= 1
