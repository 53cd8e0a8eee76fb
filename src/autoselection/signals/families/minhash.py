"""What finds duplicates: a hash of the text, and MinHash signatures of n-grams of its words and symbols.

Signatures are made by one-permutation hashing: one hash of a shingle names its place in the signature and its value, and
the lowest value of a place stays (Li, Owen & Zhang 2012). A place that no shingle fell into copies another, chosen by
that place's own fixed random order of places ("optimal densification", Shrivastava 2017), so that two signatures are
equal at any place with a probability that is the Jaccard similarity of the two sets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from autoselection.segmentation import for_batches, same_text, units
from autoselection.signals.families.shingles import Shingles, mixed, shingles_of
from autoselection.signals.table import MinHashParams

_EMPTY = np.uint32(0xFFFFFFFF)
#: A value has 28 bits; those above say in which turn it was borrowed, 0 for a place's own, at most 14 (15 is _EMPTY).
_TURN_BITS, _VALUE_BITS, _LAST_TURN = 4, 28, 14
#: While more than this share of the places is empty, all are filled at once.
_MANY = 0.01


def text_hashes(texts: Iterable[str]) -> NDArray[np.uint64]:
    """64-bit BLAKE2b hash of each text (little-endian): equal for texts that are the same (``segmentation.same_text``)."""
    hashed = (hashlib.blake2b(same_text(text).encode("utf-8", "surrogatepass"), digest_size=8) for text in texts)
    return np.frombuffer(b"".join(found.digest() for found in hashed), dtype="<u8").astype(np.uint64)


def shingles(text: str, ngram_size: int) -> list[str]:
    """The n-grams of a text's units; a text with fewer units is one shingle.

    This defines what signatures and Jaccard similarities are computed from; ``signals.shingles`` hashes them at once.
    """
    found = units(text)
    return [" ".join(found[i : i + ngram_size]) for i in range(max(1, len(found) - ngram_size + 1))]


def minhash_signatures(texts: Sequence[str], params: MinHashParams) -> NDArray[np.uint32]:
    """MinHash signatures, uint32[len(texts), num_perm].

    The share of equal entries of two signatures estimates the Jaccard similarity J of the two sets of shingles without
    bias. Its standard deviation is about that of as many independent permutations, √(J(1−J)/num_perm), and up to 1.8
    times that for sets of a few shingles, two of which may share a place.
    """
    result = np.empty((len(texts), params.num_perm), np.uint32)

    def work(rows: slice, batch: Sequence[str]) -> None:
        result[rows] = _signatures(shingles_of(batch, params.ngram_size), params.num_perm, params.seed).T

    for _ in for_batches(texts, work):
        pass
    return result


def _signatures(sets: Shingles, places: int, seed: int) -> NDArray[np.uint32]:
    """uint32[places, rows]: place by place, so that a place copies another in one run of memory."""
    rows = len(sets.offsets) - 1
    # The hashes are mixed already: one multiplication makes another random order of them. Its upper half names the
    # place, its lower half is the value.
    hashes = sets.hashes ^ mixed(np.array([seed + 1], np.uint64))
    hashes *= np.uint64(0x9E3779B97F4A7C15)
    values = hashes.astype(np.uint32)
    values >>= np.uint32(_TURN_BITS)
    hashes >>= np.uint64(32)
    hashes *= np.uint64(places)
    hashes >>= np.uint64(32)
    hashes *= np.uint64(rows)
    where = hashes.view(np.int64)
    where += np.repeat(np.arange(rows), np.diff(sets.offsets))
    flat = np.full(rows * places, _EMPTY, np.uint32)
    np.minimum.at(flat, where, values)
    table = flat.reshape(places, rows)
    source = table.copy()
    turns = _turns(places, seed)
    borrowed = np.empty_like(table)
    taken = 0
    # A borrowed value carries the number of its turn above it: it is larger than those of earlier turns and smaller than
    # _EMPTY, so that the minimum is the first found.
    while taken < min(places, _LAST_TURN) and np.count_nonzero(table == _EMPTY) > _MANY * flat.size:
        source.take(turns[taken], axis=0, out=borrowed, mode="clip")
        taken += 1
        borrowed |= np.uint32(taken << _VALUE_BITS)
        np.minimum(table, borrowed, out=table)
    # The few holes left are followed one by one.
    holes = np.flatnonzero(flat == _EMPTY)
    place, row = np.divmod(holes, rows)
    for turn in turns[taken:]:
        if not len(holes):
            break
        value = source[turn[place], row]
        filled = value != _EMPTY
        flat[holes[filled]] = value[filled] | np.uint32(_LAST_TURN << _VALUE_BITS)
        holes, place, row = holes[~filled], place[~filled], row[~filled]
    return table


@lru_cache(maxsize=8)
def _turns(places: int, seed: int) -> NDArray[np.int64]:
    """int64[places, places]: where each place (column) looks for a value in each turn (row): a random order of all."""
    rng = np.random.default_rng([seed, places])
    return np.argsort(rng.random((places, places)), axis=0)
