"""Fast deduplication against the greedy rule over all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_tables import apply, make_table, tables_and_rows

from autoselection.errors import SignalError
from autoselection.operators import similar
from autoselection.operators.artefacts import pool_artefact
from autoselection.operators.dedup import ROWS_PER_CLUSTER
from autoselection.operators.similar import (
    Signatures,
    cosine_edges,
    cosine_keep,
    keep_first,
    normalized,
    spherical_kmeans,
)
from autoselection.signals.table import MinHashParams, SignalTable, SparseRows


def greedy(rows, alike):
    """Keep a row unless it is alike to an earlier kept one."""
    kept = []
    for row in rows.tolist():
        if not any(alike(other, row) for other in kept):
            kept.append(row)
    return kept


def cosine_of(table):
    dense = table.sae.to_scipy().toarray().astype(np.float64)
    norms = np.linalg.norm(dense, axis=1)
    unit = dense / np.where(norms > 0, norms, 1)[:, None]
    return unit @ unit.T


@settings(max_examples=60, deadline=None)
@given(case=tables_and_rows())
def test_exact_keeps_the_first_of_each_text(case):
    table, rows = case
    expected = greedy(rows, lambda a, b: table.text_hash[a] == table.text_hash[b])
    assert apply(table, "semantic_dedup", {"strategy": "exact"}, rows).rows.tolist() == expected


@pytest.mark.parametrize("limit", [10**9, 0], ids=["edges", "direct"])
@settings(max_examples=60, deadline=None)
@given(case=tables_and_rows(), threshold=st.integers(50, 99).map(lambda percent: percent / 100))
def test_minhash_equals_the_greedy_rule_on_estimated_jaccards(limit, case, threshold):
    table, rows = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similar, "CANDIDATE_LIMIT", limit)
        params = {"strategy": "minhash", "jaccard_threshold": threshold, "num_perm": 32}
        outcome = apply(table, "semantic_dedup", params, rows)
    needed = -(-round(threshold * 100) * 32 // 100)
    expected = greedy(rows, lambda a, b: (table.minhash[a] == table.minhash[b]).sum() >= needed)
    assert outcome.rows.tolist() == expected


@pytest.mark.parametrize("limit", [10**9, -1], ids=["edges", "direct"])
@settings(max_examples=60, deadline=None)
@given(case=tables_and_rows(), threshold=st.integers(80, 100).map(lambda percent: percent / 100))
def test_cosine_equals_the_greedy_rule(limit, case, threshold):
    table, rows = case
    unit = normalized(table.sae.to_scipy())
    edges = cosine_edges(unit, threshold, limit)
    if edges is None:
        kept = rows[cosine_keep(unit[rows], threshold)].tolist()
    else:
        order = np.full(table.n, -1, np.int64)
        order[rows] = np.arange(len(rows))
        kept = rows[keep_first(len(rows), *edges.at_least(threshold - 1e-6, order))].tolist()
    cosine = cosine_of(table)
    expected = greedy(rows, lambda a, b: cosine[a, b] >= threshold - 1e-6)
    assert kept == expected
    params = {"strategy": "embedding", "cosine_threshold": threshold}
    assert apply(table, "semantic_dedup", params, rows).rows.tolist() == expected


@settings(max_examples=40, deadline=None)
@given(
    case=tables_and_rows(),
    threshold=st.integers(70, 99).map(lambda percent: percent / 100),
    clusters=st.integers(1, 9),
)
def test_semdedup_is_the_greedy_rule_inside_clusters_of_the_pool(case, threshold, clusters):
    table, rows = case
    used = max(1, min(clusters, table.n // ROWS_PER_CLUSTER))
    labels = spherical_kmeans(normalized(table.sae.to_scipy()), used, 0)
    cosine = cosine_of(table)
    expected = greedy(rows, lambda a, b: labels[a] == labels[b] and cosine[a, b] >= threshold - 1e-6)
    outcome = apply(table, "semdedup", {"num_clusters": clusters, "cosine_threshold": threshold}, rows)
    assert outcome.rows.tolist() == expected
    assert outcome.notes["clusters"] == used
    assert ("num_clusters clipped from" in outcome.notes) == (used < clusters)


def sparse_pool(n: int, d: int, active: int, seed: int) -> SparseRows:
    """Zipf-like features with near copies, wide enough for the sparse path."""
    rng = np.random.default_rng(seed)
    chance = np.arange(1, d + 1) ** -0.7
    rows = [np.sort(rng.choice(d, active, replace=False, p=chance / chance.sum())) for _ in range(n)]
    values = [rng.gamma(2, 1, active) for _ in range(n)]
    for new in range(0, n, 5):
        old = int(rng.integers(n))
        rows[new] = rows[old]
        values[new] = values[old] * (1 + rng.choice([0.05, 0.5, 0.9]) * rng.random(active))
    return SparseRows(
        np.arange(0, n * active + 1, active),
        np.concatenate(rows).astype(np.int32),
        np.concatenate(values).astype(np.float32),
        d,
    )


@pytest.mark.parametrize("threshold", [0.7, 0.8, 0.95])
def test_the_prefix_filter_misses_no_pair(threshold, monkeypatch):
    monkeypatch.setattr(similar, "_BLOCK", 64)
    monkeypatch.setattr(similar, "DENSE_WIDTH", 100)
    unit = normalized(sparse_pool(500, 3000, 20, 0).to_scipy())
    edges = cosine_edges(unit, threshold)
    cosine = np.triu((unit @ unit.T).toarray(), 1)
    found = sorted(zip(edges.left.tolist(), edges.right.tolist(), strict=True))
    assert found == [tuple(pair) for pair in np.argwhere(cosine >= threshold - 1e-6).tolist()]
    assert len(edges.left) > 20
    assert (
        cosine_keep(unit, threshold).tolist()
        == keep_first(500, *edges.at_least(threshold - 1e-6, np.arange(500))).tolist()
    )


def test_a_large_group_of_equal_signatures_is_one_node():
    rng = np.random.default_rng(0)
    signatures = rng.integers(0, 2**32, (6000, 128), dtype=np.uint32)
    signatures[1000:] = signatures[7]
    table = SignalTable.from_arrays(minhash=signatures)
    kept = apply(table, "semantic_dedup", rows=np.arange(6000)[::-1].copy()).rows
    assert len(kept) == 1000 and kept[0] == 5999 and 7 not in kept


def test_the_first_in_the_given_order_is_kept():
    table = SignalTable.from_arrays(text_hash=[5, 5, 6, 5])
    assert apply(table, "semantic_dedup", {"strategy": "exact"}, [3, 2, 0, 1]).rows.tolist() == [3, 2]


def test_a_chain_loses_its_middle_only():
    base = np.arange(32, dtype=np.uint32)
    middle, end = base.copy(), base.copy()
    middle[:4] += 100
    end[:8] += 100
    table = SignalTable.from_arrays(minhash=np.stack([base, middle, end]))
    params = {"jaccard_threshold": 0.85, "num_perm": 32}
    assert apply(table, "semantic_dedup", params).rows.tolist() == [0, 2]


def test_rows_without_features_are_kept_and_counted():
    table = SignalTable.from_arrays(sae=np.array([[0.0, 0], [1, 0], [1, 0], [0, 0]]))
    for name, params in (("semantic_dedup", {"strategy": "embedding"}), ("semdedup", {})):
        outcome = apply(table, name, params)
        assert outcome.rows.tolist() == [0, 1, 3] and outcome.missing == 2


def test_other_signature_parameters_need_the_texts():
    texts = ["a b c d e f g h", "x y z", "a b c d e f g i"]
    signatures = np.arange(3 * 64, dtype=np.uint32).reshape(3, 64)
    stored = SignalTable.from_arrays(minhash=signatures, minhash_params=MinHashParams(5, 64, 0))
    with pytest.raises(SignalError, match="ngram_size 5 and num_perm 64"):
        apply(stored, "semantic_dedup", {"ngram_size": 3, "num_perm": 64})
    with pytest.raises(SignalError, match="autoselection score"):
        apply(SignalTable.from_arrays(n=3), "semantic_dedup")
    with_texts = SignalTable.from_arrays(minhash=signatures, minhash_params=MinHashParams(5, 64, 0), texts=texts)
    params = {"ngram_size": 3, "num_perm": 256, "jaccard_threshold": 0.5}
    assert apply(with_texts, "semantic_dedup", params).rows.tolist() == [0, 1]


def test_fewer_permutations_use_the_first_ones():
    signatures = np.arange(3 * 128, dtype=np.uint32).reshape(3, 128)
    signatures[2, :32] = signatures[0, :32]
    table = SignalTable.from_arrays(minhash=signatures)
    assert apply(table, "semantic_dedup", {"num_perm": 32}).rows.tolist() == [0, 1]
    assert apply(table, "semantic_dedup", {"num_perm": 128}).rows.tolist() == [0, 1, 2]


def test_a_hash_collision_does_not_merge_signatures(monkeypatch):
    monkeypatch.setattr(similar, "_row_hashes", lambda values: np.zeros(len(values), np.uint64))
    signatures = np.array([[1, 2], [1, 3], [1, 2]], np.uint32)
    found = Signatures.of(signatures)
    np.testing.assert_array_equal(found.distinct[found.group], signatures)


def test_kmeans_is_deterministic_and_finds_separate_directions():
    rng = np.random.default_rng(0)
    centres = np.eye(100)[:5] * 10
    truth = rng.integers(0, 5, 400)
    unit = normalized(SparseRows.from_dense(centres[truth] + rng.random((400, 100)) * 0.3).to_scipy())
    labels = spherical_kmeans(unit, 8, 3)
    np.testing.assert_array_equal(labels, spherical_kmeans(unit, 8, 3))
    for label in np.unique(labels):
        assert len(np.unique(truth[labels == label])) <= 2


def test_artefacts_are_built_once_for_a_table_and_vanish_with_it():
    calls = []
    first, second = make_table(0), make_table(0)
    for table in (first, first, second):
        pool_artefact(table, "x", lambda: calls.append(1) or len(calls))
    assert len(calls) == 2
