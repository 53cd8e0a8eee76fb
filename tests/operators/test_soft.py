"""Sampling by temperature."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_tables import apply, tables_and_rows

from autoselection.signals.table import SignalTable


def test_draws_without_replacement_in_proportion_to_the_exponential():
    """Which two of four rows come out, over 4,000 seeds, against the exact probabilities."""
    scores = np.array([0.0, 1.0, 2.0, 3.0])
    table = SignalTable.from_arrays({"reward": scores})
    weight = np.exp((scores - scores.mean()) / scores.std() / 0.8)
    exact: dict[tuple[int, ...], float] = {}
    for first, second in permutations(range(4), 2):
        chance = weight[first] / weight.sum() * weight[second] / (weight.sum() - weight[first])
        pair = tuple(sorted((first, second)))
        exact[pair] = exact.get(pair, 0.0) + chance
    params = {"signal": "reward", "temperature": 0.8, "total_samples": 2}
    drawn = [tuple(apply(table, "sample", params, seed=seed).rows.tolist()) for seed in range(4000)]
    for pair, chance in exact.items():
        assert drawn.count(pair) / 4000 == pytest.approx(chance, abs=4 * np.sqrt(chance * (1 - chance) / 4000))


@settings(max_examples=60, deadline=None)
@given(case=tables_and_rows(), small=st.integers(1, 60), more=st.integers(0, 60), seed=st.integers(0, 99))
def test_a_smaller_sample_is_part_of_a_larger_one(case, small, more, seed):
    table, rows = case
    params = {"signal": "reward", "temperature": 0.5}
    less = apply(table, "sample", params | {"total_samples": small}, rows, seed=seed).rows
    larger = apply(table, "sample", params | {"total_samples": small + more}, rows, seed=seed).rows
    assert np.isin(less, larger).all()
    scored = int(np.count_nonzero(~np.isnan(table.column("reward")[rows])))
    assert len(less) == min(small, scored)


@settings(max_examples=60, deadline=None)
@given(case=tables_and_rows(), taken=st.integers(1, 60), seed=st.integers(0, 99))
def test_a_rows_chance_is_its_own_whatever_other_rows_are_given(case, taken, seed):
    """With equal scores the order of the draws is one of the pool: that of any rows is its restriction to them."""
    table, rows = case
    table = SignalTable.from_arrays({"reward": np.ones(table.n)})

    def drawn(given_rows, count):
        return set(
            apply(table, "sample", {"signal": "reward", "total_samples": count}, given_rows, seed=seed).rows.tolist()
        )

    sizes = [drawn(np.arange(table.n), count) for count in range(table.n + 1)[1:]]
    order = [next(iter(more - less)) for less, more in zip([set(), *sizes], sizes, strict=False)]
    taken = min(taken, len(rows))
    assert drawn(rows, taken) == set([row for row in order if row in set(rows.tolist())][:taken])


def test_a_low_temperature_cuts_and_a_high_one_does_not_look():
    table = SignalTable.from_arrays({"reward": np.arange(1000.0)})
    top = apply(table, "sample", {"signal": "reward", "temperature": 0.01, "fraction": 0.5}).rows
    assert top.min() > 450
    low = apply(table, "sample", {"signal": "reward", "temperature": 0.01, "fraction": 0.5, "direction": "low"}).rows
    assert low.max() < 550
    flat = apply(table, "sample", {"signal": "reward", "temperature": 100.0, "fraction": 0.5}).rows
    assert abs(flat.mean() - 499.5) < 40


def test_the_unit_of_the_signal_does_not_matter():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 50, 200).astype(float)
    one = SignalTable.from_arrays({"reward": scores})
    other = SignalTable.from_arrays({"reward": 1024 * scores - 512})
    params = {"signal": "reward", "fraction": 0.3}
    np.testing.assert_array_equal(apply(one, "sample", params).rows, apply(other, "sample", params).rows)


def test_rows_without_a_score_are_dropped_or_added():
    table = SignalTable.from_arrays({"reward": [np.nan, 1.0, 2.0, np.nan, np.inf]})
    params = {"signal": "reward", "total_samples": 2}
    assert len(apply(table, "sample", params).rows) == 2
    kept = apply(table, "sample", params | {"missing": "keep"}, [4, 3, 2, 1, 0])
    assert kept.missing == 2 and len(kept.rows) == 4 and kept.rows[-1] == 0
