"""JSON Lines, and JSON files that hold an array of rows.

A key that an object has twice makes its row bad: which of the two was meant, nobody knows. NaN and Infinity, which are
no JSON but are written by many programs, mean that a value is missing.
"""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from autoselection.errors import PoolError
from autoselection.pool.row_error import RowError
from autoselection.pool.settings import setting

Record = dict[str, Any]
#: (line, record, problem): where a row starts, its fields, and, if it could not be read, why.
RawRow = tuple[int, Record | None, RowError | None]

#: The longest row read, in bytes; it bounds memory whatever a file holds.
MAX_ROW_BYTES = 64 * 2**20
BUFFER_BYTES = 2**20
#: Kind of the fault of a line in another encoding.
NOT_UTF8 = "not UTF-8"

_SPACE = re.compile(r"[ \t\n\r]*")


class KeyTwiceError(ValueError):
    """An object of a JSON document has a key twice."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key[:80]!r} appears twice in one object")
        self.key = key[:80]


def unique_object(pairs: list[tuple[str, Any]]) -> Record:
    record = dict(pairs)
    if len(record) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise KeyTwiceError(twice)
    return record


def _missing(_name: str) -> None:
    return None


class OwnKeys(dict[str, Any]):
    """An object whose JSON text stood alone in its row: it has no keys that only others have, so its nulls are meant."""


def _own_keys(pairs: list[tuple[str, Any]]) -> Record:
    return OwnKeys(unique_object(pairs))


DECODER = json.JSONDecoder(object_pairs_hook=unique_object, parse_constant=_missing)
#: Reads JSON text that a row holds in a text, or in a column typed as JSON.
TEXT_DECODER = json.JSONDecoder(object_pairs_hook=_own_keys, parse_constant=_missing)
#: Finds where a value ends that ``DECODER`` refuses.
_LENIENT = json.JSONDecoder()


def json_rows(stream: Any, path: Path, lines_expected: bool) -> Iterator[RawRow]:
    """The rows of a JSON Lines file or of a JSON array, whichever it is: people name each by the other's suffix.

    Args:
        stream: a buffered reader of UTF-8.
        path: the file, for messages.
        lines_expected: the file's name says JSON Lines, whose rows may be (bad) lists.

    Raises:
        PoolError: damage after which no further row can be trusted.
    """
    head = stream.peek(BUFFER_BYTES).removeprefix(codecs.BOM_UTF8).lstrip()
    line, _, rest = head.partition(b"\n")
    if head[:1] == b"[" and not (lines_expected and rest.strip() and _is_value(line)):
        return _array(stream, path)
    second = rest.lstrip()[:1]
    if line.rstrip() == b"{" and not (lines_expected and second == b"{"):
        raise PoolError(
            f"{path} holds one JSON object over several lines: expected an array of rows or one object a line; if one of its "
            "fields is the list of rows, write that list alone."
        )
    return _lines(stream)


def _is_value(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _lines(stream: BinaryIO) -> Iterator[RawRow]:
    number = 0
    while line := stream.readline(MAX_ROW_BYTES + 1):
        number += 1
        if len(line) > MAX_ROW_BYTES:
            while line and not line.endswith(b"\n"):
                line = stream.readline(BUFFER_BYTES)
            yield number, None, RowError(f"the line is longer than {MAX_ROW_BYTES // 2**20} MiB", "row too long")
            continue
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.isspace() or not line:
            continue
        record, problem = _parse_line(line)
        yield number, record, problem


def _parse_line(line: bytes) -> tuple[Record | None, RowError | None]:
    try:
        text = line.rstrip(b" \t\r\n").decode("utf-8")
        if text.startswith("{"):
            record, end = DECODER.raw_decode(text)
            if end < len(text):
                raise json.JSONDecodeError("Extra data", text, end)
        else:
            record = DECODER.decode(text)
    except UnicodeDecodeError as error:
        place = f"byte {error.start + 1} of the line"
        hint = f"if the file has another encoding, give {setting('encoding')}"
        return None, RowError(f"not valid UTF-8 ({place}): {hint}", NOT_UTF8, None, hint)
    except json.JSONDecodeError as error:
        cut = text[:1] in ("{", "[") and _is_cut(error, text) and not line.endswith(b"\n")
        if cut:
            reason = f"{_json_problem(error)}; the file ends here, in the middle of a row (half-written?)"
            return None, RowError(reason, "row cut off", None, "the whole file: get it again")
        return None, RowError(_json_problem(error), "not valid JSON", None, "one JSON object a line")
    except KeyTwiceError as error:
        return None, RowError(str(error), "key twice", error.key, "each key once")
    except ValueError:  # Python reads no whole number of more than 4,300 digits
        limit = sys.get_int_max_str_digits()
        return None, RowError(
            f"a whole number has more than {limit:,} digits",
            "number too long",
            None,
            "such a number as text, in quotes",
        )
    except RecursionError:
        return None, RowError(
            "the JSON is nested too deeply", "nested too deeply", None, "lists and objects that are less deep"
        )
    if not isinstance(record, dict):
        return None, RowError("not a JSON object", "not a JSON object", None, "one JSON object a line")
    return record, None


def _json_problem(error: json.JSONDecodeError) -> str:
    if error.msg == "Extra data":
        return f"not valid JSON: Extra data at column {error.pos + 1} (one object a line is expected)"
    return f"not valid JSON: {error.msg.removesuffix(' at')} at column {error.pos + 1}"


def _is_cut(error: json.JSONDecodeError, text: str) -> bool:
    """Whether what is wrong with a JSON text is that it ends too early."""
    return error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")


class _JsonText:
    """Decoded text of a JSON file, read piece by piece; ``line`` is the number of the line at ``position``."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        # Invalid bytes become lone surrogates, which the row check reports with the row's line.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.buffer = ""
        self.position = 0
        self.line = 1
        self.ended = False

    def fill(self) -> None:
        """Drop what has been consumed and read as much again as is left (at least one buffer)."""
        data = self._stream.read(max(BUFFER_BYTES, len(self.buffer) - self.position))
        self.ended = not data
        self.buffer = self.buffer[self.position :] + self._decoder.decode(data, final=self.ended)
        self.position = 0

    def move(self, position: int) -> None:
        self.line += self.buffer.count("\n", self.position, position)
        self.position = position

    def next_character(self) -> str:
        """Skip whitespace and return the next character without consuming it ("" at the end)."""
        while True:
            match = _SPACE.match(self.buffer, self.position)
            assert match is not None
            self.move(match.end())
            if self.position < len(self.buffer) or self.ended:
                return self.buffer[self.position : self.position + 1]
            self.fill()


def _array(stream: BinaryIO, path: Path) -> Iterator[RawRow]:
    text = _JsonText(stream)
    if text.next_character() == "\ufeff":
        text.move(text.position + 1)
    text.next_character()
    text.move(text.position + 1)  # the caller has seen "["
    rows = 0
    if text.next_character() == "]":
        text.move(text.position + 1)
    else:
        character = ","
        while character == ",":
            if not text.next_character():
                raise _cut_off(path, text.line, rows)
            line = text.line
            value, end, problem = _element(text, path, rows)
            text.move(end)
            if problem is None and not isinstance(value, dict):
                problem = RowError("not a JSON object", "not a JSON object", None, "an array of JSON objects")
            rows += 1
            yield line, None if problem else value, problem
            character = text.next_character()
            if not character:
                raise _cut_off(path, text.line, rows)
            if character not in (",", "]"):
                raise PoolError(
                    f"{path}:{text.line}: expected ',' or ']' behind a row of the array, found {character!r}."
                )
            text.move(text.position + 1)
    if text.next_character():
        raise PoolError(f"{path}:{text.line}: there is text behind the end of the JSON array.")


def _cut_off(path: Path, line: int, rows: int) -> PoolError:
    return PoolError(
        f"{path}:{line}: the file ends in the middle of the JSON array, behind {rows:,} whole rows: it is half-written "
        "or cut off; get it again, or fix its end."
    )


def _element(text: _JsonText, path: Path, rows: int) -> tuple[Any, int, RowError | None]:
    """Decode the value at the position: (value, its end, problem). Reads on while the value may be incomplete."""
    while True:
        problem: RowError | None = None
        try:
            try:
                value, end = DECODER.raw_decode(text.buffer, text.position)
            except KeyTwiceError as error:  # the row is bad, but where it ends is known
                problem = RowError(str(error), "key twice", error.key, "each key once")
                value, end = _LENIENT.raw_decode(text.buffer, text.position)
        except json.JSONDecodeError as error:
            if text.ended:
                line = text.line + text.buffer.count("\n", text.position, error.pos)
                if _is_cut(error, text.buffer):
                    raise _cut_off(path, line, rows) from error
                raise PoolError(
                    f"{path}:{line}: not valid JSON: {error.msg}; nothing behind it can be read."
                ) from error
        except (ValueError, RecursionError) as error:
            raise PoolError(
                f"{path}:{text.line}: the row cannot be decoded ({error}); nothing behind it can be read."
            ) from error
        else:
            if end < len(text.buffer) or text.ended:
                return value, end, problem
        if len(text.buffer) - text.position > MAX_ROW_BYTES:
            raise PoolError(
                f"{path}:{text.line}: the row is not valid JSON, or longer than {MAX_ROW_BYTES // 2**20} MiB; "
                "nothing behind it can be read."
            )
        text.fill()
