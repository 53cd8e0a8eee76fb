"""Random mutation of whatever a parser reads: any input gives a value or an AutoSelectionError, and in bounded time.

A target is a file of ``targets/`` with a ``TARGET``: how to parse, good inputs to start from, and words worth inserting.
``make fuzz`` runs all of them (``python -m tests.fuzz``), the tests run a few hundred inputs of each. Inputs depend on
the seed and their number alone, so a failure is repeated by ``python -m tests.fuzz --target NAME --seed S --only N``.
"""

from __future__ import annotations

import atexit
import faulthandler
import importlib
import os
import pkgutil
import random
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType

from autoselection.errors import AutoSelectionError

#: Inputs are kept below this length (bytes): parsers meet their limits of size elsewhere, by tests of their own.
MAX_BYTES = 4096
#: Longest time that one input may take (seconds).
LIMIT_SECONDS = 5.0

_WORDS: tuple[bytes, ...] = (
    b"", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\r\n", b"\r", b"\n", b"\t", b'"', b'""', b"'", b"\\", b",", b";", b":", b"|",
    b"{", b"}", b"[", b"]", b"[[", b"{}", b"[]", b"null", b"true", b"NaN", b"Infinity", b"-1", b"1e999", b"0.1",
    b"9" * 40, b"\\ud800", b"\\u0000", "\u200b".encode(), "é中🙂".encode(), b"\xed\xa0\x80", b"a" * 300, b"[" * 300, b'{"a":' * 200,
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """One parser under attack.

    Attributes:
        name: of the target, as ``--target`` takes it.
        parse: reads one input; returns anything, or raises AutoSelectionError.
        seeds: good inputs, and bad ones that once crashed.
        words: pieces of the format, inserted besides the common ones.
        share: how many inputs it gets, as a multiple of the others'; below 1 for slow parsers.
    """

    name: str
    parse: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()
    share: float = 1.0


@dataclass(frozen=True)
class Failure:
    """An input that a parser could not take.

    Attributes:
        target: name of the target.
        number: the input's number, for ``--only``.
        data: the input, as short as could be made.
        what: the traceback, or that it took too long.
    """

    target: str
    number: int
    data: bytes
    what: str

    def __str__(self) -> str:
        return f"{self.target}, input {self.number}: {self.data!r}\n{self.what}"


class _TooSlow(BaseException):
    """Not an Exception: no parser may catch it by accident."""


def targets() -> list[Target]:
    """All targets, by name: one of each module of ``tests.fuzz.targets``."""
    package = importlib.import_module("tests.fuzz.targets")
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return [importlib.import_module(f"tests.fuzz.targets.{name}").TARGET for name in names]


def make_input(target: Target, seed: int, number: int) -> bytes:
    """Input ``number`` of a run: a seed of the target with one to eight mutations."""
    draw = random.Random(f"{target.name} {seed} {number}")
    data = draw.choice(target.seeds)
    for _ in range(draw.choice((1, 1, 2, 3, 5, 8))):
        data = _mutate(draw, data, target)[:MAX_BYTES]
    return data


def _mutate(draw: random.Random, data: bytes, target: Target) -> bytes:
    a, b = sorted((draw.randint(0, len(data)), draw.randint(0, len(data))))
    kind = draw.randrange(8)
    if kind == 0:
        return data[:a] + draw.choice(_WORDS + target.words) + data[a:]
    if kind == 1:
        return data[:a] + draw.choice(_WORDS + target.words) + data[min(b, a + 8) :]
    if kind == 2:
        return data[:a] + data[min(b, a + draw.choice((1, 4, 60))) :]
    if kind == 3:
        return data[:a] + data[a:b] * draw.choice((2, 3, 20)) + data[b:]
    if kind == 4 and data:
        place = draw.randrange(len(data))
        return data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]
    if kind == 5:
        other = draw.choice(target.seeds)
        return data[:a] + other[draw.randint(0, len(other)) :]
    if kind == 6:
        return data[:b]
    return data[:a] + bytes(draw.randrange(256) for _ in range(draw.choice((1, 2, 6)))) + data[a:]


def attack(target: Target, data: bytes) -> str | None:
    """Parse one input; why that failed, or None."""
    started = time.monotonic()
    try:
        with _alarm(LIMIT_SECONDS):
            target.parse(data)
    except AutoSelectionError as error:
        if not str(error).strip():
            return f"{type(error).__name__} without a sentence"
    except _TooSlow:
        pass
    except Exception:  # noqa: BLE001 - bugs are what is looked for
        return traceback.format_exc()
    seconds = time.monotonic() - started
    return f"took {seconds:.1f} s, allowed are {LIMIT_SECONDS} s" if seconds > LIMIT_SECONDS else None


def run(target: Target, numbers: Sequence[int], seed: int, stop_after: int = 3) -> list[Failure]:
    """Attack a target with the inputs of these numbers; the first failures, each made shorter."""
    found: list[Failure] = []
    for number in numbers:
        data = make_input(target, seed, number)
        what = attack(target, data)
        if what is not None:
            short = _shorter(target, data)
            found.append(Failure(target.name, number, short, attack(target, short) or what))
            if len(found) >= stop_after:
                break
    return found


def _shorter(target: Target, data: bytes, seconds: float = 20.0) -> bytes:
    """Leave out pieces, large ones first, as long as it fails."""
    deadline = time.monotonic() + seconds
    size = max(len(data) // 2, 1)
    while size and time.monotonic() < deadline:
        start = 0
        while start < len(data) and time.monotonic() < deadline:
            fewer = data[:start] + data[start + size :]
            if attack(target, fewer) is not None:
                data = fewer
            else:
                start += size
        size //= 2
    return data


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Interrupt Python code after ``seconds``; code that never returns to Python ends the process a minute later."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_named(name: str, numbers: Sequence[int], seed: int) -> list[Failure]:
    """``run`` in a process of its own, which does not outlive native code that never returns."""
    target = next(target for target in targets() if target.name == name)
    with _backstop(300.0):
        return run(target, numbers, seed)


@contextmanager
def _backstop(seconds: float) -> Iterator[None]:
    """End the process with a traceback if it is stuck in native code for so long."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def as_file(data: bytes, name: str) -> Path:
    """A file of these bytes, for parsers that take nothing else; the next one of this name replaces it."""
    path = _folder() / name
    path.write_bytes(data)
    return path
