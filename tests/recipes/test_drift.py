"""Feature counts of many subsets: the same whatever is asked together and whatever was asked before."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from autoselection.recipes import state_vector, state_vectors
from autoselection.recipes.drift import drift, feature_counts
from autoselection.signals.table import SignalTable


def features(seed: int, n: int, d: int = 9) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random((n, d)) * (rng.random((n, d)) < 0.4)


@st.composite
def subsets(draw):
    """A pool and batches of subsets of it: unrelated ones, and edits of one another."""
    seed, n = draw(st.integers(0, 10_000)), draw(st.integers(1, 40))
    rng = np.random.default_rng(seed)
    batches = []
    for _ in range(draw(st.integers(1, 4))):
        batch = []
        for _ in range(draw(st.integers(1, 11))):
            if batch and rng.random() < 0.6:
                flipped = np.setxor1d(batch[-1], rng.integers(0, n, 2))
                batch.append(rng.permutation(flipped if len(flipped) else np.array([0])))
            else:
                batch.append(rng.permutation(n)[: rng.integers(1, n + 1)])
        batches.append(batch)
    return features(seed, n), batches


@settings(max_examples=60, deadline=None)
@given(subsets())
def test_counts_are_those_of_a_plain_sum(case):
    dense, batches = case
    table = SignalTable.from_arrays({}, sae=dense)
    for batch in batches:
        counts = np.array(list(feature_counts(batch, table)))
        expected = np.array([(dense[rows] > 0).sum(axis=0) for rows in batch])
        np.testing.assert_array_equal(counts, expected)
        for rows, own in zip(batch, expected, strict=True):
            difference = own / len(rows) - (dense > 0).mean(axis=0)
            assert np.isclose(drift(own.astype(float), len(rows), table), np.sqrt((difference**2).mean()))


@settings(max_examples=30, deadline=None)
@given(subsets())
def test_a_state_vector_does_not_depend_on_the_company_it_is_asked_in(case):
    dense, batches = case
    rng = np.random.default_rng(0)
    columns = {
        "n_tokens": rng.integers(1, 9, len(dense)),
        "ifd": rng.random(len(dense)),
        "mona/a": rng.random(len(dense)),
    }
    together = SignalTable.from_arrays(columns, sae=dense)
    for batch in batches:
        alone = SignalTable.from_arrays(columns, sae=dense)
        assert state_vectors(batch, together) == [state_vector(rows, alone) for rows in batch]
