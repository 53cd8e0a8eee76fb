"""Names of the sources that files are."""

from __future__ import annotations

import itertools
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoselection.errors import PoolError
from autoselection.pool import IngestConfig, Pool, ingest
from autoselection.pool.sources import source_names

Write = Callable[..., Path]


def names(*files: str, known: dict[str, str] | None = None) -> list[str]:
    """Names of files below /lab, which are the same in any order."""
    paths = [Path("/lab", file) for file in files]
    before = {Path("/lab", file): name for file, name in (known or {}).items()}
    found = source_names(paths, before)
    order = list(range(len(paths)))
    for seed in range(3):
        random.Random(seed).shuffle(order)
        assert source_names([paths[place] for place in order], before) == [found[place] for place in order]
    return found


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["rows.jsonl"], ["rows"]),
        (["a/rows.jsonl.gz", "a/other.csv"], ["rows", "other"]),
        # two files of one name
        (["math/train.jsonl", "chat/train.jsonl"], ["math/train", "chat/train"]),
        (["math/train.jsonl", "chat/train.jsonl", "chat/extra.jsonl"], ["math/train", "chat/train", "extra"]),
        (["x/a/train.jsonl", "y/a/train.jsonl"], ["x/a/train", "y/a/train"]),
        (["x/a/train.jsonl", "y/a/train.jsonl", "b/train.jsonl"], ["x/a/train", "y/a/train", "b/train"]),
        (["math/data/train.parquet", "chat/data/train.parquet"], ["math/train", "chat/train"]),
        (["math/data/train.parquet", "math/train.parquet"], ["math/data/train", "lab/math/train"]),
        (["train.jsonl", "math/train.jsonl"], ["lab/train", "math/train"]),
        # two files of one name and folder
        (["train.jsonl", "train.csv"], ["train.jsonl", "train.csv"]),
        (["train.jsonl", "train.jsonl.gz"], ["train.jsonl", "train.jsonl.gz"]),
        # shards
        ([f"data/train-0000{i}-of-00003.parquet" for i in range(3)], ["train"] * 3),
        (["train-00000-of-00001.parquet"], ["train"]),
        (
            ["train-00000-of-00002-0123456789abcdef.parquet", "train-00001-of-00002-fedcba9876543210.parquet"],
            ["train"] * 2,
        ),
        (
            [f"{d}/data/train-0000{i}-of-00002.parquet" for d in "xy" for i in range(2)],
            ["x/train"] * 2 + ["y/train"] * 2,
        ),
        (["train-00000-of-00001.parquet", "test-00000-of-00001.parquet"], ["train", "test"]),
        (["a/part-1.jsonl", "a/part-2.jsonl"], ["a", "a"]),
        (["a/part-00000-9f2b1c3d-1111-2222-3333-444455556666-c000.snappy.parquet", "a/part-1.parquet"], ["a", "a"]),
        (["a/part-1-of-2.jsonl", "a/part-2-of-2.jsonl"], ["a", "a"]),
        (["chat.part1.jsonl", "chat.part2.jsonl"], ["chat", "chat"]),
        (["chat_shard_3.jsonl", "chat_shard_9.jsonl"], ["chat", "chat"]),
        (["data_0.jsonl", "data_1.jsonl", "data_2.jsonl"], ["data"] * 3),
        (["data_1.jsonl", "data_2.jsonl"], ["data"] * 2),
        (["data_0.jsonl", "data_2.jsonl"], ["data"] * 2),
        (["a/0.jsonl", "a/1.jsonl"], ["a", "a"]),
        (["a/000_00000.parquet", "a/000_00001.parquet", "a/001_00000.parquet"], ["a"] * 3),
        (["data_0.jsonl.gz", "data_1.jsonl"], ["data"] * 2),
        (["data_0.jsonl", "data_1.jsonl", "data_0.csv", "data_1.csv"], ["data.jsonl"] * 2 + ["data.csv"] * 2),
        (["train-09999.jsonl", "train-10000.jsonl"], ["train"] * 2),
        (["x/data_0.jsonl", "x/data_1.jsonl", "y/data_0.jsonl", "y/data_1.jsonl"], ["x/data"] * 2 + ["y/data"] * 2),
        # numbers that belong to the name
        (["gsm8k.jsonl"], ["gsm8k"]),
        (["math_500.jsonl"], ["math_500"]),
        (["data_0.jsonl"], ["data_0"]),
        (["math_500.jsonl", "math_501.jsonl"], ["math_500", "math_501"]),
        (["wiki-2023.jsonl", "wiki-2024.jsonl"], ["wiki-2023", "wiki-2024"]),
        (["alpaca-v1.jsonl", "alpaca-v2.jsonl"], ["alpaca-v1", "alpaca-v2"]),
        (["llama-2.jsonl", "llama-3.jsonl"], ["llama-2", "llama-3"]),
        (["llama2.jsonl", "llama3.jsonl"], ["llama2", "llama3"]),
        (["x/data_0.jsonl", "y/data_1.jsonl"], ["data_0", "data_1"]),
        (["exp_1.jsonl", "exp_500.jsonl"], ["exp_1", "exp_500"]),
        (["gsm8k.jsonl", "math_500.jsonl", "math_1.jsonl"], ["gsm8k", "math_500", "math_1"]),
    ],
)
def test_default_names(files: list[str], expected: list[str]) -> None:
    assert names(*files) == expected


def test_files_of_a_pool_keep_their_names_and_others_get_new_ones() -> None:
    known = {"math/train.jsonl": "train"}
    assert names("chat/train.jsonl", known=known) == ["chat/train"]
    assert names("math/train.jsonl", "chat/train.jsonl", known=known) == ["train", "chat/train"]
    assert names("data/train-00001-of-00002.parquet", known={"data/train-00000-of-00002.parquet": "train"}) == ["train"]
    old = {f"d/train-0000{i}-of-00003.parquet": f"train-0000{i}-of-00003" for i in range(2)}
    assert names("d/train-00002-of-00003.parquet", known=old) == ["train-00002-of-00003"]


FOLDERS = st.sampled_from(["a", "b", "a/data", "b/data", "c/a"])
STEMS = st.sampled_from(
    ["train", "test", "x_0", "x_1", "x_2", "y-00000-of-00002", "y-00001-of-00002", "part-3", "m_500"]
)
SUFFIXES = st.sampled_from([".jsonl", ".jsonl.gz", ".csv"])


@given(st.lists(st.tuples(FOLDERS, STEMS, SUFFIXES), min_size=1, max_size=8, unique=True))
def test_files_share_a_source_only_as_shards_of_one_folder(files: list[tuple[str, str, str]]) -> None:
    found = names(*(f"{folder}/{stem}{suffix}" for folder, stem, suffix in files))
    for (one, first), (two, second) in itertools.combinations(zip(files, found, strict=True), 2):
        if first == second:
            assert one[0] == two[0]
            assert one[1][0] == two[1][0]  # x_0 and x_1, the shards of y, part-3 with itself: one letter begins each
            assert one[1] != two[1]


def rows(count: int, **fields: str) -> list[dict[str, str]]:
    return [{"prompt": f"q{i}", "completion": "a", **fields} for i in range(count)]


def test_sources_of_files_reach_the_pool_and_are_said(tmp_path: Path, write: Write) -> None:
    for folder in ("math", "chat"):
        (tmp_path / folder).mkdir()
        for part in (0, 1):
            write(f"{folder}/train_{part}.jsonl", rows(2), container="jsonl")
    files = [tmp_path / folder / f"train_{part}.jsonl" for folder in ("math", "chat") for part in (0, 1)]
    report = ingest(files, tmp_path / "pool")
    assert report.sources == {"chat/train": 4, "math/train": 4}
    assert report.notes == (
        "Source 'chat/train': 2 files, train_0.jsonl to train_1.jsonl.",
        "Source 'math/train': 2 files, train_0.jsonl to train_1.jsonl.",
    )
    assert ingest(files[:2], tmp_path / "other").sources == {"train": 4}
    assert ingest(files[2:], tmp_path / "other", append=True).sources == {"chat/train": 4, "train": 4}
    assert ingest(files, tmp_path / "other").unchanged


def test_patterns_name_sources_whatever_the_rows_say(tmp_path: Path, write: Write) -> None:
    one, two, three = (write(f"{name}.jsonl", rows(1, source="https://x")) for name in ("math_a", "math_b", "chat"))
    config = IngestConfig(sources={"math": "math_*"})
    assert ingest([one, two, three], tmp_path / "pool", config).sources == {"https://x": 1, "math": 2}
    assert Pool.open(tmp_path / "pool").metas()[0] == {"source": "https://x"}
    assert ingest([one, three], tmp_path / "all", IngestConfig(sources={"all": "*"})).sources == {"all": 2}
    with pytest.raises(PoolError, match=r"No file given matches the pattern 'maths\*' of the source 'm'"):
        ingest([one], tmp_path / "x", IngestConfig(sources={"m": "maths*"}))
    with pytest.raises(
        PoolError, match=r"matches the patterns of two sources, 'a' \(math_\*\) and 'b' \(\*_a\.jsonl\)"
    ):
        ingest([one], tmp_path / "x", IngestConfig(sources={"a": "math_*", "b": "*_a.jsonl"}))


def test_a_column_names_sources(tmp_path: Path, write: Write) -> None:
    path = write("rows.csv", "Topic,question,answer\nalgebra,q,a\n,r,b\n")
    report = ingest([path], tmp_path / "pool", IngestConfig(source_field="topic"))
    assert report.sources == {"algebra": 1, "rows": 1}


def made_old(pool: Path) -> None:
    """Make a pool look as if an older version had made it, which noted no sources of files."""
    manifest = json.loads((pool / "manifest.json").read_text())
    for record in manifest["files"]:
        del record["source"]
    del manifest["rules"]
    (pool / "manifest.json").write_text(
        json.dumps({key: value for key, value in manifest.items() if key != "checksum"})
    )


def test_an_old_pool_keeps_the_sources_that_it_made_of_shards(tmp_path: Path, write: Write) -> None:
    """Else a study that was begun with an older version could not go on."""
    paths = [write(f"train_{part}.jsonl", rows(2), container="jsonl") for part in (0, 1)]
    first = ingest(
        paths, tmp_path / "pool", IngestConfig(sources={f"train_{part}": f"train_{part}.jsonl" for part in (0, 1)})
    )
    made_old(tmp_path / "pool")
    again = ingest(paths, tmp_path / "pool")
    assert (again.unchanged, again.fingerprint) == (True, first.fingerprint)
    assert ingest(paths, tmp_path / "pool", overwrite=True).sources == {"train": 4}


def test_an_old_pool_that_was_read_otherwise_is_left_as_it_is_and_said(tmp_path: Path, write: Write) -> None:
    turns = [
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"},
    ]
    path = write("rows.jsonl", [{"messages": turns}, {"messages": turns[1:]}])
    first = ingest([path], tmp_path / "pool", IngestConfig(assistant_opens=True))
    with pytest.raises(PoolError, match="already holds another pool"):
        ingest([path], tmp_path / "pool")
    made_old(tmp_path / "pool")
    again = ingest([path], tmp_path / "pool")
    assert (again.unchanged, again.fingerprint, again.rows) == (True, first.fingerprint, 2)
    assert "by an older version, which read them differently (2 rows, now 1)" in again.notes[-1]
    path.write_text(path.read_text() + "\n")
    with pytest.raises(PoolError, match="already holds another pool"):
        ingest([path], tmp_path / "pool")
    assert ingest([path], tmp_path / "pool", overwrite=True).rows == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_file_whose_name_is_not_utf8_is_read(tmp_path: Path) -> None:
    for name in (b"caf\xe9.jsonl", b"caf\xe8.jsonl"):
        (tmp_path / os.fsdecode(name)).write_text(f'{{"prompt": "a", "response": "{name[3]}"}}\n')
    report = ingest(sorted(tmp_path.glob("*.jsonl")), tmp_path / "pool")
    assert (report.rows, report.skipped) == (2, 0)
    assert report.pool.source_names == ("caf\\udce8", "caf\\udce9")
