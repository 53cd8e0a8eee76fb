"""The board in a terminal, refreshed while one looks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from autoselection.errors import StudyError
from autoselection.report.sheet import Sheet
from autoselection.terminal import Terminal, Text, styled, visible
from autoselection.watch.board import Bar, Board, LossBoard, board
from autoselection.watch.folder import StudyFolder

_INTERVAL = 1.0
_BLOCKS, _PLAIN_BLOCKS = "▁▂▃▄▅▆▇█", "_.-=*#"
_CURVE_WIDTH = 40
_COLOURS = {"running": "green", "finished": "green", "failed": "red", "silent": "red"}
#: Columns of the trials that fit beside one another.
_TRIAL_COLUMNS = ("trial", "dev score", "expected", "rows", "kind", "took", "edit")


def watch_terminal(folder: StudyFolder, console: Terminal) -> None:
    """Show a study until Ctrl-C; once, where there is no terminal."""
    if not console.is_terminal:
        console.print(picture(board(folder.look()), console, height=None))
        return
    shown: RenderableType = picture(board(folder.look()), console, height=console.height)
    try:
        with Live(shown, console=console, auto_refresh=False, screen=True) as live:
            while True:
                time.sleep(_INTERVAL)
                shown = _next_picture(folder, console)
                live.update(shown, refresh=True)
    except KeyboardInterrupt:
        console.print(shown)  # what was seen last stays


def _next_picture(folder: StudyFolder, console: Terminal) -> RenderableType:
    try:
        return picture(board(folder.look()), console, height=console.height)
    except StudyError as error:  # it may be moved, or be written anew: it is looked for again
        return Text(visible(error), "red")


def picture(found: Board, console: Terminal, *, height: int | None) -> Group:
    """The board as something Rich prints.

    Args:
        height: lines that there are: as many trials as fit are shown; None shows all.
    """
    now, results = found.now, found.results
    blocks = _BLOCKS if console.encoding.lower().startswith("utf") else _PLAIN_BLOCKS
    parts: list[RenderableType] = [
        Text.assemble((visible(found.title), "bold"), "  ", styled(now.headline, _COLOURS.get(now.state, "yellow"))),
        Text("   ".join(f"{name}: {value}" for name, value in _shown(now.facts)), "dim"),
    ]
    parts += [_bar(bar) for bar in now.bars]
    if results.best:
        parts.append(Text("Best so far: " + ", ".join(f"{name} {value}" for name, value in _shown(results.best))))
    if len(results.points) > 1:
        scores = [point.best for point in results.points]
        parts.append(Text(f"Best by evaluation: {sparkline(scores, blocks)} {scores[0]:.4f} to {scores[-1]:.4f}"))
    if results.verdict:
        parts.append(Text(visible(results.verdict)))
    if now.workers.rows:
        parts.append(_table(now.workers))
    parts += [_curve(curve, blocks) for curve in now.curves]
    if results.tests.rows:
        parts.append(_table(results.tests))
    notes = [Text(f"- {visible(note)}", "dim") for note in results.notes[-3:]]
    trials = _only(results.trials, _TRIAL_COLUMNS)
    if height is not None:
        taken = sum(len(console.render_lines(part)) for part in (*parts, *notes))
        trials = Sheet(trials.title, trials.headings, trials.rows[: max(1, height - taken - 6)])
    if trials.rows:
        parts.append(_table(trials, wrapped=height is None))
    return Group(*parts, *notes)


def sparkline(values: Sequence[float], blocks: str = _BLOCKS, width: int = _CURVE_WIDTH) -> str:
    """Values as a line of blocks, lowest to highest; neighbours are averaged where there are more than ``width``."""
    if len(values) > width:
        ends = [round(place * len(values) / width) for place in range(width + 1)]
        values = [sum(values[first:last]) / (last - first) for first, last in pairwise(ends)]
    low, high = min(values), max(values)
    scale = (len(blocks) - 1) / (high - low) if high > low else 0.0
    return "".join(blocks[round((value - low) * scale)] for value in values)


def _shown(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(visible(name), visible(value)) for name, value in pairs]


def _bar(bar: Bar) -> RenderableType:
    line = Table.grid(padding=(0, 1))
    line.add_row(
        Text(visible(bar.what)),
        ProgressBar(total=bar.total, completed=bar.done, width=30, pulse=False) if bar.total else Text(""),
        Text(bar.said),
    )
    return line


def _curve(curve: LossBoard, blocks: str) -> RenderableType:
    line = sparkline([loss for _, loss in curve.points], blocks)
    return Text(f"Loss of {visible(curve.title)}: {line} {curve.said}", "" if curve.running else "dim")


def _only(sheet: Sheet, columns: Sequence[str]) -> Sheet:
    places = [sheet.headings.index(column) for column in columns]
    return Sheet.of(sheet.title, columns, ([row[place] for place in places] for row in sheet.rows))


def _table(sheet: Sheet, *, wrapped: bool = False) -> Table:
    table = Table(title=visible(sheet.title), title_justify="left", box=None, padding=(0, 1, 0, 0))
    for heading in sheet.headings:
        table.add_column(
            Text(visible(heading), "bold"), no_wrap=not wrapped, overflow="fold" if wrapped else "ellipsis"
        )
    for row in sheet.rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    return table
