"""Rows in the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from autoselection.conversation import turn_text
from autoselection.inspection import Difference, DroppedBy, Explanations, Score, ShownRow, ShownRows
from autoselection.notebook import number, short
from autoselection.recipes import Fate, StepJudgement
from autoselection.terminal import Terminal, styled
from autoselection.wording import clipped

#: Longest text of a turn, of a cell of an own column, and of a side of a row on one line (characters).
_TURN, _CELL, _SIDE = 700, 120, 70
#: Sources with a row in a table.
_SOURCES = 20


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


def print_explanations(told: Explanations, name: str, console: Terminal, *, full: bool = False) -> None:
    """Print of each row what every step of a recipe made of it, its signals, its duplicates, its nearest target items."""
    console.say(f"{name}: {told.recipe.describe()}")
    for each in told:
        console.say("")
        print_row(each.shown, console, full=full)
        console.say(styled(each.fate.sentence, "green" if each.fate.selected else "yellow"))
        lines = [(f"{step.number}. {step.phrase}", _what(step), _why(step, each.ids)) for step in each.fate.steps]
        if lines:
            console.table("Step by step", ("step", "the row was", "why"), lines)
        if each.twins:
            twins = [
                (str(t.relative.row), t.id, t.relative.likeness, f"{t.relative.similarity:.3f}", _yes(t.selected))
                for t in each.twins
            ]
            console.table("Rows like it", ("row", "id", "alike in", "similarity", "selected"), twins)
        if each.items:
            items = [(i.task, i.id, f"{i.similarity:.3f}", short(i.prompt, _CELL)) for i in each.items]
            console.table("Nearest target items (by words)", ("task", "item", "similarity", "question"), items)


def _what(step: StepJudgement) -> str:
    if not step.given:
        return "brought back" if step.kept else "not there"
    return "kept" if step.kept else "dropped"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _why(step: StepJudgement, ids: Mapping[int, str]) -> str:
    said = "" if step.judgement is None else step.judgement.sentence
    other = None if step.judgement is None else step.judgement.other
    if other is not None and other in ids:
        said += f" (row {other} is {short(ids[other], 40)})"
    if step.other is not None:
        said += f"; in the other recipe: {step.other.sentence}"
    return said


def print_difference(found: Difference, console: Terminal) -> None:
    """Print what two subsets differ in."""
    first, second = found.names
    for name, recipe in zip(found.names, found.recipes, strict=True):
        console.say(f"{name}: {recipe or 'a list of ids'}")
    console.say(found.sentence)
    only = (f"only {first}", f"only {second}")
    sources = [(name, *(f"{count:,}" for count in counts)) for name, counts in found.sources.items()]
    shown = sources[:_SOURCES]
    if len(sources) > _SOURCES:
        shown.append((f"… {len(sources) - _SOURCES:,} more (see --json)", "", "", "", ""))
    console.table("Rows by source", ("source", "pool", "both", *only), shown, numbers=True)
    lines = [
        (s.name, *(number(each) for each in (s.pool, s.first, s.second, s.only_first, s.only_second, s.apart)))
        for s in found.signals
    ]
    if lines:
        headings = ("signal", "pool", first, second, *only, "apart (sd)")
        console.table("Means of signals", headings, lines, numbers=True)
    state = [(name, *(number(value) for value in pair)) for name, pair in found.state.items() if pair != (None, None)]
    console.table("State vectors", ("", first, second), state, numbers=True)
    if found.scores:
        scores = [
            (name, *("" if value is None else f"{value:.4f}" for value in pair)) for name, pair in found.scores.items()
        ]
        console.table("Scores on dev (higher is better)", ("task", first, second), scores, numbers=True)
    for name, other, examples in zip(found.names, reversed(found.names), found.examples, strict=True):
        cells = [
            (each.id, each.source, short(each.prompt, _SIDE), short(each.response, _SIDE), _of(each.fate))
            for each in examples
        ]
        if cells:
            console.table(f"Only in {name}", ("row", "source", "question", "answer", f"in {other}"), cells)


def print_dropped(dropped: Sequence[DroppedBy], console: Terminal) -> None:
    """Print some rows that each step of a recipe drops, with why."""
    for by in dropped:
        step = f"Step {by.step}, {by.phrase}" if by.step else by.phrase
        cells = [(each.id, each.source, short(each.prompt, _SIDE), _only_why(each.fate)) for each in by.examples]
        title = f"{step}: {by.rows:,} rows dropped, some of them"
        console.table(title, ("row", "source", "question", "why"), cells)


def _only_why(fate: Fate | None) -> str:
    removal = None if fate is None else fate.removal
    return "" if removal is None or removal.judgement is None else removal.judgement.sentence


def _of(fate: Fate | None) -> str:
    return "" if fate is None else fate.sentence
