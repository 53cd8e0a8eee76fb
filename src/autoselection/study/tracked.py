"""What trackers were told of a study, as ``tracking.json`` in its folder has it, and the process that tells them.

A process of its own follows the journal and sends what is done: a tracker that hangs, or a library of one that ends its
process, costs the study nothing. The file says what was sent where, so that no run is sent twice and what is missing is known.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from autoselection import files
from autoselection.config import TrackingConfig
from autoselection.errors import MissingExtraError
from autoselection.progress import console
from autoselection.study.study import Study
from autoselection.system import module_command
from autoselection.system import told as told_by_system
from autoselection.terminal import styled

FILE, LOG, LOCK = "tracking.json", "tracking.log", ".tracking.lock"
#: Key of the study's own run among those of its trials.
STUDY = "study"
#: Longest wait for the last runs at the end of a study (s).
PATIENCE = 60.0
#: What each tracker needs, as Python finds it, and what ``pip`` installs.
PACKAGES: Mapping[str, tuple[str, str]] = {
    "mlflow": ("mlflow", "mlflow"),
    "wandb": ("wandb", "wandb"),
    "trackio": ("trackio", "trackio"),
    "tensorboard": ("tensorboard", "tensorboard"),
}
TITLES: Mapping[str, str] = {
    "mlflow": "MLflow",
    "wandb": "Weights & Biases",
    "trackio": "trackio",
    "tensorboard": "TensorBoard",
}


@dataclass(frozen=True)
class Sent:
    """A run as it was sent last.

    Attributes:
        digest: of all that is told in it.
        run: what the tracker calls it.
    """

    digest: str
    run: str


@dataclass(frozen=True)
class Told:
    """What one tracker was told of one study.

    Attributes:
        study: fingerprint of the study (see ``autoselection.tracking.runs.study_key``).
        to: the tracker.
        where: its server, file or folder, and the project; no password is in it.
        sent: runs by the id of their trial, ``study`` for the study's own.
        problem: why it could not be told more, in a sentence; None if nothing went wrong.
        complete: the study's end and its report were sent.
        time: of the last change (seconds since 1970).
    """

    study: str
    to: str
    where: str
    sent: Mapping[str, Sent] = field(default_factory=dict)
    problem: str | None = None
    complete: bool = False
    time: float = 0.0

    def missing(self, study: Study) -> list[str]:
        """Finished trials that it lacks, and ``study`` if it lacks the study's end."""
        lacking = [trial for trial in done_trials(study) if trial not in self.sent]
        return [*lacking, STUDY] if study.finished and not self.complete else lacking


def done_trials(study: Study) -> list[str]:
    """Trials that have all results, or failed."""
    return [trial.id for trial in study.all_trials() if study.is_done(trial)]


def read_told(folder: Path) -> list[Told]:
    """What trackers were told of the study in ``folder``; nothing where the file is absent or damaged."""
    try:
        document = files.parse_json((folder / FILE).read_bytes())
        return [_told(entry) for entry in document["tracked"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []  # then trackers are asked what they have


def _told(entry: Mapping[str, Any]) -> Told:
    """What the file says of one tracker.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is of another form than :func:`note_told` writes.
    """
    told = Told(**{**entry, "sent": {name: Sent(**run) for name, run in entry["sent"].items()}})
    texts = [told.study, told.to, told.where, "" if told.problem is None else told.problem]
    texts += [text for run in told.sent.values() for text in (run.digest, run.run)]
    sound = all(isinstance(text, str) for text in texts) and told.to in TITLES and isinstance(told.complete, bool)
    if not sound or isinstance(told.time, bool) or not isinstance(told.time, (int, float)):
        raise ValueError("a value is of a wrong kind")
    return told


def note_told(folder: Path, told: Told) -> Told:
    """Write what a tracker was told in place of what was known of it before, and of places where it was told nothing."""
    told = replace(told, time=round(time.time(), 3))
    others = [
        one
        for one in read_told(folder)
        if (one.study, one.to) != (told.study, told.to) or (one.where != told.where and one.sent)
    ]
    document = {"version": 1, "tracked": [asdict(one) for one in (*others, told)]}
    files.write_text(folder / FILE, json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    return told


def tracking_notes(study: Study) -> list[str]:
    """What trackers lack of a study, a sentence each."""
    wanted = study.config.tracking.to
    told = [one for one in read_told(study.path) if one.sent or one.to == wanted]
    notes = []
    for one in told:
        if (one.problem or study.finished) and (missing := one.missing(study)):
            notes.append(_lacks(study, one, missing))
    if wanted is not None and wanted not in {one.to for one in told} and study.finished:
        notes.append(f"Nothing of the study was sent to {TITLES[wanted]}: {_command(study, wanted)} sends it.")
    return notes


def _lacks(study: Study, told: Told, missing: list[str]) -> str:
    trials = [name for name in missing if name != STUDY]
    runs = (
        f"{len(trials)} of {len(done_trials(study))} trials ({', '.join(trials[:5])}{', …' if len(trials) > 5 else ''})"
    )
    what = " and ".join([*([runs] if trials else []), *(["the study's end"] if STUDY in missing else [])])
    why = f": {told.problem.removesuffix('.')}" if told.problem else ""
    return f"{TITLES[told.to]} at {told.where} lacks {what}{why}; {_command(study, told.to)} sends what is missing."


def _command(study: Study, to: str) -> str:
    other = "" if to == study.config.tracking.to else f" --to {to}"
    return f"`autoselection track {study.path}{other}`"


def check_installed(to: str) -> None:
    """See that a tracker's package is there.

    Raises:
        MissingExtraError: it is not.
    """
    module, package = PACKAGES[to]
    if find_spec(module) is None:
        raise MissingExtraError(package, to, f"Tracking by {TITLES[to]} (tracking: {to})")


class Tracking:
    """The process that tells a tracker of a study, from where the study runs."""

    def __init__(self, study: Study, config: TrackingConfig) -> None:
        self._study = study
        self._config = config
        self._problem: str | None = None
        self._seen = self._state()  # what went wrong in an earlier run is not this one's
        self._process: subprocess.Popen[bytes] | None = None
        if config.to is not None:
            if _is_tracked(study.path):
                console.say(
                    styled(TITLES[config.to], "yellow"),
                    ": another process tracks the study, such as one of a run that was stopped; this one begins when that has ended.",
                )
            try:
                with (study.path / LOG).open("ab") as log:
                    self._process = _started(study.path, log)
            except OSError as error:
                what, _ = told_by_system(error, str(study.path / LOG))
                console.say(
                    styled(TITLES[config.to], "yellow"),
                    f": {what}. The study goes on without; {_command(study, config.to)} sends it later.",
                )

    def look(self) -> None:
        """Say what went wrong, once."""
        if self._process is None:
            return
        told = self._told()
        problem = None if told is None else told.problem
        if self._process.poll() not in (None, 0) and problem is None:
            problem = f"its process ended with {self._process.returncode}, see {self._study.path / LOG}"
        if problem is not None and problem != self._problem:
            self._problem = problem
            name = TITLES[str(self._config.to)]
            console.say(styled(name, "yellow"), f": {problem.removesuffix('.')}; the study goes on.")

    def _state(self) -> tuple[int, ...]:
        """What changes when the file is written; nothing where it is absent."""
        try:
            status = (self._study.path / FILE).stat()
        except OSError:
            return ()
        return (status.st_ino, status.st_mtime_ns)

    def _told(self) -> Told | None:
        seen = self._state()
        if seen in ((), self._seen):
            return None
        self._seen = seen
        own = [one for one in read_told(self._study.path) if one.to == self._config.to]
        return max(own, key=lambda one: one.time, default=None)

    def end(self, patience: float) -> None:
        """Let the process send the last, and say what is missing.

        Args:
            patience: longest wait (s); a process that takes longer is ended.
        """
        if self._process is None:
            return
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()  # it sees the end of its input, and sends what is left
        if not patience:
            return
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for said in tracking_notes(self._study):
            console.say(styled("Tracking", "yellow"), f": {said}")


def _is_tracked(folder: Path) -> bool:
    try:
        with files.locked(folder / LOCK, wait=False):
            return False
    except files.InUse:
        return True
    except OSError:  # the process will say so
        return False


def _started(folder: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C is for the study; and nothing of it is shown, what it has to say is in the file.
    return subprocess.Popen(
        module_command("autoselection.tracking", str(folder)),
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


@contextmanager
def tracking(study: Study) -> Iterator[Tracking]:
    """Track a study while it runs; where it fails, nobody waits for the tracker."""
    found = Tracking(study, study.config.tracking)
    try:
        yield found
    except BaseException:
        found.end(0.0)
        raise
    found.end(PATIENCE)
