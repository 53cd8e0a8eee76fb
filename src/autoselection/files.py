"""Files that are whole or not there, that are checked when they are read, and folders that one process works in.

*Whole:* a file is written under another name in its folder, synced and renamed (:func:`whole_file`, :func:`whole_folder`).
What killed runs left of this is removed, or put back, by the next run that writes into the folder.

*Checked:* a checksum is compared before a file is used, once a process; and across processes only if size, times or inode
changed since the last good check, which a stamp file beside the data remembers (:func:`is_sound`). A stamp is believed
only if the file had rested for a while when it was checked, as a change within a clock tick would not show. What no stamp
can show is a bit that the disk itself lost after the last check.

*Locked:* by ``flock``, where the file system has it (:func:`locked`).
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import shutil
import sys
import time
import tokenize
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from autoselection.progress import console
from autoselection.system import naming

if TYPE_CHECKING:  # the command line imports this module, and shall be there at once
    import numpy as np
    from numpy.typing import NDArray

#: Name of the file that remembers good checks; beside the data, as it goes where the data goes.
STAMPS_FILE = ".checked.json"
#: How long a file must have rested to be believed unchanged by its times (s): the coarsest clock of a file system.
_RESTED = 2.0
#: Where locks do not tell whether somebody still writes a leftover, it is one when untouched for so long (s).
_ABANDONED = 86_400.0
_LEFTOVER = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{12}\.(?P<kind>part|old)", re.DOTALL)
#: What an attempt to lock says if another process holds the lock; anything else means that locking failed.
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_CHECKSUM = "checksum"

#: What reading an array file can raise if its bytes are not what NumPy wrote.
UNREADABLE_ARRAY = (
    OSError, ValueError, TypeError, KeyError, EOFError, SyntaxError, MemoryError, OverflowError, RecursionError,
    tokenize.TokenError,
)  # fmt: skip

Stat = tuple[int, int, int, int]
_good: dict[str, tuple[Stat, str]] = {}
_warned: set[Path] = set()
#: What :func:`together` waits to put in place, and what keeps it until then.
_waiting: ContextVar[tuple[ExitStack, list[tuple[Path, Callable[[], object]]]] | None] = ContextVar(
    "waiting", default=None
)


# Whole


@contextmanager
def together() -> Iterator[None]:
    """Files and folders written whole in the block appear when it ends: all of them, or none if it fails."""
    if _waiting.get() is not None:
        yield
        return
    with ExitStack() as stack:
        places: list[tuple[Path, Callable[[], object]]] = []
        token = _waiting.set((stack, places))
        try:
            yield
        finally:
            _waiting.reset(token)
        for path, put in places:
            with naming(path):
                put()


def _put_in_place(path: Path, put: Callable[[], object], cleanup: ExitStack) -> None:
    """Move what is complete to ``path``, now or with all else that is written :func:`together`."""
    waiting = _waiting.get()
    if waiting is None:
        put()
    else:
        stack, places = waiting
        stack.push(cleanup.pop_all())
        places.append((path, put))


@contextmanager
def whole_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Write a file aside (``mode`` ``w``: UTF-8 text with plain line feeds; ``wb``: bytes), renamed when it is complete.

    What is there and is no file, such as ``/dev/stdout``, is written to; a link is followed.

    Raises:
        OSError: it cannot be written, with its name; then nothing is left of it.
    """
    encoding, newline = (None, None) if "b" in mode else ("utf-8", "\n")
    with naming(path), ExitStack() as cleanup:
        path = _followed(path)
        if path.exists() and not path.is_file():
            with path.open(mode, encoding=encoding, newline=newline) as stream:
                yield stream
            return
        cleanup.enter_context(_parents(path))
        remove_leftovers(path.parent)
        part, handle = _new_part(path)
        cleanup.callback(part.unlink, missing_ok=True)
        stream = cleanup.enter_context(os.fdopen(handle, mode, encoding=encoding, newline=newline))
        yield stream
        stream.flush()
        os.fsync(stream.fileno())
        _put_in_place(path, lambda: part.replace(path), cleanup)


def _followed(path: Path) -> Path:
    """Where a link leads, through all links; what is none, as it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path  # Path.resolve has errors of its own


@contextmanager
def _parents(path: Path) -> Iterator[None]:
    """Make the folders above ``path``; those that were made go again, if they are empty, should the block fail."""
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in made:  # the deepest first
            with suppress(OSError):
                folder.rmdir()
        raise


def write_texts(texts: Mapping[Path, str]) -> None:
    """Write several text files: all of them, or none if there is no room for them."""
    with together():
        for path, text in texts.items():
            write_text(path, text)


def _new_part(path: Path) -> tuple[Path, int]:
    """A new file beside ``path``, locked as long as it is open, so that others know it is being written."""
    while True:
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        _lock(handle, wait=True)
        if part.exists():  # else another process took it for a leftover in the instant before it was locked
            return part, handle
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) whole or not at all."""
    with whole_file(path) as stream:
        stream.write(text)


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an ``.npy`` file whole or not at all."""
    import numpy as np

    with whole_file(path, "wb") as stream:
        np.save(stream, array, allow_pickle=False)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Fill a folder aside, and move it into place, for one that is there, when it is complete; a link is followed."""
    with naming(folder), ExitStack() as cleanup:
        folder = _followed(folder)
        cleanup.enter_context(_parents(folder))
        remove_leftovers(folder.parent)
        part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:12]}.part")
        part.mkdir()
        cleanup.callback(shutil.rmtree, part, ignore_errors=True)
        cleanup.enter_context(held(part))
        yield part
        _put_in_place(folder, lambda: _replace_folder(part, folder), cleanup)


def _replace_folder(part: Path, folder: Path) -> None:
    if folder.is_dir():
        old = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:12]}.old")
        with held(folder):
            folder.rename(old)
            part.rename(folder)
            shutil.rmtree(old, ignore_errors=True)  # what a process has open on NFS goes with the next leftovers
    else:
        part.rename(folder)
    sync_folder(folder.parent)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Mark a folder, under whatever name, as one that a living process works in: see :func:`is_abandoned`."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, wait=True)
        yield
    finally:
        os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed runs left in a folder; an old folder that lost its place gets it back."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except OSError:  # no such folder, or not ours to list: whoever writes there will say so
        return
    for name in names:
        found = _LEFTOVER.fullmatch(name)
        if found is None or not is_abandoned(folder / name):
            continue
        if found["kind"] == "old" and not (folder / found["name"]).exists():
            (folder / name).rename(folder / found["name"])
        elif (folder / name).is_dir():
            shutil.rmtree(folder / name, ignore_errors=True)
        else:
            (folder / name).unlink(missing_ok=True)


def is_abandoned(path: Path) -> bool:
    """Whether no living process holds a leftover; where locks do not tell, whether it was untouched for a day."""
    try:
        handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    except OSError:
        return False
    try:
        problem = _lock(handle, wait=False)
        return problem is None or (problem.errno not in _HELD and time.time() - path.stat().st_mtime > _ABANDONED)
    except OSError:  # gone meanwhile
        return False
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Bring renames in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# Checked


def checksum(path: Path) -> str:
    """32 hex digits of a file's bytes."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def is_sound(path: Path, digest: str, stamps: Path | None = None) -> bool:
    """Whether a file has its checksum; it is read only if no earlier check of the file as it is now is known.

    Args:
        stamps: the file that remembers good checks for later processes; None remembers them for this one.

    Raises:
        OSError: the file cannot be read.
    """
    stat, name = _stat(path), str(path.absolute())
    if _good.get(name) == (stat, digest):
        return True
    if stamps is not None and _read_stamps(stamps).get(_stamp_name(path, stamps)) == [*stat, digest]:
        _good[name] = (stat, digest)
        return True
    started = time.time()
    if checksum(path) != digest:
        return False
    if _stat(path) == stat and max(stat[1], stat[2]) / 1e9 < started - _RESTED:
        _good[name] = (stat, digest)
        if stamps is not None:
            _write_stamp(path, stamps, [*stat, digest])
    return True


def noted_checksum(path: Path, stamps: Path) -> str | None:
    """The checksum that :func:`note_checksum` noted for a file; None if there is none."""
    found = _read_stamps(stamps).get(_stamp_name(path, stamps))
    return str(found[-1]) if isinstance(found, list) and found else None


def note_checksum(path: Path, stamps: Path) -> None:
    """Note the checksum of a file that was made without one and whose content was found right by other means."""
    _write_stamp(path, stamps, [0, 0, 0, 0, checksum(path)])


def _stat(path: Path) -> Stat:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _stamp_name(path: Path, stamps: Path) -> str:
    return Path(os.path.relpath(path, stamps.parent)).as_posix()


def _read_stamps(stamps: Path) -> dict[str, Any]:
    try:
        found = json.loads(stamps.read_bytes())
    except (OSError, ValueError, RecursionError):  # nothing is known then, and everything is checked
        return {}
    return found if isinstance(found, dict) else {}


def _write_stamp(path: Path, stamps: Path, stamp: list[Any]) -> None:
    known = {name: old for name, old in _read_stamps(stamps).items() if (stamps.parent / name).exists()}
    known[_stamp_name(path, stamps)] = stamp
    temporary = stamps.with_name(f".{stamps.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        temporary.write_text(json.dumps(known, indent=0), encoding="utf-8")
        temporary.replace(stamps)
    except OSError:  # a folder that is read only: the file is checked by every process
        with suppress(OSError):  # on a read-only mount not even a missing file can be removed
            temporary.unlink(missing_ok=True)


def parse_json(text: str | bytes) -> Any:
    """Parse JSON that may be damaged.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text.decode("utf-8") if isinstance(text, bytes) else text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def seal(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the checksum of its content."""
    # As it will be read back: JSON has no tuples, and no keys that are numbers.
    return {**document, _CHECKSUM: _content_checksum(json.loads(json.dumps(document)))}


def unsealed(document: Any) -> tuple[dict[str, Any], bool]:
    """A document without its checksum, and whether it had one (documents of older versions have none).

    Raises:
        ValueError: it is no JSON object, or does not have its checksum.
    """
    if not isinstance(document, dict):
        raise ValueError("it holds no JSON object")
    content = {key: value for key, value in document.items() if key != _CHECKSUM}
    if len(content) == len(document):
        return content, False
    if document[_CHECKSUM] != _content_checksum(content):
        raise ValueError("its content does not have its checksum")
    return content, True


def write_sealed(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON document with the checksum of its content, whole or not at all."""
    write_text(path, json.dumps(seal(document), indent=1, ensure_ascii=False) + "\n")


def read_sealed(path: Path) -> tuple[dict[str, Any], bool]:
    """A JSON document without its checksum, and whether it had one.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged.
    """
    return unsealed(parse_json(path.read_bytes()))


def _content_checksum(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def read_rows(path: Path) -> NDArray[np.int64]:
    """Row numbers from an ``.npy`` file, int64[n]; whether they are the right ones is for the caller to check.

    Raises:
        ValueError: the file is missing or holds no list of whole numbers.
    """
    import numpy as np

    try:
        rows = np.lib.format.read_array(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except UNREADABLE_ARRAY as error:
        raise ValueError(" ".join(str(error).split())[:200] or type(error).__name__) from error
    if not isinstance(rows, np.ndarray) or rows.ndim != 1 or rows.dtype.kind != "i":
        raise ValueError("it holds no list of row numbers")
    return rows.astype(np.int64)


# Locked


class InUse(Exception):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold a lock on a file (made if need be) as long as this process lives, and no longer than the block.

    Where the file system has no locks, a note says so and the work goes on without.

    Args:
        wait: wait for another process that holds it.

    Raises:
        InUse: another process holds it, and ``wait`` is False.
        OSError: the file cannot be made.
    """
    handle, problem = _opened_lock(path, wait)
    try:
        if problem is not None and problem.errno in _HELD:
            raise InUse(str(path)) from problem
        if problem is not None:
            _warn_of_no_locks(path.parent, problem)
        yield
    finally:
        os.close(handle)


def _opened_lock(path: Path, wait: bool) -> tuple[int, OSError | None]:
    """The file, open and locked, and why it is not locked, if so; who had it may have removed it meanwhile."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        problem = _lock(handle, wait=wait)
        if problem is not None:
            return handle, problem
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle, None
        os.close(handle)


@contextmanager
def locked_meanwhile(path: Path) -> Iterator[None]:
    """Like :func:`locked` without waiting, but a lock file that was not there is removed again."""
    made = not path.exists()
    with locked(path, wait=False):
        try:
            yield
        finally:
            if made:
                path.unlink(missing_ok=True)


def _lock(handle: int, *, wait: bool) -> OSError | None:
    """Lock an open file; why it could not be locked, if so."""
    if sys.platform == "win32":
        return OSError(errno.ENOSYS, "no flock on Windows")
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error
    return None


def _warn_of_no_locks(folder: Path, problem: OSError) -> None:
    folder = folder.absolute()
    if folder in _warned:
        return
    _warned.add(folder)
    console.say(
        f"Locking failed in {folder} ({problem.strerror}): its file system has no locks. The work goes on without: let "
        "no other process write there at the same time, or move the folder to a local disk.",
        style="yellow",
    )
