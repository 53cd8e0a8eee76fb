"""Groups that cuts are made in, and score filters within them, against plain loops."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_tables import apply, make_table, tables_and_rows

from autoselection.errors import RecipeError, SignalError
from autoselection.operators import default_registry
from autoselection.operators.groups import clusters, group_codes, number_of_clusters, pool_vectors, scopes_of
from autoselection.signals.table import SignalTable


@settings(max_examples=50, deadline=None)
@given(case=tables_and_rows())
def test_a_row_belongs_to_the_task_with_its_highest_score(case):
    table, _ = case
    codes, names = group_codes(table, "task")
    for row in range(table.n):
        scores = {task: float(table.column(f"mona/{task}")[row]) for task in table.tasks}
        known = {task: score for task, score in scores.items() if not math.isnan(score)}
        expected = max(sorted(known), key=lambda task: known[task]) if known else "without a score"
        assert names[codes[row]] == expected


def test_equal_scores_go_to_the_task_first_by_name():
    table = SignalTable.from_arrays({"mona/b": [0.5, 0.5, np.nan], "mona/a": [0.5, 0.4, np.nan]})
    codes, names = group_codes(table, "task")
    assert [names[code] for code in codes] == ["a", "b", "without a score"]


def ranked_groups(table, rows, scope, column):
    codes, _ = group_codes(table, scope)
    scores = table.column(column)
    scored = [row for row in rows.tolist() if not math.isnan(scores[row])]
    return [[row for row in scored if codes[row] == code] for code in sorted(set(codes[rows].tolist()))], scores


@pytest.mark.parametrize("name", ["ifd_filter", "score_filter"])
@pytest.mark.parametrize("scope", ["whole", "source", "task", "cluster"])
@settings(max_examples=40, deadline=None)
@given(case=tables_and_rows(), percent=st.integers(5, 100), direction=st.sampled_from(["high", "low"]))
def test_a_share_of_every_group_is_kept_best_first(name, scope, case, percent, direction):
    table, rows = case
    column = "ifd" if name == "ifd_filter" else "reward"
    sign = -1 if direction == "high" else 1
    groups, scores = ranked_groups(table, rows, scope, column)
    expected = []
    for group in groups:
        best = sorted(group, key=lambda row: (sign * float(scores[row]), row))
        expected += best[: math.ceil(Fraction(percent, 100) * len(group))]
    expected.sort(key=lambda row: (sign * float(scores[row]), row))
    params = {"fraction": percent / 100, "scope": scope, "direction": direction}
    params |= {"signal": column} if name == "score_filter" else {}
    assert apply(table, name, params, rows).rows.tolist() == expected


@settings(max_examples=80, deadline=None)
@given(
    case=tables_and_rows(),
    bounds=st.tuples(st.integers(0, 99), st.integers(1, 100)).filter(lambda pair: pair[0] < pair[1]),
    scope=st.sampled_from(["whole", "source", "task", "cluster"]),
    direction=st.sampled_from(["high", "low"]),
)
def test_a_band_keeps_the_ranks_between_two_quantiles(case, bounds, scope, direction):
    table, rows = case
    groups, scores = ranked_groups(table, rows, scope, "reward")
    expected = []
    for group in groups:
        upward = sorted(group, key=lambda row: (float(scores[row]), row))
        low, high = (math.ceil(Fraction(bound, 100) * len(group)) for bound in bounds)
        expected += upward[low:high]
    sign = -1 if direction == "high" else 1
    expected.sort(key=lambda row: (sign * float(scores[row]), row))
    params = {"signal": "reward", "band_low": bounds[0] / 100, "band_high": bounds[1] / 100}
    assert (
        apply(table, "score_filter", params | {"scope": scope, "direction": direction}, rows).rows.tolist() == expected
    )


def test_bands_side_by_side_share_no_row_and_leave_none_out():
    table = make_table(3, n=57)
    edges = [0.0, 0.13, 0.5, 0.77, 1.0]
    kept = [
        apply(table, "score_filter", {"signal": "reward", "band_low": low, "band_high": high, "scope": "task"}).rows
        for low, high in pairwise(edges)
    ]
    scored = np.flatnonzero(~np.isnan(table.column("reward")))
    np.testing.assert_array_equal(np.sort(np.concatenate(kept)), scored)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"band_low": 0.6, "band_high": 0.6}, r"band_low \(0.6\) must be below band_high \(0.6\)"),
        ({"band_low": 0.6}, "'band_high' is required"),
        ({"band_high": 0.6}, "'band_high' applies only if band_low is set"),
        ({"band_low": 0.2, "band_high": 0.6, "top_k": 3}, "top_k and band_low are both given"),
        ({"signal": 3}, "'signal' must be the name of a numeric signal"),
        ({"signal": None}, "'signal' is required"),
    ],
)
def test_a_wrong_band_is_refused_with_its_reason(params, message):
    with pytest.raises(RecipeError, match=message):
        apply(make_table(0), "score_filter", {"signal": "reward", **params})


def test_an_unknown_signal_is_named_with_the_nearest_or_those_that_exist():
    for name, message in (("rewrad", r"did you mean 'reward'\?"), ("zzz", "this pool has: .*reward")):
        with pytest.raises(SignalError, match=f"no signal called '{name}'; {message}"):
            apply(make_table(0), "score_filter", {"signal": name})


def test_score_filter_searches_columns_without_an_operator_of_their_own():
    operator = default_registry().get("score_filter")
    table = SignalTable.from_arrays(
        {"ifd": [1, 2], "mona/a": [0, 1], "n_tokens": [1, 2], "contamination": [0, 1], "reward": [1, 2], "flat": [1, 1]}
    )
    assert {param.name: param for param in operator.space(table)}["signal"].choices == ("reward",)
    assert not operator.available(SignalTable.from_arrays({"ifd": [1, 2]}))


def test_faults_of_traces_are_no_matter_of_taste():
    columns = {
        "reward": [1, 2],
        "trace_faults": [0, 1],
        "fault_refusal": [0, 1],
        "tool_names": [0, 9],
        "n_calls": [0, 0],
    }
    table = SignalTable.from_arrays(columns | {"reasoning_share": [0.0, 0.5], "flat": [1, 1]})
    sample = {param.name: param for param in default_registry().get("sample").space(table)}
    assert sample["signal"].choices == ("reasoning_share", "reward")
    assert {param.name: param for param in default_registry().get("score_filter").space(table)}["signal"].choices == (
        "reward",
    )


def test_scopes_are_searched_where_the_pool_has_their_signals():
    def scopes(table):
        space = {param.name: param for param in default_registry().get("ifd_filter").space(table)}
        return space["scope"].choices

    bare = {"ifd": [1.0, 2.0]}
    relevance = {"mona/a": [0.1, 0.2], "mona/b": [0.1, 0.2]}
    assert scopes(SignalTable.from_arrays(bare, sae=np.eye(2))) == ("whole", "source")
    assert scopes(SignalTable.from_arrays(bare | relevance)) == ("whole", "source", "task")
    assert scopes(SignalTable.from_arrays(bare | relevance, embeddings=np.eye(2))) == scopes_of(make_table(0))


@pytest.mark.parametrize(("scope", "message"), [("task", "--signals mona"), ("cluster", "embeddings nor SAE")])
def test_a_scope_without_its_signal_is_refused(scope, message):
    with pytest.raises(SignalError, match=message):
        apply(SignalTable.from_arrays({"ifd": [1.0]}), "ifd_filter", {"scope": scope})


def test_the_number_of_clusters_is_a_power_of_two_near_the_root():
    assert [number_of_clusters(n) for n in (1, 60, 3_700, 90_000, 10**6, 10**9)] == [2, 2, 16, 128, 256, 1024]


def test_clusters_are_those_a_plain_loop_gives_and_found_again():
    rng = np.random.default_rng(0)
    centres = np.eye(4)
    truth = rng.integers(0, 4, 300)
    points = centres[truth] + 0.1 * rng.normal(size=(300, 4))
    unit = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    unit[7] = np.nan
    labels = clusters(unit, 4, seed=1)
    np.testing.assert_array_equal(labels, clusters(unit, 4, seed=1))
    assert labels[7] == -1 and labels[0] == 0
    means = np.stack([unit[labels == code].mean(axis=0) for code in range(labels.max() + 1)])
    nearest = np.argmax(unit @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T, axis=1)
    np.testing.assert_array_equal(np.delete(nearest, 7), np.delete(labels, 7))  # a fixed point of Lloyd's step


def test_clusters_of_well_separated_groups_do_not_mix_them():
    unit = np.repeat(np.eye(8, dtype=np.float32), 20, axis=0)
    labels = clusters(unit, 32)
    assert all(len(set(labels[start : start + 20].tolist())) == 1 for start in range(0, 160, 20))


def test_without_embeddings_the_sae_features_are_clustered():
    features = np.repeat(np.eye(100), 3, axis=0)
    features[5] = 0
    table = SignalTable.from_arrays(sae=features)
    vectors = pool_vectors(table)
    assert vectors.shape == (300, 64) and np.isnan(vectors[5]).all()
    assert (vectors[0] @ vectors[1]) == pytest.approx(1.0, abs=1e-6)
    codes, names = group_codes(table, "cluster")
    assert names[codes[5]] == "without a vector" and codes[0] == codes[1] == codes[2]
