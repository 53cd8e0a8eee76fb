"""The process behind ``mathematics``: requests and answers are lines of JSON; limits end it rather than the caller."""

from __future__ import annotations

import json
import logging
import signal
import sys
from typing import Any

#: One request: seconds of computing (not of waiting, so that a busy machine changes no answer), bytes of memory.
_SECONDS = 2.0
_BYTES = 4 << 30


def _limit() -> None:
    try:
        import resource
    except ImportError:  # Windows: the caller's patience is the only limit
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = _BYTES if hard == resource.RLIM_INFINITY else min(_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _clock(seconds: float) -> None:
    """End this process after seconds of computing, even inside of C code: the signal's default is to end it."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _parsed(latex: str) -> Any:
    from math_verify import LatexExtractionConfig, parse

    settings = [LatexExtractionConfig(boxed_match_priority=0)]
    found = parse(f"\\boxed{{{latex}}}", settings, fallback_mode="no_fallback", parsing_timeout=None)
    return found[0] if found else None


def _value(latex: str) -> str | None:
    """Numerator and denominator of an expression's exact value, in hexadecimal digits (which are read in no time)."""
    from sympy import Basic, Float, Rational, simplify

    parsed = _parsed(latex.replace("*", "\\cdot "))
    if not isinstance(parsed, Basic) or parsed.free_symbols:
        return None
    exact = parsed.xreplace({number: Rational(str(number)) for number in parsed.atoms(Float)}).doit()
    exact = exact if exact.is_Rational else simplify(exact)
    return f"{exact.p:x}/{exact.q:x}" if exact.is_Rational and exact.is_finite else None


def _same(gold: str, given: str) -> bool:
    from math_verify import verify

    parsed = [_parsed(latex.replace("*", "\\cdot ")) for latex in (gold, given)]
    if (
        any(entry is None for entry in parsed)
        or len({frozenset(getattr(entry, "free_symbols", ())) for entry in parsed}) > 1
    ):
        return False
    return bool(verify(parsed[0], parsed[1], timeout_seconds=None))


def _answer(request: dict[str, str]) -> str | bool | None:
    try:
        return _value(request["value"]) if "value" in request else _same(request["gold"], request["given"])
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError):
        return None  # SymPy cannot make anything of it; any other error ends this process, which says the same


def main() -> None:
    """Answer requests until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller decides
    logging.disable(logging.CRITICAL)
    import latex2sympy2_extended  # noqa: F401 - what takes long, before the first request
    import math_verify  # noqa: F401

    _limit()
    sys.setrecursionlimit(3000)
    print("ready", flush=True)
    for line in sys.stdin:
        _clock(_SECONDS)
        answer = _answer(json.loads(line))
        _clock(0)
        print(json.dumps({"answer": answer}), flush=True)


if __name__ == "__main__":
    main()
