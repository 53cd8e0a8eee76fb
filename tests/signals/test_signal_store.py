from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoselection.errors import SignalError
from autoselection.signals.store import SignalStore
from autoselection.signals.stored import Shard, SignalSpec

ROWS = 25
SPEC = SignalSpec("square", 1, {"power": 2})
VECTORS = SignalSpec("deep/vectors", 1, {"d": 7}, sparse=True)


class Work:
    """Squares row numbers and remembers for which rows; stops at a row when told."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.calls: list[tuple[int, tuple[str, ...]]] = []

    def __call__(self, rows: range, wanted: frozenset[str]) -> dict[str, Shard]:
        if self.stop_at is not None and rows.start >= self.stop_at:
            raise KeyboardInterrupt
        self.calls.append((rows.start, tuple(sorted(wanted))))
        numbers = np.arange(rows.start, rows.stop)
        square = np.where(numbers % 10 == 3, np.nan, numbers**2).astype(np.float32)
        counts = (numbers % 3).astype(np.int64)
        indices = np.concatenate([np.arange(count) for count in counts]).astype(np.int32)
        values = np.repeat(numbers, counts).astype(np.float32)
        return {
            "square": Shard({"square": square}, {"seen": len(rows)}),
            "deep/vectors": Shard({"counts": counts, "indices": indices, "values": values}),
        }


@pytest.fixture
def store(tmp_path: Path) -> SignalStore:
    return SignalStore(tmp_path, "pool-1", ROWS)


def compute(store: SignalStore, work: Work, *specs: SignalSpec, **options: Any) -> Any:
    return store.compute(specs or (SPEC,), work, **{"shard_rows": 10, "description": "Squares", **options})


def files(store: SignalStore, spec: SignalSpec = SPEC) -> Path:
    return store.root / spec.name / store.key(spec)


def test_shards_are_joined_in_row_order(store: SignalStore) -> None:
    (done,) = compute(store, Work())
    column = store.open("square", done.key).arrays["square"]
    assert isinstance(column, np.memmap)
    assert np.isnan(column).sum() == 3
    assert column[24] == 576
    assert (done.cached, done.missing, done.stats, done.shards) == (False, {"square": 3}, {"seen": 25}, 3)
    assert sorted(path.name for path in files(store).iterdir()) == ["meta.json", "square.npy"]


def test_finished_signals_are_not_computed_again(store: SignalStore) -> None:
    compute(store, Work())
    again = Work()
    (done,) = compute(store, again)
    assert done.cached
    assert done.missing == {"square": 3}
    assert again.calls == []


@pytest.mark.parametrize(
    "other",
    [
        SignalSpec("square", 2, {"power": 2}),
        SignalSpec("square", 1, {"power": 3}),
        SignalSpec("square", 1, {"power": 2}, model="m"),
        SignalSpec("square", 1, {"power": 2}, targets="t"),
    ],
)
def test_every_part_of_the_key_counts(store: SignalStore, other: SignalSpec) -> None:
    assert store.key(other) != store.key(SPEC)
    assert SignalStore(store.root.parent, "pool-2", ROWS).key(SPEC) != store.key(SPEC)


def test_a_stopped_run_goes_on_at_the_shard(store: SignalStore) -> None:
    with pytest.raises(KeyboardInterrupt):
        compute(store, Work(stop_at=20))
    with pytest.raises(SignalError, match="autoselection score"):
        store.open("square", store.key(SPEC))
    rest = Work()
    (done,) = compute(store, rest)
    assert rest.calls == [(20, ("square",))]
    assert done.shards_resumed == 2
    whole = np.asarray(store.open("square", done.key).arrays["square"])
    np.testing.assert_array_equal(whole, np.concatenate([_square(start) for start in (0, 10, 20)]))


def _square(start: int) -> Any:
    return Work()(range(start, min(start + 10, ROWS)), frozenset())["square"].arrays["square"]


@pytest.mark.parametrize("damage", ["cut", "flip", "rows"])
def test_damaged_shards_are_computed_again_and_counted(store: SignalStore, damage: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        compute(store, Work(stop_at=20))
    shard = files(store) / "shards-10" / "0000000010.npz"
    content = shard.read_bytes()
    if damage == "cut":
        shard.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        middle = content.index(np.float32(12**2).tobytes())
        shard.write_bytes(content[:middle] + b"\xff" + content[middle + 1 :])
    else:
        with shard.open("wb") as stream:
            np.savez(stream, square=np.zeros(3, np.float32))
    rest = Work()
    (done,) = compute(store, rest)
    assert [start for start, _ in rest.calls] == [10, 20]
    assert (done.shards_resumed, done.shards_damaged) == (1, 1)
    assert store.open("square", done.key).arrays["square"][12] == 144


def test_damaged_results_are_refused_and_computed_again(store: SignalStore) -> None:
    (done,) = compute(store, Work())
    path = files(store) / "square.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(SignalError, match=r"square\.npy is damaged.*autoselection score"):
        store.open("square", done.key)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(SignalError, match="damaged"):
        store.open("square", done.key)
    (again,) = compute(store, Work())
    assert not again.cached
    assert path.read_bytes() == content


def test_several_signals_from_one_piece_of_work(store: SignalStore) -> None:
    compute(store, Work(), SPEC)
    work = Work()
    square, vectors = compute(store, work, SPEC, VECTORS)
    assert (square.cached, vectors.cached) == (True, False)
    assert work.calls == [(start, ("deep/vectors",)) for start in (0, 10, 20)]
    rows = store.open("deep/vectors", vectors.key).sparse()
    assert (len(rows), rows.d) == (ROWS, 7)
    assert [rows.row(i)[1].tolist() for i in (0, 1, 23)] == [[], [1.0], [23.0, 23.0]]
    assert vectors.missing == {"rows": 9}


def test_vectors_without_any_entry(store: SignalStore) -> None:
    def empty(rows: range, _wanted: frozenset[str]) -> dict[str, Shard]:
        arrays = {
            "counts": np.zeros(len(rows), np.int64),
            "indices": np.zeros(0, np.int32),
            "values": np.zeros(0, np.float32),
        }
        return {"deep/vectors": Shard(arrays)}

    (done,) = store.compute([VECTORS], empty, shard_rows=10, description="Nothing")
    assert store.open("deep/vectors", done.key).sparse().counts.sum() == 0


def test_extra_arrays_belong_to_the_signal(store: SignalStore) -> None:
    (done,) = compute(store, Work(), extra=lambda: {"vector": np.arange(4.0)})
    assert store.open("square", done.key).arrays["vector"].tolist() == [0, 1, 2, 3]


def test_current_keys_belong_to_one_pool(store: SignalStore) -> None:
    assert store.current() == {}
    store.set_current({"square": "abc"})
    assert store.current() == {"square": "abc"}
    assert SignalStore(store.root.parent, "pool-2", ROWS).current() == {}
    (store.root / "current.json").write_text("{")
    with pytest.raises(SignalError, match=r"current\.json is damaged"):
        store.current()


def test_nothing_but_plain_files_is_written(store: SignalStore) -> None:
    (done,) = compute(store, Work(), VECTORS)
    meta = json.loads((files(store, VECTORS) / "meta.json").read_text())
    assert meta["name"] == "deep/vectors"
    assert set(meta["files"]) == {"indices", "values", "indptr"}
    for path in files(store, VECTORS).glob("*.npy"):
        np.load(path, allow_pickle=False)
    assert done.key in str(files(store, VECTORS))
