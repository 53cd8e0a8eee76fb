"""What a tracker can do, and which there are."""

from __future__ import annotations

import hashlib
import importlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar, cast
from urllib.parse import urlsplit, urlunsplit

from autoselection.config import TrackingConfig
from autoselection.errors import StudyError
from autoselection.tracking.runs import Run

#: Longest name of a number (characters).
_LONGEST = 250

Entry = TypeVar("Entry")


class TrackerError(StudyError):
    """A tracker cannot be reached, or refuses what it is told."""


class Tracker(Protocol):
    """Runs in one project of one tracker, for one study. What fails raises whatever the tracker's library raises.

    Attributes:
        where: its server, file or folder, and the project; without passwords.
    """

    where: str

    def open(self, study: Run, known: str | None) -> str:
        """Begin the study's run, or find it, and return what the tracker calls it.

        Args:
            known: what it was called when it was sent last.
        """
        ...

    def send(self, trial: Run, known: str | None) -> str:
        """Write a trial's run and return what the tracker calls it.

        Args:
            known: of one that was sent: only its words and its final numbers are new.
        """
        ...

    def update(self, study: Run, points: int, files: Sequence[Path]) -> Sequence[str]:
        """Tell how the study stands, and return the names of the files that it took.

        Args:
            points: those of ``study.points`` that were sent already (count).
            files: to attach, where the tracker can.
        """
        ...

    def close(self) -> None:
        """End what is open; nothing is sent behind it."""
        ...


def open_tracker(config: TrackingConfig, folder: Path, key: str) -> Tracker:
    """The tracker that a configuration names.

    Args:
        folder: of the study.
        key: fingerprint of the study, by which its runs are found again.
    """
    assert config.to is not None
    module = importlib.import_module(f"autoselection.tracking.trackers.{config.to}_runs")
    return cast(Tracker, module.open_runs(config, folder, key))


def plain_names(values: Mapping[str, Entry]) -> dict[str, Entry]:
    """Values by names that every tracker takes: letters and digits of all scripts, ``.``, ``/``, ``-``, blanks, ``_`` for all
    else, 250 characters at most. Where that makes two names the same, each gets eight digits of its hash."""
    plain = {name: _plain(name) for name in values}
    met = Counter(plain.values())
    return {plain[name] if met[plain[name]] == 1 else _told_apart(name): value for name, value in values.items()}


def _plain(name: str) -> str:
    return re.sub(r"[^\w./ -]", "_", name).strip()[:_LONGEST]


def _told_apart(name: str) -> str:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{_plain(name)[: _LONGEST - 9]}-{digest}"


def without_password(address: str) -> str:
    """An address without user, password and query."""
    parts = urlsplit(address)
    if not parts.netloc:
        return address
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
