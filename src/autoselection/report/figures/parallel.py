"""Many numbers of a few entries at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autoselection.notebook import number
from autoselection.report.page import Figure
from autoselection.report.palette import BLUE
from autoselection.report.sheet import Sheet


def parallel(
    title: str,
    told: str,
    names: Sequence[str],
    values: Mapping[str, Sequence[float | None]],
    shade: Mapping[str, float | None],
    *,
    best: str | None,
    by: str,
) -> Figure:
    """Parallel coordinates: a line for each entry over axes that each run from their least to their largest value.

    Drawn as an ordinary line plot, not as Plotly's ``parcoords``: that one needs WebGL, and cannot be printed.

    Args:
        names: of the axes.
        values: by entry, a number for each axis.
        shade: by entry, what its colour shows, higher is lighter.
        best: the entry that is drawn last, thick and blue; None: there is none.
        by: what that is.
    """
    table = np.array([[np.nan if value is None else value for value in row] for row in values.values()], np.float64)
    low, high = (extreme.reduce(table, axis=0, initial=start, where=~np.isnan(table))
                 for extreme, start in ((np.minimum, np.inf), (np.maximum, -np.inf)))  # fmt: skip
    varied = [place for place in range(len(names)) if low[place] < high[place]]
    scaled = (table - low) / np.where(high > low, high - low, 1.0)
    known = [value for value in shade.values() if value is not None]
    floor, ceiling = (min(known), max(known)) if known else (0.0, 0.0)
    entries = list(shade.items())
    order = sorted(
        range(len(table)), key=lambda at: (entries[at][0] == best, entries[at][1] is not None, entries[at][1] or 0.0)
    )
    traces = []
    for at in order:
        entry, value = entries[at]
        leads = entry == best
        share = 0.0 if value is None else (value - floor) / (ceiling - floor) if ceiling > floor else 1.0
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": entry,
                "showlegend": False,
                "x": [names[place] for place in varied],
                "y": scaled[at, varied],
                "customdata": [number(float(table[at, place])) for place in varied],
                "text": [f"{entry}, {by} {number(value) or 'unknown'}"] * len(varied),
                "line": {"color": BLUE if leads else _grey_to_ochre(share), "width": 4 if leads else 1.5},
                "marker": {"size": 7 if leads else 4},
                "hovertemplate": "%{text}<br>%{x}: %{customdata}<extra></extra>",
            }
        )
    rows = [
        (entry, number(shade[entry]), *(number(float(value)) for value in table[at])) for at, entry in enumerate(values)
    ]
    layout = {
        "xaxis": {"type": "category", "tickangle": -40},
        "yaxis": {"title": {"text": "least to largest"}, "showticklabels": False},
    }
    return Figure(title, told, Sheet.of(title, ("trial", by, *names), rows, numbers=True), tuple(traces), layout, 480)


def _grey_to_ochre(share: float) -> str:
    """From grey (low) to ochre (high): lines that are told apart from the best one, which is blue and thick."""
    low, high = (122, 127, 135), (166, 124, 0)
    mixed = (round(a + (b - a) * share) for a, b in zip(low, high, strict=True))
    return f"rgba({','.join(map(str, mixed))},{0.35 + 0.5 * share:.2f})"
