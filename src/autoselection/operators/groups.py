"""Groups of rows that a cut may be made in: sources, nearest tasks, clusters, tools called. Built once per signal table.

Codes are those of the whole pool: they do not depend on the rows a step is given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import SignalError
from autoselection.signals.arrays import unit_rows
from autoselection.signals.derived.kmeans import spherical_kmeans
from autoselection.signals.derived.memory import kept_with
from autoselection.signals.families.mona import MONA_PREFIX
from autoselection.signals.families.traces import TOOL_NAMES
from autoselection.signals.table import SignalTable
from autoselection.wording import suggestion

if TYPE_CHECKING:
    from autoselection.pool import Pool

SCOPES = ("whole", "source", "task", "cluster", "tools")
MOST_CLUSTERS = 1024
ROWS_PER_CLUSTER = 10
"""Of about ``sqrt(N / ROWS_PER_CLUSTER)`` clusters."""
COLUMN = "column/"
"""Begins the scope of a column's values."""
MOST_VALUES = 1024
NO_VECTOR = "without a vector"
"""The last cluster: rows that have none."""
VECTORS: Mapping[str, tuple[str, ...]] = MappingProxyType({"embeddings": ("sae",)})
"""``stand_ins`` of an operator that reads :func:`pool_vectors`, or clusters."""
NO_VALUE = "without a value"
_BATCH = 1 << 15
_SEED = 0
_ROUNDS = 15
_DIMENSIONS = 64

#: Whether a value is no number, and the number: values are sorted by it before their names.
_Kind = tuple[bool, float]
Codes = NDArray[np.int32]
Vectors = NDArray[np.float32]


def group_codes(signals: SignalTable, scope: str) -> tuple[Codes, tuple[str, ...]]:
    """The group of every row of the pool, int32[N], and the names of the groups.

    ``source``: its source. ``task``: the task with its highest MONA score, ties to the task first by name; rows without
    any score are a group of their own, the last. ``cluster``: see :func:`clusters`; rows without a vector likewise.
    ``tools``: the set of tools that it calls. ``whole``: one group. ``cluster/40``: clusters like ``cluster``, forty of them.
    ``column/NAME``: the values of a column of the signal table, in ascending order, or else of the user's own column of the
    pool's rows (text, numbers, truth values; numbers first); rows without one are the last group. Whole numbers are called
    by all their digits (``20240101``), others by as many as it takes to tell them apart.

    Raises:
        SignalError: the pool has no MONA scores, neither embeddings nor SAE features, no ``tool_names``, no such column, or
            one of more than 1,024 values, or of lists or mappings.
    """
    if scope == "source":
        return signals.source, signals.source_names
    if scope == "whole":
        return np.zeros(signals.n, np.int32), ("whole",)
    if scope == "task":
        return kept_with(signals, ("groups", scope), lambda: _nearest_tasks(signals))
    if scope == "tools":
        return kept_with(signals, ("groups", scope), lambda: _sets_of_tools(signals))
    if scope.startswith(COLUMN):
        return kept_with(signals, ("groups", scope), lambda: _values(signals, scope.removeprefix(COLUMN)))
    count = int(scope.partition("/")[2] or number_of_clusters(signals.n))
    return kept_with(signals, ("groups", "cluster", count), lambda: _pool_clusters(signals, count))


def scopes_of(signals: SignalTable) -> tuple[str, ...]:
    """The scopes that are searched on a pool: ``task`` with MONA scores of two tasks, ``cluster`` with embeddings.

    Not ``tools``: most pools have too many sets of them, each of a few rows.
    """
    task = ("task",) if len(signals.tasks) > 1 else ()
    return ("whole", "source", *task, *(("cluster",) if signals.embeddings is not None else ()))


def _nearest_tasks(signals: SignalTable) -> tuple[Codes, tuple[str, ...]]:
    tasks = signals.tasks
    if not tasks:
        raise SignalError(f"The pool has no relevance scores for any task: {signals.how_to_get('mona')}")
    nearest = np.full(signals.n, len(tasks), np.int32)
    highest = np.full(signals.n, -np.inf, np.float32)
    for code, task in enumerate(tasks):
        scores = signals.column(MONA_PREFIX + task)
        better = (scores > highest) | ((nearest == len(tasks)) & ~np.isnan(scores))
        nearest[better] = code
        highest[better] = scores[better]
    return nearest, (*tasks, "without a score")


def _sets_of_tools(signals: SignalTable) -> tuple[Codes, tuple[str, ...]]:
    found, codes = np.unique(signals.column(TOOL_NAMES), return_inverse=True)
    return codes.reshape(-1).astype(np.int32), tuple("no call" if not name else f"tools {name:.0f}" for name in found)


def _values(signals: SignalTable, name: str) -> tuple[Codes, tuple[str, ...]]:
    if name not in signals.columns and signals.pool is not None:
        return _own_values(signals, signals.pool, name)
    values, codes = np.unique(signals.column(name), return_inverse=True)  # all NaN are one, the last
    _check_number(name, len(values))
    return codes.reshape(-1).astype(np.int32), tuple(map(_number_name, values))


def _own_values(signals: SignalTable, pool: Pool, name: str) -> tuple[Codes, tuple[str, ...]]:
    """Groups by a column that came with the user's rows."""
    places: dict[
        str, int
    ] = {}  # by name, in the order of their first row; a row's number is a place until all are known
    kinds: dict[str, _Kind] = {}
    known: set[str] = set()
    codes = np.empty(signals.n, np.int32)
    for start in range(0, signals.n, _BATCH):
        rows = np.arange(start, min(signals.n, start + _BATCH))
        for row, meta in zip(rows.tolist(), pool.metas(rows), strict=True):
            known.update(meta)
            label, kind = _label(name, meta.get(name))
            kinds.setdefault(label, kind)
            codes[row] = places.setdefault(label, len(places))
        _check_number(name, len(places), more=start + _BATCH < signals.n)
    if name not in known:
        found = (*sorted(known), *sorted(signals.columns))
        raise SignalError(
            f"The pool's rows have no column '{name}', and there is no signal of that name{suggestion(name, found)}"
            if found
            else f"The pool's rows have no column '{name}': they have no columns of their own, and the pool has no signals."
        )
    order = sorted(places, key=lambda label: (label == NO_VALUE, *kinds[label], label))
    place = np.empty(len(order), np.int32)
    place[[places[label] for label in order]] = np.arange(len(order), dtype=np.int32)
    return place[codes], tuple(order)


def _label(column: str, value: Any) -> tuple[str, _Kind]:
    """The name of a value's group, and what groups are sorted by before their names: numbers first, by size."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NO_VALUE, (True, 0.0)
    if isinstance(value, bool):
        return str(value).lower(), (True, 0.0)
    if isinstance(value, (int, float)):
        return _number_name(value), (False, value)
    if isinstance(value, str):
        return value, (True, 0.0)
    what = "lists" if isinstance(value, list) else "mappings"
    raise SignalError(
        f"Column '{column}' of the pool's rows holds {what}, and groups are made of text, numbers or truth values: name "
        "another column, or write one value a row."
    )


def _number_name(value: float | np.float32) -> str:
    """Whole numbers in full, others in the fewest digits that tell them from their neighbours; equal numbers alike."""
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return NO_VALUE
    return str(int(value)) if value.is_integer() else str(value)


def _check_number(name: str, count: int, more: bool = False) -> None:
    if count > MOST_VALUES:
        raise SignalError(
            f"Column '{name}' has {'at least ' * more}{count:,} different values, and groups are made of at most "
            f"{MOST_VALUES:,}: name one that holds kinds, or round it."
        )


def number_of_clusters(rows: int) -> int:
    """``sqrt(rows / 10)`` rounded to a power of two, from 2 to 1,024: nearby pool sizes share a number."""
    power = round(math.log2(max(1.0, math.sqrt(rows / ROWS_PER_CLUSTER))))
    return int(min(MOST_CLUSTERS, max(2, 2**power)))


def _pool_clusters(signals: SignalTable, count: int) -> tuple[Codes, tuple[str, ...]]:
    labels = clusters(pool_vectors(signals), count)
    found = int(labels.max(initial=-1)) + 1
    labels[labels < 0] = found
    return labels, (*(f"cluster {code}" for code in range(found)), NO_VECTOR)


def pool_vectors(signals: SignalTable) -> Vectors:
    """Unit vectors of all rows, float32[N, d]; NaN for a row without one. Kept while the table lives.

    The sentence embeddings; without them the SAE features after a seeded Gaussian projection to 64 dimensions, which
    keeps cosines to within about 0.1 (Johnson and Lindenstrauss) and makes them dense.

    Raises:
        SignalError: the pool has neither.
    """
    return kept_with(signals, "vectors", lambda: _vectors(signals))


def _vectors(signals: SignalTable) -> Vectors:
    if signals.embeddings is not None:
        return unit_rows(np.asarray(signals.embeddings, np.float32))
    if signals.sae is None:
        raise SignalError(f"The pool has neither embeddings nor SAE features: {signals.how_to_get('embeddings')}")
    matrix = signals.sae.to_scipy()
    rng = np.random.default_rng(_SEED)
    if matrix.shape[1] > _DIMENSIONS:
        return unit_rows(np.asarray(matrix @ rng.standard_normal((matrix.shape[1], _DIMENSIONS), dtype=np.float32)))
    return unit_rows(matrix.toarray())


def clusters(unit: Vectors, count: int, seed: int = _SEED) -> Codes:
    """Cluster of each unit row by k-means on the sphere (Dhillon and Modha 2001), int32[N]; -1 for a row of NaN.

    See :func:`~autoselection.signals.derived.kmeans.spherical_kmeans`; 15 rounds. Clusters are numbered by their smallest row.
    """
    labels = np.full(len(unit), -1, np.int32)
    filled = np.flatnonzero(~np.isnan(unit[:, 0])) if unit.shape[1] else np.zeros(0, np.int64)
    if len(filled) == 0:
        return labels
    points = unit if len(filled) == len(unit) else unit[filled]
    found = spherical_kmeans(points, count, np.random.default_rng([seed, count]), rounds=_ROUNDS)
    _, first, renumbered = np.unique(found, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    labels[filled] = rank[renumbered.reshape(-1)]
    return labels
