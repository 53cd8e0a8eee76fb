"""The pool: an immutable, memory-mapped table of canonical rows, and its manifest.

A pool directory holds

- ``pool.arrow``: Arrow IPC file with the columns of ``rows.SCHEMA``; table files of older layouts lack some, and are
  opened as if these held null;
- ``pool-0001.arrow``, …: rows that were appended later; the manifest names the files that make up the table, in order;
- ``manifest.json``: counts, provenance, the content fingerprint and checksums; written last;
- ``skipped.jsonl``: the rows that could not be used: file, line, reason;
- ``signals/``: what is computed from the rows later;
- ``.checked.json``: which files were found right, and how they looked then (see ``autoselection.files``).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, ValidationError

from autoselection import files, notebook
from autoselection.conversation import Conversation, Message
from autoselection.errors import PoolError
from autoselection.pool.rows import (
    PLAIN_FIELDS,
    SCHEMA,
    Fingerprint,
    as_current,
    as_messages,
    joined_texts,
    turns_digest,
    without_unused_fields,
)
from autoselection.pool.subset import Row, Subset
from autoselection.progress import console
from autoselection.schema import StrictModel
from autoselection.validation import reason_of

if TYPE_CHECKING:
    import polars

#: Stands for a file's path where rows were in memory.
IN_MEMORY = "<rows>"
#: Layout of pool directories. 2 added to the rows of 1 what tool calls and reasoning need; 1 is read and extended.
FORMAT_VERSION = 2
#: Version of the rules by which ingest reads files: raised when the same file gives other rows or sources.
RULES = 3
TABLE_FILE = "pool.arrow"
MANIFEST_FILE = "manifest.json"
SKIPPED_FILE = "skipped.jsonl"
SIGNALS_FOLDER = "signals"

_T = TypeVar("_T")

Rows = Sequence[int] | npt.NDArray[np.integer[Any]]


class FileRecord(StrictModel):
    """One input file and what came of it."""

    path: str = Field(description="Path as it was given to ingest; <rows> for rows in memory.")
    bytes: int = Field(description="Size on disk (bytes).")
    format: str = Field(description="Row format read: messages, sharegpt, alpaca or prompt-completion.")
    rows: int = Field(description="Rows taken into the pool (count).")
    skipped: int = Field(description="Rows skipped (count).")
    source: str | None = Field(None, description="Source of its rows that name none; older pools do not tell.")
    encoding: str | None = Field(None, description="Encoding, if it is text and not UTF-8.")
    delimiter: str | None = Field(None, description="What separates its cells, if not what its suffix says.")


class SpecialTokenRecord(StrictModel):
    """Special tokens of chat models that were found inside row text."""

    handling: str = Field(description="What was done with them: keep, strip or refuse.")
    rows: int = Field(description="Rows that had at least one (count).")
    counts: dict[str, int] = Field(description="Occurrences of each token found.")


class TableRecord(StrictModel):
    """One table file of a pool."""

    file: str = Field(pattern=r"^pool(-\d{4,})?\.arrow$", description="File name in the pool directory.")
    bytes: int = Field(description="Size on disk (bytes).")
    blake2b: str | None = Field(None, description="Checksum of the file (32 hex digits); older pools have none.")


class PoolState(StrictModel):
    """What is in a pool at one time, and where it came from."""

    rows: int = Field(description="Rows of the pool (count).")
    skipped: int = Field(description="Rows of the input that were skipped, see skipped.jsonl (count).")
    format: str = Field(description="Row format of the input, or 'mixed'.")
    fingerprint: str = Field(description="Content hash of all rows in order (32 hex digits).")
    files: tuple[FileRecord, ...] = Field(description="The input files, in order.")
    sources: dict[str, int] = Field(description="Rows of each source, by name.")
    special_tokens: SpecialTokenRecord
    ignored: dict[str, int] = Field(description="Parts of turns that were not kept, by field name (count).")


class PoolManifest(PoolState):
    """The state of a pool directory, its table files, and its states before rows were appended."""

    format_version: int = Field(description="Version of the pool directory's layout.")
    table_bytes: int = Field(description="Size of all table files (bytes).")
    tables: tuple[TableRecord, ...] = Field(
        (), description="The table files, in order; in pools of older versions none is named where there is only one."
    )
    rules: int = Field(1, description="Version of the rules by which files become rows.")
    parents: tuple[PoolState, ...] = Field(
        (), description="The states before each append, oldest first; the pool begins with their rows."
    )

    @property
    def table_files(self) -> tuple[TableRecord, ...]:
        """The table files, in order; the pool's rows are theirs."""
        return self.tables or (TableRecord(file=TABLE_FILE, bytes=self.table_bytes),)

    def at(self, fingerprint: str) -> PoolManifest | None:
        """The manifest as it was when the pool had ``fingerprint`` (but for the table files); None if it never had."""
        if fingerprint == self.fingerprint:
            return self
        for number, state in enumerate(self.parents):
            if state.fingerprint == fingerprint:
                former = {name: getattr(state, name) for name in PoolState.model_fields}
                return self.model_copy(update={**former, "parents": self.parents[:number]})
        return None

    def state(self) -> PoolState:
        """The state alone, to be kept as a parent."""
        return PoolState(**{name: getattr(self, name) for name in PoolState.model_fields})


@dataclass(frozen=True, eq=False, repr=False)
class Pool:
    """A fixed pool of conversations on disk. Rows are numbered 0…N-1; the table is memory-mapped.

    ``pool[3]`` and ``pool["id7"]`` are rows, ``pool[10:20]``, ``pool[[1, 5]]`` and ``pool[mask]`` subsets; ``for row in pool`` goes
    through all rows.

    Attributes:
        path: the pool directory.
        manifest: counts, provenance and fingerprint.
        table: the rows, with the columns of ``SCHEMA``.
    """

    path: Path
    manifest: PoolManifest
    table: Any

    @classmethod
    def open(cls, path: Path | str, *, fingerprint: str | None = None) -> Pool:
        """Open a pool directory; checks the manifest, and the tables' checksums, columns and row count.

        Checksums are compared once a process, and across processes when a file changed since the last good check.

        Args:
            fingerprint: open the pool as it was when it had this fingerprint: without the rows appended since.

        Raises:
            PoolError: there is no pool, it is damaged, another version wrote it, or it never had ``fingerprint``.
        """
        path = Path(path)
        manifest = read_manifest(path)
        unchecked = [record.file for record in manifest.table_files if not _is_checked(path, record, manifest)]
        tables = [_read_table(path, record) for record in manifest.table_files]
        table = tables[0] if len(tables) == 1 else pa.concat_tables(tables)
        if table.num_rows != manifest.rows:
            raise PoolError(
                f"The pool {path} is damaged: its table has {table.num_rows:,} rows, its manifest says "
                f"{manifest.rows:,}; {_mend(path, manifest)}"
            )
        if unchecked:
            _check_old(cls(path, manifest, table), unchecked)
        former = manifest if fingerprint is None else manifest.at(fingerprint)
        if former is None:
            raise PoolError(
                f"The pool {path} never had the fingerprint {fingerprint} (it has {manifest.fingerprint}): it was made "
                "anew from other rows; restore the old pool, or go on with the new one."
            )
        return cls(path, former, table.slice(0, former.rows))

    def __len__(self) -> int:
        return self.manifest.rows

    @property
    def all(self) -> Subset:
        """All rows, in order."""
        return Subset(self, np.arange(len(self), dtype=np.int64))

    @overload
    def __getitem__(self, index: int | str) -> Row: ...

    @overload
    def __getitem__(self, index: slice | Rows | npt.NDArray[np.bool_]) -> Subset: ...

    def __getitem__(self, index: int | str | slice | Rows | npt.NDArray[np.bool_]) -> Row | Subset:
        """A row by id or number, or some of the rows by a slice, numbers or a mask.

        Raises:
            PoolError: no row has the id.
            IndexError: a number is out of range.
        """
        return self.all[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.all)

    def __contains__(self, item: object) -> bool:
        """Whether there is a row of this id."""
        return isinstance(item, str) and bool(pc.index(self.ids, item).as_py() >= 0)

    def to_polars(self) -> polars.DataFrame:
        """All rows as a data frame, see :meth:`Subset.to_polars`."""
        return self.all.to_polars()

    def to_dataset(self) -> Any:
        """All rows as a ``datasets.Dataset``, see :meth:`Subset.to_dataset`."""
        return self.all.to_dataset()

    def __repr__(self) -> str:
        return notebook.line(
            "Pool",
            f"{self.path}:",
            f"{notebook.counted(len(self), 'row')} of {notebook.counted(len(self.source_names), 'source')}",
        )

    def _repr_html_(self) -> str:
        facts = {"fingerprint": self.fingerprint, "rows": f"{len(self):,}"}
        if self.manifest.skipped:
            facts["bad rows skipped"] = f"{self.manifest.skipped:,}"
        return notebook.page(f"Pool {self.path}", facts, *self.all.tables())

    @property
    def fingerprint(self) -> str:
        """Content hash of all rows in order (32 hex digits)."""
        return self.manifest.fingerprint

    @property
    def parents(self) -> tuple[tuple[str, int], ...]:
        """Fingerprint and number of rows of each earlier state that the pool begins with, oldest first."""
        return tuple((state.fingerprint, state.rows) for state in self.manifest.parents)

    @property
    def signals_path(self) -> Path:
        """The folder of signals computed from this pool."""
        return self.path / SIGNALS_FOLDER

    @property
    def ids(self) -> Any:
        """The ids of all rows, an Arrow string array."""
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
            raise PoolError(f"The pool {self.path} has no row with the id {first!r} ({found.null_count} unknown ids).")
        return found.to_numpy(zero_copy_only=False).astype(np.int64)  # type: ignore[no-any-return]

    @cached_property
    def source_names(self) -> tuple[str, ...]:
        """Names of the sources, sorted."""
        return tuple(sorted(self.manifest.sources))

    @cached_property
    def source_codes(self) -> npt.NDArray[np.int32]:
        """Source of each row as an index into ``source_names``, int32[N]."""
        position = {name: code for code, name in enumerate(self.source_names)}
        codes = []
        for chunk in self.table.column("source").chunks:
            names = chunk.dictionary.to_pylist()
            mapping = np.array([position.get(name, -1) for name in names], dtype=np.int32)
            codes.append(mapping[chunk.indices.to_numpy(zero_copy_only=False)])
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

    def iter_messages(self, batch_rows: int = 1024) -> Iterator[list[list[Message]]]:
        """All conversations in row order, in batches of at most ``batch_rows``: bounded memory."""
        if batch_rows < 1:
            raise ValueError("batch_rows must be at least 1")
        for start in range(0, len(self), batch_rows):
            yield self.messages(np.arange(start, min(start + batch_rows, len(self))))

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

    def verify(self) -> None:
        """Read everything anew, whatever was checked before: tables and fingerprint (a second or two for 100,000 rows).

        Raises:
            PoolError: a table does not have its checksum, or the rows are not those the manifest speaks of.
        """
        whole = read_manifest(self.path)
        for record in whole.table_files:
            if record.blake2b is not None and files.checksum(self.path / record.file) != record.blake2b:
                raise PoolError(_changed(self.path, record.file, whole))
        if self.recompute_fingerprint().hexdigest() != self.fingerprint:
            raise PoolError(_other_rows(self.path, whole))

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
        wanted = np.asarray(rows)
        if wanted.size == 0:
            return np.zeros(0, dtype=np.int64)
        if wanted.ndim != 1 or not np.issubdtype(wanted.dtype, np.integer):
            raise PoolError(f"Row numbers must be a list of whole numbers, not an array of {wanted.dtype}.")
        outside = wanted[(wanted < 0) | (wanted >= len(self))]
        if outside.size:
            raise PoolError(f"Row {outside[0]} is not in the pool {self.path}, whose rows are 0 to {len(self) - 1}.")
        return wanted.astype(np.int64)

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


def write_manifest(folder: Path, manifest: PoolManifest) -> None:
    """Write a pool's manifest with the checksum of its content."""
    document = manifest.model_dump(mode="json", exclude_defaults=True)
    files.write_text(folder / MANIFEST_FILE, json.dumps(files.seal(document), ensure_ascii=False, indent=2) + "\n")


def _is_checked(path: Path, record: TableRecord, manifest: PoolManifest) -> bool:
    """Whether a table file has its checksum, which is compared before Arrow reads a byte; False if it never had one.

    Raises:
        PoolError: it is missing, or not what was written.
    """
    file, stamps = path / record.file, path / files.STAMPS_FILE
    if not file.is_file():
        raise PoolError(f"The pool {path} is damaged: {record.file} is missing; {_mend(path, manifest)}")
    size = file.stat().st_size
    if size != record.bytes:
        raise PoolError(
            f"The pool {path} is damaged: {record.file} has {size:,} bytes, its manifest says {record.bytes:,}; "
            + _mend(path, manifest)
        )
    digest = record.blake2b or files.noted_checksum(file, stamps)
    if digest is None:
        return False
    if not files.is_sound(file, digest, stamps):
        raise PoolError(_changed(path, record.file, manifest))
    return True


def _check_old(pool: Pool, names: Sequence[str]) -> None:
    """Compare the rows of a pool without checksums with its fingerprint, and note the checksums of its files.

    Raises:
        PoolError: they are other rows.
    """
    try:
        pool.table.validate(full=True)
        found = pool.recompute_fingerprint().hexdigest()
    except (pa.ArrowException, ValueError) as error:
        reason = " ".join(str(error).split())
        raise PoolError(f"The pool {pool.path} is damaged ({reason}); {_mend(pool.path, pool.manifest)}") from error
    if found != pool.fingerprint:
        raise PoolError(_other_rows(pool.path, pool.manifest))
    for name in names:
        files.note_checksum(pool.path / name, pool.path / files.STAMPS_FILE)
    console.say(
        f"The pool {pool.path} was made by an older version, without checksums: its rows were compared with its "
        "fingerprint, and the checksums noted."
    )


def _mend(path: Path, manifest: PoolManifest) -> str:
    """How to get a damaged pool back."""
    names = [record.path for record in manifest.files]
    if IN_MEMORY in names:
        return "restore it from a copy, or ingest its rows again, with overwrite=True"
    inputs = shlex.join(names) if 0 < len(names) <= 4 else "FILE…"
    return (
        "restore it from a copy, or ingest its files again: "
        f"autoselection ingest {inputs} --out {shlex.quote(str(path))} --overwrite"
    )


def _changed(path: Path, name: str, manifest: PoolManifest) -> str:
    return (
        f"The pool {path} is damaged: {name} does not have its checksum, so its bytes changed since it was written; "
        + _mend(path, manifest)
    )


def _other_rows(path: Path, manifest: PoolManifest) -> str:
    return f"The pool {path} is damaged: its rows do not match its fingerprint; {_mend(path, manifest)}"


def _read_table(path: Path, record: TableRecord) -> Any:
    """One table file, memory-mapped."""
    name, again = record.file, "ingest its files again."
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path / name))).read_all()
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise PoolError(f"The pool {path} is damaged: {name} cannot be read ({reason}); {again}") from error
    table = as_current(table)
    if not table.schema.equals(SCHEMA):
        raise PoolError(f"The pool {path} is damaged: {name} has other columns than a pool; ingest again.")
    return table


#: How a pool that cannot be read is made again.
_ANEW = "restore the pool from a copy, or make it again: autoselection ingest FILE… --out {path} --overwrite"


def read_manifest(path: Path) -> PoolManifest:
    """The manifest of a pool directory; its table files are not looked at.

    Raises:
        PoolError: there is none, or it is damaged.
    """
    manifest_path = path / MANIFEST_FILE
    if not manifest_path.is_file():
        what = "does not exist" if not path.exists() else f"is no pool: it has no {MANIFEST_FILE}"
        raise PoolError(f"The pool {path} {what}; make one with `autoselection ingest FILE… --out {path}`.")
    try:
        document = files.parse_json(manifest_path.read_bytes())
        version = document.get("format_version") if isinstance(document, dict) else None
        if isinstance(version, int) and not 1 <= version <= FORMAT_VERSION:
            raise PoolError(
                f"The pool {path} has layout version {version}, this program reads 1 to {FORMAT_VERSION}; "
                + _ANEW.format(path=path)
            )
        return PoolManifest.model_validate(files.unsealed(document)[0])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise PoolError(
            f"The manifest of the pool {path} is damaged: '{where}' {reason_of(first)}; {_ANEW.format(path=path)}"
        ) from error
    except (ValueError, OSError) as error:
        raise PoolError(f"The manifest of the pool {path} is damaged ({error}); {_ANEW.format(path=path)}") from error
