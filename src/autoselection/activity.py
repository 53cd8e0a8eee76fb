"""What a process is at, in a small file for whoever watches it: its stage, how far it is, losses, memory.

The work notes in memory what it does (:func:`tell_stage`, :func:`tell_loss`, :func:`counted`); a thread of its own writes
the file about once a second, aside and renamed, without a sync and without a lock. So a disk that is full, slow or gone
costs the watcher a look and the work nothing, and a long step does not look like a dead process. The file is of bounded
size and decides nothing: it may be removed at any time.

Where nobody opened an :func:`activity`, telling does nothing.
"""

from __future__ import annotations

import json
import math
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Name of the file: beside a study's journal that of the process which runs it, in ``work/…`` those of evaluations.
FILE = "activity.json"
FORMAT = 1
#: Least time between two writes (s).
INTERVAL = 1.0
#: Most points of a loss curve; from then on a point is the mean of twice as many steps.
POINTS = 256
#: Most characters of a text, such as the error that ended the work.
TEXT = 500
#: How long the end of the work waits for the last write (s): a disk may hang.
_PATIENCE = 2.0

#: What may go wrong with a write, or with asking for memory: the watcher gets no look this time, and the work goes on.
_NO_LOOK = (OSError, ValueError, TypeError, ArithmeticError, AttributeError, RuntimeError, MemoryError)

#: Bytes held of each kind of memory, by name; see :func:`autoselection.evaluation.memory.held_memory`.
Measured = Callable[[], Mapping[str, int]]


@dataclass
class _Counted:
    """Units of work: ``since`` and ``latest`` are when the first one that was not found done began, and the last ended."""

    what: str
    total: int | None
    since: float
    latest: float
    done: int = 0
    found: int = 0


@dataclass
class _Losses:
    """A loss curve of at most :data:`POINTS` points, each the mean of ``every`` steps; the last may be of fewer."""

    steps: int = 0
    every: int = 1
    points: list[float] = field(default_factory=list)
    _last: int = 0  # steps in the last point

    def add(self, loss: float) -> None:
        self.steps += 1
        if self.points and self._last < self.every:
            self._last += 1
            self.points[-1] += (loss - self.points[-1]) / self._last
            return
        if len(self.points) == POINTS:
            self.points = [(a + b) / 2 for a, b in zip(self.points[::2], self.points[1::2], strict=True)]
            self.every *= 2
        self.points.append(loss)
        self._last = 1


class _Activity:
    """What is told, and the thread that writes it down."""

    def __init__(self, path: Path, measured: Measured, about: Mapping[str, Any]) -> None:
        self._path, self._measured, self._about = path, measured, dict(about)
        self._guard = threading.Lock()  # of this process's memory: no file is locked
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._started = time.time()
        self._stage, self._since, self._steps = "", self._started, 0
        self._counted: list[_Counted] = []
        self._losses = _Losses()
        self._ended: str | None = None
        self._error = ""

    def stage(self, name: str, steps: int) -> None:
        with self._guard:
            self._stage, self._since = name, time.time()
            if steps:
                self._steps, self._losses = steps, _Losses()
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_on, name="activity", daemon=True)
            with suppress(RuntimeError):  # no more threads are to be had: nobody watches then
                self._thread.start()

    def loss(self, loss: float) -> None:
        if math.isfinite(loss):
            with self._guard:
                self._losses.add(loss)

    def losses(self, losses: list[float]) -> None:
        if self._losses.steps == 0:
            for loss in losses:
                self.loss(loss)

    def begin(self, what: str, total: int | None) -> _Counted:
        now = time.time()
        counted = _Counted(what, total, now, now)
        with self._guard:
            self._counted.append(counted)
        return counted

    def count(self, counted: _Counted, n: int, found: bool) -> None:
        now = time.time()
        with self._guard:
            if found and counted.done == counted.found:
                counted.since = now
            counted.done, counted.found, counted.latest = counted.done + n, counted.found + n * found, now

    def finish(self, counted: _Counted) -> None:
        with self._guard:
            self._counted.remove(counted)

    def end(self, how: str, error: str) -> None:
        self._ended, self._error = how, error
        self._over.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(_PATIENCE)

    def _write_on(self) -> None:
        while True:
            over = self._over.is_set()  # before what is written: the last write tells the end
            self._write()
            if over:
                return
            self._over.wait(INTERVAL)

    def _write(self) -> None:
        part = self._path.with_name(f".{self._path.name}.part")
        try:
            text = json.dumps(_writable(self._document()), allow_nan=False)
            part.write_text(text, encoding="utf-8")
            part.replace(self._path)
        except _NO_LOOK:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def _document(self) -> dict[str, Any]:
        memory = dict(self._measured())
        with self._guard:
            return {
                "format": FORMAT,
                "process": os.getpid(),
                "host": platform.node(),
                "started": self._started,
                "updated": time.time(),
                "stage": self._stage,
                "since": self._since,
                "ended": self._ended,
                "error": self._error,
                "about": self._about,
                "counted": [vars(counted) for counted in self._counted],
                "steps": {"done": self._losses.steps, "total": self._steps},
                "losses": {
                    "every": self._losses.every,
                    "points": [float(f"{point:.6g}") for point in self._losses.points],
                },
                "memory": memory,
            }


def _writable(value: Any) -> Any:
    """Plain data whose texts whoever watches can read: of bounded length, and without halves of characters, which names of
    files outside UTF-8 are full of."""
    if isinstance(value, str):
        text = value.encode("utf-8", "backslashreplace").decode()
        return text if len(text) <= TEXT else text[: TEXT - 1] + "…"
    if isinstance(value, Mapping):
        return {name: _writable(inner) for name, inner in value.items()}
    return [_writable(inner) for inner in value] if isinstance(value, list) else value


#: Of this thread's work: evaluations that share a process in several threads do not mix.
_current: ContextVar[_Activity | None] = ContextVar("activity", default=None)


def announce(path: Path, stage: str) -> None:
    """Write ``path`` for a process that is about to be started: until it tells its own first stage, whoever watches sees this."""
    own = _Activity(path, dict, {})
    own._stage = stage
    own._write()


@contextmanager
def activity(path: Path, measured: Measured, **about: Any) -> Iterator[None]:
    """Let the block tell what it is at in the file ``path``, whose folder is there when the first stage is told.

    Args:
        measured: the memory that the process holds, asked about once a second.
        about: plain data that stays the same.
    """
    own = _Activity(path, measured, about)
    token, how, why = _current.set(own), "failed", ""
    try:
        yield
        how = "done"
    except KeyboardInterrupt:
        how = "interrupted"
        raise
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise
    finally:
        _current.reset(token)
        own.end(how, why)


def tell_stage(name: str, steps: int = 0) -> None:
    """Tell what begins now; nothing is written before the first stage.

    Args:
        steps: optimiser steps that it will take, if it is a training.
    """
    if (own := _current.get()) is not None:
        own.stage(name, steps)


def tell_loss(loss: float) -> None:
    """Tell the loss of an optimiser step as soon as it is known: a few hundred nanoseconds."""
    if (own := _current.get()) is not None:
        own.loss(loss)


def tell_losses(losses: list[float]) -> None:
    """Tell the losses of all steps of a training that told none while it ran."""
    if (own := _current.get()) is not None:
        own.losses(losses)


@contextmanager
def counted(what: str, total: int | None) -> Iterator[Callable[[int, bool], None]]:
    """Tell of ``total`` units of work; the callable takes how many more are done, and whether they were done already."""
    own = _current.get()
    if own is None:
        yield lambda n, found: None
        return
    entry = own.begin(what, total)
    try:
        yield lambda n, found: own.count(entry, n, found)
    finally:
        own.finish(entry)
