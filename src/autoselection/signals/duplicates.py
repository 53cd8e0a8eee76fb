"""What finds duplicates: a hash of the normalised text, and MinHash signatures of word n-grams.

Signatures are made by one-permutation hashing: one hash of a shingle names its place in the signature and its value, and
the lowest value of a place stays (Li, Owen & Zhang 2012). A place that no shingle fell into copies another, chosen by
that place's own fixed random order of places ("optimal densification", Shrivastava 2017), so that two signatures are
equal at any place with a probability that is the Jaccard similarity of the two sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from autoselection.signals.shingles import Shingles, digest, for_batches, mixed, normalise, shingles_of
from autoselection.signals.table import MinHashParams
from autoselection.signals.text import words

__all__ = ["minhash_signatures", "normalise", "shingles", "text_hashes"]

_EMPTY = np.uint32(0xFFFFFFFF)
#: While more than this share of the places is empty, all are filled at once.
_MANY = 0.1


def text_hashes(texts: Iterable[str]) -> NDArray[np.uint64]:
    """64-bit BLAKE2b hash of each normalised text (little-endian)."""
    digests = b"".join(map(digest, texts))
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def shingles(text: str, ngram_size: int) -> list[str]:
    """The lower-cased word n-grams of a text; a text with fewer words is one shingle, its normalised self.

    This defines what signatures and Jaccard similarities are computed from; ``signals.shingles`` hashes them at once.
    """
    tokens = words(text)
    if len(tokens) < ngram_size:
        return [normalise(text)]
    return [" ".join(tokens[i : i + ngram_size]) for i in range(len(tokens) - ngram_size + 1)]


def minhash_signatures(texts: Sequence[str], params: MinHashParams) -> NDArray[np.uint32]:
    """MinHash signatures, uint32[len(texts), num_perm].

    The share of equal entries of two signatures estimates the Jaccard similarity J of the two sets of shingles without
    bias. Its standard deviation is about that of as many independent permutations, √(J(1−J)/num_perm), and up to 1.8
    times that for sets of a few shingles, two of which may share a place.
    """
    result = np.empty((len(texts), params.num_perm), np.uint32)

    def work(rows: slice, batch: Sequence[str]) -> None:
        result[rows] = _signatures(shingles_of(batch, params.ngram_size), params.num_perm, params.seed)

    for _ in for_batches(texts, work):
        pass
    return result


def _signatures(sets: Shingles, places: int, seed: int) -> NDArray[np.uint32]:
    rows = len(sets.offsets) - 1
    # The hashes are mixed already: one multiplication makes another random order of them. Its upper half names the
    # place, its lower half is the value.
    hashes = sets.hashes ^ mixed(np.array([seed + 1], np.uint64))
    hashes *= np.uint64(0x9E3779B97F4A7C15)
    values = np.minimum(hashes.astype(np.uint32), _EMPTY - np.uint32(1))
    hashes >>= np.uint64(32)
    hashes *= np.uint64(places)
    hashes >>= np.uint64(32)
    where = hashes.view(np.int64)
    where += np.repeat(np.arange(rows, dtype=np.int64) * places, np.diff(sets.offsets))
    flat = np.full(rows * places, _EMPTY, np.uint32)
    np.minimum.at(flat, where, values)
    table = flat.reshape(rows, places)
    source = table.copy()
    turns = _turns(places, seed)
    taken = 0
    while taken < places and np.count_nonzero(empty := table == _EMPTY) > _MANY * flat.size:
        np.copyto(table, source.take(turns[taken], axis=1), where=empty)
        taken += 1
    # The few holes left are followed one by one.
    holes = np.flatnonzero(flat == _EMPTY)
    own = holes % places
    first = holes - own
    found = source.reshape(-1)
    for turn in turns[taken:]:
        if not len(holes):
            break
        value = found[first + turn[own]]
        filled = value != _EMPTY
        flat[holes[filled]] = value[filled]
        holes, own, first = holes[~filled], own[~filled], first[~filled]
    return table


@lru_cache(maxsize=8)
def _turns(places: int, seed: int) -> NDArray[np.int32]:
    """int32[places, places]: where each place (column) looks for a value in each turn (row): a random order of all."""
    rng = np.random.default_rng([seed, places])
    order: NDArray[np.int32] = np.argsort(rng.random((places, places)), axis=0).astype(np.int32)
    return order
