"""Progress on standard error: a bar with rate and remaining time for work longer than two seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

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
    """Callable that reports ``n`` more finished units."""

    def __call__(self, n: int = 1) -> None: ...


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.2f}/s")


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Advance]:
    """Show a bar for ``total`` units of work, but only once it has run for two seconds.

    On a stream that is not a terminal (a log, CI) nothing is drawn; one line tells the total at the end.
    """
    started = time.monotonic()
    bar: Progress | None = None
    task_id = None
    done = 0
    interactive = sys.stderr.isatty()

    def advance(n: int = 1) -> None:
        nonlocal bar, task_id, done
        done += n
        if not interactive:
            return
        if bar is None and time.monotonic() - started > SHOW_AFTER_SECONDS:
            bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            bar.start()
            task_id = bar.add_task(visible(description), total=total, completed=done)
        elif bar is not None and task_id is not None:
            bar.update(task_id, advance=n)

    try:
        yield advance
    finally:
        if bar is not None:
            bar.stop()
        seconds = time.monotonic() - started
        if seconds > SHOW_AFTER_SECONDS:
            console.say(f"{description}: {done:,} in {seconds:,.1f} s")
