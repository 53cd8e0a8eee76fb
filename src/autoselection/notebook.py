"""What a notebook shows of an object: one line, or a heading with facts and tables.

Names, ids and row texts are a stranger's: they stay text. What a terminal would obey is shown as an escape, HTML is
escaped, and notebooks are told to look for no formulas in it. Texts are cut to what a person reads.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

from autoselection.markup import one_line
from autoselection.terminal import visible

#: Longest text of a cell (characters); a cell that is a turn of a conversation may be longer.
CELL, TURN = 120, 600
#: Rows of a table by default (count).
ROWS = 10

_CELL = '<td style="text-align:left;vertical-align:top">{}</td>'
_NUMBER = '<td style="text-align:right;vertical-align:top">{}</td>'
_TEXT = '<td style="text-align:left;vertical-align:top;white-space:pre-wrap">{}</td>'


def line(kind: str, *parts: object) -> str:
    """``<Pool mine-pool: 3,700 rows>``: the one line that ``repr`` gives, from the parts that are not empty."""
    said = " ".join(filter(None, (short(part, 200) for part in parts)))
    return f"<{kind} {said}>" if said else f"<{kind}>"


def short(text: object, limit: int = CELL) -> str:
    """Text on one line, cut to ``limit`` characters, with nothing in it that a terminal would obey."""
    whole = str(text)
    shown = one_line(whole[: 4 * limit])
    return shown if len(shown) <= limit and len(whole) <= 4 * limit else shown[: limit - 1] + "…"


def page(title: str, facts: Mapping[str, object], *tables: str) -> str:
    """A heading, what is to be known besides, and tables that :func:`table` made."""
    # The classes by which MathJax is told to leave a text alone.
    parts = ['<div class="tex2jax_ignore mathjax_ignore">', f"<strong>{_escaped(short(title, 200))}</strong>"]
    if facts:
        rows = "".join(
            f"<tr>{_CELL.format(_escaped(short(name)))}{_CELL.format(_escaped(short(value, 200)))}</tr>"
            for name, value in facts.items()
        )
        parts.append(f"<table>{rows}</table>")
    return "".join([*parts, *tables, "</div>"])


def table(
    headings: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    total: int | None = None,
    what: str = "rows",
    cell: int = CELL,
    shown: int = ROWS,
) -> str:
    """An HTML table; numbers stand to the right.

    Args:
        headings: of the columns.
        rows: cells of each row.
        total: how many there are, if ``rows`` are not all.
        what: is counted, in the plural.
        cell: longest text of a cell (characters).
        shown: most rows that are shown (count); the others are counted.
    """
    cells = [list(row) for row in rows]
    count = len(cells) if total is None else total
    cells = cells[:shown]
    head = "".join(f'<th style="text-align:left">{_escaped(short(heading))}</th>' for heading in headings)
    body = "".join(f"<tr>{''.join(_cell(value, cell) for value in row)}</tr>" for row in cells)
    more = f"<div>… {count - len(cells):,} more {_escaped(short(what))}</div>" if count > len(cells) else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def turns(spoken: Iterable[tuple[str, str]]) -> str:
    """A conversation as a table of who says what, with its line breaks."""
    body = "".join(
        f"<tr>{_CELL.format(_escaped(short(who)))}{_TEXT.format(_escaped(_cut(said)))}</tr>" for who, said in spoken
    )
    return f"<table><tbody>{body}</tbody></table>"


def bullets(sentences: Iterable[object]) -> str:
    """Sentences as a list; nothing without any."""
    items = "".join(f"<li>{_escaped(short(sentence, 400))}</li>" for sentence in sentences)
    return f"<ul>{items}</ul>" if items else ""


def drawn(what: str, *given: Any, **more: Any) -> Any:
    """A plot from the one place that draws, named by text: it stands above all objects that are drawn.

    Args:
        what: name of a function of :mod:`autoselection.report.plots`, called with the rest.
    """
    return getattr(import_module("autoselection.report.plots"), what)(*given, **more)


def counted(number: int, noun: str) -> str:
    """``1 row``, ``3,700 rows``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def number(value: float | int | None) -> str:
    """A number in a table: whole and large ones with separators, others with four significant digits, nothing for none."""
    if value is None or value != value:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"


def _cell(value: object, limit: int) -> str:
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return _NUMBER.format(number(value))
    return _CELL.format(_escaped(short(value, limit)))


def _cut(text: str) -> str:
    shown = visible(text[: TURN + 1], lines=True)
    return shown if len(text) <= TURN else shown[: TURN - 1] + "…"


def _escaped(text: str) -> str:
    return html.escape(visible(text, lines=True))
