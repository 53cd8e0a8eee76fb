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
