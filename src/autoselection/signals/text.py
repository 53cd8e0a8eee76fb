"""What needs nothing but the text: token counts, n-gram entropy, lengths."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autoselection.chat import ConversationEncoder, Message

#: Tokens without a model's tokenizer: every run of letters, digits and underscores, and every other visible character.
TOKEN_PATTERN = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The lower-cased words of a text: runs of letters, digits and underscores, in order."""
    return _WORD.findall(text.lower())


def ngram_entropy(texts: Iterable[str], n: int = 1) -> NDArray[np.float32]:
    """Shannon entropy, in bits, of each text's distribution of lower-cased word n-grams.

    ``H = −Σ_g p(g) log2 p(g)`` with ``p(g)`` the share of n-gram g among the text's n-grams. A text with fewer than n
    words has no distribution: NaN.
    """
    return np.asarray([_entropy(words(text), n) for text in texts], np.float32)


def _entropy(tokens: Sequence[str], n: int) -> float:
    total = len(tokens) - n + 1
    if total < 1:
        return math.nan
    grams: Iterable[object] = tokens if n == 1 else zip(*(tokens[i:] for i in range(n)), strict=False)
    spread = sum(count * math.log2(count) for count in Counter(grams).values() if count > 1)
    return max(0.0, math.log2(total) - spread / total)


def count_tokens(conversations: Iterable[Sequence[Message]]) -> dict[str, NDArray[np.float32]]:
    """Token counts without a tokenizer (``TOKEN_PATTERN``): contents only, no chat template.

    Returns:
        ``n_tokens``, ``n_prompt_tokens``, ``n_response_tokens`` (all assistant turns); the first is the sum.
    """
    prompt: list[int] = []
    response: list[int] = []
    for messages in conversations:
        counts = [0, 0]
        for message in messages:
            counts[message["role"] == "assistant"] += len(TOKEN_PATTERN.findall(message["content"]))
        prompt.append(counts[0])
        response.append(counts[1])
    return _columns(np.asarray(prompt, np.float32), np.asarray(response, np.float32))


def count_model_tokens(
    conversations: Sequence[Sequence[Message]], encoder: ConversationEncoder
) -> tuple[dict[str, NDArray[np.float32]], dict[str, int]]:
    """Token counts of the rendered conversations, untruncated if the encoder's maximum length is large enough.

    Response tokens are those of the encoder's trained turns, end marks included; all others, the template's
    scaffolding among them, are prompt tokens. Rows that the template refuses are NaN and counted.
    """
    prompt = np.full(len(conversations), np.nan, np.float32)
    response = prompt.copy()
    refused = 0
    for i, encoded in enumerate(encoder.encode_batch(conversations)):
        if encoded is None:
            refused += 1
            continue
        response[i] = sum(encoded.response)
        prompt[i] = len(encoded.input_ids) - response[i]
    return _columns(prompt, response), {"refused_by_template": refused}


def lengths(conversations: Sequence[Sequence[Message]]) -> dict[str, NDArray[np.float32]]:
    """Words, characters and turns of each conversation.

    The response is all assistant turns, the prompt all others. Characters are Unicode code points. Words are runs of
    letters, digits, marks and underscores (``\\w+``), which is of little meaning for scripts without spaces: use the
    characters there.

    Returns:
        ``n_prompt_words``, ``n_response_words``, ``n_prompt_characters``, ``n_response_characters``, ``n_turns``.
    """
    turns = np.asarray([len(messages) for messages in conversations], np.int64)
    flat = [message for messages in conversations for message in messages]
    contents = pl.Series([message["content"] for message in flat], dtype=pl.String)
    # Each turn belongs to an entry: the prompt of its row (even numbers) or its response (odd).
    answers = np.asarray([message["role"] == "assistant" for message in flat], np.int64)
    entry = 2 * np.repeat(np.arange(len(turns)), turns) + answers
    columns: dict[str, NDArray[np.float32]] = {}
    for unit, counts in (("words", contents.str.count_matches(r"\w+")), ("characters", contents.str.len_chars())):
        sums = np.bincount(entry, weights=counts.to_numpy(), minlength=2 * len(turns)).astype(np.float32)
        columns |= {f"n_prompt_{unit}": sums[::2], f"n_response_{unit}": sums[1::2]}
    return {**columns, "n_turns": turns.astype(np.float32)}


def _columns(prompt: NDArray[np.float32], response: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    return {"n_tokens": prompt + response, "n_prompt_tokens": prompt, "n_response_tokens": response}
