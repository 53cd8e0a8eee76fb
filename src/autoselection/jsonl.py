"""Append-only JSON lines, each flushed and fsynced before anything depends on it, each vouching for all before it.

A line ends with ``"chain"``: a checksum of its own bytes and of the chain before it. So a line that was changed, doubled,
moved or removed breaks the chain, and is distinguished from the torn last line of a process that was killed while it wrote:
that one is ignored by readers and cut off before the next append. Blank lines carry nothing. Lines of older versions carry no
checksum; the first line appended to them vouches for them as they are then.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from autoselection import files
from autoselection.errors import StudyError
from autoselection.wording import command_line

_CHAINED = re.compile(rb'(\{.+), "chain": "([0-9a-f]{16})"\}', re.DOTALL)


#: Bytes that a tail reads at once.
_BLOCK = 1 << 20
#: Bytes by which it knows the last line again.
_END = 64

#: Names of fields and the types of their values.
Fields = Mapping[str, "type | tuple[type, ...]"]


class _Break(ValueError):
    """A line is not what was written."""


class LineLog:
    """A file of JSON lines.

    Args:
        what: what an error calls the file, such as "the journal".
        mend: what an error says to do.
        fields: what every record holds, and of which type.
        strict: raise if a line is damaged; else what comes before it is there, and ``broken`` tells.

    Attributes:
        records: the records, in order.
        unchecked: lines at the beginning that no checksum vouches for.
        sound_bytes: length of the whole and sound lines.
        broken: what is wrong, where, and how to fix it; None if nothing is.

    Raises:
        StudyError: a line that is not a torn last one is damaged.
    """

    def __init__(self, path: Path, what: str, mend: str, fields: Fields, *, strict: bool = True) -> None:
        self.path = path
        self._what, self._mend, self._fields = what, mend, fields
        self.records: list[dict[str, Any]] = []
        self.unchecked = 0
        self.sound_bytes = 0
        self.broken: str | None = None
        self._chain = _Chain()
        *lines, self._tail = (path.read_bytes() if path.exists() else b"").split(b"\n")
        for number, line in enumerate(lines, start=1):
            try:
                self._take(line)
            except _Break as problem:
                self.broken = self._sentence(number, str(problem))
                if strict:
                    raise StudyError(self.broken) from problem
                return
            self.sound_bytes += len(line) + 1
        self._whole_tail = self._take_tail()

    def _take_tail(self) -> bytes:
        """What of the last line, which has no line feed, is a whole record: it lost only that, or has a character for it."""
        for line in (self._tail, self._tail[:-1]):
            if _CHAINED.fullmatch(line):
                with suppress(_Break):
                    self._take(line)
                    return line
        return b""

    def _take(self, line: bytes) -> None:
        found = _next_record(line, self._chain, self._fields, len(self.records))
        if found is None:
            return
        record, self._chain = found
        self.records.append(record)
        self.unchecked = 0 if self._chain.vouches else len(self.records)

    def _sentence(self, number: int, reason: str) -> str:
        return _damage(self.path, self._what, self._mend, number, len(self.records), reason)

    def cut_torn_tail(self) -> int:
        """Remove an unfinished last line and return its length in bytes; one that lost its line feed gets it back."""
        whole, torn = self._whole_tail, 0 if self._whole_tail else len(self._tail)
        if self._tail:
            with self.path.open("r+b") as file:
                file.truncate(self.sound_bytes + len(whole))
                file.seek(0, os.SEEK_END)
                file.write(b"\n" if whole else b"")
                file.flush()
                os.fsync(file.fileno())
                self.sound_bytes = file.tell()
            self._tail = self._whole_tail = b""
        return torn

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record; it is on disk when this returns.

        Raises:
            StudyError: another process wrote to the file meanwhile.
            OSError: it cannot be written; then nothing of it is.
        """
        body = json.dumps(record, ensure_ascii=False, allow_nan=False).encode("utf-8")
        line, chain = self._chain.line(body)
        # Unbuffered: what a buffer could not write, closing the file would write behind the cut.
        with self.path.open("ab", buffering=0) as file:
            if file.tell() != self.sound_bytes:
                raise StudyError(
                    f"{self.path}: another process wrote to {self._what}: let only one run at a time; stop the others, "
                    "and run the same command again."
                )
            try:
                rest = memoryview(line)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):  # what is left of it is a torn last line then
                    os.truncate(self.path, self.sound_bytes)
                raise
        self.sound_bytes += len(line)
        self._chain, self.unchecked = chain, 0
        self.records.append(dict(record))


class LineTail:
    """A file of JSON lines that another process may be adding to, read on from where the last look ended; none is kept.

    It takes no lock and writes nothing. A line that is not whole yet is left for a later look. A file in which the last line
    read does not stand any more where it stood is read from its beginning again.

    Args:
        what, mend, fields: as of :class:`LineLog`.

    Attributes:
        broken: what is wrong with the first line that is not sound, as of :class:`LineLog`; what is behind it is not read.
    """

    def __init__(self, path: Path, what: str, mend: str, fields: Fields) -> None:
        self.path = path
        self._what, self._mend, self._fields = what, mend, fields
        self._begin()

    def _begin(self) -> None:
        self._seen: tuple[int, ...] = ()  # device, inode, size, time: as they were at the last look
        self._end = b""  # of what was read: with the line's checksum
        self._offset = self._lines = self._records = 0
        self._chain = _Chain()
        self.broken: str | None = None

    def follow(self, restart: Callable[[], object], take: Callable[[dict[str, Any]], object]) -> None:
        """Hand on the records that are new.

        Args:
            restart: called before those of a file that is read from its beginning again: what was taken is void.
            take: called with each record.

        Raises:
            OSError: the file cannot be read.
        """
        with self.path.open("rb") as file:
            status = os.fstat(file.fileno())
            seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            file.seek(self._offset - len(self._end))
            same = file.read(len(self._end)) == self._end
            if same and seen == self._seen:
                return
            if not same or not self._seen or self.broken:
                self._begin()
                file.seek(0)
                restart()
            self._seen = seen
            rest = b""
            while self.broken is None and (block := file.read(_BLOCK)):
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    self._lines += 1
                    try:
                        found = _next_record(line, self._chain, self._fields, self._records)
                    except _Break as problem:
                        self.broken = _damage(
                            self.path, self._what, self._mend, self._lines, self._records, str(problem)
                        )
                        break
                    self._offset += len(line) + 1
                    self._end = (line + b"\n")[-_END:]
                    if found is not None:
                        record, self._chain = found
                        self._records += 1
                        take(record)


def _next_record(line: bytes, chain: _Chain, fields: Fields, number: int) -> tuple[dict[str, Any], _Chain] | None:
    """The record of a line and the chain behind it; None for a blank one.

    Args:
        number: that the record has to have.

    Raises:
        _Break: it is not what was written there.
    """
    line = line.rstrip(b"\r")
    if not line.strip():
        return None
    body, chain = chain.follow(line)
    try:
        record = files.parse_json(body)
    except ValueError as error:
        raise _Break(" ".join(str(error).split())[:200]) from error
    if not isinstance(record, dict):
        raise _Break("it holds no JSON object")
    for name, kind in fields.items():
        if not isinstance(record.get(name), kind) or isinstance(record.get(name), bool):
            raise _Break(f"'{name}' is missing or of a wrong kind")
    if record["seq"] != number:
        raise _Break(f"it is number {record['seq']} where {number} follows: lines are missing or doubled")
    return record, chain


def _damage(path: Path, what: str, mend: str, number: int, kept: int, reason: str) -> str:
    repair = f"`{command_line('autoselection', 'repair', path)}`"
    damage = f"{path}:{number}: {what} is damaged in this line ({reason})"
    if not kept:
        return f"{damage}, and nothing before it can be kept: {mend}."
    keep = (
        f"the line before it is sound, and {repair} goes on from it"
        if kept == 1
        else f"the {kept} lines before it are sound, and {repair} goes on from them"
    )
    return f"{damage}; {keep}; or {mend}."


class _Chain:
    """What the next line must follow: the checksum of the last one, or of all lines if none had any."""

    def __init__(self, state: bytes = b"", vouches: bool = False) -> None:
        self._state = state
        self.vouches = vouches

    def follow(self, line: bytes) -> tuple[bytes, _Chain]:
        """The content of the next line, and what comes after it.

        Raises:
            _Break: it is not the line that was written behind those before.
        """
        found = _CHAINED.fullmatch(line)
        if found is None:
            if self.vouches:
                raise _Break("it carries no checksum, as those before it do")
            return line, _Chain(_digest(self._state, line))
        body = found[1] + b"}"
        if _digest(self._state, body) != found[2]:
            raise _Break(
                "its checksum does not follow from the line before: one was changed, doubled, moved or removed"
            )
        return body, _Chain(found[2], True)

    def line(self, body: bytes) -> tuple[bytes, _Chain]:
        """The next line for a JSON object, and what comes after it."""
        state = _digest(self._state, body)
        return body[:-1] + b', "chain": "' + state + b'"}\n', _Chain(state, True)


def _digest(state: bytes, body: bytes) -> bytes:
    return hashlib.blake2b(state + b"\n" + body, digest_size=8).hexdigest().encode()


def keep_sound_lines(path: Path, what: str, mend: str, fields: Fields) -> tuple[int, Path | None]:
    """Cut a damaged file before its first damaged line; the damaged file is kept beside it.

    Returns:
        How many lines the file has now, and where the damaged one is; None if nothing was damaged.

    Raises:
        StudyError: not even the first line is sound.
    """
    log = LineLog(path, what, mend, fields, strict=False)
    if log.broken is None:
        return len(log.records), None
    if not log.records:
        raise StudyError(log.broken)
    content = path.read_bytes()
    number = next(number for number in count(1) if not path.with_name(f"{path.name}.damaged-{number}").exists())
    copy = path.with_name(f"{path.name}.damaged-{number}")
    for target, kept in ((copy, content), (path, content[: log.sound_bytes])):
        with files.whole_file(target, "wb") as stream:
            stream.write(kept)
    return len(log.records), copy
