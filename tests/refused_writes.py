"""A system that refuses to write below a folder; root, whom modes do not stop, is refused too."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Refuse whatever would write below ``folder`` as a file system does that is mounted read-only."""
    # Also to remove what is not there: Linux asks the mount first.
    removals = ("unlink", "remove", "rename", "replace", "rmdir", "truncate", "utime")
    with refusing(folder, errno.EROFS, removals):
        yield


@contextmanager
def refusing(folder: Path, number: int, calls: Sequence[str] = ()) -> Iterator[list[str]]:
    """Let nothing be made below ``folder``, with the error of that number; gives what was tried.

    Args:
        calls: further functions of ``os`` that are refused.
    """
    tried: list[str] = []

    def check(path: Any) -> None:
        if isinstance(path, (str, os.PathLike)) and folder in Path(os.path.normpath(Path.cwd() / path)).parents:
            tried.append(os.fspath(path))
            raise OSError(number, os.strerror(number), os.fspath(path))

    def refused(call: Any) -> Any:
        def instead(*args: Any, **more: Any) -> Any:
            for path in args[:2]:
                check(path)
            return call(*args, **more)

        return instead

    def opened(path: Any, mode: str = "r", *args: Any, **more: Any) -> Any:
        if any(letter in mode for letter in "wax+"):
            check(path)
        return real_open(path, mode, *args, **more)

    def os_opened(path: Any, flags: int, *args: Any, **more: Any) -> int:
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            check(path)
        return real_os_open(path, flags, *args, **more)

    def made(path: Any, *args: Any, **more: Any) -> None:
        if not Path(path).exists():  # else it says so, as mkdir does
            check(path)
        real_mkdir(path, *args, **more)

    real_open, real_os_open, real_mkdir = io.open, os.open, os.mkdir
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "open", opened)
        patch.setattr(builtins, "open", opened)
        patch.setattr(os, "open", os_opened)
        patch.setattr(os, "mkdir", made)
        for name in calls:
            patch.setattr(os, name, refused(getattr(os, name)))
        yield tried
