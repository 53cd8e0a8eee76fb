from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_pool import make_pool

from autoselection.errors import ConfigError, RecipeError
from autoselection.operators import default_registry, validate_params
from autoselection.recipes import Recipe, RecipeBook, Step
from autoselection.search.config import (
    PUBLISHED_ZONES,
    DrawConfig,
    EditConfig,
    SearchConfig,
    ZoneConfig,
    published_settings,
)
from autoselection.search.credit import Credit, Share
from autoselection.search.edits import Editor, UnionSource, operator_preference
from autoselection.search.space import RecipeSpace
from autoselection.search.warmup import distance_to_zone, draw_any, draw_probe, zone_of
from autoselection.signals.table import SignalTable

SIGNALS = make_pool(0, n=300).signals


def space(**config) -> RecipeSpace:
    return RecipeSpace(SIGNALS, default_registry(), SearchConfig(**config))


def within(recipe: Recipe, of: RecipeSpace) -> bool:
    """Every step is valid, and every searched number within the range searched on this pool."""
    for step in recipe.steps:
        operator = default_registry().get(step.operator)
        assert validate_params(operator, step.params) == dict(step.params)
        for param in of.params(step.operator):
            value = step.params.get(param.name)
            if param.kind in ("float", "int") and param.searched and value is not None:
                assert param.low <= value <= param.high, (step, param)
            if param.kind == "choice" and value is not None:
                assert value in param.choices
    return True


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), probe=st.integers(0, 5))
def test_probes_are_valid_aim_at_their_zone_and_use_distinct_operators(seed, probe):
    zone = zone_of(probe, PUBLISHED_ZONES)
    recipe, target = draw_probe(space(), zone, 5, np.random.default_rng(seed))
    assert zone.low <= target <= zone.high
    assert within(recipe, space())
    names = [step.operator for step in recipe.steps]
    assert len(set(names)) == len(names) and "truncate_samples" in names and 2 <= len(names) <= 4
    root = target ** (1 / len(names))
    for step in recipe.steps:
        low, high = (min(1.0, root * factor) for factor in (0.92, 1.08))
        assert low - 1e-6 <= step.params["fraction"] <= high + 1e-6


def test_probes_of_one_step_are_caps_and_filters():
    zone, here = PUBLISHED_ZONES[1], space(max_steps=1)
    drawn = [draw_probe(here, zone, 1, np.random.default_rng(seed)) for seed in range(200)]
    assert all(len(recipe.steps) == 1 and within(recipe, here) for recipe, _ in drawn)
    assert {recipe.steps[0].operator for recipe, _ in drawn} == {*here.caps, *here.filters}
    for recipe, target in drawn:
        assert target * 0.92 - 1e-6 <= recipe.steps[0].params["fraction"] <= target * 1.08 + 1e-6


def test_zones_take_turns():
    names = [zone_of(probe, PUBLISHED_ZONES).name for probe in range(4)]
    assert names == ["moderate", "aggressive", "exploratory", "moderate"]


def test_distance_to_a_zone_is_zero_inside_and_a_log_factor_outside():
    zone = PUBLISHED_ZONES[0]
    assert distance_to_zone(0.65, zone) == 0
    assert distance_to_zone(0.30, zone) == pytest.approx(np.log(2))
    assert distance_to_zone(0.77, zone) == pytest.approx(np.log(1.1))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_edits_stay_within_the_space_and_are_distinct(seed):
    rng = np.random.default_rng(seed)
    here = space()
    parent = draw_probe(here, zone_of(seed, PUBLISHED_ZONES), 5, rng)[0].canonical()
    other = Recipe((here.draw("source_filter", rng),)).canonical()
    editor = Editor(here, EditConfig(), 5, [UnionSource(other, other.hash, "t002", 1.0)], Credit())
    proposals, _ = editor.propose(parent, 40, rng)
    assert len(proposals) == 40
    assert len({parent.hash, *(proposal.recipe.hash for proposal in proposals)}) == 41
    for proposal in proposals:
        assert within(proposal.recipe, here)
        assert len(proposal.recipe.steps) <= 5
        assert proposal.key == proposal.recipe.hash
        names = [step.operator for step in proposal.recipe.steps]
        assert len(set(names)) == len(names)
        for step in proposal.recipe.steps:
            if step.operator == "union":
                assert proposal.recipe.library[step.params["source_recipe"]] == other


@pytest.mark.parametrize("kind", ["add", "drop", "swap", "reorder", "reparametrise", "flip", "union"])
def test_each_kind_of_edit_alone_does_what_it_says(kind):
    rng = np.random.default_rng(0)
    here = space()
    parent = Recipe(
        (Step("ifd_filter"), Step("ngram_entropy"), Step("semantic_dedup", {"strategy": "exact"}))
    ).canonical()
    other = Recipe((Step("truncate_samples"),)).canonical()
    config = EditConfig(weights={kind: 1.0}, second_edit=0.0)
    editor = Editor(here, config, 5, [UnionSource(other, other.hash, "t002", 1.0)], Credit())
    proposals, _ = editor.propose(parent, 6, rng)
    assert proposals
    before = [step.operator for step in parent.steps]
    for proposal in proposals:
        after = [step.operator for step in proposal.recipe.steps]
        assert len(after) - len(before) == {"add": 1, "union": 1, "drop": -1}.get(kind, 0)
        if kind in ("add", "union"):
            assert [name for name in after if name in before] == before
        if kind == "swap":
            assert len(set(after) - set(before)) == 1
        if kind in ("reparametrise", "flip"):
            assert after == before
        if kind == "reorder":
            assert sorted(after) == sorted(before) and after != before
        if kind == "flip":
            old, new = (
                [
                    (step.params.get("direction"), step.params.get("scope"), step.params.get("fraction"))
                    for step in r.steps
                ]
                for r in (parent, proposal.recipe)
            )
            changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
            assert len(changed) == 1 and changed[0][0][2] == changed[0][1][2]


def test_crossing_takes_first_steps_of_one_recipe_and_last_ones_of_another():
    rng = np.random.default_rng(1)
    own = Recipe((Step("ifd_filter"), Step("ngram_entropy"))).canonical()
    other = Recipe((Step("truncate_samples"), Step("varentropy_filter"), Step("ifd_filter", {"fraction": 0.3})))
    config = EditConfig(weights={"cross": 1.0}, second_edit=0.0)
    editor = Editor(space(), config, 4, [UnionSource(other.canonical(), other.hash, "t002", 1.0)], Credit())
    proposals, _ = editor.propose(own, 8, rng)
    assert len(proposals) >= 3
    tails = [[step.operator for step in other.steps[start:]] for start in range(3)]
    for proposal in proposals:
        names = [step.operator for step in proposal.recipe.steps]
        assert any(names[-len(tail) :] == tail for tail in tails)
        assert len(set(names)) == len(names) <= 4 and within(proposal.recipe, space())
    assert Editor(space(), config, 4, [], Credit()).propose(own, 8, rng)[0] == []


def test_random_recipes_have_distinct_operators_and_mostly_few():
    rng = np.random.default_rng(2)
    recipes = [draw_any(space(), 4, rng) for _ in range(300)]
    lengths = np.bincount([len(recipe.steps) for recipe in recipes])
    assert lengths[1] > lengths[2] > lengths[4] > 0 and len(lengths) == 5
    for recipe in recipes:
        assert len({step.operator for step in recipe.steps}) == len(recipe.steps) and within(recipe, space())


def test_published_draws_keep_the_high_end_of_the_whole_subset():
    config = published_settings()
    here = RecipeSpace(SIGNALS, default_registry(), config)
    assert "source_filter" not in here.names
    rng = np.random.default_rng(0)
    for _ in range(30):
        step = here.draw("ifd_filter", rng)
        assert (step.params["direction"], step.params["scope"]) == ("high", "whole")
        assert here.flips(step) == ()


def test_draws_follow_the_configured_probabilities():
    here = space(draws=DrawConfig(low_direction=1.0, low_direction_of={"mona_filter": 0.0}, source_scope=1.0))
    rng = np.random.default_rng(0)
    assert here.draw("ifd_filter", rng).params["direction"] == "low"
    assert here.draw("mona_filter", rng).params["direction"] == "high"
    assert here.draw("mona_filter", rng).params["scope"] == "source"


def test_encoding_has_a_bit_and_scaled_parameters_for_each_operator():
    here = space(operators=("truncate_samples", "ifd_filter", "union"))
    recipe = Recipe((Step("ifd_filter", {"fraction": 0.525, "direction": "low", "scope": "source"}),)).canonical()
    # truncate_samples: bit, fraction; ifd_filter: bit, fraction on [0.05, 1], direction is low, scope is source.
    own = [0, 0, 1, 0.5, 1, 1]
    assert here.encode(recipe) == pytest.approx([*own, *[0] * 19])


def test_encoding_of_a_union_holds_source_difference_maximum_and_bit():
    here = space(operators=("truncate_samples", "ifd_filter", "union"))
    source = Recipe((Step("truncate_samples", {"fraction": 0.505}),)).canonical()
    union = Recipe((Step("ifd_filter", {"fraction": 1.0}), Step("union", {"source_recipe": "s"})))
    recipe = RecipeBook({"s": source}).inline(union).canonical()
    own, other = [0, 0, 1, 1, 0, 0], [1, 0.5, 0, 0, 0, 0]
    expected = [*own, *other, *[1, 0.5, 1, 1, 0, 0], *[1, 0.5, 1, 1, 0, 0], 1]
    assert here.encode(recipe) == pytest.approx(expected)


def test_credited_operators_are_preferred():
    assert operator_preference(["a", "b"], Credit(), 1.0) == {"a": 1.0, "b": 1.0}

    credited = operator_preference(["a", "b", "c"], Credit({"a": Share(0.2, 2), "b": Share(-0.05, 1)}), 1.0)
    assert credited == pytest.approx({"a": np.exp(1.0), "b": np.exp(-0.5), "c": 1.0})


def test_a_named_operator_without_its_signal_is_refused():
    bare = SignalTable.from_arrays({"n_tokens": np.ones(10)})
    with pytest.raises(ConfigError, match=r"'ifd_filter' needs ifd"):
        RecipeSpace(bare, default_registry(), SearchConfig(operators=("ifd_filter",)))
    with pytest.raises(RecipeError, match=r"unknown operator 'ifd'"):
        RecipeSpace(bare, default_registry(), SearchConfig(operators=("ifd",)))
    with pytest.raises(ConfigError, match="no operator"):
        RecipeSpace(bare, default_registry(), SearchConfig(operators=("union",)))


def test_settings_refuse_what_makes_no_sense():
    with pytest.raises(ValueError, match="unknown kind of edit"):
        EditConfig(weights={"ad": 1})
    with pytest.raises(ValueError, match="at least one kind"):
        EditConfig(weights={"add": 0})
    with pytest.raises(ValueError, match="low"):
        ZoneConfig(name="z", low=0.5, high=0.4)
    assert SearchConfig().minimum_rows(3000) == 60
    assert SearchConfig().minimum_rows(90_000) == 500
    assert SearchConfig().minimum_rows(10) == 10
