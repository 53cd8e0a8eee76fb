"""Rows whose columns can be read in several ways, and values that containers spell in their own way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoselection.errors import PoolError
from autoselection.pool import IngestConfig, IngestReport, Pool, ingest, parse_map

Write = Callable[..., Path]
Read = Callable[..., tuple[IngestReport, Pool]]
ASK = {"role": "user", "content": "q"}
SAY = {"role": "assistant", "content": "a"}


@pytest.fixture
def read(write: Write, tmp_path: Path) -> Read:
    """Ingest rows or bytes; return (report, pool)."""

    def read(rows: Any, name: str = "rows.jsonl", **config: Any) -> tuple[IngestReport, Pool]:
        report = ingest([write(name, rows)], tmp_path / "pool", IngestConfig(**config), overwrite=True)
        return report, Pool.open(tmp_path / "pool")

    return read


# -- Nested values as text ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spell", [json.dumps, repr])
@pytest.mark.parametrize(
    ("row", "messages"),
    [
        ({"messages": [ASK, SAY]}, [ASK, SAY]),
        ({"messages": {"role": ["user", "assistant"], "content": ["q", "it's"]}}, [ASK, {**SAY, "content": "it's"}]),
        ({"Dialogue": [ASK, SAY]}, [ASK, SAY]),
        ({"prompt": [ASK], "completion": [SAY]}, [ASK, SAY]),
        ({"data": ["q", "a"]}, [ASK, SAY]),
        ({"conversation": [{"input": "q", "output": "a"}]}, [ASK, SAY]),
        ({"contents": [{"role": "user", "parts": [{"text": "q"}]}, {"role": "model", "parts": [{"text": "a"}]}]}, [ASK, SAY]),
        ({"request": {"messages": [ASK]}, "response": {"message": SAY}}, [ASK, SAY]),
        ({"chosen": [ASK, SAY], "rejected": [ASK, {**SAY, "content": "b"}]}, [ASK, SAY]),
    ],
)  # fmt: skip
def test_lists_in_cells_are_json_or_as_python_spells_them(
    row: dict[str, Any], messages: Any, spell: Callable[[Any], str], read: Read
) -> None:
    cells = {name: spell(value) for name, value in row.items()}
    report, pool = read([cells], "rows.csv", **({"from": "preference:chosen"} if "chosen" in row else {}))
    assert (pool.messages(), report.skipped) == ([messages], 0)


@pytest.mark.parametrize(
    "text", ["[{'role': 'user', 'role': 'user', 'content': 'q'}]", "[{'role': ('user',)}]", "[{'a"]
)
def test_what_python_spells_and_json_has_not_is_refused(text: str, read: Read) -> None:
    good = {"messages": repr([ASK, SAY])}
    report, _ = read([good, {"messages": text}], "rows.csv")
    assert [bad.kind for bad in report.bad] == ["not valid JSON"]


def test_a_column_is_one_column_whatever_its_joints(read: Read) -> None:
    rows = [{"Prompt": "q", "Completion": "a", "Reasoning-Content": "hm", "System Prompt": "s"}]
    _, pool = read(rows)
    assert pool.messages() == [[{"role": "system", "content": "s"}, ASK, {**SAY, "reasoning_content": "hm"}]]
    assert pool.metas() == [{}]


# -- Columns that can be read in several ways --------------------------------------------------------------------------

LONG = "Two and two are added. So 4."


@pytest.mark.parametrize(
    ("row", "maps"),
    [
        ({"question": "q", "solution": LONG, "answer": "4"}, ("prompt=question,response=solution", "prompt=question,response=answer")),
        ({"question": "q", "answer": "B", "response": LONG}, ("prompt=question,response=response", "prompt=question,response=answer")),
        (
            {"question": "q", "answer": "B", "rationale": LONG},
            ("prompt=question,response=answer,reasoning=rationale", "prompt=question,response=answer"),
        ),
        ({"Question": "q", "Answer": 4, "Solution": LONG}, ("prompt=Question,response=Solution", "prompt=Question,response=Answer")),
        (
            {"instruction": "q", "input": "i", "answer": "4", "explanation": LONG},
            ("prompt=instruction,input=input,response=answer,reasoning=explanation", "prompt=instruction,input=input,response=answer"),
        ),
    ],
)  # fmt: skip
def test_a_short_answer_beside_a_likelier_response_is_a_question_to_the_user(
    row: dict[str, Any], maps: tuple[str, str], read: Read
) -> None:
    with pytest.raises(PoolError, match="a longer text beside the column") as error:
        read([row])
    assert [found.split("`")[0] for found in str(error.value).split("--map ")[1:]] == list(maps)
    if isinstance(row.get("answer"), str):
        _, pool = read([row], map=parse_map(maps[0]))
        assert LONG in pool.texts()[0]
    if "question" in row:
        _, pool = read([row], format="prompt-completion")
        assert pool.texts() == [f"q\n{row['answer']}"]


@pytest.mark.parametrize(
    "rows",
    [
        [{"question": "q", "answer": f"{LONG} #### 4"}],
        [{"question": "q", "answer": LONG, "solution": "4"}],
        [{"question": f"q{i}", "answer": LONG, "explanation": LONG * 2 if i == 0 else None} for i in range(3)],
    ],
)
def test_an_answer_that_says_it_all_is_taken(rows: Any, read: Read) -> None:
    report, pool = read(rows)
    assert len(pool) == len(rows) and LONG in pool.texts()[0] and not report.notes


TWO = [ASK, SAY, {"role": "user", "content": "r"}, {"role": "assistant", "content": "b"}]
SHAREGPT = [{"from": "human" if turn["role"] == "user" else "gpt", "value": turn["content"]} for turn in TWO]


@pytest.mark.parametrize(
    ("row", "name", "columns"),
    [
        ({"instruction": "q", "response": " a", "conversations": SHAREGPT}, "sharegpt", {"instruction", "response"}),
        ({"instruction": "q", "output": "a", "messages": TWO}, "messages", {"instruction", "output"}),
        ({"prompt": "q", "response": "a", "messages": [{"role": "system", "content": "s"}, *TWO]}, "messages", {"prompt", "response"}),
        ({"question": "q", "answer": "a", "messages": TWO}, "messages", {"question", "answer"}),
        ({"messages": TWO, "conversations": SHAREGPT[:2]}, "messages", {"conversations"}),
        ({"messages": TWO[:2], "conversations": SHAREGPT}, "sharegpt", {"messages"}),
        ({"messages": TWO, "conversations": SHAREGPT}, "messages", {"conversations"}),
    ],
)  # fmt: skip
def test_turns_that_go_on_where_other_columns_end_are_the_row(
    row: dict[str, Any], name: str, columns: set[str], read: Read
) -> None:
    report, pool = read([row])
    assert [turn for turn in pool.messages()[0] if turn["role"] != "system"] == TWO
    assert (report.format, set(pool.metas()[0])) == (name, columns)
    assert any(f"were read as {name}, which has all turns" in note for note in report.notes)


def test_turns_that_say_something_else_are_a_question_to_the_user(read: Read) -> None:
    rows = [{"instruction": "q", "response": "a", "conversations": SHAREGPT}]
    rows.append({**rows[0], "response": "something else"})
    with pytest.raises(PoolError, match=r"several row formats \(alpaca, sharegpt\).*--format sharegpt`"):
        read(rows)
    _, pool = read(rows[1:], format="sharegpt")
    assert pool.messages() == [TWO]


def test_reasoning_in_a_column_of_its_own_is_told_with_the_map(read: Read) -> None:
    rows = [{"user": f"q{i}", "assistant": "a", "system": "s", "Reasoning": f"Let me think, {i}."} for i in range(3)]
    report, pool = read(rows)
    assert pool.messages()[0][-1] == SAY and pool.metas()[0] == {"Reasoning": "Let me think, 0."}
    (note,) = report.notes
    mapped = note.split("--map ")[1].split("`")[0]
    assert "its column 'Reasoning' holds text that stays a column" in note
    report, pool = read(rows, map=parse_map(mapped))
    assert pool.messages()[0] == [
        {"role": "system", "content": "s"}, {**ASK, "content": "q0"}, {**SAY, "reasoning_content": "Let me think, 0."}
    ]  # fmt: skip
    assert not report.notes
    for row in ({"reasoning": "on"}, {"reasoning": None}, {"reasoning": "x y z w", "reasoning_content": "hm"}):
        assert not read([{"prompt": "q", "response": "a", **row}])[0].notes


CALL = [
    ASK,
    {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "4"}]},
    SAY,
]


@pytest.mark.parametrize(
    ("plain", "other", "name"),
    [
        ({"messages": TWO}, {"messages": CALL}, "anthropic"),
        ({"conversations": SHAREGPT}, {"conversations": [{"input": "q", "output": "a"}]}, "turn-pairs"),
        ({"conversations": SHAREGPT}, {"conversations": ["q", "a", "r", "b"]}, "texts"),
    ],
)
def test_the_order_of_a_files_rows_does_not_decide_how_they_are_read(
    plain: dict[str, Any], other: dict[str, Any], name: str, read: Read
) -> None:
    plains = [{**plain, "id": f"p{number}"} for number in range(40)]
    others = [{**other, "id": f"o{number}"} for number in range(40)]
    found = []
    for rows in ([*plains, *others], [*others, *plains], [*plains[:31], *others, *plains[31:]]):
        report, pool = read(rows)
        assert not report.skipped
        found.append(dict(zip(pool.row_ids(), pool.conversations(), strict=True)))
    assert found[0] == found[1] == found[2]
    report, _ = read([*plains, *others])
    assert any(
        f"40 rows of another shape than the file ({report.format}) were read as {name}" in n for n in report.notes
    )
    report, _ = read([*plains, *others], format=report.format)  # as the user says, and nothing else
    assert report.skipped == 40


def test_a_log_without_an_answer_is_no_conversation_of_its_request(read: Read) -> None:
    answered = {"messages": [*TWO[:2], ASK], "response": {"message": SAY}}
    report, _ = read([answered, {**answered, "messages": TWO, "response": None}])
    assert [bad.kind for bad in report.bad] == ["log without an answer"]
