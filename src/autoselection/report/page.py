"""A page of results: sections of tables, plots and rows as data, written as one HTML file that fetches nothing.

A page is made of frozen parts, and knows nothing of studies or pools::

    page = Page("Study demo", sections=(Section("Answer", (Sentences(said), Figure(...), Sheet(...))),))
    write_page(page, folder / "report.html")

Whoever makes parts passes text as it is: names, ids and row texts are a stranger's, and everything is escaped here, in
the words of plots too. The one exception are ``hovertemplate`` and ``texttemplate`` of a trace, which hold Plotly's own
markup: write them as constants, and let ``customdata`` or ``text`` bring in names. As a second wall the file's Content
Security Policy runs two scripts alone, known by their hashes, and lets nothing be loaded or sent.

Every plot has a sentence that says what it shows and its numbers as a table: for screen readers, for search, for a
browser that draws nothing. Without Plotly installed the numbers stand in the plots' places.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files as resources
from pathlib import Path
from typing import Any, TypeAlias

from autoselection import files
from autoselection._version import __version__
from autoselection.markup import one_line
from autoselection.report.plotly_bundle import Bundle, plotly_bundle
from autoselection.report.sheet import Sheet
from autoselection.terminal import visible

_NUMBER = ' class="number"'
#: Keys of traces and layouts whose strings are Plotly's own markup, and ours.
_OURS = frozenset({"hovertemplate", "texttemplate"})


@dataclass(frozen=True)
class Sentences:
    """What is to be said; ``listed`` as a list."""

    said: tuple[str, ...]
    listed: bool = False


@dataclass(frozen=True)
class Facts:
    """Names and values, few enough to stand side by side."""

    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Code:
    """Text to copy as it is: commands, a configuration.

    Attributes:
        title: what it is.
        folded: shown on demand.
    """

    title: str
    text: str
    folded: bool = False


@dataclass(frozen=True)
class Figure:
    """A plot.

    Attributes:
        title: above it.
        told: what it shows, in a sentence or two: stands below it, and is all that a screen reader says of the plot.
        numbers: the same as a table.
        traces: Plotly's traces as plain mappings; arrays may be NumPy's, NaN is a gap. Colours and symbols of
            ``report.palette`` can be told apart by everyone, on light and dark ground.
        layout: Plotly's layout without title, fonts and colours, which are the page's.
        height: of the plot (pixels).
    """

    title: str
    told: str
    numbers: Sheet
    traces: tuple[Mapping[str, Any], ...]
    layout: Mapping[str, Any] = field(default_factory=dict)
    height: int = 420


@dataclass(frozen=True)
class Choice:
    """Figures of which one is shown at a time.

    Attributes:
        label: of the list to choose from.
        figures: by the name to choose them by, the first one shown first.
    """

    label: str
    figures: tuple[tuple[str, Figure], ...]


@dataclass(frozen=True)
class RowText:
    """One row of a pool.

    Attributes:
        mark: a word to filter by, such as ``kept``.
        note: a number or two, such as the score that a step cut by.
        turns: who says what, in order.
    """

    id: str
    source: str
    mark: str
    note: str
    turns: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Rows:
    """Rows to read through: searchable, by source and mark.

    Attributes:
        title: which rows.
        rows: those that are shown.
        note: how they were chosen, and of how many.
    """

    title: str
    rows: tuple[RowText, ...]
    note: str = ""


Part: TypeAlias = Sentences | Facts | Code | Sheet | Figure | Choice | Rows


@dataclass(frozen=True)
class Section:
    """Parts under a heading.

    Attributes:
        lead: what to see in it, in a sentence.
    """

    title: str
    parts: tuple[Part, ...]
    lead: str = ""


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        title: of the page, and of the window.
        lead: below it.
    """

    title: str
    sections: tuple[Section, ...]
    lead: str = ""


def write_page(page: Page, path: Path) -> Path:
    """Write a page as one HTML file, whole or not at all."""
    files.write_text(path, page_html(page))
    return path


def page_html(page: Page) -> str:
    """A page as HTML: the same page gives the same text with the same version of Plotly."""
    bundle = plotly_bundle()
    script, style = (
        resources("autoselection.report").joinpath(name).read_text("utf-8") for name in ("page.js", "page.css")
    )
    allowed = " ".join(f"'sha256-{digest}'" for digest in [_sha256(script), *([bundle.sha256] if bundle else [])])
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    contents = "".join(
        f'<li><a href="#s{number}">{_text(section.title)}</a></li>' for number, section in enumerate(page.sections, 1)
    )
    sections = "".join(_section(section, f"s{number}", bundle) for number, section in enumerate(page.sections, 1))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_text(page.title)}</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#main">To the content</a>
<header><h1>{_text(page.title)}</h1>{_paragraph(page.lead)}</header>
<nav aria-label="Contents"><ol>{contents}</ol></nav>
<main id="main">{sections}</main>
<footer><p>Written by autoselection {_text(__version__)}. This file fetches nothing and sends nothing.</p></footer>
{_packed(bundle)}<script>{script}</script>
</body>
</html>
"""


def _packed(bundle: Bundle | None) -> str:
    """Plotly, compressed, as data that the page's own script unpacks."""
    return "" if bundle is None else f'<script type="text/plain" id="plotly">{bundle.packed}</script>\n'


def _section(section: Section, key: str, bundle: Bundle | None) -> str:
    parts = "".join(_part(part, f"{key}-{number}", bundle) for number, part in enumerate(section.parts, 1))
    heading = f'<h2 id="{key}-heading">{_text(section.title)}</h2>'
    return f'<section id="{key}" aria-labelledby="{key}-heading">{heading}{_paragraph(section.lead)}{parts}</section>\n'


def _part(part: Part, key: str, bundle: Bundle | None) -> str:
    if isinstance(part, Figure):
        return _figure(part, key, bundle)
    if isinstance(part, Choice):
        return _choice(part, key, bundle)
    plain: dict[type, Callable[[Any, str], str]] = {
        Sentences: _sentences,
        Facts: _facts,
        Code: _code,
        Sheet: _sheet,
        Rows: _rows,
    }
    return plain[type(part)](part, key)


def _sentences(part: Sentences, key: str) -> str:
    if part.listed:
        return f"<ul>{''.join(f'<li>{_text(said)}</li>' for said in part.said)}</ul>" if part.said else ""
    return "".join(map(_paragraph, part.said))


def _facts(part: Facts, key: str) -> str:
    return (
        '<dl class="facts">'
        + "".join(f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in part.entries)
        + "</dl>"
    )


def _code(part: Code, key: str) -> str:
    shown = f'<pre tabindex="0" aria-label="{_text(part.title)}">{_lines(part.text)}</pre>'
    if part.folded:
        return f"<details><summary>{_text(part.title)}</summary>{shown}</details>"
    return f"<h3>{_text(part.title)}</h3>{shown}"


def _sheet(part: Sheet, key: str) -> str:
    return f'<h3 id="{key}">{_text(part.title)}</h3>{_table(part, key)}'


def _table(sheet: Sheet, key: str) -> str:
    """A table in a box that scrolls by itself; the page's script adds a filter and sorting."""
    head = "".join(
        f'<th scope="col"{_NUMBER if sheet.numbers and place else ""}>{_text(heading)}</th>'
        for place, heading in enumerate(sheet.headings)
    )
    body = "".join(f"<tr>{_cells(row, sheet.numbers)}</tr>" for row in sheet.rows)
    head = f"<thead><tr>{head}</tr></thead>" if sheet.headings else ""
    return (
        f'<div class="table" role="region" tabindex="0" aria-label="{_text(sheet.title)}">'
        f"<table>{head}<tbody>{body}</tbody></table></div>"
    )


def _cells(row: Sequence[str], numbers: bool) -> str:
    first, *rest = row or ("",)
    kind = _NUMBER if numbers else ""
    return f'<th scope="row">{_text(first)}</th>' + "".join(f"<td{kind}>{_text(cell)}</td>" for cell in rest)


def _figure(part: Figure, key: str, bundle: Bundle | None) -> str:
    caption = f'<figcaption id="{key}-title">{_text(part.title)}</figcaption>'
    if bundle is None:
        return f'<figure aria-labelledby="{key}-title">{caption}{_paragraph(part.told)}{_table(part.numbers, key)}</figure>'
    drawn = {
        "data": [escaped(trace) for trace in part.traces],
        "layout": escaped({**part.layout, "height": part.height}),
    }
    return (
        f'<figure aria-labelledby="{key}-title">{caption}'
        f'<div class="plot" id="{key}-plot" role="img" aria-label="{_text(f"{part.title}. {part.told}")}" '
        f'style="min-height:{part.height}px"></div>'
        f'<script type="application/json" data-plot="{key}-plot">{_json(drawn)}</script>'
        f"{_paragraph(part.told)}<details><summary>The numbers: {_text(part.title)}</summary>"
        f"{_table(part.numbers, key)}</details></figure>"
    )


def _choice(part: Choice, key: str, bundle: Bundle | None) -> str:
    options = "".join(
        f'<option value="{key}-{number}">{_text(name)}</option>' for number, (name, _) in enumerate(part.figures, 1)
    )
    shown = "".join(
        f'<div class="choice" id="{key}-{number}">{_figure(figure, f"{key}-{number}", bundle)}</div>'
        for number, (_, figure) in enumerate(part.figures, 1)
    )
    label = f'<label for="{key}-choice">{_text(part.label)}</label>'
    return f'<div class="choices">{label} <select id="{key}-choice">{options}</select>{shown}</div>'


def _rows(part: Rows, key: str) -> str:
    """Rows as a list; the page's script adds the search."""
    entries = "".join(_row(row) for row in part.rows)
    return (
        f'<h3 id="{key}-title">{_text(part.title)}</h3>{_paragraph(part.note)}'
        f'<ol class="rows" aria-labelledby="{key}-title">{entries}</ol>'
    )


def _row(row: RowText) -> str:
    beginning = next((said for who, said in row.turns if who == "user"), row.turns[0][1] if row.turns else "")
    short = one_line(beginning[:400])
    short = f"{short[:120]}…" if len(short) > 120 else short
    turns = "".join(
        f'<div class="turn"><b>{_text(who)}</b><div class="said" dir="auto">{_lines(said)}</div></div>'
        for who, said in row.turns
    )
    note = f"<span>({_text(row.note)})</span> " if row.note else ""  # in brackets: what follows is the row's own text
    return (
        f'<li data-source="{_text(row.source)}" data-mark="{_text(row.mark)}"><details><summary>'
        f'<span class="mark mark-{"kept" if row.mark == "kept" else "other"}">{_text(row.mark)}</span> '
        f"<code>{_text(row.id)}</code> <i>{_text(row.source)}</i> {note}"
        f'<span class="beginning" dir="auto">{_text(short)}</span></summary>{turns}</details></li>'
    )


def _paragraph(said: str) -> str:
    return f"<p>{_text(said)}</p>" if said else ""


def _text(text: object) -> str:
    """Text on one line, as text."""
    return html.escape(visible(text))


def _lines(text: str) -> str:
    return html.escape(visible(text, lines=True))


def escaped(value: Any, key: str = "") -> Any:
    """Plain data for Plotly, which reads tags and entities in every string: those of others are escaped."""
    if isinstance(value, Mapping):
        return {name: escaped(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, str):
        return value if key in _OURS else html.escape(visible(value), quote=False)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "tolist"):  # of NumPy
        return escaped(value.tolist(), key)
    if isinstance(value, Iterable):
        return [escaped(inner, key) for inner in value]
    return value


def _json(document: Any) -> str:
    """JSON in which nothing can end the element that it stands in."""
    text = json.dumps(document, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
