"""Lines and points over two axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autoselection.notebook import number
from autoselection.report.page import Figure
from autoselection.report.palette import GREY, colour, dash, faint, symbol
from autoselection.report.sheet import Sheet


@dataclass(frozen=True)
class Series:
    """Points of a line.

    Attributes:
        low, high: ends of an interval around each ``y``, if there is one.
        words: said of each point when it is pointed at.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    words: Sequence[str] = ()


def lines(
    title: str,
    told: str,
    series: Sequence[Series],
    *,
    x: str,
    y: str,
    steps: bool = False,
    logarithmic: bool = False,
    markers: bool = True,
) -> Figure:
    """Lines over a common axis.

    Args:
        x, y: titles of the axes.
        steps: a value holds until the next one.
        logarithmic: the x axis.
    """
    traces = []
    rows = []
    for place, one in enumerate(series):
        trace: dict[str, Any] = {
            "type": "scatter",
            "mode": "lines+markers" if markers else "lines",
            "name": one.name,
            "x": list(one.x),
            "y": list(one.y),
            "line": {"color": colour(place), "dash": dash(place), "shape": "hv" if steps else "linear"},
            "marker": {"symbol": symbol(place), "size": 8},
        }
        if len(one.low):
            known = [(value or 0.0) for value in one.y]
            trace["error_y"] = {
                "type": "data",
                "symmetric": False,
                "array": [end - value for end, value in zip(one.high, known, strict=True)],
                "arrayminus": [value - end for end, value in zip(one.low, known, strict=True)],
            }
        if len(one.words):
            trace |= {
                "text": list(one.words),
                "customdata": [number(value) for value in one.y],
                "hovertemplate": "%{text}<br>%{x}: %{customdata}<extra></extra>",
            }
        traces.append(trace)
        for at, value in enumerate(one.y):
            interval = f"{number(one.low[at])} to {number(one.high[at])}" if len(one.low) else ""
            rows.append((one.name, number(one.x[at]), number(value), interval))
    headings = ("series", x, y, "interval")
    axis: dict[str, Any] = {"title": {"text": x}}
    if logarithmic:
        axis["type"] = "log"
    elif _few_counts([value for one in series for value in one.x]):
        axis["dtick"] = 1  # else there would be ticks at halves, of which there are none
    return Figure(
        title,
        told,
        Sheet.of(title, headings, rows, numbers=True).filled(),
        tuple(traces),
        {"xaxis": axis, "yaxis": {"title": {"text": y}}},
    )


def _few_counts(values: Sequence[float]) -> bool:
    return bool(values) and all(float(value).is_integer() for value in values) and max(values) - min(values) <= 12


def points(title: str, told: str, series: Sequence[Series], *, x: str, y: str, diagonal: bool = False) -> Figure:
    """Points in a plane, kinds told apart by colour and symbol.

    Args:
        diagonal: a line where both are equal.
    """
    traces: list[dict[str, Any]] = []
    if diagonal:
        every = [value for one in series for value in (*one.x, *one.y) if value is not None]
        ends = [min(every), max(every)] if every else []
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": ends,
                "y": ends,
                "name": "equal",
                "line": {"color": GREY, "dash": "dot"},
                "hoverinfo": "skip",
            }
        )
    rows = []
    for place, one in enumerate(series):
        trace: dict[str, Any] = {
            "type": "scatter",
            "mode": "markers",
            "name": one.name,
            "x": list(one.x),
            "y": list(one.y),
            "text": list(one.words),
            "customdata": [f"{number(here)}, {number(value)}" for here, value in zip(one.x, one.y, strict=True)],
            "marker": {"color": colour(place), "symbol": symbol(place), "size": 10},
            "hovertemplate": "%{text}<br>%{customdata}<extra>%{fullData.name}</extra>",
        }
        if len(one.low):
            trace["error_x"] = {
                "type": "data",
                "symmetric": False,
                "array": [end - value for end, value in zip(one.high, one.x, strict=True)],
                "arrayminus": [value - end for end, value in zip(one.low, one.x, strict=True)],
                "color": faint(colour(place)),
            }
        traces.append(trace)
        for at, word in enumerate(one.words):
            interval = f"{number(one.low[at])} to {number(one.high[at])}" if len(one.low) else ""
            rows.append((word, one.name, number(one.x[at]), interval, number(one.y[at])))
    headings = ("what", "kind", x, "interval", y)
    layout = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}
    return Figure(title, told, Sheet.of(title, headings, rows, numbers=True).filled(), tuple(traces), layout)
