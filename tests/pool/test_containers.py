from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autoselection.errors import PoolError
from autoselection.pool import IngestConfig, Pool, ingest, json_reader

CONTAINERS = ["csv", "json", "jsonl", "parquet", "tsv"]

EXPECTED = [
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi\u2028there"},
        {"role": "assistant", "content": 'Hello, "you"\nand you'},
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "2"},
    ],
    [
        {"role": "system", "content": "Count."},
        {"role": "user", "content": "a\u0085b"},
        {"role": "assistant", "content": "é, 中文 🙂"},
        {"role": "user", "content": "next"},
        {"role": "assistant", "content": "done"},
    ],
]


def chat(question: str, answer: str, **fields: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns, **fields}


SHAREGPT = {"user": "human", "assistant": "gpt"}


def as_format(row_format: str, conversation: list[dict[str, str]]) -> dict[str, Any]:
    system, *turns = conversation
    if row_format == "messages":
        return {"messages": conversation}
    if row_format == "sharegpt":
        listed = [{"from": SHAREGPT[turn["role"]], "value": turn["content"]} for turn in turns]
        return {"conversations": listed, "system": system["content"]}
    if row_format == "alpaca":
        return {
            "instruction": turns[2]["content"],
            "input": "",
            "output": turns[3]["content"],
            "system": system["content"],
            "history": [[turns[0]["content"], turns[1]["content"]]],
        }
    return {"prompt": conversation[:-1], "completion": conversation[-1:]}


def in_prompt(conversation: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The conversation of a prompt and its completion: answers in the prompt have no loss."""
    last = len(conversation) - 1
    return [
        {**turn, "weight": 0} if turn["role"] == "assistant" and place < last else turn
        for place, turn in enumerate(conversation)
    ]


@pytest.mark.parametrize("codec", [None, "gzip", "zstd"])
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("row_format", ["messages", "sharegpt", "alpaca", "prompt-completion"])
def test_every_format_in_every_container_is_detected_and_read(
    row_format: str, container: str, codec: str | None, write: Callable[..., Path], tmp_path: Path
) -> None:
    rows = [as_format(row_format, conversation) for conversation in EXPECTED]
    suffix = {None: "", "gzip": ".gz", "zstd": ".zst"}[codec]
    report = ingest([write(f"rows.{container}{suffix}", rows, codec)], tmp_path / "pool")
    assert (report.rows, report.skipped, report.format) == (2, 0, row_format)
    pool = Pool.open(tmp_path / "pool")
    assert pool.messages() == ([*map(in_prompt, EXPECTED)] if row_format == "prompt-completion" else EXPECTED)
    assert pool.source_names == ("rows",)


def test_cells_hold_turns_as_json_where_they_are_turns(write: Callable[..., Path], tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Hi"}], [{"role": "assistant", "content": "Hello"}]
    called = [{"role": "assistant", "tool_calls": [{"name": "now", "arguments": {}}]}]
    data = [
        ("[1, 2]", '[{"name": "Bo"}]'),
        ('[{"role": "engineer", "content": "x"}]', '[{"from": "EUR", "value": 3}]'),
        ("[{'role': 'user'", '{"role": "assistant", "content": "a"}'),
        ('[{"role": "user"}]', "[]"),
    ]
    twice = '[{"role": "user", "content": "a", "content": "b"}]'
    rows = [
        dict(zip(("prompt", "completion"), map(json.dumps, row), strict=True)) for row in (turns, (turns[0], called))
    ]
    rows += [{"prompt": prompt, "completion": completion} for prompt, completion in data]
    report = ingest([write("rows.csv", [*rows, {"prompt": twice, "completion": "c"}])], tmp_path / "pool")
    messages = Pool.open(tmp_path / "pool").messages()
    assert messages[0] == [*turns[0], *turns[1]]
    assert messages[1][1] == {"role": "assistant", "content": "", "tool_calls": [{"name": "now", "arguments": "{}"}]}
    assert [tuple(turn["content"] for turn in row) for row in messages[2:]] == data
    assert [(bad.line, bad.field, bad.kind) for bad in report.bad] == [(8, "prompt", "key twice")]


def test_a_system_prompt_beside_turns_counts_in_every_container(write: Callable[..., Path], tmp_path: Path) -> None:
    row = chat("q", "a", system_prompt="Be brief.")
    for container in CONTAINERS:
        ingest([write(f"rows.{container}", [row])], tmp_path / container)
        pool = Pool.open(tmp_path / container)
        assert [turn["content"] for turn in pool.messages()[0]] == ["Be brief.", "q", "a"] and pool.metas() == [{}]


def test_containers_give_the_same_fingerprint(write: Callable[..., Path], tmp_path: Path) -> None:
    rows = [as_format("sharegpt", conversation) for conversation in EXPECTED]
    prints = {ingest([write(f"rows.{container}", rows)], tmp_path / container).fingerprint for container in CONTAINERS}
    assert len(prints) == 1


@pytest.mark.parametrize("kind", ["dataset", "dict"])
def test_saved_hugging_face_dataset(kind: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_list([as_format("sharegpt", conversation) for conversation in EXPECTED])
    if kind == "dict":
        data = datasets.DatasetDict({"train": data, "test": data.select([0])})
    data.save_to_disk(tmp_path / "saved")
    if kind == "dict":
        with pytest.raises(PoolError, match="several splits: name one of train, test with --split"):
            ingest([tmp_path / "saved"], tmp_path / "pool")
    ingest([tmp_path / "saved"], tmp_path / "pool", IngestConfig(split="train" if kind == "dict" else None))
    assert Pool.open(tmp_path / "pool").messages() == EXPECTED


def test_damaged_hugging_face_dataset(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "state.json").write_text("{}")
    with pytest.raises(PoolError, match="damaged"):
        ingest([tmp_path / "saved"], tmp_path / "pool")


def test_parquet_repository_folder_with_splits(tmp_path: Path) -> None:
    data = tmp_path / "repo" / "data"
    data.mkdir(parents=True)
    for split, answer in (("train-00000-of-00002", "a"), ("train-00001-of-00002", "b"), ("test-00000-of-00001", "c")):
        pq.write_table(pa.Table.from_pylist([chat("q", answer)]), data / f"{split}.parquet")
    with pytest.raises(PoolError, match="several splits"):
        ingest([tmp_path / "repo"], tmp_path / "pool")
    ingest([tmp_path / "repo"], tmp_path / "pool", IngestConfig(split="train", source="repo"))
    assert Pool.open(tmp_path / "pool").texts() == ["q\na", "q\nb"]


@pytest.mark.parametrize("kind", ["file", "stream", "feather", "file.zst"])
def test_arrow_files_are_read_as_parquet_is(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoselection.pool.readers.BATCH_ROWS", 2)
    table = pa.Table.from_pylist([chat(f"q{n}", "a", id=f"r{n}", level=n if n else None) for n in range(5)])
    pq.write_table(table, tmp_path / "rows.parquet")
    path = tmp_path / {"feather": "rows.feather", "file.zst": "rows.arrow.zst"}.get(kind, "rows.arrow")
    opened = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
    packing = "zstd" if kind == "file.zst" else None
    with pa.output_stream(str(path), compression=packing) as out, opened(out, table.schema) as writer:
        writer.write_table(table)
    found = ingest([path], tmp_path / "pool")
    assert found.fingerprint == ingest([tmp_path / "rows.parquet"], tmp_path / "other").fingerprint
    pool = Pool.open(tmp_path / "pool")
    assert (
        pool.row_ids() == [f"r{n}" for n in range(5)] and pool.lines([4]) == [5] and pool.metas([3]) == [{"level": 3}]
    )


@pytest.mark.parametrize("content", [b"", b"ARROW1\0\0 cut off", b"PAR1 something else"])
def test_damaged_arrow_files_are_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "rows.arrow").write_bytes(content)
    with pytest.raises(PoolError, match=r"rows\.arrow (cannot be read|holds no)") as refused:
        ingest([tmp_path / "rows.arrow"], tmp_path / "pool")
    assert "\n" not in str(refused.value)


def test_folder_that_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(PoolError, match="no Hugging Face dataset"):
        ingest([tmp_path / "folder"], tmp_path / "pool")


def test_json_file_may_hold_json_lines(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write("rows.json", [chat("q", "a"), chat("q", "b")], container="jsonl")
    assert ingest([path], tmp_path / "pool").rows == 2


def test_long_json_array_is_read_in_pieces(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_reader, "BUFFER_BYTES", 7)  # every token straddles a boundary
    rows = [chat(f"é{i}", "🙂" * i, id=f"r{i}", n=[1.5, i, True, None]) for i in range(1, 30)]
    ingest([write("rows.json", json.dumps(rows, ensure_ascii=False, indent=2))], tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    assert pool.messages() == [row["messages"] for row in rows]
    assert pool.metas([3]) == [{"n": [1.5, 4, True, None]}]


def test_byte_order_mark_and_carriage_returns(write: Callable[..., Path], tmp_path: Path) -> None:
    line = json.dumps(chat("q", "a"))
    ingest([write("rows.jsonl", b"\xef\xbb\xbf" + line.encode() + b"\r\n\r\n\n")], tmp_path / "jsonl")
    ingest([write("rows.json", b"\xef\xbb\xbf [" + line.encode() + b"]\r\n")], tmp_path / "json")
    ingest([write("rows.csv", b"\xef\xbb\xbfprompt,completion\r\nq,a\r\n")], tmp_path / "csv")
    for name in ("jsonl", "json", "csv"):
        assert Pool.open(tmp_path / name).texts() == ["q\na"]


def test_only_newline_ends_a_line(write: Callable[..., Path], tmp_path: Path) -> None:
    question = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg"
    raw = json.dumps(chat(question, "x"), ensure_ascii=False).replace("\\u000b", "\\u000b")
    report = ingest([write("rows.jsonl", raw + "\n" + json.dumps(chat("q", "y")))], tmp_path / "pool")
    assert (report.rows, report.skipped) == (2, 0)
    assert Pool.open(tmp_path / "pool").messages([0])[0][0]["content"] == question


def test_concatenated_gzip_and_zstd_members_are_all_read(write: Callable[..., Path], tmp_path: Path) -> None:
    one, two = (json.dumps(chat("q", answer)).encode() + b"\n" for answer in "ab")
    zstd = pa.compress(one, codec="zstd", asbytes=True) + pa.compress(two, codec="zstd", asbytes=True)
    for name, data in (("z.jsonl.zst", zstd), ("g.jsonl.gz", gzip.compress(one) + gzip.compress(two))):
        assert ingest([write(name, data)], tmp_path / f"{name}.pool").rows == 2


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_truncated_compressed_file_is_refused(codec: str, write: Callable[..., Path], tmp_path: Path) -> None:
    path = write("rows.jsonl.gz", [chat(f"question {i * i}", "a") for i in range(2000)], codec)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(PoolError, match=r"rows\.jsonl\.gz cannot be read"):
        ingest([path], tmp_path / "pool")
    assert not (tmp_path / "pool").exists()


def test_damaged_parquet_is_refused(write: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=r"rows\.parquet cannot be read"):
        ingest([write("rows.parquet", b"PAR1 nonsense PAR1")], tmp_path / "pool")


def test_parquet_columns_of_other_types_become_metadata(write: Callable[..., Path], tmp_path: Path) -> None:
    import datetime
    import decimal

    extra = {
        "when": datetime.datetime(2024, 5, 6),
        "cost": decimal.Decimal("1.50"),
        "raw": b"\x00\xff",
        "score": float("nan"),
        "none": None,
    }
    ingest([write("rows.parquet", [chat("q", "a", **extra)])], tmp_path / "pool")
    assert Pool.open(tmp_path / "pool").metas() == [
        {"when": "2024-05-06T00:00:00", "cost": "1.50", "raw": "AP8=", "score": None}
    ]


def test_dictionary_of_lists_is_a_list_of_turns(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write("rows.jsonl", [{"conversations": {"from": ["human", "gpt"], "value": ["q", "a"]}}])
    ingest([path], tmp_path / "pool")
    assert Pool.open(tmp_path / "pool").texts() == ["q\na"]


def write_parquet(folder: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), folder / "rows.parquet")
    return folder / "rows.parquet"


@pytest.mark.parametrize(
    "odd",
    [
        pa.array([None, 2**55, None], pa.date64()),
        pa.array([None, -(2**29), None], pa.date32()),
        pa.array([None, 2**60, None], pa.duration("s")),
        pa.array([None, 1, None], pa.timestamp("us", "Mars/Phobos")),
    ],
    ids=str,
)
def test_values_that_python_has_not_make_a_bad_row_and_no_traceback(odd: Any, tmp_path: Path) -> None:
    rows = write_parquet(tmp_path, prompt=["q1", "q2", "q3"], response=["a1", "a2", "a3"], when=odd)
    report = ingest([rows], tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    assert [row[0]["content"] for row in pool.messages()] == ["q1", "q3"]
    assert "the column 'when' has a value of type" in report.bad[0].reason


def test_parquet_columns_of_one_name_are_refused_as_in_csv(tmp_path: Path) -> None:
    texts = [pa.array([text]) for text in ("q", "a", "b")]
    twice = pa.Table.from_arrays(texts, names=["prompt", "response", "response"])
    turns = pa.StructArray.from_arrays([pa.array(["user", "assistant"]), texts[0].take([0, 0]), pa.array(["x", "y"])],
                                       names=["role", "content", "content"])  # fmt: skip
    nested = pa.table({"messages": pa.ListArray.from_arrays(pa.array([0, 2]), turns)})
    for table, name in ((twice, "response"), (nested, "content")):
        pq.write_table(table, tmp_path / "rows.parquet")
        with pytest.raises(PoolError, match=f"the column '{name}' appears twice"):
            ingest([tmp_path / "rows.parquet"], tmp_path / "pool")
        assert not (tmp_path / "pool").exists()


def test_whole_decimals_are_ids(tmp_path: Path) -> None:
    ids = pa.array([Decimal("5"), Decimal("6.5")], pa.decimal128(10, 1))
    report = ingest([write_parquet(tmp_path, id=ids, prompt=["q1", "q2"], response=["a1", "a2"])], tmp_path / "pool")
    assert Pool.open(tmp_path / "pool").row_ids() == ["5"] and report.skipped == 1
