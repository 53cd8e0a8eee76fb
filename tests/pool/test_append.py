"""Rows appended to a pool: the result is that of one ingest, and the old pool stays within reach."""

from __future__ import annotations

import fcntl
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from autoselection.errors import PoolError
from autoselection.pool import IngestConfig, IngestReport, Pool, ingest

Write = Callable[..., Path]

batch_module = importlib.import_module("autoselection.pool.batch")
destination_module = importlib.import_module("autoselection.pool.destination")


def rows(start: int, stop: int, **fields: Any) -> list[dict[str, Any]]:
    return [
        {"id": f"r{i}", "source": "zyxw"[i // 4], "prompt": f"q{i}", "completion": "a" * (i + 1), "score": i, **fields}
        for i in range(start, stop)
    ]


@pytest.fixture
def files(write: Write, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Three files, in batches of three rows; the second has a bad row and a special token."""
    monkeypatch.setattr(batch_module, "_BATCH_ROWS", 3)
    second = [*rows(7, 9), {"prompt": "?", "completion": ""}, *rows(9, 11, completion="<|im_end|> yes")]
    return [
        write("one.jsonl", rows(0, 7)),
        write("two.jsonl", second),
        write("three.jsonl", rows(11, 13)),
    ]


def appended(files: list[Path], out: Path) -> IngestReport:
    ingest(files[:1], out)
    reports = [ingest([file], out, append=True) for file in files[1:]]
    return reports[-1]


def test_an_appended_pool_is_the_pool_of_all_files(files: list[Path], tmp_path: Path) -> None:
    report = appended(files, tmp_path / "grown")
    grown, whole = Pool.open(tmp_path / "grown"), Pool.open(ingest(files, tmp_path / "whole").path)
    assert grown.fingerprint == whole.fingerprint == report.fingerprint
    assert (report.rows, report.appended, report.skipped) == (13, 2, 1)
    assert grown.table.to_pylist() == whole.table.to_pylist()
    assert grown.manifest.state() == whole.manifest.state()
    assert (tmp_path / "grown" / "skipped.jsonl").read_text() == (tmp_path / "whole" / "skipped.jsonl").read_text()
    assert grown.source_codes.tolist() == whole.source_codes.tolist()
    assert grown.texts([12, 0, 8]) == whole.texts([12, 0, 8])
    grown.verify()
    assert ingest(files, tmp_path / "grown").unchanged


def test_every_former_pool_can_be_opened(files: list[Path], tmp_path: Path) -> None:
    states = [Pool.open(ingest(files[:n], tmp_path / f"first{n}").path) for n in (1, 2, 3)]
    appended(files, tmp_path / "grown")
    grown = Pool.open(tmp_path / "grown")
    assert grown.parents == tuple((state.fingerprint, len(state)) for state in states[:2])
    for state in states:
        view = Pool.open(tmp_path / "grown", fingerprint=state.fingerprint)
        assert (len(view), view.fingerprint) == (len(state), state.fingerprint)
        assert view.manifest.state() == state.manifest.state()
        assert view.source_names == state.source_names
        assert np.array_equal(view.source_codes, state.source_codes)
        assert view.table.to_pylist() == state.table.to_pylist()
        view.verify()
    with pytest.raises(PoolError, match=f"never had the fingerprint {'0' * 32}"):
        Pool.open(tmp_path / "grown", fingerprint="0" * 32)


def test_a_row_whose_id_is_there_is_bad(files: list[Path], write: Write, tmp_path: Path) -> None:
    pool = Pool.open(ingest(files[:1], tmp_path / "pool").path)
    again = write("again.jsonl", [*rows(2, 3), *rows(4, 5), *rows(11, 12)])
    report = ingest([again], pool.path, append=True)
    assert (report.rows, report.appended, report.skipped) == (8, 1, 2)
    assert [bad.line for bad in report.bad] == [1, 2]
    assert "the id 'r2' is already used at" in report.bad[0].reason
    with pytest.raises(PoolError, match="already used"):
        ingest([again], pool.path, IngestConfig(on_bad_row="refuse"), append=True)
    with pytest.raises(
        PoolError, match=r"adds no row: all of its \d+ rows are there already, under the same ids; the first: "
    ):
        ingest([files[0]], pool.path, append=True)
    assert len(Pool.open(pool.path)) == 8


def test_equal_rows_without_ids_get_ids_of_their_own(write: Write, tmp_path: Path) -> None:
    file = write("rows.jsonl", [{"prompt": "q", "completion": "a", "source": "s"}] * 2)
    other = write("more.jsonl", [{"prompt": "q", "completion": "a", "source": "s"}] * 2)
    ingest([file], tmp_path / "pool")
    ingest([other], tmp_path / "pool", append=True)
    ids = Pool.open(tmp_path / "pool").row_ids()
    assert ids == [ids[0], *(f"{ids[0]}-{n}" for n in (2, 3, 4))]


def test_an_append_that_is_killed_changes_nothing(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "pool"
    before = ingest(files[:1], out)

    def killed(_folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(destination_module, "sync_folder", killed)  # behind the new table, before the manifest
        with pytest.raises(KeyboardInterrupt):
            ingest([files[1]], out, append=True)
    assert (out / "pool-0001.arrow").exists()
    assert Pool.open(out).fingerprint == before.fingerprint
    Pool.open(out).verify()
    after = ingest([files[1]], out, append=True)
    assert after.fingerprint == ingest(files[:2], tmp_path / "whole").fingerprint
    assert len((out / "skipped.jsonl").read_text().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_cannot_be_appended_to_is_named(files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=r"There is no pool .* to append to"):
        ingest(files, tmp_path / "nowhere", append=True)
    out = ingest(files[:1], tmp_path / "pool").path
    with pytest.raises(PoolError, match="either overwritten or appended"):
        ingest(files[1:], out, append=True, overwrite=True)
    table = out / "pool.arrow"
    sound = table.read_bytes()
    table.write_bytes(sound.replace(b"q5", b"Q5"))
    with pytest.raises(PoolError, match="does not have its checksum"):
        ingest(files[1:], out, append=True)
    table.write_bytes(sound)
    lock = os.open(out / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(PoolError, match="Another process is appending"):
        ingest(files[1:], out, append=True)
    os.close(lock)
    assert ingest(files[1:], out, append=True).rows == 13


def test_a_missing_part_is_damage(files: list[Path], tmp_path: Path) -> None:
    appended(files, tmp_path / "pool")
    (tmp_path / "pool" / "pool-0002.arrow").unlink()
    with pytest.raises(PoolError, match=r"pool-0002\.arrow is missing"):
        Pool.open(tmp_path / "pool")


def test_a_file_that_has_grown_extends_the_pool(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "pool"
    grown = tmp_path / "rows.jsonl"
    grown.write_bytes(files[0].read_bytes())
    first = ingest([grown], out)
    (out / "signals" / "kept").touch()
    before = Pool.open(out)
    old = before.table.to_pylist()
    grown.write_bytes(files[0].read_bytes() + files[1].read_bytes())
    second = ingest([grown], out)
    assert (second.rows, second.appended, second.skipped, second.unchanged) == (11, 4, 1, False)
    assert second.fingerprint == ingest([grown], tmp_path / "whole").fingerprint
    assert Pool.open(out).parents == ((first.fingerprint, 7),)
    assert Pool.open(out, fingerprint=first.fingerprint).table.to_pylist() == old
    assert before.texts([6]) == Pool.open(out).texts([6]), "a pool that is open stays readable"
    assert sorted(path.name for path in out.glob("pool*.arrow")) == ["pool-0001.arrow"]
    assert (out / "signals" / "kept").exists()
    assert len((out / "skipped.jsonl").read_text().splitlines()) == 1
    ingest([files[2]], out, append=True)
    assert Pool.open(out).parents == ((first.fingerprint, 7), (second.fingerprint, 11))
    Pool.open(out).verify()
    assert ingest([grown, files[2]], out).unchanged
    changed = grown.read_bytes().replace(b"q1", b"Q1")
    grown.write_bytes(changed)
    with pytest.raises(PoolError, match="already holds another pool"):
        ingest([grown, files[2]], out)
    assert ingest([grown, files[2]], out, overwrite=True).rows == 13
    assert Pool.open(out).parents == ()


def test_a_file_that_has_shrunk_is_another_pool(files: list[Path], tmp_path: Path) -> None:
    ingest(files, tmp_path / "pool")
    with pytest.raises(PoolError, match="already holds another pool"):
        ingest(files[:2], tmp_path / "pool")


def test_a_source_for_every_row_is_looked_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many batches, all of new sources, in two files: every file's names are looked up once, not once a batch."""
    monkeypatch.setattr(batch_module, "_BATCH_ROWS", 3)
    given = [{"prompt": f"q{row}", "response": "a", "source": f"s{row * 7 % 40:02}"} for row in range(40)]
    ingest(given[:25], tmp_path / "pool")
    pool = ingest(given[25:], tmp_path / "pool", append=True).pool
    assert pool.table.column("source").num_chunks == 14
    asked: list[int] = []

    def counted(names: Any, value_set: Any) -> Any:
        asked.append(len(names))
        return index_in(names, value_set=value_set)

    index_in = pc.index_in
    monkeypatch.setattr(pc, "index_in", counted)
    assert [pool.source_names[code] for code in pool.source_codes] == [row["source"] for row in given]
    assert asked == [25, 40]


def test_only_new_names_are_converted_for_a_batch() -> None:
    none = pa.array([], pa.string())
    first = batch_module.grown(none, ["a", "b"])
    assert batch_module.grown(first, ["a", "b"]) is first
    assert batch_module.grown(first, ["?", "?", "c"]).to_pylist() == ["a", "b", "c"]
