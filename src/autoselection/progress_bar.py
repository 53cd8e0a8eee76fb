"""Bars on a terminal that show how far work has come."""

from __future__ import annotations

from typing import ClassVar

from rich.console import Console
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

from autoselection.terminal import visible


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.2f}/s")


class Bar:
    """A bar on a terminal; all bars share one display, as a terminal has one cursor."""

    _display: ClassVar[Progress | None] = None
    _tasks: ClassVar[int] = 0

    def __init__(self, description: str, total: int | None, console: Console) -> None:
        self.done = self.found = 0
        if Bar._display is None:
            Bar._display = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            Bar._display.start()
        Bar._tasks += 1
        self._task = Bar._display.add_task(visible(description), total=total)

    def advance(self, n: int = 1, *, found: bool = False) -> None:
        """Tell of ``n`` more units."""
        at_first = self.done == self.found
        self.done += n
        self.found += n * found
        if Bar._display is None:
            return
        if found and at_first:
            Bar._display.reset(self._task, completed=self.done)  # the rate begins here
        else:
            Bar._display.update(self._task, advance=n)

    def stop(self) -> None:
        """Take the bar away, and the display with the last one."""
        display = Bar._display
        if display is None:
            return
        display.remove_task(self._task)
        Bar._tasks -= 1
        if Bar._tasks == 0:
            Bar._display = None
            display.stop()
