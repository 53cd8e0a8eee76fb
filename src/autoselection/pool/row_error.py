"""Why a row cannot be used."""

from __future__ import annotations


class RowError(ValueError):
    """A row cannot be used; the message is the reason. Never leaves ingest.

    Args:
        reason: what is wrong, one sentence without a full stop.
        kind: a short, stable name of it ("unknown role"), by which rows are counted.
        field: where in the row, as a path that counts from 0 ("messages[2].tool_calls[1].function.arguments").
        hint: what would read the row, where something would.
    """

    def __init__(self, reason: str, kind: str, field: str | None = None, hint: str | None = None) -> None:
        super().__init__(reason)
        self.kind = kind
        self.field = field or ""
        self.hint = hint or ""


def within(error: RowError, path: str) -> RowError:
    """The same fault of a part of a row, its field's path led by that of the part."""
    glue = "" if not error.field or error.field.startswith("[") else "."
    return RowError(str(error), error.kind, f"{path}{glue}{error.field}", error.hint)
