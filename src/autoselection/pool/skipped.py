"""``skipped.jsonl``: the rows that could not be used, with file, line, kind, field and reason; and their table by kind.

The list stays about as small as the input: long reasons are cut, and where bad rows are so short and many that their
list would be longer than the input, the rest of a file's is one entry with the number of its rows.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from autoselection.pool.row_error import RowError

#: Longest reason kept (characters).
MAX_REASON = 300
#: Bytes that the list may always have, besides as many as the input.
_FREE_BYTES = 2**16
#: Longest path of a field kept (characters).
_MAX_FIELD = 120
#: Different faults counted one by one.
_MAX_KINDS = 200
_OTHERS = "others"
_INDEX = re.compile(r"\[\d+\]")


@dataclass(frozen=True)
class BadRow:
    """A row that could not be used.

    Attributes:
        file: as it was given.
        line: where the row starts; for Parquet and dataset folders the row's number (from 1).
        reason: what is wrong.
        kind: short stable name of what is wrong.
        field: where in the row, as a path that counts from 0; "" if it is the whole row.
        hint: what would read the row; "" if nothing would.
    """

    file: str
    line: int
    reason: str
    kind: str = ""
    field: str = ""
    hint: str = ""

    @classmethod
    def of(cls, file: str, line: int, error: RowError) -> BadRow:
        """The row that an error is about."""
        return cls(file, line, str(error), error.kind, error.field[:_MAX_FIELD], error.hint)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"

    def worded(self, words: Callable[[str], str]) -> BadRow:
        """The same row, with what would read it in other words."""
        return replace(self, reason=words(self.reason), hint=words(self.hint))

    def described(self, command: str) -> str:
        """Place, reason, kind, field and what would read the row, in one sentence without its full stop.

        Args:
            command: what reads the files as they were asked for.
        """
        field = f", field {self.field}" if self.field else ""
        return f"{self} (kind: {self.kind}{field}){self.mended(command)}"

    def mended(self, command: str) -> str:
        """What would read the row, as the end of a sentence; "" if nothing would, or if the reason says it."""
        hint = f"; what would read it: {self.hint}" if self.hint and self.hint not in self.reason else ""
        return hint.replace("`--", f"`{command} --", 1)

    def to_dict(self) -> dict[str, Any]:
        """As JSON; what is not known is left out."""
        return {name: value for name, value in vars(self).items() if value != ""}


@dataclass
class Fault:
    """One kind of bad rows in one field, and how many there are.

    Attributes:
        first: the first of them; its ``reason`` speaks for all.
        rows: their number.
    """

    first: BadRow
    rows: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON: kind, number of rows, and the first of them."""
        first = self.first.to_dict()
        return {"kind": first.pop("kind"), "rows": self.rows, **first}


def skipped_rows_of(line: bytes) -> int:
    """How many rows a line of the list stands for."""
    if b'"rows"' not in line:
        return 1
    try:
        rows = json.loads(line).get("rows", 1)
    except (ValueError, AttributeError):
        return 1
    return rows if isinstance(rows, int) else 1


class SkippedList:
    """The list being written; a context manager."""

    def __init__(self, path: Path) -> None:
        self._faults: dict[tuple[str, str], Fault] = {}
        self._file = path.open("w", encoding="utf-8")
        self._budget = _FREE_BYTES
        self._unlisted: list[BadRow] = []  # the first and the last of a file
        self._unlisted_rows = 0

    def __enter__(self) -> SkippedList:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def begin_file(self, size: int) -> None:
        """A file of ``size`` bytes is read from now on."""
        self._budget += size

    def add(self, bad: BadRow) -> None:
        """List a row."""
        self._count(bad)
        reason = bad.reason if len(bad.reason) <= MAX_REASON else bad.reason[:MAX_REASON] + " …"
        entry = {"file": bad.file, "line": bad.line, "kind": bad.kind, "field": bad.field, "reason": reason}
        if self._unlisted_rows or not self._write({name: value for name, value in entry.items() if value != ""}):
            self._unlisted = [*self._unlisted[:1], bad]
            self._unlisted_rows += 1

    def _count(self, bad: BadRow) -> None:
        # Turn 3 and turn 5 of a conversation are one place.
        key = (bad.kind, _INDEX.sub("[]", bad.field))
        fault = self._faults.get(key)
        if fault is None:
            if len(self._faults) >= _MAX_KINDS:
                key, bad = (_OTHERS, ""), replace(bad, kind=_OTHERS, field="", hint="")
            fault = self._faults.setdefault(key, Fault(bad))
        fault.rows += 1

    def faults(self) -> list[Fault]:
        """The rows by kind and field, the most frequent first; then in order of their first rows."""
        return sorted(self._faults.values(), key=lambda fault: -fault.rows)

    def end_file(self) -> None:
        """The file is read: what was not listed of it gets an entry."""
        if self._unlisted_rows:
            first, last = self._unlisted[0], self._unlisted[-1]
            reason = f"{self._unlisted_rows:,} rows of lines {first.line:,} to {last.line:,}, the first: {first.reason[:MAX_REASON]}"
            entry = {"file": first.file, "line": first.line, "rows": self._unlisted_rows, "reason": reason}
            self._file.write(json.dumps(entry) + "\n")
        self._unlisted, self._unlisted_rows = [], 0

    def _write(self, entry: dict[str, Any]) -> bool:
        line = json.dumps(entry) + "\n"
        if len(line) > self._budget:
            return False
        self._budget -= len(line)
        self._file.write(line)
        return True

    def sync(self) -> None:
        """Bring the list to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
