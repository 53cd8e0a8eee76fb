"""The signals of this package, each with what it computes. A new one is a class in a file here, and found."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from autoselection.signals.contract import Signal

#: Modules in the order in which their signals are shown, and computed where they cost alike; others follow by name.
_ORDER = (
    "text",
    "repetition",
    "syntax",
    "text_hash",
    "minhash",
    "trace_signals",
    "near_duplicates",
    "contamination",
    "embeddings",
    "contamination_cosine",
    "lm",
    "token_kinds",
    "sae",
    "mona",
    "reward",
    "trajectory",
)


def _signals_of(module: ModuleType) -> Iterator[type[Signal]]:
    """The signals that a module defines, in its order."""
    for found in vars(module).values():
        if isinstance(found, type) and issubclass(found, Signal) and found.__module__ == module.__name__:
            yield found


def _place(name: str) -> tuple[int, str]:
    return (_ORDER.index(name), name) if name in _ORDER else (len(_ORDER), name)


_MODULES = sorted((found.name for found in iter_modules(__path__)), key=_place)
BUILTIN_SIGNALS: tuple[type[Signal], ...] = tuple(
    kind for name in _MODULES for kind in _signals_of(import_module(f"{__name__}.{name}"))
)
