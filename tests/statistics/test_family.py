"""Comparisons that share a row: against closed testing by brute force, Holm, and simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from autoselection.statistics import compare_all, independent_test
from autoselection.statistics.correlation import difference_correlation
from autoselection.statistics.family import consistent, null_p_values, single_level, step_down


def holm(p_values: list[float]) -> np.ndarray:
    """Adjusted p-values (Holm 1979)."""
    values = np.asarray(p_values)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    return adjusted


def shared_row(count: int, correlation: float = 0.5) -> np.ndarray:
    return np.full((count, count), correlation) + (1 - correlation) * np.eye(count)


@pytest.mark.parametrize("seed", range(6))
def test_stepping_down_is_closed_testing_by_the_smallest_p_value(seed: int) -> None:
    """The definition: a hypothesis is rejected where every intersection of hypotheses that holds it is."""
    rng = np.random.default_rng(seed)
    p_values = (rng.random(5) ** 3).tolist()
    null = null_p_values(shared_row(5), 4, draws=999, seed=seed)
    expected = np.array(p_values)
    for size in range(2, 6):
        for members in map(list, itertools.combinations(range(5), size)):
            smallest = min(p_values[k] for k in members)
            p = (1 + np.count_nonzero(null[:, members].min(axis=1) <= smallest)) / 1000
            expected[members] = np.maximum(expected[members], p)
    # Closed testing may leave members out that stepping down keeps to the last: single hypotheses have their own p-value.
    assert step_down(p_values, null) == pytest.approx(expected.tolist())


def test_drawn_p_values_are_uniform_each_and_go_together() -> None:
    for freedom in (2, 4, np.inf):
        null = null_p_values(shared_row(3, 0.8), freedom, draws=20_000)
        for level in (0.01, 0.05, 0.5):
            assert np.mean(null <= level, axis=0) == pytest.approx([level] * 3, abs=4 * np.sqrt(level / 20_000))
    apart, together = (null_p_values(shared_row(10, r), np.inf, draws=20_000).min(axis=1) for r in (0.0, 0.8))
    assert np.mean(apart <= 0.005) == pytest.approx(1 - 0.995**10, abs=0.004)
    assert np.mean(together <= 0.005) < 0.7 * np.mean(apart <= 0.005)


def test_one_comparison_needs_no_correction() -> None:
    null = null_p_values(np.eye(1), 4)
    assert step_down([0.03], null) == [0.03] and single_level(null, 0.95) == 0.95


def test_the_correlation_of_rows_that_share_one_is_that_of_the_design() -> None:
    rng = np.random.default_rng(0)
    shared, others = rng.normal(0, 2, (400, 1)), [rng.normal(0, s, (400, 1)) for s in (2, 1)]
    tables = [[values + np.zeros((1, 9))] for values in others]
    found = difference_correlation([[shared + np.zeros((1, 9))]] * 2, tables, paired=[False] * 2)
    v0, v1, v2 = (values.var(ddof=1) for values in (shared, *others))
    assert found[0, 1] == pytest.approx(v0 / np.sqrt((v0 + v1) * (v0 + v2)))
    paired = difference_correlation([[shared + np.zeros((1, 9))]] * 2, tables, paired=[True] * 2)
    measured = np.corrcoef((shared - others[0])[:, 0], (shared - others[1])[:, 0])[0, 1]
    assert paired[0, 1] == pytest.approx(measured, abs=0.01), "many seeds: hardly shrunk"
    single = difference_correlation([[shared + np.zeros((1, 9))]] * 2, [[t[0][:1]] for t in tables], paired=[False] * 2)
    assert single[0, 1] == pytest.approx((v0 / 400) / (v0 / 400 + v0)), "rows of one seed vary as the shared one does"
    few = difference_correlation([[shared[:3] + np.zeros((1, 9))]] * 2, [[t[0][:3]] for t in tables], paired=[True] * 2)
    assert few[0, 1] == 0, "three seeds tell no correlation"


@pytest.mark.parametrize(("effects", "gain"), [(0, None), (15, 0.08)])
def test_the_family_keeps_its_error_and_finds_more_than_holm(effects: int, gain: float | None) -> None:
    """Twenty rows against one, five searches: the shared row varies most, as AutoSelection does beside fixed recipes."""
    rng = np.random.default_rng(1)
    effect = np.r_[np.zeros(20 - effects), np.full(effects, 0.15)]
    errors, power = np.zeros(2), np.zeros(2)
    draws = 120
    for draw in range(draws):
        items = rng.normal(0, 0.3, (1, 30))

        def table(mean: float, spread: float, items: np.ndarray = items) -> list[np.ndarray]:
            own = rng.normal(0, 0.05, (1, 30))
            return [mean + rng.normal(0, spread, (5, 1)) + items + own + rng.normal(0, 0.1, (5, 30))]

        shared, others = table(0.0, 0.05), [table(-gap, 0.01) for gap in effect]
        p_values = [independent_test(shared, other)[2] for other in others]
        correlation = difference_correlation([shared] * 20, others, paired=[False] * 20)
        stepped = np.array(step_down(p_values, null_p_values(correlation, 4, draws=999, seed=draw)))
        for place, adjusted in enumerate((holm(p_values), stepped)):
            errors[place] += (adjusted[effect == 0] <= 0.05).any()
            power[place] += np.mean(adjusted[effect > 0] <= 0.05) if effects else 0
    assert (errors / draws <= 0.08).all()
    if gain is not None:
        assert power[1] / draws > power[0] / draws + gain


def test_an_interval_is_made_to_say_what_its_p_value_says() -> None:
    assert consistent((0.1, 0.3), 0.2, significant=False) == (0.0, 0.3)
    assert consistent((-0.1, 0.5), 0.2, significant=True) == (0.0, 0.5)
    assert consistent((-0.5, 0.1), -0.2, significant=True) == (-0.5, 0.0)
    assert consistent((-0.5, -0.1), -0.3, significant=True) == (-0.5, -0.1)


def replicates(mean: float, spread: float = 0.02, count: int = 6, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"task": mean + rng.normal(0, spread, (count, 1)) + rng.normal(0, 0.01, (count, 30))}


def test_comparisons_named_before_come_first_and_close_the_gate() -> None:
    ours = replicates(0.5)
    rows = {"far": replicates(0.1, seed=1), "near": replicates(0.495, seed=2), "random": replicates(0.3, seed=3)}
    pairs = {name: (ours, table) for name, table in rows.items()}
    named = compare_all("w", pairs, units="replicates", independent=set(rows), first=["random"])
    far, near, random = named
    assert random.p_adjusted == random.p <= 0.05 and random.family == 1 and random.interval_all is not None
    assert 0 <= random.interval_all[0] < random.interval[0] and random.interval_all[1] > random.interval[1]
    assert far.significant and far.gate is None and far.family == 2 and far.p_adjusted >= far.p
    assert not near.significant and near.interval_all is not None and near.interval_all[0] < 0 < near.interval_all[1]
    closed = compare_all("w", pairs, units="replicates", independent=set(rows), first=["near", "random"])
    assert [c.gate for c in closed] == ["near", None, "near"] and not any(c.significant for c in closed)
    assert closed[0].p < 0.001 and closed[0].p_adjusted == closed[1].p
    assert closed[0].interval[0] > 0 and closed[0].interval_all is not None and closed[0].interval_all[0] <= 0
    assert closed[0].p_family is not None and closed[0].p_family <= 0.05, "to read, not to claim"
    said = compare_all("w", pairs, units="replicates", independent=set(rows), first=["near"])[0].verdict
    assert "alone" in said and "comparison named before it, with near, is not significant (among the others, p" in said


@pytest.mark.parametrize(
    ("first", "held_up"), [(["absent", "random"], {"random", "far"}), (["random", "absent"], {"far"})]
)
def test_a_comparison_named_before_that_could_not_be_made_closes_the_gate(first: list[str], held_up: set[str]) -> None:
    """A row that failed in every replicate was not beaten; what was to wait for it is not claimed."""
    ours = replicates(0.5)
    rows = {"far": replicates(0.1, seed=1), "random": replicates(0.3, seed=3)}
    found = compare_all("w", {name: (ours, row) for name, row in rows.items()}, independent=set(rows), first=first)
    assert {each.baseline for each in found if not each.significant} == held_up
    for each in found:
        waits = each.baseline in held_up
        assert each.gate == ("absent" if waits else None) and (each.p_adjusted == 1.0) == waits
        assert ("with absent, could not be made (it has no scores)" in each.verdict) == waits
        assert each.p < 0.001


def test_a_sentence_counts_what_its_interval_holds_for() -> None:
    ours = replicates(0.5)
    rows = {name: replicates(0.3 + 0.01 * number, seed=number) for number, name in enumerate("abcd", 1)}
    found = compare_all("w", {name: (ours, row) for name, row in rows.items()}, independent=set(rows), first=["a"])
    assert [each.family for each in found] == [1, 3, 3, 3]
    assert all("with all 4 comparisons" in each.verdict for each in found[1:])


def test_a_comparison_under_two_names_counts_once() -> None:
    ours = replicates(0.5)
    rows = {name: replicates(0.45, seed=number) for number, name in enumerate("abcd", 1)}
    alone = compare_all("w", {name: (ours, table) for name, table in rows.items()}, independent=set(rows))
    twice = {**rows, "a again": {task: values.copy() for task, values in rows["a"].items()}}
    found = compare_all("w", {name: (ours, table) for name, table in twice.items()}, independent=set(twice))
    assert found[-1].same_as == "a" and "counts once" in found[-1].verdict
    assert [c.p_adjusted for c in found[:4]] == [c.p_adjusted for c in alone]
    assert found[-1].p_adjusted == found[0].p_adjusted and {c.family for c in found} == {4}


def test_intervals_and_p_values_together_agree_about_zero() -> None:
    rng = np.random.default_rng(9)
    seen = set()
    for seed in range(8):
        ours = replicates(0.5, seed=seed)
        rows = {str(k): replicates(0.5 - gap, seed=100 * seed + k) for k, gap in enumerate(rng.uniform(-0.1, 0.1, 6))}
        for found in compare_all("w", {n: (ours, t) for n, t in rows.items()}, draws=50, independent=set(rows)):
            assert found.interval_all is not None
            low, high = found.interval_all
            assert found.significant == (not low < 0 < high) and low <= found.difference.estimate <= high
            seen.add(found.significant)
    assert seen == {True, False}


@pytest.mark.slow
def test_intervals_hold_together_with_those_of_the_comparisons_named_first() -> None:
    """Simulated tables of five rows against one, two of them named first: all five intervals hold in 95% of the tables."""
    truths, held = {"a": 0.1, "b": 0.05, "c": 0.0, "d": 0.02, "e": -0.03}, 0
    tables = 150
    for table in range(tables):
        ours = replicates(0.5, 0.05, count=8, seed=10 * table)
        rows = {name: replicates(0.5 - gap, 0.05, 8, 10 * table + k) for k, (name, gap) in enumerate(truths.items(), 1)}
        pairs = {name: (ours, row) for name, row in rows.items()}
        found = compare_all("w", pairs, draws=50, independent=set(rows), first=["a", "b"], seed=table)
        ends = {each.baseline: each.interval_all for each in found}
        held += all(low <= truths[name] <= high for name, (low, high) in ends.items())
    assert held / tables > 0.91  # two standard errors below .95


def test_without_any_row_to_compare_with_nothing_is_compared() -> None:
    assert compare_all("w", {}) == [] == compare_all("w", {}, first=["absent"])
