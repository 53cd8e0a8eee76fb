"""Rows whose columns can be read in several ways, and values that containers spell in their own way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autoselection.errors import PoolError
from autoselection.export import export_rows
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


def as_pandas_writes(value: Any) -> str:
    """A list as pandas writes it to CSV, for which lists of Parquet are arrays of NumPy, those within objects too."""

    def arrays(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: arrays(item) for key, item in value.items()}
        if not isinstance(value, list):
            return value
        array = np.empty(len(value), dtype=object)
        for place, item in enumerate(value):
            array[place] = arrays(item)
        return array

    return str(arrays(value))


@pytest.mark.parametrize("spell", [json.dumps, repr, as_pandas_writes])
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


def test_what_pandas_writes_of_parquet_is_read_as_the_parquet(read: Read, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    odd = "it's \"so\",\n {'role': 'x'} {'role'} [1 2]\u2028"
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": "b c"}'}}
    turns = [
        ASK,
        {"role": "assistant", "content": odd, "tool_calls": [call, call]},
        {"role": "tool", "content": "4"},
        SAY,
    ]
    rows = [{"messages": turns, "n": 1}, {"messages": [{**ASK, "content": odd}, SAY], "n": 2}]
    _, meant = read(rows, "rows.parquet")
    conversations = meant.conversations()
    pandas.read_parquet(tmp_path / "rows.parquet").to_csv(tmp_path / "out.csv", index=False)
    report, pool = read((tmp_path / "out.csv").read_bytes(), "rows.csv")
    assert (pool.conversations(), report.skipped) == (conversations, 0)


@pytest.mark.parametrize(
    "text",
    [
        "[{'role': 'user', 'role': 'user', 'content': 'q'}]",
        "[{'role': ('user',)}]",
        "[{'a",
        "[{'role': 'user', 'content': 'q'} ... {'role': 'assistant', 'content': 'a'}]",  # NumPy leaves items of long arrays out
        "[{'role': 'user', 'role': 'user', 'content': 'q'} {'role': 'assistant', 'content': 'a'}]",
        "[turn({'role': 'user', 'content': 'q'})]",
    ],
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
    with pytest.raises(PoolError, match="with longer text beside") as error:
        read([row])
    assert [found.split("`")[0] for found in str(error.value).split("--map ")[1:]] == list(maps)
    if isinstance(row.get("answer"), str):
        _, pool = read([row], map=parse_map(maps[0]))
        assert LONG in pool.texts()[0]
    if "question" in row:
        _, pool = read([row], format="prompt-completion")
        assert pool.texts() == [f"q\n{row['answer']}"]


@pytest.mark.parametrize(
    ("row", "said", "maps", "texts"),
    [
        (
            {"problem": "q", "solution": "4", "reannotated_messages": [ASK, {**SAY, "content": LONG}]},
            "turns in the column 'reannotated_messages'",
            ("messages=reannotated_messages", "prompt=problem,response=solution"),
            (LONG, "4"),
        ),
        (
            {"question": "q", "solution": "4", "r1_generation": LONG, "generation_model": "R1"},
            "the column 'r1_generation' with longer text beside 'solution'",
            ("prompt=question,response=r1_generation", "prompt=question,response=solution"),
            (LONG, "4"),
        ),
        (
            {"instruction": "q", "output": "4", "Generated Text": LONG},
            "the column 'Generated Text' with longer text beside 'output'",
            ("prompt=instruction,response=Generated Text", "prompt=instruction,response=output"),
            (LONG, "4"),
        ),
    ],
)
def test_what_is_likelier_to_be_learnt_than_a_pairs_response_is_a_question_to_the_user(
    row: dict[str, Any], said: str, maps: tuple[str, str], texts: tuple[str, str], read: Read
) -> None:
    with pytest.raises(PoolError, match=said) as error:
        read([row])
    assert [found.split("`")[0].strip("'") for found in str(error.value).split("--map ")[1:]] == list(maps)
    assert [read([row], map=parse_map(mapped))[1].texts() for mapped in maps] == [[f"q\n{text}"] for text in texts]


@pytest.mark.parametrize(
    "more",
    [
        {"turns_of_it": [ASK, {**SAY, "content": LONG}]},
        {"shots": [ASK]},
        {"generation": "4"},
        {"generation_settings": LONG * 2},
        {"generated_by": "a model of seventy-two billion parameters"[:25]},
    ],
)
def test_what_says_the_same_or_less_than_a_pairs_response_is_a_column(more: dict[str, Any], read: Read) -> None:
    report, pool = read([{"problem": "q", "solution": LONG, **more}])
    assert (pool.texts(), pool.metas(), report.notes) == ([f"q\n{LONG}"], [more], ())


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


ASKED = [ASK, SAY, {"role": "user", "content": "r"}]
ANSWERED = [ASK, {**SAY, "weight": 0}, ASKED[2], {"role": "assistant", "content": "b"}]
SHORT = {"role": "assistant", "content": "b"}


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet"])
@pytest.mark.parametrize(
    "row",
    [
        {"messages": ASKED, "response": "b"},
        {"messages": ASKED, "Completion": "b"},
        {"conversations": SHAREGPT[:3], "answer": "b"},
        {"conversation": ASKED, "output": "b"},
        {"messages": ASKED, "response": SHORT},
        {"messages": ASKED, "completion": [SHORT]},
        {"messages": ASKED, "prompt": "r", "response": "b"},
        {"messages": ASKED, "choices": [{"message": SHORT, "finish_reason": "stop"}]},
        {"request": {"messages": ASKED}, "response": SHORT},
    ],
)
def test_an_answer_beside_turns_that_end_with_a_question_is_what_is_learnt(
    row: dict[str, Any], name: str, read: Read
) -> None:
    if "prompt" in row:  # two readings: the command of the refusal reads them
        with pytest.raises(PoolError, match=r"several row formats \(messages, prompt-completion\)") as error:
            read([row], name)
        mapped = str(error.value).split("--map ")[1].split("`")[0]
        report, pool = read([row], name, map=parse_map(mapped))
        assert pool.metas() == [{"prompt": "r"}]
    else:
        report, pool = read([row], name)
        assert pool.metas() == [{}]
    assert (pool.messages(), report.skipped) == ([ANSWERED], 0)


def test_an_answer_beside_the_turns_is_read_in_every_row_that_has_one(read: Read) -> None:
    called = {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": "{}"}]}
    result = {"role": "tool", "content": "4"}
    plains = [{"messages": TWO, "response": None, "id": f"p{number}"} for number in range(40)]
    others = [
        {"messages": [ASK], "response": "a", "system": "s"},
        {"messages": [ASK, called, result], "response": "a", "reasoning_content": "hm"},
        {"messages": TWO, "response": "what another model said"},
    ]
    blocks = {"messages": CALL[:3], "response": "a"}
    meant = [
        [SYSTEM, ASK, SAY],
        [ASK, {**called, "weight": 0}, result, {**SAY, "reasoning_content": "hm"}],
        TWO,
    ]
    for rows, place in (([*plains, *others], 40), ([*others, *plains], 0)):
        report, pool = read(rows)
        assert pool.messages()[place : place + 3] == meant and not report.skipped
        assert pool.metas()[place + 2] == {"response": "what another model said"}
        assert any(
            "2 rows of another shape than the file (messages) were read as prompt-completion (messages, response)"
            in note
            for note in report.notes
        )
    report, pool = read([blocks])
    assert [turn["role"] for turn in pool.messages()[0]] == ["user", "assistant", "tool", "assistant"]
    assert pool.messages()[0][1]["weight"] == 0 and pool.messages()[0][3] == SAY
    report, pool = read([{"messages": ASKED, "response": "b"}], format="messages")  # as the user says, and nothing else
    assert (pool.messages(), pool.metas()) == ([ASKED], [{"response": "b"}])


THANKS = {"role": "user", "content": "thanks a lot"}


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
@pytest.mark.parametrize(("column", "beside"), [("answer", {}), ("Response", {}), ("response", {"output": "x"})])
def test_thanks_behind_an_answer_make_no_answer_of_a_label(
    column: str, beside: dict[str, Any], name: str, read: Read
) -> None:
    """Most rows show that the column is no answer: their turns have it."""
    closed = [[ASK, {**SAY, "content": f"It is Town{number}."}] for number in range(6)]
    turns = [[*said, THANKS] if number in (1, 5) else said for number, said in enumerate(closed)]
    rows = [{"messages": said, column: f"Town{number}", **beside} for number, said in enumerate(turns)]
    report, pool = read(rows, name)
    assert pool.messages() == turns
    assert pool.metas() == [{column: f"Town{number}", **beside} for number in range(6)]
    (note,) = report.notes
    assert f"some of its turns end with what the user says; the column '{column}' beside them stays a column" in note


def test_a_label_beside_turns_does_not_hide_their_answer(read: Read) -> None:
    rows: list[dict[str, Any]] = [{"messages": TWO, "response": "accepted"} for _ in range(9)]
    _, pool = read([*rows, {"messages": ASKED, "response": "accepted", "answer": LONG}])
    assert pool.messages()[9] == [*ANSWERED[:3], {**SAY, "content": LONG}]
    assert pool.metas()[9] == {"response": "accepted"}
    report, _ = read([*rows, {"messages": [ASK], "response": "accepted"}])
    assert [bad.kind for bad in report.bad] == ["no assistant turn"]


def test_a_few_whole_turns_do_not_make_a_label_of_the_answers(read: Read) -> None:
    rows: list[dict[str, Any]] = [{"messages": ASKED, "response": "b"} for _ in range(19)]
    _, pool = read([{"messages": TWO, "response": "another"}, *rows])
    assert pool.messages() == [TWO, *[ANSWERED] * 19] and pool.metas()[0] == {"response": "another"}


def test_reasoning_beside_turns_and_their_answer_is_told_with_the_map(read: Read) -> None:
    row = {"messages": [SYSTEM, ASK], "reasoning": "Let me think it over.", "answer": "a", "model": "R1"}
    report, pool = read([row])
    assert pool.messages() == [[SYSTEM, ASK, SAY]]
    assert any("its rows were read as prompt-completion (messages, answer)" in note for note in report.notes)
    (mapped,) = (note.split("--map ")[1].split("`")[0] for note in report.notes if "--map" in note)
    _, pool = read([row], map=parse_map(mapped))
    assert pool.messages() == [[SYSTEM, ASK, {**SAY, "reasoning_content": row["reasoning"]}]]
    with pytest.raises(PoolError, match=r"with longer text beside 'answer'.*--map prompt=messages,response=solution`"):
        read([{**row, "solution": LONG}])


def test_a_system_prompt_of_another_name_is_named_by_the_proposed_map(read: Read) -> None:
    row = {"system_prompt": "s", "question": "q", "response": "a", "reasoning": "Let me think it over."}
    report, pool = read([row])
    assert pool.messages() == [[SYSTEM, ASK, SAY]]
    (note,) = report.notes
    _, pool = read([row], map=parse_map(note.split("--map ")[1].split("`")[0]))
    assert pool.messages() == [[SYSTEM, ASK, {**SAY, "reasoning_content": row["reasoning"]}]]


# -- Maps, blocks, and what is counted ---------------------------------------------------------------------------------


def parquet(columns: dict[str, pa.Array]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


_TEXTS = pa.map_(pa.string(), pa.string())


def test_maps_are_objects_as_structures_are(read: Read) -> None:
    """Spark, DuckDB and Arrow hold objects whose keys differ as maps."""
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    own = {"city": "Rome"}
    _, plain = read([{"messages": turns, "own": own}])
    maps = {
        "messages": pa.array([[list(turn.items()) for turn in turns]], pa.list_(_TEXTS)),
        "own": pa.array([list(own.items())], _TEXTS),
    }
    _, pool = read(parquet(maps), "rows.parquet")
    assert (pool.fingerprint, pool.metas()) == (plain.fingerprint, [{"own": own}])


def test_arguments_in_a_map_are_an_object(read: Read) -> None:
    call = {"name": "f", "arguments": {"city": "Rome"}}
    _, plain = read([{"messages": [ASK, {"role": "assistant", "content": "", "tool_calls": [call]}]}])
    turn = pa.struct({
        "role": pa.string(), "content": pa.string(), "tool_calls": pa.list_(pa.struct({"name": pa.string(), "arguments": _TEXTS})),
    })  # fmt: skip
    mapped = {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": [("city", "Rome")]}]}
    _, pool = read(
        parquet({"messages": pa.array([[{**ASK, "tool_calls": None}, mapped]], pa.list_(turn))}), "rows.parquet"
    )
    assert pool.fingerprint == plain.fingerprint


def test_a_map_with_a_key_twice_is_a_bad_row(read: Read) -> None:
    turns = pa.array([[list(ASK.items()), list(SAY.items())]] * 2, pa.list_(_TEXTS))
    own = pa.array([[("a", "1"), ("a", "2")], [("a", "1")]], _TEXTS)
    report, pool = read(parquet({"messages": turns, "own": own}), "rows.parquet")
    assert [(bad.line, bad.field) for bad in report.bad] == [(1, "own")]
    assert pool.metas() == [{"own": {"a": "1"}}]


@pytest.mark.parametrize("arguments", [[1, 2], 5, True])
def test_arguments_that_are_no_object_are_counted(arguments: Any, read: Read) -> None:
    call = {"name": "f", "arguments": arguments}
    report, pool = read([{"messages": [ASK, {"role": "assistant", "content": "", "tool_calls": [call]}]}])
    assert pool.messages()[0][1]["tool_calls"] == [{"name": "f", "arguments": json.dumps(arguments)}]
    assert report.ignored == {"arguments that are no object (kept as JSON text)": 1}


TEXT = {"type": "text", "text": "s"}
SYSTEM = {"role": "system", "content": "s"}


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("system", [[TEXT], SYSTEM, {"role": "system", "content": [TEXT]}])
@pytest.mark.parametrize(
    "row",
    [
        {"messages": [ASK, {"role": "assistant", "content": [{"type": "text", "text": "a"}]}]},
        {"prompt": "q", "completion": "a"},
        {"instruction": "q", "output": "a"},
        {"request": {"messages": [ASK]}, "response": {"message": SAY}},
    ],
)
def test_a_system_prompt_beside_the_turns_may_be_parts_or_a_turn(
    row: dict[str, Any], system: Any, as_text: bool, read: Read
) -> None:
    held = {**row["request"], "system": system} if "request" in row else None
    given = (
        {"request": held, "response": row["response"]}
        if held
        else {**row, "system": json.dumps(system) if as_text else system}
    )
    report, pool = read([given])
    assert pool.messages() == [[SYSTEM, ASK, SAY]] and not report.ignored


def test_texts_of_a_system_prompt_and_of_a_turn_are_joined_alike(read: Read) -> None:
    two = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    rows = {
        "messages": {"system": two, "messages": [{"role": "user", "content": two}, SAY]},
        "gemini": {
            "systemInstruction": {"parts": [{"text": "a"}, {"text": "b"}]},
            "contents": [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}, {"role": "model", "parts": [{"text": "a"}]}],
        },
        "anthropic": {"system": two, "messages": [{"role": "user", "content": two}, *CALL[1:]]},
    }  # fmt: skip
    for row in rows.values():
        _, pool = read([row])
        assert [turn["content"] for turn in pool.messages()[0][:2]] == ["ab", "ab"]


@pytest.mark.parametrize("system", [5, [1], {"role": "user", "content": "s"}, [{"type": "image"}]])
def test_a_system_prompt_that_is_none_is_a_bad_row(system: Any, read: Read) -> None:
    good = {"messages": [ASK, SAY]}
    report, _ = read([good, {**good, "system": system}])
    assert [(bad.line, bad.field) for bad in report.bad] == [(2, "system")]
    _, pool = read([{**good, "system": '["a list"]'}])
    assert pool.messages()[0][0] == {"role": "system", "content": '["a list"]'}


def test_a_call_that_stands_in_two_fields_is_one_call(read: Read) -> None:
    function = {"name": "f", "arguments": "{}"}
    listed = [
        {"id": "1", "type": "function", "function": function},
        {"id": "2", "type": "function", "function": function},
    ]
    say = {"role": "assistant", "content": "", "tool_calls": listed, "function_call": function}
    turn = {"role": "function_call", "content": json.dumps(function), "tool_calls": listed}
    for given in (say, turn):
        _, pool = read([{"messages": [ASK, given]}])
        assert pool.messages()[0][1]["tool_calls"] == [{"id": "1", **function}, {"id": "2", **function}]
    other = {**function, "name": "g"}
    _, pool = read([{"messages": [ASK, {**say, "function_call": other}]}])
    assert [call["name"] for call in pool.messages()[0][1]["tool_calls"]] == ["f", "f", "g"]


def test_what_did_not_happen_is_not_counted(read: Read, write: Write, tmp_path: Path) -> None:
    report, pool = read([{"question": "q", "thinking_trajectories": ["t"], "attempt": "a"}])
    assert report.ignored == {} == pool.manifest.ignored
    write("rows.jsonl", [{"messages": [ASK, SAY]}])
    entry = b"datasets:\n  - {path: rows.jsonl, type: chat_template, drop_system_message: true}\n"
    assert ingest([write("axolotl.yml", entry)], tmp_path / "axolotl").ignored == {}


@pytest.mark.parametrize(
    "row",
    [
        {
            "messages": [
                ASK,
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "t"},
                        {"type": "text", "text": "x"},
                        {"type": "thinking", "thinking": "u"},
                        {"type": "text", "text": "y"},
                    ],
                },
            ]
        },
        {
            "contents": [
                {"role": "user", "parts": [{"text": "q"}]},
                {
                    "role": "model",
                    "parts": [
                        {"text": "t", "thought": True},
                        {"text": "x"},
                        {"text": "u", "thought": True},
                        {"text": "y"},
                    ],
                },
            ]
        },
    ],
)
def test_reasoning_behind_text_is_put_in_front_and_counted(row: dict[str, Any], read: Read) -> None:
    report, pool = read([row])
    assert pool.messages() == [[ASK, {"role": "assistant", "content": "xy", "reasoning_content": "t\nu"}]]
    assert report.ignored == {"places of reasoning behind text (put in front of it)": 1}


def test_geminis_types_are_those_of_json_schema(read: Read) -> None:
    properties = {
        "type": {"type": "STRING", "enum": ["OBJECT"]},
        "title": {"type": "ARRAY", "items": {"type": "INTEGER"}, "default": {"type": "OBJECT"}},
        "any": {"type": "TYPE_UNSPECIFIED"},
    }
    function = {"name": "f", "description": "OBJECT", "parameters": {"type": "OBJECT", "properties": properties}}
    contents = [
        {"role": "user", "parts": [{"text": "q"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
    ]
    _, pool = read([{"contents": contents, "tools": [{"functionDeclarations": [function]}]}])
    (conversation,) = pool.conversations()
    (tool,) = json.loads(conversation.tools or "")
    assert tool["function"] == {
        "name": "f",
        "description": "OBJECT",
        "parameters": {
            "type": "object",
            "properties": {
                "type": {"type": "string", "enum": ["OBJECT"]},
                "title": {"type": "array", "items": {"type": "integer"}, "default": {"type": "OBJECT"}},
                "any": {},
            },
        },
    }
    report, _ = read([{"contents": contents}, {"contents": contents, "tools": "[{"}])
    assert [(bad.line, bad.kind, bad.field) for bad in report.bad] == [(2, "not valid JSON", "tools")]


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        ({"finish_reason": "content_filter", "message": SAY}, "answer stopped"),
        ({"finish_reason": "length", "message": SAY}, "answer cut off"),
        ({"finish_reason": "stop", "message": SAY}, None),
    ],
)
def test_an_answer_that_a_filter_stopped_is_not_learnt_from(choice: Any, kind: str | None, read: Read) -> None:
    logs = [{"request": {"messages": [ASK]}, "response": {"choices": [one]}} for one in ({"message": SAY}, choice)]
    block = {"role": "assistant", "content": [{"type": "text", "text": "a"}], "stop_reason": "refusal"}
    report, _ = read([*logs, {"request": {"messages": [ASK]}, "response": block}])
    assert [bad.kind for bad in report.bad] == [*([kind] if kind else []), "answer stopped"]


# -- Answers in a prompt -----------------------------------------------------------------------------------------------

EARLIER = {**SAY, "weight": 0}
PROMPT = [ASK, SAY, {"role": "user", "content": "r"}]
LAST = {"role": "assistant", "content": "b"}
WHOLE = [ASK, EARLIER, PROMPT[2], LAST]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": PROMPT, "completion": [LAST]},
        {"prompt": PROMPT, "completion": "b"},
        {"prompt": json.dumps(PROMPT), "response": "b"},
        {"prompt": [ASK, {**SAY, "weight": 1}, PROMPT[2]], "completion": [LAST]},
        {"prompt": [ASK, {**SAY, "train": True}, PROMPT[2]], "completion": [LAST]},
        {"input": PROMPT, "output": "b", "system_prompt": ""},
        {"input": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}, {"from": "human", "value": "r"}], "output": "b"},
        {"request": {"messages": PROMPT}, "response": {"choices": [{"message": LAST}]}},
        {"messages": PROMPT, "response": {"message": LAST}},
        {"prompt": PROMPT, "chosen": [LAST], "rejected": [SAY]},
        {"prompt": PROMPT, "chosen": "b", "rejected": "c"},
        {"chosen": [*PROMPT, LAST], "rejected": [*PROMPT, SAY]},
        {"chosen": [*PROMPT, LAST], "rejected": [*PROMPT, LAST]},
        {"chosen": [*PROMPT, LAST], "rejected": "c"},
        {"messages": PROMPT, "chosen": LAST, "rejected": SAY},
        {
            "chosen": "\n\nHuman: q\n\nAssistant: a\n\nHuman: r\n\nAssistant: b",
            "rejected": "\n\nHuman: q\n\nAssistant: a\n\nHuman: r\n\nAssistant: c",
        },
    ],
)  # fmt: skip
def test_answers_in_a_prompt_have_no_loss(row: dict[str, Any], read: Read) -> None:
    _, pool = read([row], **({"from": "preference:chosen"} if "chosen" in row else {}))
    assert pool.messages() == [WHOLE]


def test_answers_that_are_no_prompt_are_learnt_from(read: Read) -> None:
    rows = [
        {"prompt": [ASK], "completion": [*TWO[1:]]},
        {"chosen": TWO, "rejected": [ASK, LAST, *TWO[2:]]},
        {"instruction": "r", "output": "b", "history": [["q", "a"]]},
    ]
    for row in rows:
        _, pool = read([row], **({"from": "preference:chosen"} if "chosen" in row else {}))
        assert pool.messages() == [TWO]


def test_a_prompt_of_a_ranked_data_set_has_no_loss(write: Write, tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}, {"from": "human", "value": "r"}]
    row = {"conversations": turns, "chosen": {"from": "gpt", "value": "b"}, "rejected": {"from": "gpt", "value": "c"}}
    write("ranked.json", [row])
    info = {"ranked": {"file_name": "ranked.json", "formatting": "sharegpt", "ranking": True}}
    report = ingest(
        [write("dataset_info.json", json.dumps(info))], tmp_path / "pool", IngestConfig(**{"from": "preference:chosen"})
    )
    assert Pool.open(report.path).messages() == [WHOLE]


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet", "out.csv"])
@pytest.mark.parametrize("layout", ["messages", "sharegpt"])
def test_what_is_written_of_them_is_read_as_the_same_rows(name: str, layout: Any, read: Read, tmp_path: Path) -> None:
    _, pool = read([{"prompt": PROMPT, "completion": [LAST]}])
    export_rows(pool, None, tmp_path / name, layout)
    ingest([tmp_path / name], tmp_path / "again")
    again = Pool.open(tmp_path / "again")
    assert (again.row_ids(), again.conversations()) == (pool.row_ids(), pool.conversations())
    assert again.messages() == [WHOLE]


# -- Encodings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_lines_in_latin_1_are_told_with_the_encoding_that_reads_them(name: str, write: Write, tmp_path: Path) -> None:
    rows = [{"prompt": text, "completion": "a"} for text in ("plain", "naïve café", "Größe?")]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    file = write(name, text.encode("cp1252"), codec="gzip" if name.endswith("gz") else None)
    report = ingest([file], tmp_path / "pool")
    (note,) = report.notes
    assert report.skipped == 2 and "2 rows with other characters than ASCII were left out" in note
    assert "Windows-1252 (line 2: 'naïve')" in note and "--encoding cp1252" in note
    report = ingest([file], tmp_path / "whole", IngestConfig(encoding="cp1252"))
    assert (report.skipped, report.notes) == (0, ())


def test_a_damaged_line_of_utf_8_is_a_damaged_line(read: Read) -> None:
    good = json.dumps({"prompt": "café", "completion": "a"}, ensure_ascii=False).encode()
    report, _ = read(b"\n".join([good, good.replace(b"\xc3\xa9", b"\xc3")]))
    assert report.skipped == 1 and not report.notes
