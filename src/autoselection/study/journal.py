"""The study's journal: append-only JSON lines, each flushed and fsynced before the study goes on.

A finished evaluation costs minutes to hours, a line costs a millisecond: so every event is on disk before anything
depends on it. A process killed in the middle of an append leaves a torn last line; it is cut off on the next open.
Replaying the journal gives back the whole state of the study, so nothing else has to be consistent with it.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from autoselection.errors import StudyError

FORMAT_VERSION = 1

#: Fields that differ between two runs of the same study (times, what came from a cache): not decisions.
VOLATILE_FIELDS = frozenset({"time", "seconds", "ingest_report", "signal_report"})


class Journal:
    """Events of one study.

    Use as a context manager to hold the study's lock while writing; reading needs no lock.

    Raises:
        StudyError: another process runs the study, or a line that is not the last one is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[dict[str, Any]] = list(read_events(path))
        self.cut_bytes = 0
        self._lock: TextIO | None = None

    def __enter__(self) -> Journal:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = (self.path.parent / ".lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise StudyError(
                f"The study in {self.path.parent} is being run by another process; wait for it or stop it first."
            ) from error
        self._lock = lock
        self.cut_bytes = _cut_torn_tail(self.path)
        self.events = list(read_events(self.path))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def append(self, event: str, **fields: Any) -> dict[str, Any]:
        """Write one event and return it once it is on disk."""
        if self._lock is None:
            raise RuntimeError("Journal.append needs the lock: use the journal as a context manager.")
        record = {"seq": len(self.events), "time": round(time.time(), 3), "event": event, **fields}
        line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        with self.path.open("ab") as file:
            file.write(line.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        self.events.append(record)
        return record

    def of(self, event: str) -> list[dict[str, Any]]:
        """All events of one kind, in order."""
        return [record for record in self.events if record["event"] == event]


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the journal's events; a torn last line is ignored."""
    if not path.exists():
        return
    lines = path.read_bytes().split(b"\n")
    tail = lines.pop()  # What follows the last line break: empty, or a line whose write was interrupted.
    del tail
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise StudyError(
                f"{path}:{number}: the journal is damaged ({error}); restore the file from a copy, or move it away "
                "to start the study again (signals stay cached)."
            ) from error
        yield record


def _cut_torn_tail(path: Path) -> int:
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


def decisions(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events without times and costs: equal for two runs of the same study on the same machine."""
    return [_stable(event) for event in events]


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stable(item) for key, item in value.items() if key not in VOLATILE_FIELDS}
    if isinstance(value, list):
        return [_stable(item) for item in value]
    return value
