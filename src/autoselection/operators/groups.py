"""Groups of rows that a cut may be made in: sources, nearest tasks, clusters, tools called. Built once per signal table.

Codes are those of the whole pool: they do not depend on the rows a step is given.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import SignalError
from autoselection.signals.arrays import unit_rows
from autoselection.signals.derived.kmeans import spherical_kmeans
from autoselection.signals.derived.memory import kept_with
from autoselection.signals.families.mona import MONA_PREFIX
from autoselection.signals.families.traces import TOOL_NAMES
from autoselection.signals.registry import default_registry as signal_registry
from autoselection.signals.table import SignalTable

SCOPES = ("whole", "source", "task", "cluster", "tools")
MOST_CLUSTERS = 1024
ROWS_PER_CLUSTER = 10
"""Of about ``sqrt(N / ROWS_PER_CLUSTER)`` clusters."""
COLUMN = "column/"
"""Begins the scope of a column's values."""
MOST_VALUES = 1024
NO_VECTOR = "without a vector"
"""The last cluster: rows that have none."""
_SEED = 0
_ROUNDS = 15
_DIMENSIONS = 64

Codes = NDArray[np.int32]
Vectors = NDArray[np.float32]


def group_codes(signals: SignalTable, scope: str) -> tuple[Codes, tuple[str, ...]]:
    """The group of every row of the pool, int32[N], and the names of the groups.

    ``source``: its source. ``task``: the task with its highest MONA score, ties to the task first by name; rows without
    any score are a group of their own, the last. ``cluster``: see :func:`clusters`; rows without a vector likewise.
    ``tools``: the set of tools that it calls. ``whole``: one group. ``cluster/40``: clusters like ``cluster``, forty of them.
    ``column/NAME``: the values of a column of the signal table, in ascending order; rows without one are the last group.

    Raises:
        SignalError: the pool has no MONA scores, neither embeddings nor SAE features, no ``tool_names``, no such column, or
            one of more than 1,024 values.
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
        raise SignalError(f"The pool has no relevance scores for any task: {signal_registry().how_to_get('mona')}")
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
    values, codes = np.unique(signals.column(name), return_inverse=True)  # all NaN are one, the last
    if len(values) > MOST_VALUES:
        raise SignalError(
            f"Column '{name}' has {len(values):,} different values, and groups are made of at most {MOST_VALUES:,}: name one "
            "that holds kinds, or round it."
        )
    names = tuple("without a value" if np.isnan(value) else f"{value:.6g}" for value in values)
    return codes.reshape(-1).astype(np.int32), names


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
        raise SignalError(
            f"The pool has neither embeddings nor SAE features: {signal_registry().how_to_get('embeddings')}"
        )
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
