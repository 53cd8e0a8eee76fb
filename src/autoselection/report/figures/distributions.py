"""Two distributions over the same bins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autoselection.report.page import Figure
from autoselection.report.palette import DROPPED, KEPT, faint
from autoselection.report.sheet import Sheet


def two_distributions(
    title: str,
    told: str,
    edges: Sequence[float] | np.ndarray[Any, Any],
    ours: Sequence[float] | np.ndarray[Any, Any],
    theirs: Sequence[float] | np.ndarray[Any, Any],
    *,
    x: str,
    names: tuple[str, str] = ("kept", "dropped"),
) -> Figure:
    """Shares of two groups in the same bins, as filled steps; the second has a dashed line."""
    outline = np.repeat(np.asarray(edges, np.float64), 2)[1:-1]
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": outline,
            "y": np.repeat(np.asarray(shares, np.float64), 2),
            "line": {"color": shade, "dash": style, "width": 2},
            "fill": "tozeroy",
            "fillcolor": faint(shade, 0.25),
            "hovertemplate": "%{x:.4g}: %{y:.1%}<extra>%{fullData.name}</extra>",
        }
        for name, shares, shade, style in zip(names, (ours, theirs), (KEPT, DROPPED), ("solid", "dash"), strict=True)
    ]
    rows = [
        (f"{low:.4g} to {high:.4g}", f"{mine:.1%}", f"{other:.1%}")
        for low, high, mine, other in zip(edges[:-1], edges[1:], ours, theirs, strict=True)
    ]
    layout = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": "share of the rows"}, "tickformat": ".0%"}}
    return Figure(title, told, Sheet.of(title, (x, *names), rows, numbers=True), tuple(traces), layout, 360)
