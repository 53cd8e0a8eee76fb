"""Containers to raw rows: JSON Lines, JSON, CSV, Parquet, Arrow, gzip or zstd of those, workbooks, dataset folders.

A reader yields ``(line, record, problem)``: where the row starts (for Parquet, Arrow, workbooks and dataset folders the number
of the row; all count from 1), its fields, and, if it could not be read, why. Only ``\n`` ends a line of JSON Lines:
strings may hold other Unicode line breaks. Damage after which no further row can be trusted raises PoolError.
"""

from __future__ import annotations

import gzip
import io
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from autoselection import notebook
from autoselection.errors import MissingExtraError, PoolError
from autoselection.pool.columnar import BATCH_ROWS, ColumnarRows
from autoselection.pool.csv_reader import NAMES, Quotes, csv_rows, sniff_delimiter
from autoselection.pool.encodings import Recoded, Survey, marked_encoding, survey
from autoselection.pool.json_reader import BUFFER_BYTES, NOT_UTF8, RawRow, json_rows
from autoselection.pool.settings import setting
from autoselection.pool.spreadsheet import workbook_rows
from autoselection.pool.suffixes import COMPRESSIONS, CONTAINERS
from autoselection.wording import command_line

_GZIP, _ZSTD, _ARROW_FILE = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"ARROW1"
#: First bytes of what has to be unpacked first, and the command that does it.
_UNREAD = {
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ\x00": ("xz", "unxz"),
    b"PK\x03\x04": ("zip", "unzip"),
    b"7z\xbc\xaf": ("7z", "7z x"),
}
_PAGE = "is a web page, not data (an error page in place of a download?): get the file again"
_NO_DATA = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the data itself: fetch it with git lfs pull",
    b"<!doctype": _PAGE,
    b"<html": _PAGE,
}
_UNREAD_SUFFIXES = {
    ".bz2": "bunzip2",
    ".xz": "unxz",
    ".lzma": "unlzma",
    ".zip": "unzip",
    ".tar": "tar -xf",
    ".tgz": "tar -xf",
    ".7z": "7z x",
}

#: What a file with several tables is called, and one of them.
_PARTS = {".xlsx": ("workbook", "sheet"), ".duckdb": ("database", "table")}


@dataclass(frozen=True)
class ReadOptions:
    """How files are read, where they do not tell it themselves.

    Attributes:
        split: split to take from a dataset that has several, or sheet of a workbook.
        encoding: of text files; None: recognized in each file.
        delimiter: of CSV files; None: recognized in each file.
        quotes: what quotes in CSV files are worth (see ``csv_reader.csv_rows``).
    """

    split: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    quotes: Quotes = "check"


def container_of(path: Path) -> str:
    """Name of the container a path's suffix tells: jsonl, json, csv, tsv, parquet, arrow, xlsx, duckdb, lance or dataset.

    Raises:
        PoolError: the suffix is unknown.
    """
    if path.is_dir() and path.suffix.lower() != ".lance":
        return "dataset"
    suffix = inner_name(path).suffix.lower()
    if suffix in _UNREAD_SUFFIXES:
        raise PoolError(
            f"{path} is packed in a way that is not read: unpack it first ({_UNREAD_SUFFIXES[suffix]} "
            f"{command_line(path)}), or pack it as .gz or .zst."
        )
    if suffix in (".xls", ".ods"):
        raise PoolError(f"{path}: of spreadsheets only .xlsx is read: save it as .xlsx, or as CSV (UTF-8).")
    if suffix not in CONTAINERS:
        raise PoolError(
            f"Cannot tell what {path} holds from its suffix {suffix!r}: rename it to one of "
            f"{', '.join(CONTAINERS)} (optionally followed by .gz or .zst)."
        )
    return CONTAINERS[suffix]


def _cut(batches: Iterable[Any]) -> Iterator[Any]:
    """Batches of at most ``BATCH_ROWS`` rows: files of one table hold all of it as one."""
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH_ROWS):
            yield batch.slice(start, BATCH_ROWS)


def stem_of(path: Path) -> str:
    """File name without compression and container suffixes."""
    inner = inner_name(path)
    return inner.stem if inner.suffix.lower() in CONTAINERS else inner.name


def size_of(path: Path) -> int:
    """Bytes on disk of a file, or of all files under a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size


def inner_name(path: Path) -> Path:
    """A file's name without the suffix of what packs it."""
    return Path(path.stem) if path.suffix.lower() in COMPRESSIONS else Path(path.name)


def choose_split(path: Path, splits: list[str], wanted: str | None) -> str:
    """The split that is wanted, or the only one.

    Raises:
        PoolError: there are several and none is wanted, or none is called so.
    """
    if wanted is None and len(splits) == 1:
        return splits[0]
    if wanted is None or wanted not in splits:
        what, part = _PARTS.get(path.suffix.lower(), ("dataset", "split")) if path.is_file() else ("dataset", "split")
        missing = f"has no {part} '{wanted}'" if wanted is not None else f"has several {part}s"
        raise PoolError(
            f"The {what} {path} {missing}: name one of {', '.join(splits)} with --split (in a configuration: "
            "pool.ingest.split)."
        )
    return wanted


class Reader:
    """Reads one input once; a context manager.

    Args:
        path: a file, or a folder written by ``datasets.save_to_disk``.
        options: how, where the input does not tell it itself.
        copy: the file to read in its place: a copy of one that lies elsewhere.

    Attributes:
        encoding: the encoding of a text file that is not UTF-8, else None (known once rows are read).
        delimiter: what separates the cells of a CSV file, if it is not what the suffix says, else None.
        guesses: what was guessed about the file, for people to judge.
    """

    def __init__(self, path: Path, options: ReadOptions | None = None, copy: Path | None = None) -> None:
        self.path = path
        self._place = path if copy is None else copy
        self.container = container_of(path)
        self.bytes = size_of(self._place)
        self.encoding: str | None = None
        self.delimiter: str | None = None
        self.guesses: list[str] = []
        self._columnar: ColumnarRows | None = None
        self._options = options or ReadOptions()
        self._stack = ExitStack()
        self._raw: io.BufferedReader | None = None
        self._share: Callable[[], float] | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def filled(self) -> frozenset[str]:
        """Columns whose objects have all keys that any of them has (known once rows are read)."""
        return self._columnar.filled if self._columnar is not None else frozenset()

    def position(self) -> int:
        """Bytes of the input read so far (for progress)."""
        if self._share is not None:
            return int(self.bytes * self._share())
        return self._raw.tell() if self._raw is not None and self._raw.seekable() else 0

    def rows(self) -> Iterator[RawRow]:
        """All rows, in order.

        Raises:
            PoolError: the input cannot be opened or is damaged.
            MissingExtraError: a dataset folder or a workbook, and what reads it is not installed.
        """
        line = 0
        try:
            for row in self._open_rows():
                line = row[0]
                yield row
        except (OSError, EOFError, zlib.error, UnicodeDecodeError, pa.ArrowException) as error:
            after = f" after row {line}" if self.container in ("parquet", "arrow", "dataset") else f" after line {line}"
            reason = " ".join(str(getattr(error, "strerror", None) or error).split()).removesuffix(".")
            if isinstance(error, gzip.BadGzipFile) and reason.startswith("Not a gzipped"):
                reason = "what follows its gzip data is something else"
            if getattr(error, "errno", None) is None:
                reason += "; it seems damaged or cut off: get it again"
            raise PoolError(f"{self.path} cannot be read{after if line else ''}: {reason}.") from error

    def _open_rows(self) -> Iterator[RawRow]:
        if self.container == "dataset":
            return self._dataset()
        if self.container == "xlsx":
            self._share = lambda: 1.0
            return workbook_rows(self._place, self._sheet)
        if self.container in ("duckdb", "lance"):
            return self._database() if self.container == "duckdb" else self._lance()
        if self.container == "parquet":
            return self._parquet(self._open())
        if self.container == "arrow":
            return self._arrow(self._open())
        if self.container in ("csv", "tsv"):
            return self._csv()
        stream = self._open()
        encoding = self._options.encoding
        if encoding is None:
            encoding = marked_encoding(stream.peek(4096))
            if encoding not in (None, "utf-8"):
                raise PoolError(
                    f"{self.path} is {encoding.upper()}, and JSON is UTF-8: convert it, or give {setting('encoding', encoding)}."
                )
        return self._judged(json_rows(self._as_utf8(stream, encoding), self.path, self.container == "jsonl"))

    def _judged(self, rows: Iterator[RawRow]) -> Iterator[RawRow]:
        """The rows; behind them, where lines are not UTF-8, what would read them if that can be told."""
        broken = 0
        for row in rows:
            broken += row[2] is not None and row[2].kind == NOT_UTF8
            yield row
        if not broken or not self._place.is_file():
            return
        try:
            with ExitStack() as stack:
                seen = survey(self._unpacked(stack.enter_context(self._place.open("rb"))), self.path, None)
        except PoolError:  # neither UTF-8 nor Windows-1252: each line says so
            return
        if seen.guessed is not None:
            self.guesses.append(
                f"{self.path}: {notebook.counted(broken, 'row')} with other characters than ASCII {'was' if broken == 1 else 'were'} left out, but "
                f"the file reads well as Windows-1252 ({seen.guessed}): give {setting('encoding', 'cp1252')} to read it all."
            )

    def _sheet(self, filled: list[str], empty: list[str]) -> str:
        wanted = self._options.split
        if wanted in empty:
            raise PoolError(f"The sheet '{wanted}' of {self.path} is empty; sheets with rows: {', '.join(filled)}.")
        return choose_split(self.path, filled, wanted)

    def _open(self) -> io.BufferedReader:
        """The decompressed bytes; compression is recognized by the file's first bytes, not by its name."""
        self._raw = raw = self._stack.enter_context(self._place.open("rb"))
        return self._unpacked(raw)

    def _unpacked(self, raw: io.BufferedReader) -> io.BufferedReader:
        magic = raw.peek(64)
        for prefix, what in _NO_DATA.items():
            if magic.lstrip()[: len(prefix)].lower() == prefix:
                raise PoolError(f"{self.path} {what}.")
        for prefix, (name, command) in _UNREAD.items():
            if magic.startswith(prefix):
                raise PoolError(
                    f"{self.path} is packed by {name}, which is not read: unpack it first ({command} "
                    f"{command_line(self.path)}), or pack it as .gz or .zst."
                )
        if magic.startswith(_GZIP):  # the standard reader, unlike Arrow's, takes zeros behind a member as padding
            stream: Any = self._stack.enter_context(gzip.GzipFile(fileobj=raw))
        elif magic.startswith(_ZSTD):  # Arrow's reader raises on truncated frames and reads concatenated ones
            stream = self._stack.enter_context(pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd"))
        else:
            return raw
        return self._stack.enter_context(io.BufferedReader(stream, BUFFER_BYTES))

    def _as_utf8(self, stream: io.BufferedReader, encoding: str | None) -> io.BufferedReader:
        if encoding is None or encoding == "utf-8":
            return stream
        self.encoding = encoding
        return self._stack.enter_context(io.BufferedReader(Recoded(stream, encoding, self.path), BUFFER_BYTES))

    def _csv(self) -> Iterator[RawRow]:
        usual = "\t" if self.container == "tsv" else ","
        given = self._options
        seen = Survey(given.encoding or "utf-8", None, b"", "\n")
        if self._place.is_file():  # what comes through a pipe can be read but once
            with ExitStack() as stack:
                raw = stack.enter_context(self._place.open("rb"))
                seen = survey(self._unpacked(raw), self.path, given.encoding)
        delimiter = given.delimiter or sniff_delimiter(seen.head.decode("utf-8", "replace"), self.path, usual)
        if seen.guessed is not None:
            self.guesses.append(
                f"{self.path} is not UTF-8 and was read as Windows-1252 ({seen.guessed}): if that is wrong, give {setting('encoding')}."
            )
        elif seen.encoding != "utf-8" and given.encoding is None:
            self.guesses.append(
                f"{self.path} was read as {seen.encoding.upper()}: if that is wrong, give {setting('encoding')}."
            )
        if delimiter != usual:
            self.delimiter = delimiter
            if given.delimiter is None:
                self.guesses.append(
                    f"{self.path}: the cells are separated by {NAMES[delimiter]}: if that is wrong, give {setting('delimiter')}."
                )
        stream = self._as_utf8(self._open(), seen.encoding)
        return csv_rows(stream, self.path, delimiter, given.quotes, seen.newline)

    def _parquet(self, stream: BinaryIO) -> Iterator[RawRow]:
        if stream is self._raw:
            file = self._stack.enter_context(
                pq.ParquetFile(str(self._place), pre_buffer=False, buffer_size=BUFFER_BYTES)
            )
        else:
            file = self._stack.enter_context(pq.ParquetFile(self._on_disk(stream), pre_buffer=False))
        batches = file.iter_batches(batch_size=BATCH_ROWS)
        return self._batches(batches, file.metadata.num_rows)

    def _on_disk(self, stream: BinaryIO) -> BinaryIO:
        """What a stream holds, for what needs random access: unpacked to disk, not to memory."""
        unpacked: BinaryIO = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        shutil.copyfileobj(stream, unpacked, BUFFER_BYTES)
        unpacked.seek(0)
        return unpacked

    def _arrow(self, stream: io.BufferedReader) -> Iterator[RawRow]:
        """Arrow's file format (Feather), and its stream format, which ``datasets`` keeps its cache in."""
        if stream.peek(8).startswith(_ARROW_FILE):
            file = pa.ipc.open_file(stream if stream is self._raw else self._on_disk(stream))
            rows = self._batches(_cut(map(file.get_batch, range(file.num_record_batches))), 0)
        else:
            rows = self._batches(_cut(pa.ipc.open_stream(stream)), 0)
        self._share = None  # the number of rows is known at the end: the place in the file tells how far it is
        return rows

    def _dataset(self) -> Iterator[RawRow]:
        try:
            import datasets
        except ImportError as error:
            raise MissingExtraError("datasets", "train", f"Reading the dataset folder {self.path}") from error
        try:
            data = datasets.load_from_disk(str(self.path))
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            reason = " ".join(str(error).split())
            raise PoolError(f"The dataset folder {self.path} is damaged: {reason}.") from error
        if isinstance(data, datasets.DatasetDict):
            data = data[choose_split(self.path, list(data), self._options.split)]
        tables = data.with_format("arrow").iter(batch_size=BATCH_ROWS)
        return self._batches((batch for table in tables for batch in table.to_batches()), len(data))

    def _lance(self) -> Iterator[RawRow]:
        try:
            import lance
        except ImportError as error:
            raise MissingExtraError("pylance", "data", f"Reading {self.path}") from error
        try:
            data = lance.dataset(str(self._place))
            total = data.count_rows()
        except (OSError, ValueError) as error:
            raise PoolError(f"{self.path} is no Lance dataset ({' '.join(str(error).split())[:200]}).") from error
        return self._batches(data.to_batches(batch_size=BATCH_ROWS), total)

    def _database(self) -> Iterator[RawRow]:
        try:
            import duckdb
        except ImportError as error:
            raise MissingExtraError("duckdb", "data", f"Reading {self.path}") from error
        try:
            database = self._stack.enter_context(duckdb.connect(str(self._place), read_only=True))
            tables = [str(name) for (name,) in database.sql("SHOW TABLES").fetchall()]
            if not tables:
                raise PoolError(f"The database {self.path} has no table.")
            table = choose_split(self._place, tables, self._options.split).replace('"', '""')
            ((total,),) = database.sql(f'SELECT count(*) FROM "{table}"').fetchall()
            batches = database.sql(f'SELECT * FROM "{table}"').to_arrow_reader(BATCH_ROWS)
        except duckdb.Error as error:
            raise PoolError(
                f"The database {self.path} cannot be read ({' '.join(str(error).split())[:200]})."
            ) from error
        return self._batches(iter(batches), total)

    def _batches(self, batches: Iterator[Any], total: int) -> Iterator[RawRow]:
        self._columnar = ColumnarRows(batches, total, self.path)
        self._share = self._columnar.share
        return iter(self._columnar)
