"""The synthetic pool that all benchmarks share: deterministic, vectorised, about two seconds for a million rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

VOCABULARY = 20_000
_TABLE = 1 << 22
_ROWS = 100_000
_LETTERS = "etaoinshrdlcumwfgypbvkxjqz"


def vocabulary(size: int = VOCABULARY) -> list[str]:
    """Distinct words of letters; as in a language frequent words are short (mean length in a text about 5)."""
    ranks = np.arange(size, dtype=np.int64)
    widths = 2 + (np.log2(ranks + 1) / 2.5).astype(np.int64)
    words: list[str] = []
    for rank, width in zip(ranks.tolist(), widths.tolist(), strict=True):
        number = rank * 1_000_003 % 26**width  # a bijection among the words of this width
        words.append("".join(_LETTERS[number // 26**place % 26] for place in range(width)))
    return words


def word_ids(
    rows: int, words: int = 120, seed: int = 0, duplicates: float = 0.05, changed: float = 0.03
) -> NDArray[np.int32]:
    """int32[rows, words]: word numbers drawn from a Zipf law (exponent 1) over the vocabulary.

    A share ``duplicates`` of the rows, spread at random, are copies of other rows in which each word is drawn anew
    with probability ``changed``.
    """
    rng = np.random.default_rng(seed)
    chance = 1.0 / np.arange(1, VOCABULARY + 1)
    table = np.repeat(np.arange(VOCABULARY, dtype=np.int32), _counts(chance))
    ids = table[rng.integers(0, len(table), (rows, words), dtype=np.int32)]
    copies = int(rows * duplicates)
    order = rng.permutation(rows)
    targets, originals = order[:copies], order[copies:]
    if copies and len(originals):
        fresh = table[rng.integers(0, len(table), (copies, words), dtype=np.int32)]
        redrawn = rng.random((copies, words), dtype=np.float32) < changed
        ids[targets] = np.where(redrawn, fresh, ids[originals[rng.integers(0, len(originals), copies)]])
    return ids


def texts(rows: int, words: int = 120, seed: int = 0, duplicates: float = 0.05, changed: float = 0.03) -> list[str]:
    """``rows`` texts of ``words`` words each, as ``word_ids`` draws them."""
    ids = word_ids(rows, words, seed, duplicates, changed)
    names = pa.array(vocabulary())
    result: list[str] = []
    for start in range(0, rows, _ROWS):
        part = ids[start : start + _ROWS]
        offsets = pa.array(np.arange(0, part.size + 1, words, dtype=np.int32))
        lists = pa.ListArray.from_arrays(offsets, names.take(pa.array(part.reshape(-1))))
        result += pc.binary_join(lists, " ").to_pylist()
    return result


def _counts(chance: NDArray[np.float64]) -> NDArray[np.int64]:
    """How often each word stands in a table of about ``_TABLE`` entries: a draw from it follows the law."""
    return np.maximum(1, np.round(chance / chance.sum() * _TABLE)).astype(np.int64)
