from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoselection.errors import SignalError
from autoselection.pool import ingest
from autoselection.signals import Shard, SignalTable, SparseRows, load_table
from autoselection.signals.store import SignalStore
from autoselection.signals.stored import SignalSpec


def test_table_from_arrays() -> None:
    table = SignalTable.from_arrays(
        {"ifd": [0.5, np.nan, 2.0], "mona/b": [0, 1, 2], "mona/a": [1, 1, 1]},
        source=["web", "book", "web"],
        texts=["x", "y", "z"],
    )
    assert (table.n, table.source_names, table.source.tolist()) == (3, ("book", "web"), [1, 0, 1])
    assert table.tasks == ("a", "b")
    assert table.column("ifd").dtype == np.float32
    assert table.texts is not None
    assert table.texts(np.array([2, 0])) == ["z", "x"]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("ifd", "autoselection score POOL_DIR --signals ifd --model MODEL"),
        ("ngram_entropy", "--signals ngram_entropy` first"),
        ("mona/maths", "no relevance scores for task 'maths'.*--signals mona --model MODEL --sae SAE"),
        ("loss", "--signals loss --model MODEL"),
        ("reward", "--signals reward --reward-model MODEL"),
        ("loss/3", "--signals trajectory --trajectory-model FIRST"),
        ("loss_slope", "--signals trajectory --trajectory-model FIRST"),
        ("n_token", r"no signal called 'n_token'; did you mean 'n_tokens'\?$"),
        ("cleverness", "no signal called 'cleverness'; this pool has: n_tokens"),
    ],
)
def test_absent_column_names_the_command(name: str, command: str) -> None:
    with pytest.raises(SignalError, match=command):
        SignalTable.from_arrays({"n_tokens": [1.0]}).column(name)


def test_absent_features_and_hashes_name_the_command() -> None:
    table = SignalTable.from_arrays(n=2)
    with pytest.raises(SignalError, match="--signals sae --model MODEL --sae SAE"):
        table.require_sae()
    with pytest.raises(SignalError, match="--signals text_hash"):
        table.require_text_hash()


def test_arrays_of_other_lengths_are_refused() -> None:
    with pytest.raises(SignalError, match="Signal 'ifd' has 2 rows but the pool has 3"):
        SignalTable.from_arrays({"ifd": [1.0, 2.0]}, n=3)


def test_fingerprint_follows_the_content() -> None:
    first = SignalTable.from_arrays({"ifd": [1.0, 2.0]})
    assert first.fingerprint == SignalTable.from_arrays({"ifd": [1.0, 2.0]}).fingerprint
    assert first.fingerprint != SignalTable.from_arrays({"ifd": [1.0, 2.5]}).fingerprint
    assert first.fingerprint != SignalTable.from_arrays({"varentropy": [1.0, 2.0]}).fingerprint


def test_sparse_rows() -> None:
    dense = np.array([[0, 1, 0, 2], [0, 0, 0, 0], [3, 0, 4, 0]], np.float32)
    rows = SparseRows.from_dense(dense)
    assert (len(rows), rows.d, rows.counts.tolist()) == (3, 4, [2, 0, 2])
    np.testing.assert_array_equal(rows.to_scipy().toarray(), dense)
    chosen = np.array([2, 2, 1, 0])
    np.testing.assert_array_equal(rows.take(chosen).to_scipy().toarray(), dense[chosen])
    indices, values = rows.row(2)
    assert (indices.tolist(), values.tolist()) == ([0, 2], [3.0, 4.0])


def test_what_a_package_that_is_gone_has_stored_is_loaded_by_its_shape(tmp_path: Path) -> None:
    pool = ingest([{"prompt": f"p{row}", "response": "r"} for row in range(3)], tmp_path / "pool").pool
    store = SignalStore.of(pool)
    vectors = np.arange(6.0).reshape(3, 2)
    shards = {
        "gone": {"gone_score": np.array([1.0, np.nan, 3.0]), "vectors": vectors, "label": np.array(["a", "b", "c"])},
        "gone/features": {"counts": [2, 0, 2], "indices": [0, 6, 1, 2], "values": np.ones(4)},
        "gone/single": {"counts": [1, 1, 1], "indices": [0, 6, 1], "values": np.ones(3)},  # by chance one a row
    }
    specs = [SignalSpec("gone", 1), *(SignalSpec(name, 1, {"d": 7}, sparse=True) for name in list(shards)[1:])]
    done = store.compute(
        specs,
        lambda rows, _: {
            name: Shard({key: np.asarray(array) for key, array in arrays.items()}) for name, arrays in shards.items()
        },
        shard_rows=100,
        description="Gone",
    )
    store.set_current({one.spec.name: one.key for one in done})
    table = load_table(pool)
    assert list(table.columns) == ["gone_score"] and table.names == ("gone_score", *shards)
    np.testing.assert_array_equal(table["gone_score"], shards["gone"]["gone_score"])
    np.testing.assert_array_equal(table["gone"]["vectors"], vectors)
    assert table["gone"]["label"].tolist() == ["a", "b", "c"]
    assert table["gone/features"]["indices"].tolist() == [0, 6, 1, 2]
    assert table["gone/single"]["indices"].tolist() == [0, 6, 1]


def test_sources_in_a_data_frame_are_those_of_the_rows() -> None:
    table = SignalTable(3, np.array([1, 0, 1], np.int32), ("a", "a\0"), {"x": np.zeros(3, np.float32)})
    assert table.to_polars()["source"].to_list() == ["a\0", "a", "a\0"]
