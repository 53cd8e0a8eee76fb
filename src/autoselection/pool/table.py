"""The rows of an open pool: a memory-mapped table, read column by column and row by row."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from autoselection.conversation import Conversation, Message
from autoselection.errors import PoolError
from autoselection.pool.manifest import PoolManifest
from autoselection.pool.rows import (
    PLAIN_FIELDS,
    Fingerprint,
    as_messages,
    joined_texts,
    turns_digest,
    without_unused_fields,
)
from autoselection.row_numbers import row_numbers

_T = TypeVar("_T")

Rows = Sequence[int] | npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False, repr=False)
class PoolTable:
    """A fixed table of conversations on disk. Rows are numbered 0…N-1; the table is memory-mapped.

    Attributes:
        path: the pool directory.
        manifest: counts, provenance and fingerprint.
        table: the rows, with the columns of ``SCHEMA``.
    """

    path: Path
    manifest: PoolManifest
    table: Any

    def __len__(self) -> int:
        return self.manifest.rows

    def __contains__(self, item: object) -> bool:
        """Whether there is a row of this id."""
        return isinstance(item, str) and bool(pc.index(self.ids, item).as_py() >= 0)

    @property
    def ids(self) -> Any:
        """The ids of all rows, an Arrow string array; ``"id7" in pool`` asks for one, :meth:`row_ids` gives Python's strings."""
        return self.table.column("id")

    def row_of(self, ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Row numbers of ``ids``, in their order.

        Raises:
            PoolError: an id is not in the pool.
        """
        wanted = pa.array(ids, type=pa.string())
        found = pc.index_in(wanted, value_set=self.ids)
        if found.null_count:
            first = wanted[int(np.flatnonzero(found.is_null().to_numpy(zero_copy_only=False))[0])].as_py()
            unknown = "1 unknown id" if found.null_count == 1 else f"{found.null_count} unknown ids"
            raise PoolError(f"The pool {self.path} has no row with the id {first!r} ({unknown}).")
        return found.to_numpy(zero_copy_only=False).astype(np.int64)  # type: ignore[no-any-return]

    @cached_property
    def source_names(self) -> tuple[str, ...]:
        """Names of the sources, sorted."""
        return tuple(sorted(self.manifest.sources))

    @cached_property
    def source_codes(self) -> npt.NDArray[np.int32]:
        """Source of each row as an index into ``source_names``, int32[N]."""
        known = pa.array(self.source_names, pa.string())
        mappings: dict[tuple[int, ...], npt.NDArray[np.int32]] = {}  # the chunks of a file share one dictionary
        codes = []
        for chunk in self.table.column("source").chunks:
            names = chunk.dictionary
            place = (len(names), names.offset, *(buffer.address for buffer in names.buffers() if buffer is not None))
            if place not in mappings:
                found = pc.fill_null(pc.index_in(names, value_set=known), -1)
                mappings[place] = found.to_numpy(zero_copy_only=False).astype(np.int32)
            codes.append(mappings[place][chunk.indices.to_numpy(zero_copy_only=False)])
        result = np.concatenate(codes).astype(np.int32) if codes else np.zeros(0, dtype=np.int32)
        if result.size and result.min() < 0:
            raise PoolError(
                f"The pool {self.path} is damaged: a source is not in its manifest; ingest its files again."
            )
        result.flags.writeable = False
        return result

    def messages(self, rows: Rows | None = None) -> list[list[Message]]:
        """Conversations of ``rows`` in their order (all rows if None): role and content, other keys where a turn has them.

        Raises:
            PoolError: a row number is out of range.
        """
        return self._gather("messages", rows, as_messages)

    def tools(self, rows: Rows | None = None) -> list[str | None]:
        """Each row's tool definitions: JSON text of their list, None without."""
        return self._gather("tools", rows, lambda array: array.to_pylist())

    def conversations(self, rows: Rows | None = None) -> list[Conversation]:
        """Messages and tools of ``rows`` in their order (all rows if None).

        Raises:
            PoolError: a row number is out of range.
        """
        return list(map(Conversation, self.messages(rows), self.tools(rows)))

    def texts(self, rows: Rows | None = None) -> list[str]:
        r"""The texts of each row's turns (``conversation.turn_text``) joined by ``\n``: what text signals see.

        Tool definitions are no text of the row.

        Raises:
            PoolError: a row number is out of range.
        """
        return self._gather("messages", rows, joined_texts)

    def parts(self, part: str, rows: Rows | None = None) -> list[str]:
        r"""Of each row the texts of the user's turns (``prompt``) or of the assistant's (``response``) joined by ``\n``.

        A system message belongs to neither: whole sources share one. A row without such a turn gives an empty text.

        Raises:
            PoolError: a row number is out of range.
        """
        role = {"prompt": "user", "response": "assistant"}[part]
        return self._gather("messages", rows, lambda array: joined_texts(array, role))

    def metas(self, rows: Rows | None = None) -> list[dict[str, Any]]:
        """Each row's extra fields ({} if it has none)."""
        return self._gather(
            "meta", rows, lambda array: [json.loads(text) if text else {} for text in array.to_pylist()]
        )

    def sources(self, rows: Rows | None = None) -> list[str]:
        """Each row's source."""
        return self._gather("source", rows, lambda array: array.to_pylist())

    def row_ids(self, rows: Rows | None = None) -> list[str]:
        """Each row's id."""
        return self._gather("id", rows, lambda array: array.to_pylist())

    def files(self, rows: Rows | None = None) -> list[str | None]:
        """The file each row was read from, as it was given to ingest (None in pools that did not keep it yet)."""
        return self._gather("file", rows, lambda array: array.to_pylist())

    def lines(self, rows: Rows | None = None) -> list[int | None]:
        """The line of ``files`` each row starts on, from 1 (None in pools that did not keep it yet).

        For Parquet and dataset folders it is the number of the row.
        """
        return self._gather("line", rows, lambda array: array.to_pylist())

    def recompute_fingerprint(self) -> Fingerprint:
        """The running fingerprint after the last row, computed from the rows: more rows can be added to it."""
        fingerprint = Fingerprint()
        for batch in self.table.to_batches(max_chunksize=1024):
            ids, sources, metas, tools = (batch.column(name).to_pylist() for name in ("id", "source", "meta", "tools"))
            turns = as_messages(without_unused_fields(batch.column("messages")))
            for row_id, source, messages, declared, meta in zip(ids, sources, turns, tools, metas, strict=True):
                fingerprint.add(row_id, turns_digest(source, messages, declared).digest(), meta)
        return fingerprint

    @cached_property
    def _turn_chunks(self) -> list[Any]:
        return [without_unused_fields(chunk) for chunk in self.table.column("messages").chunks]

    @cached_property
    def plain(self) -> bool:
        """Whether no row declares tools and no turn has more than role and content: known without reading the rows."""
        tools = self.table.column("tools")
        return tools.null_count == len(tools) and all(
            chunk.type.value_type.num_fields == len(PLAIN_FIELDS) for chunk in self._turn_chunks
        )

    @cached_property
    def _chunk_starts(self) -> npt.NDArray[np.int64]:
        lengths = [len(chunk) for chunk in self.table.column("messages").chunks]
        return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

    def check_rows(self, rows: Rows | None) -> npt.NDArray[np.int64]:
        """Rows as an int64 array (all rows if None).

        Raises:
            PoolError: they are not whole numbers, or one is out of range.
        """
        if rows is None:
            return np.arange(len(self), dtype=np.int64)
        return row_numbers(rows, len(self), f"the pool {self.path}")

    def _gather(self, name: str, rows: Rows | None, convert: Callable[[Any], list[_T]]) -> list[_T]:
        """Convert the cells of one column chunk by chunk, and return them in the order of ``rows``."""
        parts = self._turn_chunks if name == "messages" else self.table.column(name).chunks
        if rows is None:
            return [value for chunk in parts for value in convert(chunk)]
        wanted = self.check_rows(rows)
        if not len(wanted):
            return []
        chunk_of = np.searchsorted(self._chunk_starts, wanted, side="right") - 1
        order = np.argsort(chunk_of, kind="stable")
        chunks, firsts = np.unique(chunk_of[order], return_index=True)
        values: dict[int, _T] = {}
        for chunk, positions in zip(chunks.tolist(), np.split(order, firsts[1:]), strict=True):
            local = wanted[positions] - self._chunk_starts[chunk]
            values.update(zip(positions.tolist(), convert(parts[chunk].take(pa.array(local))), strict=True))
        return [values[position] for position in range(len(wanted))]
