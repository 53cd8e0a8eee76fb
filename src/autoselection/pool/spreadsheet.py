"""Excel workbooks (``.xlsx``): one sheet, its first row the header, every cell as the text that it shows.

Read by openpyxl, or by fastexcel where only that is installed: faster, but it makes room for every cell up to the last
one and ends the process where that is too much, so how far the cells reach is looked at before.
"""

from __future__ import annotations

import datetime
import importlib.util
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from autoselection.errors import MissingExtraError, PoolError
from autoselection.pool.json_reader import RawRow
from autoselection.pool.row_error import RowError

#: Limits of the program whose files these are, and of cells held at once.
_MAX_ROWS, _MAX_COLUMNS, _MAX_CELLS = 2**20, 2**14, 2 * 10**7
#: Empty rows in a row.
_MAX_GAP = 10**5
_CHUNK_BYTES = 2**20
_REFERENCE = re.compile(rb"""\br\s*=\s*["']([A-Z]{0,8})(\d{1,12})["']""")
#: What reading a damaged workbook raises: of the archive, of the XML, and of openpyxl's trust in both.
_UNREADABLE = (
    OSError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error, ParseError, EOFError,
    NotImplementedError, RuntimeError, OverflowError, AssertionError,
)  # fmt: skip

Row = Sequence[str | None]


def workbook_rows(path: Path, choose: Callable[[list[str], list[str]], str]) -> Iterator[RawRow]:
    """The rows of a workbook's sheet; the header is the first row that is not empty.

    Args:
        choose: takes the names of the sheets that hold anything and of those that do not, returns that of the one to read.

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
            yield number, None, RowError(f"the row has {len(row)} cells, the header {len(header)}", "number of cells")
            continue
        yield number, dict(zip(header, row, strict=False)), None


def _cells(path: Path, choose: Callable[[list[str], list[str]], str]) -> Iterator[Row]:
    if importlib.util.find_spec("openpyxl") is not None:
        return _by_openpyxl(path, choose)
    if importlib.util.find_spec("fastexcel") is not None:
        _check_extent(path)
        return _by_fastexcel(path, choose)
    raise MissingExtraError("openpyxl", None, f"Reading the workbook {path}")


def _check_extent(path: Path) -> None:
    """Refuse a workbook whose cells reach further than there is room for.

    Raises:
        PoolError: they do, or it is no workbook.
    """
    rows = columns = 0
    try:
        with zipfile.ZipFile(path) as book:
            for name in book.namelist():
                if not name.endswith(".xml"):
                    continue
                with book.open(name) as part:
                    rest = b""
                    while chunk := part.read(_CHUNK_BYTES):
                        for letters, digits in _REFERENCE.findall(rest + chunk):
                            rows, columns = max(rows, int(digits)), max(columns, _column(letters))
                        rest = chunk[-100:]
    except (
        OSError,
        ValueError,
        LookupError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise _damaged(path, error) from error
    if rows > _MAX_ROWS or columns > _MAX_COLUMNS or rows * columns > _MAX_CELLS:
        raise _too_large(path)


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _too_large(path: Path) -> PoolError:
    return PoolError(
        f"{path}: the cells of a sheet reach too far (rows up to {_MAX_ROWS:,}, columns up to {_MAX_COLUMNS:,}): delete what "
        "stands far outside the table, or save it as CSV (UTF-8)."
    )


def _by_fastexcel(path: Path, choose: Callable[[list[str], list[str]], str]) -> Iterator[Row]:
    import fastexcel

    try:
        book = fastexcel.read_excel(str(path))
        sheets = {name: _load(book, name) for name in book.sheet_names}
    except fastexcel.FastExcelError as error:
        raise _damaged(path, error) from error
    filled = {name: sheet for name, sheet in sheets.items() if sheet.height}
    if not filled:
        return
    sheet = filled[choose(list(filled), [name for name in sheets if name not in filled])]
    columns = [sheet.to_arrow().column(place).to_pylist() for place in range(sheet.width)]
    yield from zip(*columns, strict=True)


def _load(book: Any, name: str) -> Any:
    return book.load_sheet(name, header_row=None, skip_rows=0, dtypes="string")


def _by_openpyxl(path: Path, choose: Callable[[list[str], list[str]], str]) -> Iterator[Row]:
    import openpyxl

    sheets: dict[str, list[list[str | None]]] = {}
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")  # of styles and the like, which are not read
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            for sheet in book.worksheets:
                rows: list[list[str | None]] = []
                cells = gap = 0
                for row in sheet.iter_rows(values_only=True):
                    filled_row = [_text(cell) for cell in row] if any(cell is not None for cell in row) else []
                    rows.append(filled_row)
                    cells += len(filled_row)
                    gap = 0 if filled_row else gap + 1
                    if gap > _MAX_GAP or len(rows) > _MAX_ROWS or len(row) > _MAX_COLUMNS or cells > _MAX_CELLS:
                        raise _too_large(path)
                sheets[sheet.title] = rows
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
    filled = {name: rows for name, rows in sheets.items() if any(cell is not None for row in rows for cell in row)}
    if filled:
        yield from filled[choose(list(filled), [name for name in sheets if name not in filled])]


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
