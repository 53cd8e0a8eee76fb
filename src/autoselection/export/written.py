"""What an export writes of a pool's rows, and what it tells of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.conversation import Conversation
from autoselection.export.containers import checked_cells, has_types
from autoselection.export.layouts import CannotHold, Layout, Shape, has_more
from autoselection.pool.own_columns import OwnColumns
from autoselection.pool.pool import Pool

BATCH_ROWS = 1024
_EMPTY: tuple[Any, ...] = (None, "", [])


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    Attributes:
        path: the file or folder to give to the reader of the format.
        rows: rows written.
        left_out: ids of rows that the format cannot hold.
        reasons: why they were left out: count.
        remarks: what else has to be known of the file, in sentences.
    """

    path: Path
    rows: int
    left_out: tuple[str, ...] = ()
    reasons: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON document."""
        return {
            "path": str(self.path),
            "rows": self.rows,
            "left_out": list(self.left_out),
            "reasons": dict(self.reasons),
            "remarks": list(self.remarks),
        }

    def sentences(self) -> list[str]:
        """What has to be said aloud: rows left out with the reasons, and the remarks."""
        if not self.left_out:
            return list(self.remarks)
        why = ", ".join(f"{count:,} {reason}" for reason, count in self.reasons.items())
        said = f"{len(self.left_out):,} rows are not in {self.path}, as the format cannot hold them: {why}."
        return [said, *self.remarks]


@dataclass
class Written:
    """What was written so far.

    Attributes:
        rows: rows written (count).
        formulas: cells that look like formulas (count).
        weighted: rows written that have answers of weight 0 (count).
        sources: rows written of each source.
        left_out: ids of the rows left out.
        reasons: why, with counts.
        copies: rows written that were written before, of each source: those that count more than once stand there as often.
    """

    rows: int = 0
    formulas: int = 0
    weighted: int = 0
    copies: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    left_out: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    _seen: set[int] = field(default_factory=set)

    def records(
        self,
        pool: Pool,
        rows: NDArray[np.int64],
        convert: Callable[[Conversation], Mapping[str, Any]],
        extras: Sequence[Mapping[str, Any]] | None = None,
        container: str = "jsonl",
    ) -> Iterator[dict[str, Any]]:
        """The rows as a file holds them, those that it cannot hold left out.

        Args:
            convert: a conversation as fields; ``CannotHold`` if it does not fit.
            extras: further fields of each row.
        """
        everything = zip(pool.row_ids(rows), pool.sources(rows), pool.conversations(rows), strict=True)
        for number, (row_id, source, conversation) in enumerate(everything):
            try:
                record = {"id": row_id, "source": source, **convert(conversation)}
                record |= extras[number] if extras is not None else {}
                if container in ("csv", "tsv"):
                    self.formulas += checked_cells(record)
            except CannotHold as problem:
                self.left_out.append(row_id)
                self.reasons[str(problem)] += 1
                continue
            self.rows += 1
            self.sources[source] += 1
            row = int(rows[number])
            if row in self._seen:
                self.copies[source] += 1
            self._seen.add(row)
            self.weighted += any("weight" in message for message in conversation.messages)
            yield record

    def report(self, path: Path, remarks: Sequence[str] = ()) -> ExportReport:
        """The report of a finished export."""
        said = [*remarks]
        if self.copies:
            said.append(
                f"{self.copies.total():,} of the {self.rows:,} rows are copies: a row that counts more than once stands there as often, "
                "under one id."
            )
        return ExportReport(path, self.rows, tuple(self.left_out), dict(self.reasons.most_common()), tuple(said))


def batches(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Rows in parts of moderate size."""
    for start in range(0, len(rows), BATCH_ROWS):
        yield rows[start : start + BATCH_ROWS]


def shape_of(pool: Pool, rows: NDArray[np.int64], layout: Layout, container: str) -> Shape:
    """What the rows of a file have: looked up in the rows where all rows of a file must have the same."""
    objects = has_types(container)
    fields = tuple(layout.fields)
    if layout.typed and layout.further is None and container in ("jsonl", "json"):
        return Shape(layout, objects, fields, False)  # each row has the keys that it needs
    absent, more = set(layout.optional), not layout.typed
    if pool.plain and layout.typed:
        return Shape(layout, objects, tuple(name for name in fields if name not in absent), False)
    for part in batches(rows):
        if not absent and more:
            break
        for conversation in pool.conversations(part):
            try:
                converted = layout.convert(conversation, objects)
            except CannotHold:
                continue
            absent -= {name for name in absent if converted[name] not in _EMPTY}
            more = more or has_more(converted[fields[0]])
    return Shape(layout, objects, tuple(name for name in fields if name not in absent), more and bool(layout.typed))


def remarks_on(found: Written, own: OwnColumns, container: str, layout: str) -> list[str]:
    """What has to be known of a file besides the rows left out, in sentences."""
    said = [
        f"The column '{name}' is called '{new}' in the file: the format, or a program that reads it, uses its name."
        for name, new in own.renamed.items()
    ]
    if has_types(container):
        for names, what in ((own.as_json, "JSON"), (own.as_text, "JSON text")):
            if names:
                named = ", ".join(f"'{name}'" for name in own.names if name in names)
                said.append(f"Columns of mixed or nested values are written as {what}: {named}.")
    if found.formulas:
        said.append(
            f"{found.formulas:,} cells begin with =, +, - or @, as they do in the rows: a spreadsheet would run them as "
            "formulas; import the file as text."
        )
    if found.weighted and (has_types(container) or layout == "sharegpt"):
        said.append(
            f"{found.weighted:,} rows have answers of weight 0, which are context without a loss. Neither TRL's SFTTrainer nor "
            "LLaMA-Factory looks at weights; --format axolotl writes what Axolotl obeys."
        )
    return said
