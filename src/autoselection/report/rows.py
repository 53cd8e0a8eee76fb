"""Rows in the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from autoselection.conversation import turn_text
from autoselection.inspection import Score, ShownRow, ShownRows
from autoselection.notebook import number, short
from autoselection.terminal import Terminal, styled
from autoselection.wording import clipped

#: Longest text of a turn, of a cell of an own column, and of a side of a row on one line (characters).
_TURN, _CELL, _SIDE = 700, 120, 70


def print_rows(shown: ShownRows, name: str, console: Terminal, *, brief: bool = False, full: bool = False) -> None:
    """Print rows, each with its turns and signals, or on one line."""
    count = f"{len(shown):,} of them shown" if len(shown) < shown.matching else "all shown"
    matching = "1 row" if shown.matching == 1 else f"{shown.matching:,} rows"
    console.say(f"{name}: {matching} of {len(shown.pool):,}" + (f", {count}." if shown.matching else "."))
    if brief:
        if len(shown):
            names = list(shown[0].scores)[:4]
            lines = [_brief(each, names) for each in shown]
            console.table("Rows", ("row", "id", "source", "question", "answer", *names), lines)
        return
    for each in shown:
        console.say("")
        print_row(each, console, full=full)


def print_row(shown: ShownRow, console: Terminal, *, full: bool = False) -> None:
    """Print one row: where it is from, its turns, its own columns, its signals."""
    row = shown.row
    place = "" if shown.file is None else f" ({shown.file}:{shown.line})"
    console.say(styled(f"Row {row.row}", "bold"), f": {row.id}, source {row.source}{place}")
    for message in row.messages:
        text = turn_text(message) if full else clipped(turn_text(message), _TURN)
        first, *more = text.split("\n")
        console.say(styled(f"{message['role']}:", "cyan"), f" {first}")
        for line in more:
            console.say(f"    {line}")
    if row.tools:
        console.say(f"tools declared: {len(row.tools):,}")
    if row.meta:
        cells = [(name, value if full else short(value, _CELL)) for name, value in _own(row.meta)]
        console.table("Own columns", None, cells)
    if shown.scores:
        print_scores_of(shown.scores, console)


def print_scores_of(scores: Any, console: Terminal) -> None:
    """Print the signals of a row with their percentiles."""
    headings = ("signal", "score", "percentile in the pool", "in its source")
    console.table("Signals", headings, [(name, *_cells(score)) for name, score in scores.items()], numbers=True)


def _cells(score: Score) -> Sequence[str]:
    return (
        "no score" if score.value is None else number(score.value),
        "" if score.pool is None else f"{score.pool:.0f}",
        "" if score.source is None else f"{score.source:.0f}",
    )


def _own(meta: Any) -> list[tuple[str, str]]:
    return [
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in meta.items()
    ]


def _brief(shown: ShownRow, names: Sequence[str]) -> tuple[str, ...]:
    said = {"user": "", "assistant": ""}
    for message in shown.row.messages:
        if message["role"] in said and not said[message["role"]]:
            said[message["role"]] = short(turn_text(message), _SIDE)
    scores = [_cells(shown.scores[name])[0] for name in names]
    return (str(shown.row.row), short(shown.row.id, 40), short(shown.row.source, 30), *said.values(), *scores)
