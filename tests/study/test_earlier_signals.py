"""A study goes on with the signals it began with, after this package defines them anew."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoselection.pool import Pool, ingest
from autoselection.signals import SignalsConfig, load_table, score_pool
from autoselection.signals.families import BUILTIN_SIGNALS, text
from autoselection.signals.families.minhash import MinHash
from autoselection.signals.families.text import NgramEntropy
from autoselection.signals.store import SignalStore
from autoselection.study.prepare import _as_begun
from autoselection.tasks import TaskConfig


@pytest.fixture
def pool(raw_pool: Path, tmp_path: Path) -> Pool:
    ingest([raw_pool], tmp_path / "pool")
    return Pool.open(tmp_path / "pool")


def scored(pool: Pool) -> Any:
    return score_pool(pool, SignalsConfig(), signals=["tokens", "ngram_entropy"])


def test_signals_of_an_earlier_version_stay_those_of_the_study(pool, monkeypatch, capsys):
    before = scored(pool)
    begun = before.to_dict()["signals"]
    monkeypatch.setattr(NgramEntropy, "version", NgramEntropy.version + 1)
    monkeypatch.setattr(text, "ngram_entropy", lambda rows, n: np.full(len(rows), 7.0, np.float32))
    after = scored(pool)
    assert after.keys["ngram_entropy"] != before.keys["ngram_entropy"]
    kept = _as_begun(after, pool, begun)
    assert kept.keys == before.keys
    assert (load_table(pool, keys=kept.keys).column("ngram_entropy") < 7).all()
    assert load_table(pool, keys=kept.keys).fingerprint == load_table(pool, keys=before.keys).fingerprint
    assert "as an earlier version of this package computed them: ngram_entropy." in " ".join(
        capsys.readouterr().err.split()
    )
    # Those that are gone are computed as this version does; the study's own check then stops it.
    shutil.rmtree(pool.path / "signals" / "ngram_entropy" / before.keys["ngram_entropy"])
    assert _as_begun(after, pool, begun).keys == after.keys
    assert _as_begun(after, pool, {}).keys == after.keys, "a signal that it did not have"


def test_what_was_made_from_an_earlier_version_stays_that_of_the_study(pool, monkeypatch):
    """Near duplicates, whose own version stays when that of the signatures is raised."""
    before = score_pool(pool, SignalsConfig(), signals=["near_duplicates"])
    monkeypatch.setattr(MinHash, "version", MinHash.version + 1)
    after = score_pool(pool, SignalsConfig(), signals=["near_duplicates"])
    assert not set(before.keys.values()) & set(after.keys.values())
    assert _as_begun(after, pool, before.to_dict()["signals"]).keys == before.keys
    config = SignalsConfig(options={"minhash": {"num_perm": 64}})
    other = score_pool(pool, config, signals=["near_duplicates"])
    assert _as_begun(after, pool, other.to_dict()["signals"]).keys == after.keys, "made from other signatures"


def test_what_is_not_earlier_or_of_something_else_is_not_taken(pool, monkeypatch):
    store = SignalStore.of(pool)
    first = scored(pool).keys["ngram_entropy"]
    assert store.earlier("ngram_entropy", first, first) is None
    config = SignalsConfig(options={"ngram_entropy": {"n": 2}})
    other = score_pool(pool, config, signals=["ngram_entropy"]).keys["ngram_entropy"]
    assert store.earlier("ngram_entropy", first, other) is None, "of one version, with other settings"
    monkeypatch.setattr(NgramEntropy, "version", NgramEntropy.version + 1)
    later = scored(pool).keys["ngram_entropy"]
    assert store.earlier("ngram_entropy", first, later) is not None
    assert store.earlier("ngram_entropy", later, first) is None
    opened = store.open

    def swapped(name: str, key: str) -> Any:
        stored = opened(name, key)
        return type(stored)({**stored.meta, "model": key}, stored.arrays)

    monkeypatch.setattr(store, "open", swapped)
    assert store.earlier("ngram_entropy", first, later) is None, "made with another model"


def test_signals_of_the_model_by_an_earlier_encoder_stay_those_of_the_study(raw_pool, tmp_path, monkeypatch):
    from autoselection import demo

    few = tmp_path / "few.jsonl"
    few.write_text("".join(raw_pool.read_text().splitlines(keepends=True)[:12]))
    ingest([few], tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    target = tmp_path / "target.jsonl"
    target.write_text('{"id": "1", "prompt": "Say one", "answer": "one"}\n')
    tasks = [TaskConfig(name="maths", dev=target, target=target)]
    given = {"model": demo.model_dir(), "sae": demo.sae_dir(), "tasks": tasks}
    names = ["tokens", "ifd", "sae", "mona"]
    with monkeypatch.context() as earlier:
        kinds = {kind.name: kind for kind in BUILTIN_SIGNALS}
        for name, version in {"tokens": 2, "lm": 2, "token_kinds": 3, "sae": 4, "mona": 2}.items():
            assert kinds[name].version == version
            earlier.setattr(kinds[name], "version", version - 1)
        before = score_pool(pool, SignalsConfig(), signals=names, **given)
    after = score_pool(pool, SignalsConfig(), signals=[*names, "token_kinds"], **given)
    assert not after.cached and set(after.keys) == {"tokens", "lm", "token_kinds", "sae", "mona/maths"}
    assert not set(after.keys.values()) & set(before.keys.values())
    kept = _as_begun(after, pool, before.to_dict()["signals"])
    assert {name: kept.keys[name] for name in before.keys} == before.keys
