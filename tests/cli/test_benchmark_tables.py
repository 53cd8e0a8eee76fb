"""``benchmark`` on tables as spreadsheets write them: own column names, separators, encodings, options in cells."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Outcome

Command = Callable[..., Outcome]


def items(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(out.glob("*.jsonl")) for line in path.read_text("utf-8").splitlines()]


def unusable(out: Path) -> dict[str, int]:
    found: dict[str, int] = json.loads((out / "manifest.json").read_text("utf-8"))["unusable"]
    return found


@pytest.mark.parametrize(
    ("kind", "answers", "gold"),
    [("number", ["1,5", "2,25"], {"1.5", "2.25"}), ("yes_no", ["ja", "Nein"], {"yes", "no"})],
)
@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-8-sig", "utf-16"])
def test_tables_of_german_spreadsheets(
    kind: str, answers: list[str], gold: set[str], encoding: str, tmp_path: Path, command: Command
) -> None:
    lines = [f"{number};Wie groß ist die Größe Nr. {number}?;{answers[number % 2]}" for number in range(40)]
    file = tmp_path / "quiz.csv"
    file.write_bytes("\r\n".join(["Nr;Frage;Antwort", *lines, ""]).encode(encoding))
    out = tmp_path / "out"
    plain = command("benchmark", kind, "--source", file, "--out", out)
    assert plain.code == 2 and "--map question=COLUMN" in plain.err
    assert "'Nr', 'Frage', 'Antwort'" in plain.err
    told = command("benchmark", kind, "--source", file, "--out", out, "--map", "question=Frage,answer=Antwort")
    assert told.code == 0, told.err
    assert ("Windows-1252" in told.err) == (encoding == "cp1252")
    found = items(out)
    assert len(found) == 40 and {item["answer"] for item in found} == gold
    assert all("groß ist die Größe" in item["prompt"] for item in found)
    entry = json.loads((out / "manifest.json").read_text("utf-8"))["config"]
    assert "metric" not in entry and entry["dev"].endswith(
        "dev.jsonl"
    )  # by the loss: exact match tells nothing at first


def test_encodings_and_delimiters_that_cannot_be_told_are_named(tmp_path: Path, command: Command) -> None:
    file, out = tmp_path / "quiz.csv", tmp_path / "out"
    rows = [f"вопрос {number}~ответ {number}" for number in range(40)]
    file.write_bytes("\n".join(["question~answer", *rows, ""]).encode("cp1251"))
    told = command("benchmark", "short_answer", "--source", file, "--out", out)
    assert told.code == 2 and "--encoding" in told.err and "pool.ingest" not in told.err
    arguments = ("benchmark", "short_answer", "--source", file, "--out", out)
    assert command(*arguments, "--encoding", "cp1251", "--delimiter", "~").code == 0
    assert {item["prompt"] for item in items(out)} == {f"вопрос {number}" for number in range(40)}
    assert "fix" not in command(*arguments, "--encoding", "nonsense").err
    assert command(*arguments, "--map", "question=Frag", "--encoding", "cp1251", "--delimiter", "~").code == 2


@pytest.mark.parametrize("header", ["question,choices,answer", "question,A,B,C,D,answer", "question,a,b,c,d,answer"])
@pytest.mark.parametrize("answer", ["B", "grün"])
def test_options_in_cells_of_tables(header: str, answer: str, tmp_path: Path, command: Command) -> None:
    options = '"[""rot"", ""grün"", ""blau"", ""gelb""]"' if "choices" in header else "rot,grün,blau,gelb"
    rows = [f"Was ist {number}?,{options},{answer}" for number in range(40)]
    file = tmp_path / "mc.csv"
    file.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    told = command("benchmark", "multiple_choice", "--source", file, "--out", tmp_path / "out")
    assert told.code == 0, told.err
    for item in items(tmp_path / "out"):
        assert item["choices"] == ["rot", "grün", "blau", "gelb"] and item["answer"] == "B"


OPTIONS = ["rot", "grün", "blau"]
FORMS: dict[str, Callable[[], Any]] = {
    "columns of labels and texts": lambda: {"label": ["A", "B", "C"], "text": OPTIONS},
    "numbers for labels": lambda: {"label": ["1", "2", "3"], "text": OPTIONS},
    "pairs": lambda: [{"label": label, "text": text, "more": [1]} for label, text in zip("ABC", OPTIONS, strict=True)],
    "texts of objects": lambda: [{"text": text} for text in OPTIONS],
    "an object": lambda: dict(zip("ABC", OPTIONS, strict=True)),
    "columns in a cell": lambda: json.dumps({"label": ["A", "B", "C"], "text": OPTIONS}),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["multiple_choice", "mmlu"])
def test_options_with_labels_are_their_texts(kind: str, form: str, tmp_path: Path, command: Command) -> None:
    """Rows as of OpenBookQA and ARC, through --map; the answer is a label, a number where labels are."""
    gold: Any = {"numbers for labels": 2, "texts of objects": "grün"}.get(form, "B")
    rows = [{"question_stem": f"Was ist {n}?", "choices": FORMS[form](), "answerKey": gold} for n in range(9)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = command(
        "benchmark",
        kind,
        "--source",
        file,
        "--out",
        tmp_path / "out",
        "--map",
        "question=question_stem,answer=answerKey",
    )
    assert told.code == 0, told.err
    found = items(tmp_path / "out")
    assert len(found) == 9
    assert all((item["choices"], item["answer"]) == (OPTIONS, "B") for item in found)


@pytest.mark.parametrize(
    "choices", [[["a"], ["b"]], [{"x": 1}, {"x": 2}], [None, "b"], {"label": ["A"], "text": ["a", "b"]}]
)
def test_options_that_are_no_text_are_refused(choices: Any, tmp_path: Path, command: Command) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(
        "".join(json.dumps({"question": f"q {n}", "choices": choices, "answer": 1}) + "\n" for n in range(9))
    )
    told = command("benchmark", "multiple_choice", "--source", file, "--out", tmp_path / "out")
    assert told.code == 2
    assert any(
        said in told.err for said in ("neither text nor a number", "an empty one", "not as many labels as options")
    )


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("question,answer,A,B,C,D", "What is {n}?,B,rot,grün,blau,gelb"),
        ("Frage,Loesung,A,B,C,D", "What is {n}?,B,rot,grün,blau,gelb"),
        ("answer,question,C,B,A,D", "B,What is {n}?,blau,grün,rot,gelb"),
        (None, "What is {n}?,rot,grün,blau,gelb,B"),
        (None, "What is {n}?,rot,grün,A,B,B"),
        (None, "input {n},rot,grün,answer,B,B"),
    ],
)
def test_a_header_that_ends_in_a_letter_is_no_item(
    header: str | None, row: str, tmp_path: Path, command: Command
) -> None:
    file = tmp_path / "quiz.csv"
    rows = [row.format(n=n) for n in range(40)]
    file.write_text("\n".join([*([header] if header else []), *rows, ""]), encoding="utf-8")
    mapped = ("--map", "question=Frage,answer=Loesung") if header and "Frage" in header else ()
    kind = "multiple_choice" if header else "mmlu"
    told = command("benchmark", kind, "--source", file, "--out", tmp_path / "out", *mapped)
    assert told.code == 0, told.err
    found = items(tmp_path / "out")
    assert len(found) == 40
    assert all(item["choices"][:2] == ["rot", "grün"] and item["answer"] == "B" for item in found)


def test_no_option_of_a_row_is_lost(tmp_path: Path, command: Command) -> None:
    rows = [{"question": f"{n} - {n}?", "A": 7, "B": 0, "C": 1, "D": 2, "answer": "B"} for n in range(9)]
    rows.append({"question": "gap?", "A": "x", "B": "", "C": "y", "D": "z", "answer": "C"})
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = command("benchmark", "mmlu", "--source", file, "--out", tmp_path / "out")
    assert told.code == 0, told.err
    found = items(tmp_path / "out")
    assert len(found) == 9
    assert all((item["choices"], item["answer"]) == (["7", "0", "1", "2"], "B") for item in found)
    assert unusable(tmp_path / "out") == {"fewer than two options, or an empty one": 1}


def test_a_row_without_an_answer_letter_has_no_answer(tmp_path: Path, command: Command) -> None:
    file = tmp_path / "quiz.csv"
    rows = [f"What is {n}?,rot,grün,blau,gelb,B" for n in range(9)]
    file.write_text(
        "\n".join([*rows, "What is 10?,a,b,c,d,", "What is 11?,a,b,c,d,AB", "What is 12?,rot,grün,c,d,(b)", ""]),
        encoding="utf-8",
    )
    told = command("benchmark", "mmlu", "--source", file, "--out", tmp_path / "out")
    assert told.code == 0, told.err
    assert [item["answer"] for item in items(tmp_path / "out")] == ["B"] * 10
    assert unusable(tmp_path / "out") == {"the answer is none of the options": 2}


@pytest.mark.parametrize("written", [int, str, float])
@pytest.mark.parametrize("kind", ["multiple_choice", "mmlu"])
def test_right_options_counted_from_1_are_refused(kind: str, written: Any, tmp_path: Path, command: Command) -> None:
    def converted(name: str, golds: list[int]) -> Outcome:
        file = tmp_path / f"{name}.jsonl"
        rows = [
            {"question": f"q {n}", "choices": ["x", "y", "z"], "answer": written(gold)} for n, gold in enumerate(golds)
        ]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return command("benchmark", kind, "--source", file, "--out", tmp_path / name)

    told = converted("from_one", [1, 2, 3, 1, 2, 3])
    assert told.code == 2
    assert "seem to be counted from 1: none is number 0, and 2 records name as many as there are options" in " ".join(
        told.err.split()
    )
    told = converted("from_zero", [0, 1, 2, 3, 1, 2])
    assert told.code == 0 and unusable(tmp_path / "from_zero") == {"the answer is none of the options": 1}
    assert len(items(tmp_path / "from_zero")) == 5


def test_ids_of_a_source_that_stand_twice_are_unique_in_what_is_written(tmp_path: Path, command: Command) -> None:
    names = ["q", "q", "q-2", "q", "q-2", "r"]
    file = tmp_path / "rows.jsonl"
    rows = [{"id": name, "question": f"question {n}", "answer": f"word {n}"} for n, name in enumerate(names)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = command("benchmark", "short_answer", "--source", file, "--name", "x", "--out", tmp_path / "out")
    assert told.code == 0, told.err
    found = [item["id"] for item in items(tmp_path / "out")]
    assert len(set(found)) == len(names) and {"x-q", "x-q-2", "x-r"} < set(found)


def test_a_source_is_never_replaced(tmp_path: Path, command: Command) -> None:
    file = tmp_path / "test.jsonl"
    file.write_text("".join(json.dumps({"question": f"q {n}", "answer": f"a {n}"}) + "\n" for n in range(20)))
    before = file.read_bytes()
    told = command("benchmark", "short_answer", "--source", file, "--out", tmp_path, "--overwrite")
    assert told.code == 2 and "is a source of this benchmark" in told.err
    assert [path.name for path in tmp_path.iterdir()] == ["test.jsonl"] and file.read_bytes() == before


def test_few_dev_items_are_told_of_and_what_gives_more(tmp_path: Path, command: Command) -> None:
    def told(count: int, name: str, *options: str) -> str:
        file = tmp_path / f"{name}.csv"
        file.write_text("question,answer\n" + "".join(f"What is word {n}?,word{n}\n" for n in range(count)))
        found = command(
            "benchmark", "short_answer", "--source", file, "--name", name, "--out", tmp_path / name, *options
        )
        assert found.code == 0, found.err
        return " ".join(found.err.split())

    # 80 questions make 40 for target, 20 for dev, 20 for test.
    said = told(80, "small")
    assert "'small' has 20 dev items, which are few: one of them is 5.0 points" in said
    assert "Of the 40 items of target, --target 10 would leave most to dev and test." in said
    assert "has 35 dev items, which are few" in told(80, "most", "--target", "10")
    assert "--target 10 would" not in told(80, "mine", "--target", "10") and "are few" not in told(420, "many")
