from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoselection.errors import ConfigError, PoolError
from autoselection.export import (
    DatasetCard,
    export_hf_dataset,
    export_messages,
    export_sharegpt,
    export_subset,
    export_target,
)
from autoselection.pool import IngestConfig, Pool, ingest

CARD = DatasetCard(title="Subset", recipe={"version": 1, "steps": []})


def read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_messages_keep_order_ids_and_sources(pool: Pool, tmp_path: Path) -> None:
    rows = np.array([2, 0, 1])
    report = export_messages(pool, rows, tmp_path / "new" / "out.jsonl")
    assert (report.rows, report.left_out) == (3, ())
    records = read_lines(report.path)  # splitlines: no line break of any kind inside a line
    assert [record["id"] for record in records] == ["tool", "one", "multi"]
    assert [record["source"] for record in records] == ["tools | # x", "web", "web"]
    assert [record["messages"] for record in records] == pool.messages(rows)


def test_exported_messages_are_the_same_pool_when_read_back(pool: Pool, tmp_path: Path) -> None:
    export_messages(pool, None, tmp_path / "out.jsonl")
    assert ingest([tmp_path / "out.jsonl"], tmp_path / "again").fingerprint == pool.fingerprint


def test_failed_export_leaves_the_old_file(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("old")
    with pytest.raises(PoolError, match="Row 5 is not in the pool"):
        export_messages(pool, [0, 5], tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == "old"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl", "pool"]
    with pytest.raises(ConfigError, match="is a folder"):
        export_messages(pool, [0], tmp_path)


def test_sharegpt_rows_and_what_cannot_be_held(pool: Pool, tmp_path: Path) -> None:
    report = export_sharegpt(pool, None, tmp_path / "lf", "best-v1.0")
    assert (report.rows, report.left_out) == (3, ("open", "twice"))
    one, multi, tool = read_lines(tmp_path / "lf" / "best-v1.0.jsonl")
    assert one["system"] == ""
    assert multi["system"] == "s"
    assert [turn["from"] for turn in multi["conversations"]] == ["human", "gpt", "human", "gpt"]
    assert [turn["value"] for turn in multi["conversations"]] == ["q1", "a1", "q2", "a2"]
    assert [turn["from"] for turn in tool["conversations"]] == ["human", "gpt", "observation", "gpt"]


def test_dataset_info_names_file_columns_and_tags(pool: Pool, tmp_path: Path) -> None:
    export_sharegpt(pool, [0], tmp_path, "best")
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    assert info == {
        "best": {
            "file_name": "best.jsonl",
            "formatting": "sharegpt",
            "columns": {"messages": "conversations", "system": "system"},
            "tags": {
                "role_tag": "from",
                "content_tag": "value",
                "user_tag": "human",
                "assistant_tag": "gpt",
                "observation_tag": "observation",
                "function_tag": "function_call",
                "system_tag": "system",
            },
        }
    }


def test_dataset_info_keeps_other_datasets(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text('{"theirs": {"hf_hub_url": "x/y"}, "taken": {"file_name": "z.json"}}')
    export_sharegpt(pool, [0], tmp_path, "best")
    export_sharegpt(pool, [0, 1], tmp_path, "best")
    assert list(json.loads((tmp_path / "dataset_info.json").read_text())) == ["theirs", "taken", "best"]
    with pytest.raises(ConfigError, match="already has a dataset 'taken'"):
        export_sharegpt(pool, [0], tmp_path, "taken")
    (tmp_path / "dataset_info.json").write_text("[")
    with pytest.raises(ConfigError, match="cannot be read"):
        export_sharegpt(pool, [0], tmp_path, "best")


@pytest.mark.parametrize(
    "name", ["", "..", "../up", "/abs", "a/b", "a\\b", ".hidden", "a\n", "x" * 101, "é", "a.", "-x"]
)
def test_names_never_become_paths_unchecked(name: str, pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no name for a dataset"):
        export_sharegpt(pool, [0], tmp_path / "lf", name)
    assert not (tmp_path / "lf").exists()


def test_sharegpt_export_is_read_back(pool: Pool, tmp_path: Path) -> None:
    export_sharegpt(pool, [0, 1, 2], tmp_path / "lf", "best")
    ingest([tmp_path / "lf" / "best.jsonl"], tmp_path / "again")
    assert Pool.open(tmp_path / "again").messages() == pool.messages([0, 1, 2])


def test_hugging_face_folder_is_loaded_by_datasets(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr("autoselection.export.dataset_folder._SHARD_BYTES", 1)
    monkeypatch.setattr("autoselection.export.written.BATCH_ROWS", 2)
    rows = np.array([3, 1, 0, 2])
    report = export_hf_dataset(pool, rows, tmp_path / "hf", CARD)
    assert report.rows == 4
    names = sorted(path.name for path in (tmp_path / "hf" / "data").iterdir())
    checksum = names[0].removesuffix(".parquet").rpartition("-")[2]
    assert names == [f"train-0000{number}-of-00002-{checksum}.parquet" for number in (0, 1)] and len(checksum) == 16
    loaded = datasets.load_dataset(str(tmp_path / "hf"), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"]
    assert loaded["train"]["id"][:] == ["open", "multi", "one", "tool"]
    assert loaded["train"]["source"][:] == pool.sources(rows)
    assert loaded["train"]["messages"][:] == pool.messages(rows)


def test_datasets_loads_the_rows_that_a_folder_holds_now_not_those_it_loaded_before(pool: Pool, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")

    def loaded(folder: Path) -> list[str]:  # with one cache, as users have it
        return datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))["id"][:]  # type: ignore[no-any-return]

    export_hf_dataset(pool, [0, 1], tmp_path / "hf", CARD)
    assert loaded(tmp_path / "hf") == ["one", "multi"]
    export_hf_dataset(pool, [2], tmp_path / "hf", CARD, overwrite=True)
    assert loaded(tmp_path / "hf") == pool.row_ids([2])
    export_hf_dataset(pool, [3, 0], tmp_path / "elsewhere" / "hf", CARD)
    assert loaded(tmp_path / "elsewhere" / "hf") == pool.row_ids([3, 0])
    export_hf_dataset(pool, [0, 3], tmp_path / "hf", CARD, overwrite=True)
    assert loaded(tmp_path / "hf") == pool.row_ids([0, 3]), "the same rows in another order"


def test_hugging_face_folder_is_read_back_by_ingest(pool: Pool, tmp_path: Path) -> None:
    export_hf_dataset(pool, None, tmp_path / "hf", CARD)
    assert ingest([tmp_path / "hf"], tmp_path / "again").fingerprint == pool.fingerprint


def test_empty_subset_is_a_valid_folder(pool: Pool, tmp_path: Path) -> None:
    assert export_hf_dataset(pool, [], tmp_path / "hf", CARD).rows == 0
    assert "0 of the 5 rows" in (tmp_path / "hf" / "README.md").read_text()


@pytest.mark.parametrize("name", [".", "", "./", "..", "sub/.."])
def test_a_folder_without_a_name_is_refused_before_anything_is_written(
    name: str, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "empty" / "here")
    for refused in (
        lambda: export_hf_dataset(pool, [0], name, CARD),
        lambda: export_subset(pool, [0], name, card=CARD),
        lambda: export_target(name, "hf", overwrite=True),
    ):
        with pytest.raises(ConfigError, match="does not name the folder: give its name, such as subset"):
            refused()
    assert list((tmp_path / "empty" / "here").iterdir()) == []


def test_used_folders_are_not_overwritten(pool: Pool, tmp_path: Path) -> None:
    export_hf_dataset(pool, [0], tmp_path / "hf", CARD)
    with pytest.raises(ConfigError, match="is not empty"):
        export_hf_dataset(pool, [0], tmp_path / "hf", CARD)
    export_hf_dataset(pool, [0, 1], tmp_path / "hf", CARD, overwrite=True)
    (tmp_path / "hf" / "thesis.tex").write_text("dear")
    with pytest.raises(ConfigError, match="holds more than an earlier export"):
        export_hf_dataset(pool, [0], tmp_path / "hf", CARD, overwrite=True)
    (tmp_path / "hf" / "thesis.tex").unlink()
    export_hf_dataset(pool, [0], tmp_path / "hf", CARD, overwrite=True)
    with pytest.raises(ConfigError, match="is a file"):
        export_hf_dataset(pool, [0], tmp_path / "in.jsonl", CARD)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["hf", "in.jsonl", "pool"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data/raw.csv", "mine"),
        ("data/sub/train-x.parquet", "mine"),
        ("data/train-/x", "mine"),
        ("README.md", "# Mine"),
        ("README.md", "---\ntags: [mine]\n---\n# Mine"),
        ("README.md", "---\ntags: autoselection: [\n---\n"),
        ("README.md", None),
    ],
)
def test_a_folder_of_somebody_else_with_readme_and_data_is_never_replaced(
    name: str, text: str | None, pool: Pool, tmp_path: Path
) -> None:
    folder = tmp_path / "hf"
    export_hf_dataset(pool, [0], folder, CARD)
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="holds more than an earlier export"):
        export_hf_dataset(pool, [1], folder, CARD, overwrite=True)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_rows_that_count_more_than_once_are_written_as_often_and_the_report_says_so(pool: Pool, tmp_path: Path) -> None:
    report = export_messages(pool, np.array([2, 0, 1, 0, 0, 1]), tmp_path / "out.jsonl")
    assert [record["id"] for record in read_lines(report.path)] == ["tool", "one", "multi", "one", "one", "multi"]
    assert report.remarks == (
        "3 of the 6 rows are copies: a row that counts more than once stands there as often, under one id.",
    )
    assert export_messages(pool, np.array([2, 0, 1]), tmp_path / "out.jsonl").remarks == ()


def test_a_card_tells_different_rows_and_copies_apart(pool: Pool, tmp_path: Path) -> None:
    export_hf_dataset(pool, [2, 0, 0, 0, 1, 1, 2, 3, 4, 4], tmp_path / "hf", CARD)
    text = (tmp_path / "hf" / "README.md").read_text()
    assert "5 of the 5 rows (100.0%) of a fixed" in text and "With copies it has 10 rows:" in text
    assert "| web | 4 | 8 | 4 |" in text and "| tools \\| \\# x | 1 | 2 | 1 |" in text
    export_hf_dataset(pool, [2, 0], tmp_path / "once", CARD)
    text = (tmp_path / "once" / "README.md").read_text()
    assert "2 of the 5 rows (40.0%)" in text and "copies" not in text and "| web | 1 | 4 |" in text


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "hf"])
def test_copies_are_read_once_and_none_is_a_bad_row(name: str, pool: Pool, tmp_path: Path) -> None:
    rows = np.array([2, 0, 1, 0, 0, 1])
    export_subset(pool, rows, tmp_path / name)
    report = ingest([tmp_path / name], tmp_path / "again", IngestConfig(on_bad_row="refuse"))
    assert (report.rows, report.skipped) == (3, 0) and Pool.open(tmp_path / "again").row_ids() == [
        "tool",
        "one",
        "multi",
    ]
    assert [note for note in report.notes if "3 rows of the files are copies of another row" in note]


def test_a_row_of_the_same_id_and_turns_with_other_fields_is_no_copy(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    rows = [
        {"id": "x", "messages": turns, **more} for more in ({"score": 1}, {"score": 2}, {"score": 1, "source": "b"})
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0]]))
    report = ingest([tmp_path / "rows.jsonl"], tmp_path / "pool")
    assert (report.rows, report.skipped) == (1, 2)
    assert [note for note in report.notes if "1 row of the files is a copy of another row" in note]
