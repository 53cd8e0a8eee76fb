"""Sending a study to a tracker: what is missing there, whenever it is asked, and as it comes while the study runs."""

from __future__ import annotations

import io
import os
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from autoselection import files
from autoselection.config import TrackingConfig
from autoselection.errors import StudyError
from autoselection.report.page import page_html
from autoselection.report.study_page import study_page
from autoselection.report.study_report import view_markdown
from autoselection.report.study_view import view_study
from autoselection.study import Study
from autoselection.study.kind import JOURNAL
from autoselection.study.tracked import LOCK, STUDY, TITLES, Sent, Told, check_installed, note_told, read_told
from autoselection.system import told as told_of
from autoselection.tracking.runs import study_key, study_run, trial_runs
from autoselection.tracking.secrets import Secrets
from autoselection.tracking.trackers import Tracker, TrackerError, open_tracker
from autoselection.tracking.trackers.base import without_password
from autoselection.watch.journal import FollowedJournal

#: How often the journal of a running study is looked at (s).
_LOOK = 2.0
#: Waits after failures (s): doubled each time.
_FIRST_WAIT, _LONGEST_WAIT = 5.0, 300.0
#: How long the last runs of a study that has ended, or was stopped, may take (s): then the tracker is not waited for any more.
_LAST = 180.0


@dataclass(frozen=True)
class Tracked:
    """What one call sent.

    Attributes:
        to, where: the tracker, and its server, file or folder.
        sent: runs that were sent or brought up to date, by the ids of their trials; ``study`` is the study's own.
        there: runs that were there already (count).
        files: that were attached, by name.
    """

    to: str
    where: str
    sent: tuple[str, ...]
    there: int
    files: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def track_study(study: Study | Path | str, config: TrackingConfig | None = None) -> Tracked:
    """Send a tracker what it lacks of a study, finished or not; nothing is sent twice.

    Args:
        study: the study, or its folder.
        config: which tracker; None: the one of the study's configuration.

    Raises:
        MissingExtraError: the tracker's package is not installed.
        TrackerError: the tracker cannot be reached, or refuses; what was sent stays and is not sent again.
        StudyError: there is no study, it names no tracker, or a process tracks it already.
    """
    study = study if isinstance(study, Study) else Study(Path(study).resolve())
    config = study.config.tracking if config is None else config
    if config.to is None:
        raise StudyError(f"{study.path}: its configuration names no tracker: name one with --to {', '.join(TITLES)}.")
    check_installed(config.to)
    sender = Sender(study.path, config)
    try:
        # Some print what they do, to where the result belongs.
        with files.locked(study.path / LOCK, wait=False), redirect_stdout(io.StringIO()):
            return sender.send(study)
    except files.InUse as error:
        raise StudyError(
            f"{study.path} is being tracked by another process, such as a running search: wait for it."
        ) from error
    finally:
        with redirect_stdout(io.StringIO()):
            sender.close()


class Sender:
    """Sends a study to one tracker, again and again; what was sent is noted in the study's folder at once.

    Args:
        folder: of the study.
        config: which tracker.
    """

    def __init__(self, folder: Path, config: TrackingConfig) -> None:
        self._folder, self._config = folder, config
        self._tracker: Tracker | None = None
        self._told: Told | None = None
        self._opened = False  # the study's run
        self._points = 0

    def send(self, study: Study) -> Tracked:
        """Send what is missing.

        Raises:
            TrackerError: it did not work; the study's folder says what was sent and why no more.
        """
        key = study_key(study)
        assert self._config.to is not None
        if key is None:
            return Tracked(self._config.to, "", (), 0, ())
        secrets = Secrets(study.config, self._config.uri)
        try:
            return self._send(study, key, secrets)
        except Exception as error:
            self.close()
            said = secrets.text(_sentence(error))
            told = self._told or Told(key, self._config.to, without_password(self._config.uri or "its usual place"))
            self._told = note_told(self._folder, replace(told, problem=said))
            raise TrackerError(f"{study.path} could not be sent to {TITLES[self._config.to]}: {said}.") from error

    def _send(self, study: Study, key: str, secrets: Secrets) -> Tracked:
        tracker, told = self._prepare(key, secrets)
        own = secrets.run(study_run(study))
        runs = [secrets.run(run) for run in trial_runs(study)]
        due = [run for run in runs if run.key not in told.sent or told.sent[run.key].digest != run.digest]
        known = told.sent.get(STUDY)
        behind = known is None or known.digest != own.digest or (study.finished and not told.complete)
        attached: Sequence[str] = ()
        if (due or behind) and not self._opened:
            name = tracker.open(own, None if known is None else known.run)
            self._opened, self._points = True, 0  # points sent by another process: trackers take them twice for once
            if known is None or known.run != name:
                told = self._note(replace(told, sent={**told.sent, STUDY: Sent("", name)}, complete=False))
        for run in due:
            before = told.sent.get(run.key)
            name = tracker.send(run, None if before is None else before.run)
            told = self._note(replace(told, sent={**told.sent, run.key: Sent(run.digest, name)}, problem=None))
        if behind:
            with tempfile.TemporaryDirectory(prefix="autoselection-") as place:
                found = _report(self._folder, Path(place), secrets, self._config.texts) if study.finished else []
                attached = tracker.update(own, self._points, found)
            self._points = len(own.points)
            sent = {**told.sent, STUDY: Sent(own.digest, told.sent[STUDY].run)}
            told = self._note(replace(told, sent=sent, problem=None, complete=study.finished))
        elif told.problem is not None:
            told = self._note(replace(told, problem=None))
        sent_now = (*(run.key for run in due), *([STUDY] if behind else []))
        there = len(runs) + 1 - len(sent_now)
        return Tracked(told.to, told.where, sent_now, there, tuple(attached))

    def _prepare(self, key: str, secrets: Secrets) -> tuple[Tracker, Told]:
        """The tracker, and what it was told before of the study of this fingerprint."""
        if self._tracker is None or self._told is None or self._told.study != key:
            self.close()
            self._tracker = open_tracker(self._config, self._folder, key)
            where, to = secrets.text(self._tracker.where), str(self._config.to)
            before = [one for one in read_told(self._folder) if (one.study, one.to, one.where) == (key, to, where)]
            self._told = before[-1] if before else Told(key, to, where)
        return self._tracker, self._told

    def _note(self, told: Told) -> Told:
        self._told = note_told(self._folder, told)
        return self._told

    def close(self) -> None:
        """End what is open at the tracker."""
        tracker, self._tracker, self._opened = self._tracker, None, False
        if tracker is None:
            return
        try:
            tracker.close()
        except Exception as error:  # noqa: BLE001 - whatever a library raises; it is noted
            if self._told is not None:
                self._told = note_told(self._folder, replace(self._told, problem=_sentence(error), complete=False))


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:  # a file of this machine
        return ". ".join(told_of(error)).removesuffix(".")
    said = " ".join(str(error).split()) or type(error).__name__
    return (said if len(said) <= 300 else f"{said[:299]}…").removesuffix(".")


def _report(folder: Path, place: Path, secrets: Secrets, texts: bool) -> list[Path]:
    """The study's report, configuration and recipe as files in ``place``; without rows of the pool, unless asked for."""
    study = Study(folder)
    view = view_study(study)
    if not texts and view.selection is not None:
        told = "Rows, and what each step did to them, are not shown here: this copy has no text of the pool (tracking.texts)."
        view = replace(view, selection=None, missing=(*view.missing, told))
    made = {"report.md": secrets.text(view_markdown(view)), "config.yaml": secrets.configuration(study.config)}
    made["report.html"] = secrets.document(page_html(study_page(view)))
    for name in ("recipe.yaml", "recipe.lock.yaml"):
        with suppress(OSError):
            made[name] = secrets.text((folder / "best" / name).read_text(encoding="utf-8"))
    for name, text in made.items():
        (place / name).write_text(text, encoding="utf-8")
    return [place / name for name in made]


def follow_study(folder: Path, ended: threading.Event, *, clock: Callable[[], float] = time.monotonic) -> None:
    """Send a running study's runs as they come, until it has ended and the last are sent, or the tracker fails then.

    Args:
        ended: set when the study's process has nothing more to do.
    """
    journal = FollowedJournal(folder / JOURNAL, states=True)
    sender: Sender | None = None
    version, wait, again = -1, _FIRST_WAIT, 0.0
    try:
        # Another that follows it still is one whose study was interrupted: it ends.
        with files.locked(folder / LOCK, wait=True):
            while True:
                last = ended.is_set()
                with suppress(OSError):
                    journal.read_on()
                due = journal.version != version or again
                if journal.events and due and (last or clock() >= again):
                    study = Study(folder, journal)
                    sender = sender or Sender(folder, study.config.tracking)
                    version = journal.version
                    try:
                        sender.send(study)
                        wait, again = _FIRST_WAIT, 0.0
                    except TrackerError:  # noted; tried again
                        traceback.print_exc()
                        again, wait = clock() + wait, min(2 * wait, _LONGEST_WAIT)
                if last:
                    return
                ended.wait(_LOOK)
    finally:
        if sender is not None:
            sender.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Follow the study of the first argument until this process's input ends, and no more than :data:`_LAST` longer:
    ``python -m autoselection.tracking STUDY``."""
    (folder,) = sys.argv[1:] if arguments is None else arguments
    ended = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.buffer.read()
        ended.set()
        time.sleep(_LAST)
        os._exit(1)  # whatever it hangs at; the next one sends what is missing

    threading.Thread(target=wait_for_end, daemon=True).start()
    follow_study(Path(folder), ended)
