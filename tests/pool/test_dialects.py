"""Every shape of rows that is read: told by its fields, and read as the conversation that it means."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.pool.dialect_examples import EXAMPLES, REFUSED

from autoselection.errors import PoolError
from autoselection.pool import IngestConfig, IngestReport, Pool, ingest
from autoselection.pool.dialects import DIALECTS

#: Rows with contents of several types, which Parquet holds as JSON text only; CSV holds all nested values so.
MIXED = {"anthropic"}
Write = Callable[..., Path]


def read(path: Path, out: Path, **config: Any) -> tuple[Pool, Any]:
    report = ingest([path], out, IngestConfig(**config))
    return Pool.open(out), report


def definitions(text: str | None) -> Any:
    return None if text is None else json.loads(text)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "csv"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_row_is_the_conversation_that_it_means(name: str, suffix: str, write: Write, tmp_path: Path) -> None:
    example = EXAMPLES[name]
    row = example.row
    if suffix == "parquet" and name in MIXED:
        row = {name: json.dumps(value) if isinstance(value, list) else value for name, value in row.items()}
    pool, report = read(write(f"rows.{suffix}", [row]), tmp_path / "pool")
    (conversation,) = pool.conversations()
    assert conversation.messages == example.messages
    assert definitions(conversation.tools) == example.tools
    assert (report.skipped, report.format) == (0, example.format)


@pytest.mark.parametrize("name", REFUSED)
def test_a_shape_without_a_conversation_is_refused_with_what_would_read_it(
    name: str, write: Write, tmp_path: Path
) -> None:
    row, said = REFUSED[name]
    file = write("rows.jsonl", [row])
    with pytest.raises(PoolError, match=said) as caught:
        ingest([file], tmp_path / "pool")
    assert str(file) in str(caught.value) and "write " in str(caught.value)


def copies(report: IngestReport) -> int:
    """Rows that stand in their file once more, under the same id."""
    told = [re.match(r"(\d+) rows? of the files (?:is a copy|are copies) ", note) for note in report.notes]
    return sum(int(found[1]) for found in told if found)


#: Two pairs of texts under other usual names than the format's own: which of them a file means, only its user knows.
UNKNOWN_TOGETHER = {"openorca", "query-response"}


def test_two_shapes_of_one_format_are_both_read(write: Write, tmp_path: Path) -> None:
    for first, second in permutations(sorted(EXAMPLES), 2):
        if EXAMPLES[first].format != EXAMPLES[second].format or {first, second} == UNKNOWN_TOGETHER:
            continue
        file = write("rows.jsonl", [EXAMPLES[first].row, EXAMPLES[second].row])
        report = ingest([file], tmp_path / "pool", overwrite=True)
        assert (report.skipped, report.rows + copies(report)) == (0, 2), (first, second)
        read_as = [tuple(map(repr, messages)) for messages in Pool.open(tmp_path / "pool").messages()]
        assert set(read_as) == {tuple(map(repr, EXAMPLES[name].messages)) for name in (first, second)}, (first, second)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_rows_of_two_shapes_are_told_apart_or_refused(data: st.DataObject, write: Write, tmp_path: Path) -> None:
    """Whatever else its rows hold, and whatever file comes after it: a shape is read as itself, or the file is refused."""
    names = data.draw(st.lists(st.sampled_from(sorted(EXAMPLES)), min_size=1, max_size=3))
    extra = data.draw(
        st.dictionaries(st.sampled_from(["uuid", "category", "lang", "n"]), st.integers(0, 3), max_size=2)
    )
    rows = [{**EXAMPLES[name].row, **extra} for name in names]
    formats = {EXAMPLES[name].format for name in names}
    file = write("rows.jsonl", rows)
    try:
        report = ingest([file], tmp_path / "pool", overwrite=True)
    except PoolError as error:
        if "is unknown" in str(error):  # pairs of texts under several usual names: renaming alone makes one of them
            assert len(set(names)) > 1 and "rename the fields" in str(error)
            return
        # Refused with the command that reads it.
        named = re.search(r"`autoselection ingest .*--format (\S+)`", str(error))
        assert len(formats) > 1 and named is not None
        report = ingest([file], tmp_path / "named", IngestConfig(format=named[1]), overwrite=True)
        assert report.rows >= 1 and report.rows + report.skipped + copies(report) == len(rows)
    else:
        pool = Pool.open(tmp_path / "pool")
        read_as = {tuple(map(repr, messages)) for messages in pool.messages()}
        meant = [tuple(map(repr, EXAMPLES[name].messages)) for name in names]
        assert read_as <= set(meant)  # no row became another conversation
        assert report.rows + report.skipped + copies(report) == len(rows)
        if len(formats) == 1:
            assert report.skipped == 0 and report.rows == len(pool)


#: Rows of one format whose columns have other usual names.
OTHERWISE_NAMED = {
    "messages": (
        {"messages": EXAMPLES["tulu-3"].row["messages"]},
        {"conversation": EXAMPLES["tulu-3"].row["messages"]},
    ),
    "prompt-completion": ({"prompt": "1+1?", "completion": "2"}, {"question": "2+2?", "response": "4"}),
    "alpaca": ({"instruction": "1+1?", "output": "2"}, {"Instruction": "2+2?", "input": "Briefly.", "answer": "4"}),
}


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize("name", OTHERWISE_NAMED)
def test_rows_of_the_files_format_under_other_usual_names_are_read(
    name: str, nulls: bool, swapped: bool, write: Write, tmp_path: Path
) -> None:
    first, other = OTHERWISE_NAMED[name]
    if nulls and name != "alpaca":  # as tables have them that were put together
        first, other = {**dict.fromkeys(other), **first}, {**dict.fromkeys(first), **other}
    many = [{**first, "n": n} for n in range(40)]
    rows = [other, *many] if swapped else [*many, other]
    alone = write("alone.jsonl", [other])
    pool, report = read(write("rows.jsonl", rows), tmp_path / "pool", format="auto")
    assert (report.format, report.skipped, report.rows) == (name, 0, 41)
    (meant,) = read(alone, tmp_path / "alone")[0].messages()
    assert pool.messages()[0 if swapped else 40] == meant
    assert any(f"another shape than the file ({name}) was read as {name} (" in note for note in report.notes)


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ({"prompt": "1+1?", "completion": "2"}, {"prompt": "2+2?", "completion": None, "answer": "4"}),
        ({"prompt": "1+1?", "completion": "2"}, {"prompt": "2+2?", "input": "a", "output": "b"}),
        ({"question": "1+1?", "answer": "2"}, {"question": "2+2?", "answer": None, "response": "4"}),
        ({"query": "1+1?", "response": "2"}, {"query": "2+2?", "response": None, "output": "4"}),
        ({"query": "1+1?", "response": "2"}, {"query": "2+2?", "response": None, "prompt": "2+2?", "answer": "4"}),
        ({"instruction": "1+1?", "answer": "2"}, {"instruction": "2+2?", "answer": None, "completion": "4"}),
        ({"instruction": "1+1?", "output": "2"}, {"instruction": "2+2?", "output": "", "answer": "4"}),
        ({"prompt": "1+1?", "completion": "2"}, {"query": "2+2?", "answer": "4", "solution": "2 and 2 make 4."}),
        ({"prompt": "1+1?", "completion": "2"}, {"query": "2+2?", "answer": "4", "user": "2+2?", "assistant": "5"}),
    ],
)
def test_rows_that_lack_an_answer_do_not_take_what_is_beside_it(
    first: dict[str, Any], other: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    rows = [*[{**first, "n": n} for n in range(40)], other]
    pool, report = read(write("rows.jsonl", rows), tmp_path / "pool")
    assert (report.rows, report.skipped, len(pool)) == (40, 1, 40)


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_a_named_format_reads_its_rows_and_calls_others_bad(name: str, write: Write, tmp_path: Path) -> None:
    rows = [example.row for example in EXAMPLES.values() if example.format == name]
    meant = [example.messages for example in EXAMPLES.values() if example.format == name]
    pool, report = read(write("rows.jsonl", [*rows, {"nothing": 1}]), tmp_path / "pool", format=name)
    assert pool.messages() == meant and report.skipped == 1


def test_what_a_dialect_cannot_read_of_a_row_is_said_with_its_field(write: Write, tmp_path: Path) -> None:
    good = EXAMPLES["xlam"].row
    bad = [
        {**good, "answers": "[]"},
        {**good, "answers": "[1"},
        {**good, "answers": '[{"arguments": {}}]'},
        {**good, "query": ""},
        {**good, "tools": "{}"},
    ]
    _, report = read(write("rows.jsonl", [good, *bad]), tmp_path / "pool")
    assert [(fault.line, "'answers'" in fault.reason) for fault in report.bad] == [
        *((line, True) for line in (2, 3, 4)), (5, False), (6, False)
    ]  # fmt: skip
    assert [fault.field for fault in report.bad] == ["answers", "answers", "answers[0].name", "query", "tools"]
    assert "'query'" in report.bad[3].reason and "'tools'" in report.bad[4].reason


_ASK, _SAY = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
_OTHER = [{"role": "system", "content": "another"}, _ASK]


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize(
    ("row", "field"),
    [
        (
            {"messages": [*_OTHER, _SAY], "chat_template_kwargs": {"custom_instructions": "s"}},
            "chat_template_kwargs.custom_instructions",
        ),
        ({"messages": [*_OTHER, _SAY], "chat_template_kwargs": {"custom_instructions": "t"}, "System": "s"}, "System"),
        ({"input": _OTHER, "output": "a", "system_prompt": "s"}, "system_prompt"),
        ({"input": _OTHER, "output": "a", "system_prompt": "t", "system": "s"}, "system"),
        ({"request": {"messages": _OTHER, "system": "s"}, "response": {"message": _SAY}}, "request.system"),
        ({"body": {"body": {"messages": _OTHER, "system": "s"}}, "response": {"message": _SAY}}, "body.body.system"),
        ({"messages": _OTHER, "system": "s", "response": {"message": _SAY}}, "system"),
        (
            {
                "contents": [
                    {"role": "system", "parts": [{"text": "t"}]},
                    {"role": "user", "parts": [{"text": "q"}]},
                    {"role": "model", "parts": [{"text": "a"}]},
                ],
                "system_instruction": {"parts": [{"text": "s"}]},
            },
            "system_instruction",
        ),
        ({"messages": [{"role": "developer", "content": "t"}, _ASK, _SAY], "System Prompt": "s"}, "System Prompt"),
    ],
)
def test_two_system_prompts_are_told_with_the_field_that_the_row_has(
    row: dict[str, Any], field: str, suffix: str, write: Write, tmp_path: Path
) -> None:
    good = json.loads(json.dumps(row).replace('"another"', '"s"').replace('"t"', '"s"'))
    _, report = read(write(f"rows.{suffix}", [good, row]), tmp_path / "pool")
    ((reason, named),) = [(bad.reason, bad.field) for bad in report.bad]
    assert reason == f"field '{field}' and the first turn give two different system prompts" and named == field


def test_a_glaive_call_that_cannot_be_read_stays_text_and_is_counted(write: Write, tmp_path: Path) -> None:
    row = dict(EXAMPLES["glaive-v2"].row)
    row["chat"] = (
        "USER: q\n\n\nASSISTANT: <functioncall> {oops} <|endoftext|>\n\n\nUSER: and?\n\n\nASSISTANT: b <|endoftext|>"
    )
    pool, report = read(write("rows.jsonl", [row]), tmp_path / "pool")
    assert pool.messages()[0][1] == {"role": "assistant", "content": "<functioncall> {oops}"}
    assert report.ignored == {"<functioncall> that cannot be read, kept as text": 1}


def test_words_of_speakers_inside_texts_are_text(write: Write, tmp_path: Path) -> None:
    row = {
        "system": "",
        "chat": "USER: what does USER: mean?\nASSISTANT: is what?\n\n\nASSISTANT: A mark, USER: too. <|endoftext|>",
    }
    pool, _ = read(write("rows.jsonl", [row]), tmp_path / "pool", format="glaive")
    assert [turn["content"] for turn in pool.messages()[0]] == [
        "what does USER: mean?\nASSISTANT: is what?", "A mark, USER: too."
    ]  # fmt: skip


def test_own_columns_stay_with_the_row(write: Write, tmp_path: Path) -> None:
    pool, _ = read(write("rows.jsonl", [EXAMPLES["smoltalk2"].row]), tmp_path / "pool")
    (meta,) = pool.metas()
    assert meta["chat_template_kwargs"]["enable_thinking"] is False
    assert pool.sources() == ["xlam_traces_no_think"]
    pool, _ = read(write("n.jsonl", [EXAMPLES["nemotron"].row]), tmp_path / "nemotron")
    assert pool.metas() == [{"category": "math", "reasoning": "on"}]


def test_a_log_counts_what_it_leaves_and_refuses_answers_cut_off(write: Write, tmp_path: Path) -> None:
    row = json.loads(json.dumps(EXAMPLES["batch-joined"].row))
    second = json.loads(json.dumps(row))
    second["response"]["body"]["choices"].append({"message": {"role": "assistant", "content": "5"}})
    cut = json.loads(json.dumps(row))
    cut["response"]["body"]["choices"][0]["finish_reason"] = "length"
    failed = {**row, "response": {"status_code": 500, "body": {"error": "x"}}}
    pool, report = read(write("rows.jsonl", [row, second, cut, failed]), tmp_path / "pool")
    assert pool.messages() == [EXAMPLES["batch-joined"].messages] * 2
    assert report.ignored["choices behind the first"] == 1
    assert [bad.line for bad in report.bad] == [3, 4]


def test_a_column_of_reasoning_is_named_by_the_map(write: Write, tmp_path: Path) -> None:
    row = {"Frage": "2+2?", "Gedanken": "Easy.", "Antwort": "4", "extra": 1}
    columns = {"prompt": "Frage", "reasoning": "Gedanken", "response": "Antwort"}
    pool, _ = read(write("rows.csv", [row, {**row, "Gedanken": None}]), tmp_path / "pool", map=columns)
    answer = {"role": "assistant", "content": "4"}
    assert [turns[1] for turns in pool.messages()] == [{**answer, "reasoning_content": "Easy."}, answer]
    assert pool.metas()[0] == {"extra": "1"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_row_that_is_appended_again_is_known(name: str, write: Write, tmp_path: Path) -> None:
    row = {**EXAMPLES[name].row, "id": "same"}
    file = write("rows.jsonl", [row])
    config = IngestConfig(parse=("think", "tool_calls"))
    ingest([file], tmp_path / "pool", config)
    config = IngestConfig(parse=("think", "tool_calls"), format=EXAMPLES[name].format)
    again = write("again.jsonl", [row, {**row, "id": "other"}])
    report = ingest([again], tmp_path / "pool", config, append=True)
    assert (report.appended, report.skipped) == (1, 1)
    assert "by the same conversation" in report.bad[0].reason
    assert any("are in the pool already" in note for note in report.notes)


GEMINI_CALL = {"functionCall": {"id": "c", "name": "book", "args": {}}}
GEMINI_RESULT = {"functionResponse": {"id": "c", "name": "book", "response": {"ok": True}}}
CALLS = [{"id": "c", "name": "book", "arguments": "{}"}]
RESULT = {"role": "tool", "content": '{"ok": true}', "tool_call_id": "c", "name": "book"}


@pytest.mark.parametrize(
    ("parts", "turns"),
    [
        ([GEMINI_CALL, GEMINI_RESULT], [{"role": "assistant", "content": "", "tool_calls": CALLS}, RESULT]),
        (
            [{"text": "Hm.", "thought": True}, GEMINI_CALL, GEMINI_RESULT],
            [{"role": "assistant", "content": "", "reasoning_content": "Hm.", "tool_calls": CALLS}, RESULT],
        ),
        ([GEMINI_RESULT, GEMINI_CALL], [RESULT, {"role": "assistant", "content": "", "tool_calls": CALLS}]),
        (
            [{"text": "Soon."}, GEMINI_CALL, GEMINI_RESULT, {"text": "Done."}],
            [
                {"role": "assistant", "content": "Soon.", "tool_calls": CALLS},
                RESULT,
                {"role": "assistant", "content": "Done."},
            ],
        ),
        ([{"text": ""}, {**GEMINI_CALL, "text": ""}], [{"role": "assistant", "content": "", "tool_calls": CALLS}]),
    ],
)
def test_a_turn_of_gemini_keeps_all_its_parts_in_their_order(
    parts: list[Any], turns: list[Any], write: Write, tmp_path: Path
) -> None:
    contents = [{"role": "user", "parts": [{"text": "To Rome?"}]}, {"role": "model", "parts": parts}]
    pool, report = read(write("rows.jsonl", [{"contents": contents}]), tmp_path / "pool")
    assert pool.messages() == [[{"role": "user", "content": "To Rome?"}, *turns]] and report.ignored == {}


@pytest.mark.parametrize(("name", "nothing"), [("weight", 0), ("train", False), ("loss", False)])
def test_weights_beside_parts_and_pairs_are_those_of_the_answer(
    name: str, nothing: Any, write: Write, tmp_path: Path
) -> None:
    earlier = {"role": "assistant", "content": "a", "weight": 0}
    turns = [{"role": "user", "content": "q"}, earlier, {"role": "user", "content": "r"}, {**earlier, "content": "b"}]
    del turns[3]["weight"]
    contents = [
        {"role": "user" if number % 2 == 0 else "model", "parts": [{"text": turn["content"]}]}
        for number, turn in enumerate(turns)
    ]
    contents[1][name] = contents[0][name] = nothing
    pool, report = read(write("gemini.jsonl", [{"contents": contents}]), tmp_path / "gemini")
    assert (pool.messages(), report.ignored) == ([turns], {f"contents.{name}": 1})
    pairs = [{"input": "q", "output": "a", name: nothing}, {"input": "r", "output": "b", name: not nothing}]
    pool, report = read(write("pairs.jsonl", [{"conversation": pairs}]), tmp_path / "pairs")
    assert (pool.messages(), report.ignored) == ([turns], {})


def test_what_is_not_kept_of_parts_and_blocks_is_counted_or_refused(write: Write, tmp_path: Path) -> None:
    asked = {"role": "user", "parts": [{"text": "To Rome?"}]}
    answers = [
        [{**GEMINI_CALL, "thoughtSignature": "x"}],
        [{**GEMINI_CALL, "text": "Now."}],
        [GEMINI_CALL, {"text": "Now."}],
    ]
    rows = [{"contents": [asked, {"role": "model", "parts": parts}]} for parts in answers]
    _, report = read(write("gemini.jsonl", rows), tmp_path / "gemini")
    assert report.ignored == {"parts.thoughtSignature": 1}
    assert [(bad.line, bad.kind, bad.field) for bad in report.bad] == [
        (2, "part of two kinds", "contents[1].parts"), (3, "text behind a call", "contents[1].parts")
    ]  # fmt: skip
    row = EXAMPLES["anthropic-blocks"].row
    failed, twice, empty = (json.loads(json.dumps(row)) for _ in range(3))
    failed["messages"][2]["content"][0]["is_error"] = True
    twice["messages"][1]["tool_calls"] = [{"name": "book", "arguments": {}}]
    empty["messages"].append({"role": "user", "content": []})
    pool, report = read(write("blocks.jsonl", [failed, twice, empty]), tmp_path / "blocks")
    assert pool.messages() == [EXAMPLES["anthropic-blocks"].messages]
    assert report.ignored == {"tool_result.is_error": 1}
    assert [(bad.line, bad.kind) for bad in report.bad] == [(2, "calls twice"), (3, "user turn without text")]


@pytest.mark.parametrize(
    "name", ["api-log", "anthropic-blocks", "gemini", "apigen-mt", "openai-legacy", "smoltalk2", "xlam-structs"]
)
def test_nulls_that_a_table_adds_to_calls_are_no_arguments(name: str, write: Write, tmp_path: Path) -> None:
    """A second row, whose call has another argument, gives the first row's structures a null of that name."""
    row = EXAMPLES[name].row
    other = json.loads(json.dumps(row).replace('"to"', '"dest"').replace('\\"to\\"', '\\"dest\\"'))
    assert other != row
    pool, _ = read(write("rows.parquet", [row, other]), tmp_path / "pool")
    plain, _ = read(write("rows.jsonl", [row, other]), tmp_path / "plain")
    assert pool.conversations() == plain.conversations()
    assert pool.messages()[0] == EXAMPLES[name].messages


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_settings_of_a_template_count_also_where_the_first_rows_have_none(
    suffix: str, write: Write, tmp_path: Path
) -> None:
    row = EXAMPLES["smoltalk2"].row
    rows = [{**row, "chat_template_kwargs": None, "n": number} for number in range(50)]
    pool, _ = read(write(f"rows.{suffix}", [*rows, row]), tmp_path / "pool")
    last = pool.conversations([50])[0]
    assert definitions(last.tools) == EXAMPLES["smoltalk2"].tools and last.messages == EXAMPLES["smoltalk2"].messages
