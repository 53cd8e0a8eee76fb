"""What is reported of a row that is not a conversation to learn from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from autoselection.pool.json_reader import Record
from autoselection.pool.row_error import RowError
from autoselection.pool.values import is_blank, is_missing

#: What rows are taken for.
RowsFrom = Literal["auto", "sft", "preference:chosen", "kto:true"]
ROWS_FROM: tuple[RowsFrom, ...] = get_args(RowsFrom)

#: Folded name of a column to the column.
Folded = Mapping[str, str]

SFT_ANYWAY = "--from sft takes such rows as conversations all the same"


class OtherRow(RowError):
    """A row of another kind than conversations to learn from.

    Args:
        kind: what such rows are, in the plural.
        fields: the columns that tell it.
        hint: what would read it. Options in backquotes are of ``ingest``.
        told: it is left out because the user said so, which is no fault of the row.
    """

    def __init__(self, kind: str, fields: Iterable[str], hint: str, *, where: str = "", told: bool = False) -> None:
        self.fields = tuple(fields)
        shown = ", ".join(repr(name[:40]) for name in self.fields)
        found = where or (f"field{'s' if len(self.fields) > 1 else ''} {shown}" if shown else "")
        super().__init__(f"{kind}{f': {found}' if found else ''}", kind, self.fields[0] if self.fields else "", hint)
        self.found, self.told = found, told


def is_text(value: Any) -> bool:
    """Whether a value is text that shows something."""
    return isinstance(value, str) and not is_blank(value)


def present(record: Record, columns: Folded, names: Iterable[str]) -> list[str]:
    """The columns of these names that hold something in this row."""
    return [
        columns[name]
        for name in names
        if name in columns and not is_missing(value := record[columns[name]]) and value not in ("", [], {})
    ]


def is_truth(value: Any) -> bool | None:
    """A truth value as bool, 0 or 1, or as tables of text write it; None if it is none."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        return {"true": True, "false": False, "0": False, "1": True}.get(value.strip().casefold())
    return None
