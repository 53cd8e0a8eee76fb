"""Word n-grams of many texts as 64-bit hashes, without making a string of any of them.

The words are exactly those of ``signals.text.words``. A batch of texts is one array of UTF-8 bytes: its words are the runs
of word bytes, each is hashed eight bytes at a time, and an n-gram's hash is a polynomial in its words' hashes. Characters that are no word characters become blanks before the text is encoded, so that every
byte above 127 belongs to a word.
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
VERSION = 1
#: Characters of a batch: its arrays then fit into the caches of a core.
_BATCH_CHARACTERS = 1 << 20
_BATCH_ROWS = 1 << 15
_MAX_THREADS = 8
_BLANK, _END = 0x20, 0x0A
_MIX = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ONES, _HIGHS, _BLANKS, _ALL = (np.uint64(byte * 0x0101010101010101) for byte in (0x01, 0x80, _BLANK, 0xFF))

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
    framed = (b" " + data + b" " * 9).translate(_blanked())
    padded = np.frombuffer(framed, np.uint8)
    blank = padded == _BLANK
    starts = np.flatnonzero(blank[:-1] > blank[1:]) + 1
    # Eight bytes from any place on; x86 and ARM read them unaligned, and NumPy copies them where the machine cannot.
    eight = np.ndarray((len(padded) - 7,), "<u8", padded, strides=(1,))
    hashes, open_words = _folded(eight[starts])
    hashes = mixed(hashes)
    done = 8
    longer = np.flatnonzero(open_words)
    while len(longer):
        chunk, still = _folded(eight[np.minimum(starts[longer] + done, len(eight) - 1)])
        more = chunk != 0
        longer, chunk, still = longer[more], chunk[more], still[more]
        hashes[longer] = mixed((hashes[longer] * _GOLDEN) ^ chunk)
        done += 8
        longer = longer[still]
    counts = np.diff(np.searchsorted(starts, ends + 1), prepend=0)  # + 1 for the blank put before the text
    return hashes, counts


def _folded(eight: Hashes) -> tuple[Hashes, NDArray[np.bool_]]:
    """Of eight bytes each, those before the first blank (the others 0), and whether there is no blank among them."""
    zero_at_blank = eight ^ _BLANKS
    # The lowest bit set marks the first zero byte (Mycroft's test; bits above it may be wrong, and are not read).
    marks = (zero_at_blank - _ONES) & ~zero_at_blank
    marks &= _HIGHS
    whole = marks == 0
    marks ^= marks - np.uint64(1)
    marks >>= np.uint64(8)
    marks[whole] = _ALL
    return eight & marks, whole


def shingles_of(texts: Sequence[str], ngram_size: int) -> Shingles:
    """The shingles of one batch of texts: word n-grams in their order, repeated ones included.

    A text with fewer words than ``ngram_size`` has one shingle: its normalised self, punctuation included.
    """
    words, counts = word_hashes(texts)
    windows = max(len(words) - ngram_size + 1, 0)
    sums = words[:windows].copy()
    for place in range(1, ngram_size):
        sums *= _GOLDEN
        sums += words[place : place + windows]
    grams = np.maximum(counts - ngram_size + 1, 0)
    short = np.flatnonzero(grams == 0)
    # Windows that begin in one text and end in a later one are dropped: the last n - 1 of each text.
    inside = np.ones(windows, np.bool_)
    last = np.cumsum(counts)
    for place in range(1, ngram_size):
        begin = (last - place)[counts >= place]
        inside[begin[begin < windows]] = False
    hashes = mixed(sums[inside])
    offsets = np.append(0, np.cumsum(np.maximum(grams, 1)))
    if len(short):
        digests = b"".join(digest(texts[row]) for row in short.tolist())
        hashes = np.insert(hashes, (np.cumsum(grams) - grams)[short], np.frombuffer(digests, "<u8"))
    return Shingles(hashes, offsets)


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
    start = size = 0
    for row, text in enumerate(texts):
        if size and (size + len(text) > _BATCH_CHARACTERS or row - start == _BATCH_ROWS):
            yield slice(start, row)
            start, size = row, 0
        size += len(text) + 1
    if len(texts) > start:
        yield slice(start, len(texts))


def _encoded(texts: Sequence[str]) -> tuple[bytes, NDArray[np.int64]]:
    """The texts as UTF-8, one a line, and the position of each one's line feed.

    Texts with other characters than ASCII are lower-cased and pass through UTF-32, where those that are not word
    characters become blanks.
    """
    joined = "\n".join(texts)
    if joined.isascii():
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        return joined.encode(), np.cumsum(lengths + 1) - 1
    lowered = [text.lower() for text in texts]  # may change lengths, and a final sigma depends on what follows
    ends = np.cumsum(np.fromiter(map(len, lowered), np.int64, len(texts)) + 1) - 1
    codes = np.frombuffer("\n".join(lowered).encode("utf-32-le", "surrogatepass"), "<u4").copy()
    codes[~_word_characters()[codes]] = _BLANK
    codes[ends[:-1]] = _END
    data = codes.tobytes().decode("utf-32-le").encode()
    feeds = np.flatnonzero(np.frombuffer(data, np.uint8) == _END)
    return data, np.append(feeds, len(data))


@cache
def _word_characters() -> NDArray[np.bool_]:
    """Which code points ``\\w`` of Python's ``re`` matches: letters, digits, numbers and the underscore."""
    codes: Any = map(chr, range(sys.maxunicode + 1))
    table = np.fromiter(map(str.isalnum, codes), np.bool_, sys.maxunicode + 1)
    table[ord("_")] = True
    return table


@cache
def _blanked() -> bytes:
    """A table for ``bytes.translate``: letters of ASCII in lower case, all that is no word byte a blank."""
    characters = bytes(range(128)).decode().lower()
    return bytes(ord(c) if c.isalnum() or c == "_" else _BLANK for c in characters) + bytes(range(128, 256))
