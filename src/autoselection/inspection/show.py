"""Rows of a pool as people look at them: their turns, their own columns, and every signal with its percentiles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection import notebook
from autoselection.conversation import turn_text
from autoselection.errors import ConfigError, PoolError
from autoselection.inspection.columns import RowColumns
from autoselection.inspection.expression import Condition
from autoselection.inspection.percentiles import Score, row_scores
from autoselection.pool import Pool, Row
from autoselection.pool.subset import rows_of
from autoselection.signals import SignalTable, load_table
from autoselection.wording import clipped, suggestion

#: Rows shown where nobody says how many.
SHOWN = 5
#: So many ids are looked for one by one.
_FEW = 20
#: Most digits of a row number.
_DIGITS = 18


@dataclass(frozen=True, repr=False)
class ShownRow:
    """A row with its signals.

    Attributes:
        row: what stands in it.
        file, line: where it was read; None in pools that did not keep it yet.
        scores: its signals by name.
    """

    row: Row
    file: str | None
    line: int | None
    scores: Mapping[str, Score]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "row": self.row.row,
            **self.row.record(),
            "file": self.file,
            "line": self.line,
            "signals": {name: score.to_dict() for name, score in self.scores.items()},
        }

    def __repr__(self) -> str:
        return notebook.line("ShownRow", repr(self.row))

    def html(self) -> list[str]:
        """The row for a notebook."""
        spoken = [(message["role"], turn_text(message)) for message in self.row.messages]
        headings = ("signal", "score", "percentile in the pool", "in its source")
        lines = [(name, score.value, score.pool, score.source) for name, score in self.scores.items()]
        return [notebook.turns(spoken), notebook.table(headings, lines, what="signals", shown=100)]


@dataclass(frozen=True, repr=False)
class ShownRows(Sequence[ShownRow]):
    """Some rows of a pool, shown.

    Attributes:
        pool: the pool.
        matching: rows that were asked for (count), of which these are some.
        rows: those shown.
    """

    pool: Pool
    matching: int
    rows: tuple[ShownRow, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __iter__(self) -> Iterator[ShownRow]:
        return iter(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"matching": self.matching, "of": len(self.pool), "rows": [each.to_dict() for each in self.rows]}

    def __repr__(self) -> str:
        return notebook.line("ShownRows", f"{len(self)} of {notebook.counted(self.matching, 'row')}")

    def _repr_html_(self) -> str:
        title = f"{len(self)} of {notebook.counted(self.matching, 'row')} of {self.pool.path}"
        facts = [
            {"source": each.row.source} | ({} if each.file is None else {"read from": f"{each.file}:{each.line}"})
            for each in self.rows
        ]
        pages = [
            notebook.page(f"Row {each.row.row}: {each.row.id}", known, *each.html())
            for each, known in zip(self.rows, facts, strict=True)
        ]
        return notebook.page(title, {}, *pages)


def show_rows(
    pool: Pool,
    ids: Sequence[str | int] | NDArray[np.int64] | None = None,
    *,
    where: str | None = None,
    source: str | None = None,
    sample: int | None = None,
    limit: int | None = SHOWN,
    seed: int = 0,
    signals: SignalTable | None = None,
    columns: Sequence[str] | None = None,
) -> ShownRows:
    """Rows of a pool with their turns, own columns and signals.

    Args:
        ids: ids, or numbers, of the rows to choose among, shown in this order; None: all rows. Text of digits that is no
            id is a number.
        where: a condition on them, such as ``ifd < 0.3 and n_turns > 2``; see
            :mod:`autoselection.inspection.expression`.
        source: only rows of this source.
        sample: show so many of them at random, in row order, by ``seed``.
        limit: without ``sample``, show the first so many, or all (None).
        signals: of the pool (default: the newest ones stored with it).
        columns: signals to show (default: all).

    Raises:
        PoolError: there is no such row or source.
        ConfigError: the condition is wrong.
        SignalError: there is no such signal.

    >>> import autoselection as au
    >>> rows = [{"id": f"r{n}", "prompt": "Say it.", "response": "word " * n} for n in (1, 2, 3)]
    >>> pool = au.ingest(rows, "shown").pool
    >>> report = au.score_pool(pool, signals=["lengths"])
    >>> [each.row.id for each in show_rows(pool, where="n_response_words > 1")]
    ['r2', 'r3']
    """
    table = load_table(pool) if signals is None else signals
    rows = matching_rows(pool, table, ids, where=where, source=source)
    chosen = rows
    if sample is not None:
        if sample < 1:
            raise ConfigError(f"A sample has at least one row, not {sample}.")
        drawn = np.random.default_rng(seed).permutation(len(rows))[:sample]
        chosen = rows[np.sort(drawn)]
    elif limit is not None:
        chosen = rows[:limit]
    return ShownRows(pool, len(rows), tuple(shown_rows(pool, table, chosen, columns)))


def shown_rows(
    pool: Pool, signals: SignalTable, rows: NDArray[np.int64], columns: Sequence[str] | None = None
) -> list[ShownRow]:
    """Rows by number with their signals; errors as of :func:`show_rows`."""
    scores = row_scores(signals, rows, columns)
    places = zip(pool.files(rows), pool.lines(rows), strict=True)
    return [
        ShownRow(row, file, line, scored)
        for row, (file, line), scored in zip(rows_of(pool, rows), places, scores, strict=True)
    ]


def matching_rows(
    pool: Pool,
    signals: SignalTable,
    ids: Sequence[str | int] | NDArray[np.int64] | None = None,
    *,
    where: str | None = None,
    source: str | None = None,
) -> NDArray[np.int64]:
    """Numbers of the rows that were asked for; arguments and errors as of :func:`show_rows`."""
    rows = np.arange(len(pool), dtype=np.int64) if ids is None else numbers_of(pool, ids)
    if source is not None:
        if source not in pool.source_names:
            raise PoolError(f"The pool has no source '{source}'{suggestion(source, pool.source_names)}")
        rows = rows[pool.source_codes[rows] == pool.source_names.index(source)]
    if where is not None:
        rows = rows[Condition(where).holds(RowColumns(pool, signals))[rows]]
    return rows


def _no_row(pool: Pool, name: str) -> PoolError:
    return PoolError(
        f"The pool has no row with the id {clipped(name)!r}; a row is named by its id, or by its number from 0 "
        f"to {len(pool) - 1:,}."
    )


def numbers_of(pool: Pool, ids: Sequence[str | int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Row numbers of ids, or of numbers: an id that is text of digits goes before a number; a single one stands for a list of it.

    Raises:
        PoolError: there is no such row.
    """
    names = [ids] if isinstance(ids, str | int) else list(ids)
    there = pool if len(names) <= _FEW else frozenset(pool.row_ids())
    unknown = {name for name in names if isinstance(name, str) and name not in there}
    for name in sorted(unknown):
        if not (name.isascii() and name.isdigit() and len(name.lstrip("0")) <= _DIGITS):
            raise _no_row(pool, name)
    for name in names:
        if isinstance(name, int) and abs(name) >= 10**_DIGITS:
            raise _no_row(pool, str(name) if abs(name) < 10**100 else "10**100 or more")
    texts = [name for name in names if isinstance(name, str) and name not in unknown]
    known = dict(zip(texts, pool.row_of(texts).tolist() if texts else [], strict=True))
    return pool.check_rows([int(name) if name not in known else known[name] for name in names])
