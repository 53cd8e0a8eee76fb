"""Seeds and items as samples, against scipy, figures worked out by hand, and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, special, stats

from autoselection.statistics import (
    bootstrap_interval,
    crossed_interval,
    crossed_test,
    independent_test,
    sign_flip_test,
)
from autoselection.statistics.crossed import Error, independent_parts, table_parts


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


def test_the_crossed_test_takes_the_interaction_off_once() -> None:
    """Two seeds and three items worked out on paper: V = 1 + 1 - 1/3, of which 1 is that of the seeds."""
    error, df, p = crossed_test([np.array([[0.0, 2.0, 4.0], [2.0, 6.0, 4.0]])])
    assert error == pytest.approx(math.sqrt(5 / 3))
    assert df == pytest.approx((5 / 3) ** 2 / (1 / 1 + (2 / 3) ** 2 / 2))
    rng = np.random.default_rng(0)
    drawn = rng.standard_t(1, 400_000) + math.sqrt(2 / 3) * rng.standard_t(2, 400_000)
    assert p == pytest.approx(np.mean(np.abs(drawn) >= 3), abs=0.003)


@pytest.mark.parametrize("narrow", [0.01, 0.3, 1.0])
def test_an_error_of_two_parts_is_the_sum_of_their_ts(narrow: float) -> None:
    found = Error(((1.0, 4.0), (narrow**2, 60.0)))
    rng = np.random.default_rng(1)
    drawn = np.abs(rng.standard_t(4, 400_000) + narrow * rng.standard_t(60, 400_000))
    for level in (0.5, 0.95, 0.99):
        assert np.mean(drawn <= found.reach(level)) == pytest.approx(level, abs=0.003)
        assert found.p(found.reach(level)) == pytest.approx(1 - level, abs=1e-5)


def tail(parts: tuple[tuple[float, float], ...], x: float) -> float:
    """Probability of more than x on either side: adaptive integration over the part with more degrees of freedom."""
    (a, few), (b, many) = ((math.sqrt(variance), free) for variance, free in sorted(parts, key=lambda part: part[1]))
    constant = special.gammaln((many + 1) / 2) - special.gammaln(many / 2) - math.log(many * math.pi) / 2

    def integrand(z: float) -> float:
        return math.exp(constant - (many + 1) / 2 * math.log1p(z * z / many)) * special.stdtr(few, (b * z - x) / a)

    steps = [sign * 10.0**power for power in range(-1, 10) for sign in (-1, 1)]
    ends = sorted({0.0, x / b, *steps, *(x / b + a / b * step for step in steps)})
    return 2 * sum(integrate.quad(integrand, *pair, epsabs=1e-13, epsrel=1e-8)[0] for pair in itertools.pairwise(ends))


@pytest.mark.parametrize(("few", "many"), [(1, 2), (1, 200), (2, 30), (3, 4), (4, 200), (30, 30), (200, 1e6)])
def test_small_p_values_are_right_whichever_part_is_the_narrow_one(few: float, many: float) -> None:
    for ratio in (1e-4, 0.1, 0.7, 2.0, 1e4):
        found = Error(((ratio**2, few), (1.0, many)))
        for level in (0.95, 0.999, 1 - 1e-5):
            reach = found.reach(level)
            assert found.p(reach) == pytest.approx(1 - level, rel=1e-4)
            assert tail(found.parts, reach) == pytest.approx(1 - level, rel=1e-3), (ratio, level)


def test_the_sum_of_two_cauchy_errors_is_one_of_both_scales() -> None:
    for narrow in (1e-4, 0.5, 1.0):
        found = Error(((narrow**2, 1.0), (1.0, 1.0)))
        for x in (0.1, 3.0, 1e5):
            assert found.p(x) == pytest.approx(2 * stats.cauchy.sf(x / (1 + narrow)), rel=1e-9)


@pytest.mark.parametrize("freedom", [3.0, math.inf])
def test_parts_without_end_of_freedom_and_single_ones_are_what_they_are(freedom: float) -> None:
    expected = 2 * (stats.norm if math.isinf(freedom) else stats.t(freedom)).sf(1.5)
    assert Error(((4.0, freedom),)).p(3.0) == pytest.approx(expected)
    assert Error(((4.0, freedom), (0.0, 7.0))).p(3.0) == pytest.approx(expected)
    assert Error(((4.0 - 1e-12, freedom), (1e-12, math.inf))).p(3.0) == pytest.approx(expected)


def test_an_interval_over_five_replicates_covers_and_the_percentile_bootstrap_does_not() -> None:
    """Replicates apart from each other by more than items explain, as searches are: (.05, .05 / sqrt 240)."""
    rng = np.random.default_rng(0)
    covered = {crossed_interval: 0, bootstrap_interval: 0}
    draws = 400
    for _ in range(draws):
        luck = rng.normal(0, 0.05, (5, 1))
        table = [luck + rng.normal(0, 0.05, (1, 60)) + rng.normal(0, 0.05, (5, 60)) for _ in range(4)]
        for interval in covered:
            options = {"draws": 200} if interval is bootstrap_interval else {}
            found = interval(table, **options)
            covered[interval] += found.low <= 0 <= found.high
            assert found.over == "items and seeds"
    assert 0.925 < covered[crossed_interval] / draws < 0.975
    assert covered[bootstrap_interval] / draws < 0.88


def test_with_one_seed_the_interval_is_students_over_items() -> None:
    values = np.random.default_rng(3).normal(1, 2, 30)
    found = crossed_interval([values[None]])
    expected = stats.t.interval(0.95, 29, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected) and found.over == "items"


def test_of_what_there_is_one_the_interval_says_nothing() -> None:
    nothing = crossed_interval([np.ones((1, 1)), np.zeros((1, 1))])
    assert (nothing.estimate, nothing.low, nothing.high, nothing.over) == (0.5, -math.inf, math.inf, "items")
    seeds = crossed_interval([np.array([[0.0], [1.0]])])
    assert seeds.over == "seeds" and seeds.high - 0.5 == pytest.approx(stats.t(1).ppf(0.975) * math.sqrt(0.5 / 2))
    same = crossed_interval([np.ones((2, 3))])
    assert (same.low, same.high, same.over) == (1.0, 1.0, "items and seeds")


def test_searches_that_are_no_pairs_are_compared_as_welch_does() -> None:
    """No items between them: every item says the same of a search."""
    rng = np.random.default_rng(4)
    one, other = rng.normal(0.5, 1, (6, 1)), rng.normal(0, 3, (4, 1))
    tables = [[values * np.ones((1, 7))] for values in (one, other)]
    expected = stats.ttest_ind(one[:, 0], other[:, 0], equal_var=False)
    error, df, p = independent_test(*tables)
    assert p == pytest.approx(expected.pvalue) and df == pytest.approx(expected.df)
    assert error == pytest.approx(math.sqrt(one.var(ddof=1) / 6 + other.var(ddof=1) / 4))
    for searches in (1, 3):
        alike = independent_test([np.ones((1, 7))], [np.ones((searches, 7))])
        assert np.isnan(alike).all(), "one search says nothing of others, and those that do not differ lend it nothing"
    with pytest.raises(ValueError, match="same items"):
        independent_test(tables[0], [np.ones((2, 8))])


@pytest.mark.parametrize("turned", [False, True])
def test_one_search_is_taken_to_vary_as_those_it_is_compared_with(turned: bool) -> None:
    """The prediction interval of one more search; and with items, as tables that show how the one search varies."""
    rng = np.random.default_rng(4)
    several, one = rng.normal(0.5, 1, (5, 1)), np.array([[2.0]])
    sides = [[one * np.ones((1, 7))], [several * np.ones((1, 7))]]
    error, freedom, p = independent_test(*(sides[::-1] if turned else sides))
    assert (error, freedom) == (pytest.approx(math.sqrt(several.var(ddof=1) * (1 / 5 + 1))), pytest.approx(4))
    assert p == pytest.approx(2 * stats.t(4).sf(abs(2.0 - several.mean()) / error))
    shown, kept = rng.normal(0, 0.1, (4, 9)), rng.normal(0, 1, (1, 9))
    parts = independent_parts([shown + kept], [kept])
    assert parts.shared == pytest.approx(5 * table_parts([shown]).shared) and parts.shared > 0


@pytest.mark.parametrize("searches", [3, 5])
def test_pairing_searches_by_their_number_costs_power_and_not_pairing_keeps_the_level(searches: int) -> None:
    rng = np.random.default_rng(5)
    found = {(gap, how): 0 for gap in (0.0, 0.12) for how in ("pairs", "no pairs")}
    draws = 300
    for gap, _ in list(found)[::2]:
        for _ in range(draws):
            items = rng.normal(0, 0.3, (1, 60))
            one, other = (
                [mean + rng.normal(0, 0.05, (searches, 1)) + items + rng.normal(0, 0.1, (searches, 60))]
                for mean in (gap, 0.0)
            )
            found[gap, "pairs"] += crossed_test([one[0] - other[0]])[2] <= 0.05
            found[gap, "no pairs"] += independent_test(one, other)[2] <= 0.05
    assert found[0.0, "no pairs"] / draws < 0.075 and found[0.0, "pairs"] / draws < 0.075
    assert found[0.12, "no pairs"] / draws > found[0.12, "pairs"] / draws + 0.1


def test_small_p_values_do_not_come_too_often_where_few_seeds_happen_to_be_alike() -> None:
    """Items and seeds matter alike, five seeds: Satterthwaite's degrees of freedom gave 2% below .005."""
    rng = np.random.default_rng(6)
    draws = 2000
    small = 0
    for _ in range(draws):
        table = rng.normal(0, 0.02, (5, 1)) + rng.normal(0, 0.07, (1, 40)) + rng.normal(0, 0.14, (5, 40))
        small += crossed_test([table])[2] <= 0.005
    assert small / draws <= 0.0085
