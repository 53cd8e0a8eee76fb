from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import kendalltau, spearmanr

from autoselection.diagnose import MIN_TRIALS, Proxy, calibrate, correlate, diagnose, rank_correlations
from autoselection.diagnose.correlation import interval
from autoselection.diagnose.diagnosis import state_proxies
from autoselection.recipes import state_vector
from autoselection.signals import SignalTable
from autoselection.statistics import rank_agreement

PAIRS = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=25)


@settings(max_examples=150, deadline=None)
@given(pairs=PAIRS, seed=st.integers(0, 10**6))
def test_every_resample_is_what_scipy_says_of_the_repeated_values(pairs: list[tuple[int, int]], seed: int) -> None:
    x, y = np.array(pairs, float).T
    drawn = np.random.default_rng(seed).integers(len(x), size=(4, len(x)))
    counts = np.array([np.bincount(line, minlength=len(x)) for line in drawn], float)
    rho, tau = rank_correlations(x, y, counts)
    for place, line in enumerate(drawn):
        if np.ptp(x[line]) == 0 or np.ptp(y[line]) == 0:
            assert np.isnan(rho[place]) and np.isnan(tau[place])
        else:
            assert rho[place] == pytest.approx(spearmanr(x[line], y[line]).statistic, abs=1e-12)
            assert tau[place] == pytest.approx(kendalltau(x[line], y[line]).statistic, abs=1e-12)


def test_too_few_or_equal_values_are_said_and_not_correlated() -> None:
    few = correlate(np.arange(7.0), np.arange(7.0))
    assert few.spearman is None and few.kendall is None and "too few trials: 7" in (few.reason or "")
    assert "the proxy is the same" in (correlate(np.ones(20), np.arange(20.0)).reason or "")
    assert "the score is the same" in (correlate(np.arange(20.0), np.ones(20)).reason or "")
    with pytest.raises(ValueError, match="one length"):
        correlate(np.arange(9.0), np.arange(8.0))


@pytest.mark.parametrize("differing", [1, 2])
def test_a_value_that_one_or_two_trials_alone_do_not_have_is_not_correlated(differing: int) -> None:
    lopsided, spread = (np.arange(15) < differing).astype(float), np.arange(15.0)
    for found, name in ((correlate(lopsided, spread), "the proxy"), (correlate(spread, lopsided), "the score")):
        assert found.spearman is None and found.kendall is None and not found.excludes_zero
        assert found.reason == f"{name} is the same in all trials but {differing}, at least 3 must differ"


@pytest.mark.parametrize(("trials", "differing"), [(8, 3), (10, 3), (15, 3), (15, 4), (30, 5)])
def test_lopsided_proxies_without_effect_seldom_exclude_zero(trials: int, differing: int) -> None:
    proxy, chance = (np.arange(trials) < differing).astype(float), 0
    for seed in range(200):
        found = correlate(proxy, np.random.default_rng(seed).normal(size=trials), resamples=400)
        chance += found.excludes_zero
        for estimate in (found.spearman, found.kendall):
            assert estimate is not None and estimate.low <= estimate.value <= estimate.high
    assert chance / 200 < 0.13


def test_means_of_the_same_number_are_no_proxy() -> None:
    means = np.array([np.full(size, 0.1).mean() for size in np.random.default_rng(0).integers(300, 4000, 12)])
    assert len(set(means.tolist())) > 2  # by how they were summed
    assert correlate(means, np.arange(12.0)).reason == "the proxy is the same in all trials"
    assert correlate(np.arange(12.0), means).reason == "the score is the same in all trials"
    some = np.append(means, [0.2, 0.05, 0.3])
    assert correlate(np.arange(15.0), some) == correlate(np.arange(15.0), some.round(9))


def test_of_proxies_that_could_not_be_correlated_nothing_else_is_said() -> None:
    same = [Proxy("a", "state", np.ones(9)), Proxy("b", "state", np.eye(9)[0])]
    assert diagnose("s", "dev", same, np.arange(9.0)).findings() == (
        "Not correlated (the proxy is the same in all trials): a.",
        "Not correlated (the proxy is the same in all trials but 1, at least 3 must differ): b.",
    )
    noise = [Proxy("c", "state", np.array([3.0, 1, 4, 1, 5, 9, 2, 6, 5]))]
    assert (
        "includes 0 for all 1 proxies"
        in diagnose("s", "dev", noise, np.array([2.0, 7, 1, 8, 2, 8, 1, 8, 2])).findings()[0]
    )


def test_an_interval_holds_its_value() -> None:
    found = interval(0.9, np.linspace(0.0, 0.5, 100))
    assert found.low <= found.value <= found.high == 0.9


def test_missing_values_leave_their_trial_out() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 20))
    x[3], y[5] = np.nan, np.nan
    keep = np.isfinite(x) & np.isfinite(y)
    found = correlate(x, y)
    assert found.trials == 18 and found == correlate(x[keep], y[keep])
    assert found.spearman is not None
    assert found.spearman.low <= found.spearman.value <= found.spearman.high


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_eight_trials_in_the_same_order_may_be_luck(sign: float) -> None:
    found, beside = (
        correlate(np.arange(8.0), sign * np.arange(8.0)),
        rank_agreement(np.arange(8.0), sign * np.arange(8.0)),
    )
    assert beside is not None
    for estimate, least in ((found.spearman, 0.15), (found.kendall, 0.35)):
        assert estimate is not None and estimate.excludes_zero and estimate.value == pytest.approx(sign)
        assert min(abs(estimate.low), abs(estimate.high)) < least
    assert (
        found.spearman is not None
        and found.spearman.low <= beside.low + 1e-9
        and beside.high <= found.spearman.high + 1e-9
    )


@pytest.mark.parametrize(("trials", "correlation"), [(8, 0.9), (12, 0.5), (30, 0.9)])
def test_intervals_hold_the_correlation_there_is(trials: int, correlation: float) -> None:
    rng = np.random.default_rng(trials)

    def drawn(count: int) -> np.ndarray:
        x, other = rng.normal(size=(2, count))
        return np.array([x, correlation * x + np.sqrt(1 - correlation**2) * other])

    many, held = drawn(50_000), np.zeros(2)
    true = spearmanr(*many).statistic, kendalltau(*many).statistic
    for _ in range(300):
        found = correlate(*drawn(trials), resamples=400)
        for place, (estimate, value) in enumerate(zip((found.spearman, found.kendall), true, strict=True)):
            assert estimate is not None
            held[place] += estimate.low <= value <= estimate.high
    assert (held / 300 > 0.92).all()


def test_the_seed_decides_the_interval() -> None:
    x, y = np.random.default_rng(1).normal(size=(2, 15))
    assert correlate(x, y, seed=3) == correlate(x, y, seed=3) != correlate(x, y, seed=4)


def test_intervals_find_what_is_there_and_seldom_what_is_not() -> None:
    rng = np.random.default_rng(2)
    chance = sum(correlate(*rng.normal(size=(2, 15)), resamples=400).excludes_zero for _ in range(300)) / 300
    assert 0.01 < chance < 0.13
    x = rng.normal(size=15)
    strong = correlate(x, -x + 0.2 * rng.normal(size=15))
    assert strong.excludes_zero and strong.spearman is not None and strong.spearman.value < -0.8


def test_calibration_tells_honest_from_overconfident_predictions() -> None:
    rng = np.random.default_rng(3)
    mu, sigma = rng.normal(size=400), rng.uniform(0.5, 2.0, 400)
    score = mu + sigma * rng.normal(size=400)
    honest = calibrate("honest", mu, sigma, score)
    assert honest.error is not None and honest.spread is not None
    for level, share in honest.covered.items():
        assert share.low <= level <= share.high
    assert honest.error.low < 0 < honest.error.high and honest.spread.low < 1 < honest.spread.high
    bold = calibrate("bold", mu, sigma / 2, score)
    assert bold.spread is not None and bold.spread.low > 1.7 and bold.covered[0.95].high < 0.8
    biased = calibrate("biased", mu - sigma, sigma, score)
    assert biased.error is not None and biased.error.low > 0.8


def test_calibration_leaves_out_what_is_missing_and_needs_enough() -> None:
    values = np.arange(10.0)
    sigma = np.ones(10)
    gaps = np.where(values < 4, np.nan, values)
    few = calibrate("few", gaps, sigma, values)
    assert few.trials == 6 < MIN_TRIALS and few.error is None and not few.covered
    right = calibrate("right", values, sigma, values)
    assert right.covered[0.5].value == 1.0 and right.covered[0.5].low < 1.0  # ten of ten is no proof of all


def test_an_interval_called_95_percent_is_one() -> None:
    """Independent of the package: quantiles of a ramp, and scipy's Wilson interval."""
    ramp = np.random.default_rng(0).permutation(np.arange(1001) / 1000)
    found = interval(0.5, ramp)
    assert (found.low, found.high) == pytest.approx((0.025, 0.975))
    assert found.to_dict()["ci95"] == [found.low, found.high]
    inside, n = 13, 20
    z = np.array([0.0] * inside + [9.0] * (n - inside))
    shares = calibrate("x", np.zeros(n), np.ones(n), z).covered
    wilson = stats.binomtest(inside, n).proportion_ci(0.95, method="wilson")
    for share in shares.values():
        assert (share.value, share.low, share.high) == pytest.approx((inside / n, wilson.low, wilson.high))


def test_the_levels_of_calibration_are_those_of_the_normal_distribution() -> None:
    z = np.linspace(-4, 4, 8001)
    covered = calibrate("x", np.zeros(8001), np.ones(8001), z, resamples=10).covered
    for level, share in covered.items():
        limit = stats.norm.ppf(0.5 + level / 2)
        assert share.value == pytest.approx(limit / 4, abs=1e-3)


def test_proxies_of_a_pool_with_a_source_a_row_are_few() -> None:
    n = 5000
    table = SignalTable.from_arrays({"n_tokens": np.ones(n)}, source=[f"https://x.org/{i}" for i in range(n)])
    states = [state_vector(np.arange(start, n), table).to_dict() for start in (0, 100, 200)]
    proxies = {proxy.name: proxy for proxy in state_proxies(states)}
    assert len(proxies) < 100
    assert proxies["source_share/4980 other sources"].values[0] == pytest.approx(4980 / 5000)
