"""Fast deduplication against the greedy rule over all pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_tables import apply, tables_and_rows

from autoselection.errors import SignalError
from autoselection.operators import Context, dedup, default_registry, validate_params
from autoselection.operators import greedy as greedy_rule
from autoselection.operators.base import Decision
from autoselection.operators.dedup import cluster_count
from autoselection.operators.greedy import cosine_keep, keep_by_edges, keep_first
from autoselection.pool import ingest
from autoselection.signals import Shard, load_table
from autoselection.signals.arrays import MinHashParams, SparseRows
from autoselection.signals.derived import cluster_cosines, leading_directions
from autoselection.signals.derived import cosine as similar
from autoselection.signals.derived.cluster_cosines import ClusterCosines
from autoselection.signals.derived.cosine import cosine_edges, equal_rows, feature_clusters, normalized
from autoselection.signals.derived.cosine_pairs import FeatureClusters
from autoselection.signals.derived.kmeans import spherical_kmeans
from autoselection.signals.families import near_duplicates as near
from autoselection.signals.families.minhash import shingles
from autoselection.signals.store import SignalStore
from autoselection.signals.stored import SignalSpec
from autoselection.signals.table import SignalTable


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


@settings(max_examples=60, deadline=None)
@given(case=tables_and_rows(), threshold=st.integers(50, 99).map(lambda percent: percent / 100))
def test_without_texts_minhash_equals_the_greedy_rule_on_estimated_jaccards(case, threshold):
    table, rows = case
    params = {"strategy": "minhash", "jaccard_threshold": threshold, "num_perm": 32}
    outcome = apply(table, "semantic_dedup", params, rows)
    needed = -(-round(threshold * 100) * 32 // 100)
    expected = greedy(rows, lambda a, b: (table.minhash[a] == table.minhash[b]).sum() >= needed)
    assert outcome.rows.tolist() == expected
    assert outcome.notes == {"compared": "by signatures: the pool's texts were not given"}


@st.composite
def texts_and_rows(draw):
    """Short texts that share runs of words, some of them equal or with the same n-grams, and distinct rows."""
    word = st.sampled_from(["a", "b", "c", "Ä", "x1"])
    runs = draw(st.lists(st.lists(word, min_size=1, max_size=6), min_size=1, max_size=6))
    texts = draw(st.lists(st.lists(st.sampled_from(runs), max_size=5), min_size=1, max_size=25))
    texts = [" ".join(word for run in parts for word in run) for parts in texts]
    return texts, draw(st.permutations(range(len(texts))))[: draw(st.integers(1, len(texts)))]


@settings(max_examples=150, deadline=None)
@given(case=texts_and_rows(), threshold=st.integers(50, 99).map(lambda percent: percent / 100), ngram=st.integers(3, 5))
def test_minhash_equals_the_greedy_rule_on_exact_jaccards(case, threshold, ngram):
    texts, rows = case
    sets = [set(shingles(text, ngram)) for text in texts]

    def alike(a, b):
        return len(sets[a] & sets[b]) / len(sets[a] | sets[b]) >= threshold

    params = {"jaccard_threshold": threshold, "ngram_size": ngram}
    outcome = apply(SignalTable.from_arrays(texts=texts), "semantic_dedup", params, rows)
    assert outcome.rows.tolist() == greedy(np.array(rows), alike)
    assert outcome.notes == {}


@pytest.mark.parametrize("limit", [10**9, 0], ids=["edges", "direct"])
@settings(max_examples=60, deadline=None)
@given(case=tables_and_rows(), threshold=st.integers(80, 100).map(lambda percent: percent / 100), dense=st.booleans())
def test_cosine_equals_the_greedy_rule(limit, case, threshold, dense):
    table, rows = case
    cosine = cosine_of(table)
    expected = greedy(rows, lambda a, b: cosine[a, b] >= threshold - 1e-6)
    params = {"strategy": "embedding", "cosine_threshold": threshold}
    if dense:
        table = SignalTable.from_arrays(embeddings=table.sae.to_scipy().toarray())
        params["strategy"] = "sentence"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similar, "EDGE_LIMIT", limit)
        outcome = apply(table, "semantic_dedup", params, rows)
    assert outcome.rows.tolist() == expected
    empty = np.diag(cosine)[rows] < 0.5
    assert outcome.missing == empty.sum()
    if limit:
        assert outcome.notes == {}


@pytest.fixture
def stored_pairs(tmp_path):
    """The table of a pool whose stored embeddings, float16, are 41 pairs of rows, and the cosines of these, from 0.899 to
    0.901; rows of different pairs are orthogonal."""
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 41)
    between = np.arccos(np.linspace(0.899, 0.901, 41))
    pairs = np.arange(41)
    vectors = np.zeros((41, 2, 41, 2), np.float16)
    for place, angle in enumerate((angles, angles + between)):
        vectors[pairs, place, pairs] = np.column_stack([np.cos(angle), np.sin(angle)])
    vectors = vectors.reshape(82, 82)
    pool = ingest([{"prompt": f"p{row}", "response": "r"} for row in range(82)], tmp_path / "pool").pool
    store = SignalStore.of(pool)
    (done,) = store.compute(
        [SignalSpec("embeddings", 1)],
        lambda rows, _: {"embeddings": Shard({"embeddings": vectors[rows.start : rows.stop]})},
        shard_rows=100,
        description="Embeddings",
    )
    store.set_current({"embeddings": done.key})
    exact = vectors.astype(np.float64)
    return load_table(pool), (exact[::2] * exact[1::2]).sum(axis=1)


@pytest.mark.parametrize("limit", [10**9, 0], ids=["edges", "direct"])
def test_stored_embeddings_are_compared_in_single_precision(limit, stored_pairs, monkeypatch):
    monkeypatch.setattr(similar, "EDGE_LIMIT", limit)
    table, cosine = stored_pairs
    assert table.embeddings.dtype == np.float16
    operator, context = default_registry().get("semantic_dedup"), Context(table, 0, lambda _: None)
    rows, second = np.arange(table.n), np.arange(1, table.n, 2)
    for threshold in (0.8995, 0.9, 0.9005):
        params = validate_params(operator, {"strategy": "sentence", "cosine_threshold": threshold})
        kept = operator(rows, params, context).rows
        assert np.setdiff1d(rows, kept).tolist() == second[cosine >= threshold - 1e-6].tolist()
        told = operator.judge(Decision.of(rows, kept, params, context), second)
        assert [one.other for one in told] == (second - 1).tolist()
        np.testing.assert_allclose([one.value for one in told], cosine, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(case=tables_and_rows(), limit=st.integers(0, 60))
def test_with_too_many_pairs_the_lowest_similarity_listed_rises(case, limit):
    table, _ = case
    unit = normalized(table.sae.to_scipy())
    edges, floor = cosine_edges(unit, 0.8, limit)
    everything, lowest = cosine_edges(unit, 0.8, 10**9)
    assert lowest == 0.8 and floor >= 0.8 and len(edges) <= limit
    strong = everything.similarity >= floor - 1e-6
    assert sorted(zip(edges.left, edges.right, strict=True)) == sorted(
        zip(everything.left[strong], everything.right[strong], strict=True)
    )
    assert np.all(np.diff(edges.similarity) <= 0)


@st.composite
def graphs(draw):
    """Pairs (earlier, later) of n items: random ones, chains of any stride, stars, and repeated pairs."""
    n = draw(st.integers(1, 60))
    item = st.integers(0, n - 1)
    pairs = draw(st.lists(st.tuples(item, item), max_size=150))
    for stride in draw(st.lists(st.integers(1, 5), max_size=3)):
        pairs += [(i, i + stride) for i in range(n - stride)]
    pairs = [(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]]
    return n, draw(st.permutations(pairs))


@settings(max_examples=300, deadline=None)
@given(graphs())
def test_keep_first_is_the_greedy_rule(graph):
    n, pairs = graph
    earlier, later = np.array(pairs, np.int64).reshape(-1, 2).T
    linked = set(pairs)
    assert np.flatnonzero(keep_first(n, earlier, later)).tolist() == greedy(np.arange(n), lambda a, b: (a, b) in linked)


@pytest.mark.parametrize("block", [7, 1 << 20])
def test_a_long_chain_keeps_every_other_item(block, monkeypatch):
    monkeypatch.setattr(greedy_rule, "_EDGE_BLOCK", block)
    kept = keep_first(20_001, np.arange(20_000)[::-1], np.arange(1, 20_001)[::-1])
    assert np.flatnonzero(kept).tolist() == list(range(0, 20_001, 2))


@pytest.mark.parametrize("limit", [10**9, 0], ids=["edges", "direct"])
@settings(max_examples=40, deadline=None)
@given(
    case=tables_and_rows(),
    threshold=st.integers(70, 99).map(lambda percent: percent / 100),
    clusters=st.integers(1, 9),
    seed=st.integers(0, 5),
)
def test_semdedup_is_the_greedy_rule_inside_clusters_of_the_pool(limit, case, threshold, clusters, seed):
    table, rows = case
    used = cluster_count(clusters, table.n)
    labels = feature_clusters(normalized(table.sae.to_scipy()), used, seed)
    cosine = cosine_of(table)
    expected = greedy(rows, lambda a, b: labels[a] == labels[b] and cosine[a, b] >= threshold - 1e-6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similar, "EDGE_LIMIT", limit)
        outcome = apply(table, "semdedup", {"num_clusters": clusters, "cosine_threshold": threshold}, rows, seed=seed)
    assert outcome.rows.tolist() == expected
    assert outcome.notes["clusters"] == used
    assert outcome.notes.get("num_clusters moved from", used) == clusters


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 120),
    noise=st.sampled_from([0.0, 1e-4, 0.05, 0.2]),
    threshold=st.integers(700, 990).map(lambda thousandths: thousandths / 1000),
    clusters=st.integers(1, 12),
    cells=st.sampled_from([1, 50, 1000, 1 << 22]),
    strongest=st.sampled_from([0, 1, 8]),
    seed=st.integers(0, 1000),
)
def test_where_rows_share_their_features_semdedup_is_the_same_rule(
    rows, noise, threshold, clusters, cells, strongest, seed
):
    """Rows alike but for noise, some equal, some empty, in any order: from squares of cosines, cut in parts of any size."""
    rng = np.random.default_rng(seed)
    features = np.where(np.arange(40) < 30, rng.gamma(1.0, 1.0, 40), 0.0) * rng.lognormal(0, noise, (rows, 40))
    features[:, 30:] = 30 * noise * (rng.random((rows, 10)) < 0.06)
    features[rng.random(rows) < 0.1] = features[0]
    features[rng.random(rows) < 0.05] = 0
    table = SignalTable.from_arrays(sae=features)
    order = rng.permutation(rows)[: rng.integers(1, rows + 1)]
    used = cluster_count(clusters, rows)
    labels = feature_clusters(normalized(table.sae.to_scipy()), used, seed)
    cosine = cosine_of(table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClusterCosines, "suits", lambda *_: True)
        patch.setattr(cluster_cosines, "_CELLS", cells)
        patch.setattr(cluster_cosines, "STRONGEST", strongest)
        outcome = apply(table, "semdedup", {"num_clusters": clusters, "cosine_threshold": threshold}, order, seed=seed)
    expected = greedy(order, lambda a, b: labels[a] == labels[b] and cosine[a, b] >= threshold - 1e-6)
    assert outcome.rows.tolist() == expected
    assert outcome.missing == np.count_nonzero(np.diag(cosine)[order] < 0.5)


def test_cosines_of_clusters_are_held_where_the_pool_has_too_many_similar_pairs_and_they_fit(monkeypatch):
    """44,850 pairs in the pool, nearly all similar; about 5,000 of them in clusters."""
    few = ClusterCosines(FeatureClusters(2, 0))
    many = ClusterCosines(FeatureClusters(10, 0))
    for limit, expected in ((10**6, (False, False)), (10_000, (False, True)), (1000, (False, False))):
        monkeypatch.setattr(similar, "EDGE_LIMIT", limit)
        table = SignalTable.from_arrays(sae=shared_pool(300, 0))
        assert (few.suits(table), many.suits(table)) == expected


def test_semdedup_depends_on_its_seed_and_on_nothing_before():
    """One table, many seeds: other clusters, other rows; the same again when asked again, and from a fresh table."""
    features = np.abs(np.random.default_rng(0).normal(size=(300, 8)))
    table = SignalTable.from_arrays(sae=features)
    cosine = cosine_of(table)
    unit = normalized(SparseRows.from_dense(features).to_scipy())

    def kept(signals, seed):
        params = {"num_clusters": 20, "cosine_threshold": 0.9}
        return tuple(apply(signals, "semdedup", params, seed=seed).rows.tolist())

    def expected(labels):
        return tuple(greedy(np.arange(300), lambda a, b: labels[a] == labels[b] and cosine[a, b] >= 0.9 - 1e-6))

    first = {seed: kept(table, seed) for seed in range(8)}
    assert len(set(first.values())) >= 7
    for seed, rows in first.items():
        assert rows == expected(feature_clusters(unit, 20, seed))
        assert kept(table, seed) == kept(SignalTable.from_arrays(sae=features), seed) == rows


@pytest.mark.parametrize(
    ("asked", "rows", "used"),
    [(1000, 100_000, 1000), (1000, 2_660, 200), (700, 100_000, 500), (7_000, 10**6, 5000), (9, 12, 1), (3, 10**6, 2)],
)
def test_cluster_counts_lie_on_a_small_grid(asked, rows, used):
    assert cluster_count(asked, rows) == used


def sparse_pool(n: int, d: int, active: int, seed: int) -> SparseRows:
    """Zipf-like features with near copies."""
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


def force(monkeypatch, way: str) -> None:
    """Find pairs of small pools by one way, in blocks of a few rows."""
    monkeypatch.setattr(similar, "BLOCK", 64)
    monkeypatch.setattr(similar, "_PREFIX_WORTH", 2.0 if way == "prefix filter" else 0.0)
    monkeypatch.setattr(similar, "_DIRECTIONS_WORTH", 2.0 if way == "directions" else 0.0)
    for name, value in (("_ROWS", 64), ("_CANDIDATES", 500), ("_TOGETHER", 60), ("_DIRECTIONS", 12), ("_SHARED", 30)):
        monkeypatch.setattr(leading_directions, name, value)


@pytest.mark.parametrize("way", ["prefix filter", "directions", "all pairs"])
@pytest.mark.parametrize("threshold", [0.7, 0.8, 0.95])
def test_no_similar_pair_is_missed(threshold, way, monkeypatch):
    force(monkeypatch, way)
    unit = normalized(sparse_pool(500, 3000, 20, 0).to_scipy())
    cosine = np.triu((unit @ unit.T).toarray(), 1)
    before = unit.copy()
    edges, floor = cosine_edges(unit, threshold)
    assert floor == threshold
    assert (before != unit).nnz == 0, "the features are not touched"
    found = sorted(zip(edges.left.tolist(), edges.right.tolist(), strict=True))
    assert found == [tuple(pair) for pair in np.argwhere(cosine >= threshold - 1e-6).tolist()]
    assert len(edges.left) > 20
    by_edges = keep_by_edges(np.arange(500), np.arange(500), edges, threshold - 1e-6)
    assert cosine_keep(unit, threshold).tolist() == by_edges.tolist()


def uneven_pool(n: int, d: int, seed: int) -> Any:
    """Unit rows of 1 to 80 features, most of their length in a few; copies to which frequent or rare features are added."""
    rng = np.random.default_rng(seed)
    chance = np.arange(1, d + 1) ** -1.2
    chance /= chance.sum()
    dense = np.zeros((n, d))
    for row in range(n):
        active = rng.choice(d, int(np.exp(rng.uniform(0, np.log(80)))), replace=False, p=chance)
        dense[row, active] = rng.pareto(1.1, len(active)) + 0.05
    for row in range(1, n, 3):
        old = dense[int(rng.integers(n))]
        more = rng.choice(d, 40, replace=False, p=chance if rng.random() < 0.7 else None)
        dense[row] = old
        dense[row, more] += np.linalg.norm(old) * rng.uniform(0, 0.12) * rng.random(40)
    return normalized(SparseRows.from_dense(dense.astype(np.float32)).to_scipy())


@pytest.mark.parametrize("way", ["prefix filter", "directions"])
@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rows_of_unequal_length_and_heavy_tails_lose_no_pair(threshold, seed, way, monkeypatch):
    """The bound of the prefix filter needs the larger rest of the two rows: with one of them, pairs are lost."""
    force(monkeypatch, way)
    unit = uneven_pool(450, 900, seed)
    cosine = (unit.astype(np.float64) @ unit.T.astype(np.float64)).toarray()
    certain = np.argwhere(np.triu(cosine, 1) >= threshold + 1e-5)
    possible = set(map(tuple, np.argwhere(np.triu(cosine, 1) >= threshold - 1e-5).tolist()))
    edges, _ = cosine_edges(unit, threshold)
    found = set(zip(edges.left.tolist(), edges.right.tolist(), strict=True))
    assert set(map(tuple, certain.tolist())) <= found <= possible
    assert len(certain) > 200
    for left, right, similarity in zip(edges.left[:200], edges.right[:200], edges.similarity[:200], strict=True):
        assert similarity == pytest.approx(cosine[left, right], abs=1e-5)


def shared_pool(n: int, seed: int) -> SparseRows:
    """Features as a language model's: most are those of all rows, in nearly the same strengths."""
    rng = np.random.default_rng(seed)
    dense = np.zeros((n, 600), np.float32)
    dense[:, :100] = rng.gamma(2, 1, 100) * rng.lognormal(0, 0.4, (n, 100))
    dense[:, 100:] = rng.gamma(1, 0.3, (n, 500)) * (rng.random((n, 500)) < 0.02)
    return SparseRows.from_dense(dense)


def test_each_pool_is_gone_through_in_the_cheapest_way(monkeypatch):
    """The prefix filter leaves every pair of the first pools to be multiplied on its own: hours at 16,000 rows."""
    monkeypatch.setattr(similar, "BLOCK", 64)
    ways = []
    for owner, way in (
        (similar, "_plain_blocks"),
        (similar, "_prefix_blocks"),
        (leading_directions.LeadingDirections, "pairs"),
    ):
        found = getattr(owner, way)
        monkeypatch.setattr(owner, way, lambda *args, way=way, found=found: ways.append(way) or found(*args))
    for pool, floor in ((shared_pool(500, 0), 0.8), (shared_pool(500, 0), 0.95), (sparse_pool(500, 3000, 20, 0), 0.8)):
        unit = normalized(pool.to_scipy())
        cosine = np.triu((unit.astype(np.float64) @ unit.T.astype(np.float64)).toarray(), 1)
        edges, _ = cosine_edges(unit, floor)
        assert len(edges.left) == np.count_nonzero(cosine >= floor - 1e-6)
    assert ways == ["_plain_blocks", "pairs", "_prefix_blocks"]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(65, 200),
    spread=st.sampled_from([0.0, 1e-4, 0.02, 0.2]),
    threshold=st.sampled_from([0.8, 0.95, 0.99, 0.999, 1.0]),
    seed=st.integers(0, 1000),
)
def test_directions_lose_no_pair_of_rows_that_share_their_features(rows, spread, threshold, seed):
    """Rows alike but for noise and rare features, copies and empty rows among them."""
    rng = np.random.default_rng(seed)
    features = np.zeros((rows, 300))
    features[:, :40] = rng.gamma(1.0, 1.0, 40) * rng.lognormal(0, spread, (rows, 40))
    features[:, 40:] = rng.choice([0.1, 2.0]) * rng.gamma(1.0, 1.0, (rows, 260)) * (rng.random((rows, 260)) < 0.03)
    copies = np.flatnonzero(rng.random(rows) < 0.2)
    features[copies] = features[copies // 2] * (1 + rng.choice([0.0, 0.05]) * rng.random((len(copies), 300)))
    features[rng.random(rows) < 0.05] = 0
    unit = normalized(SparseRows.from_dense(features).to_scipy())
    exact = unit.astype(np.float64)
    cosine = np.triu((exact @ exact.T).toarray(), 1).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        force(patch, "directions")
        edges, floor = cosine_edges(unit, threshold)
    assert floor == threshold
    expected = np.argwhere(cosine >= np.float32(threshold - 1e-6))
    np.testing.assert_array_equal(sorted(zip(edges.left, edges.right, strict=True)), expected.reshape(-1, 2).tolist())
    np.testing.assert_array_equal(edges.similarity, cosine[edges.left, edges.right])


@pytest.mark.parametrize("sentence", [False, True])
def test_the_searched_similarities_start_where_the_pairs_can_be_listed(sentence, monkeypatch):
    operator = default_registry().get("semantic_dedup")
    features = shared_pool(300, 0)
    unit = normalized(features.to_scipy())

    def low(table):
        param = next(param for param in operator.space(table) if param.name == "cosine_threshold")
        assert param.low <= param.default <= param.high
        return param.low

    def table():
        return SignalTable.from_arrays(embeddings=unit.toarray()) if sentence else SignalTable.from_arrays(sae=features)

    assert low(table()) == 0.8
    for limit in (20_000, 5_000, 0):
        monkeypatch.setattr(similar, "EDGE_LIMIT", limit)
        _, floor = cosine_edges(unit, 0.8)
        assert floor > 0.8
        assert low(table()) == min(floor, 0.999375), "300 rows are their own sample"


def test_all_pairs_are_not_searched_in_large_pools(monkeypatch):
    operator = default_registry().get("semantic_dedup")

    def searched(**signals):
        return next(p.choices for p in operator.space(SignalTable.from_arrays(**signals)) if p.name == "strategy")

    sae, hashes = shared_pool(30, 0), np.arange(30, dtype=np.uint64)
    assert searched(sae=sae, text_hash=hashes) == ("exact", "embedding")
    monkeypatch.setattr(dedup, "ALL_PAIRS_ROWS", 29)
    assert searched(sae=sae, text_hash=hashes) == ("exact",)
    assert searched(sae=sae) == ("embedding",), "unless there is nothing else"


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
    monkeypatch.setattr(near, "_signature_keys", lambda signatures: np.zeros(len(signatures), np.uint64))
    signatures = np.array([[1, 2], [1, 3], [1, 2], [4, 3]], np.uint32)
    found = near.near_duplicates(signatures, None, 5)
    assert found.node.tolist() == [0, 1, 0, 3]


def test_rows_with_equal_features_are_one_node():
    features = np.array([[1.0, 2], [0, 0], [2, 4], [1, 2], [0, 0], [1, 2.5]])
    unit = normalized(SparseRows.from_dense(features).to_scipy())
    assert equal_rows(unit).tolist() == [0, 1, 0, 0, 4, 5]
    dense = SignalTable.from_arrays(embeddings=features).require_embeddings()
    assert equal_rows(dense).tolist() == [0, 1, 0, 0, 4, 5]


def test_kmeans_is_deterministic_and_finds_separate_directions():
    rng = np.random.default_rng(0)
    centres = np.eye(100)[:5] * 10
    truth = rng.integers(0, 5, 400)
    unit = normalized(SparseRows.from_dense(centres[truth] + rng.random((400, 100)) * 0.3).to_scipy())
    labels = feature_clusters(unit, 8, 3)
    np.testing.assert_array_equal(labels, feature_clusters(unit, 8, 3))
    for label in np.unique(labels):
        assert len(np.unique(truth[labels == label])) <= 2


def plain_kmeans(points, count, rng, rounds):
    """k-means as it is defined, every centre compared with every point in every round."""
    limit = max(20_000, 40 * count)
    fit = points if len(points) <= limit else points[np.sort(rng.choice(len(points), limit, replace=False))]
    centres = fit[np.sort(rng.choice(len(fit), min(count, len(fit)), replace=False))].astype(np.float64)
    previous = None
    for _ in range(rounds):
        nearest = np.argmax(fit @ centres.T, axis=1)
        if previous is not None and (nearest == previous).all():
            break
        for cluster in np.unique(nearest):
            total = fit[nearest == cluster].sum(axis=0, dtype=np.float64)
            centres[cluster] = total / np.linalg.norm(total)
        previous = nearest
    return np.argmax(points @ centres.T, axis=1)


@pytest.mark.parametrize(("rows", "count", "rounds"), [(3000, 400, 12), (3000, 40, 30), (21_000, 100, 12), (50, 50, 3)])
def test_kmeans_that_skips_centres_which_stay_is_kmeans(rows, count, rounds):
    """Most centres stay after a few rounds of many small clusters; 21,000 rows are more than it is fitted on."""
    rng = np.random.default_rng(rows)
    points = rng.normal(size=(rows, 6)) + 2 * rng.integers(-1, 2, (rows, 6))
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    found = spherical_kmeans(points, count, np.random.default_rng(1), rounds=rounds)
    np.testing.assert_array_equal(found, plain_kmeans(points, count, np.random.default_rng(1), rounds))
