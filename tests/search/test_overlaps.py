"""Overlaps beside sums over Python sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoselection.search.overlaps import BITS, Overlaps, overlap


def jaccard(some: np.ndarray, other: np.ndarray, weights: np.ndarray) -> float:
    a, b = set(some.tolist()), set(other.tolist())
    return sum(weights[row] for row in a & b) / sum(weights[row] for row in a | b)


@st.composite
def pools(draw):
    """Weights of a pool's rows and subsets in any order, more of them than fit into one block at times."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n = draw(st.integers(1, 60))
    weights = rng.integers(1, 400, n).astype(float) if draw(st.booleans()) else rng.uniform(0.1, 9.0, n)
    subsets = [rng.permutation(n)[: rng.integers(1, n + 1)] for _ in range(draw(st.integers(1, 2 * BITS + 3)))]
    return weights, subsets


@settings(max_examples=80, deadline=None)
@given(pools())
def test_a_subset_is_compared_with_all_known_ones(pool):
    weights, subsets = pool
    known = Overlaps(weights)
    for place, rows in enumerate(subsets):
        expected = [jaccard(other, rows, weights) for other in subsets[:place]]
        assert known.jaccard(rows) == pytest.approx(expected)
        known.add(rows)
    assert len(known) == len(subsets)


@settings(max_examples=40, deadline=None)
@given(pools(), st.integers(0, 2 * BITS))
def test_the_matrix_has_a_row_for_each_subset_and_a_column_for_each_other(pool, first):
    weights, subsets = pool
    expected = np.array([[jaccard(a, b, weights) for b in subsets] for a in subsets])
    assert overlap(subsets, weights) == pytest.approx(expected)
    assert overlap(subsets[:first], weights, subsets) == pytest.approx(expected[:first])


def test_whole_weights_are_summed_without_rounding():
    weights = np.array([1.0, 2.0, 4.0, 2.0**40])
    found = overlap([np.array([0, 1, 3]), np.array([2, 1])], weights, [np.array([3, 1, 0])])
    assert found.tolist() == [[1.0], [2 / (2**40 + 7)]]
