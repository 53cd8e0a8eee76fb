"""Rankings against sorting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_tables import make_table

from autoselection.operators.ranking import random_ranking, ranking
from autoselection.signals.table import SignalTable

CASES = st.tuples(st.integers(0, 10_000), st.integers(1, 80), st.integers(1, 4))


def by_hand(table, rows, direction, groups):
    """Rows with a score, sorted with Python's tuples; then those without."""
    scores = table.column("ifd")
    sign = -1.0 if direction == "high" else 1.0
    scored = [int(row) for row in rows if not np.isnan(scores[row])]
    unscored = sorted(int(row) for row in rows if np.isnan(scores[row]))
    group = table.source if groups else np.zeros(table.n, int)
    return sorted(scored, key=lambda row: (group[row], sign * scores[row], row)), unscored


@pytest.mark.parametrize("direction", ["high", "low"])
@pytest.mark.parametrize("groups", [None, "source"])
@settings(max_examples=40, deadline=None)
@given(case=CASES)
def test_rows_come_out_as_sorted_by_hand(direction, groups, case):
    seed, n, sources = case
    table = make_table(seed, n=n, sources=sources)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(n)[: rng.integers(0, n + 1)]
    ranked = ranking(table, "ifd", direction, groups)
    scored, unscored = ranked.split(rows)
    expected, rest = by_hand(table, rows, direction, groups)
    assert ranked.rows(scored).tolist() == expected
    assert ranked.rows(unscored).tolist() == rest
    assert ranked.count_scored(rows) == len(expected)
    assert ranked.sizes(scored).sum() == len(expected)
    quotas = rng.integers(0, 5, len(ranked.starts) - 1)
    wanted, taken = [], np.zeros(len(quotas), int)
    for row in expected:
        group = table.source[row] if groups else 0
        taken[group] += 1
        if taken[group] <= quotas[group]:
            wanted.append(row)
    assert ranked.rows(ranked.first_of_groups(scored, quotas)).tolist() == wanted
    if groups is None:
        for quota in range(len(expected) + 1):
            inside = rows[ranked.rank[rows] <= ranked.cutoff(rows, quota)]
            assert sorted(inside.tolist()) == sorted(expected[:quota])


def test_a_few_rows_of_a_large_pool_are_ranked_the_same_way():
    table = make_table(0, n=5000)
    rows = np.random.default_rng(1).permutation(5000)[:40]  # below the share at which ranks are sorted
    expected, rest = by_hand(table, rows, "high", None)
    ranked = ranking(table, "ifd", "high")
    assert ranked.rows(ranked.positions(rows)).tolist() == expected + rest


def test_random_draws_are_made_once_a_key():
    table = make_table(0, n=50, sources=3)
    first = random_ranking(table, (1, 0))
    again = random_ranking(table, (1, 0))
    other = random_ranking(table, (2, 0))
    assert again is first
    assert first.order.tolist() != other.order.tolist()
    assert (np.diff(table.source[first.order]) >= 0).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 50))
def test_the_first_of_each_group_are_those_of_a_sort(seed, n):
    rng = np.random.default_rng(seed)
    scores = np.where(rng.random(n) < 0.2, np.nan, rng.integers(0, 5, n)).astype(np.float32)
    signals = SignalTable.from_arrays({"score": scores}, source=rng.integers(0, 3, n).astype(str))
    ranked = ranking(signals, "score", "high", "source")
    rows = rng.permutation(n)[: rng.integers(0, n + 1)]
    quotas = rng.integers(0, 6, len(signals.source_names))
    expected = set()
    for group, quota in enumerate(quotas):
        members = sorted(
            (-scores[row], row) for row in rows if signals.source[row] == group and scores[row] == scores[row]
        )
        expected |= {row for _, row in members[:quota]}
    found = ranked.among_first(rows, signals.source, quotas)
    assert found.tolist() == [row in expected for row in rows]
