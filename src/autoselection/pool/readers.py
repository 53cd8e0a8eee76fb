"""Containers to raw rows: JSON Lines, JSON, CSV, Parquet, gzip or zstd of those, Hugging Face dataset folders.

A reader yields ``(line, record, problem)``: where the row starts (for Parquet and dataset folders the number of the
row; both count from 1), its fields, and, if it could not be read, why. Only ``\n`` ends a line of JSON Lines: strings
may hold other Unicode line breaks. Damage after which no further row can be trusted raises PoolError.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from autoselection.errors import MissingExtraError, PoolError

Record = dict[str, Any]
RawRow = tuple[int, Record | None, str | None]

#: The longest row read, in bytes; it bounds memory whatever a file holds.
MAX_ROW_BYTES = 64 * 2**20
#: Rows converted at once from columnar files.
BATCH_ROWS = 1024

_BUFFER_BYTES = 2**20
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_COMPRESSION_SUFFIXES = {".gz", ".gzip", ".zst", ".zstd"}
_CONTAINERS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_SPACE = re.compile(r"[ \t\n\r]*")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def expand(path: Path, split: str | None) -> list[Path]:
    """The files of one input: itself, or the Parquet files of a Hugging Face dataset repository folder.

    Raises:
        PoolError: the path does not exist, or a folder is of no known kind or has no such split.
    """
    if not path.exists():
        raise PoolError(f"The pool file {path} does not exist.")
    if not path.is_dir() or _is_saved_dataset(path):
        return [path]
    files = sorted((path / "data").glob("*.parquet")) or sorted(path.glob("*.parquet"))
    if not files:
        raise PoolError(
            f"The folder {path} is no Hugging Face dataset: expected one written by save_to_disk, or Parquet files "
            "in it or in its folder 'data'."
        )
    by_split: dict[str, list[Path]] = {}
    for file in files:
        by_split.setdefault(re.split(r"-\d", file.stem, maxsplit=1)[0], []).append(file)
    return by_split[_choose_split(path, sorted(by_split), split)]


def container_of(path: Path) -> str:
    """Name of the container a path's suffix tells: jsonl, json, csv, tsv, parquet or dataset.

    Raises:
        PoolError: the suffix is unknown.
    """
    if path.is_dir():
        return "dataset"
    suffix = _inner_name(path).suffix.lower()
    if suffix not in _CONTAINERS:
        raise PoolError(
            f"Cannot tell what {path} holds from its suffix {suffix!r}: rename it to one of "
            f"{', '.join(_CONTAINERS)} (optionally followed by .gz or .zst)."
        )
    return _CONTAINERS[suffix]


def stem_of(path: Path) -> str:
    """File name without compression and container suffixes."""
    inner = _inner_name(path)
    return inner.stem if inner.suffix.lower() in _CONTAINERS else inner.name


def size_of(path: Path) -> int:
    """Bytes on disk of a file, or of all files under a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size


def _inner_name(path: Path) -> Path:
    return Path(path.stem) if path.suffix.lower() in _COMPRESSION_SUFFIXES else Path(path.name)


def _is_saved_dataset(path: Path) -> bool:
    return (path / "state.json").is_file() or (path / "dataset_dict.json").is_file()


def _choose_split(path: Path, splits: list[str], wanted: str | None) -> str:
    if wanted is None and len(splits) == 1:
        return splits[0]
    if wanted is None or wanted not in splits:
        missing = f"has no split '{wanted}'" if wanted is not None else "has several splits"
        raise PoolError(f"The dataset {path} {missing}: set 'split' to one of {', '.join(splits)}.")
    return wanted


class Reader:
    """Reads one input once; a context manager.

    Args:
        path: a file, or a folder written by ``datasets.save_to_disk``.
        split: the split to take from a dataset dictionary.
    """

    def __init__(self, path: Path, split: str | None = None) -> None:
        self.path = path
        self.container = container_of(path)
        self.bytes = size_of(path)
        self._split = split
        self._stack = ExitStack()
        self._raw: io.BufferedReader | None = None
        self._share: Callable[[], float] | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def position(self) -> int:
        """Bytes of the input read so far (for progress)."""
        if self._share is not None:
            return int(self.bytes * self._share())
        return self._raw.tell() if self._raw is not None and self._raw.seekable() else 0

    def rows(self) -> Iterator[RawRow]:
        """All rows, in order.

        Raises:
            PoolError: the input cannot be opened or is damaged.
            MissingExtraError: a dataset folder, and ``datasets`` is not installed.
        """
        line = 0
        try:
            for row in self._open_rows():
                line = row[0]
                yield row
        except (OSError, pa.ArrowException) as error:
            after = f" after row {line}" if self.container in ("parquet", "dataset") else f" after line {line}"
            reason = " ".join(str(error).split())
            raise PoolError(f"{self.path} cannot be read{after if line else ''}: {reason}.") from error

    def _open_rows(self) -> Iterator[RawRow]:
        if self.container == "dataset":
            return self._dataset()
        stream = self._open()
        if self.container == "jsonl":
            return _json_lines(stream)
        if self.container == "json":
            return self._json(stream)
        if self.container == "parquet":
            return self._parquet(stream)
        return _csv(stream, self.path, "\t" if self.container == "tsv" else ",")

    def _open(self) -> io.BufferedReader:
        """The decompressed bytes; compression is told by the file's first bytes, not by its name."""
        self._raw = raw = self._stack.enter_context(self.path.open("rb"))
        magic = raw.peek(4)
        codec = next((name for prefix, name in _MAGIC.items() if magic.startswith(prefix)), None)
        if codec is None:
            return raw
        # Arrow's streams, unlike the standard ones, raise on truncated zstd frames and read concatenated ones.
        stream = self._stack.enter_context(pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), codec))
        return self._stack.enter_context(io.BufferedReader(stream, _BUFFER_BYTES))

    def _json(self, stream: io.BufferedReader) -> Iterator[RawRow]:
        """A JSON array of rows; or JSON Lines, which many people name ``.json``."""
        head = stream.peek(_BUFFER_BYTES).removeprefix(codecs.BOM_UTF8).lstrip()
        if head[:1] == b"[":
            return _json_array(stream, self.path)
        if head[:1] == b"{" and head.partition(b"\n")[0].rstrip() == b"{":
            raise PoolError(
                f"{self.path} holds one JSON object over several lines: expected an array of rows or one object a line."
            )
        return _json_lines(stream)

    def _parquet(self, stream: BinaryIO) -> Iterator[RawRow]:
        if stream is self._raw:
            file = self._stack.enter_context(
                pq.ParquetFile(str(self.path), pre_buffer=False, buffer_size=_BUFFER_BYTES)
            )
        else:  # Parquet needs random access: unpack to disk, not to memory
            unpacked = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
            shutil.copyfileobj(stream, unpacked, _BUFFER_BYTES)
            unpacked.seek(0)
            file = self._stack.enter_context(pq.ParquetFile(unpacked, pre_buffer=False))
        batches = file.iter_batches(batch_size=BATCH_ROWS)
        return self._batches(batches, file.metadata.num_rows)

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
            data = data[_choose_split(self.path, list(data), self._split)]
        tables = data.with_format("arrow").iter(batch_size=BATCH_ROWS)
        return self._batches((batch for table in tables for batch in table.to_batches()), len(data))

    def _batches(self, batches: Iterator[Any], total: int) -> Iterator[RawRow]:
        row = 0
        self._share = lambda: row / max(total, 1)
        for batch in batches:
            for record, problem in _records(batch):
                row += 1
                yield row, record, problem


def _records(batch: Any) -> Iterator[tuple[Record | None, str | None]]:
    try:
        records = batch.to_pylist()
    except UnicodeDecodeError:
        for start in range(batch.num_rows):
            try:
                yield batch.slice(start, 1).to_pylist()[0], None
            except UnicodeDecodeError:
                yield None, "a text is not valid UTF-8"
        return
    for record in records:
        yield record, None


def _json_lines(stream: BinaryIO) -> Iterator[RawRow]:
    number = 0
    while line := stream.readline(MAX_ROW_BYTES + 1):
        number += 1
        if len(line) > MAX_ROW_BYTES:
            while line and not line.endswith(b"\n"):
                line = stream.readline(_BUFFER_BYTES)
            yield number, None, f"the line is longer than {MAX_ROW_BYTES // 2**20} MiB"
            continue
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.isspace() or not line:
            continue
        record, problem = _parse_line(line)
        yield number, record, problem


def _parse_line(line: bytes) -> tuple[Record | None, str | None]:
    try:
        text = line.rstrip(b" \t\r\n").decode("utf-8")
        if text.startswith("{"):
            record, end = _DECODER.raw_decode(text)
            if end < len(text):
                raise json.JSONDecodeError("Extra data", text, end)
        else:
            record = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        return None, f"not valid UTF-8 (byte {error.start + 1} of the line)"
    except json.JSONDecodeError as error:
        return None, f"not valid JSON: {error.msg} at column {error.pos + 1}"
    except ValueError as error:  # NaN, Infinity, numbers of thousands of digits
        return None, f"not valid JSON: {error}"
    except RecursionError:
        return None, "the JSON is nested too deeply"
    if not isinstance(record, dict):
        return None, "not a JSON object"
    return record, None


class _ArrayText:
    """Decoded text of a JSON file, read piece by piece; ``line`` is the number of the line at ``position``."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        # Invalid bytes become lone surrogates, which the row check reports with the row's line.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.buffer = ""
        self.position = 0
        self.line = 1
        self.ended = False

    def fill(self) -> None:
        """Drop what has been consumed and read as much again as is left (at least one buffer)."""
        data = self._stream.read(max(_BUFFER_BYTES, len(self.buffer) - self.position))
        self.ended = not data
        self.buffer = self.buffer[self.position :] + self._decoder.decode(data, final=self.ended)
        self.position = 0

    def move(self, position: int) -> None:
        self.line += self.buffer.count("\n", self.position, position)
        self.position = position

    def next_character(self) -> str:
        """Skip whitespace and return the next character without consuming it ("" at the end)."""
        while True:
            match = _SPACE.match(self.buffer, self.position)
            assert match is not None
            self.move(match.end())
            if self.position < len(self.buffer) or self.ended:
                return self.buffer[self.position : self.position + 1]
            self.fill()


def _json_array(stream: BinaryIO, path: Path) -> Iterator[RawRow]:
    text = _ArrayText(stream)
    if text.next_character() == "\ufeff":
        text.move(text.position + 1)
    text.next_character()
    text.move(text.position + 1)  # the caller has seen "["
    if text.next_character() == "]":
        text.move(text.position + 1)
    else:
        character = ","
        while character == ",":
            text.next_character()
            line = text.line
            value, end, problem = _array_element(text, path)
            text.move(end)
            if problem is None and not isinstance(value, dict):
                problem = "not a JSON object"
            yield line, None if problem else value, problem
            character = text.next_character()
            if character not in (",", "]"):
                found = repr(character) if character else "the end of the file"
                raise PoolError(f"{path}:{text.line}: expected ',' or ']' behind a row of the array, found {found}.")
            text.move(text.position + 1)
    if text.next_character():
        raise PoolError(f"{path}:{text.line}: there is text behind the end of the JSON array.")


def _array_element(text: _ArrayText, path: Path) -> tuple[Any, int, str | None]:
    """Decode the value at the position: (value, its end, problem). Reads on while the value may be incomplete."""
    while True:
        problem: str | None = None
        try:
            try:
                value, end = _DECODER.raw_decode(text.buffer, text.position)
            except json.JSONDecodeError:
                raise
            except ValueError as error:  # NaN or Infinity: the row is bad, but where it ends is known
                problem = f"not valid JSON: {error}"
                value, end = json.JSONDecoder().raw_decode(text.buffer, text.position)
        except json.JSONDecodeError as error:
            if text.ended:
                line = text.line + text.buffer.count("\n", text.position, error.pos)
                raise PoolError(
                    f"{path}:{line}: not valid JSON: {error.msg}; nothing behind it can be read."
                ) from error
        except (ValueError, RecursionError) as error:
            raise PoolError(
                f"{path}:{text.line}: the row cannot be decoded ({error}); nothing behind it can be read."
            ) from error
        else:
            if end < len(text.buffer) or text.ended:
                return value, end, problem
        if len(text.buffer) - text.position > MAX_ROW_BYTES:
            raise PoolError(
                f"{path}:{text.line}: the row is not valid JSON, or longer than {MAX_ROW_BYTES // 2**20} MiB; "
                "nothing behind it can be read."
            )
        text.fill()


def _csv(stream: BinaryIO, path: Path, delimiter: str) -> Iterator[RawRow]:
    # The limit is the process's, and by default (128 KiB) shorter than real rows; only ever raised here.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_BYTES))
    lines = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="\n")
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise PoolError(f"{path}:1: the header is not valid CSV: {error}.") from error
    if header is None:
        return
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise PoolError(f"{path}:1: the column {twice!r} appears twice in the header.")
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, None, f"not valid CSV: {error}"
            continue
        if not cells:
            continue
        if len(cells) != len(header):
            yield line, None, f"the row has {len(cells)} cells, the header {len(header)}"
            continue
        yield line, {name: cell or None for name, cell in zip(header, cells, strict=True)}, None
