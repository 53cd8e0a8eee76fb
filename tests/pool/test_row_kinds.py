"""Rows that are no conversations to learn from: told apart, counted, and said with what would read them."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.pool.media_examples import SPEAKS_OF_IT, TELLS_OF_IT, WITH_MEDIA, WITHOUT_MEDIA
from typer.testing import CliRunner

from autoselection.cli import app
from autoselection.errors import PoolError
from autoselection.pool import IngestConfig, IngestReport, Pool, ingest
from autoselection.pool.row_kinds.media import placeholder

Write = Callable[..., Path]
Row = dict[str, Any]


def user(text: Any) -> Row:
    return {"role": "user", "content": text}


def bot(text: Any) -> Row:
    return {"role": "assistant", "content": text}


SFT: Row = {"messages": [user("What is two and two?"), bot("It is four.")]}
QA = [user("q"), bot("a")]


def read(rows: list[Row], write: Write, tmp_path: Path, **settings: Any) -> tuple[IngestReport, Pool]:
    report = ingest([write("rows.jsonl", rows)], tmp_path / "pool", IngestConfig(**settings), overwrite=True)
    return report, Pool.open(tmp_path / "pool")


def kinds(report: IngestReport) -> dict[str, int]:
    found: Counter[str] = Counter()
    for fault in report.faults:
        found[fault.first.kind] += fault.rows
    return dict(found)


# Preference pairs: what they look like, and their chosen side

SYSTEM = {"role": "system", "content": "s"}

PAIRS: dict[str, tuple[Row, list[Row]]] = {
    "explicit prompt": ({"prompt": "q", "chosen": "a", "rejected": "b"}, QA),
    "explicit prompt, turns": ({"prompt": [user("q")], "chosen": [bot("a")], "rejected": [bot("b")]}, QA),
    "implicit prompt": ({"chosen": QA, "rejected": [user("q"), bot("b")]}, QA),
    "UltraFeedback": (
        {"prompt": "q", "chosen": QA, "rejected": [user("q"), bot("b")], "messages": QA, "score_chosen": 8.5},
        QA,
    ),
    "LLaMA-Factory, turns": (
        {
            "conversations": [{"from": "human", "value": "q"}],
            "chosen": {"from": "gpt", "value": "a"},
            "rejected": {"from": "gpt", "value": "b"},
        },
        QA,
    ),
    "LLaMA-Factory, Alpaca": (
        {"instruction": "Sort.", "input": "2 1", "history": [["hi", "ho"]], "chosen": "1 2", "rejected": "2 1"},
        [user("hi"), {**bot("ho"), "weight": 0}, user("Sort.\n2 1"), bot("1 2")],
    ),
    "question and system": (
        {"system": "s", "question": "q", "chosen": "a", "rejected": "b"},
        [{"role": "system", "content": "s"}, *QA],
    ),
    "transcripts": (
        {
            "chosen": "\n\nHuman: q\n\nAssistant: a\n\nHuman: more?\n\nAssistant: yes:\n\nlist",
            "rejected": "\n\nHuman: q\n\nAssistant: b",
        },
        [*QA, user("more?"), bot("yes:\n\nlist")],
    ),
    "transcript in the prompt": (
        {"prompt": "\n\nHuman: q\n\nAssistant:", "chosen": " a", "rejected": " b"},
        [QA[0], bot(" a")],
    ),
    "OpenAI": (
        {"input": {"messages": [user("q")]}, "preferred_output": [bot("a")], "non_preferred_output": [bot("b")]},
        QA,
    ),
    "Stack Exchange": ({"question": "q", "response_j": "a", "response_k": "b", "metadata": ["x"]}, QA),
    "Orca": ({"system": "", "question": "q", "chosen": "a", "rejected": "b"}, QA),
    "other names": ({"prompt": "q", "chosen_response": "a", "rejected_response": "b"}, QA),
    "names behind": ({"Prompt": "q", "response-chosen": "a", "response-rejected": "b", "chosen-model": "m"}, QA),
    "a conversation beside its sides": ({"messages": QA, "chosen": "a", "rejected": "b"}, QA),
    "a system turn in the prompt": (
        {"prompt": [{"role": "system", "content": "s"}, user("q")], "chosen": [bot("a")], "rejected": [bot("b")]},
        [{"role": "system", "content": "s"}, *QA],
    ),
    "answers that are JSON": ({"prompt": "q", "chosen": '{"a": 1}', "rejected": "[1]"}, [QA[0], bot('{"a": 1}')]),
    "history as JSON": (
        {"instruction": "q", "history": json.dumps([["hi", "ho"]]), "chosen": "a", "rejected": "b"},
        [user("hi"), {**bot("ho"), "weight": 0}, *QA],
    ),
    "a request as JSON": (
        {"input": json.dumps({"messages": [user("q")]}), "preferred_output": "a", "non_preferred_output": "b"},
        QA,
    ),
    "a system turn in front of whole conversations": (
        {"prompt": [SYSTEM, user("q")], "chosen": QA, "rejected": [user("q"), bot("b")]},
        [SYSTEM, *QA],
    ),
    "whole conversations that a developer begins": (
        {"prompt": "q", "chosen": [{**SYSTEM, "role": "developer"}, *QA], "rejected": "b"},
        [SYSTEM, *QA],
    ),
    "a system prompt of its own": (
        {
            "prompt": [{**SYSTEM, "content": "t"}, user("q")],
            "chosen": [SYSTEM, *QA],
            "rejected": [SYSTEM, user("q"), bot("b")],
        },
        [SYSTEM, *QA],
    ),
    "text as JSON": ({"prompt": "q", "chosen": json.dumps([bot("a")]), "rejected": json.dumps([bot("b")])}, QA),
}


@pytest.mark.parametrize("name", PAIRS)
def test_preference_pairs_are_told_and_their_chosen_side_is_read(name: str, write: Write, tmp_path: Path) -> None:
    row, turns = PAIRS[name]
    path = write("pairs.jsonl", [row] * 1 + [{**row, "id": "two"}, {**row, "id": "three"}])
    out = tmp_path / "a pool"
    with pytest.raises(PoolError, match=r"no usable row, but preference pairs \(3 of 3; fields '") as error:
        ingest([path], out)
    assert not out.exists()
    command = re.search(r"`autoselection (ingest .*?--from preference:chosen)`", str(error.value))
    assert command, str(error.value)
    result = CliRunner().invoke(app, shlex.split(command[1]))
    assert result.exit_code == 0, result.output
    pool = Pool.open(out)
    assert pool.messages() == [turns] * 3
    # What is rated, and the side that is not learnt from, stay beside the text, never in it.
    kept = {key: value for key, value in row.items() if "score" in key or "reject" in key or "model" in key}
    assert all(pool.metas()[0][key] == value for key, value in kept.items())


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize(("column", "sides"), [("input", "preferred_output"), ("prompt", "chosen")])
def test_tools_and_a_system_prompt_beside_the_messages_of_a_pair(
    column: str, sides: str, suffix: str, write: Write, tmp_path: Path
) -> None:
    """As OpenAI's preference files have them."""
    tool = {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}},
    }
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    asked = {"messages": [user("q")], "tools": [tool], "system": "s", "parallel_tool_calls": True}
    answers = {"chosen": {**bot(""), "tool_calls": [call]}, "rejected": {**bot("b"), "tool_calls": None}}
    names = {"chosen": sides, "rejected": f"non_{sides}" if column == "input" else "rejected"}
    row = {column: asked, **{names[side]: [turn] for side, turn in answers.items()}}
    path = write(f"pairs.{suffix}", [row])
    report = ingest([path], tmp_path / "pool", IngestConfig(**{"from": "preference:chosen"}))
    pool = Pool.open(tmp_path / "pool")
    called = {**bot(""), "tool_calls": [{"id": "c1", "name": "f", "arguments": '{"a": 1}'}]}
    assert (pool.messages(), report.ignored) == ([[SYSTEM, user("q"), called]], {})
    assert [one["function"]["name"] for one in json.loads(pool.conversations()[0].tools or "")] == ["f"]
    assert pool.metas()[0][column] == {"parallel_tool_calls": True}


def test_tools_of_the_row_are_those_of_the_pair(write: Write, tmp_path: Path) -> None:
    asked = {"messages": [user("q")], "tools": [{"name": "g"}], "system": "t"}
    row = {"input": asked, "preferred_output": [bot("a")], "non_preferred_output": "b", "functions": [{"name": "f"}]}
    settings = {"from": "preference:chosen"}
    _, pool = read([{**row, "system": "s"}, {**row, "functions": [], "system": None}], write, tmp_path, **settings)
    assert pool.messages() == [[SYSTEM, *QA], [{**SYSTEM, "content": "t"}, *QA]]
    assert [json.loads(row.tools or "")[0]["function"]["name"] for row in pool.conversations()] == ["f", "g"]
    assert [meta.get("input") for meta in pool.metas()] == [{"tools": [{"name": "g"}], "system": "t"}, None]


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        ({"prompt": " q ", "chosen": QA}, {}),
        ({"prompt": [user("q")], "chosen": [SYSTEM, *QA]}, {}),
        ({"prompt": "another", "chosen": QA}, {"prompt": "another"}),
        ({"prompt": [{**SYSTEM, "content": "t"}, user("q")], "chosen": [SYSTEM, *QA]}, "prompt"),
        ({"prompt": {"messages": [user("r")], "n": 1}, "chosen": QA}, "prompt"),
        # What is a pair by itself would be read as one.
        ({"question": "another", "answer": "42", "chosen": QA}, {"answer": "42"}),
    ],
)
def test_a_prompt_with_which_the_chosen_side_does_not_begin_stays_a_column(
    row: Row, kept: Any, write: Write, tmp_path: Path
) -> None:
    rows = [{**row, "rejected": "b"}]
    _, pool = read(rows, write, tmp_path, **{"from": "preference:chosen"})
    assert pool.messages()[0][-2:] == QA
    expected = {kept: row[kept]} if isinstance(kept, str) else kept
    assert pool.metas() == [{**expected, "rejected": "b"}]


def test_pairs_among_conversations_are_counted_by_kind(write: Write, tmp_path: Path) -> None:
    pair, _ = PAIRS["implicit prompt"]
    report, pool = read([pair] * 40 + [SFT] * 3 + [pair] * 2, write, tmp_path)
    assert (len(pool), report.skipped, kinds(report)) == (3, 42, {"preference pairs": 42})
    (note,) = [note for note in report.notes if "preference pairs" in note]
    assert note.startswith(
        "42 preference pairs (fields 'chosen', 'rejected') were left out; what would read them: `autoselection "
    )
    alone, _ = read([pair, SFT], write, tmp_path / "one")
    assert alone.notes[0].startswith("1 row (preference pairs; fields 'chosen', 'rejected') was left out; what would")
    taken, pool = read([pair] * 40 + [SFT] * 3 + [pair] * 2, write, tmp_path, **{"from": "preference:chosen"})
    assert (len(pool), taken.skipped, taken.notes) == (45, 0, ())
    assert pool.messages([0, 40]) == [QA, SFT["messages"]]


@pytest.mark.parametrize(
    ("row", "kind", "field"),
    [
        ({"chosen": "a", "rejected": "b"}, "pair without a prompt", "chosen"),
        ({"prompt": "q", "chosen": " ", "rejected": "b"}, "empty text", "chosen"),
        ({"prompt": "q", "chosen": [1], "rejected": "b"}, "neither text nor turns", "chosen"),
    ],
)
def test_pairs_without_a_chosen_conversation_are_bad_rows(
    row: Row, kind: str, field: str, write: Write, tmp_path: Path
) -> None:
    report, _ = read([SFT, row], write, tmp_path, **{"from": "preference:chosen"})
    assert [(bad.kind, bad.field) for bad in report.bad] == [(kind, field)]


def test_a_pair_that_is_a_conversation_too_may_be_read_as_one(write: Write, tmp_path: Path) -> None:
    row, _ = PAIRS["UltraFeedback"]
    with pytest.raises(PoolError, match="--from sft takes such rows"):
        read([row, {**row, "id": "two"}], write, tmp_path)
    report, pool = read([row, {**row, "id": "two"}], write, tmp_path, **{"from": "sft"})
    assert report.skipped == 0 and pool.messages() == [QA, QA]
    with pytest.raises(PoolError) as error:
        read([PAIRS["explicit prompt"][0]], write, tmp_path)
    assert "--from sft" not in str(error.value)


def test_columns_that_only_rate_are_no_pair(write: Write, tmp_path: Path) -> None:
    rows = [{**SFT, "chosen": True, "rejected": False}, {**SFT, "score_chosen": 1.0, "score_rejected": 0.5}]
    report, pool = read([*rows, {**SFT, "chosen": "a", "rejected": None}], write, tmp_path)
    assert (len(pool), report.skipped) == (3, 0)


# Unpaired preferences


def kto(number: int, label: Any) -> Row:
    return {"prompt": f"What is {number} and one?", "completion": f"It is {number + 1}.", "label": label}


def test_answers_labelled_false_are_left_out_and_counted(write: Write, tmp_path: Path) -> None:
    rows = [kto(number, number % 3 != 0) for number in range(30)]
    report, pool = read(rows, write, tmp_path)
    assert (len(pool), kinds(report)) == (20, {"unpaired preferences, label false": 10})
    assert all(meta == {"label": True} for meta in pool.metas())
    assert any(note.startswith("10 unpaired preferences, label false") for note in report.notes)
    with pytest.raises(
        PoolError, match=r"rows\.jsonl:1: .*label false.* \(kind: unpaired preferences, label false, field label\)"
    ):
        read(rows, write, tmp_path, on_bad_row="refuse")
    told, pool = read(rows, write, tmp_path, on_bad_row="refuse", **{"from": "kto:true"})
    assert (told.rows, told.skipped, len(pool)) == (20, 10, 20)
    anyway, pool = read(rows, write, tmp_path, **{"from": "sft"})
    assert (anyway.rows, anyway.skipped) == (30, 0)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [user("q")], "completion": [bot("bad")], "label": False},
        {"messages": [user("q"), bot("bad")], "label": False},
        {"messages": [user("q"), bot("bad")], "kto_tag": "false"},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "bad"}], "KTO_tag": 0},
        {"instruction": "q", "input": "", "output": "bad", "kto_tag": False},
    ],
)
def test_shapes_of_unwanted_answers(row: Row, write: Write, tmp_path: Path) -> None:
    good = {key: True if key.casefold() in ("label", "kto_tag") else value for key, value in row.items()}
    report, _ = read([good, row, row], write, tmp_path)
    assert (report.rows, kinds(report)) == (1, {"unpaired preferences, label false": 2})


def test_unwanted_answers_in_tables_of_text(write: Write, tmp_path: Path) -> None:
    path = write("rows.csv", [kto(number, number != 3) for number in range(6)])
    report = ingest([path], tmp_path / "pool")
    assert (report.rows, kinds(report)) == (5, {"unpaired preferences, label false": 1})


@pytest.mark.parametrize(
    "rows",
    [
        [{**kto(n, None), "label": n % 3} for n in range(9)],
        [{**kto(n, None), "label": ["negative", "positive"][n % 2]} for n in range(8)],
        [{**kto(n, None), "label": ["true", "false", "half-true"][n % 3]} for n in range(9)],
        [{"prompt": f"Is {n} even?", "completion": ["No", "Yes"][n % 2], "label": bool(n % 2)} for n in range(8)],
        [
            {"prompt": f"Is {n} toxic?", "completion": ["It is.", "It is not."][n % 2], "label": n % 2 == 0}
            for n in range(8)
        ],
        [{**SFT, "label": None, "id": str(n)} for n in range(3)],
        [{**SFT, "label": "false", "id": str(n)} for n in range(3)],
        [{**SFT, "labels": [False, True], "id": str(n)} for n in range(3)],
    ],
)
def test_labels_that_are_classes_are_columns_like_others(rows: list[Row], write: Write, tmp_path: Path) -> None:
    report, _ = read(rows, write, tmp_path)
    assert (report.rows, report.skipped) == (len(rows), 0)


# Media: what is not shown, and what only speaks of it


@pytest.mark.parametrize("number", range(len(WITH_MEDIA)))
def test_a_row_about_what_is_not_shown_is_left_out(number: int, write: Write, tmp_path: Path) -> None:
    row = WITH_MEDIA[number]
    texts = {"messages", "prompt", "completion", "question", "answer", "instruction", "output"}
    plain = {name: value if name in texts else None for name, value in row.items()}
    # Among text alone, so that the rest of the file says nothing of it.
    others = (
        [{**SFT, "id": str(n)} for n in range(20)]
        if "messages" in row
        else [{**plain, "id": str(n)} for n in range(20)]
    )
    report, _ = read([*others, row], write, tmp_path)
    ((kind, rows),) = kinds(report).items()
    assert report.bad[0].field.partition("[")[0] in row and report.bad[0].hint
    assert rows == 1 and re.fullmatch(r"rows with (an image|a video|audio)", kind)


@pytest.mark.parametrize("number", range(len(WITHOUT_MEDIA)))
def test_a_row_that_only_speaks_of_it_is_taken(number: int, write: Write, tmp_path: Path) -> None:
    report, _ = read([*[{**SFT, "id": str(n)} for n in range(20)], WITHOUT_MEDIA[number]], write, tmp_path)
    assert (report.rows, report.skipped) == (21, 0), report.bad


def test_both_errors_on_texts_that_no_rule_was_written_after() -> None:
    missed = [asked for asked, said in TELLS_OF_IT if placeholder([asked], [said], False) is None]
    false = [asked for asked, said in SPEAKS_OF_IT if placeholder([asked], [said], False) is not None]
    assert (len(missed), len(false)) <= (1, 0), (missed, false)


def test_in_a_file_of_pictures_every_placeholder_counts(write: Write, tmp_path: Path) -> None:
    pictured = [{"messages": [user(f"<image>\nWhat is {n}?"), bot("A cat.")]} for n in range(5)]
    odd = {"messages": [user("Is the cat in <image> black"), bot("Yes.")]}
    assert read([SFT, odd], write, tmp_path)[0].rows == 2
    report, pool = read([SFT, *pictured, odd], write, tmp_path)
    assert (len(pool), kinds(report)) == (1, {"rows with an image": 6})


def test_media_in_parquet_structures(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    holder = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pictures = pa.array([{"bytes": b"\x89PNG", "path": None}, None, {"bytes": None, "path": None}], holder)
    lists = pa.array([None, [{"bytes": b"x", "path": "a.png"}], []], pa.list_(holder))
    table = pa.table({"prompt": ["a", "b", "c"], "completion": ["x", "y", "z"], "image": pictures, "images": lists})
    pq.write_table(table, tmp_path / "rows.parquet")
    report = ingest([tmp_path / "rows.parquet"], tmp_path / "pool")
    assert (report.rows, kinds(report)) == (1, {"rows with an image": 2})
    assert Pool.open(tmp_path / "pool").texts() == ["c\nz"]


# Further kinds

OTHERS: dict[str, tuple[Row, str]] = {
    "text": ({"text": "Once upon a time.", "meta": {"n": 1}, "url": "http://x"}, "pre-training text"),
    "content": ({"content": "x = 1", "repo": "a/b"}, "pre-training text"),
    "rendered": ({"text": "### Human: q\n### Assistant: a"}, "conversations written out as one text"),
    "rendered chat": ({"text": "<|im_start|>user\nq<|im_end|>"}, "conversations written out as one text"),
    "rendered channels": (
        {"text": "<|start|>user<|message|>q<|end|><|start|>assistant<|channel|>final<|message|>a<|return|>"},
        "conversations written out as one text",
    ),
    "classes": ({"text": "great film", "label": 1}, "texts with a class label"),
    "named classes": ({"sentence": "great film", "label": "positive"}, "texts with a class label"),
    "stepwise": ({"prompt": "q", "completions": ["s1", "s2"], "labels": [True, False]}, "stepwise labels"),
    "several": ({"prompt": "q", "responses": ["a", "b"], "scores": [1.0, 0.5]}, "several answers to a prompt"),
    "arena": (
        {"conversation_a": QA, "conversation_b": QA, "winner": "model_a", "model_a": "m", "model_b": "n"},
        "comparisons of answers",
    ),
    "safe": (
        {"prompt": "q", "response_0": "a", "response_1": "b", "better_response_id": 1},
        "comparisons of answers",
    ),
    "verl": (
        {
            "data_source": "x",
            "prompt": [user("q")],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": "4"},
            "extra_info": {"index": 0},
        },
        "prompts without answers",
    ),
    "prompt and truth": ({"prompt": "q", "ground_truth": "4"}, "prompts without answers"),
    "messages and truth": (
        {"messages": [user("q")], "ground_truth": "4", "dataset": "gsm8k"},
        "prompts without answers",
    ),
    "prompt alone": ({"prompt": "q", "id": 3}, "prompts without answers"),
    "triplet": ({"query": "q", "pos": ["a"], "neg": ["b"]}, "embedding pairs"),
    "anchor": ({"anchor": "q", "positive": "a", "negative": "b"}, "embedding pairs"),
    "sentences": ({"sentence1": "a", "sentence2": "b", "label": 1}, "sentence pairs"),
    "premise": ({"premise": "a", "hypothesis": "b", "label": 0}, "sentence pairs"),
    "answer alone": ({"completion": "and so it was.", "id": 1}, "answers without a prompt"),
    "SHP": ({"history": "q", "human_ref_A": "a", "human_ref_B": "b", "labels": 1}, "comparisons of answers"),
    "HelpSteer3": (
        {"context": [user("q")], "response1": "a", "response2": "b", "overall_preference": -1},
        "comparisons of answers",
    ),
    "Nectar": (
        {"prompt": "q", "answers": [{"answer": "a", "rank": 1}, {"answer": "b", "rank": 2}]},
        "several answers to a prompt",
    ),
    "fineweb": (
        {"text": "Once upon a time.", "id": "x", "url": "http://x", "date": "2024", "token_count": 5},
        "pre-training text",
    ),
    "Wikipedia": (
        {"id": "1", "url": "http://x", "title": "History of the city of Ghent", "text": "Ghent is"},
        "pre-training text",
    ),
    "choices": ({"question": "q", "choices": ["x", "y"], "answer": "B"}, "questions with options"),
    "choices by number": (
        {"question": "q", "choices": {"text": ["x"], "label": ["A"]}, "answerKey": "A"},
        "questions with options",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_kinds_of_rows_are_named_with_what_to_do(name: str, write: Write, tmp_path: Path) -> None:
    row, kind = OTHERS[name]
    with pytest.raises(PoolError) as error:
        ingest([write("other.jsonl", [row] * 4)], tmp_path / "pool")
    assert f"holds no usable row, but {kind} (4 of 4; field" in str(error.value)
    assert "\n" not in str(error.value)
    report, pool = read([row, SFT, row], write, tmp_path)
    assert (len(pool), kinds(report)) == (1, {kind: 2})
    assert report.bad[0].field in row and report.bad[0].hint


SFT_ROWS: list[Row] = [
    {"prompt": "q", "response": "a", "score": 4.5},
    {"instruction": "q", "output": "a", "text": "### Instruction: q ### Response: a"},
    {"question": "q", "answer": "a", "label": 3, "text": "t"},
    {"problem": "q", "solution": "a", "answer": "4", "messages": None},
    {"messages": QA, "ground_truth": "4", "prompt": "q"},
    {"messages": QA, "text": "rendered", "label": "x"},
    {"messages": [*QA, user("and then?")], "ground_truth": "4"},
    {"query": "q", "response": "a", "pos": ["x"], "neg": ["y"]},
    {"question": "q", "answer": "a", "choices": None},
    {"instruction": "q", "output": "a", "completions": ["x", "y"], "labels": [True, False]},
    {"messages": QA, "winner": "a", "response_a": "x", "response_b": "y"},
    {"prompt": "q", "completion": "a", "positive": True, "negative": False},
    {
        "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}],
        "content": "x",
        "labels": ["a"],
    },
]


@pytest.mark.parametrize("number", range(len(SFT_ROWS)))
def test_conversations_with_odd_columns_are_taken(number: int, write: Write, tmp_path: Path) -> None:
    row = SFT_ROWS[number]
    report, _ = read([row, {**row, "id": "two"}], write, tmp_path)
    assert (report.rows, report.skipped) == (2, 0), report.bad


@pytest.mark.parametrize(
    "row",
    [
        {"article": "A long text about a city in Flanders.", "highlights": "It is about a fine city."},
        {"document": "A long text about a city.", "summary": "A text about a fine city."},
        {"Frage": "Wie heißt die Stadt?", "response": "Sie heißt Gent."},
    ],
)
def test_texts_of_unknown_columns_are_not_told_as_something_else(row: Row, write: Write, tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=r"row format of .* is unknown.*--map"):
        ingest([write("rows.jsonl", [row] * 3)], tmp_path / "pool")


def test_rated_answers_to_the_same_prompts_are_said(write: Write, tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n // 4}", "response": f"a{n}", "helpfulness": n % 5} for n in range(16)]
    report, _ = read(rows, write, tmp_path)
    assert report.rows == 16
    assert [
        note for note in report.notes if "several rows answer the same prompt and are rated ('helpfulness')" in note
    ]
    other, _ = read([{**row, "prompt": row["response"]} for row in rows], write, tmp_path)
    assert not other.notes


@pytest.mark.parametrize("columns", [("input", "output"), ("question", "response"), ("Frage", "Antwort")])
def test_a_mark_in_the_place_of_questions_is_said(columns: tuple[str, str], write: Write, tmp_path: Path) -> None:
    prompt, response = columns
    named = {"map": {"prompt": prompt, "response": response}} if prompt == "Frage" else {}
    rows = [{prompt: "-", response: f"A whole solution, {n}."} for n in range(5)]
    others = [{prompt: f"How much is {n}?", response: "So much."} for n in range(3)]
    report, _ = read(rows + others, write, tmp_path, **named)
    (note,) = report.notes
    assert report.rows == 8 and "5 of its 8 rows have the same prompt, '-', and different answers" in note
    chat = [
        {"messages": [{"role": "user", "content": "-"}, {"role": "assistant", "content": f"a{n}"}]} for n in range(5)
    ]
    assert any("5 of its 5 rows" in note for note in read(chat, write, tmp_path)[0].notes)
    for quiet in (
        [{**row, response: "yes"} for row in rows],  # one question, whose answer counts more than once
        [{**row, prompt: "Write a short poem."} for row in rows],
        [{**row, prompt: f"{n}+1?"} for n, row in enumerate(rows)],
        [{**row, "system": f"Say it in the language {n}."} for n, row in enumerate(rows)],
        rows[:2] + others,
    ):
        roles = {**named, "map": {**named["map"], "system": "system"}} if named and "system" in quiet[0] else named
        assert not read(quiet, write, tmp_path, **roles)[0].notes


def test_a_file_of_several_kinds_is_refused_with_all_counts(write: Write, tmp_path: Path) -> None:
    pair, _ = PAIRS["explicit prompt"]
    path = write("mixed.jsonl", [pair] * 3 + [{"text": "t"}] * 2 + [{**SFT, "images": ["a.png"]}])
    with pytest.raises(PoolError) as error:
        ingest([path], tmp_path / "pool")
    for part in ("preference pairs (3 of 6;", "pre-training text (2 of 6;", "rows with an image (1 of 6;"):
        assert part in str(error.value)


def test_named_columns_are_read_whatever_else_the_row_has(write: Write, tmp_path: Path) -> None:
    pair = {"prompt": "q", "chosen": "a", "rejected": "b"}
    report, pool = read([pair], write, tmp_path, map={"prompt": "prompt", "response": "rejected"})
    assert pool.texts() == ["q\nb"] and report.skipped == 0
    report, pool = read([{"text": "t", "label": "good"}], write, tmp_path, map={"prompt": "text", "response": "label"})
    assert pool.texts() == ["t\ngood"]
    with pytest.raises(PoolError, match="rows with an image"):
        read(
            [{"text": "t", "label": "g", "image": "a.png"}],
            write,
            tmp_path,
            map={"prompt": "text", "response": "label"},
        )


def test_the_key_is_called_from(write: Write, tmp_path: Path) -> None:
    assert "from" in IngestConfig.model_fields
    assert IngestConfig(**{"from": "sft"}).rows_from == "sft"
    with pytest.raises(ValueError, match="preference:chosen"):
        IngestConfig(**{"from": "preference:rejected"})
