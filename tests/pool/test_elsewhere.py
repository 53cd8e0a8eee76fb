"""Rows that lie elsewhere, or in other stores: addresses, patterns, data sets of the hub, Lance, DuckDB."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from autoselection.cli import app
from autoselection.config import load_config
from autoselection.errors import AutoSelectionError, MissingExtraError, PoolError
from autoselection.pool import IngestConfig, Pool, addresses, ingest
from autoselection.pool.cached import cached_pool

ROWS = [{"prompt": f"What is {i} and {i}?", "response": f"It is {2 * i}.", "id": f"r{i}"} for i in range(40)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def package(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is not installed (extra: data)")


@pytest.fixture
def plain(tmp_path: Path) -> Pool:
    """The rows from a file of this machine."""
    (tmp_path / "rows.jsonl").write_text(LINES)
    return ingest(tmp_path / "rows.jsonl", tmp_path / "plain").pool


@pytest.fixture
def memory() -> Any:
    """The file system ``memory://``, empty."""
    system = package("fsspec").filesystem("memory")
    system.store.clear()
    return system


def test_a_file_elsewhere_gives_the_pool_that_it_gives_here(plain: Pool, memory: Any, tmp_path: Path) -> None:
    memory.pipe("/bucket/rows.jsonl", LINES.encode())
    for place in ("memory://bucket/rows.jsonl", f"file://{tmp_path}/rows.jsonl"):
        report = ingest(place, tmp_path / re.sub(r"\W", "_", place))
        assert report.fingerprint == plain.fingerprint and report.sources == {"rows": 40}
        assert report.files[0].path == place == report.pool.files([3])[0]
        assert report.pool.lines([3])[0] == 4


def test_a_pattern_takes_the_files_that_match_in_their_order(plain: Pool, memory: Any, tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    (tmp_path / "shards").mkdir()
    for part in range(4):
        name = f"rows-{part:05}-of-00004.parquet"
        pq.write_table(table.slice(10 * part, 10), tmp_path / "shards" / name)
        memory.pipe(f"/b/{name}", (tmp_path / "shards" / name).read_bytes())
    for number, pattern in enumerate(
        (f"{tmp_path}/shards/*.parquet", "memory://b/*.parquet", f"{tmp_path}/**/rows-*.parquet")
    ):
        report = ingest(pattern, tmp_path / f"pool{number}")
        assert report.fingerprint == plain.fingerprint and report.sources == {"rows": 40}


def test_a_bad_row_elsewhere_is_told_by_its_address(memory: Any, tmp_path: Path) -> None:
    memory.pipe("/b/rows.jsonl", LINES.encode() + b'{"prompt": "?", "response": ""}\n{"prompt"\n')
    report = ingest("memory://b/rows.jsonl", tmp_path / "pool")
    assert [bad.line for bad in report.bad] == [41, 42]
    assert all(bad.file == "memory://b/rows.jsonl" for bad in report.bad)
    with pytest.raises(PoolError, match=r"^memory://b/rows\.jsonl:41"):
        ingest("memory://b/rows.jsonl", tmp_path / "other", IngestConfig(on_bad_row="refuse"))


def test_a_file_elsewhere_is_read_again_only_when_it_changed(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOSELECTION_CACHE", str(tmp_path / "cache"))
    memory.pipe("/b/rows.jsonl", LINES.encode())
    place = Path("memory://b/rows.jsonl")
    first, report = cached_pool([place])
    assert report is not None and cached_pool([place])[1] is None
    memory.pipe("/b/rows.jsonl", LINES.encode() + LINES.replace("r1", "s1").replace("What", "How").encode())
    second, report = cached_pool([place])
    assert report is not None and len(second) > len(first)


def test_a_configuration_may_name_addresses_patterns_and_data_sets(tmp_path: Path) -> None:
    (tmp_path / "org" / "here").mkdir(parents=True)
    (tmp_path / "study.yaml").write_text(
        "pool: {files: ['s3://b/a.jsonl', 'shards/*.parquet', org/name, org/here, data/rows.jsonl]}\n"
        "model: {path: m}\ntasks: [{name: t, target: t.jsonl, dev: d.jsonl, test: e.jsonl}]\n"
    )
    files = load_config(tmp_path / "study.yaml").pool.files
    assert addresses.address_of(files[0]) == "s3://b/a.jsonl"
    assert addresses.address_of(files[2]) == "hf://datasets/org/name"
    assert [files[1], files[3], files[4]] == [
        tmp_path / "shards/*.parquet",
        tmp_path / "org/here",
        tmp_path / "data/rows.jsonl",
    ]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set of the hub that lies in a folder: what is asked of the network is where it is, and at which commit."""
    package("datasets")
    folder = tmp_path / "hub"
    (folder / "data").mkdir(parents=True)
    for split, rows in (("train", ROWS), ("test", ROWS[:5])):
        pq.write_table(pa.Table.from_pylist(rows), folder / "data" / f"{split}-00000-of-00001.parquet")
    streamed = addresses.streamed

    def from_folder(name: str, config: str | None, revision: str | None, split: str | None, path: Path) -> Any:
        assert (name, revision) == ("org/name", "0123abc")
        return streamed(str(folder), config, None, split, path)

    monkeypatch.setattr(addresses, "streamed", from_folder)
    monkeypatch.setattr(addresses, "_commit", lambda named, path: "0123abc")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.mark.parametrize("name", ["org/name", "hf://datasets/org/name", "hf://datasets/org/name@main"])
def test_a_split_of_the_hub_is_streamed_and_its_commit_noted(name: str, plain: Pool, hub: Path, tmp_path: Path) -> None:
    report = ingest(name, tmp_path / "pool", IngestConfig(split="train"))
    assert report.sources == {"name": 40}
    here = ingest(tmp_path / "rows.jsonl", tmp_path / "here", IngestConfig(source="name"))
    assert report.fingerprint == here.fingerprint
    assert report.files[0].path == "hf://datasets/org/name@0123abc"
    assert report.pool.lines([7])[0] == 8


def test_a_split_of_the_hub_has_to_be_named(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=r"has several splits: name one of .*test") as told:
        ingest("org/name", tmp_path / "pool")
    assert "hf://datasets/org/name@0123abc" in str(told.value)


def test_lance_and_duckdb_give_the_pool_that_a_file_gives(plain: Pool, tmp_path: Path) -> None:
    lance, duckdb = package("lance"), package("duckdb")
    table = pa.Table.from_pylist(ROWS)
    lance.write_dataset(table, str(tmp_path / "rows.lance"))
    with duckdb.connect(str(tmp_path / "rows.duckdb")) as database:
        database.execute("CREATE TABLE chats AS SELECT * FROM read_json_auto(?)", [str(tmp_path / "rows.jsonl")])
        relation = database.sql("SELECT * FROM chats")
        given = [tmp_path / "rows.lance", lance.dataset(str(tmp_path / "rows.lance")), relation, table.to_reader()]
        prints = {
            ingest(one, tmp_path / f"pool{place}", IngestConfig(source="rows")).fingerprint
            for place, one in enumerate(given)
        }
    prints.add(ingest(tmp_path / "rows.duckdb", tmp_path / "duck").fingerprint)
    with duckdb.connect(str(tmp_path / "rows.duckdb")) as database:
        database.execute("CREATE TABLE other AS SELECT 1 AS x")
    prints.add(ingest(tmp_path / "rows.duckdb", tmp_path / "duck2", IngestConfig(split="chats")).fingerprint)
    assert prints == {plain.fingerprint}
    with pytest.raises(PoolError, match=r"The database .*rows\.duckdb has several tables: name one of chats, other"):
        ingest(tmp_path / "rows.duckdb", tmp_path / "duck3")
    (tmp_path / "broken.duckdb").write_bytes(b"no database at all" * 100)
    with pytest.raises(PoolError, match=r"The database .*broken\.duckdb cannot be read"):
        ingest(tmp_path / "broken.duckdb", tmp_path / "duck4")
    (tmp_path / "empty.lance").mkdir()
    with pytest.raises(PoolError, match=r"empty\.lance is no Lance dataset"):
        ingest(tmp_path / "empty.lance", tmp_path / "duck5")


def test_a_frame_without_text_is_refused_by_its_columns(tmp_path: Path) -> None:
    import polars

    with pytest.raises(PoolError, match="fields 'height', 'width'") as told:
        ingest(polars.DataFrame({"height": [1, 2], "width": [3, 4]}), tmp_path / "pool")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("memory://b/none.jsonl", "There is no memory://b/none.jsonl."),
        ("memory://b/*.csv", "The pattern memory://b/*.csv matches no file."),
        ("nothing-here/*.jsonl", "The pattern nothing-here/*.jsonl matches no file."),
        ("memory://b", "memory://b is a folder: name its files, or a pattern such as memory://b/*.parquet"),
        ("memory://b/rows.bz2", "rows.bz2 is packed in a way that is not read"),
        ("nosuchthing://b/rows.jsonl", "nosuchthing://b/rows.jsonl cannot be read (Protocol not known: nosuchthing"),
        ("http://me:geheim123@127.0.0.1:9/rows.jsonl", "http://127.0.0.1:9/rows.jsonl cannot be read"),
        ("org/no-such-set", "org/no-such-set is no file or folder here, and no data set that the hub gives us"),
        ("hf://datasets/org/no-such-set", "hf://datasets/org/no-such-set is no file or folder here, and no data set"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    place: str, said: str, memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    memory.pipe("/b/rows.jsonl", LINES.encode())
    done = CliRunner().invoke(app, ["ingest", place, "--out", str(tmp_path / "pool")])
    assert isinstance(done.exception, AutoSelectionError) and said in str(done.exception)
    assert "\n" not in str(done.exception) and "geheim123" not in str(done.exception)
    assert not (tmp_path / "pool").exists() and not list(tmp_path.glob("*pool*"))


@pytest.mark.parametrize(
    ("name", "file"), [("lance", "rows.lance"), ("duckdb", "rows.duckdb"), ("fsspec", "s3://b/a.jsonl")]
)
def test_a_missing_package_is_named(name: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name, *(module for module in importlib.sys.modules if module.startswith(f"{name}."))]:  # type: ignore[attr-defined]
        monkeypatch.setitem(importlib.sys.modules, module, None)  # type: ignore[attr-defined]
    place = file
    if "://" not in file:
        place = str(tmp_path / file)
        Path(place).mkdir() if name == "lance" else Path(place).write_bytes(b"x")
    with pytest.raises(MissingExtraError, match=r"pip install 'autoselection\[data\]'"):
        ingest(place, tmp_path / "pool")
