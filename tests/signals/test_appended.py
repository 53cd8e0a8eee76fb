"""Rows appended to a scored pool: only they are scored, and the old pool keeps its signals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoselection.pool import Pool, ingest
from autoselection.signals import SignalsConfig, SignalStore, load_table, score_pool, train_sae
from autoselection.signals.families.text import NgramEntropy
from autoselection.signals.model_pass import PassReader
from autoselection.signals.stored import Shard, SignalSpec
from autoselection.tasks import TaskConfig

WORDS = ["red", "cat", "runs", "home", "and", "sings", "loud", "songs", "of", "rain"]
CONFIG = SignalsConfig(shard_rows=8, max_length=200)
TEXT = ["tokens", "lengths", "ngram_entropy", "repetition", "text_hash", "minhash"]
OLD, NEW = 20, 13


def _file(path: Path, start: int, stop: int) -> Path:
    rng = np.random.default_rng(start)
    lines = []
    for i in range(start, stop):
        words = " ".join(rng.choice(WORDS, size=3 + i % 5))
        row = {
            "id": f"r{i}",
            "source": "abc"[i % 3 if i >= OLD else i % 2],
            "prompt": f"Say {words}",
            "completion": words,
        }
        lines.append(json.dumps(row) + "\n")
    path.write_text("".join(lines))
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [_file(tmp_path / "old.jsonl", 0, OLD), _file(tmp_path / "new.jsonl", OLD, OLD + NEW)]


@pytest.fixture
def pool(files: list[Path], tmp_path: Path) -> Pool:
    return Pool.open(ingest(files[:1], tmp_path / "pool").path)


def grow(pool: Pool, files: list[Path]) -> Pool:
    ingest(files[1:], pool.path, append=True)
    return Pool.open(pool.path)


def same(one: Any, two: Any) -> None:
    """Equal columns and arrays; losses may differ in the last digits, since batches differ."""
    assert one.names == two.names
    for name in one.columns:
        np.testing.assert_allclose(one.column(name), two.column(name), rtol=2e-5, err_msg=name)
    for name in ("text_hash", "minhash"):
        first, second = getattr(one, name), getattr(two, name)
        assert (first is None) == (second is None)
        if first is not None:
            np.testing.assert_array_equal(first, second)
    if one.sae is not None:
        np.testing.assert_allclose(one.sae.to_scipy().toarray(), two.sae.to_scipy().toarray(), rtol=1e-4, atol=1e-6)


def test_only_new_rows_are_scored(
    pool: Pool, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = score_pool(pool, CONFIG, signals=TEXT)
    old = load_table(pool)
    scored: list[int] = []
    compute = NgramEntropy.compute

    def counting(self: NgramEntropy, rows: Any) -> Shard:
        scored.append(len(rows))
        return compute(self, rows)

    monkeypatch.setattr(NgramEntropy, "compute", counting)
    grown = grow(pool, files)
    assert load_table(grown).names == ()
    report = score_pool(grown, CONFIG, signals=TEXT)
    assert scored == [NEW]
    assert {signal.inherited for signal in report.signals} == {OLD}
    whole = Pool.open(ingest(files, tmp_path / "whole").path)
    again = score_pool(whole, CONFIG, signals=TEXT)
    assert {signal.inherited for signal in again.signals} == {0}
    same(load_table(grown), load_table(whole))
    assert [(s.missing, s.stats) for s in report.signals] == [(s.missing, s.stats) for s in again.signals]
    # The old pool is what it was, with its own keys, and nothing of it is computed again.
    former = Pool.open(pool.path, fingerprint=pool.fingerprint)
    assert load_table(former).fingerprint == old.fingerprint
    same(load_table(former), old)
    scored.clear()
    resumed = score_pool(former, CONFIG, signals=TEXT)
    assert (resumed.cached, resumed.keys, scored) == (True, before.keys, [])
    same(load_table(Pool.open(pool.path)), load_table(whole))


def test_signals_of_the_model_go_on_where_the_old_pool_ends(
    pool: Pool, files: list[Path], tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sparsify")
    sae = tmp_path / "sae"
    train_sae(pool, tiny_model_dir, sae, num_latents=64, k=4, max_tokens=2048, context=32, batch_size=8, seed=1)
    targets = tmp_path / "maths.jsonl"
    targets.write_text("".join(json.dumps({"id": w, "prompt": f"Say {w}", "answer": w}) + "\n" for w in WORDS[:3]))
    options: dict[str, Any] = {
        "model": tiny_model_dir,
        "sae": sae,
        "tasks": [TaskConfig(name="maths", dev=targets, target=targets)],
        "signals": ["tokens", "ifd", "mona"],
    }
    score_pool(pool, CONFIG, **options)
    grown = grow(pool, files)
    run = PassReader.run
    rows: list[int] = []

    def stopping(self: PassReader, conversations: Any, *signals: Any) -> Any:
        rows.append(len(conversations))
        if len(rows) == 2:
            raise KeyboardInterrupt
        return run(self, conversations, *signals)

    monkeypatch.setattr(PassReader, "run", stopping)
    with pytest.raises(KeyboardInterrupt):
        score_pool(grown, CONFIG, **options)
    report = score_pool(grown, CONFIG, **options)
    assert rows == [8, 5, 5, 3]  # one shard, the kill, the other shard, the three target samples
    inherited = {signal.name: signal.inherited for signal in report.signals}
    assert inherited == {"tokens": 0, "lm": OLD, "sae": OLD, "mona/maths": OLD}  # tokens: finished before the kill
    monkeypatch.setattr(PassReader, "run", run)
    whole = Pool.open(ingest(files, tmp_path / "whole").path)
    score_pool(whole, CONFIG, **options)
    same(load_table(grown), load_table(whole))


def test_a_second_append_goes_on_from_the_longest_result(pool: Pool, files: list[Path], tmp_path: Path) -> None:
    score_pool(pool, CONFIG, signals=["ngram_entropy"])
    grow(pool, files)
    ingest([_file(tmp_path / "newest.jsonl", 40, 45)], pool.path, append=True)
    (report,) = score_pool(Pool.open(pool.path), CONFIG, signals=["ngram_entropy"]).signals
    assert (report.inherited, report.rows) == (OLD, OLD + NEW + 5)  # the state between was never scored


def test_other_settings_and_damage_inherit_nothing(pool: Pool, files: list[Path]) -> None:
    score_pool(pool, CONFIG, signals=["ngram_entropy", "lengths"])
    grown = grow(pool, files)
    bigrams = CONFIG.model_copy(update={"options": {"ngram_entropy": {"n": 2}}})
    (report,) = score_pool(grown, bigrams, signals=["ngram_entropy"]).signals
    assert report.inherited == 0
    for path in (pool.path / "signals" / "lengths").rglob("n_turns.npy"):
        path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    (report,) = score_pool(grown, CONFIG, signals=["lengths"]).signals
    assert report.inherited == 0
    assert load_table(grown).column("n_turns").tolist() == [2.0] * (OLD + NEW)


@pytest.mark.parametrize(("rowwise", "inherited", "spans"), [(True, 10, [10, 14]), (False, 0, [0, 4, 8, 12])])
def test_signals_of_several_rows_opt_out(tmp_path: Path, rowwise: bool, inherited: int, spans: list[int]) -> None:
    spec = SignalSpec("neighbours", 1, rowwise=rowwise)
    started: list[int] = []

    def work(rows: range, _wanted: frozenset[str]) -> dict[str, Shard]:
        started.append(rows.start)
        return {"neighbours": Shard({"neighbours": np.arange(rows.start, rows.stop)})}

    options: dict[str, Any] = {"shard_rows": 4, "description": "Neighbours"}
    SignalStore(tmp_path, "old", 10).compute([spec], work, **options)
    started.clear()
    store = SignalStore(tmp_path, "new", 15, [("older", 5), ("old", 10)])
    (done,) = store.compute([spec], work, **options)
    assert (done.inherited, started) == (inherited, spans)
    assert store.open("neighbours", done.key).arrays["neighbours"].tolist() == list(range(15))


def test_embeddings_and_sparse_rows_are_copied_whole(tmp_path: Path) -> None:
    dense, sparse = SignalSpec("dense", 1), SignalSpec("sparse", 1, {"d": 9}, sparse=True)

    def work(rows: range, _wanted: frozenset[str]) -> dict[str, Shard]:
        numbers = np.arange(rows.start, rows.stop)
        vectors = np.repeat(numbers[:, None], 3, axis=1).astype(np.float16)
        vectors[numbers % 4 == 1] = np.nan
        counts = numbers % 3
        indices = np.concatenate([np.arange(count) for count in counts]).astype(np.int32)
        values = np.repeat(numbers, counts).astype(np.float32)
        return {
            "dense": Shard({"dense": vectors}, {"seen": len(rows)}),
            "sparse": Shard({"counts": counts, "indices": indices, "values": values}, {"seen": len(rows)}),
        }

    options: dict[str, Any] = {"shard_rows": 4, "description": "Vectors"}
    SignalStore(tmp_path / "grown", "old", 10).compute([dense, sparse], work, **options)
    stores = [
        SignalStore(tmp_path / "grown", "new", 23, [("old", 10)]),
        SignalStore(tmp_path / "whole", "new", 23),
    ]
    results = [store.compute([dense, sparse], work, **options) for store in stores]
    assert [done.inherited for done in results[0]] == [10, 10]
    for one, two in zip(*results, strict=True):
        assert (one.missing, one.stats) == (two.missing, two.stats)
        first, second = (store.open(one.spec.name, one.key) for store in stores)
        assert set(first.arrays) == set(second.arrays)
        for name in first.arrays:
            np.testing.assert_array_equal(first.arrays[name], second.arrays[name])
    assert results[0][0].missing == {"dense": 6}
