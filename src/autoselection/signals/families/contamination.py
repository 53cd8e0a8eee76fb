"""Contamination: how much of a benchmark item's text a row of the pool contains.

Texts are cut as ``autoselection.segmentation`` says; punctuation that only sets off sentences and words is left out, while
operators and other symbols count, so that ``1 + 2`` and ``1 - 2`` differ. What delimits mathematics (dollar signs, and
backslashes before brackets) is left out, too: one text sets a formula this way, another that way or not at all. An item is
known by its n-grams of n words: those of its prompt, and those of question and answer together; shorter texts are one n-gram
as a whole. Where a script does not separate words, characters make up an n-gram: one and a half for a word in Chinese and
Japanese, three in Thai, Lao, Khmer, Burmese and the like.

Text that stands in many items of a task is its template. N-grams tell something about an item by what they hold besides;
those that hold less of it than others of the same text are left out and counted.

N-grams are 64-bit polynomial hashes of the units' hashes, so that all n-grams of a batch of texts are a dozen passes over
one array; a filter by their upper bits throws out nearly all that no item has before any is looked up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from autoselection.schema import StrictModel
from autoselection.segmentation import CHARACTER, CLUSTER, PUNCTUATION, for_batches
from autoselection.signals.contract import Reads, Rows, Signal
from autoselection.signals.families import shingles
from autoselection.signals.families.near_duplicates import distinct as distinct_of
from autoselection.signals.needs import BENCHMARK_ITEMS
from autoselection.signals.stored import Shard
from autoselection.tasks import TaskItem

MIN_WORDS = 5
"""Texts of fewer words are not looked for: "What is 2 + 2" says nothing. Texts from here to n words are one n-gram."""
TEMPLATE_SHARE, TEMPLATE_ITEMS = 0.25, 20
"""Text in at least two items and this share of a task's items, or in more than so many, is a template …"""
TEMPLATE_LARGE = 0.02
"""… but never text in at most this share of the items."""

STAT = "overlap with "
"""Prefix of the counts of rows that share an n-gram with a task's items, such as ``overlap with gsm8k/test``."""
ANY_STAT = "overlap with any item"

_WORD = 6
"""Weight of a word; characters of scripts without spaces are parts of one."""
_WEIGHTS = np.full(256, _WORD, np.uint8)
_WEIGHTS[[CHARACTER, CLUSTER]] = 4, 2
#: Signs around formulas: dollars, escaped or not, and the backslashes of ``\( … \)`` and ``\[ … \]``.
_DELIMITERS = re.compile(r"\\(?=[()\[\]$])|\$")
_FILTER_BITS = 24
"""At most so many upper bits of the hashes are in the filter, which then has 2²⁴ entries."""
_PAIRS = 8_000_000
"""Pairs of row and item text that are held at once."""

Hashes = NDArray[np.uint64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Words:
    """The units of texts that count: hashes, how many each text has, and their weights (None: all are whole words)."""

    hashes: Hashes
    counts: Ints
    weights: NDArray[np.uint8] | None

    def upto(self) -> Ints:
        """int64[units + 1]: the weight of all units before each place."""
        if self.weights is None:
            return np.arange(len(self.hashes) + 1) * _WORD
        return np.append(0, np.cumsum(self.weights, dtype=np.int64))


@dataclass(frozen=True)
class Windows:
    """N-grams: their hashes, the text each is from, and which of all units it holds (``first`` to before ``end``)."""

    hashes: Hashes
    text: Ints
    first: Ints
    end: Ints

    def __getitem__(self, which: Any) -> Windows:
        return Windows(self.hashes[which], self.text[which], self.first[which], self.end[which])


def words_of(texts: Sequence[str]) -> Words:
    """Cut texts into hashed units without the punctuation of sentences and without what delimits mathematics."""
    found = shingles.units_of([_without_delimiters(text) for text in texts], with_kinds=True)
    assert found.kinds is not None
    kept = found.kinds != PUNCTUATION
    counts = np.diff(np.append(0, np.cumsum(kept))[np.append(0, np.cumsum(found.counts))])
    weights = _WEIGHTS[found.kinds[kept]]
    return Words(found.hashes[kept], counts, weights if (weights != _WORD).any() else None)


def _without_delimiters(text: str) -> str:
    return _DELIMITERS.sub(" ", text) if "$" in text or "\\" in text else text


def windows(words: Words, n: int) -> Windows:
    """All n-grams of ``n`` words: of the fewest units from each place on that weigh so much, within one text."""
    ends = np.cumsum(words.counts)
    if words.weights is None:
        return _of_length(words, n)
    upto = words.upto()
    first = np.arange(len(words.hashes))
    end = np.searchsorted(upto, upto[:-1] + n * _WORD)
    text = np.repeat(np.arange(len(words.counts)), words.counts)
    inside = end <= ends[text]
    first, end, text = first[inside], end[inside], text[inside]
    return Windows(shingles.spans(words.hashes, first, end), text, first, end)


def _of_length(words: Words, units: int) -> Windows:
    """All runs of so many units within one text."""
    windows = np.maximum(words.counts - units + 1, 0)
    text = np.repeat(np.arange(len(windows)), windows)
    before = np.cumsum(words.counts) - words.counts - (np.cumsum(windows) - windows)
    first = np.arange(len(text)) + np.repeat(before, windows)
    return Windows(shingles.ngrams(words.hashes, words.counts, units), text, first, first + units)


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
        lengths: the lengths, in units, of item texts that are one n-gram as a whole.
        stats: what was counted: ``items``; ``items_too_short`` and ``items_of_template_only``, which cannot be looked for;
            ``template_ngrams``, left out.
        bits: bool[a power of two], a filter by the upper bits of ``grams``.
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
    every = [(code, entry) for code, name in enumerate(parts) for entry in items[name]]
    part = np.asarray([code for code, _ in every], np.int64)
    # Three texts an item: two to look for, and the question, which the second of them begins with.
    texts = [t for _, e in every for t in (e.prompt, f"{e.question()}\n{e.reference()}", e.question())]
    words = words_of([text.encode("utf-8", "replace").decode() for text in texts])  # JSON may hold lone surrogates
    starts = np.append(0, np.cumsum(words.counts))
    question = np.unique(shingles.whole(words.hashes, words.counts)[2::3], return_inverse=True)[1].reshape(-1)
    template = _template(words, question, _groups(every, parts))
    own = np.append(0, np.cumsum(~template))  # units that are no template, before each place
    upto = words.upto()
    weight = np.diff(upto[starts])

    looked_for = np.arange(len(texts)) % 3 < 2
    long = windows(words, n)
    long = long[looked_for[long.text]]
    short = np.flatnonzero(looked_for & (weight < n * _WORD) & (weight >= MIN_WORDS * _WORD))
    whole = Windows(
        shingles.spans(words.hashes, starts[short], starts[short + 1]), short, starts[short], starts[short + 1]
    )
    found = Windows(*(np.concatenate(pair) for pair in zip(vars(long).values(), vars(whole).values(), strict=True)))
    # What an n-gram holds besides the template; what all of a text's hold the most of is needed.
    held = np.minimum(_between(upto, template, found), n * _WORD)
    most = np.zeros(len(texts), np.int64)
    np.maximum.at(most, found.text, held)
    # An item whose question is nothing but template is not known by its answer alone.
    empty = (own[starts[1:]] == own[starts[:-1]]) & (words.counts > 0)
    telling = (held == most[found.text]) & (held > 0) & ~empty[found.text // 3 * 3 + 2]
    left_out = len(np.setdiff1d(found.hashes[~telling], found.hashes[telling]))
    possible = np.bincount(found.text // 3, minlength=len(every)) > 0
    found = found[telling]
    known = np.bincount(found.text // 3, minlength=len(every)) > 0

    column = found.text // 3 * 2 + found.text % 3
    distinct, code_of = np.unique(found.hashes, return_inverse=True)
    matrix = csr_matrix(
        (np.ones(len(column), np.int32), (code_of.reshape(-1), column)),
        shape=(len(distinct), 2 * len(every)),
        dtype=np.int32,
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1
    bits = np.zeros(1 << min(_FILTER_BITS, (64 * len(distinct)).bit_length() + 1), bool)
    bits[distinct >> _shift(bits)] = True
    sizes = np.asarray(matrix.sum(axis=0), np.int64).reshape(-1)
    lengths = np.unique(words.counts[found.text[weight[found.text] < n * _WORD]])
    stats = {
        "items": len(every),
        "items_too_short": int(np.count_nonzero(~possible)),
        "items_of_template_only": int(np.count_nonzero(possible & ~known)),
        "template_ngrams": left_out,
    }
    return ItemGrams(n, distinct, matrix, sizes, np.repeat(part, 2), parts, tuple(lengths.tolist()), stats, bits)


def _shift(bits: NDArray[np.bool_]) -> np.uint64:
    """By how much a hash is shifted to name an entry of the filter."""
    return np.uint64(65 - len(bits).bit_length())


def _between(upto: Ints, template: NDArray[np.bool_], grams: Windows) -> Ints:
    """The weight of the units of each n-gram that are no template."""
    own = np.append(0, np.cumsum(np.where(template, 0, np.diff(upto))))
    return np.asarray(own[grams.end] - own[grams.first], np.int64)


def _groups(every: Sequence[tuple[int, TaskItem]], parts: Sequence[str]) -> list[Ints]:
    """By what items may share a template: their part, their task, and their subtask within it; a code an item each."""
    tasks = [parts[code].rsplit("/", 1)[0] for code, _ in every]
    names = [[str(code) for code, _ in every], tasks]
    names.append([f"{task}/{entry.subtask or ''}" for task, (_, entry) in zip(tasks, every, strict=True)])
    return [np.unique(np.asarray(found, str), return_inverse=True)[1].reshape(-1) for found in names]


def _template(words: Words, question: Ints, groups: Sequence[Ints]) -> NDArray[np.bool_]:
    """Which units lie in runs of ``MIN_WORDS`` words that many different questions of a group of items share."""
    runs = windows(words, MIN_WORDS)
    code = np.unique(runs.hashes, return_inverse=True)[1].reshape(-1)
    item = runs.text // 3
    shared = np.zeros(int(code.max(initial=-1)) + 1, bool)
    for group in groups:
        width, questions = int(group.max(initial=0)) + 1, int(question.max(initial=0)) + 1
        asked = distinct_of(group * questions + question) // questions
        times = np.bincount(asked, minlength=width)
        many = np.maximum(
            np.maximum(2, np.minimum(np.ceil(TEMPLATE_SHARE * times), TEMPLATE_ITEMS + 1)),
            np.floor(TEMPLATE_LARGE * times) + 1,
        )
        held = distinct_of((code * width + group[item]) * questions + question[item]) // questions
        first = np.flatnonzero(np.append(True, held[1:] != held[:-1])[: len(held)])
        count, pair = np.diff(np.append(first, len(held))), held[first]
        shared[pair[count >= many[pair % width]] // width] = True
    inside = shared[code]
    depth = np.bincount(runs.first[inside], minlength=len(words.hashes) + 1)
    depth -= np.bincount(runs.end[inside], minlength=len(words.hashes) + 1)
    return np.asarray(np.cumsum(depth)[:-1] > 0)


def contamination(texts: Sequence[str], items: ItemGrams) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """How much of an item each text contains.

    Returns:
        float32[N]: the largest share of one item's n-grams that the text contains, over all items; 0 if none.
        bool[N, len(items.parts)]: whether it contains any n-gram of each part.
    """
    hits: list[tuple[Ints, Ints]] = list(for_batches(texts, lambda rows, batch: _hits(rows, batch, items)))
    shares = np.zeros(len(texts), np.float32)
    touched = np.zeros((len(texts), len(items.parts)), bool)
    row = np.concatenate([found[0] for found in hits]) if hits else np.zeros(0, np.int64)
    gram = np.concatenate([found[1] for found in hits]) if hits else row
    if len(row) == 0:
        return shares, touched
    held = np.cumsum(np.diff(items.owners.indptr)[gram])
    cut = np.searchsorted(held, np.arange(_PAIRS, held[-1], _PAIRS))
    starts = np.unique(np.concatenate([[0], np.searchsorted(row, row[cut])]))  # between texts
    for start, end in zip(starts, [*starts[1:], len(row)], strict=True):
        _share(row[start:end], gram[start:end], items, shares, touched)
    return shares, touched


def _hits(rows: slice, batch: Sequence[str], items: ItemGrams) -> tuple[Ints, Ints]:
    """The items' n-grams that a batch of rows contains, each once a row, in the order of the rows."""
    words = words_of(batch)
    pairs: list[Ints] = []
    for grams in (windows(words, items.n), *(_of_length(words, length) for length in items.lengths)):
        likely = np.flatnonzero(items.bits[grams.hashes >> _shift(items.bits)])
        hashes, text = grams.hashes[likely], grams.text[likely]
        place = np.minimum(np.searchsorted(items.grams, hashes), max(0, len(items.grams) - 1))
        known = items.grams[place] == hashes if len(items.grams) else np.zeros(len(hashes), bool)
        pairs.append(text[known] * len(items.grams) + place[known])
    found = np.unique(np.concatenate(pairs))
    if len(found) == 0:
        return found, found
    return found // len(items.grams) + rows.start, found % len(items.grams)


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


class ContaminationOptions(StrictModel):
    """Options of ``contamination``."""

    n: int = Field(
        13,
        ge=5,
        le=50,
        description="Length of the n-grams by which rows are compared with dev and test items (words; in scripts without "
        "spaces 1.5 characters in Chinese and Japanese or 3 in Thai and the like stand for one).",
    )


class Contamination(Signal):
    """How much of a benchmark item's text each row contains."""

    name = "contamination"
    columns = ("contamination",)
    version = 3
    options_model = ContaminationOptions
    reads: Reads = "texts"
    needs = (BENCHMARK_ITEMS,)

    def compute(self, rows: Rows) -> Shard:
        grams = rows.inputs.keep(
            ("item grams", self.options.n), lambda: item_grams(rows.inputs.items, self.options.n), BENCHMARK_ITEMS
        )
        shares, touched = contamination(rows.texts, grams)
        stats = {STAT + part: int(touched[:, code].sum()) for code, part in enumerate(grams.parts)}
        stats[ANY_STAT] = int(np.count_nonzero(shares))
        if rows.span.start == 0:  # counts of the items, not of rows
            stats |= grams.stats
        return Shard({"contamination": shares}, stats)
