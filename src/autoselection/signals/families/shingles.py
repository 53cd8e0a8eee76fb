"""N-grams of the units of many texts as 64-bit hashes, without making a string of any of them.

The units are the words, characters and symbols of ``autoselection.segmentation``. A batch of texts is one array of UTF-8
bytes in which each unit stands between zeros; a unit is hashed eight bytes at a time, and an n-gram's hash is a polynomial
in its units' hashes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoselection.hashing import FACTORS, Hashes, mixed
from autoselection.segmentation import CutTexts, by_alphabet, cut

#: Raised whenever the hash of a shingle changes, so that no signature made before is compared with one made after.
VERSION = 3
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ONES, _HIGHS = (np.uint64(byte * 0x0101010101010101) for byte in (0x01, 0x80))


@dataclass(frozen=True)
class Shingles:
    """Hashes of the shingles of consecutive rows: row i has ``hashes[offsets[i]:offsets[i + 1]]``, at least one."""

    hashes: Hashes
    offsets: NDArray[np.int64]


@dataclass(frozen=True)
class Units:
    """The units of consecutive texts: ``hashes`` and ``kinds`` one a unit (the latter if asked for), ``counts`` one a text."""

    hashes: Hashes
    counts: NDArray[np.int64]
    kinds: NDArray[np.uint8] | None = None


def units_of(texts: Sequence[str], *, with_kinds: bool = False) -> Units:
    """Hashes of all units in order, and how many each text has.

    Equal units have equal hashes; different ones have different ones, but for one pair in 2⁶⁴.
    """
    groups = by_alphabet(texts)
    if len(groups) < 2:
        found = cut(texts, with_kinds=with_kinds)
        return Units(_hashed(found), found.counts, found.kinds)
    parts = [cut([texts[place] for place in group.tolist()], with_kinds=with_kinds) for group in groups]
    counts = np.empty(len(texts), np.int64)
    counts[np.concatenate(groups)] = np.concatenate([part.counts for part in parts])
    hashes = np.empty(int(counts.sum()), np.uint64)
    kinds = np.empty(len(hashes), np.uint8) if with_kinds else None
    starts = np.cumsum(counts) - counts
    for group, part in zip(groups, parts, strict=True):
        before = np.cumsum(part.counts) - part.counts
        place = np.repeat(starts[group] - before, part.counts) + np.arange(len(part.starts))
        hashes[place] = _hashed(part)
        if kinds is not None and part.kinds is not None:
            kinds[place] = part.kinds
    return Units(hashes, counts, kinds)


def _hashed(found: CutTexts) -> Hashes:
    starts = found.starts
    hashes, open_units = _folded(_eight_from(found.data, starts))
    symbols = np.flatnonzero(hashes == 0)  # of ASCII texts: one byte, which is not in ``data``
    hashes[symbols] = found.symbols.take(starts[symbols])
    hashes = _spread(hashes)
    eight = np.ndarray((len(found.data) - 7,), "<u8", found.data, strides=(1,))
    done = 8
    longer = np.flatnonzero(open_units)
    while len(longer):
        chunk, still = _folded(eight[np.minimum(starts[longer] + done, len(eight) - 1)])
        more = chunk != 0
        longer, chunk, still = longer[more], chunk[more], still[more]
        hashes[longer] = mixed((hashes[longer] * _GOLDEN) ^ chunk)
        done += 8
        longer = longer[still]
    return hashes


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
    values *= FACTORS[0]
    values ^= values >> np.uint64(32)
    values *= FACTORS[1]
    return values


def shingles_of(texts: Sequence[str], ngram_size: int) -> Shingles:
    """The shingles of one batch of texts: n-grams of units in their order, repeated ones included.

    A text with fewer units than ``ngram_size`` has one shingle: all its units.
    """
    units = units_of(texts)
    hashes = ngrams(units.hashes, units.counts, ngram_size)
    grams = np.maximum(units.counts - ngram_size + 1, 0)
    short = np.flatnonzero(grams == 0)
    offsets = np.append(0, np.cumsum(np.maximum(grams, 1)))
    if len(short):
        begin = np.cumsum(units.counts)[short] - units.counts[short]
        few = spans(units.hashes, begin, begin + units.counts[short])
        hashes = np.insert(hashes, (np.cumsum(grams) - grams)[short], few)
    return Shingles(_spread(hashes), offsets)


def whole(units: Hashes, counts: NDArray[np.int64]) -> Hashes:
    """One hash of all units of each text, a polynomial as those of n-grams: 0 of none."""
    ends = np.cumsum(counts)
    return spans(units, ends - counts, ends)


def spans(units: Hashes, first: NDArray[np.int64], end: NDArray[np.int64]) -> Hashes:
    """Hashes of the units from ``first`` to before ``end``, equal to those of ``ngrams``; spans may have any lengths."""
    length = len(units)
    powers = np.cumprod(np.append(np.uint64(1), np.full(length, _GOLDEN)))
    inverse = np.cumprod(np.full(length, pow(int(_GOLDEN), -1, 1 << 64), np.uint64))
    sums = np.append(np.uint64(0), np.cumsum(units * inverse))
    found: Hashes = (sums[end] - sums[first]) * powers[end]
    return found


def ngrams(units: Hashes, counts: NDArray[np.int64], size: int) -> Hashes:
    """Hashes of all n-grams of ``size`` units within one text, in order; ``counts`` are the units of each text.

    Polynomials in the units' hashes, the first with the highest power, to be mixed before their bits are used apart. They
    are put together from those of 1, 2, 4, … units, so that the passes grow with the logarithm of ``size``.
    """
    windows = max(len(units) - size + 1, 0)
    sums = np.zeros(windows, np.uint64)
    span, factor, width, done = units, int(_GOLDEN), 1, 0
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
