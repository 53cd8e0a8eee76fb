"""Rows in memory make the pool that the same rows in a file make."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from autoselection.errors import ConfigError, OtherPoolError, PoolError
from autoselection.pool import IngestConfig, Pool, ingest

ROWS: list[dict[str, Any]] = [
    {
        "prompt": f"What is {i} + {i}?",
        "completion": f"It is {2 * i}.",
        "difficulty": i / 3 if i % 4 else None,
        "number": i,
        "tags": ["sum", "short"][: i % 3],
    }
    for i in range(40)
]
ROWS[7]["completion"] = None
ROWS[9]["prompt"] = " "


def frame(rows: list[dict[str, Any]]) -> Any:
    return pytest.importorskip("pandas").DataFrame(rows)


def dataset(rows: list[dict[str, Any]]) -> Any:
    return pytest.importorskip("datasets").Dataset.from_list(rows)


KINDS: dict[str, Callable[[list[dict[str, Any]]], Any]] = {
    "mappings": list,
    "generator": lambda rows: (row for row in rows),
    "pandas": frame,
    "pandas, chunked": lambda rows: frame(rows * 60).iloc[: len(rows)],
    "polars": pl.DataFrame,
    "lazy polars": lambda rows: pl.DataFrame(rows).lazy(),
    "arrow": pa.Table.from_pylist,
    "record batch": pa.RecordBatch.from_pylist,
    "dataset": dataset,
    "shuffled dataset": lambda rows: dataset(rows[::-1]).select(range(len(rows) - 1, -1, -1)),
    "streamed dataset": lambda rows: dataset(rows).to_iterable_dataset(),
}


@pytest.fixture
def from_file(tmp_path: Path) -> Pool:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return ingest(file, tmp_path / "from_file").pool


@pytest.mark.parametrize("kind", KINDS)
def test_the_pool_is_that_of_the_same_rows_in_a_file(kind: str, from_file: Pool, tmp_path: Path):
    report = ingest(KINDS[kind](ROWS), tmp_path / "pool")
    assert report.fingerprint == from_file.fingerprint
    assert report.pool.row_ids() == from_file.row_ids()
    assert report.pool.metas() == from_file.metas()
    assert report.sources == {"rows": 38}
    assert report.pool.lines()[7] == 9, "the number of the row, from 1"


@pytest.mark.parametrize("kind", KINDS)
def test_bad_rows_have_their_number_and_the_reason(kind: str, tmp_path: Path):
    report = ingest(KINDS[kind](ROWS), tmp_path / "pool")
    assert [str(bad) for bad in report.bad] == [
        "<rows>:8: field 'completion' is missing or empty",
        "<rows>:10: field 'prompt' is missing or empty",
    ]
    assert not report.notes, "that rows in memory have the source 'rows' is no news"


def test_the_same_rows_again_change_nothing_and_more_of_them_extend_the_pool(tmp_path: Path):
    ingest(ROWS[:20], tmp_path / "pool")
    assert ingest(ROWS[:20], tmp_path / "pool").unchanged
    grown = ingest(ROWS, tmp_path / "pool")
    assert grown.appended == 20
    appended = ingest(ROWS[20:], tmp_path / "other", IngestConfig(source="more")).pool
    assert set(appended.sources()) == {"more"}
    again = ingest(ROWS[:20], tmp_path / "other", append=True)
    assert again.sources == {"more": 20, "rows": 18}, "rows in memory are not the file that was there"


def test_other_rows_are_refused_in_words_of_python(tmp_path: Path):
    ingest(ROWS, tmp_path / "pool")
    with pytest.raises(OtherPoolError, match="pass overwrite=True or append=True"):
        ingest(ROWS[3:], tmp_path / "pool")
    assert ingest(ROWS[3:], tmp_path / "pool", overwrite=True).rows == 35


@pytest.mark.parametrize("kind", ["mappings", "pandas", "polars", "dataset"])
def test_columns_of_other_names_are_refused_with_the_map_that_reads_them(kind: str, tmp_path: Path):
    rows = [{"Frage an uns": "Wie geht es?", "Antwort": "Gut, danke."}]
    with pytest.raises(PoolError) as refused:
        ingest(KINDS[kind](rows), tmp_path / "pool")
    said = str(refused.value)
    assert "`IngestConfig(map={'prompt': 'Frage an uns', 'response': 'Antwort'})`" in said
    assert "--" not in said and "pool.ingest" not in said
    config = IngestConfig(map={"prompt": "Frage an uns", "response": "Antwort"})
    assert ingest(KINDS[kind](rows), tmp_path / "pool", config).rows == 1


def test_hints_of_other_kinds_of_rows_are_python_too(tmp_path: Path):
    pairs = [{"prompt": "Hello there?", "chosen": "Hi!", "rejected": "Go away."}] * 3
    with pytest.raises(PoolError, match=r"IngestConfig\(\*\*{'from': 'preference:chosen'}\)"):
        ingest(pairs, tmp_path / "pool")
    report = ingest([*pairs, *ROWS], tmp_path / "pool")
    assert "'from': 'preference:chosen'" in report.notes[0] and "--from" not in report.notes[0]
    assert "--from" not in report.faults[0].first.hint and "--from" not in report.bad[0].hint
    assert "--" not in report._repr_html_()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (5, "No rows can be read from an object of type int: expected paths"),
        (None, "No rows can be read from nothing"),
        ({"prompt": "a", "completion": "b"}, "give one row as \\[row\\]"),
        (b"rows.jsonl", "No rows can be read from an object of type bytes"),
        ([], "No pool file was given, and no row"),
        ([3, 4], "<rows>:1: not a mapping from column to value, but a number"),
        ("no.jsonl", r"The pool file no\.jsonl does not exist\.$"),
        (["my file.jsonl"], r"The pool file my file\.jsonl does not exist\.$"),
        (["How are you?", "Fine?"], "How are you\\? does not exist; .* give rows as dicts"),
        ("What is this text doing here? " * 300, "does not exist"),
        (pl.DataFrame({"prompt": [object()]}), "The column 'prompt' holds Python objects"),
    ],
    ids=[
        "number",
        "nothing",
        "mapping",
        "bytes",
        "empty",
        "numbers",
        "absent file",
        "with a space",
        "texts",
        "long text",
        "objects",
    ],
)
def test_what_is_no_rows_is_refused(given: Any, said: str, tmp_path: Path):
    with pytest.raises(PoolError, match=said) as refused:
        ingest(given, tmp_path / "pool")
    assert len(str(refused.value)) < 400
    assert not (tmp_path / "pool").exists()


def test_a_mapping_is_no_configuration(tmp_path: Path):
    with pytest.raises(ConfigError, match="set by an IngestConfig, not by dict"):
        ingest(ROWS, tmp_path / "pool", {"map": {"prompt": "q"}})  # type: ignore[arg-type]


def test_a_dataset_of_several_splits_wants_one_named(tmp_path: Path):
    splits = pytest.importorskip("datasets").DatasetDict(train=dataset(ROWS), test=dataset(ROWS[:5]))
    with pytest.raises(PoolError, match=r"name one of train, test with IngestConfig\(split=…\)"):
        ingest(splits, tmp_path / "pool")
    assert ingest(splits, tmp_path / "pool", IngestConfig(split="test")).rows == 5


def test_values_of_numpy_and_pandas_are_plain_ones(tmp_path: Path):
    pandas = pytest.importorskip("pandas")
    row = {
        "messages": np.array(
            [{"role": "user", "content": np.str_("Hello?")}, {"role": "assistant", "content": "Hi."}], dtype=object
        ),
        "id": np.int64(7),
        "ratio": np.float32(0.5),
        "nothing": np.nan,
        "unknown": pandas.NA,
        "never": pandas.NaT,
        "vector": np.arange(3),
        "day": datetime.date(2026, 11, 29),
        "pair": (1, "a"),
    }
    plain = {"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hi."}], "id": 7}
    plain |= {"ratio": 0.5, "vector": [0, 1, 2], "day": "2026-11-29", "pair": [1, "a"]}
    assert ingest([row], tmp_path / "a").fingerprint == ingest([plain], tmp_path / "b").fingerprint


def test_a_named_index_is_a_column_and_a_column_twice_is_refused(tmp_path: Path):
    pandas = pytest.importorskip("pandas")
    rows = [{"id": f"r{i}", "prompt": f"Say {i}?", "completion": "Yes."} for i in range(3)]
    pool = ingest(pandas.DataFrame(rows).set_index("id"), tmp_path / "pool").pool
    assert pool.row_ids() == ["r0", "r1", "r2"]
    filtered = pandas.DataFrame(rows)[lambda found: found["id"] != "r1"]
    assert ingest(filtered, tmp_path / "filtered").pool.metas() == [{}, {}], "an index without a name is no column"
    twice = pandas.DataFrame([["a b", "c d", "e f"]], columns=["prompt", "completion", "prompt"])
    with pytest.raises(PoolError, match="have the column 'prompt' twice"):
        ingest(twice, tmp_path / "twice")


def test_rows_that_nobody_can_read_are_bad_rows(tmp_path: Path):
    deep: Any = "x"
    for _ in range(50_000):
        deep = [deep]
    bad = [
        {"prompt": "a b", "completion": "c d", "deep": deep},
        {"prompt": "a b", "completion": "c d", "long": 10**5000},
        {"prompt": "a b", "completion": "c d", "keys": {1: 2}},
        {"prompt": "a b", "completion": "c d", "strange": object()},
        {"prompt": "a\ud800b", "completion": "c d"},
        "a text",
    ]
    report = ingest([*ROWS, *bad], tmp_path / "pool")
    kinds = [found.kind for found in report.bad[2:]]
    assert kinds[:3] == ["nested too deeply", "number too long", "name that is no text"]
    assert kinds[4:] == ["not valid Unicode", "not a mapping"] and report.rows == 38


def test_an_error_of_the_iterable_leaves_nothing(tmp_path: Path):
    def rows() -> Any:
        yield from ROWS
        raise ZeroDivisionError("the caller's own")

    with pytest.raises(ZeroDivisionError, match="own"):
        ingest(rows(), tmp_path / "pool")
    assert list(tmp_path.iterdir()) == []


def test_one_path_is_enough_and_paths_may_come_one_by_one(tmp_path: Path, from_file: Pool):
    file = tmp_path / "rows.jsonl"
    assert ingest(str(file), tmp_path / "a").fingerprint == from_file.fingerprint
    assert ingest(iter([file]), tmp_path / "b").fingerprint == from_file.fingerprint


def test_a_damaged_pool_of_rows_in_memory_asks_for_the_rows_again(tmp_path: Path):
    pool = ingest(ROWS, tmp_path / "pool").pool
    table = pool.path / "pool.arrow"
    table.write_bytes(table.read_bytes()[:-8])
    with pytest.raises(PoolError, match="ingest its rows again, with overwrite=True"):
        Pool.open(pool.path)


def test_values_of_numpy_are_values_and_what_json_cannot_hold_names_its_field(tmp_path: Path) -> None:
    row = {"prompt": "q", "response": "a"}
    one = row | {"half": np.float32(0.5), "none": np.float32("nan"), "list": np.arange(3), "in": {"deep": [np.int8(1)]}}
    assert ingest([one], tmp_path / "pool").pool.metas([0])[0] == {
        "half": 0.5,
        "list": [0, 1, 2],
        "in": {"deep": [1]},
    }
    report = ingest(
        [row, row | {"fine": 1, "tags": {"a"}}, row | {"x": float("nan"), "deep": [object()]}], tmp_path / "other"
    )
    assert [(bad.field, bad.reason) for bad in report.bad] == [
        ("tags", "field 'tags' holds set, which JSON metadata cannot hold"),
        ("deep", "field 'deep' holds object, which JSON metadata cannot hold"),
    ]
