"""One file to read, and what is known of it from elsewhere; what descriptions share."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoselection.errors import PoolError
from autoselection.pool.dialects import Dialect
from autoselection.pool.formats import RowFormat
from autoselection.pool.memory import MemoryRows
from autoselection.pool.row_error import RowError
from autoselection.pool.tags import Parsed
from autoselection.pool.turns import raw_turns


@dataclass(frozen=True)
class Input:
    """One file (or dataset folder) to read, or rows in memory.

    Attributes:
        path: the file, or what stands for rows in memory.
        split: the split to take from it; None: as the user says.
        format: its row format, where its description says it.
        dialect: what its rows are written in, where its description says it.
        parse: what is parsed from its texts besides what the user wants parsed.
        notes: what people should know of its description.
        rows: the rows, if they are in memory or streamed.
        copy: what is read in place of a file that lies elsewhere.
    """

    path: Path
    split: str | None = None
    format: RowFormat | None = None
    dialect: Dialect | None = None
    parse: tuple[Parsed, ...] = ()
    notes: tuple[str, ...] = ()
    rows: MemoryRows | None = field(default=None, compare=False)
    copy: Path | None = None


def is_there(path: Path) -> bool:
    """Whether a named file is there; one whose name no file can have is not."""
    return os.path.exists(path)  # noqa: PTH110 - unlike Path's, false where the name is too long


def turns_of(value: Any, name: str) -> list[dict[str, Any]]:
    """The turns in a field.

    Raises:
        RowError: it holds no list of objects.
    """
    turns = raw_turns(value, name)
    for number, turn in enumerate(turns, start=1):
        if not isinstance(turn, dict):
            raise RowError(f"turn {number} of '{name}' must be an object", "not a turn", f"{name}[{number - 1}]")
    return turns


def texts(given: Any, keys: Collection[str], what: str) -> dict[str, str]:
    """The entries of a mapping of names to names; entries that are null count as absent.

    Raises:
        PoolError: it is none, or has a key that is not one of ``keys`` (any, where there are none).
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise PoolError(f"{what} must map names to names.")
    for key, value in given.items():
        if keys and key not in keys:
            raise PoolError(f"{what} has the unknown key {key!r}: expected {', '.join(keys)}.")
        if value is not None and not isinstance(value, str):
            raise PoolError(f"{what}: the value of {key!r} must be a name.")
    return {str(key): value for key, value in given.items() if value is not None}
