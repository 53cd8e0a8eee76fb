from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_tables import apply, tables_and_rows

from autoselection.errors import RecipeError
from autoselection.operators import default_registry
from autoselection.signals.table import SignalTable


@settings(max_examples=100, deadline=None)
@given(
    case=tables_and_rows(),
    low=st.none() | st.integers(0, 30),
    more=st.none() | st.integers(0, 30),
    percent=st.none() | st.integers(5, 100),
    direction=st.sampled_from(["high", "low"]),
    scope=st.sampled_from(["whole", "source"]),
    missing=st.sampled_from(["drop", "keep"]),
)
def test_equals_bounds_then_share(case, low, more, percent, direction, scope, missing):
    table, rows = case
    high = None if more is None else (low or 0) + more
    if low is None and high is None and percent is None:
        return
    lengths = table.column("n_response_tokens")
    inside = [
        row
        for row in rows.tolist()
        if (low or 0) <= lengths[row] <= (math.inf if high is None else high) and not math.isnan(lengths[row])
    ]
    chosen = set(inside)
    if percent is not None:
        chosen = set()
        sign = -1 if direction == "high" else 1
        groups = [inside]
        if scope == "source":
            groups = [[row for row in inside if table.source[row] == code] for code in range(len(table.source_names))]
        for group in groups:
            best = sorted(group, key=lambda row: (sign * float(lengths[row]), row))
            chosen |= set(best[: math.ceil(Fraction(percent, 100) * len(group))])
    unknown = {row for row in rows.tolist() if math.isnan(lengths[row])}
    if missing == "keep":
        chosen |= unknown
    params = {"min": low, "max": high, "fraction": None if percent is None else percent / 100}
    params |= {"direction": direction, "scope": scope, "missing": missing}
    outcome = apply(table, "length_filter", params, rows)
    assert outcome.rows.tolist() == [row for row in rows.tolist() if row in chosen]
    assert outcome.missing == len(unknown)


@pytest.mark.parametrize(
    ("params", "message"),
    [({}, "at least one of min, max and fraction"), ({"min": 5, "max": 4}, r"min \(5\) must not be above max \(4\)")],
)
def test_bounds_that_mean_nothing_are_refused(params, message):
    with pytest.raises(RecipeError, match=message):
        apply(SignalTable.from_arrays({"n_response_tokens": [1.0]}), "length_filter", params)


def test_the_lengths_of_the_pool_are_searched():
    operator = default_registry().get("length_filter")
    table = SignalTable.from_arrays({"n_turns": np.arange(3), "n_prompt_words": np.arange(3)})
    length = {param.name: param for param in operator.space(table)}["length"]
    assert length.choices == ("n_prompt_words", "n_turns") and length.default == "n_prompt_words"
    assert operator.available(table) and not operator.available(SignalTable.from_arrays(n=3))


@pytest.mark.parametrize(
    ("params", "best"),
    [({"min": 99}, 1), ({"max": 0.5}, 0), ({"min": 3.2, "max": 3.9}, 2), ({"min": 99, "fraction": 0.5}, 1)],
)
def test_where_no_length_is_within_the_bounds_the_nearest_row_is_the_best(params, best):
    table = SignalTable.from_arrays({"n_response_tokens": [1.0, 5.0, 3.0, 5.0, np.nan]})
    outcome = apply(table, "length_filter", params)
    assert outcome.rows.tolist() == [] and outcome.best == best


def test_without_any_length_no_row_is_the_best():
    table = SignalTable.from_arrays({"n_response_tokens": [np.nan, np.nan]})
    assert apply(table, "length_filter", {"min": 1}).best is None
