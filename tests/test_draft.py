"""``autoselection init``: what is named stands in the configuration in such a way that it is found again from there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autoselection.cli import app
from autoselection.config import StudyConfig, load_config
from autoselection.errors import AutoSelectionError, ConfigError, PoolError
from autoselection.pool import ingest
from autoselection.pool.addresses import shown


@pytest.fixture(autouse=True)
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Raw files and two pools of them, in the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("shards").mkdir()
    for name in ("rows.jsonl", "shards/a.jsonl", "shards/b.jsonl"):
        Path(name).write_text('{"prompt": "Is it late?", "response": "Yes."}\n')
    for pool in ("pool", "other"):
        ingest([Path("rows.jsonl")], Path(pool))
    return tmp_path / "rows.jsonl"


def _init(path: str, *arguments: str) -> StudyConfig:
    done = CliRunner().invoke(app, ["init", path, *arguments])
    if isinstance(done.exception, AutoSelectionError):
        raise done.exception
    assert done.exit_code == 0
    return load_config(Path(path))


def test_raw_rows_are_named_as_for_every_command(tmp_path: Path) -> None:
    named = ("rows.jsonl", "shards/*.jsonl", "s3://b/a.jsonl", "https://h/*.jsonl.gz", "org/name:part@main")
    files = _init("in/study.yaml", *(word for name in named for word in ("--pool", name))).pool.files
    assert [*map(shown, files)] == [
        str(tmp_path / "rows.jsonl"),
        str(tmp_path / "shards" / "*.jsonl"),
        "s3://b/a.jsonl",
        "https://h/*.jsonl.gz",
        "hf://datasets/org/name:part@main",
    ]
    with pytest.raises(PoolError, match=r"The pattern shards/\*\.csv matches no file"):
        _init("b.yaml", "--pool", "shards/*.csv")
    with pytest.raises(ConfigError, match="--pool s3://b/a: leave user and password out of the address") as told:
        _init("b.yaml", "--pool", "s3://me:hunter2@b/a")
    assert "hunter2" not in str(told.value) and not Path("b.yaml").exists()


def test_a_pool_is_named_alone() -> None:
    for others in (("pool", "other"), ("rows.jsonl", "pool")):
        with pytest.raises(ConfigError, match="--pool pool: a study has one pool, so name it alone"):
            _init("a.yaml", *(word for name in others for word in ("--pool", name)))
    assert not Path("a.yaml").exists()


def test_a_study_stands_for_its_pool(tmp_path: Path) -> None:
    Path("study").mkdir()
    Path("study/journal.jsonl").write_text("")
    Path("study/config.yaml").write_text(
        f"pool: {{path: {tmp_path / 'other'}}}\nmodel: {{path: m}}\ntasks: [{{name: t, dev: d}}]"
    )
    assert _init("a.yaml", "--pool", "study").pool.path == tmp_path / "other"
    ingest([Path("rows.jsonl")], Path("study/pool"))
    assert _init("b.yaml", "--pool", "study").pool.path == tmp_path / "study" / "pool"


def test_what_is_named_is_found_through_links(tmp_path: Path) -> None:
    Path("far/away").mkdir(parents=True)
    Path("far/rows.jsonl").write_text("")
    Path("link").symlink_to("far/away")
    Path("data").symlink_to("far")
    Path("written.yaml").symlink_to("far/away/study.yaml")
    for path, given in (
        ("link/study.yaml", "rows.jsonl"),
        ("written.yaml", "rows.jsonl"),
        ("a.yaml", "link/../rows.jsonl"),
        ("link/b.yaml", "link/../rows.jsonl"),
    ):
        (found,) = _init(path, "--pool", given, "--overwrite").pool.files
        assert found.samefile(given)
    assert _init("c.yaml", "--pool", "data/rows.jsonl").pool.files == (tmp_path / "data" / "rows.jsonl",)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_not_utf8_cannot_stand_in_a_configuration() -> None:
    name = os.fsdecode(b"caf\xe9.jsonl")
    Path(name).write_text("")
    with pytest.raises(ConfigError, match=r"caf\ufffd\.jsonl: the name is not UTF-8"):
        _init("a.yaml", "--pool", name)
    assert not Path("a.yaml").exists()
