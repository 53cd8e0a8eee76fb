"""Colours and symbols of plots: told apart by colour-blind readers, and in print by shape, on light and dark ground.

After Okabe and Ito (2008), each colour as dark as it takes for a contrast of 3 to 1 on white and on the dark page (WCAG
1.4.11). Whatever differs by colour alone differs by a symbol, a dash or a label too.
"""

from __future__ import annotations

BLUE, VERMILION, GREEN, PURPLE, OCHRE, CYAN, GREY, VIOLET = (
    "#2f7fc1",
    "#d55e00",
    "#009572",
    "#b5649a",
    "#a67c00",
    "#2b93ab",
    "#7a7f87",
    "#8069c9",
)
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, OCHRE, CYAN, VIOLET, GREY)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "triangle-down")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")

#: What is kept and what is dropped, everywhere.
KEPT, DROPPED = BLUE, VERMILION
#: From low to high; even in lightness, and the same for colour-blind readers (Nuñez and others, 2018).
SEQUENTIAL = "Cividis"
#: From worse over alike to better.
DIVERGING = ((0.0, VERMILION), (0.5, "#f2f2f2"), (1.0, BLUE))


def colour(number: int) -> str:
    """The colour of the series with this number, from 0."""
    return COLOURS[number % len(COLOURS)]


def symbol(number: int) -> str:
    """The symbol of the series with this number, from 0."""
    return SYMBOLS[number % len(SYMBOLS)]


def dash(number: int) -> str:
    """The dash of the line with this number, from 0."""
    return DASHES[number % len(DASHES)]


def faint(colour: str, opacity: float = 0.45) -> str:
    """A colour that lets what lies below it show."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"
