"""Excel workbooks (``.xlsx``): one sheet, its first row the header, every cell as the text that it shows.

Read by fastexcel, or by openpyxl where only that is installed.
"""

from __future__ import annotations

import datetime
import importlib.util
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from autoselection.errors import MissingExtraError, PoolError
from autoselection.pool.json_reader import RawRow

Row = Sequence[str | None]


def workbook_rows(path: Path, choose: Callable[[list[str]], str]) -> Iterator[RawRow]:
    """The rows of a workbook's sheet; the header is the first row that is not empty.

    Args:
        choose: takes the names of the sheets that hold anything, returns that of the one to read.

    Raises:
        MissingExtraError: neither fastexcel nor openpyxl is installed.
        PoolError: the workbook is damaged, empty, or has two columns of one name.
    """
    header: list[str] | None = None
    for number, cells in enumerate(_cells(path, choose), start=1):
        row = [cell if cell is not None and cell != "" else None for cell in cells]
        if not any(row):
            continue
        if header is None:
            while row and row[-1] is None:
                row.pop()
            header = [name or f"column {place}" for place, name in enumerate(row, start=1)]
            twice = next((name for name in header if header.count(name) > 1), None)
            if twice is not None:
                raise PoolError(f"{path}:{number}: the column {twice!r} appears twice in the header: rename one.")
            continue
        if any(row[len(header) :]):
            yield number, None, f"the row has {len(row)} cells, the header {len(header)}"
            continue
        yield number, dict(zip(header, row, strict=False)), None


def _cells(path: Path, choose: Callable[[list[str]], str]) -> Iterator[Row]:
    if importlib.util.find_spec("fastexcel") is not None:
        return _by_fastexcel(path, choose)
    if importlib.util.find_spec("openpyxl") is not None:
        return _by_openpyxl(path, choose)
    raise MissingExtraError("fastexcel", None, f"Reading the workbook {path}")


def _by_fastexcel(path: Path, choose: Callable[[list[str]], str]) -> Iterator[Row]:
    import fastexcel

    try:
        book = fastexcel.read_excel(str(path))
        sheets = {name: _load(book, name) for name in book.sheet_names}
    except fastexcel.FastExcelError as error:
        raise _damaged(path, error) from error
    filled = {name: sheet for name, sheet in sheets.items() if sheet.height}
    if not filled:
        return
    sheet = filled[choose(list(filled))]
    columns = [sheet.to_arrow().column(place).to_pylist() for place in range(sheet.width)]
    yield from zip(*columns, strict=True)


def _load(book: Any, name: str) -> Any:
    return book.load_sheet(name, header_row=None, skip_rows=0, dtypes="string")


def _by_openpyxl(path: Path, choose: Callable[[list[str]], str]) -> Iterator[Row]:
    import openpyxl

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        sheets = {sheet.title: [[_text(cell) for cell in row] for row in sheet.values] for sheet in book.worksheets}
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
        zlib.error,
        ParseError,
    ) as error:
        raise _damaged(path, error) from error
    filled = {name: rows for name, rows in sheets.items() if any(cell is not None for row in rows for cell in row)}
    if filled:
        yield from filled[choose(list(filled))]


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ")
    return str(value)


def _damaged(path: Path, error: Exception) -> PoolError:
    reason = " ".join(str(error).split()).partition(" Context:")[0][:200]
    return PoolError(
        f"{path} cannot be read as an Excel workbook ({reason}): save it again as .xlsx, or as CSV (UTF-8)."
    )
