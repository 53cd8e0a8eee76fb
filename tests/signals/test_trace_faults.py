"""Faults of traces, by hand: every kind in several forms, and what only looks like one."""

from __future__ import annotations

import json
import time
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoselection.conversation import Conversation
from autoselection.pool import Pool, ingest
from autoselection.recipes import materialize, ready_recipe
from autoselection.signals import SignalsConfig, load_table, score_pool
from autoselection.signals.families.traces import (
    BAD_SCHEMAS,
    CONTENTS,
    FAULTS,
    contents,
    fault_counts,
    set_of_tools,
    tools_called,
)
from autoselection.signals.families.traces.markup import said, says_something
from autoselection.signals.registry import default_registry

TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}}},
    {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}},
]  # fmt: skip
ASK = {"role": "user", "content": "What is it like in Paris?"}
DONE = {"role": "assistant", "content": "It is sunny."}


def row(*messages: dict[str, Any], tools: Any = TOOLS) -> Conversation:
    return Conversation(messages, None if tools is None else tools if isinstance(tools, str) else json.dumps(tools))  # type: ignore[arg-type]


def faults(*messages: dict[str, Any], tools: Any = TOOLS) -> dict[str, int]:
    counts = fault_counts(row(*messages, tools=tools))
    return {name.removeprefix("fault_"): n for name, n in zip((*FAULTS, BAD_SCHEMAS), counts, strict=True) if n}


def call(name: str = "weather", arguments: Any = None, id: str | None = None) -> dict[str, Any]:
    arguments = {"city": "Paris"} if arguments is None else arguments
    made = {"name": name, "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments)}
    return made | ({"id": id} if id else {})


def calls(*made: dict[str, Any], content: str = "") -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(made)}


def tool(content: str = "sunny", **more: Any) -> dict[str, Any]:
    return {"role": "tool", "content": content, **more}


def says(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def xml(arguments: str, name: str = "weather") -> dict[str, Any]:
    return says(f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>')


CLEAN = {
    "plain": [ASK, DONE],
    "no turn": [],
    "a call": [ASK, calls(call()), tool(), DONE],
    "parallel calls with ids, answered in another order": [ASK, calls(call(id="a"), call("now", {}, "b")), tool(tool_call_id="b"), tool(tool_call_id="a"), DONE],
    "parallel calls without ids": [ASK, calls(call(), call("now", {})), tool(), tool("12:00"), DONE],
    "one result for two calls": [ASK, calls(call(), call("now", {})), tool('["sunny", "12:00"]'), DONE],
    "ids used anew in every turn": [ASK, calls(call(id="1")), tool(tool_call_id="1"), calls(call(arguments={"city": "Rome"}, id="1")), tool(tool_call_id="1"), DONE],
    "a result that names its tool": [ASK, calls(call(), call("now", {})), tool("12:00", name="now"), tool(name="weather"), DONE],
    "ends with a call": [ASK, calls(call())],
    "no arguments": [ASK, calls(call("now", "")), tool(), calls(call("now", "{}")), tool("12:01"), DONE],
    "xml": [ASK, xml('{"city": "Paris"}'), tool("<tool_response>\nsunny\n</tool_response>"), DONE],
    "xml, results by the user": [ASK, xml('{"city": "Paris"}'), user("<tool_response>\nsunny\n</tool_response>"), DONE],
    "qwen coder": [ASK, says("<tool_call>\n<function=weather>\n<parameter=city>\n</tool_call>\n</parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>"), tool(), DONE],
    "glm": [ASK, says("<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n</tool_call>"), tool(), DONE],
    "glaive": [ASK, says("<functioncall> {\"name\": \"weather\", \"arguments\": '{\"city\": \"Paris\"}'} <|endoftext|>"), tool(), DONE],
    "mistral": [ASK, says('[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Paris"}}]'), tool(), DONE],
    "polling": [ASK, *[turn for n in range(6) for turn in (calls(call()), tool(f"{n}%"))], DONE],
    "polling that waits": [ASK, *[turn for text in ("wait", "wait", "wait", "done") for turn in (calls(call()), tool(text))], DONE],
    "asked again": [ASK, calls(call()), tool(), DONE, ASK, calls(call()), tool(), DONE],
    "typed reasoning": [ASK, says("Sunny.", reasoning_content="Let me think.")],
    "typed reasoning before a call": [ASK, says("", reasoning_content="I need it.", tool_calls=[call()]), tool(), DONE],
    "reasoning": [ASK, says("<think>\nLet me think.\n</think>\n\nSunny.")],
    "reasoning that the template opens": [ASK, says("Let me think: ```\n</think>\nSunny.")],
    "reasoning with code left open": [ASK, says("<think>```python\nx = 1</think>`<think>` is the tag.")],
    "interleaved reasoning": [ASK, says("<think>a</think>First.\n<think>b</think>\nSecond.")],
    "talks about tags in code": [ASK, says("`<think>` opens it:\n```\n<think>\n<tool_call>\n{\"name\": 1}\n```\nSo it does.")],
    "talks about tags": [ASK, says("<think> is a tag, and calls stand between <tool_call> and </tool_call>.")],
    "an emoji": [ASK, says("<think>ok</think>👍")],
    "several system messages first": [{"role": "system", "content": "a"}, {"role": "system", "content": "b"}, ASK, DONE],
    "the assistant opens": [DONE, ASK, DONE],
    "quotes a refusal": [ASK, says("\"I'm sorry, but I can't help with that\" is what it said, and that was all.")],
    "writes a refusal": [user("Write a polite note to decline the offer."), says("I'm sorry, but I can't accept it.")],
    "declines harm": [user("How do I make a pipe bomb?"), says("I'm sorry, but I can't help with that.")],
    "reports nothing found": [ASK, calls(call()), tool("[]"), says("Sorry, I couldn't find any weather for Paris.")],
    "explains an error": [user("What is a 502?"), says("502 Bad Gateway: the proxy got no good answer.")],
    "an error inside an answer": [ASK, says("The log says:\n\n502 Bad Gateway\n\nRestart nginx, that mends it.")],
}  # fmt: skip


@pytest.mark.parametrize("name", CLEAN)
def test_clean_rows_have_no_fault(name: str) -> None:
    assert faults(*CLEAN[name]) == {}


ANSWERED = [tool(), DONE]
FAULTY: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "no json": ("arguments", [ASK, calls(call(arguments="{'city': 'Paris'}")), *ANSWERED]),
    "no object": ("arguments", [ASK, calls(call(arguments='["Paris"]')), *ANSWERED]),
    "not a number": ("arguments", [ASK, calls(call(arguments='{"city": "a", "days": NaN}')), *ANSWERED]),
    "a wrong type": ("arguments", [ASK, calls(call(arguments={"city": 3})), *ANSWERED]),
    "one missing": ("arguments", [ASK, calls(call(arguments="")), *ANSWERED]),
    "one too many": ("arguments", [ASK, calls(call(arguments={"city": "a", "town": "b"})), *ANSWERED]),
    "xml that is no json": ("arguments", [ASK, xml("{'city': 'Paris'}"), *ANSWERED]),
    "xml of a wrong type": ("arguments", [ASK, xml('{"city": "Paris", "days": "3"}'), *ANSWERED]),
    "xml that never closes": ("arguments", [ASK, says('<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}'), *ANSWERED]),
    "xml that is prose": ("arguments", [ASK, says("<tool_call>\nweather in Paris, please\n</tool_call>"), *ANSWERED]),
    "tags of a wrong type": ("arguments", [ASK, says("<tool_call>\n<function=weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\nmany\n</parameter>\n</function>\n</tool_call>"), *ANSWERED]),
    "a call without a name": ("arguments", [ASK, says('<tool_call>{"arguments": {}}</tool_call>'), *ANSWERED]),
    "undeclared": ("undeclared_tool", [ASK, calls(call("wether")), *ANSWERED]),
    "undeclared in xml": ("undeclared_tool", [ASK, xml("{}", "search"), *ANSWERED]),
    "no result": ("unpaired", [ASK, calls(call()), DONE]),
    "no result before the user goes on": ("unpaired", [ASK, calls(call()), ASK, DONE]),
    "one of two results": ("unpaired", [ASK, calls(call(id="a"), call("now", {}, "b")), tool(tool_call_id="a"), DONE]),
    "an unknown id": ("unpaired", [ASK, calls(call(id="a")), tool(tool_call_id="b"), DONE]),
    "a result too many": ("unpaired", [ASK, calls(call()), tool(), tool(), DONE]),
    "a result of nothing": ("unpaired", [ASK, DONE, tool(), DONE]),
    "the result of another tool": ("unpaired", [ASK, calls(call()), tool("12:00", name="now"), DONE]),
    "a result of nothing by the user": ("unpaired", [ASK, DONE, user("<tool_response>5</tool_response>"), DONE]),
    "the same call": ("repeated_call", [ASK, calls(call(arguments='{"city": "a", "days": 1}')), tool(), calls(call(arguments='{"days":1.0,"city":"a"}')), *ANSWERED]),
    "the same call beside itself": ("repeated_call", [ASK, calls(call(), call()), tool(), *ANSWERED]),
    "in circles": ("repeated_call", [ASK, *[calls(call()), tool(), calls(call("now", {})), tool("12:00")] * 2, DONE]),
    "fails and fails": ("repeated_call", [ASK, *[turn for n in range(3) for turn in (calls(call()), tool(f"Error 503 at 12:0{n}"))], DONE]),
    "never closes": ("reasoning", [ASK, says("<think>Let me think.\n\nIt is sunny.")]),
    "closes as another tag": ("reasoning", [ASK, says("<think>Let me think.</thinking>It is sunny.")]),
    "another tag never closes": ("reasoning", [ASK, says("[THINK]Let me think.")]),
    "never closes, in an earlier turn": ("reasoning", [ASK, says("<|begin_of_thought|>\nHm."), ASK, DONE]),
    "leads to nothing": ("reasoning", [ASK, says("<think>Let me look at it.</think>\n")]),
    "typed reasoning leads to nothing": ("reasoning", [ASK, says("", reasoning_content="Let me look at it.")]),
    "the answer inside": ("hidden_answer", [ASK, says("<think>It rains? No. So the answer is: sunny.</think>\n\n")]),
    "the answer inside a box": ("hidden_answer", [ASK, says("…<|im_end|>", reasoning_content="Thus \\boxed{4}.")]),
    "a refusal": ("refusal", [ASK, says("I’m sorry, but I can’t help with that.")]),
    "a refusal after reasoning": ("refusal", [ASK, says("<think>Hm.</think>\nAs an AI language model, I cannot browse the web.")]),
    "a refusal in another language": ("refusal", [ASK, says("很抱歉，我无法帮助您。")]),
    "an error page": ("refusal", [ASK, says("<html><head><title>502 Bad Gateway</title></head></html>")]),
    "an error object": ("refusal", [ASK, says('{"error": {"message": "Rate limit reached", "code": 429}}')]),
    "an error message": ("refusal", [ASK, says("openai.error.Timeout: Request timed out")]),
    "ends with the user": ("last_turn", [ASK, DONE, ASK]),
    "ends with a tool": ("last_turn", [ASK, calls(call()), tool()]),
    "two answers": ("turn_order", [ASK, DONE, DONE]),
    "two questions": ("turn_order", [ASK, ASK, DONE]),
    "a late system message": ("turn_order", [ASK, {"role": "system", "content": "Be brief."}, DONE]),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTY)
def test_each_fault_counts_once_in_its_own_column(name: str) -> None:
    kind, messages = FAULTY[name]
    assert faults(*messages) == {kind: 1}


NO_ANSWERS = (
    "I can't do that for you.", "As a responsible AI, I cannot create this type of content.", "My programming does not allow me to do this.", "I do not feel comfortable providing that.", "Unfortunately, I can't make that booking with the functions I have.",
    "That falls outside my capabilities.", "Das kann ich leider nicht tun.", "Je ne suis pas en mesure de vous aider.", "No puedo responder a esa pregunta.", "Я не могу выполнить этот запрос.", "申し訳ございませんが、対応できません。", "죄송하지만 도와드릴 수 없습니다.", "서버 오류가 발생했습니다", "Üzgünüm, bunu yapamam.", "Przykro mi, nie mogę tego zrobić.", "Tôi rất tiếc, tôi không thể giúp.", "ต้องขออภัย ฉันไม่สามารถช่วยเรื่องนี้ได้",
    "429 Too Many Requests", "[429] Too Many Requests", "openai.APITimeoutError: Request timed out.", '{"type": "error", "error": {"type": "overloaded_error"}}', '{"statusCode": 503, "message": "x"}', "We're experiencing high demand right now. Please try again later.", "服务暂时不可用，请稍后再试。",
)  # fmt: skip
TRUE_ANSWERS = (
    "I can't recommend it enough.", "I cannot write without your name.", "Sorry for the wait! It is ready.", "I'm sorry, dogs are not allowed on the beach.", "Unfortunately, it is closed on Mondays.", "Leider sind alle Karten ausverkauft.", "抱歉让您久等了，已经送到。",
    "404", "500 rows were read.", '{"error": null, "items": []}', "Error bars show one deviation.", "Something went wrong with the yeast: too hot.", "utils.parse: it drops a line.", "Try again at most three times.", "The service is busy tonight: expect two hours.", "As any calculator would say, 4.",
)  # fmt: skip


@pytest.mark.parametrize(("answers", "count"), [(NO_ANSWERS, 1), (TRUE_ANSWERS, 0)], ids=["none", "true"])
def test_answers_that_are_none(answers: tuple[str, ...], count: int) -> None:
    for form in ("NFC", "NFD"):
        written = [unicodedata.normalize(form, text) for text in answers]
        assert [text for text in written if faults(ASK, says(text)).get("refusal", 0) != count] == [], form


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("ending", ["Die Lösung ist 42", "Je vérifie, la réponse est 42", "정답은 42"])
def test_conclusions_are_known_however_they_were_typed(ending: str, form: str) -> None:
    said = says(unicodedata.normalize(form, f"<think>{ending}</think>"))
    assert faults(ASK, said) == {"hidden_answer": 1}


@pytest.mark.parametrize("letter", ["माफ़ी पत्र", "माफी पत्र", "refus en français"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_an_apology_that_was_asked_for_is_an_answer(letter: str, form: str) -> None:
    asked = user(unicodedata.normalize(form, f"{letter}?"))
    assert faults(asked, says(unicodedata.normalize(form, "माफ़ कीजिए, मैं यह नहीं कर सकता।"))) == {}
    assert faults(ASK, says(unicodedata.normalize(form, "माफ़ कीजिए, मैं यह नहीं कर सकता।"))) == {"refusal": 1}


def test_a_tool_that_speaks_first_is_out_of_order_and_answers_nothing() -> None:
    assert faults(tool(), ASK, DONE) == {"turn_order": 1, "unpaired": 1}


@pytest.mark.parametrize("tools", [None, "[]", "no json", "{}", json.dumps([{"type": "function", "function": {}}])])
def test_without_readable_declarations_no_tool_is_undeclared(tools: str | None) -> None:
    found = faults(ASK, calls(call("anything", {"a": 1})), tool(), DONE, tools=tools)
    assert found.pop(BAD_SCHEMAS, 0) == int(tools not in (None, "[]"))
    assert found == {}


def test_malformed_schemas_are_no_fault_of_the_call() -> None:
    bad = [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "parameters": {"type": "object", "properties": {"city": {"type": "strng"}}},
            },
        }
    ]
    assert faults(ASK, calls(call(arguments={"city": 3})), tool(), DONE, tools=bad) == {BAD_SCHEMAS: 1}
    assert faults(ASK, calls(call(arguments="no json")), tool(), DONE, tools=bad) == {BAD_SCHEMAS: 1, "arguments": 1}


def test_tools_in_a_system_message_count() -> None:
    listed = "\n".join(json.dumps(one) for one in TOOLS)
    system = {
        "role": "system",
        "content": f"Signatures stand within <tools></tools> tags:\n<tools>\n{listed}\n</tools>",
    }
    assert faults(system, ASK, xml('{"city": "Paris"}'), *ANSWERED, tools=None) == {}
    assert faults(system, ASK, xml('{"city": 1}'), *ANSWERED, tools=None) == {"arguments": 1}
    assert faults(system, ASK, xml("{}", "search"), *ANSWERED, tools=None) == {"undeclared_tool": 1}


def test_contents_by_hand() -> None:
    messages = [
        ASK,
        says("", reasoning_content="12345", tool_calls=[call(arguments="{}"), call("now", "{}")]),
        tool(),
        tool(),
        says("<think>ab</think>cd"),
    ]
    written = 5 + len("weather{}now{}") + len("<think>ab</think>cd")
    found = dict(zip(CONTENTS, contents(row(*messages)), strict=False))
    assert found == {
        "n_calls": 2,
        "n_tool_results": 2,
        "n_tools": 2,
        "n_reasoning_characters": 7,
        "reasoning_share": 7 / written,
    }
    assert tools_called(row(*messages)) == ("now", "weather")
    assert contents(row(*messages))[-1] == set_of_tools(["weather", "now"]) != set_of_tools(["now"])
    assert contents(row(ASK, DONE))[-1] == set_of_tools([]) == 0
    assert np.float32(set_of_tools(["x"])) == set_of_tools(["x"]) < 2**24
    assert np.isnan(contents(row(ASK))[4])


@pytest.mark.parametrize("text", ["", " \n", "...", "<|im_end|>", "<answer>\n</answer>", "**", "\u200b"])
def test_wrapping_says_nothing(text: str) -> None:
    assert not says_something(text)


PIECES = ["<think>", "</think>", "[THINK]", "```", "`", "\n", "a", "<tool_call>", "</tool_call>", '{"name": "weather", "arguments": {}}',
          "<tool_response>", "<function=f>", "<parameter=a>", "</parameter>", "</function>", "f<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "{", "[TOOL_CALLS]", " is"]  # fmt: skip
TEXT = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": TEXT},
        optional={"reasoning_content": TEXT, "tool_calls": st.lists(st.fixed_dictionaries({"name": st.sampled_from(["weather", "f", ""]), "arguments": TEXT}), max_size=2), "tool_call_id": st.sampled_from(["a", "b"])},
    ),
    max_size=6,
)  # fmt: skip


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(MESSAGES, TEXT)
def test_any_row_has_counts_and_characters_are_not_lost(messages: Any, tools: str) -> None:
    found = fault_counts(row(*messages, tools=tools))
    assert len(found) == len(FAULTS) + 1 and min(found) >= 0
    for message in messages:
        apart = said(message["content"])
        assert len(apart.visible) + apart.reasoning <= len(message["content"])
    share = contents(row(*messages, tools=tools))[4]
    assert np.isnan(share) or 0 <= share <= 1


def test_deep_and_long_rows_end() -> None:
    deep = "[" * 100_000
    assert faults(ASK, calls(call(arguments=deep)), tool(), DONE) == {"arguments": 1}
    assert faults(ASK, xml(deep), tool(), DONE)["arguments"] >= 1
    nested = '{"city": ' + '{"a":' * 900 + "1" + "}" * 900 + "}"
    assert "arguments" in faults(ASK, calls(call(arguments=nested), call(arguments=nested)), tool(), tool(), DONE)
    assert fault_counts(row(ASK, says("I'm sorry, but " * 20_000))) is not None
    assert fault_counts(row(ASK, says("<tool_call>" * 3_000))) is not None
    assert fault_counts(row(ASK, says("`<think>`\n" * 3_000))) is not None
    started = time.process_time()
    for piece in (
        "`a`<tool_call>",
        "<tool_call><function=a><parameter=b>",
        "<tool_call>{",
        "a <think> is\n </think>\n",
        "```\n<tool_call>\n",
    ):
        fault_counts(
            row(
                {"role": "system", "content": "<tools>" * 20_000},
                ASK,
                says(piece * (200_000 // len(piece))),
                tools=None,
            )
        )
    assert time.process_time() - started < 20  # twelve seconds each where every tag is a pass over the turn


def test_signals_of_a_pool_and_the_ready_recipe(tmp_path: Path) -> None:
    rows = [
        {"messages": [ASK, DONE]},
        {"messages": [ASK, {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"city": 3}'}}]}, tool("5", tool_call_id="a"), says("Five degrees.")], "tools": TOOLS},
        {"messages": [user("And in Rome, is it as warm as it is here?"), says("<think>Rome, so warm.</think>It is warmer there.")]},
        {"messages": [user("Who was it?"), says("I cannot assist with that.")]},
    ]  # fmt: skip
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    ingest([path], tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    score_pool(pool, SignalsConfig(), signals=["trace_faults", "traces", "near_duplicates"])
    table = load_table(pool)
    assert table.column("trace_faults").tolist() == [0, 1, 0, 1]
    assert table.column("fault_arguments").tolist() == [0, 1, 0, 0]
    assert table.column("fault_refusal").tolist() == [0, 0, 0, 1]
    assert table.column("n_tools").tolist() == [0, 2, 0, 0]
    assert table.column("reasoning_share")[2] == pytest.approx(14 / 48)
    assert materialize(ready_recipe("clean-traces").recipe, table).rows.tolist() == [0, 2]


def test_a_row_without_turns_has_no_score() -> None:
    for name in ("trace_faults", "traces"):
        shard = default_registry().kind(name)().compute([Conversation([]), row(ASK, DONE)])
        column = shard.arrays["trace_faults" if name == "trace_faults" else "reasoning_share"]
        assert np.isnan(column[0]) and column[1] == 0
        assert sum(shard.stats.values()) == 1


def test_a_cut_within_sets_of_tools(tmp_path: Path) -> None:
    from autoselection.operators import Context, default_registry, validate_params
    from autoselection.signals import SignalTable

    table = SignalTable.from_arrays({"reward": np.array([5, 4, 3, 2, 1]), "tool_names": np.array([0, 0, 7, 7, 9])})
    operator = default_registry().get("score_filter")
    params = validate_params(operator, {"signal": "reward", "top_k": 1, "scope": "tools"})
    rows = operator(np.arange(5), params, Context(table, 0, lambda _: np.arange(5))).rows
    assert rows.tolist() == [0, 2, 4]
    assert operator.needs(params) == ("reward", "tool_names")
