"""A table in colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autoselection.report.figures.numbers import FRAME, LINE
from autoselection.report.page import Figure
from autoselection.report.palette import DIVERGING, SEQUENTIAL
from autoselection.report.sheet import Sheet

#: Columns up to which the numbers are written into the cells.
_WRITTEN = 12


def heat(
    title: str,
    told: str,
    names: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    words: Sequence[Sequence[str]],
    *,
    by: str,
    heading: str,
    middle: float | None = None,
) -> Figure:
    """A table in colours, with its numbers written in it.

    Args:
        words: what stands in each cell.
        by: what the colour shows.
        heading: of the names.
        middle: the value of neither colour; None for a scale from low to high.
    """
    scale: Any = SEQUENTIAL
    if middle is not None:
        scale = [list(stop) for stop in DIVERGING]
    trace = {
        "type": "heatmap",
        "x": list(columns),
        "y": list(names),
        "z": [list(row) for row in values],
        "text": [list(row) for row in words],
        **({"texttemplate": "%{text}"} if len(columns) <= _WRITTEN else {}),
        "colorscale": scale,
        **({} if middle is None else {"zmid": middle}),
        "colorbar": {"title": {"text": by, "side": "right"}},
        "xgap": 2,
        "ygap": 2,
        "hovertemplate": "%{y}, %{x}: %{text} (%{z:+.4g})<extra></extra>",
    }
    rows = [(name, *row) for name, row in zip(names, words, strict=True)]
    layout = {
        "xaxis": {"type": "category", "side": "top"},
        "yaxis": {"type": "category", "autorange": "reversed"},
        "margin": {"t": 60},
    }
    return Figure(
        title,
        told,
        Sheet.of(title, (heading, *columns), rows, numbers=True),
        (trace,),
        layout,
        FRAME + LINE * len(names),
    )
