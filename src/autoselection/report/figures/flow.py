"""Rows that flow from node to node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoselection.report.page import Figure
from autoselection.report.palette import COLOURS, GREY, colour, faint
from autoselection.report.sheet import Sheet


@dataclass(frozen=True)
class Link:
    """Rows from one node of a flow to another; ``group`` decides the colour."""

    start: str
    end: str
    rows: int
    group: str


def flow(title: str, told: str, links: Sequence[Link], *, height: int = 520) -> Figure:
    """A Sankey diagram: nodes by name, links as wide as the rows that they stand for, coloured by group."""
    nodes = list(dict.fromkeys(name for link in links for name in (link.start, link.end)))
    groups = list(dict.fromkeys(link.group for link in links))
    trace = {
        "type": "sankey",
        "arrangement": "snap",
        "node": {
            "label": nodes,
            "customdata": nodes,  # whole, where a page shortens the labels
            "align": "left",
            "color": [COLOURS[groups.index(name) % len(COLOURS)] if name in groups else GREY for name in nodes],
            "pad": 14,
            "thickness": 14,
            "hovertemplate": "%{customdata}: %{value:,} rows<extra></extra>",
        },
        "link": {
            "source": [nodes.index(link.start) for link in links],
            "target": [nodes.index(link.end) for link in links],
            "value": [link.rows for link in links],
            "color": [faint(colour(groups.index(link.group))) for link in links],
            "label": [link.group for link in links],
            "hovertemplate": "%{label}: %{value:,} rows<br>%{source.customdata} to %{target.customdata}<extra></extra>",
        },
    }
    rows = [(link.start, link.end, link.group, f"{link.rows:,}") for link in links]
    return Figure(
        title,
        told,
        Sheet.of(title, ("from", "to", "source", "rows"), rows),
        (trace,),
        {"margin": {"l": 10, "r": 10}},
        height,
    )
