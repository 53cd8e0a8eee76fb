"""Bars in parts."""

from __future__ import annotations

from collections.abc import Mapping

from autoselection.notebook import number
from autoselection.report.figures.numbers import FRAME, LINE
from autoselection.report.page import Figure
from autoselection.report.palette import colour
from autoselection.report.sheet import Sheet


def bars(title: str, told: str, parts: Mapping[str, Mapping[str, float]], *, x: str, name: str) -> Figure:
    """Bars to the right, one for each name, in stacked parts.

    Args:
        parts: by part, then by the name of the bar.
        x: what the lengths are.
        name: what the bars are.
    """
    names = list(dict.fromkeys(bar for found in parts.values() for bar in found))
    patterns = ("", "/", ".", "x")
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": part,
            "y": names,
            "x": [found.get(bar, 0.0) for bar in names],
            "marker": {"color": colour(place), "pattern": {"shape": patterns[place % len(patterns)]}},
            "customdata": [number(found.get(bar, 0.0)) for bar in names],
            "hovertemplate": "%{y}: %{customdata}<extra>%{fullData.name}</extra>",
        }
        for place, (part, found) in enumerate(parts.items())
    ]
    rows = [(bar, *(number(found.get(bar)) for found in parts.values())) for bar in names]
    return Figure(
        title,
        told,
        Sheet.of(title, (name, *parts), rows, numbers=True),
        tuple(traces),
        {
            "barmode": "relative",
            "showlegend": len(parts) > 1,
            "xaxis": {"title": {"text": x}},
            "yaxis": {"categoryorder": "array", "categoryarray": names[::-1], "type": "category"},
        },
        FRAME + LINE * len(names),
    )
