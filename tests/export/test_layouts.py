"""What came in goes out: any layout in any container is the same rows when it is read back."""

from __future__ import annotations

import csv
import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoselection.errors import ConfigError
from autoselection.export import (
    LAYOUTS,
    DatasetCard,
    export_dropped,
    export_hf_dataset,
    export_rows,
    export_subset,
    export_target,
)
from autoselection.pool import IngestConfig, Pool, ingest
from autoselection.recipes import Recipe, Step
from autoselection.signals.table import SignalTable

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".jsonl.gz", ".csv.zst", ".ndjson", ".pq", ".json.gzip")


def shows_something(text: str) -> bool:
    """Turns of nothing visible are bad rows."""
    return any(letter.isalnum() for letter in text)


texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30).filter(shows_something)
#: Text with everything that ends lines, quotes, cells and fields somewhere.
nasty = st.text(
    st.sampled_from("a,;\t\"'\\\r\n\0\u2028\u2029\x85\x0b\x0c\ufeff é漢=|{}[]"), min_size=1, max_size=30
).filter(shows_something)
contents = texts | nasty


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, str]]:
    """Mostly what every layout can hold; sometimes not."""
    turns = [("system", draw(contents))] if draw(st.booleans()) else []
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        turns += [("user", draw(contents)), ("assistant", draw(contents))]
    if draw(st.integers(0, 5)) == 0:
        turns.append((draw(st.sampled_from(["user", "assistant", "tool"])), draw(contents)))
    return [{"role": role, "content": content} for role, content in turns]


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | contents
)
columns = st.dictionaries(
    st.sampled_from(["score", "tags", "Notes", "prompt", "history", "dropped_by", "own_prompt"]),
    scalars | st.lists(st.integers(0, 9) | contents, max_size=3) | st.dictionaries(st.just("k"), scalars, max_size=1),
    max_size=3,
)


def make_pool(folder: Path, rows: list[tuple[list[dict[str, str]], dict[str, Any]]]) -> Pool:
    lines = [
        {"id": f"r{i}", "source": f"s{i % 2}", "messages": messages, **own} for i, (messages, own) in enumerate(rows)
    ]
    (folder / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    ingest([folder / "in.jsonl"], folder / "pool", IngestConfig(format="messages"))
    return Pool.open(folder / "pool")


def pairs_only(messages: list[dict[str, str]]) -> bool:
    """The definition: an optional system prompt, then questions and answers in turn."""
    roles = [turn["role"] for turn in messages if turn["role"] != "system"]
    first = [turn["role"] for turn in messages].count("system") <= 1
    return first and len(roles) > 0 and roles == ["user", "assistant"] * (len(roles) // 2)


def has_nul(layout: str, row: tuple[str, str, list[dict[str, str]], dict[str, Any]]) -> bool:
    """Whether a cell has a NUL character as it is; lists and objects are JSON, which escapes it."""
    turns = {
        "alpaca": [turn for turn in row[2] if turn["role"] == "system"] + row[2][-2:],
        "prompt-completion": row[2],
    }.get(layout, [])
    return any(
        "\0" in text
        for text in [turn["content"] for turn in turns] + [str(v) for v in row[3].values() if isinstance(v, str)]
    )


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(st.tuples(conversations(), columns), min_size=1, max_size=5),
    layout=st.sampled_from(list(LAYOUTS)),
    suffix=st.sampled_from(SUFFIXES),
    data=st.data(),
)
def test_every_layout_in_every_container_is_read_back(
    rows: list[tuple[list[dict[str, str]], dict[str, Any]]], layout: Any, suffix: str, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pool = make_pool(folder, rows)
        order = data.draw(st.permutations(range(len(pool))))[: data.draw(st.integers(1, len(pool)))]
        report = export_rows(pool, order, folder / f"out{suffix}", layout)
        chosen = list(
            zip(pool.row_ids(order), pool.sources(order), pool.messages(order), pool.metas(order), strict=True)
        )
        holds = {
            "messages": lambda messages: True,
            "sharegpt": lambda messages: True,
            "alpaca": pairs_only,
            "prompt-completion": lambda messages: (
                pairs_only(messages) and sum(t["role"] == "user" for t in messages) == 1
            ),
        }[layout]
        flat = suffix.startswith((".csv", ".tsv"))
        kept = [row for row in chosen if holds(row[2]) and not (flat and has_nul(layout, row))]
        assert report.left_out == tuple(row[0] for row in chosen if row not in kept)
        assert sum(report.reasons.values()) == len(report.left_out) == len(order) - report.rows
        if not kept:
            return
        ingest([folder / f"out{suffix}"], folder / "again", IngestConfig(format=layout))
        again = Pool.open(folder / "again")
        assert list(zip(again.row_ids(), again.sources(), again.messages(), strict=True)) == [row[:3] for row in kept]
        if layout == "messages" and suffix in (".jsonl", ".json", ".jsonl.gz", ".ndjson", ".json.gzip"):
            places = [{"_file": str(folder / "in.jsonl"), "_line": int(row[0][1:]) + 1} for row in kept]
            named = {"prompt": "own_own_prompt" if any("own_prompt" in row[3] for row in chosen) else "own_prompt"}
            own = [{named.get(name, name): value for name, value in row[3].items()} for row in kept]
            assert again.metas() == [{**columns, **place} for columns, place in zip(own, places, strict=True)]


def test_columns_keep_their_types_and_what_has_none_becomes_json(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    own = [
        {"score": 1, "ok": True, "tags": ["a"], "mixed": 1, "deep": {"x": 1}, "name": "n", "big": 2**60, "huge": 1},
        {
            "score": 0.5,
            "ok": None,
            "tags": [],
            "mixed": "x",
            "deep": {"y": [2]},
            "name": "m",
            "big": 1,
            "huge": [2**64],
        },
    ]
    pool = make_pool(tmp_path, [(turns, entry) for entry in own])
    report = export_rows(pool, None, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    types = {field.name: str(field.type) for field in table.schema}
    assert (
        types["score"] == "double" and types["ok"] == "bool" and types["big"] == "int64" and types["_line"] == "int64"
    )
    assert types["tags"].startswith("list") and types["name"] == types["huge"] == "string"
    assert types["mixed"] == types["deep"] == "extension<arrow.json>"
    assert table["mixed"].to_pylist() == ["1", '"x"'] and table["deep"].to_pylist() == ['{"x": 1}', '{"y": [2]}']
    assert table["score"].to_pylist() == [1.0, 0.5] and table["big"].to_pylist() == [2**60, 1]
    assert report.remarks == (
        "Columns of mixed or nested values are written as JSON: 'mixed', 'deep'.",
        "Columns of mixed or nested values are written as JSON text: 'huge'.",
    )
    export_rows(pool, None, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    assert (first["score"], first["ok"], first["tags"], first["name"]) == ("1", "true", '["a"]', "n")


def test_chosen_columns_and_places(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    pool = make_pool(tmp_path, [(turns, {"a": 1, "b": 2}), (turns, {"b": 3})])

    def written(**options: Any) -> list[dict[str, Any]]:
        export_rows(pool, None, tmp_path / "out.jsonl", overwrite=True, **options)
        return [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]

    place = str(tmp_path / "in.jsonl")
    assert [list(row)[3:] for row in written()] == [["a", "b", "_file", "_line"], ["b", "_file", "_line"]]
    assert [(row["_file"], row["_line"]) for row in written()] == [(place, 1), (place, 2)]
    assert [list(row)[3:] for row in written(columns=())] == [[], []]
    assert [list(row)[3:] for row in written(columns=["a", "_line"])] == [["a", "_line"], ["_line"]]
    with pytest.raises(ConfigError, match=r"no column 'bb'.*did you mean 'b'"):
        written(columns=["bb"])
    ingest([tmp_path / "out.jsonl"], tmp_path / "second")
    export_rows(pool, None, tmp_path / "out.jsonl", overwrite=True)
    ingest([tmp_path / "out.jsonl"], tmp_path / "third")
    export_rows(Pool.open(tmp_path / "third"), None, tmp_path / "last.jsonl")
    last = [json.loads(line) for line in (tmp_path / "last.jsonl").read_text().splitlines()]
    assert [(row["_file"], row["_line"]) for row in last] == [(place, 1), (place, 2)]  # the first place stays


def test_a_column_of_a_name_that_the_layout_uses_is_renamed_and_said(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    pool = make_pool(tmp_path, [(turns, {"prompt": "mine", "own_prompt": "too"})])
    report = export_rows(pool, None, tmp_path / "out.jsonl", "prompt-completion")
    (row,) = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert (row["prompt"], row["own_own_prompt"], row["own_prompt"]) == ("q", "mine", "too")
    assert report.remarks == (
        "The column 'prompt' is called 'own_own_prompt' in the file: the format, or a program that reads it, uses its name.",
    )


@pytest.mark.parametrize(
    ("layout", "name", "value"),
    [
        ("messages", "conversations", [{"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}]),
        ("messages", "system", "mine"),
        ("messages", "labels", "mine"),
        ("sharegpt", "messages", [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]),
        ("sharegpt", "system", "mine"),
        ("alpaca", "messages", [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]),
        ("prompt-completion", "messages", [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]),
        ("prompt-completion", "text", "mine"),
    ],
)
def test_no_column_of_the_users_own_is_taken_for_the_conversation(
    layout: Any, name: str, value: Any, tmp_path: Path
) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    (tmp_path / "in.jsonl").write_text(json.dumps({"id": "r0", "turns": turns, name: value}))
    ingest([tmp_path / "in.jsonl"], tmp_path / "pool", IngestConfig(map={"messages": "turns"}))
    pool = Pool.open(tmp_path / "pool")
    assert pool.metas()[0][name] == value
    export_rows(pool, None, tmp_path / "out.jsonl", layout)
    ingest([tmp_path / "out.jsonl"], tmp_path / "again")
    again = Pool.open(tmp_path / "again")
    assert again.messages() == pool.messages() and again.metas()[0][f"own_{name}"] == value


CHAT = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
#: Columns of the user's own that say something else than the conversation, and those of them that files call otherwise.
OWN: dict[str, tuple[dict[str, Any], set[str]]] = {
    "alpaca": ({"instruction": "x", "response": "y"}, {"instruction"}),
    "alpaca, other case": ({"Instruction": "x", "Output": "y", "Context": "z"}, {"Instruction", "Output", "Context"}),
    "alpaca, whole": ({"instruction": "x", "input": "z", "output": "y"}, {"instruction", "input", "output"}),
    "prompt": ({"prompt": "x", "completion": "y"}, {"prompt", "completion"}),
    "question": ({"question": "x", "answer": "y"}, {"question"}),
    "pair": ({"chosen": "x", "rejected": "y"}, {"chosen", "rejected"}),
    "pair of other names": (
        {"chosen_response": "x", "rejected_response": "y"},
        {"chosen_response", "rejected_response"},
    ),
    "one side": ({"rejected": "y"}, {"rejected"}),
    "turns": ({"conversation": CHAT, "what_it_says": CHAT}, {"conversation"}),
    "generation": ({"r1_generation": "a long text of several words"}, set()),
    "reasoning": ({"problem": "x", "deepseek_reasoning": "z", "deepseek_solution": "y"}, {"deepseek_reasoning"}),
    "xlam": ({"query": "x", "answers": [{"name": "f", "arguments": {}}], "score": 1}, {"answers"}),
    "log": ({"request": {"messages": CHAT[:1]}, "response": {"choices": [{"message": CHAT[1]}]}}, {"request"}),
    "glaive": ({"sample": "SYSTEM: s\nUSER: x\nASSISTANT: y"}, {"sample"}),
    "texts": ({"data": ["x", "y"]}, {"data"}),
    "system": ({"System Prompt": "s"}, {"System Prompt"}),
}


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", OWN)
def test_a_file_is_read_back_without_being_told_what_it_is(name: str, layout: Any, suffix: str, tmp_path: Path) -> None:
    own, renamed = OWN[name]
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    rows = [{"id": f"r{number}", "turns": turns, **own} for number in range(2)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ingest([tmp_path / "in.jsonl"], tmp_path / "pool", IngestConfig(map={"messages": "turns"}))
    pool = Pool.open(tmp_path / "pool")
    assert set(pool.metas()[0]) == set(own)
    export_rows(pool, None, tmp_path / f"out{suffix}", layout)
    report = ingest([tmp_path / f"out{suffix}"], tmp_path / "again")
    again = Pool.open(tmp_path / "again")
    assert (again.row_ids(), again.messages(), report.format) == (pool.row_ids(), pool.messages(), layout)
    back = {column.removeprefix("own_") for column in again.metas()[0]} - {"_file", "_line"}
    assert back == set(own) and not report.ignored
    if layout == "alpaca" and name not in ("prompt", "one side"):
        assert {column for column in own if f"own_{column}" in again.metas()[0]} == renamed


def test_history_system_and_what_cannot_be_held(pool: Pool, tmp_path: Path) -> None:
    report = export_rows(pool, None, tmp_path / "out.jsonl", "alpaca")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["one", "multi"]
    assert rows[1]["history"] == [["q1", "a1"]] and rows[1]["system"] == "s" and rows[1]["output"] == "a2"
    assert report.left_out == ("tool", "open", "twice")
    assert dict(report.reasons) == {
        "with turns of tools": 1,
        "whose last turn is not an answer": 1,
        "whose questions and answers do not alternate": 1,
    }
    assert report.sentences() == [
        f"3 rows are not in {tmp_path / 'out.jsonl'}, as the format cannot hold them: 1 with turns of tools, "
        "1 whose last turn is not an answer, 1 whose questions and answers do not alternate."
    ]
    single = export_rows(pool, [0, 1], tmp_path / "single.jsonl", "prompt-completion")
    assert single.left_out == ("multi",) and dict(single.reasons) == {"of several answers": 1}
    assert "system" not in json.loads((tmp_path / "single.jsonl").read_text())  # no row of the file has one


def test_formulas_are_left_as_they_are_and_counted(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "=1+1"}, {"role": "assistant", "content": "@a"}]
    pool = make_pool(tmp_path, [(turns, {"n": -3, "t": "-x"})])
    report = export_rows(pool, None, tmp_path / "out.csv", "prompt-completion")
    assert report.remarks[0].startswith("3 cells begin with =, +, - or @")
    with (tmp_path / "out.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["prompt"] == "=1+1"
    assert export_rows(pool, None, tmp_path / "out.jsonl").remarks == ()


@pytest.mark.parametrize(
    ("name", "format_name", "kind", "container"),
    [
        ("x.jsonl", None, "file", "jsonl"),
        ("x.JSONL.GZ", "alpaca", "file", "jsonl"),
        ("x.parquet", "sharegpt", "file", "parquet"),
        ("x", None, "hf", ""),
        ("x", "messages", "hf", ""),
        ("x-v1.0", "hf", "hf", ""),
        ("x", "sharegpt", "llamafactory", ""),
    ],
)
def test_what_is_written_by_name_and_format(
    name: str, format_name: Any, kind: str, container: str, tmp_path: Path
) -> None:
    target = export_target(tmp_path / name, format_name)
    assert (target.kind, target.container) == (kind, container)


@pytest.mark.parametrize(
    ("name", "format_name", "words"),
    [
        ("x.txt", None, "suffix '.txt'"),
        ("x.xlsx", "messages", "suffix '.xlsx'"),
        ("x.v1", "sharegpt", "suffix '.v1'"),
        ("x.gz", None, "suffix '.gz'"),
        ("x.parquet.gz", None, "suffix '.gz'"),
        ("x.jsonl", "hf", "dataset folder"),
        ("x", "alpaca", "written to a file"),
        ("taken.jsonl", None, "--overwrite"),
        ("taken", None, "--overwrite"),
        ("taken", "sharegpt", "--overwrite"),
        ("file", None, "is a file"),
        ("file", "sharegpt", "is a file"),
    ],
)
def test_what_is_refused(name: str, format_name: Any, words: str, tmp_path: Path) -> None:
    (tmp_path / "taken.jsonl").write_text("old")
    (tmp_path / "file").write_text("old")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "subset.jsonl").write_text("old")
    with pytest.raises(ConfigError, match=words):
        export_target(tmp_path / name, format_name)


def test_nothing_is_overwritten_unless_asked(pool: Pool, tmp_path: Path) -> None:
    for name, format_name in (("a.csv", "alpaca"), ("b", "hf"), ("c", "sharegpt")):
        export_subset(pool, [0], tmp_path / name, format_name)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="--overwrite"):
            export_subset(pool, [0, 1], tmp_path / name, format_name)  # type: ignore[arg-type]
        assert export_subset(pool, [0, 1], tmp_path / name, format_name, overwrite=True).rows == 2  # type: ignore[arg-type]


def test_a_dataset_folder_holds_the_columns_and_is_read_back(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    pool = make_pool(tmp_path, [(turns, {"topic": "x", "n": i}) for i in range(3)])
    export_hf_dataset(pool, [2, 0], tmp_path / "hf", DatasetCard(title="t", recipe={}), columns=None)
    ingest([tmp_path / "hf"], tmp_path / "again")
    again = Pool.open(tmp_path / "again")
    place = str(tmp_path / "in.jsonl")
    assert again.row_ids() == ["r2", "r0"]
    assert again.metas() == [{"topic": "x", "n": i, "_file": place, "_line": i + 1} for i in (2, 0)]


def test_compressed_files_are_the_same_bytes_again(pool: Pool, tmp_path: Path) -> None:
    export_rows(pool, None, tmp_path / "a.jsonl.gz")
    export_rows(pool, None, tmp_path / "b.jsonl.gz")
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert len(gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()).splitlines()) >= 5


def test_rows_left_out_name_their_step(pool: Pool, tmp_path: Path) -> None:
    from dataclasses import replace

    import numpy as np

    table = SignalTable.from_arrays({"ifd": [0.1, 0.2, 0.3, 0.4, 0.5]}, source=pool.sources())
    table = replace(table, excluded=np.array([True, False, False, False, False]))
    recipe = Recipe((Step("source_filter", {"sources": ["tools | # x"]}), Step("ifd_filter", {"fraction": 0.5})))
    report = export_dropped(pool, recipe, table, tmp_path / "out.jsonl", left_out=["twice"])
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["id"], row["dropped_step"], row["dropped_by"]) for row in rows] == [
        ("one", None, "excluded from the pool (contamination)"),
        ("multi", 2, "ifd_filter"),
        ("tool", 1, "source_filter"),
        ("twice", None, "format of the subset"),
    ]
    assert report.rows == 4
    export_dropped(pool, recipe, table, tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet")["dropped_step"].to_pylist() == [None, 2, 1]
