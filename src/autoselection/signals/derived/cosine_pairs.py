"""Rows similar by cosine: which row stands for each, and the pairs of such rows, within the pool or within clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.signals.derived.contract import Arrays, DerivedSignal
from autoselection.signals.derived.cosine import (
    cluster_edges,
    cosine_edges,
    equal_rows,
    feature_clusters,
    listable_floor,
    normalized,
    sampled,
)
from autoselection.signals.derived.memory import kept_with
from autoselection.signals.pairs import Edges, IntArray
from autoselection.signals.table import SignalTable

#: Lowest cosine similarities offered: similar pairs are listed once, from these on.
COSINE_FLOOR = 0.8
CLUSTER_FLOOR = 0.7


@dataclass(frozen=True, eq=False)
class SimilarRows:
    """Rows similar by cosine.

    Attributes:
        node: int32[N]: which row stands for each (equal ones are one node).
        edges: pairs of nodes from ``floor`` on.
    """

    node: NDArray[Any]
    edges: Edges
    floor: float


class _SimilarPairs(DerivedSignal):
    """Pairs of rows similar by cosine."""

    def find(self, table: SignalTable) -> tuple[IntArray, Edges, float]:
        """The node of each row, the pairs of nodes, and the lowest similarity listed."""
        raise NotImplementedError

    def build(self, table: SignalTable) -> Arrays:
        node, edges, floor = self.find(table)
        listed = {"left": edges.left, "right": edges.right, "similarity": edges.similarity}
        return {**listed, "node": node.astype(np.int32), "floor": np.array(floor)}

    def pairs(self, table: SignalTable) -> SimilarRows:
        """The pairs of a table."""
        arrays = self.of(table)
        edges = Edges(arrays["left"], arrays["right"], arrays["similarity"])
        return SimilarRows(arrays["node"], edges, float(arrays["floor"]))


class CosinePairs(_SimilarPairs):
    """All pairs of the pool from :data:`COSINE_FLOOR` on.

    Args:
        signal: ``sae`` (features) or ``embeddings``.
    """

    def __init__(self, signal: str) -> None:
        super().__init__(floor=COSINE_FLOOR)
        self.name = {"sae": "feature pairs", "embeddings": "sentence pairs"}[signal]
        self.version = {"sae": 1, "embeddings": 2}[signal]
        self.uses = (signal,)

    def find(self, table: SignalTable) -> tuple[IntArray, Edges, float]:
        vectors = unit_vectors(table, self.uses[0])
        node = same_rows(table, self.uses[0])
        nodes = np.flatnonzero(node == np.arange(len(node)))
        floor = listable(table, self.uses[0], COSINE_FLOOR)
        edges, floor = cosine_edges(vectors if len(nodes) == len(node) else vectors[nodes], floor)
        edges = Edges(nodes[edges.left].astype(np.int32), nodes[edges.right].astype(np.int32), edges.similarity)
        return node, edges, floor


class FeatureClusters(DerivedSignal):
    """``label``, int32[N]: cluster of each row by its SAE features; -1 for a row without any."""

    name = "clusters"
    uses = ("sae",)

    def __init__(self, clusters: int, seed: int) -> None:
        super().__init__(clusters=clusters, seed=seed)
        self.clusters, self.seed = clusters, seed

    def build(self, table: SignalTable) -> Arrays:
        unit = unit_vectors(table, "sae")
        return {"label": feature_clusters(unit, self.clusters, self.seed).astype(np.int32)}

    def labels(self, table: SignalTable) -> IntArray:
        """The clusters, int64[N]."""
        return self.of(table)["label"].astype(np.int64)


class ClusterPairs(_SimilarPairs):
    """All pairs within clusters of features, from :data:`CLUSTER_FLOOR` on."""

    name = "cluster pairs"
    uses = ("sae",)

    def __init__(self, clusters: FeatureClusters) -> None:
        super().__init__(**clusters.params, floor=CLUSTER_FLOOR)
        self._clusters = clusters

    def find(self, table: SignalTable) -> tuple[IntArray, Edges, float]:
        unit = unit_vectors(table, "sae")
        node = same_rows(table, "sae")
        label = np.where(node == np.arange(len(node)), self._clusters.labels(table), -1)
        return node, *cluster_edges(unit, label, CLUSTER_FLOOR)


def unit_vectors(table: SignalTable, signal: str) -> Any:
    """Unit rows: sparse ones of the features (``sae``), float32, or the embeddings as they are stored, float16 or float32."""
    if signal != "sae":
        return table.require_embeddings()
    return kept_with(table, "unit features", lambda: normalized(table.require_sae().to_scipy()))


def same_rows(table: SignalTable, signal: str) -> IntArray:
    """The lowest row with the same vector as each row, int64[N]."""
    return kept_with(table, ("same rows", signal), lambda: equal_rows(unit_vectors(table, signal)))


def listable(table: SignalTable, signal: str, floor: float) -> float:
    """The lowest cosine, ``floor`` or higher, from which on the pool has few enough similar pairs to list."""

    def find() -> float:
        rows = sampled(table.n)
        if signal == "sae":
            sample = normalized(table.require_sae().take(rows).to_scipy())
        else:
            sample = table.require_embeddings()[rows]
        return listable_floor(sample, table.n, floor)

    return kept_with(table, ("listable", signal, floor), find)
