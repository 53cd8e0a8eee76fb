"""Rows of a pool in an order: what a slice of a pool, a recipe or a study's trial selects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from autoselection import notebook
from autoselection.conversation import Conversation, Message, turn_text
from autoselection.errors import PoolError
from autoselection.pool.frames import hf_dataset, polars_frame
from autoselection.pool.openai_messages import openai_message
from autoselection.pool.table import PoolTable

if TYPE_CHECKING:
    import polars


#: Rows read at once where all are gone through.
_BATCH_ROWS = 256
#: Rows that a notebook shows, and the longest text of each (characters).
_SHOWN, _PREVIEW = 5, 160


@dataclass(frozen=True, repr=False)
class Row:
    """One row of a pool.

    Attributes:
        row: its number in the pool, from 0.
        id: its id.
        source: where it comes from.
        conversation: its turns, and the tools that it declares.
        meta: the user's other columns.
    """

    row: int
    id: str
    source: str
    conversation: Conversation
    meta: Mapping[str, Any]

    @property
    def messages(self) -> Sequence[Message]:
        """The turns: role and content, further keys where a turn has them."""
        return self.conversation.messages

    @property
    def tools(self) -> list[Any] | None:
        """The tools that the row declares, as JSON schemas; None without."""
        return None if self.conversation.tools is None else json.loads(self.conversation.tools)

    @property
    def text(self) -> str:
        r"""The texts of its turns joined by ``\n``."""
        return "\n".join(map(turn_text, self.messages))

    def record(self) -> dict[str, Any]:
        """The row as a mapping that ``ingest`` reads: id, source, messages, tools and the other columns."""
        told: dict[str, Any] = {"id": self.id, "source": self.source}
        told["messages"] = [openai_message(message) for message in self.messages]
        return {**told, **({} if self.tools is None else {"tools": self.tools}), **self.meta}

    def __repr__(self) -> str:
        said = " → ".join(notebook.short(turn_text(message), 60) for message in self.messages[:3])
        return notebook.line("Row", self.row, f"'{notebook.short(self.id, 60)}' of {self.source}:", said)

    def _repr_html_(self) -> str:
        facts = {"source": self.source, **{name: _shown(value) for name, value in self.meta.items()}}
        if (tools := self.tools) is not None:
            facts["tools"] = f"{len(tools):,}"
        spoken = [(message["role"], turn_text(message)) for message in self.messages]
        return notebook.page(f"Row {self.row}: {self.id}", facts, notebook.turns(spoken))


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, eq=False, repr=False)
class Subset(Sequence[Row]):
    """Some rows of a pool in an order; a sequence of :class:`Row`.

    ``subset["id7"]`` is the row of that id, ``subset[3]`` the fourth, ``subset[10:20]`` and ``subset[mask]`` are subsets.

    Attributes:
        pool: the pool.
        rows: row numbers of the pool, int64, in the order of the subset.
    """

    pool: PoolTable
    rows: NDArray[np.int64]

    @property
    def ids(self) -> list[str]:
        """The ids of the rows, in their order."""
        return self.pool.row_ids(self.rows)

    @property
    def sources(self) -> dict[str, int]:
        """Rows of each source, by name (count)."""
        counts = np.bincount(self.pool.source_codes[self.rows], minlength=len(self.pool.source_names))
        return {name: int(count) for name, count in zip(self.pool.source_names, counts, strict=True) if count}

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int | str) -> Row: ...

    @overload
    def __getitem__(self, index: slice | Sequence[int] | list[str] | NDArray[Any]) -> Subset: ...

    def __getitem__(self, index: int | str | slice | Sequence[int] | list[str] | NDArray[Any]) -> Row | Subset:
        """A row by id or place, or some of the rows by a slice, ids, places or a mask.

        Raises:
            PoolError: no row of the subset has the id.
            IndexError: a place is out of range, or a mask has another length.
            TypeError: it is something else.
        """
        if isinstance(index, slice):
            return Subset(self.pool, self.rows[index])
        if isinstance(index, str):
            return rows_of(self.pool, self._numbers([index]))[0]
        if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
            return rows_of(self.pool, self.rows[self._places(np.array([index]))])[0]
        places = np.asarray(index) if isinstance(index, (Sequence, np.ndarray)) else np.empty((0, 0))
        if places.ndim != 1:
            raise TypeError(
                "Rows are named by number, id, slice, a list of numbers or ids, or a mask of true and false, not by "
                f"{type(index).__name__}."
            )
        if places.dtype.kind in "OU" and all(isinstance(name, str) for name in index):  # type: ignore[union-attr]
            return Subset(self.pool, self._numbers(list(index)))  # type: ignore[arg-type]
        return Subset(self.pool, self.rows[self._places(places)])

    def _places(self, places: NDArray[Any]) -> NDArray[Any]:
        """Places, or a mask, once they are seen to be there."""
        if places.dtype == np.bool_ and len(places) != len(self):
            raise IndexError(
                f"The mask has {len(places):,} values, and there are {notebook.counted(len(self), 'row')}."
            )
        if not places.size or places.dtype == np.bool_:
            return places.astype(np.bool_ if places.size else np.int64)
        if places.dtype.kind not in "iu":
            raise TypeError(f"Rows are numbered by whole numbers, not by values such as {places.tolist()[0]!r}.")
        outside = places[(places < -len(self)) | (places >= len(self))]
        if outside.size:
            raise IndexError(
                f"There is no row {outside[0]}: there are {notebook.counted(len(self), 'row')}, counted from 0."
            )
        return places

    def _numbers(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The numbers in the pool of rows that are among these.

        Raises:
            PoolError: one is not.
        """
        numbers = self.pool.row_of(ids)
        absent = ~np.isin(numbers, self.rows)
        if absent.any():
            first = ids[int(np.argmax(absent))]
            raise PoolError(f"The row {first!r} of the pool {self.pool.path} is not among the {len(self):,} selected.")
        return numbers

    def __iter__(self) -> Iterator[Row]:
        for start in range(0, len(self), _BATCH_ROWS):
            yield from rows_of(self.pool, self.rows[start : start + _BATCH_ROWS])

    def __contains__(self, item: object) -> bool:
        """Whether a row, or the row of an id, is among them."""
        if isinstance(item, Row):
            item = item.id
        return item in self.pool and bool(np.any(self.rows == self.pool.row_of([str(item)])[0]))

    def to_polars(self) -> polars.DataFrame:
        """The rows as a data frame: id, source, messages, tools if a row declares some, and the user's own columns.

        Own columns of mixed or nested values are JSON text.
        """
        return polars_frame(self.pool, self.rows)

    def to_dataset(self) -> Any:
        """The rows as a ``datasets.Dataset`` with the same columns, ready for TRL.

        Raises:
            MissingExtraError: the library ``datasets`` is not installed.
            PoolError: a row declares tools with a number that the library cannot read.
        """
        return hf_dataset(self.pool, self.rows)

    def __repr__(self) -> str:
        return notebook.line("Subset", f"{len(self):,} of {notebook.counted(len(self.pool), 'row')} of", self.pool.path)

    def _repr_html_(self) -> str:
        return notebook.page(f"{len(self):,} of the {len(self.pool):,} rows of {self.pool.path}", {}, *self.tables())

    def tables(self) -> list[str]:
        """HTML tables of the sources and of the first rows."""
        counts = sorted(self.sources.items(), key=lambda entry: -entry[1])
        parts = [notebook.table(("source", "rows"), counts, what="sources")] if len(counts) > 1 else []
        if len(self):
            shown = [
                (row.id, row.source, *(notebook.short(text, _PREVIEW) for text in _sides(row))) for row in self[:_SHOWN]
            ]
            parts.append(notebook.table(("id", "source", "prompt", "response"), shown, total=len(self)))
        return parts


def _sides(row: Row) -> tuple[str, str]:
    """What was first asked, and first answered."""
    first: dict[str, str] = {}
    for message in row.messages:
        first.setdefault(message["role"], turn_text(message))
    return first.get("user", ""), first.get("assistant", "")


def rows_of(pool: PoolTable, rows: Sequence[int] | NDArray[np.int64]) -> list[Row]:
    """Rows of a pool by their numbers, in that order.

    Raises:
        PoolError: a number is out of range.
    """
    wanted = pool.check_rows(rows)
    return [
        Row(number, row_id, source, conversation, meta)
        for number, row_id, source, conversation, meta in zip(
            wanted.tolist(),
            pool.row_ids(wanted),
            pool.sources(wanted),
            pool.conversations(wanted),
            pool.metas(wanted),
            strict=True,
        )
    ]
