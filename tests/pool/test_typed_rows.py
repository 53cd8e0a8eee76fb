"""Tool calls, tool definitions, reasoning, names and weights: what is read from which form, and what a pool gives back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autoselection.pool import IngestConfig, Pool, ingest

Write = Callable[..., Path]
Read = Callable[..., Any]

USER = {"role": "user", "content": "Area of a 2 by 3 box?"}
CALL = {"name": "area", "arguments": '{"w": 2, "h": 3}'}
CALLING = {"role": "assistant", "content": "", "tool_calls": [CALL]}
RESULT = {"role": "tool", "content": "6"}
ANSWER = {"role": "assistant", "content": "It is 6."}
AREA = {"name": "area", "description": "w times h", "parameters": {"type": "object", "properties": {"w": {}, "h": {}}}}
TOOLS = [{"type": "function", "function": AREA}]


@pytest.fixture
def read(write: Write, tmp_path: Path) -> Read:
    """Ingest rows; return (report, pool)."""

    def read(rows: list[dict[str, Any]], name: str = "rows.jsonl", **config: Any) -> Any:
        report = ingest([write(name, rows)], tmp_path / f"pool of {name}", IngestConfig(**config))
        pool = Pool.open(report.path)
        pool.verify()
        return report, pool

    return read


def answered(**fields: Any) -> list[dict[str, Any]]:
    return [USER, {"role": "assistant", "content": "", **fields}, RESULT, ANSWER]


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_calls": [{"type": "function", "function": {"name": "area", "arguments": '{"w":2,"h":3}'}}]},
        {"tool_calls": [{"type": "function", "function": {"name": "area", "arguments": {"w": 2, "h": 3}}}]},
        {"tool_calls": [{"function": {"name": "area", "arguments": {"w": 2, "h": 3}}}], "function_call": None},
        {"tool_calls": [{"name": "area", "arguments": '{"w": 2, "h": 3}'}]},
        {"tool_calls": [{"name": "area", "parameters": {"w": 2, "h": 3}}]},
        {"tool_calls": {"name": "area", "arguments": {"w": 2, "h": 3}}},
        {"tool_calls": {"name": ["area"], "arguments": ['{"w":2, "h":3}']}},
        {"tool_calls": '[{"name": "area", "arguments": {"w": 2, "h": 3}}]'},
        {"tool_calls": "[{'name': 'area', 'arguments': {'w': 2, 'h': 3}}]"},
        {"function_call": {"name": "area", "arguments": '{"w": 2, "h": 3}'}},
        {"function_call": {"name": "area", "arguments": '{"w": 2, "h": 3}'}, "content": None, "tool_calls": []},
    ],
    ids=range(11),
)
def test_calls_in_all_their_forms(fields: dict[str, Any], read: Read) -> None:
    report, pool = read([{"messages": answered(**fields)}])
    assert (report.ignored, report.skipped) == ({}, 0)
    assert pool.messages() == [[USER, CALLING, RESULT, ANSWER]]


def test_what_an_api_logs(read: Read) -> None:
    messages = [
        {"role": "system", "content": "Use a tool."},
        {**USER, "name": "Ann"},
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "reasoning_content": "Two times three.",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "index": 0,
                    "function": {"name": "area", "arguments": '{"w":2,"h":3}'},
                },
                {"id": "c2", "type": "function", "index": 1, "function": {"name": "now", "arguments": ""}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "6"}]},
        {"role": "tool", "tool_call_id": "c2", "name": "now", "content": ""},
        {**ANSWER, "weight": 1},
    ]
    report, pool = read([{"messages": messages, "tools": TOOLS, "model": "m"}])
    assert report.ignored == {"tool_calls.index": 2}
    assert pool.messages() == [
        [
            messages[0],
            messages[1],
            {
                "role": "assistant",
                "content": "",
                "reasoning_content": "Two times three.",
                "tool_calls": [{"id": "c1", **CALL}, {"id": "c2", "name": "now", "arguments": ""}],
            },
            {"role": "tool", "content": "6", "tool_call_id": "c1"},
            {"role": "tool", "content": "", "tool_call_id": "c2", "name": "now"},
            ANSWER,
        ]
    ]
    assert json.loads(pool.conversations()[0].tools or "") == TOOLS
    assert pool.metas() == [{"model": "m"}]
    said = 'Two times three.\narea {"w": 2, "h": 3}\nnow '
    assert pool.texts() == [f"Use a tool.\n{USER['content']}\n{said}\n6\n\nIt is 6."]
    assert pool.parts("response") == [f"{said}\nIt is 6."]
    assert pool.parts("prompt") == [USER["content"]]


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ({"ö": [1, None, {"b": None}], "a": 1.5}, '{"ö": [1, null, {"b": null}], "a": 1.5}'),
        ('{"b":1,"a":"\\u00f6"}', '{"b": 1, "a": "ö"}'),
        (None, "{}"),
        ('{"a": 1', '{"a": 1'),
        ('{"a": 1, "a": 2}', '{"a": 1, "a": 2}'),
        ('{"a": NaN}', '{"a": NaN}'),
        ('{"a": 1e999}', '{"a": 1e999}'),
        ("[1]", "[1]"),
        ("two by three", "two by three"),
        ([1, 2], "[1, 2]"),
        ('"{\\"a\\": 1}"', '"{\\"a\\": 1}"'),
    ],
    ids=range(11),
)
def test_arguments_are_canonical_json_or_stay_as_they_are(arguments: Any, kept: str, read: Read) -> None:
    _, pool = read([{"messages": answered(tool_calls=[{"name": "f", "arguments": arguments}])}])
    assert pool.messages()[0][1]["tool_calls"] == [{"name": "f", "arguments": kept}]
    _, again = read([{"messages": answered(tool_calls=[{"name": "f", "arguments": kept}])}], "again.jsonl")
    assert again.messages() == pool.messages()


@pytest.mark.parametrize(
    "tools",
    [
        TOOLS,
        [AREA],
        json.dumps(TOOLS),
        json.dumps([AREA]),
        str(TOOLS),
        AREA,
        TOOLS[0],
        [json.dumps(AREA)],
        [{"type": "function", **AREA}],
    ],
    ids=range(9),
)
@pytest.mark.parametrize("name", ["tools", "functions", "Tools"])
def test_definitions_in_all_their_forms(tools: Any, name: str, read: Read) -> None:
    report, pool = read([{"messages": [USER, CALLING, RESULT, ANSWER], name: tools, "k": 1}])
    assert report.ignored == {}
    assert pool.conversations()[0].tools == json.dumps(TOOLS)
    assert pool.metas() == [{"k": 1}]


def test_a_definition_of_another_api_keeps_its_schema(read: Read) -> None:
    own = {"name": "area", "input_schema": AREA["parameters"], "strict": True}
    _, pool = read([{"prompt": "q", "completion": "a", "tools": [own]}])
    kept = {"name": "area", "parameters": AREA["parameters"], "strict": True}
    assert json.loads(pool.conversations()[0].tools or "") == [{"type": "function", "function": kept}]


@pytest.mark.parametrize("empty", [[], "[]", "", None, "null"], ids=range(5))
def test_no_definitions_are_none(empty: Any, read: Read) -> None:
    _, pool = read([{"prompt": "q", "completion": "a", "tools": empty}])
    assert (pool.conversations()[0].tools, pool.metas()) == (None, [{}])


def test_tools_that_are_none_stay_a_column_of_the_user(read: Read) -> None:
    _, pool = read([{"prompt": "q", "completion": "a", "tools": "hammer, saw"}])
    assert (pool.conversations()[0].tools, pool.metas()) == (None, [{"tools": "hammer, saw"}])


def test_but_not_of_a_row_that_calls_them(read: Read) -> None:
    report, _ = read(
        [{"messages": [USER, CALLING, RESULT, ANSWER], "tools": [{"title": "x"}]}, {"messages": [USER, ANSWER]}]
    )
    assert report.bad[0].reason == "field 'tools': a tool definition has no name"
    assert report.bad[0].field == "tools[0].name"


def test_tools_beside_a_map(read: Read) -> None:
    rows = [{"talk": [USER, CALLING, RESULT, ANSWER], "Tools": TOOLS, "level": 1}]
    _, pool = read(rows, map={"messages": "talk"})
    assert (pool.conversations()[0].tools, pool.metas()) == (json.dumps(TOOLS), [{"level": 1}])


def test_tools_named_by_a_map(read: Read) -> None:
    rows = [{"talk": [USER, CALLING, RESULT, ANSWER], "can": TOOLS, "tools": "x", "level": 1}]
    _, pool = read(rows, map={"messages": "talk", "tools": "can"})
    assert (pool.conversations()[0].tools, pool.metas()) == (json.dumps(TOOLS), [{"tools": "x", "level": 1}])


@pytest.mark.parametrize("role", ["function_call", "tool_call", "Function_Call"])
@pytest.mark.parametrize(
    "value",
    [
        json.dumps({"name": "area", "arguments": {"w": 2, "h": 3}}),
        '[{"name": "area", "arguments": "{\\"w\\": 2, \\"h\\": 3}"}]',
        """{'name': 'area', 'arguments': '{"w": 2, "h": 3}'}""",
        "[{'name': 'area', 'arguments': {'w': 2, 'h': 3}}]",
    ],
    ids=range(4),
)
def test_sharegpt_calls(role: str, value: str, read: Read) -> None:
    turns = [("human", USER["content"]), (role, value), ("observation", "6"), ("gpt", "It is 6.")]
    row = {"conversations": [{"from": name, "value": text} for name, text in turns], "tools": json.dumps([AREA])}
    report, pool = read([row])
    assert report.ignored == {}
    assert pool.messages() == [[USER, CALLING, RESULT, ANSWER]]
    assert (pool.conversations()[0].tools, pool.metas()) == (json.dumps(TOOLS), [{}])


def test_calls_and_answers_beside_each_other_stay_apart(read: Read) -> None:
    turns = [
        ("human", "q"),
        ("gpt", "I look."),
        ("function_call", '{"name": "f"}'),
        ("function_call", '{"name": "g"}'),
        ("gpt", "a"),
    ]
    _, pool = read([{"conversations": [{"from": name, "value": text} for name, text in turns]}])
    said = [(turn["content"], [call["name"] for call in turn.get("tool_calls", ())]) for turn in pool.messages()[0][1:]]
    assert said == [("I look.", []), ("", ["f"]), ("", ["g"]), ("a", [])]


def test_thoughts_before_a_call_stay_text(read: Read) -> None:
    value = '<think>\nTwo times three.\n</think>\n\n{"name": "area", "arguments": {"w": 2, "h": 3}}'
    _, pool = read(
        [{"conversations": [{"from": "human", "value": USER["content"]}, {"from": "function_call", "value": value}]}]
    )
    assert pool.messages()[0][1] == {**CALLING, "content": "<think>\nTwo times three.\n</think>"}


@pytest.mark.parametrize(
    "value", ["area(w=2, h=3)", "{'w': 2}", "{'name': 'f', 'name': 'f'}", '{"w": 2}', '[{"name": "f"}, 3]', "[]"]
)
def test_a_call_that_is_no_json_stays_text_and_is_counted(value: str, read: Read) -> None:
    turns = [{"from": "human", "value": "q"}, {"from": "function_call", "value": value}]
    report, pool = read([{"conversations": turns}])
    assert pool.messages()[0][1] == {"role": "assistant", "content": value}
    assert report.ignored == {"text of function_call turns that is no call as JSON (kept as text)": 1}


@pytest.mark.parametrize(
    ("fields", "content", "ignored"),
    [
        ({"reasoning_content": "r"}, "a", {}),
        ({"reasoning": "r"}, "a", {}),
        ({"thinking": "r"}, "a", {}),
        ({"thought": "r", "thinking": None, "reasoning": ""}, "a", {}),
        ({"reasoning_content": "r", "reasoning": "r"}, "a", {}),
        ({"reasoning_content": "r", "thinking": "s"}, "a", {"thinking": 1}),
        ({"reasoning_content": "r", "reasoning": {"effort": "low"}}, "a", {"reasoning": 1}),
        ({}, [{"type": "thinking", "thinking": "r", "signature": "x"}, {"type": "text", "text": "a"}], {}),
        ({}, [{"type": "thinking", "thinking": [{"type": "text", "text": "r"}]}, {"type": "text", "text": "a"}], {}),
        ({}, [{"type": "reasoning", "text": "r"}, "a"], {}),
        ({"thinking": [{"type": "text", "text": "r"}]}, "a", {}),
    ],
    ids=range(11),
)
def test_reasoning_in_all_its_forms(fields: dict[str, Any], content: Any, ignored: dict[str, int], read: Read) -> None:
    report, pool = read([{"messages": [USER, {"role": "assistant", "content": content, **fields}]}])
    assert pool.messages() == [[USER, {"role": "assistant", "content": "a", "reasoning_content": "r"}]]
    assert report.ignored == ignored


@pytest.mark.parametrize(
    ("fields", "content", "kept"),
    [
        ({"thought": "Let me", "action": None}, "Let me", {}),
        (
            {"thought": "Let me look\n"},
            "Let me look\n<function=bash>\n<parameter=command>ls</parameter>\n</function>",
            {},
        ),
        ({"thought": "Let me", "reasoning": "r"}, "Let me", {"reasoning_content": "r"}),
        ({"thought": "Let"}, "Letters", {"reasoning_content": "Let"}),
        ({"thought": "look"}, "Let me look", {"reasoning_content": "look"}),
        ({"reasoning_content": "4"}, "4", {"reasoning_content": "4"}),
        ({"reasoning_content": "t"}, "<think>\nt\n</think>\n\na", {}),
        ({"reasoning_content": "t"}, "<think>\nu\n</think>\n\na", {"reasoning_content": "t"}),
        ({"reasoning_content": "t"}, "<think>\nt", {"reasoning_content": "t"}),
    ],
)
def test_what_the_content_says_too_is_no_reasoning(
    fields: dict[str, Any], content: str, kept: dict[str, Any], read: Read
) -> None:
    """SWE-agent's ``thought`` is what an answer says before its call: as reasoning, it would be learnt twice."""
    turn = {"role": "assistant", "content": content, "tool_calls": [CALL]}
    report, pool = read([{"messages": [USER, {**turn, **fields}, RESULT, ANSWER]}])
    assert pool.messages() == [[USER, {**turn, **kept}, RESULT, ANSWER]]
    dropped = [name for name, text in fields.items() if text is not None and text not in kept.values()]
    assert report.ignored == {f"{name} that the content holds too": 1 for name in dropped}


def test_a_column_of_reasoning_that_the_answer_holds_too_is_no_second_reasoning(read: Read) -> None:
    answer = "<think>t</think>a"
    rows = [{"prompt": "q", "completion": answer, "reasoning_content": text} for text in ("t", "u")]
    report, pool = read(rows)
    assert [turns[1].get("reasoning_content") for turns in pool.messages()] == [None, "u"]
    assert report.ignored == {"reasoning_content that the content holds too": 1}
    parsed, pool = read(rows[:1], "parsed.jsonl", parse=["think"])
    assert pool.messages()[0][1] == {"role": "assistant", "content": "a", "reasoning_content": "t"}
    assert parsed.notes[-1].startswith("Parsed from texts: reasoning in <think> 1")


def test_reasoning_inside_the_content_stays_there(read: Read) -> None:
    content = "<think>\nr\n</think>\n\na <tool_call>{}</tool_call>"
    _, pool = read([{"messages": [USER, {"role": "assistant", "content": content}]}])
    assert pool.messages() == [[USER, {"role": "assistant", "content": content}]]


@pytest.mark.parametrize("nothing", [0, 0.0, False])
@pytest.mark.parametrize("name", ["weight", "train"])
def test_turns_that_are_context_only(name: str, nothing: Any, read: Read) -> None:
    one = True if nothing is False else 1
    messages = [{**USER, name: 1}, {**ANSWER, name: nothing}, USER, {**ANSWER, name: one}, USER, {**ANSWER, name: None}]
    report, pool = read([{"messages": messages}])
    assert pool.messages() == [[USER, {**ANSWER, "weight": 0}, USER, ANSWER, USER, ANSWER]]
    assert report.ignored == {name: 1}


@pytest.mark.parametrize("row", ["messages", "sharegpt", "prompt"])
def test_turns_without_a_loss_are_context_only(row: str, read: Read) -> None:
    """As ms-swift and AgentInstruct write it; a loss that is a number was measured, and is not kept."""
    turns: list[dict[str, Any]] = [USER, {**ANSWER, "loss": False}, USER, {**ANSWER, "loss": True}, USER, ANSWER]
    rows: dict[str, dict[str, Any]] = {
        "messages": {"messages": [*turns[:-1], {**ANSWER, "loss": 0.0}]},
        "sharegpt": {
            "conversations": [
                {"from": turn["role"], "loss": turn.get("loss"), "value": turn["content"]} for turn in turns
            ]
        },
        "prompt": {"prompt": [USER, {**ANSWER, "loss": True}, USER], "completion": [ANSWER, USER, ANSWER]},
    }
    report, pool = read([rows[row]])
    assert pool.messages() == [[USER, {**ANSWER, "weight": 0}, USER, ANSWER, USER, ANSWER]]
    assert report.ignored == ({"loss": 1} if row == "messages" else {})


@pytest.mark.parametrize(
    ("fields", "found", "ignored"),
    [
        ({"tool_call_ids": ["c1"]}, "c1", {}),
        ({"tool_call_ids": ["c9"], "name": None}, "c9", {}),
        ({"tool_call_ids": ["c1"], "tool_call_id": "c1"}, "c1", {}),
        ({"tool_call_ids": ["c1", "c2"]}, None, {"tool_call_ids": 1}),
        ({"tool_call_ids": ["c2"], "tool_call_id": "c1"}, "c1", {"tool_call_ids": 1}),
        ({"id": "c1"}, "c1", {}),
        ({"id": 7}, "7", {}),
        ({"id": "message 3"}, None, {"id": 1}),
        ({"id": "c1", "tool_call_id": "7"}, "7", {"id": 1}),
    ],
)
def test_the_id_of_a_result_under_other_names(
    fields: dict[str, Any], found: str | None, ignored: dict[str, int], read: Read
) -> None:
    """SWE-agent has a list of ids, tau2 the id of the call as the result's own; of other turns an id is none of a call."""
    calls = [{"id": "c1", **CALL}, {"id": 7, **CALL}]
    report, pool = read([{"messages": [USER, {**CALLING, "tool_calls": calls}, {**RESULT, **fields}, ANSWER]}])
    assert pool.messages()[0][2] == ({**RESULT, "tool_call_id": found} if found else RESULT)
    assert report.ignored == ignored


def test_tool_results_that_are_no_text_become_json(read: Read) -> None:
    messages = [
        USER,
        CALLING,
        {"role": "tool", "content": {"area": 6, "unit": None}},
        ANSWER,
        USER,
        CALLING,
        {"role": "tool", "content": [1, 2]},
        ANSWER,
    ]
    _, pool = read([{"messages": messages}])
    assert [turn["content"] for turn in pool.messages()[0] if turn["role"] == "tool"] == [
        '{"area": 6, "unit": null}',
        "[1, 2]",
    ]


BAD = {
    "weight": (
        [USER, {**ANSWER, "weight": 0.5}],
        "turn 2 of 'messages' has the weight '0.5', which is neither 0 (context only) nor 1",
        "messages[1].weight",
    ),
    "train": ([USER, {**ANSWER, "train": "no"}], "turn 2 of 'messages' has the train 'no'", "messages[1].train"),
    "loss": ([USER, {**ANSWER, "weight": 1, "loss": False}], "contradict each other: weight, loss", "messages[1]"),
    "contradiction": ([USER, {**ANSWER, "weight": 1, "train": False}], "contradict each other: weight, train", "messages[1]"),
    "nothing learnt": ([USER, {**ANSWER, "weight": 0}], "no answer of the row is learnt from", ""),
    "calls of the user": ([{**USER, "tool_calls": [CALL]}, ANSWER], "turn 1 of 'messages' (user) has 'tool_calls'", "messages[0].tool_calls"),
    "no name": (
        answered(tool_calls=[CALL, {"function": {"arguments": {}}}]),
        "'tool_calls' of turn 2 of 'messages': a call has no name of a function",
        "messages[1].tool_calls[1].function.name",
    ),
    "no calls": (answered(tool_calls="area()"), "the calls are text that is not valid JSON", "messages[1].tool_calls"),
    "type": (
        answered(tool_calls=[{"type": "custom", "name": "f", "input": "x"}]),
        "a call has the type 'custom'",
        "messages[1].tool_calls[0].type",
    ),
    "id": (
        answered(tool_calls=[{"id": [1], "name": "f"}]),
        "the id of a call must be a string or a whole number, not a list",
        "messages[1].tool_calls[0].id",
    ),
    "id of a result": (
        [USER, CALLING, {**RESULT, "tool_call_id": {}}, ANSWER],
        "turn 3 of 'messages': the id of a call must be a string",
        "messages[2].tool_call_id",
    ),
    "reasoning that is a number": (
        answered(reasoning_content=5),
        "turn 2 of 'messages' has a 'reasoning_content' that is no text",
        "messages[1].reasoning_content",
    ),
    "reasoning of the user": (
        [{"role": "user", "content": [{"type": "thinking", "thinking": "r"}, {"type": "text", "text": "q"}]}, ANSWER],
        "turn 1 of 'messages' (user) has reasoning",
        "messages[0].content",
    ),
    "empty": ([USER, {"role": "assistant", "content": "", "tool_calls": [], "reasoning": " "}], "(assistant) has no text", "messages[1].content"),
    "null": ([USER, {"role": "assistant", "content": None, "tool_calls": []}], "turn 2 of 'messages' has no content", "messages[1].content"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_say_what_is_wrong_and_where(name: str, read: Read) -> None:
    messages, reason, place = BAD[name]
    report, _ = read([{"messages": messages}, {"messages": [USER, ANSWER]}])
    assert report.skipped == 1
    assert reason in report.bad[0].reason
    assert report.bad[0].field == place


def test_a_place_is_said_in_the_columns_of_the_file(read: Read) -> None:
    rows = [{"talk": [USER, {**ANSWER, "weight": 3}]}, {"talk": [USER, ANSWER]}]
    report, _ = read(rows, map={"messages": "talk"})
    assert report.bad[0].field == "talk[1].weight"
    assert "turn 2 of 'talk'" in report.bad[0].reason


def two_tools() -> list[dict[str, Any]]:
    """Rows of two tools, as a table has them: every call has the arguments of all, every schema the keys of all."""
    search = {"name": "search", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}}
    area = {"name": "area", "parameters": {"type": "object", "properties": {"w": {"type": "number", "minimum": 0}}}}
    calls = [{"name": "search", "arguments": {"q": "box"}}, {"name": "area", "arguments": {"w": 2}}]
    return [
        {
            "messages": [USER, {"role": "assistant", "content": "", "tool_calls": [call]}, RESULT, ANSWER],
            "tools": [{"type": "function", "function": tool} for tool in (search, area)],
            "level": {"a": 1} if number else {"b": 2},
        }
        for number, call in enumerate(calls)
    ]


def test_nulls_of_tables_are_no_arguments_and_no_schemas(read: Read) -> None:
    rows = two_tools()
    _, from_table = read(rows, "rows.parquet")
    _, from_lines = read(rows, "rows.jsonl")
    assert from_table.messages() == from_lines.messages()
    assert [row.tools for row in from_table.conversations()] == [json.dumps(row["tools"]) for row in rows]
    assert from_table.metas() == [{"level": {"a": None, "b": 2}}, {"level": {"a": 1, "b": None}}]


def test_nulls_of_tables_are_none_even_where_the_tool_has_such_a_parameter(read: Read) -> None:
    schema = {"type": "object", "properties": {"a": {"default": 1}, "b": {"default": None}}}
    calls = [{"name": "f", "arguments": {"a": 1}}, {"name": "f", "arguments": {"b": "x"}}]
    rows: list[dict[str, Any]] = [
        {"messages": answered(tool_calls=[call]), "tools": [{"name": "f", "parameters": schema}]} for call in calls
    ]
    _, pool = read(rows, "rows.parquet")
    arguments = [messages[1]["tool_calls"][0]["arguments"] for messages in pool.messages()]
    assert arguments == ['{"a": 1}', '{"b": "x"}']
    assert json.loads(pool.conversations()[0].tools or "")[0]["function"]["parameters"]["properties"]["b"] == {}
    _, from_lines = read(rows, "rows.jsonl")
    tools = json.loads(from_lines.conversations()[0].tools or "")
    assert tools == [{"type": "function", "function": {"name": "f", "parameters": schema}}]


def test_nulls_of_datasets_are_none_either(read: Read, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    _, from_lines = read(two_tools(), "rows.jsonl")
    datasets.Dataset.from_list(two_tools()).save_to_disk(tmp_path / "saved")
    report = ingest([tmp_path / "saved"], tmp_path / "from a dataset")
    assert Pool.open(report.path).conversations() == from_lines.conversations()


def test_nulls_that_a_table_wrote_as_json_are_dropped_where_the_tool_knows_no_such_parameter(read: Read) -> None:
    rows = two_tools()
    for row in rows:
        (call,) = row["messages"][1]["tool_calls"]
        call["arguments"] = {"q": None, "w": None, **call["arguments"]}
        for tool in row["tools"]:
            tool["function"]["parameters"]["properties"] |= {"other": None}
    rows[1]["messages"][1]["tool_calls"][0]["arguments"]["w"] = None
    report, pool = read(rows)
    calls = [messages[1]["tool_calls"][0]["arguments"] for messages in pool.messages()]
    assert calls == ['{"q": "box"}', '{"w": null}']
    assert [row.tools for row in pool.conversations()] == [json.dumps(row["tools"]) for row in two_tools()]
    assert report.ignored == {"null arguments that the tool does not declare": 2}


def test_nulls_of_json_columns_are_the_users(tmp_path: Path) -> None:
    messages = answered(tool_calls=[{"name": "f", "arguments": {"a": None}}])
    column = pa.ExtensionArray.from_storage(pa.json_(pa.string()), pa.array([json.dumps(messages)]))
    pq.write_table(pa.table({"messages": column, "level": [{"a": 1}]}), tmp_path / "json.parquet")
    ingest([tmp_path / "json.parquet"], tmp_path / "pool")
    assert Pool.open(tmp_path / "pool").messages()[0][1]["tool_calls"] == [{"name": "f", "arguments": '{"a": null}'}]
