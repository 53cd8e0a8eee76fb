"""Progress on standard error: a bar with rate and remaining time, or in a log a few lines."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Protocol

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from autoselection.terminal import Terminal, visible

SHOW_AFTER_SECONDS = 2.0

#: Standard output carries results only, so that ``--json`` stays one document; people read this console.
console = Terminal(stderr=True)


class Advance(Protocol):
    """Callable that reports ``n`` more finished units; those ``found`` done already do not count in the rate."""

    def __call__(self, n: int = 1, *, found: bool = False) -> None: ...


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.2f}/s")


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Advance]:
    """Show that ``total`` units of work are under way: at once, and how long they will take as soon as that is known.

    A terminal shows a bar, which goes when the work is done. Elsewhere (a log, CI) work that takes longer than two seconds
    has a line when that is known, one each time that it has gone on for three times as long, and one at its end. Work
    inside of other work has a bar of its own below.
    """
    started = time.monotonic()
    shown: _Bar | _Lines = _Bar(description, total) if sys.stderr.isatty() else _Lines(description, total)
    try:
        yield shown.advance
    finally:
        shown.stop()
        seconds = time.monotonic() - started
        if seconds > SHOW_AFTER_SECONDS and (shown.done > shown.found or not shown.found):
            console.say(f"{description}: {shown.done - shown.found:,} in {seconds:,.1f} s")


class _Bar:
    """A bar on a terminal; all bars share one display, as a terminal has one cursor."""

    _display: ClassVar[Progress | None] = None
    _tasks: ClassVar[int] = 0

    def __init__(self, description: str, total: int | None) -> None:
        self.done = self.found = 0
        if _Bar._display is None:
            _Bar._display = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            _Bar._display.start()
        _Bar._tasks += 1
        self._task = _Bar._display.add_task(visible(description), total=total)

    def advance(self, n: int = 1, *, found: bool = False) -> None:
        """Tell of ``n`` more units."""
        at_first = self.done == self.found
        self.done += n
        self.found += n * found
        if _Bar._display is None:
            return
        if found and at_first:
            _Bar._display.reset(self._task, completed=self.done)  # the rate begins here
        else:
            _Bar._display.update(self._task, advance=n)

    def stop(self) -> None:
        """Take the bar away, and the display with the last one."""
        display = _Bar._display
        if display is None:
            return
        display.remove_task(self._task)
        _Bar._tasks -= 1
        if _Bar._tasks == 0:
            _Bar._display = None
            display.stop()


class _Lines:
    """A few lines in a log: their number grows with the logarithm of the time."""

    def __init__(self, description: str, total: int | None) -> None:
        self.done = self.found = 0
        self._description, self._total = description, total
        self._started = self._working_since = time.monotonic()
        self._next = SHOW_AFTER_SECONDS
        self._lock = threading.Lock()
        self._timer = threading.Timer(SHOW_AFTER_SECONDS, self._tell)  # the first unit may take long
        self._timer.daemon = True
        self._timer.start()

    def advance(self, n: int = 1, *, found: bool = False) -> None:
        """Tell of ``n`` more units."""
        if found and self.done == self.found:
            self._working_since = time.monotonic()
        self.done += n
        self.found += n * found
        if self.done != self._total and time.monotonic() - self._started > self._next:
            self._tell()

    def stop(self) -> None:
        """No line after this."""
        self._timer.cancel()
        with self._lock:
            self._next = math.inf

    def _tell(self) -> None:
        with self._lock:
            elapsed = time.monotonic() - self._started
            if elapsed < self._next:
                return
            while self._next <= elapsed:
                self._next *= 3
            of = "" if self._total is None else f" of {self._total:,}"
            left = ""
            if self._total is not None and self.done > self.found:
                each = (time.monotonic() - self._working_since) / (self.done - self.found)
                left = f", about {_duration(each * (self._total - self.done))} to go"
            console.say(f"{self._description}: {self.done:,}{of}{left}")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
