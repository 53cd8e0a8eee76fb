from __future__ import annotations

import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from autoselection.errors import PoolError
from autoselection.export import export_messages
from autoselection.pool import IngestConfig, Pool, ingest

Write = Callable[..., Path]

batch_module = importlib.import_module("autoselection.pool.batch")


def row(question: str, answer: str, **fields: Any) -> dict[str, Any]:
    return {"prompt": question, "completion": answer, **fields}


@pytest.fixture
def pool(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pool:
    """Ten rows in batches of three; sources appear one after the other."""
    monkeypatch.setattr(batch_module, "_BATCH_ROWS", 3)
    rows = [row(f"q{i}", "a" * (i + 1), id=f"r{i}", source="zyx"[i // 4]) for i in range(10)]
    ingest([write("rows.jsonl", rows)], tmp_path / "pool")
    return Pool.open(tmp_path / "pool")


def test_columns(pool: Pool) -> None:
    assert len(pool) == 10
    assert pool.table.schema.field("source").type == pa.dictionary(pa.int32(), pa.string())
    assert pool.ids.to_pylist() == [f"r{i}" for i in range(10)]
    assert pool.source_names == ("x", "y", "z")
    assert pool.source_codes.dtype == np.int32
    assert pool.source_codes.tolist() == [2, 2, 2, 2, 1, 1, 1, 1, 0, 0]
    assert pool.manifest.sources == {"x": 2, "y": 4, "z": 4}


def test_random_access_across_batches_keeps_order_and_repeats(pool: Pool) -> None:
    rows = np.array([9, 0, 5, 5, 3, 2])
    assert pool.texts(rows) == [f"q{i}\n{'a' * (i + 1)}" for i in rows]
    assert [messages[0]["content"] for messages in pool.messages(rows)] == [f"q{i}" for i in rows]
    assert pool.row_ids(rows) == [f"r{i}" for i in rows]
    assert pool.sources(rows) == ["x", "z", "y", "y", "z", "z"]
    assert pool.messages([]) == []
    assert pool.texts() == pool.texts(range(10))


@pytest.mark.parametrize("rows", [[10], [-1], [0.5], [[1, 2]], [True]])
def test_rows_out_of_range_are_refused(rows: Any, pool: Pool) -> None:
    with pytest.raises(PoolError, match="Row"):
        pool.texts(rows)


def test_row_of(pool: Pool) -> None:
    rows = pool.row_of(["r7", "r0", "r7"])
    assert rows.dtype == np.int64
    assert rows.tolist() == [7, 0, 7]
    assert pool.row_of([]).tolist() == []
    with pytest.raises(PoolError, match=r"no row with the id 'no' \(2 unknown ids\)"):
        pool.row_of(["r1", "no", "nor"])
    with pytest.raises(PoolError, match=r"\(1 unknown id\)"):
        pool.row_of(["r1", "no"])


def test_content_ids_are_stable_and_repeats_are_numbered(write: Write, tmp_path: Path) -> None:
    rows = [row("q", "a"), row("q", "b"), row("q", "a"), row("q", "a", source="other"), row("q", "a")]
    ingest([write("rows.jsonl", rows)], tmp_path / "pool")
    ids = Pool.open(tmp_path / "pool").row_ids()
    assert all(len(row_id.split("-")[0]) == 32 for row_id in ids)
    assert ids[2] == f"{ids[0]}-2"
    assert ids[4] == f"{ids[0]}-3"
    assert len({ids[0], ids[1], ids[3]}) == 3
    canonical = b"4:rowsuser:1:qassistant:1:a"  # the hash of this must not change between versions
    assert ids[0] == hashlib.blake2b(canonical, digest_size=16).hexdigest()


def test_users_ids_are_kept_and_checked(write: Write, tmp_path: Path) -> None:
    first = write("first.jsonl", [row("q", "a", id=7), row("q", "b"), row("q", "c", id="x")])
    second = write("second.json", json.dumps([row("q", "d", id="7"), row("q", "e", id="y"), row("q", "f", id="y")]))
    report = ingest([first, second], tmp_path / "pool")
    ids = Pool.open(tmp_path / "pool").row_ids()
    assert [ids[0], *ids[2:]] == ["7", "x", "7-2", "y", "y-2"]
    assert report.notes == ("2 rows have an id that a row of other content has too: '7' became '7-2'.",)
    again = write("again.jsonl", [row("q", "d", id="7"), row("q", "a", id=7, source="elsewhere"), row("q", "z", id=8)])
    report = ingest([first, again], tmp_path / "other")
    assert Pool.open(tmp_path / "other").row_ids()[3:] == ["7-2", "8"]
    assert [str(bad) for bad in report.bad] == [
        f"{again}:2: the id '7' is already used at {first}:1 by the same conversation"
    ]


@pytest.mark.parametrize("answers", ["bcc", "ccb", "cbc"])
def test_what_is_the_same_under_one_id_does_not_depend_on_the_order_of_rows(
    answers: str, write: Write, tmp_path: Path
) -> None:
    file = write("rows.jsonl", [row("q", answer, id="x") for answer in answers])
    report = ingest([file], tmp_path / "pool")
    assert Pool.open(tmp_path / "pool").row_ids() == ["x", "x-2"]
    assert [note for note in report.notes if "1 row of the files is a copy of another row" in note]
    # Neither in the same run nor behind the pool is another file's row another one: whichever row has its content.
    more = write("more.jsonl", [*(row("q", answer, id="x") for answer in answers), row("q", "new", id="x")])
    with_both = ingest([file, more], tmp_path / "both")
    appended = ingest([more], tmp_path / "pool", append=True)
    for found, path in ((with_both, tmp_path / "both"), (appended, tmp_path / "pool")):
        assert Pool.open(path).row_ids() == ["x", "x-2", "x-3"]
        assert [bad.kind for bad in found.bad] == ["same row twice"] * 3


def test_id_and_source_fields_can_be_named(write: Write, tmp_path: Path) -> None:
    config = IngestConfig(id_field="key", source_field="origin", source="rest", keep_meta=False)
    ingest(
        [write("rows.jsonl", [row("q", "a", key="k", origin="o", id="i"), row("q", "b")])], tmp_path / "pool", config
    )
    pool = Pool.open(tmp_path / "pool")
    assert pool.row_ids()[0] == "k"
    assert pool.sources() == ["o", "rest"]
    assert pool.metas() == [{}, {}]


def test_fingerprint_depends_on_content_and_order_alone(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row("q", str(i)) for i in range(5)]

    def fingerprint(rows: list[dict[str, Any]], name: str) -> str:
        report = ingest([write("rows.jsonl", rows)], tmp_path / name)
        Pool.open(tmp_path / name).verify()
        return report.fingerprint

    first = fingerprint(rows, "one")
    assert first == "7e7367b43af07b65dbbbc4df136fdfe0"  # must not change between versions
    monkeypatch.setattr(batch_module, "_BATCH_ROWS", 2)
    assert fingerprint(rows, "two") == first
    others = [rows[::-1], rows[:4], [*rows[:4], row("q", "4", extra=1)], [*rows[:4], row("q", "4", source="s")]]
    found = {fingerprint(other, f"other{number}") for number, other in enumerate(others)}
    assert len(found | {first}) == 5


def test_same_content_again_is_left_alone(pool: Pool, tmp_path: Path) -> None:
    (pool.path / "signals" / "computed").write_text("dear")
    report = ingest([tmp_path / "rows.jsonl"], pool.path)
    assert report.unchanged
    assert report.fingerprint == pool.fingerprint
    assert (pool.path / "signals" / "computed").exists()
    assert ingest([tmp_path / "rows.jsonl"], pool.path, overwrite=True).unchanged


def test_other_content_is_refused_unless_overwritten(pool: Pool, write: Write, tmp_path: Path) -> None:
    other = write("other.jsonl", [row("q", "a")])
    with pytest.raises(PoolError, match=r"already holds another pool \(10 rows"):
        ingest([other], pool.path)
    assert len(Pool.open(pool.path)) == 10
    assert not ingest([other], pool.path, overwrite=True).unchanged
    assert len(Pool.open(pool.path)) == 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["other.jsonl", "pool", "rows.jsonl"]


def test_folder_with_other_things_is_never_replaced(write: Write, tmp_path: Path) -> None:
    path = write("rows.jsonl", [row("q", "a")])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("dear")
    with pytest.raises(PoolError, match="not a pool"):
        ingest([path], tmp_path / "mine", overwrite=True)
    with pytest.raises(PoolError, match="is a file"):
        ingest([path], path, overwrite=True)
    (tmp_path / "empty").mkdir()
    assert ingest([path], tmp_path / "empty").rows == 1


def test_interrupted_replacement_is_undone(pool: Pool, tmp_path: Path) -> None:
    pool.path.rename(tmp_path / ".pool.replaced")
    assert ingest([tmp_path / "rows.jsonl"], pool.path).unchanged
    assert len(Pool.open(pool.path)) == 10


def test_killed_ingest_leaves_no_pool_and_is_cleaned_up(write: Write, tmp_path: Path) -> None:
    fifo = tmp_path / "rows.jsonl"
    os.mkfifo(fifo)
    code = f"from autoselection.pool import ingest; ingest([{str(fifo)!r}], {str(tmp_path / 'pool')!r})"
    process = subprocess.Popen([sys.executable, "-c", code])
    with fifo.open("w") as stream:  # the child waits for more rows when it is killed
        for number in range(9000):
            stream.write(json.dumps(row("q", str(number))) + "\n")
        stream.flush()
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob(".pool.ingest-*/pool.arrow")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "pool").exists()
    assert list(tmp_path.glob(".pool.ingest-*"))
    assert ingest([write("real.jsonl", [row("q", "a")])], tmp_path / "pool").rows == 1
    assert not list(tmp_path.glob(".pool.ingest-*"))


def damage_size(path: Path) -> None:
    (path / "pool.arrow").write_bytes((path / "pool.arrow").read_bytes()[:-1])


def damage_bytes(path: Path) -> None:
    (path / "pool.arrow").write_bytes(b"x" * (path / "pool.arrow").stat().st_size)


def damage_table(path: Path) -> None:
    (path / "pool.arrow").unlink()


def damage_manifest(path: Path) -> None:
    (path / "manifest.json").write_text('{"format_version": 1')


def _edit(path: Path, **changes: Any) -> None:
    """Change the manifest as if an older version, which wrote no checksums, had written it so."""
    document = json.loads((path / "manifest.json").read_text())
    del document["checksum"]
    (path / "manifest.json").write_text(json.dumps(document | changes))


def damage_rows(path: Path) -> None:
    _edit(path, rows=11)


def damage_version(path: Path) -> None:
    _edit(path, format_version=99)


def damage_field(path: Path) -> None:
    _edit(path, skipped="many")


def remove_manifest(path: Path) -> None:
    (path / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_size, "bytes, its manifest says"),
        (damage_bytes, "does not have its checksum.*autoselection ingest .* --overwrite"),
        (damage_table, r"pool\.arrow is missing"),
        (damage_manifest, "manifest of the pool .* is damaged"),
        (damage_rows, "has 10 rows, its manifest says 11"),
        (damage_version, "layout version 99"),
        (damage_field, "is damaged: 'skipped' expected"),
        (remove_manifest, r"has no manifest\.json"),
    ],
)
def test_damaged_pool_is_refused(damage: Callable[[Path], None], message: str, pool: Pool, tmp_path: Path) -> None:
    damage(pool.path)
    with pytest.raises(PoolError, match=message):
        Pool.open(pool.path)
    with pytest.raises(PoolError, match=message):
        ingest([tmp_path / "rows.jsonl"], pool.path)
    assert not ingest([tmp_path / "rows.jsonl"], pool.path, overwrite=True).unchanged
    assert len(Pool.open(pool.path)) == 10


def test_pool_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="does not exist; make one with `autoselection ingest"):
        Pool.open(tmp_path / "nowhere")


def test_verify_finds_changed_rows(pool: Pool) -> None:
    pool.verify()
    path = pool.path / "pool.arrow"
    path.write_bytes(path.read_bytes().replace(b"q7", b"Q7"))
    with pytest.raises(PoolError, match="does not have its checksum"):
        pool.verify()


TEXT = st.text(min_size=1).filter(lambda text: any(char.isprintable() and not char.isspace() for char in text))
CONVERSATIONS = st.builds(
    lambda system, turns: [
        *([{"role": "system", "content": system}] if system else []),
        *(
            {"role": role, "content": text}
            for pair in turns
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ),
    ],
    st.none() | TEXT,
    st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    conversations=st.lists(CONVERSATIONS, min_size=1, max_size=6),
    container=st.sampled_from(["jsonl", "json", "parquet", "csv"]),
)
def test_messages_survive_ingest_and_export(
    conversations: list[Any], container: str, write: Write, tmp_path_factory: pytest.TempPathFactory
) -> None:
    nul = any("\0" in message["content"] for conversation in conversations for message in conversation)
    assume(not (nul and container == "csv" and sys.version_info < (3, 11)))  # its csv module refuses NUL
    folder = tmp_path_factory.mktemp("trip")
    path = write(f"rows.{container}", [{"messages": conversation} for conversation in conversations])
    ingest([path], folder / "pool", IngestConfig(on_bad_row="refuse"))
    pool = Pool.open(folder / "pool")
    assert pool.messages() == conversations
    assert pool.texts() == ["\n".join(m["content"] for m in conversation) for conversation in conversations]
    pool.verify()
    export_messages(pool, None, folder / "out.jsonl")
    again = ingest([folder / "out.jsonl"], folder / "again")
    assert again.fingerprint == pool.fingerprint
