"""CSV and its kin: which character separates the cells, and whether a stray quote made one row of many.

Within quotes a line break is text, so one quote too many swallows rows until the next one, and nothing in the syntax
tells that from a cell that was meant to hold those lines. What tells is that, read as rows of their own, the swallowed
lines have the number of cells of the header. Lines of poems and of code have other numbers of delimiters; a table
inside a properly quoted cell has the cells before or behind it on its first or last line besides its own. What fits all
the same is excused where delimiters are followed by spaces or lines are indented, where the row has all its cells in
quotes, where the lines are nothing like the file's own rows in length and number of words, and where most rows have quotes, so that
a stray one could not have come so far without meeting another.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from autoselection.errors import PoolError
from autoselection.pool.json_reader import MAX_ROW_BYTES, RawRow
from autoselection.pool.row_error import RowError
from autoselection.pool.settings import setting

Quotes = Literal["check", "trust", "none"]

DELIMITERS = (",", ";", "\t", "|")
NAMES = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "'|'"}

_LINE_BREAK = re.compile(r"\r\n|\n|\r")
#: Rows looked at to tell the delimiter.
_SAMPLE_ROWS = 100
#: A cell of so many lines does not look like rows by chance.
_CHANCE_LINES = 4
#: Of so many lines, a few may be of another kind: blank, cut, or with a delimiter too many.
_MANY_LINES = 10
#: So many standard deviations from the lengths of the file's own rows, a swallowed line is none of them.
_UNLIKE = 3.0
#: So many of the file's rows tell what its rows are like.
_JUDGED_ROWS = 20_000
#: Or if the share of cells of several words differs by so much in a column: cells of tables are words and numbers.
_UNLIKE_WORDS = 0.6
_LEAST_ROWS = 8
#: Where so many rows without a quote follow each other less often than this, they are one cell.
_LEAST_CHANCE = 0.002
#: The least standard deviation of log-lengths assumed: rows of equal length say little about the next one.
_LEAST_SPREAD = 0.35


def sniff_delimiter(head: str, path: Path, usual: str) -> str:
    """The character that separates the cells of a file that begins with ``head``; ``usual`` is what its suffix says.

    Raises:
        PoolError: several characters would do.
    """
    fits = {delimiter: fit for delimiter in DELIMITERS if (fit := _fit(head, delimiter)) is not None}
    if not fits or list(fits) == [usual]:
        return usual
    best = max(fits.values())
    close = [delimiter for delimiter, fit in fits.items() if fit > best - 0.1]
    if usual in close:
        return usual
    if len(close) > 1:
        raise PoolError(
            f"{path}:1: the cells may be separated by {' or '.join(NAMES[delimiter] for delimiter in close)}: say which "
            f"with {setting('delimiter')}."
        )
    return close[0]


def _fit(head: str, delimiter: str) -> float | None:
    """Share of the first rows that have as many cells as the header; None if the header has but one."""
    reader = csv.reader(io.StringIO(head.removeprefix("\ufeff"), newline=""), delimiter=delimiter)
    widths: list[int] = []
    try:
        for cells in reader:
            if cells:
                widths.append(len(cells))
            if len(widths) > _SAMPLE_ROWS:
                break
    except csv.Error:
        pass
    if not widths or widths[0] < 2:
        return None
    rows = widths[1:-1] if len(widths) > 2 else widths[1:]  # the last one may be cut by the end of the sample
    return sum(width == widths[0] for width in rows) / len(rows) if rows else 1.0


class _CsvLines:
    """Lines on their way to the parser, kept until their row is whole."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.kept: list[str] = []

    def __iter__(self) -> _CsvLines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.kept.append(line)
        return line


def csv_rows(stream: BinaryIO, path: Path, delimiter: str, quotes: Quotes, newline: str = "\n") -> Iterator[RawRow]:
    """The rows of a file in UTF-8 whose first line is a header.

    Args:
        quotes: ``check`` refuses a file in which a stray quote seems to have made one row of many, ``trust`` does not,
            and for ``none`` quotes are plain characters.
        newline: what ends a line, besides ``\\r\\n``: ``\\n`` or ``\\r``.

    Raises:
        PoolError: the header cannot be used, or quotes swallow rows.
    """
    # The limit is the process's, and by default (128 KiB) shorter than real rows; only ever raised here.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_BYTES))
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline=newline)
    lines = _CsvLines(iter(text))
    quoting: Literal[0, 3] = csv.QUOTE_NONE if quotes == "none" else csv.QUOTE_MINIMAL
    reader = csv.reader(lines, delimiter=delimiter, strict=True, quoting=quoting)
    header = _header(reader, path, delimiter)
    if not header:
        return
    check = _MergeCheck(path, header, delimiter) if quotes == "check" and len(header) > 1 else None
    while True:
        lines.kept.clear()
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            if len(lines.kept) > 1:
                raise _never_closed(path, line, reader.line_num, str(error)) from error
            yield line, None, RowError(f"not valid CSV: {error}", "not valid CSV")
            continue
        if not cells:
            continue
        if check is not None:
            check.see(line, reader.line_num, cells, lines.kept)
        if len(cells) > len(header) and not any(cells[len(header) :]):  # delimiters at the end of the line
            del cells[len(header) :]
        if len(cells) != len(header):
            yield line, None, RowError(f"the row has {len(cells)} cells, the header {len(header)}", "number of cells")
            continue
        yield line, {name: cell or None for name, cell in zip(header, cells, strict=True)}, None
    if check is not None:
        check.finish()


def _header(reader: Iterator[list[str]], path: Path, delimiter: str) -> list[str]:
    try:
        header = next((cells for cells in reader if cells), [])
    except csv.Error as error:
        raise PoolError(f"{path}:1: the header is not valid CSV: {error}.") from error
    if any(delimiter in name and _LINE_BREAK.search(name) for name in header):
        raise PoolError(f"{path}:1: a quote opened in the header swallows the lines behind it: close it.")
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise PoolError(
            f"{path}:1: the column {twice!r} appears twice in the header: rename one, or, if the first line is a row, "
            "put a header before it."
        )
    return header


def _never_closed(path: Path, first: int, last: int, problem: str) -> PoolError:
    what = "is never closed" if "unexpected end" in problem else f"swallows the lines up to {last:,}"
    return PoolError(
        f"{path}:{first}: a quote opened in this row {what}, so that {last - first + 1:,} lines would be lost ({problem}): "
        "close it, write quotes inside a cell twice, or give --quotes none if quotes are plain characters in this file."
    )


@dataclass(frozen=True)
class _Merge:
    """A cell whose lines look like rows of their own.

    Attributes:
        first: the line on which the row starts.
        last: the line on which it ends.
        lengths: median logarithm of the lengths of the swallowed cells, by column.
        words: share of the swallowed cells that hold several words, by column.
    """

    first: int
    last: int
    lengths: tuple[float, ...]
    words: tuple[float, ...]


class _MergeCheck:
    """Tells swallowed rows from cells that were meant to hold several lines, by all rows of the file."""

    def __init__(self, path: Path, header: Sequence[str], delimiter: str) -> None:
        self._path = path
        self._width = len(header)
        self._delimiter = delimiter
        self._spaced = re.compile(re.escape(delimiter) + " ") if delimiter != "\t" else None
        self._merges: list[_Merge] = []
        self._read = 0  # rows that do not look merged
        self._quoted = 0  # rows with a quote
        self._proper = 0  # rows of several lines that do not look merged
        self._rows = 0
        self._sums = np.zeros((3, self._width))

    def see(self, first: int, last: int, cells: Sequence[str], lines: Sequence[str]) -> None:
        """Take note of a row that was read from ``lines``."""
        if last == first:
            self._count(lines)
            if len(cells) == self._width and self._rows < _JUDGED_ROWS:
                lengths = [math.log1p(len(cell)) for cell in cells]
                self._rows += 1
                self._sums += [lengths, [length * length for length in lengths], [float(" " in cell) for cell in cells]]
            return
        swallowed = self._swallowed(cells)
        if swallowed is None or (len(cells) == self._width and _all_quoted(cells, self._delimiter, lines)):
            self._proper += 1
            self._count(lines)
            return
        columns = list(zip(*(row for row in swallowed if len(row) == self._width), strict=True))
        lengths = [float(np.median([math.log1p(len(cell)) for cell in column])) for column in columns]
        words = [sum(" " in cell for cell in column) / len(column) for column in columns]
        self._merges.append(_Merge(first, last, tuple(lengths), tuple(words)))

    def _count(self, lines: Sequence[str]) -> None:
        self._read += 1
        self._quoted += any('"' in line for line in lines)

    def _swallowed(self, cells: Sequence[str]) -> list[list[str]] | None:
        """The rows that a cell of several lines would be if its quotes were plain characters; None if it is none."""
        for place, cell in enumerate(cells):
            pieces = _LINE_BREAK.split(cell)
            if len(pieces) == 1:
                continue
            rows = [piece.split(self._delimiter) for piece in pieces]
            rows[0] = [*cells[:place], *rows[0]]
            rows[-1] = [*rows[-1], *cells[place + 1 :]]
            if not self._fits([row for row in rows if row != [""]], place, len(cells)):
                continue
            if not self._is_prose(pieces):
                return rows
        return None

    def _fits(self, rows: Sequence[Sequence[str]], place: int, cells: int) -> bool:
        """Whether the lines of the cell at ``place`` of a row of ``cells`` have the header's number of cells."""
        fitting = [len(row) == self._width for row in rows]
        # Of a row that is bad in any case, the ends prove little.
        ends = fitting[0] + fitting[-1] if cells == self._width else 2
        if len(rows) < _CHANCE_LINES:
            blank = self._width == 2 and any(not part.strip() for row in rows for part in row)  # 'Dear Sir,' is no row
            return ends == 2 and len(rows) > 1 and all(fitting[1:-1]) and sum(fitting) > 1 and not blank
        # A table inside a cell begins behind the cells before it, or ends before those behind it.
        if cells == self._width and (
            (place > 0 and len(rows[0]) == place + self._width)
            or (place < cells - 1 and len(rows[-1]) == self._width + cells - 1 - place)
        ):
            return False
        inner = fitting[1:-1]
        return ends > 0 and sum(inner) >= (0.9 if len(rows) >= _MANY_LINES else 1.0) * len(inner)

    def _is_prose(self, pieces: Sequence[str]) -> bool:
        """Whether the lines are text or code by what is between the words: 'one, two', or indented lines."""
        indented = sum(piece[:1] in (" ", "\t") for piece in pieces[1:])
        if indented * 2 >= len(pieces) - 1 and self._delimiter != "\t":
            return True
        if self._spaced is None:
            return False
        separators = sum(piece.count(self._delimiter) for piece in pieces)
        spaced = sum(len(self._spaced.findall(piece)) for piece in pieces)
        return spaced * 2 > separators

    def finish(self) -> None:
        """Judge what looked merged.

        Raises:
            PoolError: rows were swallowed.
        """
        merges = [merge for merge in self._merges if self._is_like_the_rows(merge) and self._is_without_quotes(merge)]
        short = [merge for merge in merges if merge.last - merge.first + 1 < _CHANCE_LINES]
        if len(short) <= self._proper:  # where cells of several lines are usual, some look like rows by chance
            merges = [merge for merge in merges if merge not in short]
        if not merges:
            return
        merge = merges[0]
        more = f" (and {len(merges) - 1:,} more such rows)" if len(merges) > 1 else ""
        raise PoolError(
            f"{self._path}:{merge.first}: one cell of this row holds the lines {merge.first:,} to {merge.last:,}{more}, "
            f"which look like rows of their own, with {self._width} cells each: a stray quote seems to have swallowed "
            "them; fix the quotes, or give --quotes trust (in a configuration: pool.ingest.quotes) if this is meant."
        )

    def _is_without_quotes(self, merge: _Merge) -> bool:
        """Whether so many of the file's rows could follow each other without a quote, which would have ended the cell."""
        if self._read < _LEAST_ROWS:
            return True
        return float((1 - self._quoted / self._read) ** (merge.last - merge.first + 1)) >= _LEAST_CHANCE

    def _is_like_the_rows(self, merge: _Merge) -> bool:
        if self._rows < _LEAST_ROWS:
            return True
        mean, squares, words = self._sums / self._rows
        spread = np.sqrt(np.maximum(squares - mean**2, 0.0))
        away = np.abs(np.asarray(merge.lengths) - mean) / np.maximum(spread, _LEAST_SPREAD)
        apart = (
            np.abs(np.asarray(merge.words) - words) if merge.last - merge.first + 1 >= _CHANCE_LINES else np.zeros(1)
        )
        return bool(away.max() <= _UNLIKE and apart.max() <= _UNLIKE_WORDS)


def _all_quoted(cells: Sequence[str], delimiter: str, lines: Sequence[str]) -> bool:
    """Whether the row is written with every cell in quotes: a stray quote among such cells cannot end where a cell ends."""
    written = delimiter.join('"' + cell.replace('"', '""') + '"' for cell in cells)
    return "".join(lines).rstrip("\r\n") == written
