from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoselection.errors import PoolError
from autoselection.pool import IngestConfig, Pool, ingest
from autoselection.pool.special_tokens import KNOWN_SPECIAL_TOKENS, SpecialTokenScanner

Write = Callable[..., Path]
ROWS = [
    {"prompt": "a<|im_end|>b<|im_end|>", "completion": "c<|endoftext|>"},
    {"prompt": "q", "completion": "clean"},
    {"prompt": "q", "completion": "<custom>x"},
]


def test_special_tokens_are_kept_as_text_and_counted(write: Write, tmp_path: Path) -> None:
    report = ingest([write("rows.jsonl", ROWS)], tmp_path / "pool", tokenizer_special_tokens=["<custom>", "", " "])
    assert report.special_tokens == {"<|im_end|>": 2, "<custom>": 1, "<|endoftext|>": 1}
    assert report.special_token_rows == 2
    pool = Pool.open(tmp_path / "pool")
    assert pool.texts()[0] == "a<|im_end|>b<|im_end|>\nc<|endoftext|>"
    assert pool.manifest.special_tokens.counts == report.special_tokens
    assert pool.manifest.special_tokens.handling == "keep"


def test_special_tokens_are_stripped(write: Write, tmp_path: Path) -> None:
    rows = [*ROWS, {"prompt": "q", "completion": "</s>"}, {"prompt": "q", "completion": "a", "system": "<|system|>"}]
    report = ingest([write("rows.jsonl", rows)], tmp_path / "pool", IngestConfig(special_tokens="strip"), ["<custom>"])
    assert Pool.open(tmp_path / "pool").texts() == ["ab\nc", "q\nclean", "q\nx", "q\na"]
    assert [(bad.line, bad.reason) for bad in report.bad] == [(4, "a turn (assistant) has no text but special tokens")]


def test_rows_with_special_tokens_are_refused(write: Write, tmp_path: Path) -> None:
    path = write("rows.jsonl", ROWS)
    report = ingest([path], tmp_path / "pool", IngestConfig(special_tokens="refuse"))
    assert (report.rows, [bad.line for bad in report.bad]) == (2, [1])
    assert "special token '<|endoftext|>'" in report.bad[0].reason
    with pytest.raises(PoolError, match=r"rows\.jsonl:1: the text has the special token"):
        ingest([path], tmp_path / "other", IngestConfig(special_tokens="refuse", on_bad_row="refuse"))


def test_own_list_replaces_the_known_one(write: Write, tmp_path: Path) -> None:
    config = IngestConfig(special_token_list=("clean",))
    assert ingest([write("rows.jsonl", ROWS)], tmp_path / "pool", config).special_tokens == {"clean": 1}


def test_no_tokens_to_look_for(write: Write, tmp_path: Path) -> None:
    config = IngestConfig(special_token_list=(), special_tokens="strip")
    assert ingest([write("rows.jsonl", ROWS)], tmp_path / "pool", config).special_tokens == {}


def test_stripping_does_not_join_the_rest_to_a_token() -> None:
    assert SpecialTokenScanner(["<|im_end|>"]).remove("<|im_<|im_end|>end|>") == ""


def test_the_longer_of_two_tokens_counts() -> None:
    assert SpecialTokenScanner(["<|a", "<|a|>"]).count(["x<|a|>"]) == {"<|a|>": 1}


@given(
    st.lists(st.sampled_from(["<|im_", "<|im_end|>", "end|>", "<s>", "</", "s>", "[IN", "ST]", "é", " "])).map("".join)
)
def test_stripped_text_has_no_token_left(text: str) -> None:
    stripped = SpecialTokenScanner(KNOWN_SPECIAL_TOKENS).remove(text)
    assert not any(token in stripped for token in KNOWN_SPECIAL_TOKENS)


def test_tokens_are_found_wherever_a_template_may_write_them(write: Write, tmp_path: Path) -> None:
    turn = {
        "role": "assistant",
        "content": "",
        "reasoning_content": "r<think_end>",
        "tool_calls": [{"id": "c<id>", "name": "f<name>", "arguments": {"k<key>": ["v<value>", 1]}}],
    }
    result = {"role": "tool", "content": "", "tool_call_id": "c<id>", "name": "f<name>"}
    row = {"messages": [{"role": "user", "content": "q"}, turn, result], "tools": [{"name": "f<tool>"}]}
    tokens = ("<think_end>", "<id>", "<name>", "<key>", "<value>", "<tool>")
    path = write(
        "rows.jsonl", [row, {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}]
    )
    report = ingest([path], tmp_path / "kept", IngestConfig(special_token_list=tokens))
    assert report.special_tokens == dict.fromkeys(tokens, 1) | {"<id>": 2, "<name>": 2}
    refused = ingest([path], tmp_path / "refused", IngestConfig(special_token_list=tokens, special_tokens="refuse"))
    assert (refused.rows, refused.skipped) == (1, 1)
    ingest([path], tmp_path / "stripped", IngestConfig(special_token_list=tokens, special_tokens="strip"))
    stripped = Pool.open(tmp_path / "stripped").conversations()[0]
    assert stripped.messages[1:] == [
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "r",
            "tool_calls": [{"id": "c", "name": "f", "arguments": '{"k": ["v", 1]}'}],
        },
        {"role": "tool", "content": "", "tool_call_id": "c", "name": "f"},
    ]
    assert stripped.tools == '[{"type": "function", "function": {"name": "f"}}]'


def test_what_was_nothing_but_tokens_is_gone_or_a_bad_row(write: Write, tmp_path: Path) -> None:
    asked = {"role": "user", "content": "q"}
    call = {"name": "f", "arguments": "no JSON </s>"}
    rows = [
        [
            asked,
            {"role": "assistant", "content": "</s>", "tool_calls": [call], "reasoning_content": "</s>", "name": "</s>"},
        ],
        [asked, {"role": "assistant", "content": "a", "reasoning_content": "</s> "}],
        [asked, {"role": "assistant", "content": "a", "tool_calls": [{"name": "</s>"}]}],
        [asked, {"role": "assistant", "content": "</s>", "reasoning_content": " </s>"}],
        [asked, {"role": "assistant", "content": "", "reasoning_content": "</s>"}],
        [asked, {"role": "assistant", "content": "a", "tool_calls": [{"name": "f", "arguments": '{"b":1}</s>'}]}],
    ]
    path = write("rows.jsonl", [{"messages": messages} for messages in rows])
    report = ingest([path], tmp_path / "pool", IngestConfig(special_tokens="strip"))
    assert Pool.open(tmp_path / "pool").messages() == [
        [asked, {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": "no JSON "}]}],
        [asked, {"role": "assistant", "content": "a"}],
        [asked, {"role": "assistant", "content": "a", "tool_calls": [{"name": "f", "arguments": '{"b": 1}'}]}],
    ]
    assert [(bad.line, bad.reason) for bad in report.bad] == [
        (3, "the name of a call is nothing but special tokens"),
        (4, "a turn (assistant) has no text but special tokens"),
        (5, "a turn (assistant) has no text but special tokens"),
    ]


def test_stripping_leaves_arguments_json(write: Write, tmp_path: Path) -> None:
    call = {"name": "f", "arguments": {"list": [1], "text": "x[1]"}}
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    config = IngestConfig(special_tokens="strip", special_token_list=("[1]",))
    ingest([write("rows.jsonl", [{"messages": turns}])], tmp_path / "pool", config)
    (stripped,) = Pool.open(tmp_path / "pool").messages()[0][1]["tool_calls"]
    assert stripped["arguments"] == '{"list": [1], "text": "x"}'
