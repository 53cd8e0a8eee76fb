"""Where each row was read, and the user's own columns: kept for every format and container."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoselection.pool import IngestConfig, Pool, ingest

Write = Callable[..., Path]

#: A pool as a version wrote it that kept no places, from rows.jsonl: q/a of the source rows with k=1, q2/a of the source z.
OLD_POOL = Path(__file__).parent / "data" / "pool-without-places"


@pytest.mark.parametrize("container", ["csv", "json", "jsonl", "parquet", "tsv"])
def test_every_row_knows_its_file_line_and_the_users_columns(container: str, write: Write, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {
            "prompt": f"q{i}",
            "completion": "two\nlines" if i == 1 else "a",
            "level": "hard" if i else "easy",
            "id": str(i),
        }
        for i in range(4)
    ]
    rows[2]["completion"] = ""
    path = write(f"rows.{container}", rows)
    ingest([path], tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    assert pool.files() == [str(path)] * 3
    lines = {"csv": [2, 3, 6], "tsv": [2, 3, 6], "jsonl": [1, 2, 4], "parquet": [1, 2, 4], "json": [2, 8, 20]}
    assert pool.lines() == lines[container]
    assert pool.lines([2, 0]) == [lines[container][2], lines[container][0]]
    assert pool.metas() == [{"level": "easy"}, {"level": "hard"}, {"level": "hard"}]


def test_rows_of_saved_datasets_know_their_number(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{"prompt": f"q{i}", "completion": "a", "level": i} for i in range(3)]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    ingest([tmp_path / "saved"], tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    assert (pool.files(), pool.lines()) == ([str(tmp_path / "saved")] * 3, [1, 2, 3])
    assert pool.metas() == [{"level": 0}, {"level": 1}, {"level": 2}]


def test_places_of_several_files_and_appended_ones(write: Write, tmp_path: Path) -> None:
    names = ["one.jsonl", "two.jsonl", "three.jsonl"]
    paths = [write(name, [{"prompt": f"{name} {i}", "completion": "a"} for i in range(3)]) for name in names]
    ingest(paths[:2], tmp_path / "pool")
    ingest(paths[2:], tmp_path / "pool", append=True)
    pool = Pool.open(tmp_path / "pool")
    assert pool.files() == [str(path) for path in paths for _ in range(3)]
    assert pool.lines() == [1, 2, 3] * 3
    assert pool.files([8, 0]) == [str(paths[2]), str(paths[0])]


def test_a_pool_made_before_rows_knew_their_place_still_opens_and_grows(write: Write, tmp_path: Path) -> None:
    shutil.copytree(OLD_POOL, tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    pool.verify()
    assert pool.texts() == ["q\na", "q2\na"]
    assert (pool.files(), pool.lines(), pool.metas()) == ([None] * 2, [None] * 2, [{"k": 1}, {}])
    path = write("more.jsonl", [{"prompt": "q3", "completion": "a"}])
    ingest([path], tmp_path / "pool", append=True)
    pool = Pool.open(tmp_path / "pool")
    pool.verify()
    assert (pool.files(), pool.lines()) == ([None, None, str(path)], [None, None, 1])


def test_the_same_files_still_give_the_rows_of_an_old_pool(write: Write, tmp_path: Path) -> None:
    rows = [{"prompt": "q", "completion": "a", "k": 1}, {"prompt": "q2", "completion": "a", "source": "z"}]
    path = write("rows.jsonl", rows)
    shutil.copytree(OLD_POOL, tmp_path / "old")
    assert ingest([path], tmp_path / "new").fingerprint == Pool.open(tmp_path / "old").fingerprint
    assert Pool.open(tmp_path / "new").row_ids() == Pool.open(tmp_path / "old").row_ids()
    assert ingest([path], tmp_path / "old").unchanged


def test_places_and_content_do_not_mix(write: Write, tmp_path: Path) -> None:
    """The same rows from another file and other lines are the same pool."""
    one = write("one.jsonl", '{"prompt": "q", "completion": "a"}\n')
    two = write("two.jsonl", '\n\n{"prompt": "q", "completion": "a"}\n')
    config = IngestConfig(source="s")
    assert ingest([one], tmp_path / "a", config).fingerprint == ingest([two], tmp_path / "b", config).fingerprint
