"""Rows of other kinds, counted and reported in one line."""

from __future__ import annotations

from collections import Counter

from autoselection.pool.row_kinds.base import OtherRow


class KindCounts:
    """How many rows of which other kinds there are, and the first of each."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._first: dict[str, OtherRow] = {}

    @property
    def total(self) -> int:
        """All of them (rows)."""
        return self._rows.total()

    def __bool__(self) -> bool:
        return bool(self._rows)

    def add(self, row: OtherRow) -> None:
        """Count a row."""
        self._rows[row.kind] += 1
        self._first.setdefault(row.kind, row)

    def update(self, other: KindCounts) -> None:
        """Count the rows of a further file."""
        self._rows.update(other._rows)
        self._first = {**other._first, **self._first}

    def sentence(self, read: int, command: str) -> str:
        """What the rows are, with counts and the commands that would read them.

        Args:
            read: all rows of the file or files.
            command: what reads them as they were asked for.
        """
        said = []
        for kind, rows in self._rows.most_common():
            first = self._first[kind]
            found = f"; {first.found}" if first.found else ""
            hint = first.hint.replace("`--", f"`{command} --", 1)
            said.append(f"{kind} ({rows:,} of {read:,}{found}); what would read them: {hint}")
        return "; and ".join(said)

    def notes(self, command: str) -> list[str]:
        """A line a kind: how many rows were left out, and what would read them."""
        lines = []
        for kind, rows in self._rows.most_common():
            first = self._first[kind]
            hint = "" if first.told else f"; what would read them: {first.hint.replace('`--', f'`{command} --', 1)}"
            found = f" ({first.found})" if first.found else ""
            if rows == 1:  # kinds are plurals
                inner = f"{kind}; {first.found}" if first.found else kind
                lines.append(f"1 row ({inner}) was left out{hint}.")
            else:
                lines.append(f"{rows:,} {kind}{found} were left out{hint}.")
        return lines
