"""What the operating system refuses, as sentences that name the file and what to do; and memory that it hands out."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PLACE = "Choose another place, or change the owner or the mode of this one"
_SPACE = "Free some space, or choose another place, and run the same command again"

#: What an error number means, and what helps.
_MEANINGS: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("no space is left on the device", _SPACE),
    errno.EDQUOT: ("the disk quota is used up", _SPACE),
    errno.EFBIG: ("the file would be larger than the system allows", "Raise the limit (ulimit -f)"),
    errno.EACCES: ("permission denied", _PLACE),
    errno.EPERM: ("the operation is not permitted", _PLACE),
    errno.EROFS: ("the file system is read-only", "Choose another place, or mount it for writing"),
    errno.ENAMETOOLONG: ("the name is too long", "Choose a shorter one"),
    errno.ENOENT: ("there is no such file or folder", "See whether the name is right and its folder exists"),
    errno.ENOTDIR: ("a part of this path is a file, not a folder", "See whether the name is right"),
    errno.EISDIR: ("this is a folder, not a file", "Name a file"),
    errno.EEXIST: ("this exists already", "Choose another name, or remove it"),
    errno.ENOTEMPTY: ("this folder is not empty", "Choose another name, or empty it"),
    errno.EMFILE: ("too many files are open", "Raise the limit (ulimit -n)"),
    errno.ENFILE: ("too many files are open on this machine", "Close other programs"),
    errno.ESTALE: ("the network file system lost this file (stale handle)", "Mount it again"),
    errno.ENODEV: ("there is no such device", "See whether it is connected and mounted"),
    errno.ENXIO: ("there is no such device or address", "See whether it is connected and mounted"),
    errno.EIO: ("the device failed to read or write", "See the system's log; copy what is there before you go on"),
    errno.ELOOP: ("the symbolic links of this path lead in a circle", "Fix the links"),
    errno.EBUSY: ("this is in use", "End what uses it"),
    errno.EAGAIN: (
        "the system starts no more threads or processes",
        "Close other programs, or raise the limits (ulimit -u, ulimit -v)",
    ),
    errno.ENOMEM: ("there is not enough memory", "Close other programs, or use a larger machine"),
    errno.ETIMEDOUT: ("the file system or the network did not answer in time", "Run the same command again"),
    errno.EHOSTDOWN: ("the server of the file system is down", "Mount it again when it is back"),
    errno.ENOTCONN: ("the connection to the file system is lost", "Mount it again"),
    errno.EINVAL: ("the system refuses this name or operation", "Choose another place"),
}
#: Error numbers inside the texts of libraries: [Errno 28], os error 28, code: 28.
_NUMBER = re.compile(r"(?:\[errno |os error |\bcode: )(\d+)", re.IGNORECASE)
#: Errors of the system that Python raises as other exceptions, by what these say.
_DISGUISED = (
    (re.compile(r"Symlink loop from '(?P<path>.*)'", re.DOTALL), errno.ELOOP),
    (re.compile(r"can't start new thread"), errno.EAGAIN),
    (re.compile(r".*(?:failed to map segment|cannot allocate memory).*", re.IGNORECASE | re.DOTALL), errno.ENOMEM),
)
#: Exceptions of libraries that carry a system's error as text, or say that a file is not what it should be.
_LIBRARIES = {"ArrowInvalid": "pyarrow", "ComputeError": "polars", "SafetensorError": "safetensors"}
#: Runs a module as ``python -m`` does, without the working directory, where that looks for every module first: a file of the
#: user's there that is called as a module is, such as secrets.py, would be run in its place. This package comes from where it is.
_RUN = (
    "import sys; sys.path[:1] == [''] and sys.path.pop(0); root, name = sys.argv[1:3]; del sys.argv[1:3]; "
    "root in sys.path or sys.path.append(root); import runpy; runpy.run_module(name, run_name='__main__', alter_sys=True)"
)
#: System errors that say something about the machine and nothing about what was asked of it.
MACHINE_ERRNOS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.EAGAIN),
        *(errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENOTCONN),  # of file systems of a network
    }
)
#: How libraries say that memory ran out: PyTorch, the C++ library, and NVIDIA's (CUBLAS_STATUS_ALLOC_FAILED).
MEMORY_WORDS = re.compile(
    r"out of memory|bad_alloc|can.?t allocate memory|cannot allocate memory|not enough memory|alloc(?:ation)?_failed",
    re.IGNORECASE,
)
#: Names under which files and folders are written before they are renamed.
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?:[0-9a-f]+\.(?:part|old)|ingest-[0-9a-f]+)", re.DOTALL)


#: Parameters of glibc's mallopt (malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Let this process use freed memory again without asking the system for it anew; nothing where that isn't glibc.

    By default large blocks go back when they are freed. A pass of a model on a CPU then gets its activations as fresh
    pages, which the system first has to clear, again and again: up to a fifth of the time.
    """
    if (mallopt := _glibc("mallopt")) is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def give_back_freed_memory() -> None:
    """Give freed memory back to the system, once."""
    if (trim := _glibc("malloc_trim")) is not None:
        trim(0)


def release_models() -> None:
    """Give back the memory of models that nothing refers to any more: of an accelerator, then of the system.

    Models are parts of cycles of references, so that they live on until these are collected, and torch keeps what they
    held on an accelerator for tensors to come. Another process, such as a training on the same GPU, would not get it.
    """
    gc.collect()
    if (torch := sys.modules.get("torch")) is not None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if torch.backends.mps.is_available():
            torch.mps.empty_cache()
    give_back_freed_memory()


def _glibc(name: str) -> Callable[..., int] | None:
    """A function of the C library; None where there is none of that name."""
    if sys.platform != "linux":
        return None
    found: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    return found


def expanded(path: Path | str) -> Path:
    """The path with a leading ``~`` or ``~user`` as that home, as shells do: where there is no such user (``~$notes.csv`` is
    Office's lock of an open file), it stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let a system's error inside name ``path`` where it names nothing, or only a temporary file beside it."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and (error.filename is None or _temporary(error.filename, path)):
            error.filename = str(path)
        raise


def unmasked(error: RuntimeError | ImportError) -> OSError | None:
    """The system's error behind an exception of another class; None if it is none."""
    for pattern, number in _DISGUISED:
        if found := pattern.fullmatch(str(error)):
            return OSError(number, os.strerror(number), found.groupdict().get("path"))
    return None


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of the system or of an accelerator."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and MEMORY_WORDS.search(str(error)) is not None
    )


def machine_error(error: BaseException | None) -> BaseException | None:
    """The machine's error (memory, disk, file handles, an accelerator) in a chain of causes; None if there is none.

    Libraries raise others in its place, with its number in their text or nothing but itself as the cause.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if lacks_memory(error) or _number(error) in MACHINE_ERRNOS or type(error).__name__ == "AcceleratorError":
            return error
        error = error.__cause__ or error.__context__
    return None


def _number(error: BaseException) -> int | None:
    """The system's number of an error, from its text if need be."""
    if isinstance(error, (RuntimeError, ImportError)):
        error = unmasked(error) or error
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if not isinstance(error, OSError) and type(error).__name__ not in _LIBRARIES:
        return None
    found = _NUMBER.search(str(error))
    return int(found[1]) if found else None


def _temporary(name: object, path: Path) -> bool:
    return isinstance(name, (str, bytes)) and _meant(os.fsdecode(name)) == str(path)


def _meant(name: str) -> str:
    """The file that a temporary file or folder was to become."""
    found = _TEMPORARY.fullmatch(Path(name).name)
    return str(Path(name).with_name(found["name"])) if found else name


def told(error: BaseException, place: str | None = None) -> tuple[str, str]:
    """(What happened and where, what helps) for an error of the system, of memory, or of a library that wraps one.

    Args:
        place: what was being written, for errors that name no file.
    """
    library = _LIBRARIES.get(type(error).__name__, "the system")
    if isinstance(error, MemoryError):
        return _MEANINGS[errno.ENOMEM][0].capitalize(), _MEANINGS[errno.ENOMEM][1]
    text = " ".join(str(error).split())
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (found := _NUMBER.search(text)):
        number = int(found[1])
    name = getattr(error, "filename", None)
    named = _meant(os.fsdecode(name)) if isinstance(name, (str, bytes)) else place
    where = f"{named}: " if named else ""
    if number is None:
        return f"{where}{library} could not read or write this ({text[:300]})", _PLACE
    meaning, help_ = _MEANINGS.get(number) or (os.strerror(number).lower(), "See whether the place is right")
    return (f"{where}{meaning}" if where else meaning[:1].upper() + meaning[1:]), help_


def module_command(name: str, *arguments: str) -> list[str]:
    """The command that runs a module of this package in a process of its own; nothing of the working directory is imported."""
    return [sys.executable, "-c", _RUN, str(Path(__file__).parent.parent), name, *arguments]
