"""The user's own columns of a pool's rows, and where each row came from, on their way out.

Formats with types (Parquet, dataset folders) hold columns of one type: text, numbers, truth values, or lists of one of
these. A column of anything else is written there as the type JSON, or, where it has whole numbers that readers of that type
refuse, as JSON text; both are reported.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from autoselection.errors import ConfigError
from autoselection.pool.columns import PLACE_COLUMNS
from autoselection.pool.openai_messages import has_huge_number
from autoselection.pool.row_kinds.pairs import sides_of
from autoselection.pool.table import PoolTable
from autoselection.pool.values import fold
from autoselection.wording import suggestion

#: Where the row was read: file as it was given to ``ingest``, and line (for Parquet and folders the row), from 1.
FILE, LINE = PLACE_COLUMNS

_BATCH_ROWS = 1024
_JSON = pa.json_(pa.string())
#: Kind of values with a whole number that readers of JSON columns refuse.
_HUGE = "huge"
_ARROW = {"text": pa.string(), "whole": pa.int64(), "number": pa.float64(), "truth": pa.bool_()}


@dataclass(frozen=True)
class OwnColumns:
    """The columns to write.

    Attributes:
        names: of the columns, in the order of their first row; the place of the row last.
        types: Arrow type of each.
        as_json: those that only JSON can hold where columns have types.
        as_text: those that only JSON text can hold there.
        renamed: what a column is called in the file, where the format, or what reads it, uses its name.
    """

    names: tuple[str, ...]
    types: Mapping[str, pa.DataType]
    as_json: frozenset[str]
    as_text: frozenset[str]
    renamed: Mapping[str, str]

    def schema(self) -> list[tuple[str, pa.DataType]]:
        """Names in the file and types."""
        return [(self.renamed.get(name, name), self.types[name]) for name in self.names]

    def values(self, pool: PoolTable, rows: NDArray[np.int64], *, typed: bool) -> list[dict[str, Any]]:
        """The columns of ``rows``, by their names in the file; ``typed``: as the types say, None where there is none."""
        own = _own(pool, rows)
        if not typed:
            return [
                {self.renamed.get(name, name): row[name] for name in self.names if row.get(name) is not None}
                for row in own
            ]
        return [{self.renamed.get(name, name): self._typed(name, row.get(name)) for name in self.names} for row in own]

    def _typed(self, name: str, value: Any) -> Any:
        if value is None or name not in self.as_text:
            return value
        return json.dumps(value, ensure_ascii=False)


def own_columns(
    pool: PoolTable,
    rows: NDArray[np.int64],
    wanted: Collection[str] | None,
    taken: Collection[str],
    *,
    to_file: bool = True,
) -> OwnColumns:
    """Find the columns of ``rows`` and their types.

    Args:
        wanted: names to write; None for all.
        taken: names that the format, or what reads it, uses: a column of such a name is written as ``own_NAME``.
        to_file: they are for a file, which ingest may read: the file and line of each row are columns too, and a column is
            ``own_NAME`` whatever the case of its name, or if it is a side of a preference pair.

    Raises:
        ConfigError: the rows have no column that is wanted.
    """
    kinds: dict[str, set[str]] = {}
    for start in range(0, len(rows), _BATCH_ROWS):
        for row in _own(pool, rows[start : start + _BATCH_ROWS]):
            for name, value in row.items():
                if value is not None and (wanted is None or name in wanted) and (to_file or name not in (FILE, LINE)):
                    kinds.setdefault(name, set()).add(_kind(value))
    known = set(kinds)
    for name in wanted or ():
        if name in (FILE, LINE):
            continue  # pools of earlier versions do not know the places of their rows
        if name not in known:
            found = _all_names(pool, rows)
            raise ConfigError(
                f"--columns: the rows have no column '{name}' of their own (what was read as their text, id or source is "
                f"written as such){suggestion(name, found)}"
                if found
                else f"--columns: the rows have no column '{name}'; they have none of their own."
            )
    names = tuple(sorted(kinds, key=lambda name: name in (FILE, LINE)))  # stable: the others as they came
    types = {name: _type(kinds[name]) for name in names}
    used = {*taken, *names}
    # Ingest knows a column whatever its case, if none has the very name; ids and sources are always there.
    known = set(map(fold, taken)) - {"id", "source"} if to_file else set()
    if to_file and (sides := sides_of({fold(name): name for name in names})) is not None:
        known |= {fold(sides.chosen), fold(sides.rejected)}
    renamed: dict[str, str] = {}
    for name in names:
        if name in taken or fold(name) in known:
            new = f"own_{name}"
            while new in used:
                new = f"own_{new}"
            used.add(new)
            renamed[name] = new
    untyped = {name for name, found in types.items() if found is None}
    as_text = frozenset(name for name in untyped if _HUGE in kinds[name])
    written = {name: found or (pa.string() if name in as_text else _JSON) for name, found in types.items()}
    return OwnColumns(names, written, frozenset(untyped - as_text), as_text, renamed)


def _all_names(pool: PoolTable, rows: NDArray[np.int64]) -> list[str]:
    batches = (rows[start : start + _BATCH_ROWS] for start in range(0, len(rows), _BATCH_ROWS))
    return sorted({name for batch in batches for row in _own(pool, batch) for name in row})


def _own(pool: PoolTable, rows: NDArray[np.int64]) -> Iterator[dict[str, Any]]:
    """The user's fields of each row and its place; a place that an earlier export wrote is the row's first and stays.

    A column of the user's own that is called like one half of a place is ``own_NAME``.
    """
    for meta, file, line in zip(pool.metas(rows), pool.files(rows), pool.lines(rows), strict=True):
        if file is None or (FILE in meta and LINE in meta):
            yield dict(meta)
        else:  # one of the two alone is a column of the user's own
            yield {
                **{f"own_{name}" if name in (FILE, LINE) else name: value for name, value in meta.items()},
                FILE: file,
                LINE: line,
            }


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int):
        if has_huge_number(value):
            return _HUGE
        return "whole" if abs(value) <= 2**53 else "long" if -(2**63) <= value < 2**63 else "other"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        inner = {"other" if isinstance(item, (list, dict)) else _kind(item) for item in value if item is not None}
        if not inner:
            return "list of"
        scalar = _scalar(inner)
        if scalar is not None:
            return f"list of {'long' if 'long' in inner else scalar}"
    return _HUGE if has_huge_number(value) else "other"


def _type(kinds: Collection[str]) -> pa.DataType | None:
    """The Arrow type that holds values of all these kinds as they are; None if there is none."""
    listed = {kind for kind in kinds if kind.startswith("list of")}
    if listed and len(listed) == len(set(kinds)):
        inner = (
            _scalar({kind.removeprefix("list of").strip() for kind in listed} - {""})
            if listed != {"list of"}
            else "text"
        )
        return None if inner is None else pa.list_(_ARROW[inner])
    scalar = _scalar(kinds)
    return None if scalar is None else _ARROW[scalar]


def _scalar(kinds: Collection[str]) -> str | None:
    """The kind that holds values of all these kinds: whole numbers fit among others, as long as they stay exact."""
    found = set(kinds)
    if found <= {"whole", "long"}:
        return "whole"
    if found <= {"whole", "number"}:
        return "number"
    return next(iter(found)) if len(found) == 1 and found <= set(_ARROW) else None
