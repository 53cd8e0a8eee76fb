"""Bootstrap intervals, variance components and the winner's curse against known values and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autoselection.statistics import (
    Flattery,
    bootstrap_interval,
    crossed_components,
    expected_maximum,
    selection_bias,
    selection_flattery,
    table_components,
    table_score,
    trial_noise,
)

tables = st.integers(1, 3).flatmap(
    lambda seeds: st.lists(
        st.integers(1, 12).flatmap(lambda items: arrays(np.float64, (seeds, items), elements=st.floats(-5, 5))),
        min_size=1,
        max_size=3,
    )
)


@settings(max_examples=30, deadline=None)
@given(tables, st.floats(-3, 3))
def test_an_interval_holds_its_estimate_moves_with_the_scores_and_is_repeatable(table, shift) -> None:
    found = bootstrap_interval(table, draws=400, level=0.999)
    assert found.low - 1e-9 <= table_score(table) <= found.high + 1e-9
    assert found == bootstrap_interval(table, draws=400, level=0.999)
    moved = bootstrap_interval([task + shift for task in table], draws=400, level=0.999)
    assert (moved.low, moved.high) == (pytest.approx(found.low + shift), pytest.approx(found.high + shift))


def test_the_score_is_the_mean_of_task_means() -> None:
    assert table_score([np.array([1.0, 1.0, 1.0, 1.0]), np.array([0.0])]) == 0.5


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for i in range(300):
        tasks = [rng.normal(0.5, 1, 60), rng.random(30)]
        interval = bootstrap_interval(tasks, draws=500, seed=i)
        covered += interval.low <= 0.5 <= interval.high
    assert 0.90 <= covered / 300 <= 0.985


def test_its_width_is_that_of_the_normal_approximation_stratified_by_task() -> None:
    rng = np.random.default_rng(4)
    tasks = [rng.normal(0, 1, 300) + 100, rng.normal(0, 3, 200)]  # far apart: mixing tasks would blow it up
    interval = bootstrap_interval(tasks, draws=4000)
    error = math.sqrt(sum(task.var() / len(task) for task in tasks)) / 2
    assert (interval.high - interval.low) / (2 * 1.96) == pytest.approx(error, rel=0.06)


def test_seeds_widen_it() -> None:
    rng = np.random.default_rng(0)
    seeds = rng.normal(0, 1, (6, 1))
    table = [seeds + rng.normal(0, 0.1, (6, 50))]
    both, items = bootstrap_interval(table), bootstrap_interval([table[0].mean(axis=0)])
    assert both.over == "items and seeds" and items.over == "items"
    assert both.high - both.low > 5 * (items.high - items.low)


@pytest.mark.parametrize("table", [[], [np.zeros((1, 0))], [np.array([np.nan])], [np.zeros((2, 3)), np.zeros((1, 3))]])
def test_a_table_that_cannot_be_used_is_refused(table) -> None:
    with pytest.raises(ValueError):
        bootstrap_interval(table)


def test_components_of_a_worked_example() -> None:
    # Two seeds, three items: means 2 and 4 by seed, 1.5, 3.5, 4 by item; all by hand.
    values = np.array([[1.0, 2.0, 3.0], [2.0, 5.0, 5.0]])
    found = crossed_components(values)
    ms_seed, ms_item, ms_rest = 6.0, 3.5, 0.5
    assert found.rest == pytest.approx(ms_rest)
    assert found.seed == pytest.approx((ms_seed - ms_rest) / 3)
    assert found.item == pytest.approx((ms_item - ms_rest) / 2)
    assert found.seed_error == pytest.approx(values.mean(axis=1).std(ddof=1))
    assert found.item_error == pytest.approx(math.sqrt(ms_item / 2 / 3))


def test_components_are_unbiased() -> None:
    rng = np.random.default_rng(8)
    found = [
        crossed_components(rng.normal(0, 1.0, (5, 1)) + rng.normal(0, 2.0, (1, 40)) + rng.normal(0, 0.5, (5, 40)) + 3.0)
        for _ in range(400)
    ]
    assert np.mean([c.seed for c in found]) == pytest.approx(1.0, rel=0.12)
    assert np.mean([c.item for c in found]) == pytest.approx(4.0, rel=0.06)
    assert np.mean([c.rest for c in found]) == pytest.approx(0.25, rel=0.03)


def test_one_seed_leaves_the_seed_unknown() -> None:
    found = table_components({"a": np.array([[1.0, 3.0]]), "single": np.array([[1.0]])})
    assert list(found) == ["a"] and math.isnan(found["a"].seed) and found["a"].item == 2.0
    assert math.isnan(found["a"].seed_error) and found["a"].item_error == 1.0


@pytest.mark.parametrize(
    ("count", "value"), [(1, 0.0), (2, 1 / math.sqrt(math.pi)), (3, 1.5 / math.sqrt(math.pi)), (15, 1.73591)]
)
def test_expected_maxima(count: int, value: float) -> None:
    assert expected_maximum(count) == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize("spread", [0.0, 0.5, 2.0])
def test_the_expected_bias_of_the_best_is_what_simulation_shows(spread: float) -> None:
    rng = np.random.default_rng(9)
    actual, expected = [], []
    for _ in range(1000):
        truth = rng.normal(0, spread, 40)
        scores = truth + rng.normal(0, 1, 40)
        actual.append(scores.max() - truth[scores.argmax()])
        expected.append(selection_bias(scores, 1.0).expected)
    assert np.mean(expected) == pytest.approx(np.mean(actual), rel=0.15)


def test_without_noise_there_is_no_curse_and_with_equal_candidates_it_is_the_expected_maximum() -> None:
    assert selection_bias([1.0, 2.0, 3.0], 0.0).expected == 0.0
    found = selection_bias([1.0, 1.0, 1.0], 0.2)
    assert found.spread == 0.0 and found.if_equal == pytest.approx(0.2 * expected_maximum(3))
    with pytest.raises(ValueError, match="at least one score"):
        selection_bias([], 0.1)


def test_the_noise_among_trials_leaves_out_what_moves_them_all() -> None:
    rng = np.random.default_rng(6)
    items, quality = rng.normal(0, 5, 80), rng.normal(0, 1, 12)
    trials = [[(q + items + rng.normal(0, 2, 80))[None]] for q in quality]
    assert trial_noise(trials) == pytest.approx(2 / math.sqrt(80), rel=0.1)
    assert trial_noise(trials, seed_deviation=0.5) == pytest.approx(math.hypot(2 / math.sqrt(80), 0.5), rel=0.1)
    repeated = [[q + items + rng.normal(0, 0.3, (4, 1)) + np.zeros((4, 80))] for q in quality]
    assert trial_noise(repeated) == pytest.approx(0.3 / 2, rel=0.25)


def test_flattery_is_that_of_a_choice_among_equals_whatever_else_was_tried() -> None:
    """Ten trials as good as each other, alone or beside five bad ones: the best one's excess, and no less."""
    rng = np.random.default_rng(5)
    found, true, spread_out = [], [], []
    for run in range(60):
        good = rng.normal(0.0, 1.0, (10, 100))
        bad = rng.normal(-3.0, 1.0, (5, 100))
        true.append(good.mean(axis=1).max())
        found.append(selection_flattery([[one[None]] for one in good], draws=300, seed=run).items)
        spread_out.append(selection_flattery([[one[None]] for one in (*good, *bad)], draws=300, seed=run).items)
    for estimates in (found, spread_out):
        assert np.mean(true) < np.mean(estimates) < 1.5 * np.mean(true)


def test_a_clear_leader_is_not_flattered_and_chance_in_training_counts_apart() -> None:
    rng = np.random.default_rng(6)
    trials = [[rng.normal(place == 3, 0.2, (1, 200))] for place in range(8)]
    assert selection_flattery(trials) == Flattery(pytest.approx(0, abs=2e-3), 0.0)  # type: ignore[arg-type]
    equal = [[np.tile(rng.normal(0, 1, 50), (1, 1))]] * 8
    lucky = selection_flattery(equal, 0.1, draws=4000)
    assert lucky.items == pytest.approx(0, abs=1e-9)
    assert lucky.training == pytest.approx(0.1 * expected_maximum(8), rel=0.03)
    assert selection_flattery(trials[:1], 1.0) == Flattery(0.0, 0.0)
    with pytest.raises(ValueError, match="at least one trial"):
        selection_flattery([])


def test_components_take_the_interaction_off_both_effects() -> None:
    """Two seeds and three items worked out on paper: mean squares 6, 6 and 2."""
    found = crossed_components(np.array([[0.0, 2.0, 4.0], [2.0, 6.0, 4.0]]))
    assert (found.seed, found.item, found.rest) == pytest.approx((4 / 3, 2.0, 2.0))
    assert found.seed_error == pytest.approx(math.sqrt(4 / 3 + 2 / 3))
    assert found.item_error == pytest.approx(1.0)
