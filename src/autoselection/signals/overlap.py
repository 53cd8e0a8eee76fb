"""Contamination: how much of a benchmark item's text a row of the pool contains.

Texts are lower-cased and cut into words (runs of letters, digits and underscores) and arithmetic signs, so that
``1 + 2`` and ``1 - 2`` differ while other punctuation does not count. An item is known by its word n-grams: those of its
prompt, and those of prompt and answer together. N-grams that many items of a task share are its template and tell nothing
about an item; they are left out and counted.

N-grams are 64-bit polynomial hashes of word hashes, so that all n-grams of a batch of texts are a dozen passes over one
array; a filter of 2²⁴ bits throws out nearly all that no item has before any is looked up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autoselection.signals import shingles
from autoselection.tasks import TaskItem

WORD_PATTERN = r"\w+|[-+*/=<>^%×÷]"
MIN_WORDS = 5
"""Items of fewer words are not looked for: "What is 2 + 2" says nothing. Items from here to n words are one n-gram."""
TEMPLATE_ITEMS = 20
TEMPLATE_SHARE = 0.02
"""An n-gram in more than this many items, and in more than this share of a task's items of a split, is a template."""

STAT = "overlap with "
"""Prefix of the counts of rows that share an n-gram with a task's items, such as ``overlap with gsm8k/test``."""
ANY_STAT = "overlap with any item"

_FILTER_BITS = np.uint64(24)
_PAIRS = 8_000_000
"""Pairs of row and item text that are held at once."""

Hashes = NDArray[np.uint64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Words:
    """The words of texts as hashes: those of text i are ``hashes[starts[i]:starts[i + 1]]``."""

    hashes: Hashes
    starts: Ints


def words_of(texts: Sequence[str]) -> Words:
    """Cut texts into hashed words; the hashes hold within one process."""
    lists = pl.Series("text", list(texts), dtype=pl.String).str.to_lowercase().str.extract_all(WORD_PATTERN)
    counts = lists.list.len().to_numpy().astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(counts)])
    if starts[-1] == 0:
        return Words(np.zeros(0, np.uint64), starts)
    flat = lists.filter(lists.list.len() > 0).explode()
    return Words(flat.hash(seed=0).to_numpy().astype(np.uint64), starts)


def ngrams(words: Words, n: int) -> tuple[Hashes, Ints]:
    """Hashes of all n-grams of ``n`` words, and the text that each is from; shorter texts have none."""
    sizes = np.diff(words.starts)
    text = np.repeat(np.arange(len(sizes)), np.maximum(sizes - n + 1, 0))
    return shingles.ngrams(words.hashes, sizes, n), text


@dataclass(frozen=True, eq=False)
class ItemGrams:
    """The n-grams of all items.

    Attributes:
        n: words of an n-gram.
        grams: uint64[G], sorted and distinct.
        owners: scipy CSR matrix (G, T) of ones: which item texts hold an n-gram.
        sizes: int64[T], distinct n-grams of each item text.
        part: int64[T], index into ``parts``.
        parts: ``task/split`` of the items, sorted.
        lengths: n, and the shorter lengths of items that are one n-gram as a whole.
        stats: what was counted: ``items``, ``items_too_short``, ``template_ngrams``.
    """

    n: int
    grams: Hashes
    owners: Any
    sizes: Ints
    part: Ints
    parts: tuple[str, ...]
    lengths: tuple[int, ...]
    stats: Mapping[str, int]
    bits: NDArray[np.bool_]


def item_grams(items: Mapping[str, Sequence[TaskItem]], n: int = 13) -> ItemGrams:
    """Index the n-grams of benchmark items.

    Args:
        items: the items of each part, by a name such as ``gsm8k/test``.
    """
    from scipy.sparse import csr_matrix

    parts = tuple(sorted(items))
    texts: list[str] = []
    item: list[int] = []
    part_of_item: list[int] = []
    for code, name in enumerate(parts):
        for entry in items[name]:
            both = (entry.prompt, f"{entry.question()}\n{entry.reference()}")
            texts += [text.encode("utf-8", "replace").decode() for text in both]  # JSON may hold lone surrogates
            item += [len(part_of_item)] * 2
            part_of_item.append(code)
    words = words_of(texts)
    lengths = np.diff(words.starts)
    grams, owner = ngrams(words, n)
    short = np.unique(lengths[(lengths >= MIN_WORDS) & (lengths < n)])
    for length in short.tolist():
        found, text = ngrams(words, length)
        own = lengths[text] == length
        grams, owner = np.concatenate([grams, found[own]]), np.concatenate([owner, text[own]])
    distinct, code_of = np.unique(grams, return_inverse=True)
    matrix = csr_matrix(
        (np.ones(len(grams), np.int32), (code_of.reshape(-1), owner)), shape=(len(distinct), len(texts)), dtype=np.int32
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1
    item_of, part_of = np.asarray(item, np.int64), np.asarray(part_of_item, np.int64)
    template = _templates(matrix, item_of, part_of, len(parts))
    matrix, distinct = matrix[~template], distinct[~template]
    bits = np.zeros(1 << int(_FILTER_BITS), bool)
    bits[distinct >> (np.uint64(64) - _FILTER_BITS)] = True
    sizes = np.asarray(matrix.sum(axis=0), np.int64).reshape(-1)
    longest = np.maximum.reduceat(lengths, np.arange(0, len(lengths), 2)) if len(lengths) else lengths
    stats = {
        "items": len(part_of),
        "items_too_short": int(np.count_nonzero(longest < MIN_WORDS)),
        "template_ngrams": int(template.sum()),
    }
    return ItemGrams(n, distinct, matrix, sizes, part_of[item_of], parts, (*short.tolist(), n), stats, bits)


def _templates(matrix: Any, item: Ints, part: Ints, parts: int) -> NDArray[np.bool_]:
    """Which n-grams stand in so many items of one part that they are its template."""
    entries = matrix.tocoo()
    members = np.unique(np.stack([entries.row.astype(np.int64), item[entries.col]]), axis=1)
    counts = np.bincount(members[0] * parts + part[members[1]], minlength=matrix.shape[0] * parts)
    limit = np.maximum(TEMPLATE_ITEMS, TEMPLATE_SHARE * np.bincount(part, minlength=parts))
    return np.asarray((counts.reshape(-1, parts) > limit).any(axis=1))


def contamination(texts: Sequence[str], items: ItemGrams) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """How much of an item each text contains.

    Returns:
        float32[N]: the largest share of one item's n-grams that the text contains, over all items; 0 if none.
        bool[N, len(items.parts)]: whether it contains any n-gram of each part.
    """
    words = words_of(texts)
    hits: list[Ints] = []
    for length in items.lengths:
        grams, text = ngrams(words, length)
        likely = np.flatnonzero(items.bits[grams >> (np.uint64(64) - _FILTER_BITS)])
        grams, text = grams[likely], text[likely]
        place = np.minimum(np.searchsorted(items.grams, grams), max(0, len(items.grams) - 1))
        known = items.grams[place] == grams if len(items.grams) else np.zeros(len(grams), bool)
        hits.append(text[known] * len(items.grams) + place[known])
    pairs = np.unique(np.concatenate(hits))  # a text and an n-gram it contains, once
    shares = np.zeros(len(texts), np.float32)
    touched = np.zeros((len(texts), len(items.parts)), bool)
    if len(pairs) == 0:
        return shares, touched
    row, gram = pairs // len(items.grams), pairs % len(items.grams)
    held = np.cumsum(np.diff(items.owners.indptr)[gram])
    cut = np.searchsorted(held, np.arange(_PAIRS, held[-1], _PAIRS))
    starts = np.unique(np.concatenate([[0], np.searchsorted(row, row[cut])]))  # between texts
    for start, end in zip(starts, [*starts[1:], len(row)], strict=True):
        _share(row[start:end], gram[start:end], items, shares, touched)
    return shares, touched


def _share(row: Ints, gram: Ints, items: ItemGrams, shares: NDArray[np.float32], touched: NDArray[np.bool_]) -> None:
    """Count the n-grams that texts share with item texts, and note the largest shares."""
    indptr, counts = items.owners.indptr, np.diff(items.owners.indptr)[gram]
    ends = np.cumsum(counts)
    where = np.arange(ends[-1]) + np.repeat(indptr[gram] - (ends - counts), counts)
    owner = items.owners.indices[where].astype(np.int64)
    text = np.repeat(row, counts)
    touched[text, items.part[owner]] = True
    pairs, common = np.unique(text * len(items.sizes) + owner, return_counts=True)
    np.maximum.at(
        shares, pairs // len(items.sizes), (common / items.sizes[pairs % len(items.sizes)]).astype(np.float32)
    )


def contamination_cosine(rows: NDArray[Any], items: NDArray[Any], block: int = 8192) -> NDArray[np.float32]:
    """The highest cosine of each row's embedding with an item's, float32[N]; NaN for a row without an embedding.

    Args:
        rows: (N, d) unit vectors of the pool; rows of NaN have none.
        items: (M, d) unit vectors of the items, made by the same model; M >= 1.
    """
    towards = np.asarray(items, np.float32)
    towards = towards[~np.isnan(towards).any(axis=1)].T
    if towards.shape[1] == 0:
        return np.full(len(rows), np.nan, np.float32)
    highest = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), block):
        highest[start : start + block] = (np.asarray(rows[start : start + block], np.float32) @ towards).max(axis=1)
    return highest
