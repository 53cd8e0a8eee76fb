"""What a new user's files are like: appended twice, numbers first, empty rows first, folders of other programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from autoselection.errors import PoolError
from autoselection.export import export_rows, export_subset
from autoselection.pool import IngestConfig, Pool, ingest

Write = Callable[..., Path]
ROWS = [{"prompt": f"q{number}", "completion": f"a{number}"} for number in range(40)]


@pytest.mark.parametrize("name", ["rows.jsonl", "copy.jsonl"])
def test_rows_appended_a_second_time_are_counted(name: str, write: Write, tmp_path: Path) -> None:
    out = tmp_path / "pool"
    assert not [note for note in ingest([write("rows.jsonl", ROWS)], out).notes if "word for word" in note]
    new = [{"prompt": "new", "completion": "row"}, {"prompt": "new", "completion": "row"}]
    report = ingest([write(name, [*ROWS, *new])], out, append=True)
    assert report.rows == 82
    assert [note for note in report.notes if note.startswith("40 of the 42 rows that were added")]
    report = ingest([write("other.jsonl", [{"prompt": "q", "completion": "other"}])], out, append=True)
    assert not [note for note in report.notes if "word for word" in note]


@pytest.mark.parametrize(
    ("names", "role"),
    [(("Frage", "Antwort"), "response=Antwort"), (("Pregunta", "Respuesta"), "response=Respuesta"), (("X", "Y"), "Y")],
)
def test_dates_and_numbers_are_not_proposed_as_text(names: tuple[str, str], role: str, tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append([names[0], names[1], "wann", "zahl", "wahr"])
    for number in range(40):
        answer = 42 if number == 0 else f"Ja, {number}."
        book.active.append(
            [f"Wie {number}?", answer, f"2024-01-{number % 28 + 1:02d}T10:00:00Z", 10**20 + number, True]
        )
    book.save(tmp_path / "faq.xlsx")
    with pytest.raises(PoolError, match=rf"--map '?prompt={names[0]},response={names[1]}\b"):
        ingest([tmp_path / "faq.xlsx"], tmp_path / "pool")


def test_files_without_the_mapped_columns_keep_their_own_ids_and_sources(write: Write, tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    own = write("a.jsonl", [{"conversations": turns, "id": "myid", "source": "mine"}])
    mapped = write("b.csv", [{"Frage": "f", "Antwort": "x", "Nr": "7", "Art": "art"}])
    columns = {"prompt": "Frage", "response": "Antwort", "id": "Nr", "source": "Art"}
    report = ingest([own, mapped], tmp_path / "pool", IngestConfig(map=columns))
    pool = Pool.open(tmp_path / "pool")
    assert list(pool.row_ids([0, 1])) == ["myid", "7"] and report.sources == {"mine": 1, "art": 1}
    for wrong in ({"id": "Nummer"}, {"source": "Sorte"}):
        with pytest.raises(PoolError, match="which was named as its"):
            ingest([own, mapped], tmp_path / "other", IngestConfig(map={**columns, **wrong}))


@pytest.mark.parametrize(
    ("empty", "good"),
    [
        ({"prompt": None, "completion": "x"}, {"prompt": "q", "completion": "a"}),
        ({"prompt": float("nan"), "completion": float("nan")}, {"prompt": "q", "completion": "a"}),
        ({"messages": None}, {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}),
        ({"Instruction": None, "output": None}, {"Instruction": "q", "output": "a"}),
        ({"query": "", "response": ""}, {"query": "q", "response": "a"}),
        ({"question": None, "answer": "x", "choices": None}, {"question": "q", "answer": "a", "choices": None}),
        ({}, {"text": None, "problem": "q", "solution": "a"}),
    ],
)
def test_empty_first_rows_do_not_hide_the_format(empty: Any, good: Any, write: Write, tmp_path: Path) -> None:
    file = write("rows.jsonl", [*[empty] * 50, good])
    report = ingest([file, write("ok.jsonl", ROWS)], tmp_path / "pool")
    assert (report.rows, report.skipped) == (41, 50)


def test_a_llamafactory_folder_is_read_by_its_list(write: Write, tmp_path: Path) -> None:
    ingest([write("rows.jsonl", ROWS)], tmp_path / "pool")
    pool, folder = Pool.open(tmp_path / "pool"), tmp_path / "lf"
    export_subset(pool, range(10), folder, "sharegpt")
    ingest([folder], tmp_path / "back")
    back = Pool.open(tmp_path / "back")
    assert back.messages() == pool.messages(range(10)) and list(back.row_ids(range(10))) == pool.row_ids(range(10))
    info = folder / "dataset_info.json"
    document = json.loads(info.read_text())
    (folder / "b.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    info.write_text(json.dumps({**document, "b": {"file_name": "b.jsonl"}, "hub": {"hf_hub_url": "x/y"}}))
    with pytest.raises(PoolError, match="several splits: name one of b, subset with --split"):
        ingest([folder], tmp_path / "two")
    assert ingest([folder], tmp_path / "two", IngestConfig(split="b")).rows == 1
    (folder / "b.jsonl").unlink()
    with pytest.raises(PoolError, match="does not exist"):
        ingest([folder], tmp_path / "three", IngestConfig(split="b"))
    info.write_text("[1]")
    with pytest.raises(PoolError, match="does not list data sets"):
        ingest([folder], tmp_path / "three")
    with pytest.raises(PoolError, match="is a pool already"):
        ingest([tmp_path / "pool"], tmp_path / "three")


def test_settings_that_no_file_can_obey_are_refused(write: Write, tmp_path: Path) -> None:
    for name, value in {"split": "train", "delimiter": ";"}.items():
        with pytest.raises(PoolError, match=f"^--{name} {value} .* leave it out"):
            ingest([write("rows.jsonl", ROWS)], tmp_path / "pool", IngestConfig(**{name: value}))
    with pytest.raises(PoolError, match=r"^--encoding cp1252 "):
        ingest([write("rows.parquet", ROWS)], tmp_path / "pool", IngestConfig(encoding="cp1252"))


def test_an_empty_sheet_is_called_empty(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["prompt", "completion"])
    book.active.append(["q", "a"])
    book.create_sheet("Leer")
    book.save(tmp_path / "b.xlsx")
    with pytest.raises(PoolError, match=r"sheet 'Leer' of .* is empty; sheets with rows: Sheet"):
        ingest([tmp_path / "b.xlsx"], tmp_path / "pool", IngestConfig(split="Leer"))


def test_questions_with_options_are_told_as_such(write: Write, tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="questions with options"):
        ingest([write("mc.jsonl", [{"question": "q", "choices": ["a", "b"], "answer": 0}])], tmp_path / "pool")
    with pytest.raises(PoolError, match="in the field 'rows', write that list alone"):
        ingest([write("one.jsonl", [{"name": "n", "rows": [{"prompt": "q", "completion": "a"}]}])], tmp_path / "pool")


@pytest.mark.parametrize("own", ["_file", "_line"])
def test_half_a_place_of_the_users_own_does_not_hide_the_place(own: str, write: Write, tmp_path: Path) -> None:
    ingest([write("rows.jsonl", [{**ROWS[0], own: 5}])], tmp_path / "pool")
    export_rows(Pool.open(tmp_path / "pool"), None, tmp_path / "out.jsonl")
    row = json.loads((tmp_path / "out.jsonl").read_text())
    assert row["_file"].endswith("rows.jsonl") and row["_line"] == 1 and row[f"own_{own}"] == 5


def turns(asked: str, said: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]


BEFORE = [*turns("hi there", "hello to you"), *turns("and you?", "fine")]


@pytest.mark.parametrize("names", [("question", "answer"), ("prompt", "completion"), ("problem", "solution")])
@pytest.mark.parametrize(
    "more",
    [
        {"history": BEFORE},
        {"few_shot": BEFORE},
        {"context": BEFORE},
        {"raw": json.dumps(BEFORE)},
        {"earlier": [*BEFORE, {"role": "user", "content": "What is the capital?"}]},  # its answer is the pair's
        {"judge_messages": turns("Judge this.", "score 5")},
        {"judge_messages": turns("Judge 'What is the capital?' with the answer 'It is called Town1.'", "score 5")},
    ],
)
def test_turns_of_something_else_than_a_pairs_question_are_a_column(
    names: tuple[str, str], more: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    pair = dict(zip(names, ("What is the capital?", "It is called Town1."), strict=True))
    pool = ingest([write("rows.jsonl", [{**pair, **more}])], tmp_path / "pool").pool
    assert (pool.texts(), pool.metas()) == (["What is the capital?\nIt is called Town1."], [more])


@pytest.mark.parametrize(
    "told",
    [
        turns("What is the  capital?", "Let me think. It is Town1."),
        turns("Return the answer in \\boxed{}. What is the capital?", "It is \\boxed{Town1}."),
        [*BEFORE, *turns("What is the capital?", "Town1")],
        [*turns("What is the capital?", "Town1"), *BEFORE],
    ],
)
def test_turns_that_ask_a_pairs_question_and_say_more_are_named_first(told: Any, write: Write, tmp_path: Path) -> None:
    file = write("rows.jsonl", [{"question": "What is the capital?", "answer": "Town1", "told": told}])
    with pytest.raises(PoolError, match=r"turns in the column 'told'.*--map messages=told`"):
        ingest([file], tmp_path / "pool")


def test_examples_with_the_same_instruction_are_a_column(write: Write, tmp_path: Path) -> None:
    row = {"instruction": "Sum it up.", "input": "A long text.", "output": "Short."}
    more = {"examples": turns("Sum it up.\nAnother text.", "Another.")}
    pool = ingest([write("rows.jsonl", [{**row, **more}])], tmp_path / "pool").pool
    assert pool.metas() == [more]


@pytest.mark.parametrize(
    "more",
    [
        {"generated_question": "Which town is called Town1, the capital of the country?"},
        {"generated_prompt": "Draw Town1, a capital with a river, in the style of an old map."},
        {"generated_by": "a model of that kind"},
        {"generation": "the third generation of data"},
        {"data_generation": "the third generation of data"},
    ],
)
@pytest.mark.parametrize("names", [("question", "answer"), ("problem", "solution"), ("instruction", "output")])
def test_what_was_generated_and_answers_nothing_is_a_column(
    names: tuple[str, str], more: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    row = {**dict(zip(names, ("What is the capital?", "Town1"), strict=True)), **more}
    pool = ingest([write("rows.jsonl", [row])], tmp_path / "pool").pool
    assert (pool.texts(), pool.metas()) == (["What is the capital?\nTown1"], [more])


LONG = "The country has one river, on which its capital lies."
CODE = "def town(number):\n    return f'Town{number}'"


@pytest.mark.parametrize(
    ("given", "generated", "is_bare"),
    [
        ("Town1", f"{LONG} So it is Town1.", True),
        ("Town1", f"{LONG} It might be another one. {LONG} So it is Town2.", True),
        (CODE, f"Let us write a function for it.\n```python\n{CODE}\n```", False),  # as OpenCodeReasoning-2 has it
    ],
)
@pytest.mark.parametrize("name", ["generation", "r1_generation", "generated_answer", "generated_text"])
def test_what_was_generated_to_work_out_the_response_is_named_first(
    name: str, given: str, generated: str, is_bare: bool, write: Write, tmp_path: Path
) -> None:
    file = write("rows.jsonl", [{"question": "Q?", "solution": given, name: generated}])
    with pytest.raises(PoolError, match=f"the column '{name}' with longer text beside 'solution'") as error:
        ingest([file], tmp_path / "pool")
    assert ("which may be a bare result" in str(error.value)) is is_bare
    assert f"--map prompt=question,response={name}`" in str(error.value)


def test_a_generation_beside_a_long_response_of_its_own_is_a_column(write: Write, tmp_path: Path) -> None:
    row = {"problem": "Q?", "solution": LONG, "r1_generation": f"Something else altogether. {LONG[:-1]}, they say."}
    assert ingest([write("rows.jsonl", [row])], tmp_path / "pool").pool.texts() == [f"Q?\n{LONG}"]
