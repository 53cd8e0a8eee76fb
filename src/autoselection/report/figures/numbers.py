"""Numbers as a table says them, and the height of plots that have a line for each name."""

from __future__ import annotations

#: Pixels of a line of a plot that has one line for each name, and of its frame.
LINE, FRAME = 24, 110


def number(value: float | None, digits: int = 4) -> str:
    """A number of a table; nothing for none."""
    return "" if value is None or value != value else f"{value:,.{digits}g}"
