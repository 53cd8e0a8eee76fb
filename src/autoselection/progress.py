"""Progress on standard error: a bar with rate and remaining time, or in a log a few lines."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from autoselection.activity import counted
from autoselection.terminal import Terminal
from autoselection.wording import duration

if TYPE_CHECKING:
    from autoselection.progress_bar import Bar

SHOW_AFTER_SECONDS = 2.0

#: Standard output carries results only, so that ``--json`` stays one document; people read this console.
console = Terminal(stderr=True)


class Advance(Protocol):
    """Callable that reports ``n`` more finished units; those ``found`` done already do not count in the rate."""

    def __call__(self, n: int = 1, *, found: bool = False) -> None: ...


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Advance]:
    """Show that ``total`` units of work are under way: at once, and how long they will take as soon as that is known.

    A terminal shows a bar, which goes when the work is done. Elsewhere (a log, CI) work that takes longer than two seconds
    has a line when that is known, one each time that it has gone on for three times as long, and one at its end. Work
    inside of other work has a bar of its own below.
    """
    started = time.monotonic()
    shown = _bar(description, total) if sys.stderr.isatty() else _Lines(description, total)

    def advance(n: int = 1, *, found: bool = False) -> None:
        shown.advance(n, found=found)
        told(n, found)

    try:
        with counted(description, total) as told:  # for whoever watches from elsewhere
            yield advance
    finally:
        shown.stop()
        seconds = time.monotonic() - started
        if seconds > SHOW_AFTER_SECONDS and (shown.done > shown.found or not shown.found):
            console.say(f"{description}: {shown.done - shown.found:,} in {seconds:,.1f} s")


def _bar(description: str, total: int | None) -> Bar | _Lines:
    from autoselection.progress_bar import Bar  # what Rich takes longest to import

    return Bar(description, total, console)


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
                left = f", about {duration(each * (self._total - self.done))} to go"
            console.say(f"{self._description}: {self.done:,}{of}{left}")
