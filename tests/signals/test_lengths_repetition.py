from __future__ import annotations

import re
import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoselection.signals.families import repetition as module
from autoselection.signals.families.repetition import Repetition, repetition
from autoselection.signals.families.text import lengths


def chat(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


def test_lengths_by_hand() -> None:
    rows = [
        chat(
            ("system", "Be brief."),
            ("user", "Add 2 + 3!"),
            ("assistant", "It's 5"),
            ("user", "And?"),
            ("assistant", "6"),
        ),
        chat(("user", "你好"), ("assistant", "很好 谢谢")),
        [],
    ]
    found = lengths(rows)
    assert {name: column.tolist() for name, column in found.items()} == {
        "n_prompt_words": [6, 2, 0],
        "n_response_words": [4, 4, 0],
        "n_prompt_characters": [9 + 10 + 4, 2, 0],
        "n_response_characters": [6 + 1, 5, 0],
        "n_turns": [5, 2, 0],
    }
    assert all(column.dtype == np.float32 for column in found.values())


@given(st.lists(st.lists(st.tuples(st.sampled_from(["user", "assistant", "tool"]), st.text()), max_size=4), max_size=5))
def test_lengths_are_sums_over_the_turns(rows: list[list[tuple[str, str]]]) -> None:
    found = lengths([chat(*row) for row in rows])
    for i, row in enumerate(rows):
        for side, of_side in (("prompt", False), ("response", True)):
            texts = [text for role, text in row if (role == "assistant") == of_side]
            assert found[f"n_{side}_characters"][i] == sum(map(len, texts))
        assert found["n_turns"][i] == len(row)


def shares(text: str, n: int) -> float:
    """The definition, by a set."""
    text = " ".join(unicodedata.normalize("NFC", text.lower()).split())
    grams = [text[i : i + n] for i in range(len(text) - n + 1)]
    if not text:
        return float("nan")
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


# ``st.text()`` of all characters is slow to draw on a busy machine: the health check then fails the test.
TEXTS = st.text(alphabet="abA 好\n", max_size=60) | st.text(
    alphabet="aÀÅIıİßΣσς\u0301\u030a\u2028\t😀\U0010ffff", max_size=40
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(TEXTS, max_size=8), st.integers(1, 9))
def test_repetition_is_the_definition(texts: list[str], n: int) -> None:
    np.testing.assert_allclose(repetition(texts, n), [shares(text, n) for text in texts], atol=1e-6)


def test_blocks_do_not_change_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["abc " * n for n in range(12)]
    whole = repetition(texts)
    monkeypatch.setattr(module, "_BLOCK_CHARACTERS", 50)
    np.testing.assert_array_equal(repetition(texts), whole)
    monkeypatch.setattr(module, "_BLOCK_TEXTS", 1)
    np.testing.assert_array_equal(repetition(texts), whole)
    assert repetition([]).shape == (0,)


def test_repetition_does_not_depend_on_how_accents_are_typed() -> None:
    text = "tiếng Việt đẹp lắm và tiếng Việt đẹp lắm"
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
    assert repetition(forms)[0] == repetition(forms)[1] > 0.3


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("The quick brown fox jumps over the lazy dog while nobody is looking at it.", 0.0, 0.02),
        ("I am sorry, I cannot help. " * 30, 0.94, 1.0),
        ("春眠不觉晓处处闻啼鸟夜来风雨声花落知多少", 0.0, 0.0),  # no spaces, nothing twice
        ("我不知道该怎么办才好" * 30, 0.94, 1.0),
        ("哈" * 200, 0.99, 1.0),
        ("yes", 0.0, 0.0),
    ],
)
def test_repetition_knows_no_language(text: str, low: float, high: float) -> None:
    assert low <= repetition([text])[0] <= high


def test_only_the_response_counts_and_an_empty_one_is_missing() -> None:
    rows: list[Any] = [
        chat(("user", "la " * 99), ("assistant", "Something new.")),
        chat(("user", "q"), ("assistant", "What a fine day. "), ("user", "?"), ("assistant", "What a fine day. ")),
        chat(("user", "q"), ("assistant", " \n")),
        chat(("user", "q")),
    ]
    shard = Repetition().compute(rows)
    scores = shard.arrays["repetition"]
    assert scores[0] == 0
    assert scores[1] > 0.3  # a later turn repeats an earlier one
    assert np.isnan(scores[2:]).all()
    assert shard.stats == {"empty_response": 2}
    assert re.fullmatch(r"\w+", Repetition.name)
