"""Word n-grams of many texts as 64-bit hashes, without making a string of any of them.

The words are exactly those of ``signals.text.words``. A batch of texts is one array of UTF-8 bytes: its words are the runs
of word bytes, each is hashed eight bytes at a time, and an n-gram's hash is a polynomial in its words' hashes. Characters
above 127 that are no word characters become blanks before the text is encoded, so that every byte above 127 belongs to a
word.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

#: Raised whenever the hash of a shingle changes, so that no signature made before is compared with one made after.
VERSION = 2
#: Characters of a batch: its arrays then fit into the caches of a core.
_BATCH_CHARACTERS = 1 << 20
_BATCH_ROWS = 1 << 15
_MAX_THREADS = 8
_BLANK, _END = 0x20, 0x0A
#: Behind the last text, so that eight bytes can be read from any place, and the two aligned words around it.
_TAIL = " " * 16
_MIX = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ONES, _HIGHS = (np.uint64(byte * 0x0101010101010101) for byte in (0x01, 0x80))

T = TypeVar("T")
Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Shingles:
    """Hashes of the shingles of consecutive rows: row i has ``hashes[offsets[i]:offsets[i + 1]]``, at least one."""

    hashes: Hashes
    offsets: NDArray[np.int64]


def normalise(text: str) -> str:
    """Lower-case, with every run of blanks as one space and none at the ends.

    Punctuation stays: without it ``1 + 2`` and ``1 - 2``, or ``1.5`` and ``15``, would be duplicates.
    """
    return " ".join(text.lower().split())


def digest(text: str) -> bytes:
    """64-bit BLAKE2b hash of the normalised text."""
    return hashlib.blake2b(normalise(text).encode("utf-8", "surrogatepass"), digest_size=8).digest()


def mixed(values: Hashes) -> Hashes:
    """A bijection of 64-bit numbers that spreads every bit over all (the finalizer of MurmurHash3); ``values`` is spent."""
    for factor in _MIX:
        values ^= values >> np.uint64(33)
        values *= factor
    values ^= values >> np.uint64(33)
    return values


def word_hashes(texts: Sequence[str]) -> tuple[Hashes, NDArray[np.int64]]:
    """Hashes of all lower-cased words in order, and how many each text has.

    Equal words have equal hashes; different words have different ones, but for one pair in 2⁶⁴.
    """
    data, ends = _encoded(texts)
    framed, starts = _words_only(data)
    hashes, open_words = _folded(_eight_from(framed, starts))
    hashes = _spread(hashes)
    eight = np.ndarray((len(framed) - 7,), "<u8", framed, strides=(1,))
    done = 8
    longer = np.flatnonzero(open_words)
    while len(longer):
        chunk, still = _folded(eight[np.minimum(starts[longer] + done, len(eight) - 1)])
        more = chunk != 0
        longer, chunk, still = longer[more], chunk[more], still[more]
        hashes[longer] = mixed((hashes[longer] * _GOLDEN) ^ chunk)
        done += 8
        longer = longer[still]
    counts = np.diff(np.searchsorted(starts, ends), prepend=0)
    return hashes, counts


def _words_only(data: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes with ASCII letters in lower case and 0 for all that belong to no word, and where the words begin."""
    upper = (data - np.uint8(ord("A")) < 26).view(np.uint8)
    lowered = upper * np.uint8(ord("a") - ord("A"))
    lowered |= data
    word = lowered - np.uint8(ord("a")) < 26
    word |= data - np.uint8(ord("0")) < 10
    word |= data == ord("_")
    word |= data > 127
    lowered *= word.view(np.uint8)
    return lowered, np.flatnonzero(word[1:] > word[:-1]) + 1


def _eight_from(framed: NDArray[np.uint8], starts: NDArray[np.int64]) -> Hashes:
    """The eight bytes from each place on, little-endian, put together from two aligned words: NumPy gathers those faster."""
    whole = framed[: len(framed) // 8 * 8].view("<u8")
    place = starts >> 3
    shift = (starts & 7).view(np.uint64) << np.uint64(3)
    low = whole.take(place)
    low >>= shift
    place += 1
    high = whole.take(place)
    high <<= np.uint64(1)
    shift ^= np.uint64(63)  # 63 - shift, since shifting by 64 is not defined
    high <<= shift
    low |= high
    return low


def _folded(eight: Hashes) -> tuple[Hashes, NDArray[np.bool_]]:
    """Of eight bytes each, those before the first 0 (the others 0), and whether there is no 0 among them."""
    # The lowest bit set marks the first zero byte (Mycroft's test; bits above it may be wrong, and are not read).
    marks = eight - _ONES
    marks &= ~eight
    marks &= _HIGHS
    whole = marks == 0
    below = marks - np.uint64(1)  # all bits where there is no mark
    below &= ~marks
    below &= eight  # the 7 lower bits of the zero byte are 0 anyway
    return below, whole


def _spread(values: Hashes) -> Hashes:
    """A bijection, as ``mixed`` but half as long: every bit of the result's halves depends on nearly all bits."""
    values *= _MIX[0]
    values ^= values >> np.uint64(32)
    values *= _MIX[1]
    return values


def shingles_of(texts: Sequence[str], ngram_size: int) -> Shingles:
    """The shingles of one batch of texts: word n-grams in their order, repeated ones included.

    A text with fewer words than ``ngram_size`` has one shingle: its normalised self, punctuation included.
    """
    words, counts = word_hashes(texts)
    hashes = _spread(ngrams(words, counts, ngram_size))
    grams = np.maximum(counts - ngram_size + 1, 0)
    short = np.flatnonzero(grams == 0)
    offsets = np.append(0, np.cumsum(np.maximum(grams, 1)))
    if len(short):
        digests = b"".join(digest(texts[row]) for row in short.tolist())
        hashes = np.insert(hashes, (np.cumsum(grams) - grams)[short], np.frombuffer(digests, "<u8"))
    return Shingles(hashes, offsets)


def ngrams(words: Hashes, counts: NDArray[np.int64], size: int) -> Hashes:
    """Hashes of all n-grams of ``size`` words within one text, in order; ``counts`` are the words of each text.

    Polynomials in the words' hashes, the first with the highest power, to be mixed before their bits are used apart. They
    are put together from those of 1, 2, 4, … words, so that the passes grow with the logarithm of ``size``.
    """
    windows = max(len(words) - size + 1, 0)
    sums = np.zeros(windows, np.uint64)
    span, factor, width, done = words, int(_GOLDEN), 1, 0
    while windows and done < size:
        if size & width:
            sums *= np.uint64(factor)
            sums += span[done : done + windows]
            done += width
        if done < size:
            doubled = span[:-width] * np.uint64(factor)
            doubled += span[width:]
            span, factor, width = doubled, factor * factor % (1 << 64), 2 * width
    # Windows that begin in one text and end in a later one are dropped: the last size - 1 of each text.
    inside = np.ones(windows, np.bool_)
    ends = np.cumsum(counts)
    for place in range(1, size):
        begin = (ends - place)[counts >= place]
        inside[begin[begin < windows]] = False
    return sums[inside]


def for_batches(texts: Sequence[str], work: Callable[[slice, Sequence[str]], T]) -> Iterator[T]:
    """``work(rows, texts)`` for consecutive batches of about a million characters, on several threads, in order."""
    spans = list(_spans(texts))
    threads = min(os.cpu_count() or 1, _MAX_THREADS, len(spans))
    if threads <= 1:
        yield from (work(span, texts[span]) for span in spans)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(lambda span: work(span, texts[span]), spans)


def _spans(texts: Sequence[str]) -> Iterator[slice]:
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)) + 1)
    start, before = 0, 0
    while start < len(texts):
        fitting = int(np.searchsorted(ends, before + _BATCH_CHARACTERS + 1, side="right"))
        stop = min(max(fitting, start + 1), start + _BATCH_ROWS)
        yield slice(start, stop)
        start, before = stop, int(ends[stop - 1])


def _encoded(texts: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The texts as UTF-8, a line feed before each and 16 blanks behind the last, and where each text ends.

    Texts with other characters than ASCII are lower-cased and pass through UTF-32, where those that are not word
    characters become blanks.
    """
    joined = "\n".join(["", *texts, _TAIL])
    if joined.isascii():
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        return np.frombuffer(joined.encode(), np.uint8), np.cumsum(lengths + 1)
    lowered = [text.lower() for text in texts]  # may change lengths, and a final sigma depends on what follows
    feeds = np.append(0, np.cumsum(np.fromiter(map(len, lowered), np.int64, len(texts)) + 1))
    codes = np.frombuffer("\n".join(["", *lowered, _TAIL]).encode("utf-32-le", "surrogatepass"), "<u4").copy()
    codes[~_word_characters()[codes]] = _BLANK
    codes[feeds] = _END
    data = np.frombuffer(codes.tobytes().decode("utf-32-le").encode(), np.uint8)
    return data, np.flatnonzero(data == _END)[1:]


@cache
def _word_characters() -> NDArray[np.bool_]:
    """Which code points ``\\w`` of Python's ``re`` matches: letters, digits, numbers and the underscore."""
    codes: Any = map(chr, range(sys.maxunicode + 1))
    table = np.fromiter(map(str.isalnum, codes), np.bool_, sys.maxunicode + 1)
    table[ord("_")] = True
    return table
