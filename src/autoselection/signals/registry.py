"""Which signals of a row's text exist: the built-in ones and those that other packages register as entry points."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from autoselection.errors import SignalError
from autoselection.plugins import has_members, load_entry_points
from autoselection.signals.builtin import BUILTIN_SIGNALS
from autoselection.signals.contract import Signal
from autoselection.signals.store import Shard
from autoselection.signals.table import SPECIAL_SIGNALS, TABLE_ARRAYS, column_signal
from autoselection.wording import suggestion

ENTRY_POINT_GROUP = "autoselection.signals"

#: Makes a signal from the options of the configuration; without any, the signal with its defaults.
Factory = Callable[..., Signal]

_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")


class SignalRegistry:
    """Signals by name, the built-in ones first."""

    def __init__(self, factories: Iterable[Factory] = BUILTIN_SIGNALS) -> None:
        self._factories: dict[str, Factory] = {}
        self._columns: dict[str, str] = {}
        for factory in factories:
            self.register(factory)

    def register(self, factory: Factory) -> None:
        """Add a signal by what makes it, most often its class.

        Raises:
            SignalError: it is no signal, or its name or one of its columns is taken or no plain name.
        """
        signal = factory()
        if not has_members(signal, Signal):
            raise SignalError(f"{signal!r} is not a signal: it must have the members of autoselection.signals.Signal.")
        name = signal.name
        for word in (name, *signal.columns):
            if not _NAME.match(word):
                raise SignalError(
                    f"The signal '{name}' uses the name '{word}': only letters, digits, '_', '-' and '.' are allowed."
                )
        if name in self._factories or name in SPECIAL_SIGNALS:
            raise SignalError(f"Two signals are called '{name}': rename the one that was added.")
        for column in signal.columns:
            owner = self._columns.get(column) or column_signal(column)
            if owner not in (None, name):
                raise SignalError(
                    f"The signals '{owner}' and '{name}' both have a column '{column}': rename that of the one added."
                )
        self._factories[name] = factory
        self._columns |= dict.fromkeys(signal.columns, name)

    def names(self) -> tuple[str, ...]:
        return tuple(self._factories)

    def signal_of_column(self, column: str) -> str | None:
        """The signal that yields ``column``, or None."""
        return self._columns.get(column)

    def make(self, name: str, options: Mapping[str, Any] | None = None) -> Signal:
        """The signal called ``name`` with ``options``.

        Raises:
            SignalError: there is no such signal, or it refuses the options.
        """
        if name not in self._factories:
            raise SignalError(f"There is no signal '{name}'{suggestion(str(name), self._factories)}")
        try:
            return self._factories[name](**(options or {}))
        except (TypeError, ValueError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise SignalError(f"The options of the signal '{name}' are wrong: {reason}.") from error


@lru_cache(maxsize=1)
def default_registry() -> SignalRegistry:
    """The built-in signals and the entry points of group ``autoselection.signals``.

    An entry point names a class of signals, or a function that makes one; it is called with the options that the
    configuration gives under ``signals.options``.

    Raises:
        SignalError: an entry point cannot be imported, or what it names is not a signal.
    """
    registry = SignalRegistry()
    for point, factory in load_entry_points(ENTRY_POINT_GROUP, "signal", SignalError):
        try:
            registry.register(factory)
        except (TypeError, ValueError) as error:
            raise SignalError(
                f"The signal '{point.name}' ({point.value}) cannot be made without options ({error}): "
                f"mend or uninstall the package that registers it."
            ) from error
    return registry


def signal_names() -> tuple[str, ...]:
    """All signals that ``autoselection score --signals`` knows, in the order in which they are computed."""
    return (*default_registry().names(), *SPECIAL_SIGNALS)


def checked(signal: Signal, shard: Shard, rows: int) -> Shard:
    """A signal's result in the form that the table wants: float32 columns of one value a row.

    Raises:
        SignalError: it has other columns than declared, or not one number a row.
    """
    arrays = {name: np.asarray(array) for name, array in shard.arrays.items()}
    if set(arrays) != set(signal.columns):
        raise SignalError(
            f"The signal '{signal.name}' returned the columns {', '.join(sorted(arrays)) or 'none'} but declares "
            f"{', '.join(signal.columns)}: mend the package that registers it."
        )
    for name, array in arrays.items():
        if name in TABLE_ARRAYS:
            continue
        if array.shape != (rows,) or array.dtype.kind not in "buif":
            raise SignalError(
                f"The signal '{signal.name}' returned an array of shape {array.shape} and type {array.dtype} as "
                f"'{name}' for {rows} rows; expected one number a row: mend the package that registers it."
            )
        arrays[name] = array.astype(np.float32)
    return Shard(arrays, shard.stats)
