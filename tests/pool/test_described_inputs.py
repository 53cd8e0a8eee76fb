"""Data sets that a file beside them describes: LLaMA-Factory's dataset_info.json and Axolotl's YAML."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.pool.conftest import ENCODERS
from tests.pool.dialect_examples import EXAMPLES

from autoselection.errors import PoolError
from autoselection.export import export_subset
from autoselection.pool import IngestConfig, Pool, ingest
from autoselection.pool.cached import cached_pool

Write = Callable[..., Path]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


CALL = [{"name": "area", "arguments": '{"w": 2}'}]
TOOLS = [{"type": "function", "function": {"name": "area", "description": "w times h"}}]
TRACE = [
    {"role": "system", "content": "Use a tool."},
    user("2 by 3?"),
    assistant("", tool_calls=CALL),
    {"role": "tool", "content": "6"},
    assistant("Six."),
]


def lf(folder: Path, sets: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]], suffix: str = "jsonl") -> Path:
    """A folder of LLaMA-Factory: name → (entry without file_name, rows)."""
    folder.mkdir()
    info = {}
    for name, (entry, rows) in sets.items():
        (folder / f"{name}.{suffix}").write_bytes(ENCODERS[suffix](rows))
        info[name] = {"file_name": f"{name}.{suffix}", **entry}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


def conversations(files: list[Path], out: Path, **config: Any) -> list[tuple[Any, Any]]:
    ingest(files, out, IngestConfig(**config), overwrite=True)
    found = Pool.open(out).conversations()
    return [(list(one.messages), None if one.tools is None else json.loads(one.tools)) for one in found]


LF_SETS: dict[str, tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]], Any]] = {
    "alpaca-columns": (
        {"columns": {"prompt": "Q", "query": "more", "response": "A", "history": "past", "system": "sys"}},
        {
            "Q": "And now?",
            "more": "Tell.",
            "A": "Now.",
            "past": [["Before?", "Then."]],
            "sys": "Be brief.",
            "output": "no",
        },
        [
            {"role": "system", "content": "Be brief."},
            user("Before?"),
            assistant("Then."),
            user("And now?\nTell."),
            assistant("Now."),
        ],
        None,
    ),
    "alpaca-default": ({}, {"instruction": "Q", "input": "", "output": "A"}, [user("Q"), assistant("A")], None),
    "sharegpt-tags": (
        {
            "formatting": "sharegpt",
            "columns": {"messages": "dialog", "system": "vorgabe", "tools": "werkzeuge"},
            "tags": {
                "role_tag": "wer",
                "content_tag": "was",
                "user_tag": "ich",
                "assistant_tag": "du",
                "observation_tag": "umwelt",
                "function_tag": "ruf",
                "system_tag": "regel",
            },
        },
        {
            "dialog": [
                {"wer": "ich", "was": "2 by 3?"},
                {"wer": "ruf", "was": '{"name": "area", "arguments": {"w": 2}}'},
                {"wer": "umwelt", "was": "6"},
                {"wer": "du", "was": "Six."},
            ],
            "vorgabe": "Use a tool.",
            "werkzeuge": '[{"name": "area", "description": "w times h"}]',
        },
        TRACE,
        TOOLS,
    ),
    "sharegpt-default": (
        {"formatting": "sharegpt"},
        {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}], "system": "S"},
        [{"role": "system", "content": "S"}, user("Q"), assistant("A")],
        None,
    ),
    "sharegpt-swapped": (  # the one who asks is called as others call the model
        {
            "formatting": "sharegpt",
            "columns": {"messages": "conversations"},
            "tags": {"user_tag": "gpt", "assistant_tag": "human"},
        },
        {"conversations": [{"from": "gpt", "value": "Q"}, {"from": "human", "value": "A"}]},
        [user("Q"), assistant("A")],
        None,
    ),
    "openai": (
        {
            "formatting": "openai",
            "columns": {"messages": "messages", "tools": "tools"},
            "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
        },
        {
            "messages": [
                {"role": "system", "content": "Use a tool."},
                {"role": "user", "content": "2 by 3?"},
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [{"type": "function", "function": {"name": "area", "arguments": '{"w": 2}'}}],
                },
                {"role": "tool", "content": "6"},
                {"role": "assistant", "content": "Six."},
            ],
            "tools": json.dumps(TOOLS),
        },
        TRACE,
        TOOLS,
    ),
    "unnamed-columns-are-no-text": (
        {"formatting": "sharegpt", "columns": {"messages": "conversations"}},
        {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}], "system": "S"},
        [user("Q"), assistant("A")],
        None,
    ),
}


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "json"])
@pytest.mark.parametrize("name", LF_SETS)
def test_columns_and_tags_of_llamafactory_are_honoured(name: str, suffix: str, tmp_path: Path) -> None:
    entry, row, messages, tools = LF_SETS[name]
    folder = lf(tmp_path / "lf", {"it": (entry, [row])}, suffix)
    for named in (folder, folder / "dataset_info.json"):
        assert conversations([named], tmp_path / "pool") == [(messages, tools)]


def test_several_data_sets_of_a_folder_are_named_by_split(tmp_path: Path) -> None:
    sets = {name: (entry, [row]) for name, (entry, row, _, _) in LF_SETS.items()}
    folder = lf(tmp_path / "lf", sets)
    with pytest.raises(PoolError, match="several splits: name one of alpaca-columns, alpaca-default"):
        ingest([folder], tmp_path / "pool")
    for name, (_, _, messages, tools) in LF_SETS.items():
        assert conversations([folder], tmp_path / "pool", split=name) == [(messages, tools)]
    both = conversations([folder], tmp_path / "pool", split="openai, alpaca-columns")
    assert both == [(TRACE, TOOLS), (LF_SETS["alpaca-columns"][2], None)]
    assert set(Pool.open(tmp_path / "pool").sources()) == {"openai", "alpaca-columns"}
    with pytest.raises(PoolError, match="no split 'none'"):
        ingest([folder], tmp_path / "other", IngestConfig(split="openai,none"))


def test_own_columns_of_a_described_data_set_stay(tmp_path: Path) -> None:
    entry, row, _, _ = LF_SETS["alpaca-columns"]
    folder = lf(tmp_path / "lf", {"it": (entry, [{**row, "topic": 3}])})
    ingest([folder], tmp_path / "pool")
    assert Pool.open(tmp_path / "pool").metas() == [{"topic": 3, "output": "no"}]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"formatting": "alpacka"}, "the formatting 'alpacka' is unknown"),
        ({"columns": {"promt": "Q"}}, "'columns' has the unknown key 'promt'"),
        ({"tags": {"role": "Q"}, "formatting": "sharegpt"}, "'tags' has the unknown key 'role'"),
        ({"columns": ["Q"]}, "'columns' must map names to names"),
        ({"file_name": "gone.json"}, r"gone\.json, which does not exist"),
        ({"file_name": None, "hf_hub_url": "a/b"}, "names no data set with a 'file_name'"),
    ],
)
def test_what_llamafactorys_list_gets_wrong_is_said(entry: dict[str, Any], said: str, tmp_path: Path) -> None:
    folder = lf(tmp_path / "lf", {"it": (entry, [{"Q": "q"}])})
    with pytest.raises(PoolError, match=said) as caught:
        ingest([folder], tmp_path / "pool")
    assert "dataset_info.json" in str(caught.value)


def test_a_data_set_of_a_hub_is_not_fetched(tmp_path: Path) -> None:
    folder = lf(tmp_path / "lf", {"it": ({}, [{"instruction": "Q", "output": "A"}])})
    info = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps({**info, "far": {"hf_hub_url": "a/b"}}))
    with pytest.raises(PoolError, match=r"'far' is not in a file here \(hf_hub_url\): nothing is fetched"):
        ingest([folder], tmp_path / "pool", IngestConfig(split="far"))


def test_bad_rows_of_a_described_data_set_name_its_own_fields(tmp_path: Path) -> None:
    entry, row, _, _ = LF_SETS["sharegpt-tags"]
    rows = [
        row,
        {**row, "dialog": [{"was": "no role"}]},
        {**row, "dialog": None},
        {**row, "dialog": [{"wer": "ich", "was": 3}]},
    ]
    report = ingest([lf(tmp_path / "lf", {"it": (entry, rows)})], tmp_path / "pool")
    assert [bad.line for bad in report.bad] == [2, 3, 4]
    assert "field 'wer'" in report.bad[0].reason
    assert [bad.field for bad in report.bad] == ["dialog[0].wer", "dialog", "dialog[0].content"]
    assert all("'dialog'" in bad.reason for bad in report.bad)


def test_bad_texts_of_a_described_data_set_name_its_own_fields(write: Write, tmp_path: Path) -> None:
    columns = {"prompt": "Frage", "response": "Antwort", "system": "Vorgabe"}
    texts = [
        {"Frage": "q", "Antwort": "a"},
        {"Frage": "q", "Antwort": None},
        {"Frage": "q", "Antwort": "a", "Vorgabe": 5},
    ]
    report = ingest([lf(tmp_path / "lf", {"it": ({"columns": columns}, texts)})], tmp_path / "pool")
    assert [(bad.reason, bad.field) for bad in report.bad] == [
        ("field 'Antwort' is missing or empty", "Antwort"), ("field 'Vorgabe' must be a string, not a number", "Vorgabe")
    ]  # fmt: skip
    turns = [{"from": "system", "value": "t"}, {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    chats = [{"dialog": turns}, {"dialog": turns, "Vorgabe": "s"}]
    entry = {"formatting": "sharegpt", "columns": {"messages": "dialog", "system": "Vorgabe"}}
    report = ingest([lf(tmp_path / "chats", {"it": (entry, chats)})], tmp_path / "pool", overwrite=True)
    assert [bad.field for bad in report.bad] == ["Vorgabe"] and "'Vorgabe'" in report.bad[0].reason
    file = write("chat.jsonl", chats)
    told = axolotl(
        tmp_path, {"path": str(file), "type": "chat_template", "field_messages": "dialog", "field_system": "Vorgabe",
                          "message_property_mappings": {"role": "from", "content": "value"}}
    )  # fmt: skip
    report = ingest([told], tmp_path / "pool", overwrite=True)
    assert [bad.field for bad in report.bad] == ["Vorgabe"] and "'Vorgabe'" in report.bad[0].reason
    asked = {"field_instruction": "Frage", "field_output": "Antwort", "field_system": "Vorgabe"}
    told = axolotl(tmp_path, {"path": str(write("texts.jsonl", texts)), "type": asked})
    report = ingest([told], tmp_path / "pool", overwrite=True)
    assert [bad.field for bad in report.bad] == ["Antwort", "Vorgabe"]


def axolotl(folder: Path, *entries: dict[str, Any], **more: Any) -> Path:
    path = folder / "axolotl.yml"
    path.write_text(yaml.safe_dump({"base_model": "m", "datasets": list(entries), **more}))
    return path


TURNS = [
    {"from": "system", "value": "S"},
    {"from": "human", "value": "Q"},
    {"from": "model", "value": "A", "learn": False},
    {"from": "human", "value": "R"},
    {"from": "model", "value": "B", "learn": True},
]
CHAT = {
    "path": "chat.jsonl",
    "type": "chat_template",
    "field_messages": "talk",
    "message_property_mappings": {"role": "from", "content": "value"},
    "roles": {"assistant": ["model"], "user": ["human"]},
}
S = {"role": "system", "content": "S"}


@pytest.mark.parametrize(
    ("more", "messages"),
    [
        ({}, [S, user("Q"), assistant("A"), user("R"), assistant("B")]),
        ({"roles_to_train": ["model"]}, [S, user("Q"), assistant("A"), user("R"), assistant("B")]),
        ({"message_field_training": "learn"}, [S, user("Q"), assistant("A", weight=0), user("R"), assistant("B")]),
        (
            {"message_field_training": "learn", "roles_to_train": []},
            [S, user("Q"), assistant("A", weight=0), user("R"), assistant("B")],
        ),
        ({"drop_system_message": True}, [user("Q"), assistant("A"), user("R"), assistant("B")]),
        (
            {"train_on_eos": "last", "chat_template": "chatml"},
            [S, user("Q"), assistant("A"), user("R"), assistant("B")],
        ),
    ],
)
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_axolotls_chat_templates_are_read_as_described(
    more: dict[str, Any], messages: list[Any], suffix: str, write: Write, tmp_path: Path
) -> None:
    write(f"chat.{suffix}", [{"talk": TURNS}])
    path = axolotl(tmp_path, {**CHAT, "path": f"chat.{suffix}", **more})
    assert conversations([path], tmp_path / "pool") == [(messages, None)]


@pytest.mark.parametrize(
    ("trained", "weights"),
    [(None, [1, 0, 1]), (["gpt"], [0, 0, 1]), (["function_call"], [1, 0, 0]), (["gpt", "function_call"], [1, 0, 1])],
)
def test_calls_are_trained_as_the_entry_says(trained: Any, weights: list[int], write: Write, tmp_path: Path) -> None:
    call = '{"name": "area", "arguments": {"w": 2}}'
    turns = [
        {"from": "human", "value": "2 by 3?"},
        {"from": "function_call", "value": call},
        {"from": "observation", "value": "6"},
        {"from": "function_call", "value": call, "learn": 0},
        {"from": "observation", "value": "6"},
        {"from": "gpt", "value": "Six."},
    ]
    write("chat.jsonl", [{"conversations": turns}])
    more = {} if trained is None else {"roles_to_train": trained}
    entry = {"path": "chat.jsonl", "type": "chat_template", "field_messages": "conversations"}
    mapping = {"message_property_mappings": {"role": "from", "content": "value"}}
    path = axolotl(tmp_path, {**entry, **mapping, **more, "message_field_training": "learn"})
    ((messages, _),) = conversations([path], tmp_path / "pool")
    answers = [message for message in messages if message["role"] == "assistant"]
    assert [message.get("weight", 1) for message in answers] == weights
    assert [len(message.get("tool_calls", ())) for message in answers] == [1, 1, 0]


def test_only_some_turns_are_trained_where_the_field_alone_says_it(write: Write, tmp_path: Path) -> None:
    turns = [{key: value for key, value in turn.items() if key != "learn"} for turn in TURNS[:3]] + TURNS[3:]
    write("chat.jsonl", [{"talk": turns}])
    path = axolotl(tmp_path, {**CHAT, "message_field_training": "learn", "roles_to_train": []})
    assert conversations([path], tmp_path / "pool")[0][0][2] == assistant("A", weight=0)
    write("none.jsonl", [{"talk": turns}, {"talk": turns[:3]}])
    path = axolotl(tmp_path, {**CHAT, "path": "none.jsonl", "message_field_training": "learn", "roles_to_train": []})
    assert ingest([path], tmp_path / "none").skipped == 1


def test_axolotls_tools_reasoning_and_instructions(write: Write, tmp_path: Path) -> None:
    write(
        "tools.jsonl",
        [
            {
                "messages": [
                    user("2 by 3?"),
                    {"role": "assistant", "content": "", "thoughts": "Hm.", "tool_calls": [{"function": CALL[0]}]},
                    {"role": "tool", "content": "6"},
                    assistant("Six."),
                ],
                "defs": TOOLS,
            }
        ],
    )
    write("faq.json", [{"Frage": "Q", "Antwort": "A"}])
    write("think.jsonl", [{"messages": [user("q"), assistant("<think>\nhm\n</think>\n\na")]}])
    path = axolotl(
        tmp_path,
        {"path": "tools.jsonl", "type": "chat_template", "field_tools": "defs", "field_thinking": "thoughts"},
        {
            "path": "json",
            "data_files": ["faq.json"],
            "type": {
                "field_instruction": "Frage",
                "field_output": "Antwort",
                "system_prompt": "Kurz.",
                "format": "[I] {instruction}",
            },
        },
        {"path": "think.jsonl", "type": "chat_template", "split_thinking": True},
    )
    found = conversations([path], tmp_path / "pool")
    assert found == [
        (
            [
                user("2 by 3?"),
                assistant("", reasoning_content="Hm.", tool_calls=CALL),
                {"role": "tool", "content": "6"},
                assistant("Six."),
            ],
            TOOLS,
        ),
        ([{"role": "system", "content": "Kurz."}, user("Q"), assistant("A")], None),
        ([user("q"), assistant("a", reasoning_content="hm")], None),
    ]
    report = ingest([path], tmp_path / "again")
    assert any("'format' has no part in the rows" in note for note in report.notes)


@pytest.mark.parametrize(
    ("entry", "more", "said"),
    [
        ({"path": "org/name", "type": "chat_template"}, {}, "nothing is fetched; download it and name the copy"),
        ({"path": "chat.jsonl"}, {}, "must say its 'type'"),
        ({"path": "chat.jsonl", "type": "completion"}, {}, "holds text for pre-training"),
        ({"path": "chat.jsonl", "type": "chatml.intel"}, {}, "holds preference pairs"),
        ({"path": "chat.jsonl", "type": "input_output"}, {}, "segments without roles"),
        ({"path": "chat.jsonl", "type": "chat_template", "roles_to_train": ["user"]}, {}, "no turn of an assistant would be trained"),
        ({"path": "chat.jsonl", "type": "chat_template", "roles_to_train": []}, {}, "'message_field_training'"),
        ({"path": "chat.jsonl", "type": "chat_template", "split": "train[:5%]"}, {}, "cut by a recipe"),
        ({"path": "chat.jsonl", "type": "chat_template"}, {"rl": "dpo"}, "training on preferences"),
        ({"type": "chat_template"}, {}, "must have a 'path'"),
    ],
)  # fmt: skip
def test_what_an_axolotl_file_cannot_give_is_said(
    entry: dict[str, Any], more: dict[str, Any], said: str, write: Write, tmp_path: Path
) -> None:
    write("chat.jsonl", [{"messages": TURNS}])
    path = axolotl(tmp_path, entry, **more)
    with pytest.raises(PoolError, match=said) as caught:
        ingest([path], tmp_path / "pool")
    assert "axolotl.yml" in str(caught.value)


def test_a_split_is_that_of_a_folder_or_refused(write: Write, tmp_path: Path) -> None:
    write("chat.jsonl", [{"messages": [user("q"), assistant("a")]}])
    path = axolotl(tmp_path, {"path": "chat.jsonl", "type": "chat_template"})
    with pytest.raises(PoolError, match=r"--split test .* leave it out"):
        ingest([path], tmp_path / "pool", IngestConfig(split="test"))
    folder = tmp_path / "hub" / "data"
    folder.mkdir(parents=True)
    for name in ("train", "test"):
        (folder / f"{name}-00000-of-00001.parquet").write_bytes(
            ENCODERS["parquet"]([{"messages": [user(name), assistant("a")]}])
        )
    path = axolotl(tmp_path, {"path": "hub", "type": "chat_template", "split": "train"})
    assert conversations([path], tmp_path / "pool")[0][0][0] == user("train")
    assert conversations([path], tmp_path / "pool", split="test")[0][0][0] == user("test")


def test_a_loss_on_parts_of_a_turn_is_a_bad_row(write: Write, tmp_path: Path) -> None:
    part = [user("q"), assistant("a b", detail=[{"begin_offset": 0, "end_offset": 1, "train": True}])]
    write("chat.jsonl", [{"messages": [user("q"), assistant("a")]}, {"messages": part}])
    path = axolotl(tmp_path, {"path": "chat.jsonl", "type": "chat_template", "message_field_training_detail": "detail"})
    report = ingest([path], tmp_path / "pool")
    assert report.rows == 1 and "a loss on parts of a turn" in report.bad[0].reason


def test_other_yaml_files_and_trainings_of_llamafactory(tmp_path: Path) -> None:
    folder = lf(
        tmp_path / "data",
        {"a": ({}, [{"instruction": "Q", "output": "A"}]), "b": ({}, [{"instruction": "Q", "output": "B"}])},
    )
    (tmp_path / "train.yaml").write_text(f"dataset: a,b\ndataset_dir: {folder.name}\n")
    assert [messages[1]["content"] for messages, _ in conversations([tmp_path / "train.yaml"], tmp_path / "pool")] == [
        "A",
        "B",
    ]
    (tmp_path / "study.yaml").write_text("pool: {files: [a.jsonl]}\n")
    with pytest.raises(PoolError, match="without a list 'datasets'"):
        ingest([tmp_path / "study.yaml"], tmp_path / "other")


def test_a_described_file_that_changes_is_read_again(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOSELECTION_CACHE", str(tmp_path / "cache"))
    write("chat.jsonl", [{"talk": TURNS}])
    path = axolotl(tmp_path, CHAT)
    assert len(cached_pool([path])[0]) == 1
    write("chat.jsonl", [{"talk": TURNS}, {"talk": TURNS}])
    pool, report = cached_pool([path])
    assert len(pool) == 2 and report is not None and cached_pool([path])[1] is None


RANKED = {
    "alpaca": (
        {"ranking": True, "columns": {"prompt": "Q", "chosen": "good", "rejected": "bad"}},
        {"Q": "2+2?", "good": "4", "bad": "5"},
    ),
    "sharegpt": (
        {"ranking": True, "formatting": "sharegpt"},
        {
            "conversations": [{"from": "human", "value": "2+2?"}],
            "chosen": {"from": "gpt", "value": "4"},
            "rejected": {"from": "gpt", "value": "5"},
        },
    ),
    "sharegpt-tags": (
        {
            "ranking": True,
            "formatting": "sharegpt",
            "columns": {"messages": "talk", "chosen": "good", "rejected": "bad"},
            "tags": {"role_tag": "who", "content_tag": "what", "assistant_tag": "it"},
        },
        {
            "talk": [{"who": "human", "what": "2+2?"}],
            "good": {"who": "it", "what": "4"},
            "bad": {"who": "it", "what": "5"},
        },
    ),
}


@pytest.mark.parametrize("name", RANKED)
def test_ranked_data_sets_are_preference_pairs(name: str, tmp_path: Path) -> None:
    entry, row = RANKED[name]
    folder = lf(tmp_path / "lf", {"it": (entry, [row])})
    with pytest.raises(PoolError, match=r"preference pairs.*--from preference:chosen"):
        ingest([folder], tmp_path / "pool")
    found = conversations([folder], tmp_path / "pool", **{"from": "preference:chosen"})
    assert found == [([user("2+2?"), assistant("4")], None)]
    (meta,) = Pool.open(tmp_path / "pool").metas()
    assert len(meta) == 1  # the worse answer stays a column


def test_unwanted_answers_and_media_are_told_by_the_columns_that_the_list_names(tmp_path: Path) -> None:
    rows = [{"Q": "2+2?", "A": "4", "ok": True}, {"Q": "2+3?", "A": "4", "ok": False}]
    kto = lf(tmp_path / "kto", {"it": ({"columns": {"prompt": "Q", "response": "A", "kto_tag": "ok"}}, rows)})
    report = ingest([kto], tmp_path / "pool")
    assert (report.rows, report.skipped) == (1, 1) and report.bad[0].kind.startswith("unpaired preferences")
    pictures = [{"Q": "What is this?", "A": "A cat.", "views": ["x"]}, {"Q": "2+2?", "A": "4", "views": []}]
    seen = lf(tmp_path / "seen", {"it": ({"columns": {"prompt": "Q", "response": "A", "images": "views"}}, pictures)})
    report = ingest([seen], tmp_path / "other")
    assert (report.rows, report.skipped) == (1, 1) and report.bad[0].kind == "rows with an image"


@pytest.mark.parametrize("moved", [False, True])
def test_a_folder_written_for_axolotl_is_read_back_as_the_same_conversations(
    moved: bool, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [example.row for example in EXAMPLES.values()]
    weighted = [user("q"), assistant("a", weight=0), user("r"), assistant("b", reasoning_content="hm")]
    files = [write(f"{number}.jsonl", [row]) for number, row in enumerate([*rows, {"messages": weighted}])]
    ingest(files, tmp_path / "pool")
    monkeypatch.chdir(tmp_path)
    export_subset(Pool.open(tmp_path / "pool"), None, Path("out"), "axolotl")
    folder = tmp_path / "out"
    if moved:
        folder = folder.rename(tmp_path / "elsewhere")
        monkeypatch.chdir("/")
    ingest([folder], tmp_path / "back")
    pool, back = (Pool.open(tmp_path / name).conversations() for name in ("pool", "back"))
    assert sorted(map(repr, back)) == sorted(map(repr, pool))
