"""Bits that flip in the cache of signals: what is read is what was written, or it is refused or computed again."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.signals.test_signal_store import ROWS, SPEC, VECTORS, Work, compute, files

from autoselection.errors import SignalError
from autoselection.signals.shard_plan import ShardPlan
from autoselection.signals.store import SignalStore


def flipped(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    changed[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def outcome(path: Path, read: Callable[[], Any], flips: int, seed: int = 3) -> dict[str, int]:
    """How often a flipped bit in a file is refused, and how often it changes nothing; it must never do anything else."""
    sound, right, draw = path.read_bytes(), read(), random.Random(seed)
    found = {"refused": 0, "harmless": 0}
    for _ in range(flips):
        path.write_bytes(flipped(sound, draw))
        try:
            assert read() == right, "read in silence"
            found["harmless"] += 1
        except SignalError as error:
            assert str(path) in str(error) or "is not in" in str(error)
            found["refused"] += 1
    path.write_bytes(sound)
    assert read() == right
    return found


@pytest.fixture
def store(tmp_path: Path) -> SignalStore:
    store = SignalStore(tmp_path / "pool", "pool-1", ROWS)
    compute(store, Work(), SPEC, VECTORS)
    store.set_current({spec.name: store.key(spec) for spec in (SPEC, VECTORS)})
    return store


def content(store: SignalStore) -> Any:
    found = [store.open(name, key) for name, key in sorted(store.current().items())]
    return [
        (dict(stored.meta), {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in stored.arrays.items()})
        for stored in found
    ]  # fmt: skip


@pytest.mark.parametrize(
    "file", ["square.npy", "indices.npy", "values.npy", "indptr.npy", "square/meta", "vectors/meta", "current.json"]
)
def test_no_flipped_bit_is_read_in_silence(store: SignalStore, file: str) -> None:
    (path,) = (p for p in store.root.rglob("*") if p.name == file or (p.name, p.parent.parent.name) == ("meta.json", file[:-5]))  # fmt: skip
    found = outcome(path, lambda: content(store), 150)
    assert found["harmless"] == 0 or path.suffix == ".json"
    assert found["refused"] > 100


def test_a_flipped_bit_in_a_finished_signal_is_said_and_mended(
    store: SignalStore, capsys: pytest.CaptureFixture[str]
) -> None:
    right, draw = content(store), random.Random(0)
    for file in ("square.npy", "meta.json"):
        path = files(store) / file
        path.write_bytes(flipped(path.read_bytes(), draw))
        work = Work()
        (done,) = compute(store, work)
        assert not done.cached and len(work.calls) == 3 and content(store) == right
        assert f"{file} is damaged" in capsys.readouterr().err


def test_no_flipped_bit_in_a_shard_is_taken_for_a_result(tmp_path: Path) -> None:
    store, draw = SignalStore(tmp_path, "pool-1", ROWS), random.Random(1)
    with pytest.raises(KeyboardInterrupt):
        compute(store, Work(stop_at=20), SPEC, VECTORS)
    for spec in (SPEC, VECTORS):
        shard = files(store, spec) / "shards-10" / "0000000010.npz"
        sound = shard.read_bytes()
        np.load(shard, allow_pickle=False).close()  # a plain archive for others, checksum or not
        for _ in range(150):
            shard.write_bytes(flipped(sound, draw))
            assert store._shard_state(spec, range(10, 20), ShardPlan(10)) == "damaged"
        shard.write_bytes(sound)
    square, vectors = compute(store, Work(), SPEC, VECTORS)
    assert (square.shards_resumed, vectors.shards_resumed, vectors.shards_damaged) == (2, 2, 0)


def test_shards_of_older_versions_are_still_taken(tmp_path: Path) -> None:
    store = SignalStore(tmp_path, "pool-1", ROWS)
    folder = files(store) / "shards-10"
    folder.mkdir(parents=True)
    for start in (0, 10):
        shard = Work()(range(start, start + 10), frozenset())["square"]
        np.savez(folder / f"{start:010d}.npz", square=shard.arrays["square"], **{"stat:seen": np.int64(10)})
    (done,) = compute(store, Work())
    assert (done.shards_resumed, done.stats) == (2, {"seen": 25})


def test_metadata_of_older_versions_is_compared_with_its_key(store: SignalStore) -> None:
    path = files(store) / "meta.json"
    meta = json.loads(path.read_text())
    del meta["checksum"]
    path.write_text(json.dumps(meta))
    assert store.open("square", store.key(SPEC)).arrays["square"][2] == 4
    for change in ({"params": {"power": 3}}, {"pool": "pool-2"}, {"model": "other"}, {"version": 2}, {"name": "cube"}):
        path.write_text(json.dumps(meta | change))
        with pytest.raises(SignalError, match="that of another signal"):
            store.open("square", store.key(SPEC))


@pytest.mark.parametrize(
    "text",
    ["[]", "3", "{}", "[" * 100_000, "9" * 5000, '{"files": []}', '{"files": {"square": 3}}', "\0", '{"rows": "x"}'],
)
def test_metadata_of_a_wrong_shape_is_one_sentence(store: SignalStore, text: str) -> None:
    (files(store) / "meta.json").write_text(text)
    with pytest.raises(SignalError, match=r"meta\.json is damaged"):
        store.open("square", store.key(SPEC))
    (store.root / "current.json").write_text(text)
    with pytest.raises(SignalError, match=r"current\.json is damaged"):
        store.current()


def test_everything_is_read_anew_on_request(store: SignalStore) -> None:
    assert store.verify() == 2
    path = files(store, VECTORS) / "values.npy"
    path.write_bytes(flipped(path.read_bytes(), random.Random(0)))
    with pytest.raises(SignalError, match=r"values\.npy"):
        store.verify()


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = SignalStore(tmp_path, "pool-1", ROWS)

    def broken() -> dict[str, Any]:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        compute(store, Work(), extra=broken)
    compute(store, Work())
    left = [path.name for path in store.root.rglob("*") if path.name.startswith(".") and path.name != ".lock"]
    assert left == [".checked.json"] or left == []
