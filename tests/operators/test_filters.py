"""Score filters against plain sorting."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_tables import apply, make_table, tables_and_rows

from autoselection.errors import SignalError
from autoselection.operators import default_registry
from autoselection.search.config import SearchConfig
from autoselection.search.space import RecipeSpace
from autoselection.signals.table import SignalTable

FILTERS = ["ifd_filter", "ngram_entropy", "action_object_branching", "varentropy_filter", "rsr_filter"]
COLUMN = {"ifd_filter": "ifd", "varentropy_filter": "varentropy", "rsr_filter": "rsr"}

cuts = st.fixed_dictionaries(
    {
        "cut": st.one_of(
            st.builds(lambda value: {"fraction": value}, st.integers(5, 100).map(lambda percent: percent / 100)),
            st.builds(lambda value: {"top_k": value}, st.integers(1, 70)),
            st.builds(lambda value: {"threshold": value}, st.sampled_from([0.0, 0.25, 0.3, 0.7, 1.0])),
        ),
        "direction": st.sampled_from(["high", "low"]),
        "scope": st.sampled_from(["whole", "source"]),
        "missing": st.sampled_from(["drop", "keep"]),
    }
).map(lambda parts: {**parts.pop("cut"), **parts})


def brute_force(scores, rows, source, params):
    """Best rows first; Python sorting of (score, row)."""
    sign = -1 if params["direction"] == "high" else 1
    scored = [row for row in rows.tolist() if not math.isnan(scores[row])]
    groups = [scored]
    if params["scope"] == "source":
        groups = [[row for row in scored if source[row] == code] for code in set(source.tolist())]
    kept = []
    for group in groups:
        ranked = sorted(group, key=lambda row: (sign * float(scores[row]), row))
        if "threshold" in params:
            limit = np.float32(params["threshold"])
            kept += [row for row in ranked if (scores[row] >= limit if sign < 0 else scores[row] <= limit)]
        elif "top_k" in params:
            kept += ranked[: params["top_k"]]
        else:
            kept += ranked[: math.ceil(Fraction(str(params["fraction"])) * len(group))]
    return sorted(kept, key=lambda row: (sign * float(scores[row]), row)), scored


@pytest.mark.parametrize("name", FILTERS)
@settings(max_examples=60, deadline=None)
@given(case=tables_and_rows(), params=cuts)
def test_equals_plain_sorting(name, case, params):
    table, rows = case
    scores = table.column(COLUMN.get(name, name))
    expected, scored = brute_force(scores, rows, table.source, params)
    unscored = sorted(set(rows.tolist()) - set(scored))
    outcome = apply(table, name, params, rows)
    assert outcome.rows.tolist() == expected + (unscored if params["missing"] == "keep" else [])
    assert outcome.missing == len(unscored)
    top = brute_force(scores, rows, table.source, {"direction": params["direction"], "scope": "whole", "top_k": 1})[0]
    assert outcome.best == (top[0] if top else None)


@settings(max_examples=100, deadline=None)
@given(case=tables_and_rows(), params=cuts)
def test_mona_keeps_the_union_of_each_tasks_best_in_input_order(case, params):
    table, rows = case
    chosen, scored = set(), set()
    for task in table.tasks:
        best, present = brute_force(table.column(f"mona/{task}"), rows, table.source, params)
        chosen |= set(best)
        scored |= set(present)
    unscored = set(rows.tolist()) - scored
    if params["missing"] == "keep":
        chosen |= unscored
    outcome = apply(table, "mona_filter", params, rows)
    assert outcome.rows.tolist() == [row for row in rows.tolist() if row in chosen]
    assert outcome.missing == len(unscored)


@pytest.mark.parametrize("name", [*FILTERS, "mona_filter"])
@settings(max_examples=30, deadline=None)
@given(
    case=tables_and_rows(), low=st.integers(5, 99), more=st.integers(1, 95), scope=st.sampled_from(["whole", "source"])
)
def test_a_larger_fraction_keeps_all_that_a_smaller_one_keeps(name, case, low, more, scope):
    table, rows = case
    small = apply(table, name, {"fraction": low / 100, "scope": scope}, rows).rows
    large = apply(table, name, {"fraction": min(100, low + more) / 100, "scope": scope}, rows).rows
    assert set(small.tolist()) <= set(large.tolist())


def test_ties_go_to_the_lower_row_and_the_best_comes_first():
    table = SignalTable.from_arrays({"ifd": [0.5, 0.9, 0.5, 0.9, 0.1]})
    assert apply(table, "ifd_filter", {"top_k": 3}, [4, 3, 2, 1, 0]).rows.tolist() == [1, 3, 0]
    assert apply(table, "ifd_filter", {"top_k": 3, "direction": "low"}).rows.tolist() == [4, 0, 2]


def test_infinite_and_negative_scores_are_ordered():
    table = SignalTable.from_arrays({"ifd": [-1.0, np.inf, -np.inf, 0.0, -0.0, 2.0]})
    assert apply(table, "ifd_filter", {"fraction": 1.0}).rows.tolist() == [1, 5, 3, 4, 0, 2]
    assert apply(table, "ifd_filter", {"fraction": 1.0, "direction": "low"}).rows.tolist() == [2, 0, 3, 4, 5, 1]


def test_scope_source_keeps_a_share_of_every_source():
    table = SignalTable.from_arrays({"ifd": [0.9, 0.8, 0.7, 0.6, 0.2, 0.1]}, source=["a"] * 4 + ["b"] * 2)
    assert apply(table, "ifd_filter", {"fraction": 0.5}).rows.tolist() == [0, 1, 2]
    assert apply(table, "ifd_filter", {"fraction": 0.5, "scope": "source"}).rows.tolist() == [0, 1, 4]


def test_fractions_are_exact():
    table = SignalTable.from_arrays({"ifd": np.arange(100)})
    assert len(apply(table, "ifd_filter", {"fraction": 0.07}).rows) == 7  # 0.07 * 100 is 7.000000000000001 in floats


def test_a_cut_without_scored_rows_has_no_best_row():
    table = SignalTable.from_arrays({"ifd": [np.nan, np.nan]})
    outcome = apply(table, "ifd_filter")
    assert outcome.rows.tolist() == [] and outcome.best is None and outcome.missing == 2


@pytest.mark.parametrize("name", [*FILTERS, "mona_filter"])
def test_an_absent_signal_is_named_with_the_command_that_computes_it(name):
    table = SignalTable.from_arrays({}, n=3)
    with pytest.raises(SignalError, match="autoselection score"):
        apply(table, name)


def test_golden_order():
    table = make_table(0, n=12)
    kept = apply(table, "ifd_filter", {"fraction": 0.5, "direction": "low", "scope": "source"}).rows
    scores = table.column("ifd")[kept]
    assert scores.round(1).tolist() == sorted(scores.round(1).tolist())
    assert kept.tolist() == [2, 3, 11, 1, 8, 6, 5]


def test_rsr_filter_keeps_the_low_end_and_is_searched_only_where_named():
    table = make_table(0)
    low = apply(table, "rsr_filter", {"fraction": 0.4}).rows.tolist()
    assert low == apply(table, "rsr_filter", {"fraction": 0.4, "direction": "low"}).rows.tolist()
    assert low != apply(table, "rsr_filter", {"fraction": 0.4, "direction": "high"}).rows.tolist()
    default, named = (
        {operator.name for operator in RecipeSpace(table, default_registry(), SearchConfig(also=also)).operators}
        for also in ((), ("rsr_filter",))
    )
    assert named - default == {"rsr_filter"}
    plain = SignalTable.from_arrays({name: table.column(name) for name in ("ifd", "rsr")})
    assert "score_filter" not in {operator.name for operator in default_registry().default_space(plain)}
