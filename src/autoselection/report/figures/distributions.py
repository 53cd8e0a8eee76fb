"""One distribution or two over the same bins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autoselection.notebook import number
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
    return distributions(title, told, edges, dict(zip(names, (ours, theirs), strict=True)), x=x)


def distributions(
    title: str,
    told: str,
    edges: Sequence[float] | np.ndarray[Any, Any],
    groups: Mapping[str, Sequence[float] | np.ndarray[Any, Any]],
    *,
    x: str,
) -> Figure:
    """Shares of one group or two, by name, in the same bins."""
    pens = ((KEPT, "solid"), (DROPPED, "dash"))
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
            "customdata": [number(float(end)) for end in outline],
            "hovertemplate": "%{customdata}: %{y:.1%}<extra>%{fullData.name}</extra>",
        }
        for (name, shares), (shade, style) in zip(groups.items(), pens[: len(groups)], strict=True)
    ]
    rows = [
        (f"{number(float(low))} to {number(float(high))}", *(f"{share:.1%}" for share in shares))
        for low, high, *shares in zip(edges[:-1], edges[1:], *groups.values(), strict=True)
    ]
    layout = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": "share of the rows"}, "tickformat": ".0%"}}
    return Figure(title, told, Sheet.of(title, (x, *groups), rows, numbers=True), tuple(traces), layout, 360)
