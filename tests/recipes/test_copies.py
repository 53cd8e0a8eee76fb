"""Rows that count more than once: from the mix that says so to hashes, descriptions, overlaps and training."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoselection.errors import RecipeError, SignalError
from autoselection.operators import Outcome, default_registry
from autoselection.operators.base import BaseOperator
from autoselection.operators.registry import OperatorRegistry
from autoselection.recipes import PrefixCache, Recipe, Step, materialize, state_vector, subset_hash
from autoselection.recipes.copies import layers
from autoselection.recipes.lineage_warnings import lineage_remarks
from autoselection.search.features import SubsetFeatures
from autoselection.search.overlaps import Overlaps, overlap
from autoselection.signals.arrays import SparseRows
from autoselection.signals.table import SignalTable

N = 60


def table(seed: int = 0) -> SignalTable:
    rng = np.random.default_rng(seed)
    active = (rng.random((N, 12)) < 0.3).astype(np.float32) * rng.random((N, 12), np.float32)
    return SignalTable.from_arrays(
        {"n_tokens": rng.integers(5, 50, N).astype(float), "ifd": rng.random(N), "kind": np.arange(N) % 3.0},
        source=["big"] * 40 + ["small"] * 15 + ["tiny"] * 5,
        sae=SparseRows.from_dense(active),
    )


def mix(weights: dict[str, float], repeats: int, **params: object) -> Step:
    return Step("source_mix", {"weights": weights, "max_repeats": repeats, **params})


def recipe(*steps: Step) -> Recipe:
    return Recipe(tuple(steps))


def times(rows: np.ndarray) -> dict[int, int]:
    return dict(Counter(rows.tolist()))


def sources(found: np.ndarray, signals: SignalTable) -> list[int]:
    return np.bincount(signals.source[found], minlength=3).tolist()


def test_shares_that_are_not_to_be_had_are_told():
    signals = table()
    found = materialize(recipe(mix({"big": 2, "small": 1, "tiny": 1}, 1, total_samples=52)), signals)
    assert sources(found.rows, signals) == [32, 15, 5]  # 26, 13 and 13 were asked for; what tiny lacks the others serve
    (said,) = lineage_remarks(found.lineage)
    assert said.startswith("Step 1 (source_mix): 8 of its 52 rows (15%) are from groups that had rows left")
    fits = materialize(recipe(mix({"big": 2, "small": 1, "tiny": 1}, 4, total_samples=52)), signals)
    assert sources(fits.rows, signals) == [26, 13, 13] and not lineage_remarks(fits.lineage)


def test_a_group_serves_more_than_it_has_and_all_its_rows_about_equally():
    signals = table()
    found = materialize(recipe(mix({"big": 1, "small": 2, "tiny": 1}, 4, total_samples=80)), signals)
    assert sources(found.rows, signals) == [20, 40, 20]
    assert found.distinct == 20 + 15 + 5 == len(np.unique(found.rows))
    counted = times(found.rows)
    assert {counted[row] for row in range(40) if row in counted} == {1}
    assert sorted(counted[row] for row in range(40, 55)) == [2] * 5 + [3] * 10
    assert [counted[row] for row in range(55, 60)] == [4] * 5
    assert found.lineage[-1].rows_out == 40
    assert found.lineage[-1].notes["rows counting copies"] == 80
    assert found.lineage[-1].notes["from tiny"] == 20


def test_the_largest_exact_mix_uses_the_repeats_and_a_size_beyond_them_falls_short():
    signals = table()
    weights = {"big": 1, "small": 1, "tiny": 1}
    assert sources(materialize(recipe(mix(weights, 4)), signals).rows, signals) == [20, 20, 20]
    short = materialize(recipe(mix({"big": 0, "small": 0, "tiny": 1}, 3, total_samples=100)), signals)
    assert len(short.rows) == 15
    assert short.lineage[0].notes["short of the size by"] == 85


def test_without_repeats_nothing_changes():
    signals = table()
    plain = materialize(recipe(Step("source_mix", {"weights": {"big": 1, "small": 1}, "other": 0})), signals)
    once = materialize(recipe(mix({"big": 1, "small": 1}, 1, other=0)), signals)
    assert plain.subset_hash == once.subset_hash
    assert plain.recipe.hash == once.recipe.hash
    assert "max_repeats" not in plain.recipe.steps[0].params


def test_later_steps_keep_the_count_and_mixes_multiply():
    signals = table()
    doubled = mix({"big": 0, "small": 0, "tiny": 1}, 2, fraction=1.0)
    cut = Step("score_filter", {"signal": "ifd", "fraction": 0.5})
    found = materialize(recipe(doubled, cut), signals)
    assert set(times(found.rows).values()) == {2}
    assert found.distinct == 3
    again = materialize(recipe(doubled, cut, mix({"tiny": 1}, 3, other=0, fraction=1.0)), signals)
    assert len(again.rows) == 6  # a share of the rows given, which are counted once
    thrice = materialize(recipe(doubled, cut, mix({"tiny": 1}, 3, other=0, total_samples=9)), signals)
    assert set(times(thrice.rows).values()) == {6}


def test_set_operations_bring_the_count_of_the_recipe_they_name():
    signals = table()
    inner = Recipe((mix({"big": 0, "small": 0, "tiny": 1}, 3, total_samples=15),))
    tiny = Step("source_filter", {"sources": ["tiny"], "mode": "drop"})
    outer = Recipe((tiny, Step("union", {"source_recipe": "inner"})), library={"inner": inner})
    counted = times(materialize(outer, signals).rows)
    assert [counted[row] for row in range(55, 60)] == [3] * 5
    assert all(counted[row] == 1 for row in range(55))
    everything = Recipe((Step("union", {"source_recipe": "inner"}),), library={"inner": inner})
    assert len(materialize(everything, signals).rows) == N  # rows given keep their count
    left = Recipe((*inner.steps, Step("subtract", {"source_recipe": "all"})), library={"all": Recipe((tiny,))})
    assert set(times(materialize(left, signals).rows).values()) == {3}


def test_the_hash_knows_how_often_rows_count_and_old_hashes_stay():
    rows = np.array([5, 3, 9])
    assert subset_hash(rows) == subset_hash(np.array([3, 5, 9]), 20)
    assert subset_hash(np.array([5, 3, 9, 3])) == subset_hash(np.array([3, 3, 5, 9]), 20) != subset_hash(rows)
    signals = table()
    found = materialize(recipe(mix({"big": 0, "small": 0, "tiny": 1}, 2, total_samples=10)), signals)
    assert found.subset_hash == subset_hash(found.rows, N) == subset_hash(found.rows)


def test_a_cached_prefix_keeps_the_count():
    signals, cache = table(), PrefixCache()
    steps = (mix({"big": 0, "small": 1, "tiny": 1}, 4, total_samples=40), Step("score_filter", {"signal": "ifd"}))
    first = materialize(Recipe(steps), signals, cache=cache)
    second = materialize(Recipe(steps), signals, cache=cache)
    alone = materialize(Recipe(steps), signals)
    assert cache.hits
    assert first.rows.tolist() == second.rows.tolist() == alone.rows.tolist()
    assert first.subset_hash == second.subset_hash == alone.subset_hash


multisets = st.lists(st.integers(0, N - 1), min_size=1, max_size=150).map(lambda rows: np.array(rows, np.int64))


@settings(max_examples=60, deadline=None)
@given(rows=multisets)
def test_layers_count_every_row_as_often_as_it_stands_there(rows):
    found = layers(rows, N)
    assert times(np.concatenate(found)) == times(rows)
    assert all(len(np.unique(layer)) == len(layer) for layer in found)


@settings(max_examples=40, deadline=None)
@given(rows=multisets)
def test_the_state_vector_is_that_of_the_list(rows):
    signals = table()
    state = state_vector(rows, signals)
    tokens = signals.columns["n_tokens"].astype(float)
    assert state.retain_ratio == pytest.approx(len(rows) / N)
    assert state.token_ratio == pytest.approx(tokens[rows].sum() / tokens.sum())
    assert list(state.source_share.values()) == pytest.approx([c / len(rows) for c in sources(rows, signals)])
    active = signals.require_sae().active().toarray()
    moved = active[rows].mean(0) - active.mean(0)
    assert state.distribution_drift == pytest.approx(np.linalg.norm(moved) / np.sqrt(12), abs=1e-7)


@settings(max_examples=40, deadline=None)
@given(subsets=st.lists(multisets, min_size=1, max_size=15))
def test_features_together_are_those_of_each_alone(subsets):
    signals = table()
    described = SubsetFeatures(signals, ("ifd", "n_tokens"))
    for rows, found in zip(subsets, described.many(subsets), strict=True):
        np.testing.assert_array_equal(found, described(rows, state_vector(rows, signals)))
    kept = described.many([np.repeat(np.arange(N), 2)])[0][described.names.index("log_kept")]
    assert kept == pytest.approx(np.log(2.02))


@settings(max_examples=40, deadline=None)
@given(subsets=st.lists(multisets, min_size=1, max_size=20))
def test_overlaps_are_the_smaller_count_over_the_larger(subsets):
    weights = np.random.default_rng(1).random(N) + 0.1
    counts = np.array([np.bincount(rows, minlength=N) for rows in subsets])
    expected = [[(np.minimum(a, b) @ weights) / (np.maximum(a, b) @ weights) for b in counts] for a in counts]
    np.testing.assert_allclose(overlap(subsets, weights), expected, atol=1e-12)
    known = Overlaps(weights)
    assert len(known.jaccard(subsets[0])) == 0


def test_groups_are_sources_tasks_clusters_tools_or_the_values_of_a_column():
    signals = table()
    step = Step("source_mix", {"weights": {"0": 1, "2": 2}, "other": 0, "groups": "column", "column": "kind"})
    found = materialize(recipe(step), signals)
    assert np.bincount(found.rows % 3).tolist() == [10, 0, 20]
    assert found.recipe.describe() == "source_mix(0 1 : 2 2 : others 0, by kind)"
    assert default_registry().get("source_mix").needs(step.params) == ("kind",)
    with pytest.raises(RecipeError, match="the pool has no kind of '7'"):
        materialize(recipe(Step("source_mix", {**step.params, "weights": {"7": 1}})), signals)
    with pytest.raises(RecipeError, match="parameter 'column' is required"):
        Recipe((Step("source_mix", {"groups": "column"}),)).canonical(default_registry())
    with pytest.raises(RecipeError, match="'column' applies only if groups is column"):
        Recipe((Step("source_mix", {"column": "kind"}),)).canonical(default_registry())
    many = SignalTable.from_arrays({"x": np.arange(2000.0)}, source=["a"] * 2000)
    with pytest.raises(SignalError, match="2,000 different values"):
        materialize(recipe(Step("source_mix", {"groups": "column", "column": "x"})), many)


class Twice(BaseOperator):
    """Says copies as a test wants."""

    name = "twice"
    family = "other"
    summary = "counts rows twice"
    order = "the order in which the rows were given"

    def __init__(self, copies):
        self.copies = copies

    def __call__(self, rows, params, context):
        return Outcome(rows, copies=self.copies(rows))


@pytest.mark.parametrize(
    "copies",
    [
        lambda rows: np.zeros(len(rows), np.int64),
        lambda rows: np.ones(3, np.int64),
        lambda rows: np.full(len(rows), 1.5),
    ],
)
def test_copies_that_are_no_counts_are_refused_with_the_step(copies):
    registry = OperatorRegistry([Twice(copies)])
    with pytest.raises(RecipeError, match="step 1: operator 'twice' returned copies"):
        materialize(recipe(Step("twice", {})), table(), registry=registry)


def test_copies_of_all_ones_are_no_copies():
    ones = OperatorRegistry([Twice(lambda rows: np.ones(len(rows), np.int64))])
    found = materialize(recipe(Step("twice", {})), table(), registry=ones)
    assert "rows counting copies" not in found.lineage[0].notes
    assert found.subset_hash == subset_hash(np.arange(N))
