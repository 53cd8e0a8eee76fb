"""The study's journal: append-only JSON lines, each flushed and fsynced before the study goes on.

A finished evaluation costs minutes to hours, a line costs a millisecond: so every event is on disk before anything
depends on it. A process killed in the middle of an append leaves a torn last line; it is cut off on the next open.
Replaying the journal gives back the whole state of the study, so nothing else has to be consistent with it.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from autoselection.errors import StudyError
from autoselection.jsonl import append_line, cut_torn_tail, read_lines

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
        self.cut_bytes = cut_torn_tail(self.path)
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
        append_line(self.path, record)
        self.events.append(record)
        return record

    def of(self, event: str) -> list[dict[str, Any]]:
        """All events of one kind, in order."""
        return [record for record in self.events if record["event"] == event]


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the journal's events; a torn last line is ignored."""
    mend = "restore the file from a copy, or move it away to start the study again (signals stay cached)"
    return read_lines(path, "the journal", mend)


def decisions(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events without times and costs: equal for two runs of the same study on the same machine."""
    return [_stable(event) for event in events]


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stable(item) for key, item in value.items() if key not in VOLATILE_FIELDS}
    if isinstance(value, list):
        return [_stable(item) for item in value]
    return value
