"""What holds for every operator."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_tables import apply, random_params, tables_and_rows

from autoselection.operators import Operator, builtin_operators
from autoselection.plugins import has_members

NAMES = [operator.name for operator in builtin_operators()]
KEEP_INPUT_ORDER = [
    operator.name for operator in builtin_operators() if operator.order.startswith("the order in which")
]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(case=tables_and_rows(), seed=st.integers(0, 1000))
def test_returns_distinct_given_rows_and_the_same_again(name, case, seed):
    table, rows = case
    params = random_params(name, table, seed)
    before = rows.copy()
    outcome = apply(table, name, params, rows, seed=seed)
    again = apply(table, name, params, rows, seed=seed)
    assert outcome.rows.dtype == np.int64
    assert len(np.unique(outcome.rows)) == len(outcome.rows)
    if name != "union":
        assert np.isin(outcome.rows, rows).all()
    np.testing.assert_array_equal(outcome.rows, again.rows)
    assert outcome.missing == again.missing
    assert outcome.notes == again.notes
    np.testing.assert_array_equal(rows, before)
    if outcome.best is not None:
        assert outcome.best in rows


@pytest.mark.parametrize("name", KEEP_INPUT_ORDER)
@settings(max_examples=25, deadline=None)
@given(case=tables_and_rows(), seed=st.integers(0, 1000))
def test_keeps_the_order_given(name, case, seed):
    table, rows = case
    kept = apply(table, name, random_params(name, table, seed), rows, seed=seed).rows
    np.testing.assert_array_equal(kept, rows[np.isin(rows, kept)])


ORDER_FREE = [name for name in NAMES if name not in ("semantic_dedup", "semdedup", "union")]


@pytest.mark.parametrize("name", ORDER_FREE)
@settings(max_examples=25, deadline=None)
@given(case=tables_and_rows(), seed=st.integers(0, 1000))
def test_the_order_of_the_input_does_not_change_which_rows_are_kept(name, case, seed):
    table, rows = case
    params = random_params(name, table, seed)
    forward = apply(table, name, params, rows, seed=seed).rows
    backward = apply(table, name, params, rows[::-1].copy(), seed=seed).rows
    np.testing.assert_array_equal(np.sort(forward), np.sort(backward))
    if name not in KEEP_INPUT_ORDER:
        np.testing.assert_array_equal(forward, backward)


@pytest.mark.parametrize("operator", builtin_operators(), ids=NAMES)
def test_satisfies_the_protocol(operator):
    assert has_members(operator, Operator)
    assert operator.family and operator.summary and operator.order
    assert len({param.name for param in operator.params}) == len(operator.params)
