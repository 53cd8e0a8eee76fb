"""A page with every kind of part, full of text that is not meant well."""

from __future__ import annotations

import numpy as np

from autoselection.report.page import (
    Choice,
    Code,
    Facts,
    Figure,
    Page,
    Rows,
    RowText,
    Section,
    Sentences,
)
from autoselection.report.palette import colour, symbol
from autoselection.report.sheet import Sheet

#: What would run, load, or end the element that it stands in.
HOSTILE = (
    "<script>window.harmed = 1</script>",
    "</script><script>window.harmed = 2</script>",
    "<img src=x onerror='window.harmed = 3'>",
    '"><a href="https://example.org/steal">out</a>',
    "<b>bold</b> & <i>slanted</i> &lt;",
    "<!--<script>",
    "\u202eturned\u2069 \x1b[31mred",
    "javascript:window.harmed=4",
)


def figure(title: str = "Scores") -> Figure:
    """Points of two kinds, one of them missing, with hostile names."""
    values = np.array([0.25, np.nan, 0.75])
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [1, 2, 3],
            "y": values + number,
            "name": HOSTILE[number],
            "text": list(HOSTILE[:3]),
            "customdata": [HOSTILE[3]] * 3,
            "hovertemplate": "<b>%{text}</b><br>%{customdata}<extra></extra>",
            "marker": {"color": colour(number), "symbol": symbol(number), "size": 9},
        }
        for number in range(2)
    ]
    numbers = Sheet.of(f"{title}, as numbers", ("x", "y"), [(str(x), f"{x / 4:g}") for x in range(3)], numbers=True)
    return Figure(title, "Two kinds of points.", numbers, tuple(traces), {"xaxis": {"title": {"text": HOSTILE[4]}}})


def rows(count: int = 12) -> Rows:
    """Rows of two sources, kept and dropped, the first ones hostile."""
    said = [*HOSTILE, *(f"word{number} of a row" for number in range(count))][:count]
    return Rows(
        "Rows of step 1",
        tuple(
            RowText(
                f"id-{number} {text[:9]}",
                "<forum>" if number % 2 else "letters",
                "dropped" if number % 3 else "kept",
                f"score {number}",
                (("user", text), ("assistant", f"answer {number}")),
            )
            for number, text in enumerate(said)
        ),
        "Drawn by chance.",
    )


def page() -> Page:
    """Every kind of part once."""
    table = Sheet.of(
        "Names",
        ("name", "value"),
        [(text, str(number)) for number, text in enumerate((*HOSTILE, "ten", "nine", "eight"))],
    )
    parts = (
        Sentences(HOSTILE, listed=True),
        Facts(tuple((f"fact {number}", text) for number, text in enumerate(HOSTILE))),
        Code("Commands", "\n".join(HOSTILE)),
        Code("Configuration", "\n".join(HOSTILE), folded=True),
        table,
        figure(),
        Choice("Signal", tuple((text, figure(f"Distribution {number}")) for number, text in enumerate(HOSTILE[:3]))),
        rows(),
    )
    return Page(f"Page {HOSTILE[0]}", (Section(f"All {HOSTILE[1]}", parts, HOSTILE[2]),), HOSTILE[4])
