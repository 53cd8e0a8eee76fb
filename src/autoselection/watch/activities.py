"""What the processes of a study say of themselves (see :mod:`autoselection.activity`), and whether they still live.

The files may be those of a copied study, and a stranger's: they are read only if they are plain files of a bounded size
that hold what they should, and are left out otherwise.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autoselection.activity import FILE, POINTS, TEXT

#: Silence from which on a process is not taken to live any more (s): it writes about once a second.
SILENT = 15.0
_LARGEST = 64 << 10

Count = Annotated[int, Field(ge=0, le=1 << 62)]
Name = Annotated[str, Field(max_length=TEXT)]
#: Seconds since 1970, up to the year 9999.
Moment = Annotated[float, Field(ge=0, le=253_402_300_799)]


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class About(_Told):
    """Of an evaluation."""

    split: Name | None = None
    seed: int | None = None
    rows: Count | None = None


class CountedWork(_Told):
    """Units of work under way."""

    what: Name
    total: Count | None
    since: Moment
    latest: Moment
    done: Count
    found: Count


class Steps(_Told):
    """Optimiser steps."""

    done: Count = 0
    total: Count = 0


class Losses(_Told):
    """Mean losses of every so many steps."""

    every: Annotated[int, Field(ge=1, le=1 << 40)] = 1
    points: Annotated[tuple[float, ...], Field(max_length=2 * POINTS)] = ()


class Told(_Told):
    """Content of an activity file; see :mod:`autoselection.activity`."""

    process: Count
    host: Name
    started: Moment
    updated: Moment
    stage: Name
    since: Moment
    ended: Name | None = None
    error: Name = ""
    about: About = About()
    counted: Annotated[tuple[CountedWork, ...], Field(max_length=100)] = ()
    steps: Steps = Steps()
    losses: Losses = Losses()
    memory: Annotated[dict[str, Count], Field(max_length=20)] = {}


@dataclass(frozen=True)
class Activity:
    """One process, or one evaluation of it.

    Attributes:
        label: name of the evaluation's work folder; empty for the process that runs the study.
        told: what its file says.
        alive: whether it was heard of lately, and has not said that it ended.
    """

    label: str
    told: Told
    alive: bool


@dataclass
class _Known:
    key: tuple[int, ...]
    told: Told | None
    changed: float | None  # when this watcher saw it change (monotonic s)


class Activities:
    """The activity files of a study's folder; each is read again only if it changed."""

    def __init__(self, study: Path) -> None:
        self._study = study
        self._known: dict[str, _Known] = {}

    def look(self, now: float) -> list[Activity]:
        """What the files say at ``now`` (seconds since 1970), that of the study's own process first."""
        places = [("", str(self._study / FILE))]
        with suppress(OSError), os.scandir(self._study / "work") as entries:
            places += sorted((entry.name, f"{entry.path}/{FILE}") for entry in entries)  # thousands, once a second
        found = []
        known = {}
        clock = time.monotonic()
        for label, path in places:
            entry = _read(path, self._known.get(path), clock)
            if entry is None:
                continue
            known[path] = entry
            if entry.told is not None:
                # The clock of another machine may be off: what changes under our eyes lives, whatever time it tells.
                heard = entry.changed is not None and clock - entry.changed < SILENT
                fresh = entry.changed is None and abs(now - entry.told.updated) < SILENT
                found.append(Activity(label, entry.told, entry.told.ended is None and (heard or fresh)))
        self._known = known
        return found


def _read(path: str, known: _Known | None, clock: float) -> _Known | None:
    """The file as it is; None if there is none, or none to be read."""
    try:
        status = os.lstat(path)
        key = (status.st_ino, status.st_size, status.st_mtime_ns)
        if known is not None and known.key == key:
            return known
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
            return None
        told = Told.model_validate_json(Path(path).read_bytes()[:_LARGEST])
    except ValidationError:
        told = None
    except OSError:
        return None
    return _Known(key, told, None if known is None else clock)
