"""``skipped.jsonl``: the rows that could not be used, with file, line and reason.

The list stays about as small as the input: long reasons are cut, and where bad rows are so short and many that their
list would be longer than the input, the rest of a file's is one entry with the number of its rows.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

#: Longest reason kept (characters).
MAX_REASON = 300
#: Bytes that the list may always have, besides as many as the input.
_FREE_BYTES = 2**16
#: Different reasons counted one by one.
_MAX_KINDS = 200
_DETAILS = re.compile(r"(?<!field )(?<!of )'(?:[^'\\\\]|\\\\.)*'|(?<!U\+)\b\d[\d,]*\b")


@dataclass(frozen=True)
class BadRow:
    """A row that could not be used. For Parquet and dataset folders ``line`` is the row's number (from 1)."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


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
    """The list being written; a context manager. ``kinds`` counts the reasons, numbers and quotations left out."""

    def __init__(self, path: Path) -> None:
        self.kinds: Counter[str] = Counter()
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
        kind = _DETAILS.sub("…", bad.reason)
        self.kinds[kind if kind in self.kinds or len(self.kinds) < _MAX_KINDS else "other reasons"] += 1
        reason = bad.reason if len(bad.reason) <= MAX_REASON else bad.reason[:MAX_REASON] + " …"
        if self._unlisted_rows or not self._write({"file": bad.file, "line": bad.line, "reason": reason}):
            self._unlisted = [*self._unlisted[:1], bad]
            self._unlisted_rows += 1

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
