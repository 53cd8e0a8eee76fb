"""The compute multiplier: exact where curves were measured, bounds elsewhere, and never beyond."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoselection.statistics import Curve, compute_multiplier, payback, reach

TOKENS = np.array([1e4, 2e4, 4e4, 8e4])


def curve(name: str, *scores: list[float]) -> Curve:
    return Curve(name, TOKENS, np.array(scores, float))


def log_curve(name: str, gain: float, seeds: int = 1, noise: float = 0.0) -> Curve:
    """Quality rises with the logarithm of the tokens: ``gain`` times the tokens are as good as that many more."""
    rng = np.random.default_rng(3)
    return Curve(name, TOKENS, np.log(TOKENS * gain)[None] + rng.normal(0, noise, (seeds, 4)))


@pytest.mark.parametrize("gain", [1.0, 1.5, 3.0, 4.0])
def test_a_subset_worth_so_many_times_its_tokens_has_that_multiplier(gain: float) -> None:
    found = compute_multiplier(log_curve("winner", gain), log_curve("full", 1.0))
    assert found.value == pytest.approx(gain) and found.reference.low == TOKENS[-1]
    assert f"{gain:.3g} times less compute" in found.sentence


def test_more_than_the_measured_range_is_a_bound_not_a_number() -> None:
    found = compute_multiplier(log_curve("winner", 50.0), log_curve("full", 1.0))
    assert found.value is None and (found.low, found.high) == (8.0, math.inf) and "at least 8 times" in found.sentence


def test_a_quality_that_is_not_reached_is_said_to_be_so() -> None:
    found = compute_multiplier(log_curve("winner", 0.5), log_curve("full", 1.0))
    assert found.value is None and (found.low, found.high) == (0.0, 1.0) and found.sentence.startswith("Not reached")
    assert "more than 1 times its compute" in found.sentence


def test_a_flat_reference_needs_no_more_than_its_first_budget() -> None:
    flat = curve("full", [0.5, 0.5, 0.5, 0.5])
    unknown = compute_multiplier(curve("winner", [0.6, 0.7, 0.8, 0.9]), flat)
    assert (unknown.low, unknown.high) == (0.0, math.inf) and "measure smaller budgets" in unknown.sentence
    bounded = compute_multiplier(curve("winner", [0.1, 0.5, 0.8, 0.9]), flat)
    assert (bounded.low, bounded.high) == (0.0, 0.5) and "at most 0.5 times" in bounded.sentence


def test_a_dip_is_averaged_away_and_a_plateau_counts_from_its_start() -> None:
    dipped = curve("full", [0.1, 0.6, 0.4, 0.5])  # isotonic: 0.1, 0.5, 0.5, 0.5
    found = compute_multiplier(curve("winner", [0.1, 0.3, 0.7, 0.8]), dipped)
    assert found.quality == pytest.approx(0.5) and found.reference.low == TOKENS[1]
    assert found.subset.low == pytest.approx(math.sqrt(2e4 * 4e4)) and found.value == pytest.approx(1 / math.sqrt(2))


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4).map(sorted), st.floats(-0.5, 1.5), st.floats(1.0, 100.0))
def test_what_is_reached_lies_on_the_curve(scores: list[float], quality: float, scale: float) -> None:
    values = np.array(scores)
    found = reach(TOKENS, values, quality)
    if found.low == found.high:
        assert TOKENS[0] <= found.low <= TOKENS[-1] * (1 + 1e-12)
        assert np.interp(math.log(found.low), np.log(TOKENS), values) == pytest.approx(quality, abs=1e-6)
    else:
        assert (found.low, found.high) in ((0.0, TOKENS[0]), (TOKENS[-1], math.inf))
    scaled = reach(TOKENS * scale, values, quality)
    assert scaled.low == pytest.approx(found.low * scale) and scaled.high == pytest.approx(found.high * scale)


def test_the_bootstrap_draws_the_same_seeds_for_both() -> None:
    luck = np.array([[0.0], [0.4], [-0.3], [0.2]])  # moves both arms of a seed alike, so it must not widen anything
    scores = np.log(TOKENS)[None] + luck
    found = compute_multiplier(Curve("winner", TOKENS, scores + math.log(2)), Curve("full", TOKENS, scores))
    assert found.interval == (pytest.approx(2.0), pytest.approx(2.0)) and found.reached == 1.0


def test_noisy_seeds_give_an_interval_around_the_truth_or_an_open_end() -> None:
    found = compute_multiplier(log_curve("winner", 2.0, 5, 0.1), log_curve("full", 1.0, 5, 0.1))
    assert found.interval is not None and found.interval[0] < 2.0 < found.interval[1]
    close = compute_multiplier(log_curve("winner", 1.2, 5, 0.9), Curve("full", TOKENS, np.tile(np.log(TOKENS), (5, 1))))
    assert close.interval is not None and 0 < (close.reached or 0) < 1 and close.interval[0] == 0.0
    assert compute_multiplier(log_curve("winner", 2.0), log_curve("full", 1.0)).interval is None


def test_payback() -> None:
    found = payback(subset=2.0, reference=10.0, overhead=100.0)
    assert found.saving == 8.0 and found.trainings == 13
    assert found.net[1] == pytest.approx(10 / 102) and found.net[100] == pytest.approx(1000 / 300)
    assert 13 * 10 >= 13 * 2 + 100 > 12 * 8
    assert payback(10.0, 10.0, 5.0).trainings is None and payback(1.0, 2.0, 0.0).trainings == 1


@pytest.mark.parametrize(
    ("tokens", "scores"),
    [
        ([1.0], [[1.0]]),
        ([2.0, 1.0], [[1.0, 2.0]]),
        ([0.0, 1.0], [[1.0, 2.0]]),
        ([1.0, 2.0], [[1.0, math.nan]]),
        ([1.0, 2.0], [[1.0]]),
    ],
)
def test_a_curve_that_is_none_is_refused(tokens: list[float], scores: list[list[float]]) -> None:
    with pytest.raises(ValueError):
        Curve("c", np.array(tokens), np.array(scores))


def test_other_seeds_do_not_pair() -> None:
    with pytest.raises(ValueError, match="same seeds"):
        compute_multiplier(log_curve("winner", 1.0, 2), log_curve("full", 1.0, 3))
