"""A table in colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autoselection.report.figures.numbers import FRAME, LINE
from autoselection.report.page import Figure
from autoselection.report.palette import DIVERGING, SEQUENTIAL
from autoselection.report.sheet import Sheet

#: Columns up to which the numbers are written into the cells.
_WRITTEN = 12
#: The scale ends where nine tenths of the cells lie, if the farthest is so many times as far from the middle: one outlier would
#: leave all others pale.
_OUTLIER = 3.0


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
    ends: dict[str, float] = {}
    if middle is not None:
        scale = [list(stop) for stop in DIVERGING]
        ends = {"zmid": middle}
        if reach := _reach(values, middle):
            ends |= {"zmin": middle - reach, "zmax": middle + reach}
            told += f" Beyond {reach:.2g} it stays the same."
    trace = {
        "type": "heatmap",
        "x": list(columns),
        "y": list(names),
        "z": [list(row) for row in values],
        "text": [list(row) for row in words],
        **({"texttemplate": "%{text}"} if len(columns) <= _WRITTEN else {}),
        "colorscale": scale,
        **ends,
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


def _reach(values: Sequence[Sequence[float | None]], middle: float) -> float | None:
    """How far from the middle the scale goes; None: as far as the values do."""
    far = np.array([abs(value - middle) for row in values for value in row if value is not None])
    if not len(far):
        return None
    usual = float(np.quantile(far, 0.9))
    return usual if 0 < usual * _OUTLIER < far.max() else None
