from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoselection.chat import ConversationEncoder
from autoselection.signals.duplicates import minhash_signatures, normalise, shingles, text_hashes
from autoselection.signals.table import MinHashParams
from autoselection.signals.text import count_model_tokens, count_tokens, ngram_entropy, words

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
    ],
)
def test_entropy_by_hand(text: str, n: int, bits: float) -> None:
    assert ngram_entropy([text], n)[0] == pytest.approx(bits)


@pytest.mark.parametrize(("text", "n"), [("", 1), (" \n ", 1), ("?!…", 1), ("one word", 3)])
def test_texts_with_too_few_words_have_no_entropy(text: str, n: int) -> None:
    assert np.isnan(ngram_entropy([text], n)[0])


@given(st.text(alphabet="ab c,", max_size=60), st.integers(1, 4))
def test_entropy_is_the_formula(text: str, n: int) -> None:
    tokens = words(text)
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    found = ngram_entropy([text], n)[0]
    if not grams:
        assert np.isnan(found)
        return
    shares = [count / len(grams) for count in Counter(grams).values()]
    assert found == pytest.approx(-sum(p * math.log2(p) for p in shares), abs=1e-5)


def test_tokens_counted_by_pattern() -> None:
    counts = count_tokens([CHAT, []])
    assert counts["n_prompt_tokens"].tolist() == [3 + 5, 0]  # Be brief . | Add 2 + 3 !
    assert counts["n_response_tokens"].tolist() == [4, 0]  # It ' s 5
    assert counts["n_tokens"].tolist() == [12, 0]


def test_tokens_counted_by_the_model(tiny_tokenizer: Any) -> None:
    encoder = ConversationEncoder(tiny_tokenizer, max_length=1 << 30)
    counts, stats = count_model_tokens([CHAT], encoder)
    whole = tiny_tokenizer.apply_chat_template(CHAT, tokenize=False)
    assert counts["n_tokens"][0] == len(tiny_tokenizer(whole, add_special_tokens=False)["input_ids"])
    assert counts["n_response_tokens"][0] == len("It's 5") + 1
    assert counts["n_prompt_tokens"][0] == counts["n_tokens"][0] - counts["n_response_tokens"][0]
    assert stats == {"refused_by_template": 0}


def test_hash_sees_through_case_and_blanks_but_not_punctuation() -> None:
    same = text_hashes(["Hello  World", " hello\nworld\t", "HELLO WORLD"])
    assert len(set(same.tolist())) == 1
    assert len(set(text_hashes(["1 + 2", "1 - 2", "1.5", "15", ""]).tolist())) == 5
    assert same.dtype == np.uint64
    assert normalise(" A\u2028 b ") == "a b"


def test_shingles_of_short_texts() -> None:
    assert shingles("a b c d e f", 5) == ["a b c d e", "b c d e f"]
    assert shingles("Yes,  it IS", 5) == ["yes, it is"]
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
