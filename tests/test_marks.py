"""Whoever reads contents finds reasoning and calls by the same marks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autoselection.conversation import Conversation
from autoselection.language.chat import CALL, REASONING, ConversationEncoder
from autoselection.language.models import load_tokenizer
from autoselection.marks import CALL_TAGS, GLAIVE_CALL, MISTRAL_CALLS, closing_of
from autoselection.marks import REASONING as MARKS
from autoselection.signals.families.traces import CONTENTS, contents
from autoselection.tasks.answers.plain import visible

CALL_TEXT = json.dumps({"name": "find", "arguments": {}})


@pytest.fixture(scope="module")
def encoder(tiny_model_dir: Path) -> ConversationEncoder:
    return ConversationEncoder(load_tokenizer(tiny_model_dir), max_length=512)


def kinds_and_contents(encoder: ConversationEncoder, content: str) -> tuple[set[int], dict[str, float]]:
    row = Conversation([{"role": "user", "content": "Add 1 and 1."}, {"role": "assistant", "content": content}])
    return set(encoder.encode(row).kinds), dict(zip(CONTENTS, contents(row), strict=False))


@pytest.mark.parametrize("swapped", [False, True], ids=["as written", "in other letter case"])
@pytest.mark.parametrize("opening", MARKS)
def test_reasoning_is_reasoning_for_all(encoder: Any, opening: str, swapped: bool) -> None:
    closing = MARKS[opening]
    if swapped:
        opening, closing = opening.swapcase(), closing.swapcase()
    kinds, found = kinds_and_contents(encoder, f"{opening}\nOne and one.\n{closing}\nIt is 2.")
    assert REASONING in kinds and found["reasoning_share"] > 0
    assert visible(f"{opening}Is it 3?{closing}2").strip() == "2" and visible(f"{opening}Is it 3?") == ""
    assert closing_of(opening) == closing.lower()
    kinds, found = kinds_and_contents(encoder, f"It is 2, not {opening}.")
    assert REASONING not in kinds and found["reasoning_share"] == 0
    kinds, found = kinds_and_contents(encoder, f"{opening}\n{closing}\nIt is 2.")
    assert REASONING not in kinds


@pytest.mark.parametrize(
    "written",
    [
        *(f"<{name}>{CALL_TEXT}</{name}>" for name in CALL_TAGS),
        f"{GLAIVE_CALL} {CALL_TEXT} ",
        f"{GLAIVE_CALL}\n{CALL_TEXT}\n{GLAIVE_CALL.replace('<', '</')}",
        f"{MISTRAL_CALLS}[{CALL_TEXT}]",
    ],
)
def test_calls_are_calls_for_all(encoder: Any, written: str) -> None:
    kinds, found = kinds_and_contents(encoder, f"I look it up.\n{written}")
    assert CALL in kinds and found["n_calls"] == 1
    kinds, found = kinds_and_contents(encoder, "I look it up.")
    assert CALL not in kinds and found["n_calls"] == 0
