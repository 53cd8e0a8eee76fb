"""Append-only JSON lines, each flushed and fsynced before anything depends on it.

A process killed in the middle of an append leaves a torn last line, which readers ignore and :func:`cut_torn_tail`
removes before the next append.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autoselection.errors import StudyError


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Write one record; it is on disk when this returns."""
    line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
    with path.open("ab") as file:
        file.write(line.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path, what: str, mend: str) -> Iterator[dict[str, Any]]:
    """Yield the records; a torn last line is ignored.

    Args:
        what: what an error calls the file, such as "the journal".
        mend: what an error tells to do.

    Raises:
        StudyError: a line that is not the last one is damaged.
    """
    if not path.exists():
        return
    lines = path.read_bytes().split(b"\n")
    tail = lines.pop()  # What follows the last line break: empty, or a line whose write was interrupted.
    del tail
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise StudyError(f"{path}:{number}: {what} is damaged ({error}); {mend}.") from error
        yield record


def cut_torn_tail(path: Path) -> int:
    """Remove an unfinished last line and return its length in bytes."""
    if not path.exists():
        return 0
    content = path.read_bytes()
    keep = content.rfind(b"\n") + 1
    if keep < len(content):
        with path.open("r+b") as file:
            file.truncate(keep)
            file.flush()
            os.fsync(file.fileno())
    return len(content) - keep
