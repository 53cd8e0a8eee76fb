"""The user's own column names: known pairs, any case, a map; and the command that a refusal gives."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from autoselection.cli import app
from autoselection.errors import ConfigError, PoolError
from autoselection.pool import IngestConfig, Pool, ingest, parse_map

Write = Callable[..., Path]
TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
SHAREGPT = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]


@pytest.fixture
def read(write: Write, tmp_path: Path) -> Callable[..., Any]:
    """Ingest rows; return (report, pool)."""

    def read(rows: Any, name: str = "rows.jsonl", **config: Any) -> Any:
        report = ingest([write(name, rows)], tmp_path / "pool", IngestConfig(**config), overwrite=True)
        return report, Pool.open(tmp_path / "pool")

    return read


@pytest.mark.parametrize("spelling", [str.lower, str.upper, str.title, lambda name: f" {name} "])
@pytest.mark.parametrize(
    ("prompt", "response"),
    [
        ("prompt", "completion"),
        ("prompt", "response"),
        ("question", "answer"),
        ("query", "response"),
        ("input", "output"),
        ("instruction", "response"),
        ("instruction", "output"),
        ("instruction", "answer"),
        ("problem", "solution"),
        ("question", "response"),
        ("user", "assistant"),
    ],
)
def test_common_pairs_are_known_whatever_their_case(
    prompt: str, response: str, spelling: Callable[[str], str], read: Callable[..., Any]
) -> None:
    for name in ("rows.jsonl", "rows.csv", "rows.parquet"):
        report, pool = read([{"No": "1", spelling(prompt): "q", spelling(response): "a"}], name)
        assert pool.texts() == ["q\na"]
        assert report.rows == 1
        assert pool.metas() == [{"No": "1"}]


@pytest.mark.parametrize(
    "name",
    ["messages", "conversations", "Conversation", "conversation", "dialogue", "Dialog", "chat", "turns", "MESSAGES"],
)
@pytest.mark.parametrize("turns", [TURNS, SHAREGPT])
def test_conversations_are_known_by_usual_names(name: str, turns: Any, read: Callable[..., Any]) -> None:
    for file in ("rows.jsonl", "rows.csv", "rows.parquet"):
        _, pool = read([{name: turns, "note": "n"}], file)
        assert (pool.messages(), pool.metas()) == ([TURNS], [{"note": "n"}])


@pytest.mark.parametrize(
    "row",
    [
        {"dialogue": "Ann: Hi. Bob: Ho.", "summary": "They meet."},
        {"query": "q", "response": "r", "input": "i", "output": "o"},
        {"input": "q", "output": 3},
    ],
)
def test_what_is_no_pair_is_refused_with_the_columns(row: dict[str, Any], read: Callable[..., Any]) -> None:
    with pytest.raises(PoolError, match=r"row format of .* is unknown") as error:
        read([row])
    assert all(f"'{name}'" in str(error.value) for name in row)


def test_an_instruction_keeps_its_input_whatever_the_answer_is_called(read: Callable[..., Any]) -> None:
    _, pool = read([{"Instruction": "Sort.", "Input": "3 1 2", "Answer": "1 2 3"}])
    assert pool.texts() == ["Sort.\n3 1 2\n1 2 3"]


def test_a_column_that_is_empty_in_one_row_is_not_replaced_by_another(read: Callable[..., Any]) -> None:
    rows: list[dict[str, Any]] = [{"query": f"q{i}", "response": "a"} for i in range(40)]
    report, pool = read([*rows, {"query": "q40", "response": None, "answer": "other"}])
    assert len(pool) == 40
    assert [bad.reason for bad in report.bad] == ["field 'response' is missing or empty"]


def test_exact_names_win_over_other_spellings(read: Callable[..., Any]) -> None:
    _, pool = read([{"prompt": "q", "Prompt": "Q", "completion": "a", "ID": 7, "Source": "s"}])
    assert pool.texts() == ["q\na"]
    assert pool.metas() == [{"Prompt": "Q", "ID": 7, "Source": "s"}]  # as always: this table's ids stay what they were
    assert pool.source_names == ("rows",)


def test_ids_and_sources_of_tables_with_other_spellings(read: Callable[..., Any]) -> None:
    _, pool = read([{"ID": 7, "Source": "s", "Question": "q", "Answer": "a"}])
    assert (pool.row_ids(), pool.sources(), pool.metas()) == (["7"], ["s"], [{}])


# A map


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet", "rows.json"])
def test_a_map_names_the_columns(name: str, read: Callable[..., Any]) -> None:
    rows = [
        {"Nr": "a1", "Frage": "q", "Antwort": "a", "Thema": "t", "Rolle": "Be brief.", "prompt": "not this", "x": "y"},
        {"Nr": "a2", "Frage": "r", "Antwort": "b", "Thema": "u", "Rolle": "", "prompt": "nor this", "x": "z"},
    ]
    columns = {"prompt": "frage", "response": "ANTWORT", "system": "Rolle", "source": "thema", "id": "nr"}
    report, pool = read(rows, name, map=columns)
    assert pool.texts() == ["Be brief.\nq\na", "r\nb"]
    assert (pool.row_ids(), pool.sources()) == (["a1", "a2"], ["t", "u"])
    assert pool.metas() == [{"prompt": "not this", "x": "y"}, {"prompt": "nor this", "x": "z"}]
    assert report.format == "prompt-completion"


def test_a_map_of_conversations_of_inputs_and_of_histories(read: Callable[..., Any]) -> None:
    _, pool = read([{"Chatverlauf": SHAREGPT, "sys": "s"}], map={"messages": "chatverlauf", "system": "sys"})
    assert pool.texts() == ["s\nq\na"]
    row = {"do": "Sort.", "with": "3 1 2", "done": "1 2 3", "before": [["Hi", "Ho"]]}
    _, pool = read([row], map={"prompt": "do", "input": "with", "response": "done", "history": "before"})
    assert pool.texts() == ["Hi\nHo\nSort.\n3 1 2\n1 2 3"]


def test_a_bad_row_is_told_in_the_users_words(read: Callable[..., Any]) -> None:
    rows = [
        {"Frage": "q", "Antwort": "a"},
        {"Frage": "q", "Antwort": " "},
        {"Frage": ["q"], "Antwort": "a"},
        {"Frage": "q"},
    ]
    report, _ = read(rows, map={"prompt": "Frage", "response": "Antwort"})
    assert [bad.reason for bad in report.bad] == [
        "field 'Antwort' is missing or empty",
        "turn 1 of 'Frage' must be an object, not a string",
        "field 'Antwort' is missing or empty",
    ]


def test_a_map_does_not_touch_files_without_its_columns(write: Write, tmp_path: Path) -> None:
    own = write("own.csv", "Frage,Antwort\nq,a\n")
    usual = write("usual.jsonl", [{"messages": TURNS}])
    config = IngestConfig(map={"prompt": "Frage", "response": "Antwort"})
    assert ingest([own, usual], tmp_path / "pool", config).rows == 2
    half = write("half.csv", "Frage,Antwrot\nq,a\n")
    with pytest.raises(
        PoolError, match=r"half\.csv has no column 'Antwort'; .*'Frage', 'Antwrot'; did you mean 'Antwrot'\?"
    ):
        ingest([own, half], tmp_path / "other", config)
    with pytest.raises(PoolError, match="has no column 'Frage'"):
        ingest([usual], tmp_path / "other", config)
    with pytest.raises(PoolError, match="No file has the columns that --map"):
        ingest([usual, write("more.jsonl", [{"messages": TURNS}])], tmp_path / "other", config)


@pytest.mark.parametrize("config", [{"id_field": "nr"}, {"source_field": "topic"}, {"map": {"id": "nr"}}])
def test_a_named_field_that_no_row_has_is_refused(config: dict[str, Any], read: Callable[..., Any]) -> None:
    with pytest.raises(PoolError, match=r"No row has a value in the field '(nr|topic)'"):
        read([{"messages": TURNS}], **config)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("prompt=Q,response=A", {"prompt": "Q", "response": "A"}),
        ("prompt=Q, then,response=A=B,id=no.", {"prompt": "Q, then", "response": "A=B", "id": "no."}),
        ("messages=chat", {"messages": "chat"}),
    ],
)
def test_maps_are_parsed(text: str, columns: dict[str, str]) -> None:
    assert parse_map(text) == columns


@pytest.mark.parametrize("text", ["", "prompt", "prompt=", "Q=prompt", "prompt=a,prompt=b", "answer=b"])
def test_what_is_no_map_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--map"):
        parse_map(text)


@pytest.mark.parametrize(
    "columns", [{"prompt": "a"}, {"response": "a"}, {"messages": "a", "prompt": "b"}, {"system": "s"}]
)
def test_a_map_that_makes_no_rows_is_refused(columns: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"'prompt' and 'response'|'messages' holds"):
        IngestConfig(map=columns)


# The command in the message


@pytest.mark.parametrize(
    ("name", "rows", "texts"),
    [
        ("faq.csv", [{"Nr": "1", "Frage": "q?", "Antwort": "a."}], ["q?\na."]),
        ("my faq's.csv", [{"Kundenfrage, kurz": "q?", "Antwort = Text": "a."}], ["q?\na."]),
        ("faq.jsonl", [{"model_answer": "a.", "user_question": "q?", "score": 3}], ["q?\na."]),
        ("faq.jsonl", [{"id": "x", "userPrompt": "q?", "modelReply": "a."}], ["q?\na."]),
        (
            "math.jsonl",
            [
                {
                    "expected_answer": "four",
                    "problem_type": "has_answer",
                    "generation_model": "R1",
                    "problem": "q?",
                    "generated_solution": "It is so.",
                }
            ],
            ["q?\nIt is so."],
        ),
        ("faq.jsonl", [{"prompt_id": "x", "promptSource": "y", "prompt": "q?", "generated_text": "a."}], ["q?\na."]),
        (
            "faq.jsonl",
            [{"question_id": "x", "question_type": "long", "question": "q?", "model_answer": "a."}],
            ["q?\na."],
        ),
        (
            "faq.jsonl",
            [{"first_question": "q?", "second_question": "what is asked?", "my_answer": "a."}],
            ["what is asked?\na."],
        ),
        ("faq.jsonl", [{"Frage": "q?", "final_answer": "a."}], ["q?\na."]),
        ("chat.jsonl", [{"human": "q?", "model": "a."}], ["q?\na."]),
        ("chat.jsonl", [{"source": "web", "user": "q?", "model": "a.", "model_type": "of that kind"}], ["q?\na."]),
        ("chat.jsonl", [{"human": "q?", "assistant_model": "a."}], ["q?\na."]),
        ("sql.jsonl", [{"natural_language": "q?", "sql": "a."}], ["q?\na."]),
        ("mt.jsonl", [{"source_language": "q?", "target_language": "a."}], ["q?\na."]),
        ("code.jsonl", [{"problem_source": "q?", "code_source": "a."}], ["q?\na."]),
        ("faq.jsonl", [{"Frage": "q?", "final_answer": "a.", "answer_source": "a book of it"}], ["q?\na."]),
        ("faq.parquet", [{"verlauf": TURNS, "n": 1}], ["q\na"]),
        ("pairs.jsonl", [{"prompt": "q?", "chosen": "a.", "rejected": "b."}], ["q?\na."]),
        ("pairs.jsonl", [{"prompt": "q?", "chosen": TURNS, "rejected": SHAREGPT}], ["q\na"]),
    ],
)
def test_the_command_that_a_refusal_gives_reads_the_file(
    name: str, rows: list[dict[str, Any]], texts: list[str], write: Write, tmp_path: Path
) -> None:
    path = write(name, rows, container=name.rsplit(".", 1)[1])
    out = tmp_path / "a pool"
    with pytest.raises(PoolError) as error:
        ingest([path], out)
    command = re.search(r"`(autoselection ingest .*)`", str(error.value))
    assert command, str(error.value)
    words = shlex.split(command[1])
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, result.output
    assert Pool.open(out).texts() == texts


def test_the_command_keeps_what_was_asked_for(write: Write, tmp_path: Path) -> None:
    path = write("faq.csv", "Frage,kurz|Antwort,kurz\nGröße?,klein|groß\n".encode("cp1252"))
    ingest([write("first.jsonl", [{"messages": TURNS}])], tmp_path / "pool")
    config = IngestConfig(delimiter="|", encoding="cp1252", sources={"shop": "faq*"}, on_bad_row="refuse")
    with pytest.raises(PoolError) as error:
        ingest([path], tmp_path / "pool", config, append=True)
    command = re.search(r"`autoselection (ingest .*)`", str(error.value))
    assert command
    result = CliRunner().invoke(app, shlex.split(command[1]))
    assert result.exit_code == 0, result.output
    assert Pool.open(tmp_path / "pool").texts() == ["q\na", "Größe?,klein\ngroß"]
    assert Pool.open(tmp_path / "pool").sources() == ["first", "shop"]


def test_names_of_columns_are_the_same_however_their_accents_were_typed(read: Callable[..., Any]) -> None:
    wanted = {"prompt": "Gro\u0308ße", "response": "R\u00e9ponse"}
    _, pool = read("Gr\u00f6ße,Re\u0301ponse\nq,a\n", "rows.csv", map=wanted)
    assert [turn["content"] for turn in pool.messages()[0]] == ["q", "a"]
