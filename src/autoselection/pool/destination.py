"""Where a pool is made: next to its place, moved or taken in when it is whole; what killed ingests left is cleared."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from autoselection.errors import PoolError
from autoselection.files import InUse, held, is_abandoned, locked, sync_folder, whole_file
from autoselection.pool.manifest import (
    MANIFEST_FILE,
    SIGNALS_FOLDER,
    SKIPPED_FILE,
    TABLE_FILE,
    PoolManifest,
    read_manifest,
)
from autoselection.pool.pool import Pool
from autoselection.pool.skipped import skipped_rows_of


def is_pool(path: Path) -> bool:
    return (path / MANIFEST_FILE).is_file() or (path / TABLE_FILE).is_file()


def _retired(out: Path) -> Path:
    """Where the old pool waits while a new one takes its place."""
    return out.with_name(f".{out.name}.replaced")


def check_destination(out: Path, overwrite: bool) -> Pool | None:
    """Find out early that ``out`` cannot be made; undo a replacement that was interrupted half-way.

    Returns:
        The pool that is there; None if there is none, or a damaged one that may be overwritten.
    """
    if not out.name:
        raise PoolError(f"The pool directory {out} has no name; give a path like pools/mine.")
    if not out.exists() and _retired(out).is_dir():
        _retired(out).rename(out)
    if is_pool(out):
        _settle(out)
    if out.is_dir() and not is_pool(out) and any(out.iterdir()):
        raise PoolError(f"{out} is a folder with other things in it, not a pool; choose another --out.")
    if out.exists() and not out.is_dir():
        raise PoolError(f"{out} is a file; choose another --out.")
    if not is_pool(out):
        return None
    try:
        return Pool.open(out)
    except PoolError:
        if not overwrite:  # a damaged pool is not silently replaced
            raise
    return None


@contextmanager
def base_pool(out: Path, expected: Pool | None = None) -> Iterator[Pool]:
    """The pool that rows are added to, locked against others that add; it must still be the ``expected`` one."""
    if not is_pool(out):
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


def extend(folder: Path, former: Pool, manifest: PoolManifest) -> None:
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
                file.writelines(_listed(lines, former.manifest.skipped))
        with path.open("rb") as new:
            shutil.copyfileobj(new, file)


def _listed(lines: Iterable[bytes], rows: int) -> Iterator[bytes]:
    """The lines that list the first ``rows`` skipped rows; others were left by an append that was killed."""
    for line in lines:
        if rows <= 0:
            return
        rows -= skipped_rows_of(line)
        yield line


@contextmanager
def temporary_folder(out: Path) -> Iterator[Path]:
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


def move_into_place(folder: Path, out: Path) -> None:
    """Rename the finished pool to ``out``, in the place of one that may be there."""
    if is_pool(out):
        retired = _retired(out)
        shutil.rmtree(retired, ignore_errors=True)
        out.rename(retired)
        folder.rename(out)
        _settle(out)
    else:
        folder.rename(out)
    sync_folder(out.parent)
