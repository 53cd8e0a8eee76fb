"""Ranks of few things by two measures: intervals that hold, and differences that are chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, norm, spearmanr

from autoselection.statistics import rank_agreement, reliability, share_interval


@pytest.mark.parametrize("levels", [None, 5])
@pytest.mark.parametrize(("correlation", "pairs"), [(0.0, 8), (0.9, 5), (0.9, 10), (-0.5, 15)])
def test_intervals_of_few_pairs_hold_the_correlation_there_is(
    correlation: float, pairs: int, levels: int | None
) -> None:
    rng = np.random.default_rng(pairs)

    def drawn(*shape: int) -> tuple[np.ndarray, np.ndarray]:
        x, other = rng.normal(size=(2, *shape))
        y = correlation * x + np.sqrt(1 - correlation**2) * other
        return x, y if levels is None else np.floor(norm.cdf(y) * levels)  # as right answers of a few items: many ties

    true = spearmanr(*drawn(100_000)).statistic
    found = [rank_agreement(x, y) for x, y in zip(*drawn(1500, pairs), strict=True)]
    known = [each for each in found if each is not None]
    assert len(known) > 1480
    assert np.mean([each.low <= true <= each.high for each in known]) > 0.935
    assert all(each.low <= each.value <= each.high for each in known)


def test_it_is_spearmans_correlation_and_says_nothing_of_what_cannot_be_ranked() -> None:
    x, y = np.array([1.0, 2.0, 2.0, 5.0, 3.0]), np.array([0.0, 1.0, 0.0, 1.0, 1.0])
    found = rank_agreement(x, y)
    assert found is not None and found.value == pytest.approx(spearmanr(x, y).statistic) and found.pairs == 5
    assert rank_agreement(x[:3], y[:3]) is None and rank_agreement(x, np.ones(5)) is None


def test_seven_pairs_in_the_same_order_may_be_luck_and_ten_are_not() -> None:
    seven, ten = (rank_agreement(np.arange(float(n)), np.arange(float(n))) for n in (7, 10))
    assert seven is not None and ten is not None
    assert seven.low < 0 < ten.low and seven.high == pytest.approx(1.0) == ten.high


def test_reliability_is_what_other_items_show_again() -> None:
    """Means over 50 items of unit noise, of things that differ by as much: half of the variance is there again."""
    rng = np.random.default_rng(0)
    true = rng.normal(size=(400, 1)) / np.sqrt(50)
    hardness = 3.0 * rng.normal(size=(1, 50))
    found = reliability(true + hardness + rng.normal(size=(400, 50)))
    assert found is not None and found.value == pytest.approx(0.5, abs=0.08) and found.p < 1e-6


def test_things_that_do_not_differ_are_seldom_told_apart() -> None:
    rng = np.random.default_rng(1)
    found = [reliability((rng.random((12, 60)) < rng.random(60)).astype(float)) for _ in range(400)]
    assert 0.02 < np.mean([each is not None and each.p < 0.05 for each in found]) < 0.09
    assert reliability(np.ones((5, 5))) is not None and reliability(np.ones((1, 5))) is None
    table = rng.normal(size=(6, 9)) + rng.normal(size=(6, 1))
    alpha = (
        9 / 8 * (1 - table.var(axis=0, ddof=1).sum() / table.sum(axis=1).var(ddof=1))
    )  # Cronbach's, another formula of it
    one = reliability(table)
    assert one is not None and one.value == pytest.approx(alpha)


def test_the_interval_of_a_share_is_wilsons() -> None:
    found = share_interval(0.2, 100)
    by_scipy = binomtest(20, 100).proportion_ci(method="wilson")
    assert (found.low, found.high) == (pytest.approx(by_scipy.low), pytest.approx(by_scipy.high))
    assert share_interval(0.0, 10).low == pytest.approx(0.0) and share_interval(1.0, 10).high == pytest.approx(1.0)
    assert share_interval(0.5, 100, level=0.99).high > share_interval(0.5, 100).high


def test_means_that_differ_in_their_last_bit_are_ties() -> None:
    low, high = (float(np.mean([right / 50 for right in seeds])) for seeds in ((24, 31, 37), (29, 30, 33)))
    assert low != high  # 92 of 150 right by both
    same = np.array([low] * 4 + [high] * 4)
    assert rank_agreement(np.arange(8.0), same) is None and rank_agreement(same, np.arange(8.0)) is None
    some = np.append(same, [0.5, 0.7])
    assert rank_agreement(some, np.arange(10.0)) == rank_agreement(np.where(some == high, low, some), np.arange(10.0))
    alike = reliability(np.array([[0.0] * 5 + [low] * 5, [0.0] * 5 + [high] * 5]))
    assert alike is not None and (alike.value, alike.p) == (0.0, 1.0)
