r"""Mathematical expressions by math-verify, in a process of its own that may be ended at any time.

SymPy computes what it is given: ``9^{9^{9^9}}`` would fill the memory in C code that no signal interrupts. So what is
handed over is looked through first (:func:`is_safe`), and the process that computes has limits of time and memory.
An expression that reaches them has no value.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
from fractions import Fraction
from functools import lru_cache
from typing import Any

from autoselection.errors import EvaluationError, MissingExtraError
from autoselection.system import module_command

_LONGEST = 300
_DEEPEST = 12
_LONGEST_DIGITS = 60
_MOST_FUNCTIONS = 4
#: The product of all exponents of an expression, factorials counted by their argument: about the digits of its value.
_LARGEST_POWER = 10_000
#: Powers of anything but a number are multiplied out when compared.
_LARGEST_POWER_OF_A_SUM = 12
_LARGEST_FACTORIAL = 1000
#: The process ends by itself after seconds of computing (see ``math_server``); this is for one that does not (seconds).
_PATIENCE = 120.0


def is_safe(latex: str) -> bool:
    """Whether an expression is small enough to be computed, and of a form that is read in one way only."""
    if len(latex) > _LONGEST or re.search(
        rf"\d{{{_LONGEST_DIGITS + 1},}}|\d\s+\d|\d\s*\.\s*\d+\.|!\s*!|[\d}}]\s*_|\d,\d{{3}}(?!\d)", latex
    ):
        return False
    if re.search(r"\d,\d", latex) and not re.fullmatch(r"\s*(?:[(\[]|\\\{).*(?:[)\]]|\\\})\s*", latex):
        return False
    if len(re.findall(r"\\(?:arc)?(?:sin|cos|tan|cot|sec|csc|log|ln|exp)", latex)) > _MOST_FUNCTIONS:
        return False
    depth = deepest = 0
    for character in latex:
        depth += (character in "({[") - (character in ")}]")
        deepest = max(deepest, depth)
    if deepest > _DEEPEST:
        return False
    size = 1
    for match in re.finditer(r"\^", latex):
        exponent = _group(latex, match.end())
        if "^" in exponent or "!" in exponent or re.match(r"\s*\^", latex[match.end() :].lstrip()[len(exponent) + 2 :]):
            return False
        if not re.search(r"\d\s*$", latex[: match.start()]) and any(
            int(number[:9]) > _LARGEST_POWER_OF_A_SUM for number in re.findall(r"\d+", exponent)
        ):
            return False
        for number in re.findall(r"\d+", exponent):
            size *= max(2, int(number[:9]))
    for match in re.finditer(r"!", latex):
        number_before = re.search(r"(?<![\d.])(\d{1,4})\s*$", latex[: match.start()])
        if number_before is None or int(number_before.group(1)) > _LARGEST_FACTORIAL:
            return False
        size *= max(2, int(number_before.group(1)))
    return size <= _LARGEST_POWER and not any(
        len(number) > 4
        for binomial in re.findall(r"binom\s*(\{[^{}]*\}\s*\{[^{}]*\})", latex)
        for number in re.findall(r"\d+", binomial)
    )


def _group(latex: str, start: int) -> str:
    """The exponent that begins at ``start``: what stands in braces, or the next sign."""
    rest = latex[start:].lstrip()
    if not rest.startswith("{"):
        command = re.match(r"\\[a-zA-Z]+\s*(?:\{[^{}]*\})*|.", rest, re.DOTALL)
        return command.group() if command else ""
    depth = 0
    for place, character in enumerate(rest):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return rest[1:place]
    return rest


@lru_cache(maxsize=4096)
def value(latex: str) -> Fraction | None:
    """The exact value of an expression, or None if it has none that is a fraction of whole numbers.

    Raises:
        MissingExtraError: math-verify is not installed.
        EvaluationError: it cannot be started.
    """
    answer = _ask({"value": latex}) if is_safe(latex) else None
    if not isinstance(answer, str):
        return None
    over, under = answer.split("/")
    return Fraction(int(over, 16), int(under, 16))


@lru_cache(maxsize=4096)
def same(gold: str, given: str) -> bool:
    """Whether two expressions are the same by math-verify's rules (decimals to six places).

    Raises:
        MissingExtraError: math-verify is not installed.
        EvaluationError: it cannot be started.
    """
    if "".join(gold.split()) == "".join(given.split()):
        return True
    return is_safe(gold) and is_safe(given) and _ask({"gold": gold, "given": given}) is True


_lock = threading.Lock()
_server: tuple[int, subprocess.Popen[str]] | None = None


def _ask(request: dict[str, str]) -> Any:
    """The server's answer, or None if it ended over the request."""
    if importlib.util.find_spec("math_verify") is None:
        raise MissingExtraError("math-verify", "train", f"Reading the answer '{next(iter(request.values()))[:60]}'")
    with _lock:
        server = _started()
        assert server.stdin is not None and server.stdout is not None
        timer = threading.Timer(_PATIENCE, server.kill)
        timer.start()
        try:
            server.stdin.write(json.dumps(request) + "\n")
            server.stdin.flush()
            line = server.stdout.readline()
        except OSError:  # it ended
            line = ""
        finally:
            timer.cancel()
        if not line:
            _stop()
            return None
        return json.loads(line)["answer"]


def _started() -> subprocess.Popen[str]:
    global _server
    if _server is not None and _server[0] == os.getpid() and _server[1].poll() is None:
        return _server[1]
    command = module_command("autoselection.tasks.answers.math_server")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment,
    )
    assert process.stdout is not None and process.stderr is not None
    if process.stdout.readline().strip() != "ready":
        process.kill()
        reason = " ".join(process.stderr.read().split())[-300:]
        raise EvaluationError(
            f"math-verify, which reads mathematical answers, cannot be started: {reason or 'no reason given'}."
        )
    if _server is None:
        atexit.register(_stop)
    _server = (os.getpid(), process)
    return process


def _stop() -> None:
    global _server
    if _server is not None and _server[0] == os.getpid():
        process = _server[1]
        process.kill()
        with contextlib.suppress(OSError, ValueError):
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        process.wait()
    _server = None
