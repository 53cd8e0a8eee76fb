from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoselection import segmentation
from autoselection.language.chat import ConversationEncoder
from autoselection.signals.arrays import MinHashParams
from autoselection.signals.families.minhash import minhash_signatures, shingles
from autoselection.signals.families.text import count_model_tokens, count_tokens, ngram_entropy, words
from autoselection.signals.families.text_hash import text_hashes

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Add 2 + 3!"},
    {"role": "assistant", "content": "It's 5"},
]


@pytest.mark.parametrize(
    ("text", "n", "bits"),
    [
        ("a b c d", 1, 2.0),
        ("The the THE", 1, 0.0),
        ("a a b b", 1, 1.0),
        ("a a a b", 1, 0.8112781),  # −¾ log₂ ¾ − ¼ log₂ ¼
        ("a b a b", 2, 0.9182958),  # ab twice, ba once
        ("one", 1, 0.0),
        ("a < b > c", 1, math.log2(5)),
        ("a, b, c", 1, 1.9219281),  # of five, a comma twice
        ("कि की कु के को", 1, math.log2(5)),
        ("春眠不觉晓", 1, math.log2(5)),
        ("春眠春眠", 2, 0.9182958),
        ("กินกิน", 1, 1.0),
        ("?!…", 1, math.log2(3)),
        ("一二 ab < é", 1, math.log2(5)),
    ],
)
def test_entropy_by_hand(text: str, n: int, bits: float) -> None:
    assert ngram_entropy([text], n)[0] == pytest.approx(bits)


@pytest.mark.parametrize(("text", "n"), [("", 1), (" \n ", 1), ("\u200b\u2028", 1), ("one word", 3)])
def test_texts_with_too_few_words_have_no_entropy(text: str, n: int) -> None:
    assert np.isnan(ngram_entropy([text], n)[0])


@given(st.lists(st.text(alphabet="ab c,字é", max_size=60), min_size=1, max_size=5), st.integers(1, 4))
def test_entropy_is_the_formula(texts: list[str], n: int) -> None:
    for text, found in zip(texts, ngram_entropy(texts, n), strict=True):
        check_entropy(text, n, found)


def check_entropy(text: str, n: int, found: float) -> None:
    tokens = words(text)
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    if not grams:
        assert np.isnan(found)
        return
    shares = [count / len(grams) for count in Counter(grams).values()]
    assert found == pytest.approx(-sum(p * math.log2(p) for p in shares), abs=1e-5)


def test_entropy_of_many_texts_in_any_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join(f"w{j % (i + 1)}" for j in range(2 * i)) for i in range(40)]
    whole = ngram_entropy(texts, 2)
    monkeypatch.setattr(segmentation, "_BATCH_CHARACTERS", 200)
    np.testing.assert_array_equal(ngram_entropy(texts, 2), whole)


def test_tokens_counted_without_a_tokenizer() -> None:
    counts = count_tokens([CHAT, []])
    assert counts["n_prompt_tokens"].tolist() == [3 + 5, 0]  # Be brief . | Add 2 + 3 !
    assert counts["n_response_tokens"].tolist() == [4, 0]  # It ' s 5
    assert counts["n_tokens"].tolist() == [12, 0]
    chinese = [{"role": "user", "content": "你好吗？"}, {"role": "assistant", "content": "很好 😀"}]
    assert count_tokens([chinese])["n_tokens"].tolist() == [4 + 3]


def test_tokens_counted_by_the_model(tiny_tokenizer: Any) -> None:
    encoder = ConversationEncoder(tiny_tokenizer, max_length=1 << 30)
    counts, stats = count_model_tokens([CHAT], encoder)
    whole = tiny_tokenizer.apply_chat_template(CHAT, tokenize=False)
    assert counts["n_tokens"][0] == len(tiny_tokenizer(whole, add_special_tokens=False)["input_ids"])
    assert counts["n_response_tokens"][0] == len("It's 5") + 1
    assert counts["n_prompt_tokens"][0] == counts["n_tokens"][0] - counts["n_response_tokens"][0]
    assert stats == {"refused_by_template": 0}


def test_equal_hashes_are_equal_texts() -> None:
    same = text_hashes(["Hé\nyou", "He\u0301  \r\nyou\n", "\nHé\u2028you"])
    assert len(set(same.tolist())) == 1
    assert same.dtype == np.uint64
    others = ["1 + 2", "1 - 2", "1.5", "15", "", "a\n  b", "a\nb", "A\nb", "a b", "a  b", " a b"]
    assert len(set(text_hashes(others).tolist())) == len(others)


def test_shingles_of_short_texts() -> None:
    assert shingles("a b c d e f", 5) == ["a b c d e", "b c d e f"]
    assert shingles("Yes,  it IS", 5) == ["yes , it is"]
    assert shingles("Yes,  it IS", 4) == ["yes , it is"]
    assert shingles("你好吗", 2) == ["你 好", "好 吗"]
    assert shingles("", 5) == [""]


def test_signatures_estimate_jaccard_similarity() -> None:
    rng = np.random.default_rng(0)
    base = [f"w{i}" for i in rng.integers(0, 10_000, 300)]
    texts = [" ".join(base), " ".join(base[:200]), " ".join(f"v{i}" for i in range(300))]
    signatures = minhash_signatures(texts, MinHashParams(5, 512, 1))
    assert (signatures.shape, signatures.dtype) == ((3, 512), np.uint32)
    sets = [set(shingles(text, 5)) for text in texts]
    for other in (1, 2):
        jaccard = len(sets[0] & sets[other]) / len(sets[0] | sets[other])
        assert np.mean(signatures[0] == signatures[other]) == pytest.approx(jaccard, abs=0.08)


def test_signatures_are_the_same_in_any_batch_and_follow_the_seed() -> None:
    texts = [f"row {i} of some words that go on" for i in range(20)]
    params = MinHashParams(3, 32, 7)
    whole = minhash_signatures(texts, params)
    apart = np.concatenate([minhash_signatures([text], params) for text in texts])
    np.testing.assert_array_equal(whole, apart)
    assert (whole != minhash_signatures(texts, MinHashParams(3, 32, 8))).any()


@pytest.mark.parametrize("words", [4, 9, 30, 120, 400])
def test_a_signature_is_that_of_its_text_whatever_texts_stand_beside_it(words: int) -> None:
    rng = np.random.default_rng(words)
    text, *longer = (" ".join(map(str, rng.integers(10**6, size=size))) for size in (words, *[1000] * 110))
    (alone,) = minhash_signatures([text], MinHashParams())
    np.testing.assert_array_equal(alone, minhash_signatures([*longer, text], MinHashParams())[-1])
    np.testing.assert_array_equal(alone, minhash_signatures([text, "a b"], MinHashParams())[0])
