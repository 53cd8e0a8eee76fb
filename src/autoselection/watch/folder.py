"""A study's folder, looked at again and again."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from autoselection.errors import StudyError
from autoselection.study import Study
from autoselection.study.kind import JOURNAL, no_study
from autoselection.study.study import CONFIG
from autoselection.watch.activities import Activities
from autoselection.watch.journal import FollowedJournal
from autoselection.watch.record import Record, record
from autoselection.watch.snapshot import Snapshot, snapshot


class StudyFolder:
    """A study that may be running, stopped, finished or copied. Several threads may look.

    Args:
        path: the study's folder.

    Raises:
        StudyError: there is no study, it has no journal, or the journal is of something else.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise StudyError(f"{path}: no such folder; name the directory of a study.")
        if not (path / JOURNAL).is_file():
            raise no_study(path)
        self.path = path
        self._guard = threading.Lock()  # of this process's memory: no file is locked
        self._activities = Activities(path)
        self._journal = FollowedJournal(path / JOURNAL)
        self._study: Study | None = None
        self._config: tuple[int, ...] | None = None  # how the file was
        self._version = -1  # of the journal
        self._record: Record | None = None
        self._records = 0
        self._latest: tuple[float, Snapshot] | None = None
        with self._guard:
            self._read()

    def _read(self) -> Study:
        """The study as its journal and configuration are now.

        Raises:
            StudyError: it cannot be read.
        """
        try:
            self._journal.read_on()
            status = (self.path / CONFIG).stat()
        except OSError as error:
            raise StudyError(f"{self.path}: the study cannot be read ({error.strerror or error}).") from error
        config = (status.st_ino, status.st_size, status.st_mtime_ns)
        if self._study is None or config != self._config:
            self._study, self._config, self._record = Study(self.path, self._journal), config, None
        if self._journal.version != self._version:
            self._version, self._record = self._journal.version, None
        return self._study

    def _recorded(self, study: Study) -> Record:
        try:
            return record(study, self._journal.broken)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise StudyError(
                f"{self.path}: its journal holds what this version of the package does not know ({error!r}): watch it "
                "with the version that runs it."
            ) from error

    def look(self, *, at_most_every: float = 0.0) -> Snapshot:
        """The study now; a look that is younger than ``at_most_every`` seconds serves again.

        Raises:
            StudyError: it cannot be read any more.
        """
        with self._guard:
            clock = time.monotonic()
            if self._latest is not None and clock - self._latest[0] < at_most_every:
                return self._latest[1]
            now = time.time()
            study = self._read()
            if self._record is None:
                self._record = self._recorded(study)
                self._records += 1
            found = snapshot(self._record, self._activities.look(now), now, self._records)
            self._latest = (time.monotonic(), found)
            return found
