"""Operators that drop rows too similar to an earlier row.

"Earlier" means earlier in the order given, so that after a filter (best first) the best-scored row of each group of
duplicates is the one kept. A row is compared with *kept* rows only: in a chain a~b~c with a, c unlike, b goes, c stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from autoselection.errors import SignalError
from autoselection.operators.artefacts import pool_artefact
from autoselection.operators.base import BaseOperator, Context, Note, Outcome, Param, Rows, has_signal, ranged
from autoselection.operators.similar import (
    COSINE_SLACK,
    Edges,
    IntArray,
    Mask,
    Signatures,
    cluster_edges,
    clusters_of,
    cosine_edges,
    cosine_keep,
    first_of_each,
    keep_first,
    normalized,
    spherical_kmeans,
)
from autoselection.signals.table import MinHashParams, SignalTable, how_to_get

#: Similar pairs are listed once for all thresholds from a multiple of this up to the next.
_FLOOR_STEP = 0.05
#: semdedup's clusters hold at least this many rows on average.
ROWS_PER_CLUSTER = 10

_SIGNAL_OF_STRATEGY = {"exact": "text_hash", "minhash": "minhash", "embedding": "sae"}


def _floor(threshold: float) -> float:
    return int(threshold / _FLOOR_STEP + 1e-9) * _FLOOR_STEP


def _unit_features(signals: SignalTable) -> Any:
    return pool_artefact(signals, "unit features", lambda: normalized(signals.require_sae().to_scipy()))


def _featureless(rows: Rows, signals: SignalTable) -> int:
    return int(np.count_nonzero(np.diff(signals.require_sae().indptr)[rows] == 0))


class SemanticDedup(BaseOperator):
    """Keep the first of each group of equal or similar rows.

    Strategies: ``exact`` compares the normalised text; ``minhash`` the Jaccard similarity of word n-grams, estimated by
    the share of equal values of two MinHash signatures; ``embedding`` the cosine of SAE features. All similar pairs are
    found: none is lost to hashing. A row without SAE features is similar to none and is kept, counted as missing.
    """

    name = "semantic_dedup"
    family = "dedup"
    summary = "drops rows equal or similar to an earlier one: same text, similar wording, or similar SAE features"
    order = "the order in which the rows were given; the first of each group of duplicates is kept"
    params: tuple[Param, ...] = (
        Param(
            "strategy",
            "choice",
            "minhash",
            choices=("exact", "minhash", "embedding"),
            searched=True,
            help="what is compared: normalised text, word n-grams, SAE features",
        ),
        Param(
            "jaccard_threshold",
            "float",
            0.8,
            low=0.5,
            high=0.99,
            searched=True,
            when=("strategy", ("minhash",)),
            help="estimated Jaccard similarity from which on rows are duplicates",
        ),
        Param("ngram_size", "int", 5, low=3, high=10, when=("strategy", ("minhash",)), help="words in an n-gram"),
        Param(
            "num_perm",
            "int",
            128,
            low=32,
            high=256,
            log=True,
            when=("strategy", ("minhash",)),
            help="values in a signature; its first ones serve a smaller number",
        ),
        Param(
            "cosine_threshold",
            "float",
            0.9,
            low=0.8,
            high=1.0,
            searched=True,
            when=("strategy", ("embedding",)),
            help="cosine similarity from which on rows are duplicates",
        ),
    )

    def needs(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        return (_SIGNAL_OF_STRATEGY[params.get("strategy", "minhash")],)

    def space(self, signals: SignalTable) -> tuple[Param, ...]:
        present = tuple(name for name, signal in _SIGNAL_OF_STRATEGY.items() if has_signal(signals, signal))
        if not present:
            return self.params
        default = "minhash" if "minhash" in present else present[0]
        return ranged(self.params, strategy={"choices": present, "default": default})

    def available(self, signals: SignalTable) -> bool:
        return any(has_signal(signals, signal) for signal in _SIGNAL_OF_STRATEGY.values())

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        signals = context.signals
        if params["strategy"] == "exact":
            return Outcome(rows[_exact(rows, signals)])
        if params["strategy"] == "minhash":
            signatures = _signatures(signals, params["ngram_size"], params["num_perm"])
            threshold = params["jaccard_threshold"]
            edges = _minhash_edges(signals, signatures, params["ngram_size"], threshold)
            return Outcome(rows[signatures.keep(rows, threshold, edges)], notes=_how(edges))
        unit = _unit_features(signals)
        threshold = params["cosine_threshold"]
        floor = _floor(threshold)
        edges = pool_artefact(signals, ("cosine", floor), lambda: cosine_edges(unit, floor))
        kept = cosine_keep(unit[rows], threshold) if edges is None else _keep_by(edges, rows, signals.n, threshold)
        return Outcome(rows[kept], missing=_featureless(rows, signals), notes=_how(edges))


def _how(edges: Edges | None) -> dict[str, Note]:
    return {"compared": "directly: the pool has too many similar pairs to list"} if edges is None else {}


def _exact(rows: Rows, signals: SignalTable) -> IntArray:
    hashes = signals.require_text_hash()

    def groups() -> IntArray:
        return np.unique(hashes, return_inverse=True)[1].reshape(-1).astype(np.int64)

    codes = pool_artefact(signals, "text groups", groups)
    return first_of_each(codes[rows], signals.n)[0]


def _keep_by(edges: Edges, rows: Rows, n: int, threshold: float) -> Mask:
    order = np.full(n, -1, np.int64)
    order[rows] = np.arange(len(rows))
    return keep_first(len(rows), *edges.at_least(threshold - COSINE_SLACK, order))


def _minhash_edges(signals: SignalTable, signatures: Signatures, ngram_size: int, threshold: float) -> Edges | None:
    floor = _floor(threshold)
    key = ("minhash edges", ngram_size, signatures.num_perm, floor)
    return pool_artefact(signals, key, lambda: signatures.edges(floor))


def _signatures(signals: SignalTable, ngram_size: int, num_perm: int) -> Signatures:
    """The pool's signatures: cached ones (their first values for fewer permutations), or made from the texts."""
    made = signals.minhash_params or MinHashParams()
    cached = signals.minhash
    if cached is not None and made.ngram_size == ngram_size and cached.shape[1] >= num_perm:
        values = cached
        return pool_artefact(
            signals,
            ("minhash", ngram_size, num_perm),
            lambda: Signatures.of(np.ascontiguousarray(values[:, :num_perm])),
        )
    if cached is None and signals.texts is None:
        raise SignalError(f"The pool has no MinHash signatures: {how_to_get('minhash')}")
    if signals.texts is None:
        width = 0 if cached is None else cached.shape[1]
        raise SignalError(
            f"The pool's MinHash signatures are for ngram_size {made.ngram_size} and num_perm {width}, and without its "
            f"texts none can be made for ngram_size {ngram_size} and num_perm {num_perm}: use the former, or score "
            f"the pool again with the latter."
        )
    texts = signals.texts

    def make() -> Signatures:
        from autoselection.signals.duplicates import minhash_signatures

        params = replace(made, ngram_size=ngram_size, num_perm=num_perm)
        return Signatures.of(minhash_signatures(texts(np.arange(signals.n, dtype=np.int64)), params))

    return pool_artefact(signals, ("minhash", ngram_size, num_perm), make)


class SemDeDup(BaseOperator):
    """Cluster the pool by SAE features, then drop rows similar to an earlier row of the same cluster.

    After Abbas et al. 2023 (SemDeDup), with one difference: the row kept of a group is the first in the order given,
    not the one farthest from the centroid. The clusters are those of the whole pool, whatever rows are given, so that
    a step before this one does not reshuffle them; they depend on ``num_clusters`` and the seed. ``num_clusters`` is
    clipped so that a cluster holds at least 10 rows on average. A row without SAE features is kept.
    """

    name = "semdedup"
    family = "dedup"
    summary = "clusters the SAE features and drops rows similar to an earlier one of their cluster"
    order = "the order in which the rows were given; the first of each group of duplicates is kept"
    randomized = True
    params: tuple[Param, ...] = (
        Param("num_clusters", "int", 1000, low=1, high=10_000, log=True, searched=True, help="k-means clusters"),
        Param(
            "cosine_threshold",
            "float",
            0.9,
            low=0.7,
            high=0.99,
            searched=True,
            help="cosine similarity from which on rows of a cluster are duplicates",
        ),
    )

    def needs(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        return ("sae",)

    def space(self, signals: SignalTable) -> tuple[Param, ...]:
        high = max(1, min(10_000, signals.n // ROWS_PER_CLUSTER))
        low = max(1, min(100, high // 10))
        return ranged(self.params, num_clusters={"low": low, "high": high, "default": min(1000, high)})

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        signals = context.signals
        unit = _unit_features(signals)
        clusters = max(1, min(params["num_clusters"], signals.n // ROWS_PER_CLUSTER))
        threshold = params["cosine_threshold"]
        floor = _floor(threshold)
        key = (clusters, context.seed)
        labels = pool_artefact(signals, ("clusters", *key), lambda: spherical_kmeans(unit, clusters, context.seed))
        edges = pool_artefact(signals, ("cluster edges", *key, floor), lambda: cluster_edges(unit, labels, floor))
        if edges is not None:
            kept = _keep_by(edges, rows, signals.n, threshold)
        else:
            kept = np.ones(len(rows), bool)
            for members in clusters_of(labels[rows]):
                kept[members] = cosine_keep(unit[rows[members]], threshold)
        notes: dict[str, Note] = {"clusters": clusters}
        if clusters < params["num_clusters"]:
            notes["num_clusters clipped from"] = params["num_clusters"]
        return Outcome(rows[kept], missing=_featureless(rows, signals), notes=notes | _how(edges))
