"""Ingest: files in any of the known formats to one pool directory.

Rows are read, converted, checked and written in batches, so that memory does not grow with the pool (except for the
ids, about 200 bytes a row, which have to be unique). The pool is built in a temporary folder next to its destination
and moved there when it is whole: an interrupted ingest leaves nothing that looks like a pool.

Appended rows go into a table file of their own, and the new manifest, renamed into place last, takes them in: until
then the pool is the old one. The result has the rows and the fingerprint of one ingest of all files. Files that begin
with the rows of the pool at the destination (a file that has grown) extend it in the same way.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import math
import os
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, count, islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from autoselection.errors import PoolError
from autoselection.files import InUse, checksum, held, is_abandoned, locked, sync_folder, whole_file
from autoselection.pool import formats
from autoselection.pool.formats import RowError, RowFormat, Turn
from autoselection.pool.pool import (
    FORMAT_VERSION,
    MANIFEST_FILE,
    MESSAGES_TYPE,
    SCHEMA,
    SIGNALS_FOLDER,
    SKIPPED_FILE,
    TABLE_FILE,
    FileRecord,
    Fingerprint,
    Pool,
    PoolManifest,
    SpecialTokenRecord,
    TableRecord,
    read_manifest,
    turns_digest,
    write_manifest,
)
from autoselection.pool.readers import RawRow, Reader, Record, expand, stem_of
from autoselection.pool.special_tokens import KNOWN_SPECIAL_TOKENS, SpecialTokenScanner
from autoselection.progress import progress
from autoselection.schema import StrictModel

#: Rows looked at to tell a file's format.
DETECTION_ROWS = 32
#: Bad rows kept in the report (all of them are in skipped.jsonl).
REPORTED_BAD_ROWS = 20

_BATCH_ROWS = 4096
_BATCH_CHARACTERS = 8 * 2**20
_MEGABYTE = 10**6
_LINE_BITS = 48


class IngestConfig(StrictModel):
    """How files become a pool."""

    format: Literal["auto", "messages", "sharegpt", "alpaca", "prompt-completion"] = Field(
        default="auto", description="Row format of every file; auto tells it from the fields of each file's first rows."
    )
    on_bad_row: Literal["skip", "refuse"] = Field(
        default="skip",
        description="What a row that cannot be used does: it is skipped and counted, or ends the ingest.",
    )
    special_tokens: Literal["keep", "strip", "refuse"] = Field(
        default="keep",
        description="Special tokens of chat models inside row text: kept as plain text, removed, or the row is bad. "
        "They are counted in any case and never become control tokens.",
    )
    special_token_list: tuple[str, ...] = Field(
        default=KNOWN_SPECIAL_TOKENS,
        description="The special tokens looked for; the base model's own are added to them.",
    )
    id_field: str = Field(
        default="id", min_length=1, description="Field with the row's id (text or whole number), if any."
    )
    source_field: str = Field(default="source", min_length=1, description="Field that names the row's source, if any.")
    source: str | None = Field(
        default=None,
        min_length=1,
        description="Source of rows that name none; by default their file's name without suffixes.",
    )
    split: str | None = Field(default=None, description="Split to take from a Hugging Face dataset that has several.")
    keep_meta: bool = Field(default=True, description="Keep a row's other fields as JSON metadata.")


@dataclass(frozen=True)
class BadRow:
    """A row that could not be used. For Parquet and dataset folders ``line`` is the row's number (from 1)."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did.

    Attributes:
        path: the pool directory.
        rows: rows of the pool.
        skipped: rows of the input that were skipped.
        format: row format of the files, or ``mixed``.
        fingerprint: content hash of the pool.
        sources: rows of each source.
        special_tokens: occurrences of each special token inside row text.
        special_token_rows: rows that had at least one.
        special_token_handling: what was done with them.
        ignored: parts of turns that were not kept, by field name.
        seconds: wall time.
        bad: the first bad rows.
        unchanged: the same pool was already there and was left alone.
        appended: rows that were added to a pool that was there; all of them if there was none.
    """

    path: Path
    rows: int
    skipped: int
    format: str
    fingerprint: str
    sources: Mapping[str, int]
    special_tokens: Mapping[str, int]
    special_token_rows: int
    special_token_handling: str
    ignored: Mapping[str, int]
    seconds: float
    bad: tuple[BadRow, ...]
    unchanged: bool
    appended: int

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON document."""
        return {
            "path": str(self.path),
            "rows": self.rows,
            "skipped": self.skipped,
            "format": self.format,
            "fingerprint": self.fingerprint,
            "sources": dict(self.sources),
            "special_tokens": dict(self.special_tokens),
            "special_token_rows": self.special_token_rows,
            "special_token_handling": self.special_token_handling,
            "ignored": dict(self.ignored),
            "seconds": round(self.seconds, 3),
            "bad": [{"file": bad.file, "line": bad.line, "reason": bad.reason} for bad in self.bad],
            "unchanged": self.unchanged,
            "appended": self.appended,
        }


def ingest(
    files: Sequence[Path | str],
    out: Path | str,
    config: IngestConfig | None = None,
    tokenizer_special_tokens: Sequence[str] = (),
    *,
    overwrite: bool = False,
    append: bool = False,
) -> IngestReport:
    """Read ``files``, in order, into the pool directory ``out``.

    The same content gives the same fingerprint; if ``out`` already holds it, it is left alone. If the files begin with
    the rows of the pool that ``out`` holds, that pool is extended as if by ``append``.

    Args:
        files: JSON Lines, JSON, CSV, TSV or Parquet files (or gzip or zstd of those), or Hugging Face dataset folders.
        out: the pool directory to make.
        config: how to read them.
        tokenizer_special_tokens: the base model's special tokens, looked for besides the configured ones.
        overwrite: replace another pool at ``out``, with the signals computed from it.
        append: add the rows of the files, all of them new, behind those of the pool at ``out``. Its signals stay and
            are computed for the new rows alone, and ``Pool.open(out, fingerprint=...)`` still opens the pool as it was.

    Raises:
        PoolError: a file is missing, damaged, of unknown format or without a usable row; a row is bad and
            ``on_bad_row`` is ``refuse``; ``out`` holds something else, or nothing to append to.
        MissingExtraError: a dataset folder, and ``datasets`` is not installed.
    """
    started = time.monotonic()
    if append and overwrite:
        raise PoolError("A pool is either overwritten or appended to: leave one of the two out.")
    config = config or IngestConfig()
    out = Path(out)
    paths = _inputs(files, config)
    present = _check_destination(out, overwrite)
    scanner = SpecialTokenScanner([*config.special_token_list, *tokenizer_special_tokens])
    with ExitStack() as stack:
        base = stack.enter_context(_base_pool(out)) if append else None
        folder = stack.enter_context(_temporary_folder(out))
        build = _Build(folder, config, scanner, base, present)
        _read_all(build, paths, config.split)
        manifest = build.finish()
        former = build.former
        present = _check_destination(out, overwrite)  # another process may have been faster
        unchanged = present is not None and present.fingerprint == manifest.fingerprint
        if base is not None:
            _extend(folder, base, manifest)
        elif former is not None:
            with _base_pool(out, former):
                _extend(folder, former, manifest)
        elif not unchanged:
            if present is not None and not overwrite:
                raise PoolError(
                    f"{out} already holds another pool ({len(present):,} rows, fingerprint {present.fingerprint}; the "
                    f"new one has {manifest.rows:,} rows): choose another --out, overwrite it, or append to it."
                )
            _move_into_place(folder, out)
    return IngestReport(
        path=out,
        rows=manifest.rows,
        skipped=manifest.skipped,
        format=manifest.format,
        fingerprint=manifest.fingerprint,
        sources=manifest.sources,
        special_tokens=manifest.special_tokens.counts,
        special_token_rows=manifest.special_tokens.rows,
        special_token_handling=manifest.special_tokens.handling,
        ignored=manifest.ignored,
        seconds=time.monotonic() - started,
        bad=tuple(build.bad),
        unchanged=unchanged,
        appended=0 if unchanged else manifest.rows - (len(former) if former is not None else 0),
    )


def _read_all(build: _Build, paths: Sequence[Path], split: str | None) -> None:
    """Read every input into ``build``, with progress."""
    total = sum(math.ceil(Reader(path).bytes / _MEGABYTE) for path in paths)
    with build, progress("Ingest (MB)", total) as advance:
        for path in paths:
            before = 0
            with Reader(path, split) as reader:
                for _ in build.read(reader):
                    now = reader.position() // _MEGABYTE
                    advance(now - before)
                    before = now
                advance(math.ceil(reader.bytes / _MEGABYTE) - before)


def _inputs(files: Sequence[Path | str], config: IngestConfig) -> list[Path]:
    if isinstance(files, (str, Path)):
        raise TypeError("ingest takes a sequence of files")
    if not files:
        raise PoolError("No pool file was given.")
    paths = [path for file in files for path in expand(Path(file), config.split)]
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise PoolError(f"The pool file {path} was given twice.")
        seen.add(path.resolve())
    return paths


class _Batch:
    """Rows on their way to the table, column by column."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.sources: list[int] = []
        self.roles: list[str] = []
        self.contents: list[str] = []
        self.ends: list[int] = [0]
        self.metas: list[str | None] = []
        self.files: list[int] = []
        self.lines: list[int] = []
        self.characters = 0

    def add(self, row_id: str, source: int, turns: Sequence[Turn], meta: str | None, file: int, line: int) -> None:
        self.ids.append(row_id)
        self.sources.append(source)
        for role, content in turns:
            self.roles.append(role)
            self.contents.append(content)
            self.characters += len(content)
        self.ends.append(len(self.roles))
        self.metas.append(meta)
        self.files.append(file)
        self.lines.append(line)
        self.characters += len(meta) if meta else 0

    def full(self) -> bool:
        return len(self.ids) >= _BATCH_ROWS or self.characters >= _BATCH_CHARACTERS

    def to_arrow(self, source_names: Sequence[str], file_names: Sequence[str]) -> Any:
        turns = pa.StructArray.from_arrays(
            [pa.array(self.roles, pa.string()), pa.array(self.contents, pa.string())],
            fields=list(MESSAGES_TYPE.value_type),
        )
        return pa.record_batch(
            [
                pa.array(self.ids, pa.string()),
                pa.DictionaryArray.from_arrays(pa.array(self.sources, pa.int32()), pa.array(source_names, pa.string())),
                pa.ListArray.from_arrays(pa.array(self.ends, pa.int32()), turns),
                pa.array(self.metas, pa.string()),
                pa.DictionaryArray.from_arrays(pa.array(self.files, pa.int32()), pa.array(file_names, pa.string())),
                pa.array(self.lines, pa.int64()),
            ],
            schema=SCHEMA,
        )


@dataclass
class _Counts:
    rows: int = 0
    skipped: int = 0
    first_problem: str | None = None


@dataclass
class _Build:
    """A pool under construction in ``folder``.

    Attributes:
        base: the pool behind whose rows those read come.
        present: the pool that the destination holds.
        former: the pool with whose rows this one begins: ``base``, or ``present`` if it turned out so.
    """

    folder: Path
    config: IngestConfig
    scanner: SpecialTokenScanner
    base: Pool | None = None
    present: Pool | None = None
    bad: list[BadRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._files: list[FileRecord] = []
        self._skipped = 0
        self._rows = 0
        self._sources: dict[str, int] = {}  # name → code, in order of appearance
        self._source_rows: list[int] = []
        self._first_place: dict[str, int] = {}  # id → file and line, packed
        self._repeats: dict[str, int] = {}
        self._fingerprint = Fingerprint()
        self._tokens: Counter[str] = Counter()
        self._token_rows = 0
        self._ignored: Counter[str] = Counter()
        self._row_ignored: Counter[str] = Counter()  # of the row at hand, which may still prove bad
        self._batch = _Batch()
        self._paths: list[str] = []
        self.former = self.base
        self._begins_with_present = False
        self._compared_at = len(self.present) if self.present is not None and self.base is None else -1
        if self.base is not None:
            self._go_on_from(self.base)

    def _go_on_from(self, base: Pool) -> None:
        """Take over the counts, the ids and the running fingerprint of a pool, as if its rows had just been read."""
        manifest = base.manifest
        self._fingerprint = base.recompute_fingerprint()
        if self._fingerprint.hexdigest() != base.fingerprint:
            raise PoolError(f"The pool {base.path} is damaged: its rows do not match its fingerprint; ingest again.")
        self._files += manifest.files
        self._skipped, self._rows = manifest.skipped, manifest.rows
        self._sources = {name: code for code, name in enumerate(manifest.sources)}
        self._source_rows = list(manifest.sources.values())
        self._tokens.update(manifest.special_tokens.counts)
        self._token_rows = manifest.special_tokens.rows
        self._ignored.update(manifest.ignored)
        self._paths.append(_printable(base.path))  # an id's place is then the pool and the row, from 1
        for chunk in base.ids.chunks:
            self._first_place.update(zip(chunk.to_pylist(), count(len(self._first_place) + 1)))

    def __enter__(self) -> _Build:
        options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
        self._table_file = (self.folder / TABLE_FILE).open("wb")
        self._writer = pa.ipc.new_file(self._table_file, SCHEMA, options=options)
        self._skipped_file = (self.folder / SKIPPED_FILE).open("w", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()
        for file in (self._table_file, self._skipped_file):
            file.flush()
            os.fsync(file.fileno())
            file.close()

    def read(self, reader: Reader) -> Iterator[None]:
        """Take in one input; yields now and then, for progress."""
        path = _printable(reader.path)
        file_number = len(self._paths)
        self._paths.append(path)
        default_source = self.config.source or stem_of(reader.path)
        counts = _Counts()
        row_format, rows = self._format(reader)
        for line, record, problem in rows:
            try:
                if record is None:
                    raise RowError(problem or "the row cannot be read")
                self._row(record, row_format, default_source, file_number, line)
            except RowError as error:
                self._reject(BadRow(path, line, str(error)), counts)
            else:
                counts.rows += 1
            if self._batch.full():
                self._flush()
                yield
        if not counts.rows:
            why = f"; the first of {counts.skipped:,} bad rows: {counts.first_problem}" if counts.skipped else ""
            raise PoolError(f"{path} holds no usable row{why}.")
        self._files.append(
            FileRecord(path=path, bytes=reader.bytes, format=row_format, rows=counts.rows, skipped=counts.skipped)
        )

    def _format(self, reader: Reader) -> tuple[RowFormat, Iterator[RawRow]]:
        """The row format of an input, and all of its rows."""
        rows = reader.rows()
        if self.config.format != "auto":
            return self.config.format, rows
        head: list[RawRow] = []
        records: list[Record] = []
        for row in rows:
            head.append(row)
            if row[1] is not None:
                records.append(row[1])
            if len(records) >= DETECTION_ROWS:
                break
        found = set(chain.from_iterable(map(formats.matching_formats, records)))
        if len(found) == 1:
            return found.pop(), chain(head, rows)
        if not records:
            problem = f"; {reader.path}:{head[0][0]}: {head[0][2]}" if head else ""
            raise PoolError(f"{reader.path} holds no readable row{problem}.")
        names = formats.field_list(dict.fromkeys(chain.from_iterable(records)))
        if found:
            raise PoolError(
                f"{reader.path} fits several row formats ({', '.join(sorted(found))}); its first rows have the fields "
                f"{names}: set 'format' to one of them."
            )
        raise PoolError(
            f"The row format of {reader.path} is unknown: its first rows have the fields {names}; expected messages, "
            "conversations, instruction and output, or prompt and completion: rename the fields."
        )

    def _row(self, record: Record, row_format: RowFormat, default_source: str, file_number: int, line: int) -> None:
        config = self.config
        source = record.get(config.source_field)
        if source is None:
            source = default_source
        elif not isinstance(source, str) or not source.strip():
            raise RowError(f"field '{config.source_field}' must be a non-empty string")
        ignored = self._row_ignored
        if ignored:
            ignored.clear()
        turns, used = formats.convert(row_format, record, ignored)
        found = self.scanner.count([content for _, content in turns])
        if found is not None:
            self._tokens.update(found)
            self._token_rows += 1
            if config.special_tokens == "refuse":
                raise RowError(f"the text has the special token {min(found)!r}")
            if config.special_tokens == "strip":
                turns = self._stripped(turns)
        try:
            digest = turns_digest(source, turns)
            meta = self._meta(record, used) if config.keep_meta else None
            row_id = self._id(record, digest.hexdigest())
            row_id.encode("utf-8")
        except UnicodeEncodeError as error:
            character = error.object[error.start]
            raise RowError(
                f"a text is not valid Unicode: it has the lone surrogate or undecodable byte U+{ord(character):04X}"
            ) from error
        first = self._first_place.get(row_id)
        if first is not None:
            where = f"{self._paths[first >> _LINE_BITS]}:{first % (1 << _LINE_BITS)}"
            raise RowError(f"the id {row_id[:80]!r} is already used at {where}; ids must be unique")
        self._first_place[row_id] = file_number << _LINE_BITS | line
        self._fingerprint.add(row_id, digest.digest(), meta)
        code = self._sources.setdefault(source, len(self._sources))
        if code == len(self._source_rows):
            self._source_rows.append(0)
        self._source_rows[code] += 1
        if ignored:
            self._ignored.update(ignored)
        self._batch.add(row_id, code, turns, meta, file_number, line)
        self._rows += 1
        if self._rows == self._compared_at and self.present is not None:
            self._begins_with_present = self._fingerprint.hexdigest() == self.present.fingerprint
        elif self._rows == self._compared_at + 1 and self._begins_with_present:
            self.former = self.present

    def _stripped(self, turns: Sequence[Turn]) -> list[Turn]:
        result = []
        for role, content in turns:
            text = self.scanner.remove(content)
            if text.strip():
                result.append((role, text))
            elif role != "system":
                raise RowError(f"a turn ({role}) has no text but special tokens")
        return result

    def _meta(self, record: Record, used: frozenset[str]) -> str | None:
        own = (self.config.id_field, self.config.source_field)
        extra = {
            name: value for name, value in record.items() if value is not None and name not in used and name not in own
        }
        if not extra:
            return None
        try:
            text = json.dumps(extra, ensure_ascii=False, allow_nan=False, default=_json_value)
        except ValueError:  # NaN in a float column
            text = json.dumps(_without_nan(extra), ensure_ascii=False, allow_nan=False, default=_json_value)
        text.encode("utf-8")
        return text

    def _id(self, record: Record, content_id: str) -> str:
        value = record.get(self.config.id_field)
        if value is None:
            row_id = content_id
            while row_id in self._first_place:
                self._repeats[content_id] = number = self._repeats.get(content_id, 1) + 1
                row_id = f"{content_id}-{number}"
            return row_id
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise RowError(f"field '{self.config.id_field}' must be a string or a whole number")
        text = str(value)
        if not text.strip():
            raise RowError(f"field '{self.config.id_field}' is empty")
        return text

    def _reject(self, bad: BadRow, counts: _Counts) -> None:
        if self.config.on_bad_row == "refuse":
            raise PoolError(f"{bad}; mend the row, or set 'on_bad_row' to skip.")
        counts.skipped += 1
        counts.first_problem = counts.first_problem or f"{bad.file}:{bad.line}: {bad.reason}"
        self._skipped += 1
        if len(self.bad) < REPORTED_BAD_ROWS:
            self.bad.append(bad)
        line = json.dumps({"file": bad.file, "line": bad.line, "reason": bad.reason})
        self._skipped_file.write(line + "\n")

    def _flush(self) -> None:
        if self._batch.ids:
            self._writer.write_batch(self._batch.to_arrow(list(self._sources), self._paths))
            self._batch = _Batch()

    def finish(self) -> PoolManifest:
        """Write the manifest of the finished table."""
        used = {record.format for record in self._files}
        size = (self.folder / TABLE_FILE).stat().st_size
        former = self.former.manifest if self.former is not None else None
        kept = former.table_files if former is not None and self.base is not None else ()
        # The rows of a pool without checksums were just compared with its fingerprint.
        kept = tuple(
            record.model_copy(update={"blake2b": record.blake2b or checksum(self.former.path / record.file)})
            for record in kept
            if self.former is not None
        )
        tables = (
            *kept,
            TableRecord(file=_next_table(former), bytes=size, blake2b=checksum(self.folder / TABLE_FILE)),
        )
        manifest = PoolManifest(
            format_version=FORMAT_VERSION,
            rows=self._rows,
            skipped=self._skipped,
            format=used.pop() if len(used) == 1 else "mixed",
            fingerprint=self._fingerprint.hexdigest(),
            table_bytes=size + sum(record.bytes for record in kept),
            tables=tables,
            parents=(*former.parents, former.state()) if former is not None else (),
            files=tuple(self._files),
            sources={name: self._source_rows[self._sources[name]] for name in sorted(self._sources)},
            special_tokens=SpecialTokenRecord(
                handling=self._handling(),
                rows=self._token_rows,
                counts=dict(sorted(self._tokens.items(), key=lambda item: (-item[1], item[0]))),
            ),
            ignored=dict(sorted(self._ignored.items())),
        )
        (self.folder / SIGNALS_FOLDER).mkdir()
        write_manifest(self.folder, manifest)
        return manifest

    def _handling(self) -> str:
        """What was done with special tokens; ``mixed`` if the appended rows were treated otherwise."""
        ours = self.config.special_tokens
        theirs = self.base.manifest.special_tokens.handling if self.base is not None else ours
        return ours if ours == theirs else "mixed"


def _next_table(former: PoolManifest | None) -> str:
    """Name of a table file that the former pool, if there is one, does not have."""
    if former is None:
        return TABLE_FILE
    last = former.table_files[-1].file.removesuffix(".arrow").partition("-")[2]
    return f"pool-{int(last or 0) + 1:04d}.arrow"


def _printable(path: Path) -> str:
    return str(path).encode("utf-8", "backslashreplace").decode()


def _json_value(value: Any) -> Any:
    """JSON form of what columnar files hold besides JSON's own types."""
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, uuid.UUID, datetime.timedelta)):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    raise RowError(f"a field holds {type(value).__name__}, which JSON metadata cannot hold")


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return value


def _is_pool(path: Path) -> bool:
    return (path / MANIFEST_FILE).is_file() or (path / TABLE_FILE).is_file()


def _retired(out: Path) -> Path:
    """Where the old pool waits while a new one takes its place."""
    return out.with_name(f".{out.name}.replaced")


def _check_destination(out: Path, overwrite: bool) -> Pool | None:
    """Find out early that ``out`` cannot be made; undo a replacement that was interrupted half-way.

    Returns:
        The pool that is there; None if there is none, or a damaged one that may be overwritten.
    """
    if not out.name:
        raise PoolError(f"The pool directory {out} has no name; give a path like pools/mine.")
    if not out.exists() and _retired(out).is_dir():
        _retired(out).rename(out)
    if _is_pool(out):
        _settle(out)
    if out.is_dir() and not _is_pool(out) and any(out.iterdir()):
        raise PoolError(f"{out} is a folder with other things in it, not a pool; choose another --out.")
    if out.exists() and not out.is_dir():
        raise PoolError(f"{out} is a file; choose another --out.")
    if not _is_pool(out):
        return None
    try:
        return Pool.open(out)
    except PoolError:
        if not overwrite:  # a damaged pool is not silently replaced
            raise
    return None


@contextmanager
def _base_pool(out: Path, expected: Pool | None = None) -> Iterator[Pool]:
    """The pool that rows are added to, locked against others that add; it must still be the ``expected`` one."""
    if not _is_pool(out):
        raise PoolError(f"There is no pool {out} to append to: make it first, without --append.")
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(out / ".lock", wait=False))
        except InUse as error:
            raise PoolError(f"Another process is appending to the pool {out}: wait until it has ended.") from error
        pool = Pool.open(out)
        if expected is not None and pool.fingerprint != expected.fingerprint:
            raise PoolError(f"The pool {out} was changed by another process in the meantime: ingest again.")
        yield pool


def _extend(folder: Path, former: Pool, manifest: PoolManifest) -> None:
    """Take the finished rows into the pool: the manifest comes last, and before it nothing has changed."""
    out = former.path
    tables = [record.file for record in manifest.table_files]
    if former.manifest.table_files[0].file == tables[0]:
        _prepend_skipped(folder / SKIPPED_FILE, former)
    (folder / TABLE_FILE).replace(out / tables[-1])
    (folder / SKIPPED_FILE).replace(out / SKIPPED_FILE)
    sync_folder(out)
    (folder / MANIFEST_FILE).replace(out / MANIFEST_FILE)
    sync_folder(out)
    for record in former.manifest.table_files:
        if record.file not in tables:  # all its rows are in the new one; who has it open may go on reading
            (out / record.file).unlink()


def _prepend_skipped(path: Path, former: Pool) -> None:
    """Put the former pool's list of skipped rows before the one at ``path``."""
    with whole_file(path, "wb") as file:
        if (former.path / SKIPPED_FILE).is_file():
            with (former.path / SKIPPED_FILE).open("rb") as lines:
                # Lines beyond those the manifest counts were left by an append that was killed.
                file.writelines(islice(lines, former.manifest.skipped))
        with path.open("rb") as new:
            shutil.copyfileobj(new, file)


@contextmanager
def _temporary_folder(out: Path) -> Iterator[Path]:
    """A folder next to ``out``, removed in the end; folders left by killed ingests are removed too."""
    out.parent.mkdir(parents=True, exist_ok=True)
    for stale in out.parent.glob(f".{_glob_escape(out.name)}.ingest-*"):
        if is_abandoned(stale):
            shutil.rmtree(stale, ignore_errors=True)
    folder = out.with_name(f".{out.name}.ingest-{uuid.uuid4().hex[:12]}")
    folder.mkdir()
    try:
        with held(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _glob_escape(name: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _fingerprint_of(folder: Path) -> str | None:
    """What a folder's manifest says; None if it cannot be read."""
    try:
        return read_manifest(folder).fingerprint
    except PoolError:
        return None


def _settle(out: Path) -> None:
    """End a replacement: remove the old pool, or keep its signals if it held the same rows and was only damaged."""
    old, computed = _retired(out), _retired(out) / SIGNALS_FOLDER
    if not old.is_dir():
        return
    if _fingerprint_of(old) in (None, _fingerprint_of(out)) and computed.is_dir():
        with suppress(OSError):  # the new pool was scored meanwhile, or another process ends the same replacement
            (out / SIGNALS_FOLDER).rmdir()
            computed.rename(out / SIGNALS_FOLDER)
    shutil.rmtree(old, ignore_errors=True)


def _move_into_place(folder: Path, out: Path) -> None:
    """Rename the finished pool to ``out``, in the place of one that may be there."""
    if _is_pool(out):
        retired = _retired(out)
        shutil.rmtree(retired, ignore_errors=True)
        out.rename(retired)
        folder.rename(out)
        _settle(out)
    else:
        folder.rename(out)
    sync_folder(out.parent)
