"""The study's journal: append-only JSON lines, each flushed and fsynced before the study goes on.

A finished evaluation costs minutes to hours, a line costs a millisecond: so every event is on disk before anything
depends on it. A process killed in the middle of an append leaves a torn last line; it is cut off on the next open.
Every line carries its number and a checksum that goes on from the one before (see ``autoselection.jsonl``).
Replaying the journal gives back the whole state of the study, so nothing else has to be consistent with it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from autoselection import files
from autoselection.errors import StudyError
from autoselection.jsonl import Fields, LineLog, LineTail, keep_sound_lines
from autoselection.llm.exchanges import FILE as EXCHANGES
from autoselection.llm.exchanges import keep_sound_exchanges
from autoselection.progress import console

FORMAT_VERSION = 1

#: Fields that differ between two runs of the same study (times, what came from a cache): not decisions.
VOLATILE_FIELDS = frozenset({"time", "seconds", "ingest_report", "signal_report"})

#: Events before the first decision.
_PREPARING = frozenset({"study", "benchmarks", "contamination", "identity", "budget"})

_WHAT = "the journal"
# Not in the same folder: what lies beside a journal is of its events, and such a folder is refused without it.
_MEND = "restore the file from a copy, or start again in another folder (--out; signals of pool.path stay cached)"
_FIELDS: Fields = {"seq": int, "event": str}
#: Folder of the subsets of trials, beside the journal, which has the study's opening before any of them is written.
SUBSETS = "subsets"
_said: set[Path] = set()


class Journal:
    """Events of one study.

    Use as a context manager to hold the study's lock while writing; reading needs no lock.

    Raises:
        StudyError: another process runs the study, or a line is damaged that is not a torn last one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cut_bytes = 0
        self._stack: ExitStack | None = None
        self._made: list[Path] = []  # the lock and the folder, where they were not there
        self._read()

    def _read(self) -> None:
        self._log = LineLog(self.path, _WHAT, _MEND, _FIELDS)
        if not self._log.records and self.path.exists() and any((self.path.parent / SUBSETS).glob("*.npy")):
            raise StudyError(
                f"{self.path}: {_WHAT} is damaged: it holds no event, and {SUBSETS}/ beside it holds what trials selected; "
                f"{_MEND}."
            )
        if self._log.unchecked and self.path not in _said:
            _said.add(self.path)
            console.say(
                f"{self.path}: an older version wrote this journal without checksums, so that its {self._log.unchecked} "
                "lines are not checked; the next event that is added vouches for them as they are now."
            )

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events, in order."""
        return self._log.records

    def __enter__(self) -> Journal:
        folder = self.path.parent
        self._made = [path for path in (folder / ".lock", folder) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(files.locked(self.path.parent / ".lock", wait=False))
            except files.InUse as error:
                raise StudyError(
                    f"The study in {self.path.parent} is being run by another process; wait for it or stop it first."
                ) from error
            self._read()
            self.cut_bytes = self._log.cut_torn_tail()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._stack is not None:
            if error is not None and not self.path.exists():  # nothing began: nothing is left
                self._remove_made()
            self._stack.close()
            self._stack = None

    def _remove_made(self) -> None:
        for path in self._made:
            with suppress(OSError):  # a folder that holds something stays
                path.rmdir() if path.is_dir() else path.unlink()

    def append(self, event: str, **fields: Any) -> dict[str, Any]:
        """Write one event and return it once it is on disk."""
        if self._stack is None:
            raise RuntimeError("Journal.append needs the lock: use the journal as a context manager.")
        record = {"seq": len(self.events), "time": round(time.time(), 3), "event": event, **fields}
        self._log.append(record)
        return record

    def start_again(self) -> None:
        """Forget every event, where nothing was decided yet (see :attr:`undecided`)."""
        if self._stack is None or not self.undecided:
            raise RuntimeError("Journal.start_again needs the lock, and a journal of nothing but preparations.")
        files.write_text(self.path, "")
        self._read()

    @property
    def undecided(self) -> bool:
        """Whether nothing was decided or evaluated yet: the events are of preparations, which can be made again."""
        begun = any((self.path.parent / SUBSETS).glob("*.npy"))  # of a trial that is about to be noted
        return not begun and all(record["event"] in _PREPARING for record in self.events)

    def of(self, event: str) -> list[dict[str, Any]]:
        """All events of one kind, in order."""
        return [record for record in self.events if record["event"] == event]


class ReadJournal(Journal):
    """A journal whose events are read by other means; nothing can be appended to it, and its lock cannot be held: an event
    would get the number that follows the events kept here, not the file's.

    Args:
        events: those that are known from the start.
    """

    def __init__(self, path: Path, events: Iterable[dict[str, Any]] = ()) -> None:
        self.path = path
        self.cut_bytes = 0
        self._stack = None
        self._events = list(events)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events, in order."""
        return self._events

    def __enter__(self) -> Journal:
        raise RuntimeError(f"{self.path}: this journal is open for reading only.")


def read_events(path: Path) -> list[dict[str, Any]]:
    """The journal's events; a torn last line is ignored."""
    return LineLog(path, _WHAT, _MEND, _FIELDS).records


def journal_tail(path: Path) -> LineTail:
    """The journal, to be read on while a study adds to it, without its lock."""
    return LineTail(path, _WHAT, _MEND, _FIELDS)


def repair(path: Path) -> tuple[int, Path | None]:
    """Keep the sound first lines of a damaged journal, or of the record of a language model's answers.

    Returns:
        How many lines the file has now, and where the damaged one is kept; None if nothing was damaged.

    Raises:
        StudyError: there is no such file, a process works with it, or not even its first line is sound.
    """
    if not path.is_file():
        raise StudyError(f"{path}: no such file; name a damaged journal.jsonl or {EXCHANGES}.")
    if ".jsonl" not in path.name:
        raise StudyError(f"{path} is no journal; name a damaged journal.jsonl or {EXCHANGES}.")
    if path.name != EXCHANGES:
        log = LineLog(path, _WHAT, _MEND, _FIELDS, strict=False)
        if log.broken is not None and not log.records:  # a file of something else gets no lock beside it
            raise StudyError(log.broken)
    try:
        with files.locked_meanwhile(path.parent / ".lock"):
            if path.name == EXCHANGES:
                return keep_sound_exchanges(path)
            return keep_sound_lines(path, _WHAT, _MEND, _FIELDS)
    except files.InUse as error:
        raise StudyError(f"{path}: another process works with it; wait for it or stop it first.") from error


def decisions(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events without times and costs: equal for two runs of the same study on the same machine."""
    return [_stable(event) for event in events]


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stable(item) for key, item in value.items() if key not in VOLATILE_FIELDS}
    if isinstance(value, list):
        return [_stable(item) for item in value]
    return value
