"""What finds duplicates: a hash of the normalised text, and MinHash signatures of word n-grams (``rensa``)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from autoselection.signals.table import MinHashParams
from autoselection.signals.text import words

#: Texts whose shingles are held in memory at once.
_BATCH = 2048


def normalise(text: str) -> str:
    """Lower-case, with every run of blanks as one space and none at the ends.

    Punctuation stays: without it ``1 + 2`` and ``1 - 2``, or ``1.5`` and ``15``, would be duplicates.
    """
    return " ".join(text.lower().split())


def text_hashes(texts: Iterable[str]) -> NDArray[np.uint64]:
    """64-bit BLAKE2b hash of each normalised text (little-endian)."""
    digests = b"".join(
        hashlib.blake2b(normalise(text).encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts
    )
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def shingles(text: str, ngram_size: int) -> list[str]:
    """The lower-cased word n-grams of a text; a text with fewer words is one shingle, its normalised self."""
    tokens = words(text)
    if len(tokens) < ngram_size:
        return [normalise(text)]
    return [" ".join(tokens[i : i + ngram_size]) for i in range(len(tokens) - ngram_size + 1)]


def minhash_signatures(texts: Sequence[str], params: MinHashParams) -> NDArray[np.uint32]:
    """MinHash signatures, uint32[len(texts), num_perm].

    The share of equal entries of two signatures estimates the Jaccard similarity of the two sets of shingles.
    """
    from rensa import RMinHash

    result = np.empty((len(texts), params.num_perm), np.uint32)
    for start in range(0, len(texts), _BATCH):
        batch = [shingles(text, params.ngram_size) for text in texts[start : start + _BATCH]]
        matrix = RMinHash.digest_matrix_from_token_sets(batch, params.num_perm, params.seed)
        result[start : start + _BATCH] = matrix.to_rows()
    return result
