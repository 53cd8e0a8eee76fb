"""Paired tests against enumeration, scipy and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from autoselection.statistics import crossed_test, holm, mcnemar, sign_flip_test

small = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), min_size=1, max_size=5)


def enumerated(tasks: list[np.ndarray]) -> float:
    """The definition: every sign of every item, zeros included."""
    weighted = np.concatenate([task / (len(task) * len(tasks)) for task in tasks])
    observed = abs(weighted.sum())
    flips = [abs(np.dot(signs, weighted)) for signs in itertools.product((-1, 1), repeat=len(weighted))]
    return float(np.mean(np.array(flips) >= observed - 1e-12))


@settings(max_examples=40, deadline=None)
@given(st.lists(small, min_size=1, max_size=2))
def test_few_items_are_enumerated(tasks: list[list[float]]) -> None:
    arrays = [np.array(task) for task in tasks]
    assert sign_flip_test(arrays) == pytest.approx(enumerated(arrays), abs=1e-12)


def test_a_sum_that_is_zero_but_for_rounding_shows_nothing() -> None:
    assert sign_flip_test([np.array([0.25]), np.array([-1.0, 0.0, 0.25])]) == 1.0


def test_many_items_agree_with_scipy() -> None:
    values = np.random.default_rng(3).normal(0.15, 1.0, 120)
    other = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=9999, rng=np.random.default_rng(1)
    )
    assert sign_flip_test([values]) == pytest.approx(other.pvalue, abs=0.02)


def test_random_flips_of_right_and_wrong_items_agree_with_mcnemar() -> None:
    rng = np.random.default_rng(5)
    one, other = rng.integers(0, 2, (2, 1, 200)).astype(float)
    assert sign_flip_test([one - other]) == pytest.approx(mcnemar(one, other), abs=0.015)


def test_seeds_are_averaged_per_item_before_the_flips() -> None:
    values = np.random.default_rng(0).normal(size=(3, 9))
    assert sign_flip_test([values]) == sign_flip_test([values.mean(axis=0)])


def test_the_test_keeps_its_level_and_finds_a_difference() -> None:
    rng = np.random.default_rng(11)
    null = [sign_flip_test([rng.normal(size=40)], draws=199, seed=i) for i in range(300)]
    assert np.mean(np.array(null) <= 0.05) < 0.09
    assert sign_flip_test([rng.normal(0.8, 1, size=60)]) < 0.001


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (6, 0), (8, 2), (5, 5), (30, 14)])
def test_mcnemar_is_the_exact_binomial(gained: int, lost: int) -> None:
    one = np.array([1] * gained + [0] * lost + [1, 0, 1])
    other = np.array([0] * gained + [1] * lost + [1, 0, 1])
    n = gained + lost
    outcomes = [stats.binom.pmf(k, n, 0.5) for k in range(n + 1)]
    expected = sum(p for k, p in enumerate(outcomes) if abs(k - n / 2) >= abs(gained - n / 2) - 1e-9)
    assert mcnemar(one, other) == pytest.approx(expected)


def test_mcnemar_refuses_other_values() -> None:
    with pytest.raises(ValueError, match="zeros and ones"):
        mcnemar(np.array([0.5]), np.array([1.0]))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_stepping_down_rejects(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for level in (0.01, 0.05, 0.3):
        order = sorted(range(len(p_values)), key=lambda i: p_values[i])
        rejected: set[int] = set()
        for step, index in enumerate(order):
            if p_values[index] * (len(p_values) - step) > level:
                break
            rejected.add(index)
        assert {i for i, p in enumerate(adjusted) if p <= level} == rejected


def test_holm_of_known_values() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_with_equal_seeds_it_is_a_t_test_over_items_and_with_equal_items_one_over_seeds() -> None:
    rng = np.random.default_rng(2)
    by_item = np.tile(rng.normal(0.3, 1, 25), (4, 1))
    _, df, p = crossed_test([by_item])
    assert (df, p) == (pytest.approx(24), pytest.approx(stats.ttest_1samp(by_item[0], 0).pvalue))
    by_seed = np.tile(rng.normal(0.3, 1, (5, 1)), (1, 25))
    _, df, p = crossed_test([by_seed])
    assert (df, p) == (pytest.approx(4), pytest.approx(stats.ttest_1samp(by_seed[:, 0], 0).pvalue))


def test_its_standard_error_is_that_of_the_model_and_it_keeps_its_level() -> None:
    rng = np.random.default_rng(7)
    seeds, items = 6, 50
    means, errors, p_values, naive = [], [], [], []
    for _ in range(400):
        tasks = [
            (rng.normal(0, 0.2, (seeds, 1)) + rng.normal(0, 1, (1, items)) + rng.normal(0, 0.5, (seeds, items)))
            for _ in range(2)
        ]
        shared = rng.normal(0, 0.2, (seeds, 1))  # a training's luck holds for all its tasks
        tasks = [task + shared for task in tasks]
        error, _, p = crossed_test(tasks)
        means.append(np.mean([task.mean() for task in tasks]))
        errors.append(error**2)
        p_values.append(p)
        naive.append(sign_flip_test(tasks, draws=199))
    assert np.mean(errors) == pytest.approx(np.var(means), rel=0.2)
    assert 0.02 < np.mean(np.array(p_values) <= 0.05) < 0.085
    assert np.mean(np.array(naive) <= 0.05) > np.mean(np.array(p_values) <= 0.05), "items alone forget the seeds"


def test_one_seed_says_nothing_of_seeds() -> None:
    assert np.isnan(crossed_test([np.ones((1, 5))])).all()


@pytest.mark.parametrize("draws", [99, 999])
def test_random_flips_never_claim_more_than_their_number_allows(draws: int) -> None:
    """Phipson & Smyth: the data are one of the flips. Forty items that all differ alike are reached by none of the draws."""
    assert sign_flip_test([np.ones((1, 40))], draws=draws, seed=1) == 1 / (draws + 1)
    # Where every flip reaches the observed sum (of zero), p is 1.
    assert sign_flip_test([np.array([[1.0, -1.0] * 20])], draws=draws, seed=1) == 1.0


def test_the_crossed_test_takes_the_interaction_off_once() -> None:
    """Two seeds and three items worked out on paper: V = 1 + 1 - 1/3, df = 4 / (1/1 + 1/2)."""
    error, df, p = crossed_test([np.array([[0.0, 2.0, 4.0], [2.0, 6.0, 4.0]])])
    assert error == pytest.approx(math.sqrt(5 / 3))
    assert df == pytest.approx(8 / 3)
    assert p == pytest.approx(2 * stats.t.sf(3 / math.sqrt(5 / 3), 8 / 3))
