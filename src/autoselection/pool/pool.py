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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from autoselection import files, notebook
from autoselection.errors import PoolError
from autoselection.pool.manifest import IN_MEMORY, PoolManifest, TableRecord, read_manifest
from autoselection.pool.rows import SCHEMA, as_current
from autoselection.pool.subset import Row, Subset
from autoselection.pool.table import PoolTable, Rows
from autoselection.progress import console
from autoselection.wording import command_line

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True, eq=False, repr=False)
class Pool(PoolTable):
    """A fixed pool of conversations on disk. Rows are numbered 0…N-1; the table is memory-mapped.

    ``pool[3]`` and ``pool["id7"]`` are rows, ``pool[10:20]``, ``pool[[1, 5]]`` and ``pool[mask]`` subsets; ``for row in pool`` goes
    through all rows.

    Attributes:
        path: the pool directory.
        manifest: counts, provenance and fingerprint.
        table: the rows, with the columns of ``SCHEMA``.

    >>> import autoselection as au
    >>> pool = au.ingest([{"id": "a", "prompt": "Hi", "response": "Hello!"}, {"prompt": "Bye", "response": "So long!"}], "two").pool
    >>> len(pool), pool["a"].messages[1]["content"]
    (2, 'Hello!')
    """

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
                "again from other rows; restore the old pool, or continue with the new one."
            )
        return cls(path, former, table.slice(0, former.rows))

    @property
    def all(self) -> Subset:
        """All rows, in order."""
        return Subset(self, np.arange(len(self), dtype=np.int64))

    @overload
    def __getitem__(self, index: int | str) -> Row: ...

    @overload
    def __getitem__(self, index: slice | list[str] | Rows | npt.NDArray[np.bool_]) -> Subset: ...

    def __getitem__(self, index: int | str | slice | list[str] | Rows | npt.NDArray[np.bool_]) -> Row | Subset:
        """A row by id or number, or some of the rows by a slice, ids, numbers or a mask; errors as of :class:`Subset`."""
        return self.all[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.all)

    def to_polars(self) -> polars.DataFrame:
        """All rows as a data frame, see :meth:`Subset.to_polars`."""
        return self.all.to_polars()

    def to_dataset(self) -> Any:
        """All rows as a ``datasets.Dataset``, see :meth:`Subset.to_dataset`."""
        return self.all.to_dataset()

    def plot(self, signal: str, by: str | None = None) -> Any:
        """Draw how a signal is distributed over the rows, or with ``by="source"`` in each source.

        Args:
            signal: one of the newest that are stored with the pool; ``load_table(pool)`` lists them.

        Returns:
            An :class:`autoselection.report.plots.Plot`, which a notebook shows.

        Raises:
            ConfigError: ``by`` is something else.
            SignalError: there is no such signal, or no row has it.
        """
        return notebook.drawn("pool_plot", self, signal, by)

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

    def verify(self) -> None:
        """Read everything again, even what was checked before: tables and fingerprint (a second or two for 100,000 rows).

        Raises:
            PoolError: a table does not have its checksum, or the rows are not those the manifest speaks of.
        """
        whole = read_manifest(self.path)
        for record in whole.table_files:
            if record.blake2b is not None and files.checksum(self.path / record.file) != record.blake2b:
                raise PoolError(_changed(self.path, record.file, whole))
        if self.recompute_fingerprint().hexdigest() != self.fingerprint:
            raise PoolError(_other_rows(self.path, whole))


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
    inputs = command_line(*names) if 0 < len(names) <= 4 else "FILE…"
    return (
        "restore it from a copy, or ingest its files again: "
        f"autoselection ingest {inputs} --out {command_line(path)} --overwrite"
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
