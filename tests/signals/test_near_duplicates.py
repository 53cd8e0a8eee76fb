"""Hashed shingles against the units of the text, MinHash signatures, and the pairs found against all pairs."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoselection import segmentation
from autoselection.pool import ingest
from autoselection.segmentation import units
from autoselection.signals import SignalTable
from autoselection.signals.arrays import MinHashParams
from autoselection.signals.derived import text_groups
from autoselection.signals.derived.ngram_pairs import NgramPairs, PartPairs
from autoselection.signals.families import near_duplicates as near
from autoselection.signals.families import shingles as hashed
from autoselection.signals.families.minhash import MinHash, minhash_signatures, shingles
from autoselection.signals.families.near_duplicates import (
    JACCARD_FLOOR,
    NearDuplicateOptions,
    NearDuplicatePairs,
    banding,
    near_duplicates,
)
from autoselection.signals.inputs import Inputs
from autoselection.signals.settings import PassSettings

CHARACTERS = st.one_of(
    st.sampled_from("ab_ 1\n\t.,-ÄßΣσςİıǅ²½٣\u0301\u200d\u2028\x00\x1c한字😀\ud800ª"), st.characters()
)
TEXTS = st.lists(st.text(CHARACTERS, max_size=30), max_size=8)
LONG = st.text(st.sampled_from("abÄ字 "), min_size=6, max_size=90)


def expected_recall(num_perm: int, recall: float, jaccard: float) -> float:
    """Share of the pairs at this Jaccard similarity that are found with the banding for ``recall`` at the floor."""
    width, bands = banding(num_perm, recall, JACCARD_FLOOR)
    return float(1.0 - (1.0 - jaccard**width) ** bands)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(st.text(CHARACTERS, max_size=30), LONG), max_size=8))
def test_units_are_those_of_the_text(texts: list[str]) -> None:
    found = hashed.units_of(texts, with_kinds=True)
    expected = [unit for text in texts for unit in units(text)]
    assert found.counts.tolist() == [len(units(text)) for text in texts]
    assert len(found.hashes) == len(expected)
    pairs = set(zip(expected, found.hashes.tolist(), strict=True))
    assert len(pairs) == len(set(expected)) == len(set(found.hashes.tolist()))
    assert found.kinds is not None
    assert found.kinds.tolist() == [segmentation.kinds()[ord(unit[0])] for unit in expected]


def test_every_character_has_the_same_part_in_many_texts_as_in_one() -> None:
    assigned = [*range(0x3600), *range(0xA000, 0xAC80), *range(0xD780, 0x18E00, 3), *range(0x1AFF0, 0x20100, 2)]
    rare = [*range(0x3600, 0x110000, 97), *range(0xE0000, 0xE0200)]
    texts = [f"x{chr(code)}y" for code in (*assigned, *rare)]
    counts = np.concatenate([hashed.units_of(texts[i : i + 50_000]).counts for i in range(0, len(texts), 50_000)])
    assert counts.tolist() == [len(units(text)) for text in texts]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.integers(1, 4))
def test_spans_have_the_hashes_of_n_grams(counts: list[int], size: int) -> None:
    words = np.random.default_rng(0).integers(1, 1 << 63, sum(counts), dtype=np.uint64)
    starts = np.cumsum(counts) - counts
    first = np.concatenate([start + np.arange(max(0, n - size + 1)) for start, n in zip(starts, counts, strict=True)])
    first = first.astype(np.int64)
    np.testing.assert_array_equal(
        hashed.spans(words, first, first + size), hashed.ngrams(words, np.asarray(counts), size)
    )


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.integers(1, 6))
def test_shingles_are_those_of_the_definition(texts: list[str], ngram_size: int) -> None:
    found = hashed.shingles_of(texts, ngram_size)
    expected = [shingles(text, ngram_size) for text in texts]
    assert np.diff(found.offsets).tolist() == [len(grams) for grams in expected]
    flat = [gram for grams in expected for gram in grams]
    pairs = set(zip(flat, found.hashes.tolist(), strict=True))
    assert len(pairs) == len(set(flat)) == len(set(found.hashes.tolist()))


def test_batches_cover_all_texts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "_BATCH_CHARACTERS", 20)
    monkeypatch.setattr(segmentation, "BATCH_BITS", 1)
    texts = ["", "x" * 50, "y" * 9, "z" * 9, *[""] * 7, "w" * 19]
    spans = list(segmentation.for_batches(texts, lambda rows, batch: (rows, list(batch))))
    assert [text for _, batch in spans for text in batch] == texts
    assert all(one.stop == two.start for (one, _), (two, _) in pairwise(spans)) and len(spans) > 4
    assert list(segmentation.for_batches([], lambda rows, batch: rows)) == []


@pytest.mark.parametrize("size", [2, 12, 150, 2000])
@pytest.mark.parametrize("jaccard", [0.3, 0.5, 0.8])
def test_signatures_estimate_without_bias_at_any_length(size: int, jaccard: float) -> None:
    rows, places = 200, 128
    shared = max(1, round(2 * size * jaccard / (1 + jaccard)))
    truth = shared / (2 * size - shared)
    texts: list[str] = []
    for row in range(rows):
        tokens = [f"w{row}_{number}" for number in range(2 * size - shared)]
        texts += [" ".join(tokens[:size]), " ".join(tokens[size - shared :])]
    signatures = minhash_signatures(texts, MinHashParams(1, places, 3))
    estimates = np.mean(signatures[0::2] == signatures[1::2], axis=1)
    deviation = np.sqrt(truth * (1 - truth) / places)
    assert abs(estimates.mean() - truth) < 5 * max(deviation, 0.02) / np.sqrt(rows)
    assert estimates.std() <= (1.35 if size > 2 else 1.8) * deviation  # two of three shingles may share a place


def make_texts(rows: int, seed: int, vocabulary: int = 3000) -> list[str]:
    """Random texts of 5 to 60 words; a third are copies of others with a few words changed."""
    rng = np.random.default_rng(seed)
    texts: list[list[str]] = [[f"w{w}" for w in rng.integers(0, vocabulary, rng.integers(5, 60))] for _ in range(rows)]
    for row in rng.permutation(rows)[: rows // 3].tolist():
        copy = list(texts[int(rng.integers(rows))])
        for place in rng.integers(0, len(copy), rng.integers(0, 4)).tolist():
            copy[place] = f"w{rng.integers(vocabulary)}"
        texts[row] = copy
    return [" ".join(text) for text in texts]


def all_pairs(texts: list[str], ngram_size: int) -> dict[tuple[int, int], float]:
    """Every pair with a Jaccard similarity of at least 0.5, by an index of shingles."""
    sets = [set(shingles(text, ngram_size)) for text in texts]
    index: dict[str, list[int]] = {}
    result: dict[tuple[int, int], float] = {}
    for row, grams in enumerate(sets):
        common: dict[int, int] = {}
        for gram in grams:
            for other in index.setdefault(gram, []):
                common[other] = common.get(other, 0) + 1
            index[gram].append(row)
        for other, count in common.items():
            jaccard = count / (len(grams) + len(sets[other]) - count)
            if jaccard >= 0.5:
                result[other, row] = jaccard
    return result


def fetch(texts: list[str]):
    return lambda rows: [texts[int(row)] for row in rows]


def found_pairs(texts: list[str], params: MinHashParams, recall: float):
    found = near_duplicates(minhash_signatures(texts, params), fetch(texts), params.ngram_size, recall=recall)
    edges = found.edges
    return found, {
        (int(left), int(right)): float(jaccard)
        for left, right, jaccard in zip(edges.left, edges.right, edges.similarity, strict=True)
    }


@pytest.mark.parametrize("recall", [0.7, 0.95, 0.9999])
def test_pairs_are_exact_and_as_many_as_promised(recall: float) -> None:
    texts = make_texts(4000, 0)
    found, pairs = found_pairs(texts, MinHashParams(3, 128, 0), recall)
    truth = all_pairs(texts, 3)
    nodes = {pair: jaccard for pair, jaccard in truth.items() if all(found.node[row] == row for row in pair)}
    assert all(nodes[pair] == pytest.approx(jaccard, abs=1e-6) for pair, jaccard in pairs.items())
    assert all(truth.get((int(node), row)) == 1.0 for row, node in enumerate(found.node) if node != row)
    expected = np.mean([expected_recall(128, recall, jaccard) for jaccard in nodes.values()])
    assert len(nodes) > 500
    assert len(pairs) / len(nodes) >= expected - 3 * np.sqrt(expected * (1 - expected) / len(nodes)) - 1e-9
    assert len(pairs) / len(nodes) >= recall
    assert found.exact and found.recall == recall and found.stats["pairs_not_compared"] == 0


def test_pairs_of_very_different_lengths_are_found_as_often_as_others() -> None:
    """Lengths from 4 to 2,000 words with a heavy tail; copies are cut, or go on: the similarity lies in the lengths alone."""
    rng = np.random.default_rng(5)
    texts: list[str] = []
    for number in range(1200):
        length = int(min(2000, 4 + 8 * rng.pareto(1.0)))
        words = [f"t{number}_{i}" for i in range(length + 2)]
        texts += [" ".join(words), " ".join(words[: max(3, int(len(words) * rng.uniform(0.45, 1)))])]
    order = rng.permutation(len(texts))
    texts = [texts[i] for i in order.tolist()]
    found, pairs = found_pairs(texts, MinHashParams(3, 128, 0), 0.95)
    truth = all_pairs(texts, 3)
    nodes = {pair: jaccard for pair, jaccard in truth.items() if all(found.node[row] == row for row in pair)}
    assert all(nodes[pair] == pytest.approx(jaccard, abs=1e-6) for pair, jaccard in pairs.items())
    for low, high in ((0.5, 0.6), (0.6, 0.8), (0.8, 1.01)):
        band = [pair for pair, jaccard in nodes.items() if low <= jaccard < high]
        expected = np.mean([expected_recall(128, 0.95, nodes[pair]) for pair in band])
        assert len(band) > 80
        share = np.mean([pair in pairs for pair in band])
        assert share >= expected - 3 * np.sqrt(expected * (1 - expected) / len(band)) - 1e-9


def test_a_small_pool_is_compared_in_full() -> None:
    texts = make_texts(600, 1)
    found, pairs = found_pairs(texts, MinHashParams(3, 64, 0), 0.5)
    truth = all_pairs(texts, 3)
    assert set(pairs) == {pair for pair in truth if all(found.node[row] == row for row in pair)}
    assert found.recall == 1.0


def test_the_banding_reaches_the_recall_with_the_longest_bands() -> None:
    assert banding(128, 0.95) == (3, 23)
    assert banding(256, 0.99)[0] > banding(64, 0.99)[0]
    for places in (16, 32, 128, 1024):
        for recall in (0.5, 0.95, 0.9999):
            width, bands = banding(places, recall)
            assert width * bands <= places
            assert expected_recall(places, recall, 0.5) >= recall
            assert expected_recall(places, recall, 0.8) > expected_recall(places, recall, 0.5)


def test_copies_are_one_node_whatever_their_number() -> None:
    base = make_texts(1500, 2)
    texts = [*base, *[base[7].upper() + "\n"] * 3000, "ha ha ha ha ha ha", "ha ha ha ha ha ha ha"]
    found, _ = found_pairs(texts, MinHashParams(5, 128, 0), 0.95)
    assert (found.node[1500:4500] == found.node[7]).all() and found.node[7] <= 7
    assert found.node[-1] == len(texts) - 2, "the same set of shingles, though not the same text"
    assert found.stats["rows_equal_to_an_earlier_one"] >= 3001


def test_near_duplicates_are_found_whatever_rows_each_stands_among(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short rows among long ones, and nearly the same and equal ones behind them, in batches of short rows."""
    monkeypatch.setattr(near, "ALL_PAIRS", 0)
    rng = np.random.default_rng(3)
    draw = (" ".join(f"w{word}" for word in rng.integers(10**6, size=size)) for size in (*[40] * 12, *[1300] * 150))
    first, longer = (list(islice(draw, count)) for count in (12, 150))
    fillers = [" ".join(f"f{word}" for word in rng.integers(10**6, size=40)) for _ in range(400)]
    texts = [*first, *longer, *fillers, *(f"{text} end" for text in first[:6]), *first[6:]]
    found, pairs = found_pairs(texts, MinHashParams(), 0.95)
    behind = len(texts) - 12
    assert {(row, behind + row) for row in range(6)} == set(pairs)
    assert found.node[behind + 6 :].tolist() == list(range(6, 12))


@pytest.mark.parametrize("raised", ["minhash", "shingles"])
def test_pairs_found_by_other_signatures_do_not_serve(
    raised: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keys() -> set[str]:
        made = MinHash().spec(Inputs(pool, PassSettings()), {})
        found = NearDuplicatePairs(NearDuplicateOptions()).spec(Inputs(pool, PassSettings()), {"minhash": made})
        table = SignalTable.from_arrays({}, n=2, texts=["a b", "c d"])
        derived = [PartPairs("prompt", 5).key(table), NgramPairs(table, 3, 128).key(table)]
        return {made.key(pool.fingerprint), found.key(pool.fingerprint), *derived}

    pool = ingest([{"prompt": "a", "response": "b"}], tmp_path / "pool").pool
    before = keys()
    if raised == "minhash":
        monkeypatch.setattr(MinHash, "version", MinHash.version + 1)
    else:
        monkeypatch.setattr(hashed, "VERSION", hashed.VERSION + 1)
    assert not before & keys() and len(before) == 4


def test_what_is_left_out_of_large_groups_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "ALL_PAIRS", 0)
    template = " ".join(f"t{i}" for i in range(60))
    texts = [f"{template} {row} {row + 1}" for row in range(300)]
    whole, pairs = found_pairs(texts, MinHashParams(5, 128, 0), 0.95)
    assert whole.stats["pairs_not_compared"] == 0 and len(pairs) == 300 * 299 // 2
    monkeypatch.setattr(near, "CANDIDATE_LIMIT", 10_000)
    capped, fewer = found_pairs(texts, MinHashParams(5, 128, 0), 0.95)
    assert capped.stats["pairs_not_compared"] > 0 and 5_000 < capped.stats["candidates"] <= 20_000
    assert set(fewer) < set(pairs)
    assert all((row, row + 1) in fewer for row in range(299)), "each is compared with the next ones"


def test_no_rows_and_one_row() -> None:
    for texts in ([], ["only one"]):
        found, pairs = found_pairs(texts, MinHashParams(), 0.95)
        assert len(found) == len(texts) and not pairs


@pytest.mark.parametrize("kind", ["part", "n-grams"])
def test_signatures_that_a_step_makes_hold_few_texts_at_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_groups, "_TEXTS", 50)
    texts = make_texts(1200, 4)
    asked: list[int] = []

    def some(rows: Any) -> list[str]:
        asked.append(len(rows))
        return fetch(texts)(rows)

    table = replace(SignalTable.from_arrays({}, n=len(texts), texts=some), parts=lambda part, rows: some(rows))
    if kind == "part":
        found, absent = PartPairs("prompt", 3).pairs(table)
        assert not absent.any()
    else:
        found = NgramPairs(table, 3, 128).pairs(table)
    assert asked[:24] == [50] * 24, "all texts, to make signatures"
    expected, pairs = found_pairs(texts, replace(MinHashParams(), ngram_size=3), near.DEFAULT_RECALL)
    assert len(pairs) > 100 and found.edges.left.tolist() == expected.edges.left.tolist()
    assert found.node.tolist() == expected.node.tolist() and found.recall == expected.recall and found.exact
