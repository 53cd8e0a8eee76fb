"""A study's journal as it grows: read on without its lock, and of every event no more than what is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autoselection.ledger.journal import ReadJournal, journal_tail

#: What is large in an event and not looked at: scores of single items, features, what steps dropped.
_LARGE = {"result": ("items",), "trial": ("lineage",)}
_LARGE_EVENTS = {"study": ("ingest_report", "signal_report", "settings"), "round": ("round",)}


class FollowedJournal(ReadJournal):
    """A journal that another process may be writing; nothing can be appended to it here.

    Args:
        states: keep the state vectors of trials, too.
    """

    def __init__(self, path: Path, *, states: bool = False) -> None:
        super().__init__(path)
        self._states = states
        self._tail = journal_tail(path)
        #: Grows whenever events come, or are void.
        self.version = 0

    @property
    def broken(self) -> str | None:
        """What is wrong with the first damaged line, behind which nothing is read."""
        return self._tail.broken

    def read_on(self) -> None:
        """Take what was appended since the last look; a journal that began anew is read anew.

        Raises:
            OSError: it cannot be read.
        """
        self._tail.follow(self._restart, self._take)

    def _restart(self) -> None:
        self._events = []
        self.version += 1

    def _take(self, event: dict[str, Any]) -> None:
        for field in _LARGE_EVENTS.get(event["event"], ()):
            event.pop(field, None)
        for field, large in _LARGE.items():
            if isinstance(inner := event.get(field), dict):
                for name in large:
                    inner.pop(name, None)
        if isinstance(trial := event.get("trial"), dict) and not self._states:
            trial["state"] = {}
        self._events.append(event)
        self.version += 1
