"""What the bytes of a text file mean: by a byte order mark, by what is valid, by name; guessed only where little else fits.

A file is looked at once, from its beginning to its end, before it is read: a guess from a few kilobytes misses the one
byte at the end of the file that proves it wrong.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from autoselection.errors import PoolError
from autoselection.pool.settings import setting

#: Bytes kept of the beginning, for those who want to see how the file looks.
HEAD_BYTES = 2**16
#: Encodings by byte order mark; the longer marks first.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CHUNK_BYTES = 2**20
#: Of a file that is not UTF-8, so much is looked at to tell what else it is (bytes).
_JUDGED_BYTES = 2**24
_HIGH = re.compile(rb"[\x80-\xff]+")
_ESCAPED = re.compile("[\udc80-\udcff]")
#: N'Ko does not count: its characters are what UTF-8 makes of a sharp s and a closing quote of Windows-1252.
_BEYOND_ASCII = re.compile("[^\x00-\x7f\udc80-\udcff\u07c0-\u07ff]")
#: What two neighbours of a word's letter make of a byte of Windows-1252: a letter, an apostrophe, a soft hyphen.
_IN_WORDS = frozenset(bytes(range(0xC0, 0x100))) - {0xD7, 0xF7} | {0x8A, 0x8C, 0x8E, 0x92, 0x9A, 0x9C, 0x9E, 0x9F, 0xAD}
_CAPITALS = frozenset(bytes(range(0xC0, 0xDF))) | {0x8A, 0x8C, 0x8E, 0x9F}
_UNDEFINED = frozenset({0x81, 0x8D, 0x8F, 0x90, 0x9D})
_OTHERS = "cp1252, cp1250, cp1251, iso-8859-15, mac_roman, shift_jis, gb18030, …"


@dataclass(frozen=True)
class Survey:
    """What a text file is.

    Attributes:
        encoding: Python's name of its encoding; ``utf-8`` also if single bytes are damaged.
        guessed: the encoding was guessed: what was seen, for people to judge; None if it is certain.
        head: the first bytes, as UTF-8.
        newline: what ends its lines: ``\\n`` (also behind ``\\r``), or ``\\r`` if there is no other.
    """

    encoding: str
    guessed: str | None
    head: bytes
    newline: str


def marked_encoding(head: bytes) -> str | None:
    """The encoding that the first bytes of a file tell, by a mark or by the zeros of UTF-16 and UTF-32 text; or None."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    sample = head[: len(head) // 4 * 4][:4096]
    if len(sample) < 4 or b"\0" not in sample:
        return None
    zeros = [sample[place::4].count(0) / (len(sample) // 4) for place in range(4)]
    filled = [share < 0.05 for share in zeros]
    empty = [share > 0.6 for share in zeros]
    if filled[0] and empty[1] and empty[2] and empty[3]:
        return "utf-32-le"
    if filled[3] and empty[0] and empty[1] and empty[2]:
        return "utf-32-be"
    if filled[0] and filled[2] and empty[1] and empty[3]:
        return "utf-16-le"
    if filled[1] and filled[3] and empty[0] and empty[2]:
        return "utf-16-be"
    return None


def survey(stream: BinaryIO, path: Path, given: str | None) -> Survey:
    """Look at all bytes of ``stream``; its encoding is the ``given`` one, or recognized by its bytes.

    Raises:
        PoolError: the bytes are of an encoding that cannot be recognized, or are not of the given one.
    """
    first = stream.read(_CHUNK_BYTES)
    encoding = given or marked_encoding(first) or "utf-8"
    judge = _Judge()
    newline = "\r"
    head = b""
    for text in _decoded(stream, first, encoding, path, judge):
        if len(head) < HEAD_BYTES:
            head += text[:HEAD_BYTES].encode("utf-8", "surrogateescape")
        if "\n" in text:
            newline = "\n"
    if given is not None or encoding != "utf-8" or not judge.invalid:
        return Survey(encoding, None, head, newline)
    if judge.valid >= judge.invalid or not (judge.letters or judge.other):
        return Survey("utf-8", None, head, newline)  # damaged here and there: rows with such bytes are bad
    if judge.other * 50 > judge.high or judge.zeros or judge.valid:
        raise PoolError(
            f"{path}:{judge.line}: the file is not UTF-8, and its encoding cannot be recognized: name it with "
            f"{setting('encoding')}, one of {_OTHERS}"
        )
    return Survey("cp1252", f"line {judge.line}: {judge.example!r}", head.decode("cp1252", "replace").encode(), newline)


class _Judge:
    """Counts what is not UTF-8 in a file, and whether it could be Western European text of one byte a character."""

    def __init__(self) -> None:
        self.valid = 0  # characters of several bytes
        self.invalid = 0  # bytes of no character
        self.high = 0
        self.letters = 0  # bytes that stand beside a letter or digit, as in a word
        self.other = 0  # bytes that make no sense as Windows-1252
        self.zeros = False
        self.line = 0
        self.example = ""
        self._judged = 0
        self._lines = 0

    def see(self, chunk: bytes, text: str) -> None:
        self.zeros = self.zeros or b"\0" in chunk
        if not chunk.isascii():
            invalid = len(_ESCAPED.findall(text))
            self.invalid += invalid
            self.valid += len(_BEYOND_ASCII.findall(text))
            if invalid and self._judged < _JUDGED_BYTES:
                self._judge(chunk)
        self._lines += chunk.count(b"\n")

    def _judge(self, chunk: bytes) -> None:
        self._judged += len(chunk)
        for match in _HIGH.finditer(chunk):
            run, start, end = match[0], match.start(), match.end()
            before, after = chunk[max(start - 1, 0) : start], chunk[end : end + 1]
            self.high += len(run)
            if len(run) > 2 or not _UNDEFINED.isdisjoint(run) or _is_odd(run, before, after):
                self.other += len(run)
            elif before.isalnum() or after.isalnum():
                self.letters += len(run)
            else:
                continue
            if not self.line:
                self.line = self._lines + chunk.count(b"\n", 0, start) + 1
                word = re.split(rb"[\s\x00-\x1f,;|\"]", chunk[max(start - 20, 0) : end + 20])
                self.example = next(part for part in word if _HIGH.search(part)).decode("cp1252", "replace")


def _is_odd(run: bytes, before: bytes, after: bytes) -> bool:
    """Whether the bytes, read as Windows-1252, would be a sign inside a word or a capital behind a small letter."""
    if before.isalpha() and after.isalpha() and not _IN_WORDS.issuperset(run):
        return True
    return before.islower() and not _CAPITALS.isdisjoint(run)


def _decoded(stream: BinaryIO, first: bytes, encoding: str, path: Path, judge: _Judge) -> Iterator[str]:
    utf8 = codecs.lookup(encoding).name == "utf-8"
    decoder = codecs.getincrementaldecoder("utf-8-sig" if utf8 else encoding)("surrogateescape" if utf8 else "strict")
    chunk, lines = first, 0
    while True:
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeError as error:
            raise PoolError(
                f"{path}: the bytes behind line {lines + 1} are not {encoding} ({error}); give the right {setting('encoding')}."
            ) from error
        lines += text.count("\n")
        if utf8:
            judge.see(chunk, text)
        yield text
        if not chunk:
            return
        chunk = stream.read(_CHUNK_BYTES)


class Recoded(io.RawIOBase):
    """Bytes of any encoding as UTF-8 (without a byte order mark)."""

    def __init__(self, stream: BinaryIO, encoding: str, path: Path) -> None:
        self._texts = _decoded(stream, stream.read(_CHUNK_BYTES), encoding, path, _Judge())
        self._left = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill ``buffer`` with the next bytes; 0 at the end."""
        while not self._left:
            text = next(self._texts, None)
            if text is None:
                return 0
            self._left = text.encode("utf-8", "surrogatepass")
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size
