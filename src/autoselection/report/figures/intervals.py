"""Numbers with intervals, one on a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoselection.notebook import number
from autoselection.report.figures.numbers import FRAME, LINE
from autoselection.report.page import Figure
from autoselection.report.palette import colour, symbol
from autoselection.report.sheet import Sheet


@dataclass(frozen=True)
class Interval:
    """A number with an interval, on a line of its own; ``group`` tells kinds apart by colour and symbol."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    group: str = ""


def intervals(
    title: str,
    told: str,
    shown: Sequence[Interval],
    *,
    x: str,
    zero: bool = True,
    headings: tuple[str, str] = ("", "interval"),
) -> Figure:
    """Numbers with their intervals, the first on top.

    Args:
        x: what the numbers are.
        zero: a line at 0.
    """
    groups = list(dict.fromkeys(one.group for one in shown))
    names = [one.name for one in shown]
    traces = []
    for place, group in enumerate(groups):
        own = [one for one in shown if one.group == group]
        low, high = ([getattr(one, end) for one in own] for end in ("low", "high"))
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": group or x,
                "showlegend": len(groups) > 1,
                "orientation": "h",
                "x": [one.value for one in own],
                "y": [one.name for one in own],
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": [0.0 if end is None else end - one.value for end, one in zip(high, own, strict=True)],
                    "arrayminus": [0.0 if end is None else one.value - end for end, one in zip(low, own, strict=True)],
                    "color": colour(place),
                },
                "marker": {"color": colour(place), "symbol": symbol(place), "size": 9},
                "customdata": [_signed(one.value) if zero else number(one.value) for one in own],
                "hovertemplate": "%{y}: %{customdata}<extra></extra>",
            }
        )
    rows = [
        (
            one.name,
            one.group,
            _signed(one.value) if zero else number(one.value),
            "" if one.low is None or one.high is None else f"{number(one.low)} to {number(one.high)}",
        )
        for one in shown
    ]
    named = (headings[0] or "name", "kind", x, headings[1])
    return Figure(
        title,
        told,
        Sheet.of(title, named, rows, numbers=True).filled(),
        tuple(traces),
        {
            "xaxis": {"title": {"text": x}, "zeroline": zero, "rangemode": "tozero" if zero else "normal"},
            "yaxis": {"categoryorder": "array", "categoryarray": names[::-1], "type": "category"},
        },
        FRAME + LINE * len(names),
    )


def _signed(value: float) -> str:
    return f"{'' if value < 0 else '+'}{number(value + 0.0)}"  # which is 0.0 of -0.0
