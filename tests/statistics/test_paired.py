"""Paired tests against enumeration, scipy and simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from autoselection.statistics import mcnemar, sign_flip_test

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


@pytest.mark.parametrize("draws", [99, 999])
def test_random_flips_never_claim_more_than_their_number_allows(draws: int) -> None:
    """Phipson & Smyth: the data are one of the flips. Forty items that all differ alike are reached by none of the draws."""
    assert sign_flip_test([np.ones((1, 40))], draws=draws, seed=1) == 1 / (draws + 1)
    # Where every flip reaches the observed sum (of zero), p is 1.
    assert sign_flip_test([np.array([[1.0, -1.0] * 20])], draws=draws, seed=1) == 1.0
