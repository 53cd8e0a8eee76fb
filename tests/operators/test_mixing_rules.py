"""Rules of the literature for shares of sources, on cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoselection.operators.mixing_rules import after_excess_loss, equal, proportional, tempered, unimax

SIZES = np.array([600, 300, 100, 0])


def test_proportional_equal_and_tempered():
    assert proportional(SIZES).tolist() == [0.6, 0.3, 0.1, 0.0]
    assert equal(SIZES) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    # Square roots of 400, 100, 25 are 20, 10, 5.
    assert tempered(np.array([400, 100, 25]), 2.0) == pytest.approx([20 / 35, 10 / 35, 5 / 35])
    assert tempered(SIZES, 1.0) == pytest.approx(proportional(SIZES))
    assert tempered(SIZES, 1e9) == pytest.approx(equal(SIZES))


def test_unimax_by_hand():
    # 900 rows, twice each at most: the smallest would get 300 and has 200; the next half of the 700 left, 350; so the largest.
    assert unimax(np.array([1000, 100, 400]), 900, epochs=2) == pytest.approx([350 / 900, 200 / 900, 350 / 900])
    # 2000 rows: 200, then 800 (900 are offered), then 1000.
    assert unimax(np.array([1000, 100, 400]), 2000, epochs=2) == pytest.approx([0.5, 0.1, 0.4])
    # More than all rows twice: as much as there is.
    assert unimax(np.array([1000, 100, 400]), 9000, epochs=2) == pytest.approx([2 / 3, 1 / 15, 4 / 15])
    assert unimax(SIZES, 30, epochs=1) == pytest.approx(equal(SIZES))


def test_excess_loss_by_hand():
    # Excess losses log 2, 0 (better than the reference) and 0: 0.5 · 2 : 0.25 : 0.25.
    found = after_excess_loss(
        np.array([0.5, 0.25, 0.25]), np.array([1 + np.log(2), 0.5, 2.0]), np.array([1.0, 1.0, 2.0]), smoothing=0.0
    )
    assert found == pytest.approx([2 / 3, 1 / 6, 1 / 6])
    smoothed = after_excess_loss(np.array([1.0, 1.0]) / 2, np.array([np.log(3), 0]), np.zeros(2), smoothing=0.1)
    assert smoothed == pytest.approx([0.9 * 0.75 + 0.05, 0.9 * 0.25 + 0.05])
    gone = after_excess_loss(np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.0, 1000.0]), np.zeros(3))
    assert gone == pytest.approx([0.5, 0.5, 0.0])


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=8).filter(any),
    st.floats(1, 5000),
    st.sampled_from([1.0, 2.0, 4.0]),
)
def test_shares_sum_to_one_and_unimax_keeps_to_its_limit(sizes, total, epochs):
    sizes = np.array(sizes)
    for shares in (proportional(sizes), equal(sizes), tempered(sizes), unimax(sizes, total, epochs)):
        assert shares.sum() == pytest.approx(1.0) and (shares >= 0).all() and (shares[sizes == 0] == 0).all()
    drawn = min(total, epochs * sizes.sum())
    assert (unimax(sizes, total, epochs) * drawn <= epochs * sizes + 1e-6).all()
