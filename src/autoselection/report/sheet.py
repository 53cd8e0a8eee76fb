"""A table as data: what the terminal, Markdown and HTML print alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autoselection.markup import table
from autoselection.terminal import Terminal


@dataclass(frozen=True)
class Sheet:
    """One table.

    Attributes:
        title: what it tells.
        headings: of the columns; empty for a list of names and values.
        rows: cells as text, a stranger's included: whoever prints them makes them harmless.
        numbers: all columns but the first are numbers, and stand to the right.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: bool = False

    @classmethod
    def of(cls, title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False) -> Sheet:
        """A table of any sequences."""
        return cls(title, tuple(headings), tuple(tuple(row) for row in rows), numbers)

    def filled(self) -> Sheet:
        """Without columns that are empty in every row."""
        places = [place for place in range(len(self.headings)) if any(row[place] for row in self.rows)]
        if len(places) == len(self.headings):
            return self
        rows = [[row[place] for place in places] for row in self.rows]
        return Sheet.of(self.title, [self.headings[place] for place in places], rows, numbers=self.numbers)

    def print(self, console: Terminal) -> None:
        """Print it in a terminal."""
        console.table(self.title, self.headings or None, self.rows, numbers=self.numbers)

    def markdown(self) -> list[str]:
        """Its lines as Markdown, without the title."""
        return table(self.headings or ("", ""), self.rows, numbers=self.numbers)
