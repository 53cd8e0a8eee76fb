"""Which signals exist: the built-in ones and those that other packages register as entry points."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from autoselection.errors import SignalError
from autoselection.plugins import load_entry_points
from autoselection.signals.contract import Signal
from autoselection.signals.families import BUILTIN_SIGNALS
from autoselection.signals.inputs import Inputs
from autoselection.signals.needs import Need
from autoselection.signals.stored import Shard
from autoselection.validation import reason_of
from autoselection.wording import command_line, ended, suggestion

ENTRY_POINT_GROUP = "autoselection.signals"

_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")

#: A class of signals. (One of another package may be a function that makes them from options.)
Kind = type[Signal]


class SignalRegistry:
    """Classes of signals by name, the built-in ones first."""

    def __init__(self, kinds: Iterable[Kind] = BUILTIN_SIGNALS) -> None:
        self._kinds: dict[str, Kind] = {}
        self._asked: dict[str, str] = {}
        self._columns: dict[str, str] = {}
        for kind in kinds:
            self.register(kind)

    def register(self, kind: Kind) -> None:
        """Add a class of signals.

        Raises:
            SignalError: it is no signal, or its name or one of its columns is taken or no plain name.
        """
        if not isinstance(kind, type) or not issubclass(kind, Signal):
            raise SignalError(f"{kind!r} is no class of signals: derive it from autoselection.signals.Signal.")
        if not hasattr(kind, "name"):
            raise SignalError(f"{kind!r} is no class of signals: it has no 'name'.")
        name = kind.name
        _check_declared(kind)
        asked = {name: (*kind.columns, *kind.arrays)} if kind.asked_as is None else kind.asked_as
        columns = {column: owner for owner, owned in asked.items() for column in owned}
        for word in (name, *asked, *columns):
            if not isinstance(word, str) or not _NAME.match(word):
                raise SignalError(
                    f"The signal '{name}' uses the name '{word}': only letters, digits, '_', '-' and '.' are allowed."
                )
        if name in self._kinds or set(asked) & set(self._asked):
            raise SignalError(f"Two signals are called '{name}': rename the one that was added.")
        for column in columns:
            owner = self.signal_of_column(column)
            if owner is not None:
                raise SignalError(
                    f"The signals '{owner}' and '{name}' both have a column '{column}': rename that of the one added."
                )
        self._kinds[name] = kind
        self._asked |= dict.fromkeys(asked, name)
        self._columns |= columns

    def names(self) -> tuple[str, ...]:
        """What signals can be asked for by, in the order of registration."""
        return tuple(self._asked)

    def kinds(self) -> tuple[Kind, ...]:
        """All classes, in the order of registration."""
        return tuple(self._kinds.values())

    def kind(self, name: str) -> Kind:
        """The class that is asked for as ``name``.

        Raises:
            SignalError: there is none.
        """
        if name not in self._asked:
            raise SignalError(f"There is no signal '{name}'{suggestion(str(name), self._asked)}")
        return self._kinds[self._asked[name]]

    def kind_of_stored(self, name: str) -> Kind | None:
        """The class of a stored signal (of ``mona/gsm8k`` that of ``mona``); None if its package is not installed."""
        return self._kinds.get(name) or self._kinds.get(name.partition("/")[0])

    def signal_of_column(self, column: str) -> str | None:
        """What the signal is asked for by that yields ``column``, or None."""
        if column in self._columns:
            return self._columns[column]
        prefixed = (kind for kind in self._kinds.values() if column.startswith(kind.column_prefixes))
        return next((kind.name for kind in prefixed if kind.column_prefixes), None)

    def needs(self, name: str) -> tuple[Need, ...]:
        """What has to be given for a signal: what it needs itself, then what those need that it is made from."""
        kind = self.kind(name)
        found = [*kind.needs, *(need for other in kind.made_from for need in self.needs(other))]
        return tuple(dict.fromkeys(found))

    def users(self, option: str) -> frozenset[str]:
        """The signals that read what an option of ``autoselection score`` gives, such as ``--model``."""
        return frozenset(name for name in self.names() if self._reads(name, option))

    def rendered(self) -> frozenset[str]:
        """The signals for which rows are rendered by the chat template."""
        return frozenset(name for name in self.names() if any(need.renders for need in self._used(name)))

    def _reads(self, name: str, option: str) -> bool:
        return any(option in need.option.split(" ") for need in self._used(name))

    def _used(self, name: str) -> tuple[Need, ...]:
        return (*self.needs(name), *self.kind(name).may_use)

    def how_to_get(self, name: str, pool: Path | None = None) -> str:
        """The sentence that tells which command computes ``name``, of a pool where it is known."""
        needs = [need for need in self.needs(name) if need.option]
        options = "".join(f" {option}" for option in dict.fromkeys(need.option for need in needs))
        configured = " and ".join(need.configured for need in needs if need.configured)
        place = "POOL_DIR" if pool is None else command_line(pool)
        named = f", where CONFIG names {configured}" if configured else ""
        return f"run `autoselection score {place} --signals {name}{options}` first{named}."

    def obstacles(self, inputs: Inputs) -> dict[str, str]:
        """The signals that cannot be computed from what is given, each with the reason."""
        absent = {
            name: [need.absent for need in self.needs(name) if not need.is_given(inputs)] for name in self.names()
        }
        return {name: reasons[0] for name, reasons in absent.items() if reasons}

    def options(self, name: str, values: Mapping[str, Any] | None = None) -> Any:
        """The options of the class called ``name`` (as in the cache, or as it is asked for).

        Raises:
            SignalError: there is no such signal, or it refuses the options.
        """
        kind = self._kinds.get(name) or self.kind(name)
        try:
            return kind.options_model(**(values or {}))
        except ValidationError as error:
            detail = error.errors()[0]
            field = ".".join(map(str, detail["loc"]))
            reason = f"{field}{': ' if field else ''}{reason_of(detail)}"
            if detail["type"] == "extra_forbidden":
                known = kind.options_model.model_fields
                reason += suggestion(field, known) if known else "; it has no options"
            raise SignalError(f"The options of the signal '{name}' are wrong: {ended(reason)}") from error

    def ordered(self, names: Iterable[str]) -> Iterator[Kind]:
        """The classes asked for as ``names`` and all that they are made from: what is needed first, then by cost."""
        done: dict[str, Kind] = {}

        def add(kind: Kind) -> None:
            for other in kind.made_from:
                add(self.kind(other))
            done.setdefault(kind.name, kind)

        place = {name: number for number, name in enumerate(self._kinds)}
        asked = {self._asked[name] for name in names}
        for name in sorted(asked, key=lambda name: (self._kinds[name].cost, place[name])):
            add(self._kinds[name])
        return iter(done.values())


def _check_declared(kind: Kind) -> None:
    """See that what a class declares is of the right kind; SignalError names it."""
    lists = {"columns": str, "arrays": str, "made_from": str, "needs": Need, "may_use": Need}
    for member, wanted in lists.items():
        value = getattr(kind, member)
        if not isinstance(value, (tuple, list)) or not all(isinstance(one, wanted) for one in value):
            what = "names" if wanted is str else "needs (autoselection.signals.Need, such as BASE_MODEL)"
            raise SignalError(f"The signal '{kind.name}': '{member}' must be a tuple of {what}, not {value!r:.60}.")
    if not isinstance(kind.options_model, type) or not issubclass(kind.options_model, BaseModel):
        raise SignalError(
            f"The signal '{kind.name}': 'options_model' must be a pydantic model (autoselection.schema.StrictModel), "
            f"not {kind.options_model!r:.60}."
        )


@lru_cache(maxsize=1)
def default_registry() -> SignalRegistry:
    """The built-in signals and the entry points of group ``autoselection.signals``, each of which names a class.

    Raises:
        SignalError: an entry point cannot be imported, or what it names is not a signal.
    """
    registry = SignalRegistry()
    for _, kind in load_entry_points(ENTRY_POINT_GROUP, "signal", SignalError):
        registry.register(kind)
    return registry


def signal_names() -> tuple[str, ...]:
    """All signals that ``autoselection score --signals`` knows."""
    return default_registry().names()


def checked(signal: Signal, shard: Shard, rows: int) -> Shard:
    """A signal's result in the form that the table wants: float32 columns of one value a row.

    Raises:
        SignalError: it has other columns than declared, or not one number a row.
    """
    if not isinstance(shard, Shard):
        raise SignalError(
            f"The signal '{signal.name}' returned {type(shard).__name__} where a Shard of arrays by column was expected: "
            "mend the package that registers it."
        )
    arrays = {name: np.asarray(array) for name, array in shard.arrays.items()}
    declared = (*signal.columns, *signal.arrays)
    if set(arrays) != set(declared):
        raise SignalError(
            f"The signal '{signal.name}' returned the columns {', '.join(sorted(arrays)) or 'none'} but declares "
            f"{', '.join(declared)}: fix the package that registers it."
        )
    for name, array in arrays.items():
        if name in signal.arrays:
            if array.shape[:1] != (rows,):
                raise SignalError(
                    f"The signal '{signal.name}' returned an array of shape {array.shape} as '{name}' for {rows} rows; "
                    "expected one entry a row: fix the package that registers it."
                )
            continue
        if array.shape != (rows,) or array.dtype.kind not in "buif":
            raise SignalError(
                f"The signal '{signal.name}' returned an array of shape {array.shape} and type {array.dtype} as "
                f"'{name}' for {rows} rows; expected one number a row: fix the package that registers it."
            )
        arrays[name] = array.astype(np.float32)
    return Shard(arrays, shard.stats)
