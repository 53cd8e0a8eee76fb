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
