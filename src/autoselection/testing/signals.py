"""The contract of signals (``autoselection.signals.contract``), tried on a small pool."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.pool import Pool, ingest
from autoselection.signals import (
    ScoreReport,
    Signal,
    SignalRegistry,
    SignalsConfig,
    load_table,
    score_pool,
)
from autoselection.signals.report import SignalReport
from autoselection.signals.store import SignalStore
from autoselection.signals.stored import StoredSignal
from autoselection.signals.unscored import UNKNOWN, reasons
from autoselection.tasks import TaskConfig

#: Rows with what signals stumble over: several turns, short, long and repeated responses, other scripts, code, equal texts.
ROWS: tuple[Mapping[str, Any], ...] = (
    {"messages": [("user", "What is 2 + 3?"), ("assistant", "2 + 3 = 5.")]},
    {"messages": [("system", "Be brief."), ("user", "Capital of Peru?"), ("assistant", "Lima.")]},
    {"messages": [("user", "Hi"), ("assistant", "Hello!"), ("user", "And now?"), ("assistant", "Now we talk.")]},
    {"messages": [("user", "Say nothing."), ("assistant", ".")]},
    {"messages": [("user", "Code, please?"), ("assistant", "So:\n```\na = 1\nprint(a)\n```\nDone.")]},
    {"messages": [("user", "日本の首都は？"), ("assistant", "東京です。")]},
    {"messages": [("user", "What is 2 + 3?"), ("assistant", "2 + 3 = 5.")]},
    {"messages": [("user", "What is 2 + 4?"), ("assistant", "2 + 4 = 6. " * 12)]},
    {"messages": [("user", "One."), ("user", "Two."), ("assistant", "Three.")]},
    {"messages": [("user", "e\u0301 or é?"), ("assistant", "Both 👍🏽.")]},
    {"messages": [("user", "Count, please."), ("assistant", " ".join(f"{n} {n * n}," for n in range(1000, 1150)))]},
)


def check_signal(
    kind: type[Signal],
    *,
    options: Mapping[str, Any] | None = None,
    rows: Sequence[Mapping[str, Any]] = ROWS,
    model: Path | str | None = None,
    sae: Path | str | None = None,
    tasks: Sequence[TaskConfig] = (),
    others: Sequence[type[Signal]] = (),
    tolerance: float = 1e-4,
) -> None:
    """Try a signal against its contract.

    It is registered beside the built-in ones and scored on a small pool, as ``autoselection score`` does: the result must
    be the declared columns with one number a row and arrays with one entry a row, the same each time, cached, and, of a
    ``rowwise`` signal, the same whatever rows stand beside a row, and when rows are appended. Rows without a score are
    counted by reason.

    Args:
        kind: the class.
        options: as users give them under ``signals.options``.
        rows: conversations, each ``{"messages": [(role, content), …]}``; at least three.
        model, sae, tasks: what the signal needs.
        others: signals of your package that this one is made from.
        tolerance: relative difference that other rows of a batch may make to a value.

    Raises:
        AssertionError: a rule is broken; the sentence names it.
        ValueError: ``rows`` holds what no pool takes.
        SignalError: the class cannot be registered, or something that it needs was not given.
    """
    registry = SignalRegistry()
    for one in (*others, kind):
        if one not in registry.kinds():
            registry.register(one)
    registry.options(kind.name, options)
    case = _Case(registry, kind, dict(options or {}), {"model": model, "sae": sae, "tasks": tasks}, tolerance)
    case.expect(isinstance(kind.version, int) and kind.version >= 1, "'version' is a whole number from 1 on")
    named = [{**row, "id": f"row {i}"} for i, row in enumerate(rows)]
    with tempfile.TemporaryDirectory() as folder:
        found = _values(case, named, Path(folder))
        _elsewhere(case, named, Path(folder), found)


@dataclass(frozen=True)
class _Case:
    """A signal and what it is computed from."""

    registry: SignalRegistry
    kind: type[Signal]
    options: Mapping[str, Any]
    given: Mapping[str, Any]
    tolerance: float

    @property
    def asked(self) -> tuple[str, ...]:
        return (self.kind.name,) if self.kind.asked_as is None else tuple(self.kind.asked_as)

    def score(self, pool: Pool) -> ScoreReport:
        # A plugin that is not installed is unknown to the configuration, whose validators know installed ones.
        config = SignalsConfig().model_copy(update={"options": {self.kind.name: self.options}})
        return score_pool(pool, config, signals=self.asked[:1], registry=self.registry, **self.given)

    def columns(self, pool: Pool) -> dict[str, Any]:
        """The columns of the signal, by name, float32[N]."""
        table = load_table(pool, keys=self.score(pool).keys, registry=self.registry)
        return {
            name: each for name, each in table.columns.items() if self.registry.signal_of_column(name) in self.asked
        }

    def values(self, pool: Pool) -> dict[str, Any]:
        """The columns, and what else the signal stores of each row, by name: arrays [N, …], sparse vectors made dense."""
        report, store = self.score(pool), SignalStore.of(pool)
        found = self.columns(pool)
        for signal in self.own(report):
            stored = store.open(signal.name, signal.key)
            if "indptr" in stored.arrays:
                found[f"the vectors of {signal.name}"] = _dense(stored)
            else:
                found |= {name: np.asarray(stored.arrays[name]) for name in self.kind.arrays if name in stored.arrays}
        return found

    def own(self, report: ScoreReport) -> list[SignalReport]:
        """Of what was scored the signals of this class."""
        return [signal for signal in report.signals if self.registry.kind_of_stored(signal.name) is self.kind]

    def expect(self, kept: bool, rule: str) -> None:
        """Raise AssertionError unless a rule was kept."""
        if not kept:
            raise AssertionError(f"The signal '{self.kind.name}' breaks a rule: {rule}.")

    def same(self, one: Mapping[str, Any], other: Mapping[str, Any], rule: str) -> None:
        self.expect(set(one) == set(other), f"{rule}, but the columns are others")
        for name, values in one.items():
            self.expect(values.shape == other[name].shape, f"{rule}, but '{name}' has another shape")
            alike = _alike(values, other[name], self.tolerance)
            wrong = np.flatnonzero(~alike.reshape(len(alike), -1).all(axis=1))
            self.expect(not len(wrong), f"{rule}, but '{name}' of row {wrong[:1].tolist()} differs")


def _values(case: _Case, rows: Sequence[Mapping[str, Any]], folder: Path) -> dict[str, Any]:
    """What is said of each row of a pool, once its form, its counts and the cache were looked at."""
    pool = _pool(rows, folder / "pool")
    if len(pool) != len(rows):
        raise ValueError(
            f"{len(rows) - len(pool)} of the rows to check are no rows of a pool: see autoselection ingest."
        )
    report = case.score(pool)
    own = case.own(report)
    case.expect(bool(own), "it is stored under its name")
    for signal in own:
        case.expect(_is_json(signal.params), f"'params' are JSON values, not {dict(signal.params)!r}")
        for name, missing in signal.missing.items():
            why = reasons(name, missing, signal.stats)
            counted = missing - why.get(UNKNOWN, 0)
            case.expect(
                UNKNOWN not in why,
                f"the {missing} rows without '{signal.called(name)}' are counted by reason in the shard's 'stats' "
                f"({counted} are)",
            )
    table = load_table(pool, keys=report.keys, registry=case.registry)
    columns = case.columns(pool)
    if columns:
        scored = any(not np.isnan(values).all() for values in columns.values())
        case.expect(scored, "some row has a score (give 'rows' that have one)")
    for name, values in columns.items():
        case.expect(values.shape == (len(rows),), f"'{name}' has one value a row, not the shape {values.shape}")
        case.expect(not np.isinf(values).any(), f"'{name}' is finite; a row without a score is NaN")
        missing = int(np.isnan(values).sum())
        counted = sum(table.unscored.get(name, {}).values())
        case.expect(counted in (missing, 0), f"the {missing} rows without '{name}' are counted ({counted} are)")
    case.expect(case.score(pool).cached, "what was computed once is found in the cache")
    return case.values(pool)


def _elsewhere(case: _Case, rows: Sequence[Mapping[str, Any]], folder: Path, found: Mapping[str, Any]) -> None:
    """The same rows in another pool, in another order, and appended to others."""
    case.same(found, case.values(_pool(rows, folder / "again")), "it computes the same each time")
    if case.kind.rowwise:
        turned = case.values(_pool(rows[::-1], folder / "turned"))
        turned = {name: each[::-1] for name, each in turned.items()}
        case.same(found, turned, "a row's value does not depend on the others ('rowwise')")
    half = len(rows) // 2
    case.score(_pool(rows[:half], folder / "grown"))
    grown = case.values(_pool(rows[half:], folder / "grown", append=True))
    case.same(found, grown, "appended rows get the values that they have in a pool made at once")


def _dense(stored: StoredSignal) -> NDArray[np.float64]:
    """Sparse vectors as float64[N, width], as wide as the largest index that occurs."""
    arrays = stored.arrays
    counts = np.diff(arrays["indptr"])
    dense = np.zeros((len(counts), int(arrays["indices"].max(initial=-1)) + 1))
    scale = np.asarray(arrays["scale"], np.float64) if "scale" in arrays else np.ones(len(counts))
    dense[np.repeat(np.arange(len(counts)), counts), arrays["indices"]] = arrays["values"] * np.repeat(scale, counts)
    return dense


def _alike(one: NDArray[Any], other: NDArray[Any], tolerance: float) -> NDArray[np.bool_]:
    """Where two arrays of one shape say the same: numbers that are whole, or no numbers, are equal."""
    if one.dtype.kind != "f":
        return np.asarray(one == other)
    return np.asarray(np.isclose(one, other, rtol=tolerance, atol=1e-6, equal_nan=True))


def _pool(rows: Sequence[Mapping[str, Any]], path: Path, append: bool = False) -> Pool:
    turns = [[{"role": role, "content": content} for role, content in row["messages"]] for row in rows]
    read = [{**row, "messages": each} for row, each in zip(rows, turns, strict=True)]
    return Pool.open(ingest(read, path, append=append).path)


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
