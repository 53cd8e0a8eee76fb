"""Covers and balances against their definitions, written as plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_tables import apply, tables_and_rows

from autoselection.operators import coverage as cover
from autoselection.operators.coverage import facility_location, k_center
from autoselection.operators.groups import group_codes, pool_vectors
from autoselection.operators.quotas import allocate
from autoselection.signals.arrays import unit_rows
from autoselection.signals.table import SignalTable

TOLERANCE = 2e-5  # cosines are compared in steps of 1e-5


@st.composite
def vectors(draw, most=70):
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n, d = draw(st.integers(1, most)), draw(st.integers(1, 8))
    points = rng.normal(size=(n, d))
    points[rng.integers(0, n, n // 4)] = points[0]
    return unit_rows(points)


@settings(max_examples=80, deadline=None)
@given(unit=vectors(), share=st.floats(0.01, 1.0))
def test_k_center_always_adds_a_farthest_row(unit, share):
    count = max(1, int(share * len(unit)))
    places, greedy = k_center(unit, count)
    assert len(set(places.tolist())) == len(places) == count == greedy
    exact = unit.astype(np.float64)
    mean = exact.mean(axis=0)
    towards = exact @ (mean / max(np.linalg.norm(mean), 1e-30))
    assert towards[places[0]] >= towards.max() - TOLERANCE or np.linalg.norm(mean) < 1e-6
    near = np.full(len(unit), -np.inf)
    for step, place in enumerate(places):
        if step:
            others = np.delete(np.arange(len(unit)), places[:step])
            assert near[place] <= near[others].min() + TOLERANCE
        near = np.maximum(near, exact @ exact[place])


def test_k_center_breaks_ties_by_place_and_takes_copies_last():
    unit = unit_rows(np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1], [1, 0, 0], [1, 1, 1]]))
    assert k_center(unit, 7)[0].tolist() == [6, 0, 1, 2, 3, 4, 5]


def test_k_center_with_many_blocks_equals_one_row_at_a_time():
    rng = np.random.default_rng(0)
    unit = unit_rows(np.round(rng.normal(size=(700, 12)), 1))
    near, expected, place = np.full(700, -np.inf, np.float32), [], k_center(unit, 1)[0][0]
    for _ in range(400):
        near = np.maximum(near, np.rint(unit @ unit[place] * np.float32(1e5)))
        near[place] = np.inf
        expected.append(int(place))
        place = np.argmin(near)
    assert k_center(unit, 400)[0].tolist() == expected


def test_beyond_the_work_allowed_the_rest_follows_by_distance(monkeypatch):
    rng = np.random.default_rng(1)
    unit = unit_rows(rng.normal(size=(50, 4)))
    whole, _ = k_center(unit, 50)
    monkeypatch.setattr(cover, "WORK", 10 * unit.size)
    places, greedy = k_center(unit, 30)
    assert greedy == 10 and places[:10].tolist() == whole[:10].tolist()
    near = (unit @ unit[places[:10]].T).max(axis=1)
    assert (np.diff(near[places[10:]]) >= -TOLERANCE).all()
    assert near[places[10:]].max() <= np.delete(near, places).min() + TOLERANCE


@settings(max_examples=60, deadline=None)
@given(unit=vectors(40), share=st.floats(0.01, 1.0))
def test_lazy_facility_location_equals_the_plain_greedy_one(unit, share):
    count = max(1, int(share * len(unit)))
    similar = np.rint(np.maximum(unit @ unit.T, 0.0) * 1e5).astype(np.int64)
    covered, expected = np.zeros(len(unit), np.int64), []
    for _ in range(count):
        gains = np.maximum(similar - covered, 0).sum(axis=1)
        gains[expected] = -1
        expected.append(int(np.argmax(gains)))
        covered = np.maximum(covered, similar[expected[-1]])
    places, greedy = facility_location(unit, count, np.arange(len(unit)))
    assert places.tolist() == expected and greedy == count


def test_facility_location_starts_in_the_densest_region_and_covers_every_one():
    rng = np.random.default_rng(0)
    sizes = [50, 30, 20]
    centres = np.repeat(np.eye(3), sizes, axis=0)
    unit = unit_rows(centres + 0.05 * rng.normal(size=centres.shape))
    places, _ = facility_location(unit, 3, np.arange(100))
    assert [int(np.searchsorted(np.cumsum(sizes), place, side="right")) for place in places] == [0, 1, 2]


def test_facility_location_beyond_its_ground_set(monkeypatch):
    rng = np.random.default_rng(3)
    table = SignalTable.from_arrays(embeddings=rng.normal(size=(80, 5)))
    monkeypatch.setattr("autoselection.operators.diversity.GROUND", 20)
    params = {"method": "facility_location", "top_k": 50}
    outcome = apply(table, "diversity", params)
    assert outcome.notes == {"chosen greedily": 20, "filled up": 30}
    assert len(set(outcome.rows.tolist())) == 50
    np.testing.assert_array_equal(outcome.rows, apply(table, "diversity", params, np.arange(80)[::-1].copy()).rows)
    assert apply(table, "diversity", params, seed=1).rows.tolist() != outcome.rows.tolist()


def test_rows_without_a_vector_are_dropped_or_come_last():
    table = SignalTable.from_arrays(embeddings=[[0.0, 0], [1, 0], [0, 0], [0, 1]])
    assert sorted(apply(table, "diversity", {"fraction": 1.0}).rows.tolist()) == [1, 3]
    kept = apply(table, "diversity", {"top_k": 1, "missing": "keep"})
    assert kept.rows.tolist()[1:] == [0, 2] and kept.missing == 2
    assert len(apply(table, "diversity", {}, [0, 2]).rows) == 0


@settings(max_examples=60, deadline=None)
@given(
    case=tables_and_rows(),
    spread=st.sampled_from(["equal", "sqrt", "temperature"]),
    percent=st.integers(1, 100),
    within=st.sampled_from(["random", "best"]),
)
def test_clusters_get_their_quotas(case, spread, percent, within):
    table, rows = case
    codes, names = group_codes(table, "cluster")
    scores = table.column("reward")
    usable = [row for row in rows.tolist() if within == "random" or not np.isnan(scores[row])]
    sizes = np.bincount(codes[usable] if usable else [], minlength=len(names)).astype(int)
    power = {"equal": 0.0, "sqrt": 0.5, "temperature": 0.25}[spread]
    weights = np.where(sizes > 0, sizes.astype(float) ** power, 0.0)
    quotas = allocate(-(-percent * len(usable) // 100), weights, sizes)
    params = {"spread": spread, "fraction": percent / 100, "within": within}
    params |= {"signal": "reward"} if within == "best" else {}
    outcome = apply(table, "cluster_balance", params, rows)
    np.testing.assert_array_equal(np.bincount(codes[outcome.rows], minlength=len(names)), quotas)
    if within == "best":
        for code, quota in enumerate(quotas):
            ranked = sorted((row for row in usable if codes[row] == code), key=lambda row: (-scores[row], row))
            assert {row for row in outcome.rows.tolist() if codes[row] == code} == set(ranked[:quota])


def test_equal_spread_balances_what_a_large_cluster_would_drown():
    centres = np.repeat(np.eye(4), [400, 40, 40, 40], axis=0)
    table = SignalTable.from_arrays(embeddings=centres)
    rows = apply(table, "cluster_balance", {"spread": "equal", "total_samples": 80, "clusters": 40}).rows
    assert np.bincount(np.searchsorted([400, 440, 480], rows, side="right")).tolist() == [20, 20, 20, 20]


def test_vectors_are_the_embeddings_where_there_are_any():
    table = SignalTable.from_arrays(embeddings=np.array([[3.0, 4.0], [0.0, 0.0]]), sae=np.eye(2))
    assert pool_vectors(table)[0].tolist() == pytest.approx([0.6, 0.8])
    assert np.isnan(pool_vectors(table)[1]).all()
