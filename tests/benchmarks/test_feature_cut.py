from __future__ import annotations

import numpy as np
from benchmarks.feature_cut import compared, joined_rows, strongest

from autoselection.recipes import state_vector
from autoselection.signals import SignalTable


def _sums(rng, rows, d, active):
    """Rows of two sources that prefer other features; strong features are the same in all rows."""
    found = []
    for row in range(rows):
        weights = np.where((np.arange(d) % 2) == (row % 2), 4.0, 1.0)
        indices = np.sort(rng.choice(d, active, replace=False, p=weights / weights.sum())).astype(np.int32)
        values = np.where(indices < 40, 9.0, rng.random(active)).astype(np.float32)
        found.append((indices, values, active))
    return found


def test_a_cut_that_takes_nothing_changes_nothing_and_one_that_does_is_seen():
    rng = np.random.default_rng(0)
    sums, sources = _sums(rng, 400, 2048, 300), np.arange(400) % 2
    loose, tight = compared(sums, sources, 2048, 300), compared(sums, sources, 2048, 20)
    assert loose["rows_cut"] == 0 and loose["strongest 300"]["ratio_10_90"] == [1.0, 1.0]
    assert tight["rows_cut"] == 1 and tight["strongest 20"]["ratio"] < 0.9
    assert loose["sample of 1024"]["rank_correlation"] > 0.95


def test_the_drift_is_that_of_the_state_vector():
    rng = np.random.default_rng(1)
    sums = _sums(rng, 60, 64, 20)
    dense = np.zeros((60, 64), np.float32)
    for row, one in enumerate(sums):
        indices, values = strongest(one, 10)
        assert len(indices) == 10 and values.min() >= np.sort(one[1])[-10]
        dense[row, indices] = values
    table = SignalTable.from_arrays({"n": np.ones(60)}, sae=dense)
    active = dense > 0
    rows = np.arange(0, 60, 3)
    expected = np.linalg.norm(active[rows].mean(0) - active.mean(0)) / 8
    assert np.isclose(state_vector(rows, table).distribution_drift, expected)


def test_consecutive_rows_of_a_source_are_joined():
    assert joined_rows(np.array([1, 0, 1, 1, 0]), 2) == [[1, 4], [0, 2], [3]]
