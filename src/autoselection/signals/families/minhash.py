"""MinHash signatures of n-grams of words and symbols, which find near duplicates.

Signatures are made by one-permutation hashing: one hash of a shingle names its place in the signature and its value, and
the lowest value of a place stays (Li, Owen & Zhang 2012). A place that no shingle fell into copies another, chosen by
that place's own fixed random order of places ("optimal densification", Shrivastava 2017), so that two signatures are
equal at any place with a probability that is the Jaccard similarity of the two sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from autoselection.hashing import mixed
from autoselection.schema import StrictModel
from autoselection.segmentation import for_batches, units
from autoselection.signals.arrays import MinHashParams
from autoselection.signals.contract import Loaded, Reads, Signal
from autoselection.signals.families import shingles as hashed
from autoselection.signals.families.shingles import Shingles, shingles_of
from autoselection.signals.stored import Shard, StoredSignal

_EMPTY = np.uint32(0xFFFFFFFF)
#: A value has 28 bits; those above say in which turn it was borrowed, 0 for a place's own, at most 14 (15 is _EMPTY).
_TURN_BITS, _VALUE_BITS, _LAST_TURN = 4, 28, 14
#: While more than this share of the places is empty, all are filled at once.
_MANY = 0.01


def shingles(text: str, ngram_size: int) -> list[str]:
    """The n-grams of a text's units; a text with fewer units is one shingle.

    This defines what signatures and Jaccard similarities are computed from; ``families.shingles`` hashes them at once.
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
    # The few holes left are followed one by one. Which turns are left for this depends on the texts beside a text, so that
    # a value says its own turn here too: a signature is that of its text alone.
    holes = np.flatnonzero(flat == _EMPTY)
    place, row = np.divmod(holes, rows)
    for number, turn in enumerate(turns[taken:], taken + 1):
        if not len(holes):
            break
        value = source[turn[place], row]
        filled = value != _EMPTY
        flat[holes[filled]] = value[filled] | np.uint32(min(number, _LAST_TURN) << _VALUE_BITS)
        holes, place, row = holes[~filled], place[~filled], row[~filled]
    return table


@lru_cache(maxsize=8)
def _turns(places: int, seed: int) -> NDArray[np.int64]:
    """int64[places, places]: where each place (column) looks for a value in each turn (row): a random order of all."""
    rng = np.random.default_rng([seed, places])
    return np.argsort(rng.random((places, places)), axis=0)


class MinHashOptions(StrictModel):
    """Options of ``minhash``."""

    ngram_size: int = Field(5, ge=1, description="Length of the n-grams (words and symbols).")
    num_perm: int = Field(128, ge=16, description="Length of a signature (numbers).")
    seed: int = Field(0, ge=0, description="Seed of the permutations.")


class MinHash(Signal):
    """MinHash signatures of n-grams of words and symbols."""

    name = "minhash"
    arrays = ("minhash",)
    version = 4
    options_model = MinHashOptions
    reads: Reads = "texts"

    @property
    def params(self) -> Mapping[str, Any]:
        return {**self.options.model_dump(), "shingles": hashed.VERSION}

    def compute(self, rows: Sequence[Any]) -> Shard:
        return Shard({"minhash": minhash_signatures(rows, MinHashParams(**self.options.model_dump()))})

    @classmethod
    def load(cls, stored: StoredSignal) -> Loaded:
        params = stored.meta["params"]
        made = MinHashParams(params["ngram_size"], params["num_perm"], params["seed"])
        return Loaded(arrays={"minhash": stored.arrays["minhash"], "minhash_params": made})


def signature_versions() -> dict[str, int]:
    """All versions that a signature depends on, for the keys of what makes signatures without the signal."""
    return {"minhash": MinHash.version, "shingles": hashed.VERSION}
