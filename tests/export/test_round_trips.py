"""Rows with calls, results, reasoning, weights, names and tools go out and come back the same, in every form and container."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typed_rows import conversations, own_columns

from autoselection.conversation import Conversation
from autoselection.errors import ConfigError
from autoselection.export import LAYOUTS, DatasetCard, export_hf_dataset, export_rows, export_subset
from autoselection.export.containers import SUFFIXES as SUFFIXES_WRITTEN
from autoselection.export.containers import plain
from autoselection.pool import IngestConfig, Pool, ingest
from autoselection.pool.suffixes import CONTAINERS

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".jsonl.gz", ".csv.zst")
FOLDERS = ("hf", "sharegpt", "axolotl")
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def openai_form(message: Mapping[str, Any]) -> dict[str, Any]:
    """The definition, written apart from the code under test."""
    written = dict(message)
    if "tool_calls" in message:
        written["tool_calls"] = [
            {
                **{key: call[key] for key in ("id",) if key in call},
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for call in message["tool_calls"]
        ]
    return written


def make_pool(folder: Path, rows: list[tuple[Conversation, dict[str, Any]]]) -> Pool:
    lines = []
    for number, (conversation, own) in enumerate(rows):
        line = {
            "id": f"r{number}",
            "source": f"s{number % 2}",
            "messages": list(map(openai_form, conversation.messages)),
            **own,
        }
        lines.append(line if conversation.tools is None else {**line, "tools": json.loads(conversation.tools)})
    (folder / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    ingest([folder / "in.jsonl"], folder / "pool", IngestConfig(format="messages"))
    pool = Pool.open(folder / "pool")
    assert pool.conversations() == [conversation for conversation, _ in rows]
    return pool


def read(path: Path, pool: Path, layout: str) -> Pool:
    ingest([path], pool, IngestConfig(format=layout))  # type: ignore[arg-type]
    return Pool.open(pool)


def contents(pool: Pool, places: list[int]) -> list[tuple[str, str, Conversation]]:
    return list(zip(pool.row_ids(places), pool.sources(places), pool.conversations(places), strict=True))


def holds(layout: str, conversation: Conversation) -> bool:
    """The definition of what the layouts without types can hold."""
    if layout in ("messages", "sharegpt"):
        return True
    bare = conversation.tools is None and all(len(message) == 2 for message in conversation.messages)
    roles = [message["role"] for message in conversation.messages]
    roles = roles[1:] if roles[0] == "system" else roles
    pairs = roles == ["user", "assistant"] * (len(roles) // 2)
    return bare and pairs and (layout == "alpaca" or len(roles) == 2)


def in_columns(own: Mapping[str, Any], container: str, huge: frozenset[str]) -> dict[str, Any]:
    """Own columns as they come back from a container."""
    if container in (".csv", ".tsv", ".csv.zst"):
        cells = {name: plain([value])[0] for name, value in own.items()}
        return {name: cell for name, cell in cells.items() if cell}
    return {name: json.dumps(value, ensure_ascii=False) if name in huge else value for name, value in own.items()}


def check(folder: Path, pool: Pool, layout: str, suffix: str) -> None:
    """Write all rows, read them, write what was read in the same form, and read that."""
    report = export_rows(pool, None, folder / f"out{suffix}", layout)  # type: ignore[arg-type]
    told = dict(zip(pool.row_ids(), pool.conversations(), strict=True))
    gone = {row_id for row_id, conversation in told.items() if not holds(layout, conversation)}
    assert gone <= set(report.left_out)
    assert all("NUL" in reason or "64 bits" in reason for reason in report.reasons) or gone
    kept = [number for number, row_id in enumerate(pool.row_ids()) if row_id not in report.left_out]
    assert (report.rows, sum(report.reasons.values())) == (len(kept), len(report.left_out))
    if not kept:
        return
    again = read(folder / f"out{suffix}", folder / "again", layout)
    everything = list(range(len(kept)))
    assert contents(again, everything) == contents(pool, kept)
    assert again.manifest.ignored == {}
    text = "written as JSON text: "
    huge = frozenset(
        name.strip(" '.") for said in report.remarks if text in said for name in said.partition(text)[2].split(",")
    )
    for own, back in zip(pool.metas(kept), again.metas(), strict=True):
        back = {name: value for name, value in back.items() if name not in ("_file", "_line")}
        assert {name.removeprefix("own_own_"): value for name, value in back.items()} == {
            name.removeprefix("own_own_"): value for name, value in in_columns(own, suffix, huge).items()
        }
    export_rows(again, None, folder / f"second{suffix}", layout)  # type: ignore[arg-type]
    third = read(folder / f"second{suffix}", folder / "third", layout)
    assert contents(third, everything) == contents(again, everything)
    assert third.metas() == again.metas()


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_a_suffix_is_written_as_what_it_says_and_read_back_or_refused(suffix: str, tmp_path: Path) -> None:
    pool = make_pool(tmp_path, [(answer(), {"score": 1}), (answer(content="b"), {"score": 2})])
    if suffix in (".arrow", ".feather", ".xlsx", ".duckdb", ".lance"):
        with pytest.raises(
            ConfigError, match=r"cannot tell a format from the suffix .*: use one of \.jsonl, "
        ) as error:
            export_rows(pool, None, tmp_path / f"out{suffix}")
        assert suffix not in str(error.value).partition("use one of")[2]
        assert not (tmp_path / f"out{suffix}").exists()
        return
    assert suffix in SUFFIXES_WRITTEN
    check(tmp_path, pool, "messages", suffix)


USER = {"role": "user", "content": "q"}
ODD = Conversation(
    [
        {"role": "system", "content": "s", "name": "boss"},
        USER,
        {
            "role": "assistant",
            "content": "text </tool_call>",
            "reasoning_content": "so\n</think>\n\n<think>\n",
            "tool_calls": [
                {"name": "f", "arguments": '{"zz": null, "b": {"c": null}, "n": 1e+300}'},
                {"name": "g", "arguments": "oops"},
            ],
        },
        {"role": "tool", "content": "", "tool_call_id": "c1"},
        {"role": "tool", "content": "6", "name": "g"},
        {"role": "assistant", "content": "w", "weight": 0},
        USER,
        {"role": "assistant", "content": "", "reasoning_content": "only thought"},
    ],
    '[{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"b": {"default": null}}}}}]',
)
HUGE = Conversation(
    [
        USER,
        {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": '{"a": 18446744073709551616}'}]},
    ]
)


def answer(**more: Any) -> Conversation:
    return Conversation([USER, {"role": "assistant", "content": "a", **more}])  # type: ignore[typeddict-item]


#: One thing more than role and content a row.
SINGLE = {
    "with calls of tools": answer(content="", tool_calls=[{"id": "c1", "name": "f", "arguments": "{}"}]),
    "with reasoning apart from the answer": answer(reasoning_content="r"),
    "with answers of weight 0": Conversation([*answer(weight=0).messages, *answer().messages]),
    "with names of speakers": Conversation([{**USER, "name": "ann"}, *answer().messages[1:]]),  # type: ignore[list-item]
    "that declare tools": Conversation(answer().messages, ODD.tools),
}


@settings(max_examples=25, deadline=None, suppress_health_check=SLOW)
@given(
    rows=st.lists(st.tuples(conversations(), own_columns), min_size=1, max_size=4),
    layout=st.sampled_from(list(LAYOUTS)),
    suffix=st.sampled_from(SUFFIXES),
)
@example(rows=[(ODD, {}), (HUGE, {"tags": {"k": 2**64}})], layout="messages", suffix=".parquet")
@example(rows=[(ODD, {}), (HUGE, {"tags": {"k": [None]}})], layout="sharegpt", suffix=".parquet")
@example(rows=[(ODD, {"score": 1}), (HUGE, {"score": "x"})], layout="sharegpt", suffix=".jsonl")
@example(rows=[(ODD, {"score": 1}), (HUGE, {"score": "x"})], layout="messages", suffix=".csv")
def test_every_row_comes_back(rows: list[tuple[Conversation, dict[str, Any]]], layout: str, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        check(folder, make_pool(folder, rows), layout, suffix)


@pytest.mark.parametrize("layout", ["messages", "sharegpt"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_odd_row_comes_back_from_each(layout: str, suffix: str, tmp_path: Path) -> None:
    rows = [(ODD, {"tags": {"k": None}}), (HUGE, {}), *((row, {}) for row in SINGLE.values())]
    check(tmp_path, make_pool(tmp_path, rows), layout, suffix)


@pytest.mark.parametrize("layout", ["alpaca", "prompt-completion"])
def test_what_forms_of_question_and_answer_cannot_hold(layout: Any, tmp_path: Path) -> None:
    rows = SINGLE | {"of several answers": Conversation([*answer().messages, *answer().messages])}
    pool = make_pool(tmp_path, [(row, {}) for row in rows.values()])
    report = export_rows(pool, None, tmp_path / "out.jsonl", layout)
    reasons = dict.fromkeys(rows if layout == "prompt-completion" else SINGLE, 1)
    assert dict(report.reasons) == reasons and report.rows == len(rows) - len(reasons)


@settings(max_examples=20, deadline=None, suppress_health_check=SLOW)
@given(
    rows=st.lists(st.tuples(conversations(), own_columns), min_size=1, max_size=4),
    form=st.sampled_from(FOLDERS),
)
@example(rows=[(ODD, {}), (HUGE, {"tags": {"k": 2**64}})], form="hf")
@example(rows=[(HUGE, {})], form="axolotl")
def test_every_row_of_a_folder_comes_back(rows: list[tuple[Conversation, dict[str, Any]]], form: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pool = make_pool(folder, rows)
        report = export_subset(pool, None, folder / "out", form)  # type: ignore[arg-type]
        kept = [number for number, row_id in enumerate(pool.row_ids()) if row_id not in report.left_out]
        assert (report.rows, sum(report.reasons.values())) == (len(kept), len(report.left_out))
        if not kept:
            return
        file = folder / "out" if form != "axolotl" else folder / "out" / "subset.jsonl"
        ingest([file], folder / "again")
        again = Pool.open(folder / "again")
        everything = list(range(len(kept)))
        if form == "sharegpt":  # that form has no sources
            assert again.row_ids() == pool.row_ids(kept) and again.conversations() == pool.conversations(kept)
        else:
            assert contents(again, everything) == contents(pool, kept)
        assert again.manifest.ignored == {}


@pytest.mark.parametrize(
    ("conversation", "reason"),
    [
        (Conversation([USER, {"role": "assistant", "content": "a", "weight": 0}, USER, {"role": "assistant", "content": "b"}]),
         "with answers of weight 0, which LLaMA-Factory would train on"),
        (Conversation([USER, USER, {"role": "assistant", "content": "b"}]),
         "that LLaMA-Factory skips: they do not alternate, or do not end with an answer"),
        (Conversation([USER, {"role": "assistant", "content": "see <tool_call>", "tool_calls": [{"name": "f", "arguments": "{}"}]}]),
         "with <tool_call> in the text before calls, where LLaMA-Factory would look for the calls"),
    ],
    ids=["weight", "order", "mark"],
)  # fmt: skip
def test_what_llamafactory_would_train_on_otherwise_is_left_out(
    conversation: Conversation, reason: str, tmp_path: Path
) -> None:
    pool = make_pool(tmp_path, [(conversation, {})])
    report = export_subset(pool, None, tmp_path / "out", "sharegpt")
    assert (report.rows, dict(report.reasons)) == (0, {reason: 1})


def test_turns_for_llamafactory(tmp_path: Path) -> None:
    call = {"id": "c1", "name": "f", "arguments": '{"a": "<tool_call>"}'}
    other = {"name": "g", "arguments": "{}"}
    rows = [
        Conversation([USER, {"role": "assistant", "content": "", "tool_calls": [other, other]}], ODD.tools),
        Conversation(
            [
                {"role": "system", "content": "S"},
                USER,
                {"role": "assistant", "content": "both", "reasoning_content": "r", "tool_calls": [call]},
                {"role": "tool", "content": "1"},
                {"role": "tool", "content": "2", "name": "g"},
                {"role": "assistant", "content": "x", "reasoning_content": "t"},
            ]
        ),
    ]
    pool = make_pool(tmp_path, [(row, {}) for row in rows])
    export_subset(pool, None, tmp_path / "out", "sharegpt")
    first, second = [json.loads(line) for line in (tmp_path / "out" / "subset.jsonl").read_text().splitlines()]
    assert [turn["value"] for turn in first["conversations"]] == [
        "q", '[{"name": "g", "arguments": {}}, {"name": "g", "arguments": {}}]'
    ]  # fmt: skip
    assert first["tools"] == ODD.tools and second["tools"] == "" and second["system"] == "S"
    assert [(turn["from"], turn["value"]) for turn in second["conversations"]] == [
        ("human", "q"),
        ("function_call", '<think>\nr\n</think>\n\nboth\n<tool_call>{"name": "f", "arguments": {"a": "\\u003ctool_call>"}}</tool_call>'),
        ("observation", "1\n</tool_response>\n<tool_response>\n2"),
        ("gpt", "<think>\nt\n</think>\n\nx"),
    ]  # fmt: skip
    assert [bool(turn["messages"]) for turn in second["conversations"]] == [False, True, True, True]
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())["subset"]
    assert info["columns"] == {"messages": "conversations", "system": "system", "tools": "tools"}


def test_axolotl_is_told_how_to_read_its_file(tmp_path: Path) -> None:
    bad = Conversation([USER, {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": "oops"}]}])
    good = Conversation(
        [
            USER,
            {"role": "assistant", "content": "w", "weight": 0},
            USER,
            {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": '{"a": 1}'}]},
        ],
        ODD.tools,
    )
    pool = make_pool(tmp_path, [(bad, {}), (good, {})])
    report = export_subset(pool, None, tmp_path / "out", "axolotl")
    assert dict(report.reasons) == {"with a call whose arguments are not JSON, at which Axolotl stops": 1}
    (entry,) = yaml.safe_load((tmp_path / "out" / "axolotl.yaml").read_text())["datasets"]
    (row,) = [json.loads(line) for line in Path(entry["path"]).read_text().splitlines()]
    assert (entry["type"], entry["ds_type"], entry["roles_to_train"]) == ("chat_template", "json", ["assistant"])
    answers = [turn for turn in row[entry["field_messages"]] if turn["role"] == "assistant"]
    assert [turn.get(entry["message_field_training"]) for turn in answers] == [0, None]
    assert answers[1]["tool_calls"][0]["function"]["arguments"] == '{"a": 1}'
    parameters = row[entry["field_tools"]][0]["function"]["parameters"]
    assert (
        isinstance(parameters, str)
        and json.loads(parameters) == json.loads(ODD.tools or "")[0]["function"]["parameters"]
    )


@pytest.mark.parametrize(
    ("text", "source", "row_id"), [("語" * 60, "s", "r"), ("q", "s" * 150, "r"), ("q", "s", "r" * 150)]
)
def test_the_file_s_beginning_is_measured_as_it_is_written_for_axolotl(
    text: str, source: str, row_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoselection.export.axolotl._HEAD_BYTES", 250)
    question = {"role": "user", "content": text}
    answers: list[dict[str, str]] = [{}, {"reasoning_content": "r"}]
    lines = [
        {"id": f"{row_id}{n}", "source": source, "messages": [question, {"role": "assistant", "content": "a", **more}]}
        for n, more in enumerate(answers)
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ingest([tmp_path / "in.jsonl"], tmp_path / "pool")
    export_subset(Pool.open(tmp_path / "pool"), None, tmp_path / "out", "axolotl")
    written = (tmp_path / "out" / "subset.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(written[1].encode()) > 250
    assert [json.loads(line)["id"] for line in written] == [f"{row_id}1", f"{row_id}0"]


def test_each_turn_for_llamafactory_has_the_same_keys_where_results_are_joined(tmp_path: Path) -> None:
    results: list[Any] = [{"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}]
    joined = Conversation([*answer().messages, *results, *answer().messages[1:]])
    pool = make_pool(tmp_path, [(answer(), {}), (joined, {})])
    assert pool.plain
    export_subset(pool, None, tmp_path / "out", "sharegpt")
    rows = [json.loads(line) for line in (tmp_path / "out" / "subset.jsonl").read_text().splitlines()]
    assert len(rows) == 2 and all(
        sorted(turn) == ["from", "messages", "value"] for row in rows for turn in row["conversations"]
    )


def test_rows_with_keys_of_their_own_stand_first_for_axolotl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoselection.export.axolotl._HEAD_BYTES", 150)
    bare = Conversation([USER, {"role": "assistant", "content": "a"}])
    thinks = Conversation([USER, {"role": "assistant", "content": "a", "reasoning_content": "r"}])
    pool = make_pool(tmp_path, [(bare, {}), (bare, {}), (thinks, {}), (thinks, {})])
    report = export_subset(pool, None, tmp_path / "out", "axolotl")
    written = [json.loads(line)["id"] for line in (tmp_path / "out" / "subset.jsonl").read_text().splitlines()]
    assert written == ["r2", "r0", "r1", "r3"] and report.remarks[0].startswith("1 rows stand before the others")


def test_weights_are_told_where_the_trainer_does_not_look_at_them(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, [(ODD, {})])
    card = DatasetCard(title="t", recipe={})
    assert "weight 0" in export_hf_dataset(pool, None, tmp_path / "hf", card).remarks[0]
    assert export_rows(pool, None, tmp_path / "out.jsonl").remarks == ()
    text = (tmp_path / "hf" / "README.md").read_text()
    assert "`tool_calls`" in text and "`weight: 0`" in text and "- `tools`: " in text


def test_turns_in_a_dataset_folder_have_their_own_keys_and_arguments_as_objects(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    pool = make_pool(tmp_path, [(ODD, {}), (HUGE, {})])
    export_hf_dataset(pool, None, tmp_path / "hf", DatasetCard(title="t", recipe={}))
    loaded = datasets.load_dataset(str(tmp_path / "hf"), cache_dir=str(tmp_path / "cache"))["train"]
    odd, huge = loaded[0], loaded[1]
    assert [sorted(turn) for turn in odd["messages"]] == [sorted(message) for message in ODD.messages]
    first, second = (call["function"]["arguments"] for call in odd["messages"][2]["tool_calls"])
    assert (first, second) == ({"zz": None, "b": {"c": None}, "n": 1e300}, "oops")
    assert huge["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"a": 18446744073709551616}'
    assert odd["tools"] == json.loads(ODD.tools or "") and huge["tools"] is None


CALL = {"from": "function_call", "value": '{"name": "f", "arguments": {"a": null}}'}
CALLS = {"from": "function_call", "value": '[{"name": "f", "arguments": {}}, {"name": "f", "arguments": {"a": 1}}]'}
OPENAI = {
    "messages": [
        {"role": "developer", "content": [{"type": "text", "text": "s"}]},
        {"role": "user", "content": "q", "name": "ann"},
        {
            "role": "assistant",
            "content": None,
            "weight": 0,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "5"},
        {"role": "assistant", "content": "x", "weight": 1, "reasoning_content": "r"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
}
SHAREGPT = {
    "conversations": [
        {"from": "human", "value": "q"},
        CALL,
        {"from": "observation", "value": "1"},
        CALLS,
        {"from": "observation", "value": ""},
        {"from": "gpt", "value": "<think>\nt\n</think>\n\nx"},
    ],
    "system": "s",
    "tools": '[{"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}]',
}


@pytest.mark.parametrize(
    ("rows", "layout"),
    [([OPENAI], "messages"), ([SHAREGPT], "sharegpt"), ([{**OPENAI, "tools": None}, OPENAI], "sharegpt")],
    ids=["openai", "sharegpt", "openai to sharegpt"],
)
@pytest.mark.parametrize("out", ["o.jsonl", "o.csv", "o.parquet", "o"])
def test_a_file_comes_back_as_the_pool_that_it_was(rows: list[Any], layout: Any, out: str, tmp_path: Path) -> None:
    """A form as others write it: into a pool, out in that form, and in again."""
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ingest([tmp_path / "in.jsonl"], tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    report = export_subset(pool, None, tmp_path / out, layout)
    left_out = layout == "sharegpt" and out == "o" and OPENAI in rows  # of weight 0
    assert report.rows == (0 if left_out else len(rows))
    if not left_out:
        ingest([tmp_path / out], tmp_path / "again")
        assert Pool.open(tmp_path / "again").conversations() == pool.conversations()


def test_sharegpt_turns_that_need_nothing_more_go_out_as_they_came(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"id": "1", **SHAREGPT}) + "\n")
    ingest([tmp_path / "in.jsonl"], tmp_path / "pool")
    export_subset(Pool.open(tmp_path / "pool"), None, tmp_path / "out", "sharegpt")
    (row,) = [json.loads(line) for line in (tmp_path / "out" / "subset.jsonl").read_text().splitlines()]
    assert row["conversations"] == SHAREGPT["conversations"] and row["system"] == "s"
    assert json.loads(row["tools"])[0]["function"] == json.loads(SHAREGPT["tools"])[0]


@pytest.mark.parametrize("name", [".", "axolotl.yaml", "subset.jsonl"])
def test_a_folder_for_axolotl_is_read_by_each_of_its_names(name: str, tmp_path: Path) -> None:
    row = Conversation(
        [USER, {"role": "assistant", "content": "w", "weight": 0}, *ODD.messages[:2], ODD.messages[-1]], ODD.tools
    )
    pool = make_pool(tmp_path, [(row, {})])
    export_subset(pool, None, tmp_path / "out", "axolotl")
    ingest([tmp_path / "out" / name], tmp_path / "again")
    again = Pool.open(tmp_path / "again")
    assert contents(again, [0]) == contents(pool, [0])


@pytest.mark.slow
def test_trl_tokenizes_an_exported_folder_as_the_template_writes_it(tmp_path: Path) -> None:
    datasets, trl, transformers = map(pytest.importorskip, ("datasets", "trl", "transformers"))
    import autoselection

    plain_row = Conversation([USER, {"role": "assistant", "content": "a"}])
    rows = [plain_row, ODD, Conversation(ODD.messages[:3], None)]
    # Names that TRL itself reads: of prompts and answers, other turns, tokens and masks, media.
    raw = [{"from": "human", "value": "raw"}, {"from": "gpt", "value": "turns"}]
    own = {"prompt": "raw", "completion": "raw", "conversations": raw, "labels": [1], "input_ids": [1], "images": ["a"]}
    pool = make_pool(tmp_path, [(row, {"tags": ["x"], "text": "raw", **own}) for row in rows])
    export_subset(pool, None, tmp_path / "hf")
    export_subset(pool, None, tmp_path / "rows.parquet")
    model = Path(autoselection.__file__).parent / "demo" / "data" / "model"
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    # Of those with tools one that takes arguments as they come: the odd row has some that are no object.
    template = Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja"
    tokenizer.chat_template = template.read_text(encoding="utf-8")
    network = transformers.AutoModelForCausalLM.from_pretrained(model)
    settings = trl.SFTConfig(
        output_dir=str(tmp_path / "run"), max_length=None, report_to="none", use_cpu=True, disable_tqdm=True
    )
    for file in ({"path": str(tmp_path / "hf")}, {"path": "parquet", "data_files": str(tmp_path / "rows.parquet")}):
        loaded = datasets.load_dataset(**file, cache_dir=str(tmp_path / "cache"))["train"]
        trainer = trl.SFTTrainer(model=network, processing_class=tokenizer, train_dataset=loaded, args=settings)
        for row, tokens in zip(rows, trainer.train_dataset["input_ids"], strict=True):
            messages = []
            for message in row.messages:
                written = openai_form(message)
                for call in written.get("tool_calls", ()):
                    if call["function"]["arguments"].startswith("{"):
                        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
                messages.append(written)
            tools = json.loads(row.tools) if row.tools else None
            assert list(tokens) == list(tokenizer.apply_chat_template(messages, tools=tools, return_dict=False))
