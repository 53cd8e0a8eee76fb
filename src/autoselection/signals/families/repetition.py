"""How much of a response repeats itself, in any language: the share of character n-grams seen before in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from autoselection.schema import StrictModel
from autoselection.segmentation import normalised
from autoselection.signals.contract import Signal, response_of
from autoselection.signals.stored import Shard

#: A text's letters are hashed, in this many bits, beside its number in the block.
_HASH_BITS = 44
#: Characters, and texts, hashed at once.
_BLOCK_CHARACTERS = 1 << 22
_BLOCK_TEXTS = 1 << (64 - _HASH_BITS)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def repetition(texts: Sequence[str], n: int = 8) -> NDArray[np.float32]:
    """Share of each text's character n-grams that occurred earlier in the same text: ``1 − distinct / all``.

    0 is a text without repetition, 1 the limit of one that repeats itself for ever. Letters are lower-cased and composed
    (NFC) and every run of blanks is one space; nothing else is known of the language, so texts without spaces are measured as others
    are. A text with fewer than ``n`` characters has no n-gram to repeat and scores 0, an empty (or blank) one NaN.

    With the default ``n``, prose of some hundred characters scores about 0.05, formulaic sums worked out step by step
    0.2 to 0.4, and output that loops nears 1.

    The n-grams are compared by 44-bit hashes: two different ones of a text of L characters are taken for the same
    with a chance below L²/2⁴⁵ in all (3·10⁻⁶ for 10,000 characters).
    """
    scores = np.zeros(len(texts), np.float32)
    for start, block in _blocks(texts):
        scores[start : start + len(block)] = _repeated(block, n)
    return scores


def _blocks(texts: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Normalised texts in groups that fit into memory, each with the number of its first text."""
    block: list[str] = []
    start = characters = 0
    for text in texts:
        block.append(" ".join(normalised(text).split()))
        characters += len(block[-1])
        if characters >= _BLOCK_CHARACTERS or len(block) == _BLOCK_TEXTS:
            yield start, block
            start, block, characters = start + len(block), [], 0
    if block:
        yield start, block


def _repeated(texts: Sequence[str], n: int) -> NDArray[np.float64]:
    lengths = np.asarray([len(text) for text in texts], np.int64)
    letters = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    grams = np.maximum(lengths - n + 1, 0)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    # Where each n-gram of each text begins in ``letters``, and whose it is.
    text = np.repeat(np.arange(len(texts), dtype=np.uint64), grams)
    offset = np.arange(int(grams.sum())) - np.repeat(np.cumsum(grams) - grams, grams)
    where = np.repeat(starts, grams) + offset
    hashes = np.zeros(len(where), np.uint64)
    for i in range(n):  # a polynomial in the letters, modulo 2⁶⁴; only its upper bits are well mixed
        hashes = hashes * _MULTIPLIER + letters[where + i] + np.uint64(1)
    hashes ^= hashes >> np.uint64(32)
    hashes *= _MULTIPLIER
    keys = (text << np.uint64(_HASH_BITS)) | (hashes >> np.uint64(64 - _HASH_BITS))
    keys.sort()
    first = np.ones(len(keys), bool)
    first[1:] = keys[1:] != keys[:-1]
    distinct = np.bincount((keys[first] >> np.uint64(_HASH_BITS)).astype(np.int64), minlength=len(texts))
    scores = 1.0 - distinct / np.maximum(grams, 1)
    scores[grams == 0] = 0.0
    scores[lengths == 0] = np.nan
    return scores


class RepetitionOptions(StrictModel):
    """Options of ``repetition``."""

    n: int = Field(8, ge=1, description="Length of the n-grams (characters).")


class Repetition(Signal):
    """Share of the response's character n-grams that repeat earlier ones."""

    name = "repetition"
    columns = ("repetition",)
    version = 2
    options_model = RepetitionOptions

    def compute(self, rows: Sequence[Any]) -> Shard:
        responses = [response_of(messages) for messages in rows]
        empty = sum(not response.strip() for response in responses)
        return Shard({"repetition": repetition(responses, self.options.n)}, {"empty_response": empty})
