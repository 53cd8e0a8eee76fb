"""Operators that drop rows too similar to an earlier row.

"Earlier" means earlier in the order given, so that after a filter (best first) the best-scored row of each group of
duplicates is the one kept. A row is compared with *kept* rows only: in a chain a~b~c with a, c unlike, b goes, c stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import SignalError
from autoselection.operators.artefacts import Arrays, pool_artefact, stored_artefact
from autoselection.operators.base import BaseOperator, Context, Note, Outcome, Rows, has_signal
from autoselection.operators.cosine_pairs import (
    COSINE_SLACK,
    EDGE_LIMIT,
    cluster_edges,
    clusters_of,
    cosine_edges,
    cosine_keep,
    equal_rows,
    feature_clusters,
    first_of_each,
    keep_by_edges,
    listable_floor,
    normalized,
    sampled,
)
from autoselection.operators.param import Param, ranged
from autoselection.operators.phrases import number
from autoselection.signals.arrays import MinHashParams
from autoselection.signals.pairs import Edges, IntArray, NearDuplicates
from autoselection.signals.registry import default_registry as signal_registry
from autoselection.signals.table import SignalTable

#: semdedup's clusters hold at least this many rows on average.
ROWS_PER_CLUSTER = 10
#: Lowest cosine similarities offered: similar pairs are listed once, from these on.
COSINE_FLOOR = 0.8
CLUSTER_FLOOR = 0.7
_COSINE = 0.9
#: In larger pools all pairs of rows are compared only where a recipe says so, and not in a search: it takes hours.
ALL_PAIRS_ROWS = 200_000
#: Raised whenever the pairs or clusters of the same features change.
_VERSION = 1
#: Raised whenever other texts count as the same.
_TEXT_VERSION = 2
#: Rows whose texts are in memory at once.
_TEXTS = 1 << 16

_BY_COSINE = ("embedding", "sentence")
_SIGNAL_OF_STRATEGY = {"exact": "text_hash", "minhash": "minhash", "embedding": "sae", "sentence": "embeddings"}


@dataclass(frozen=True, eq=False)
class _Similar:
    """Rows similar by cosine: which row stands for each (equal ones are one node), and pairs of nodes from ``floor`` on."""

    node: NDArray[Any]
    edges: Edges
    floor: float

    @classmethod
    def stored(
        cls,
        signals: SignalTable,
        name: str,
        params: Mapping[str, Any],
        needs: str,
        find: Callable[[], tuple[IntArray, Edges, float]],
    ) -> _Similar:
        def build() -> Arrays:
            node, edges, floor = find()
            return _edge_arrays(edges) | {"node": node.astype(np.int32), "floor": np.array(floor)}

        arrays = stored_artefact(signals, name, params, build, version=_VERSION, needs=(needs,))
        return cls(arrays["node"], _edges_from(arrays), float(arrays["floor"]))

    def note(self, threshold: float) -> dict[str, Note]:
        if threshold >= self.floor - COSINE_SLACK:
            return {}
        return {"compared": f"directly: the pool has too many pairs more similar than {self.floor:g} to list"}


def _edge_arrays(edges: Edges) -> dict[str, NDArray[Any]]:
    return {"left": edges.left, "right": edges.right, "similarity": edges.similarity}


def _edges_from(arrays: Arrays) -> Edges:
    return Edges(arrays["left"], arrays["right"], arrays["similarity"])


def _unit_features(signals: SignalTable) -> Any:
    return pool_artefact(signals, "unit features", lambda: normalized(signals.require_sae().to_scipy()))


def _featureless(rows: Rows, signals: SignalTable) -> int:
    return int(np.count_nonzero(np.diff(signals.require_sae().indptr)[rows] == 0))


class SemanticDedup(BaseOperator):
    """Keep the first of each group of equal or similar rows.

    Strategies: ``exact`` compares the text itself: case, blanks and indentation count, all but Unicode form (NFC), the
    kind of line ends and blanks at the ends of lines; ``minhash`` the Jaccard similarity of n-grams of words and symbols,
    whose case and blanks do not count; ``embedding`` the cosine of SAE features, ``sentence`` that of sentence embeddings. The pool's similar pairs are found once and
    stored. With ``minhash``, pairs are found by the signal near_duplicates: with the recall that ``score`` was given
    (0.95 at a Jaccard similarity of 0.5 by default, nearly 1 from 0.7 on), and the similarity is that of the sets of
    n-grams, not an estimate; a pool without texts is compared by its signatures. All pairs by cosine are found; where a
    pool has too many to list, the searched range of ``cosine_threshold`` starts where they can be, and in pools of more
    than 200,000 rows ``embedding`` and ``sentence`` are not searched. A row without SAE features or embedding is similar
    to none and is kept, counted as missing.

    ``part`` says which text ``exact`` and ``minhash`` compare: the whole row, the ``prompt`` (the user's turns; a system
    message, which whole sources share, is left out) or the ``response`` (the assistant's turns). A row in which that part
    is empty is similar to none and is kept, counted as missing. A part's pairs are found from the pool's texts when a
    recipe first asks for them, with a recall of 0.95 at 0.5, and stored; no signal is needed.
    """

    name = "semantic_dedup"
    family = "dedup"
    summary = "drops rows equal or similar to an earlier one: same text, similar wording, similar features or meaning"
    order = "the order in which the rows were given; the first of each group of duplicates is kept"
    params: tuple[Param, ...] = (
        Param(
            "strategy",
            "choice",
            "minhash",
            choices=("exact", "minhash", "embedding", "sentence"),
            searched=True,
            help="what is compared: the text, n-grams of words and symbols, SAE features, sentence embeddings",
        ),
        Param(
            "jaccard_threshold",
            "float",
            0.8,
            low=0.5,
            high=0.99,
            searched=True,
            when=("strategy", ("minhash",)),
            help="Jaccard similarity from which on rows are duplicates",
        ),
        Param(
            "ngram_size",
            "int",
            5,
            low=3,
            high=10,
            when=("strategy", ("minhash",)),
            help="words and symbols in an n-gram",
        ),
        Param(
            "num_perm",
            "int",
            128,
            low=32,
            high=256,
            log=True,
            when=("strategy", ("minhash",)),
            help="values of a signature that are compared in a pool without texts; no effect with texts",
        ),
        Param(
            "part",
            "choice",
            "row",
            choices=("row", "prompt", "response"),
            when=("strategy", ("exact", "minhash")),
            implicit=True,
            help="the text compared: all turns of the row, or those of one side",
        ),
        Param(
            "cosine_threshold",
            "float",
            _COSINE,
            low=COSINE_FLOOR,
            high=1.0,
            searched=True,
            when=("strategy", _BY_COSINE),
            help="cosine similarity from which on rows are duplicates",
        ),
    )

    def needs(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        made = MinHashParams().ngram_size
        if params.get("part", "row") != "row" or params.get("ngram_size", made) != made:
            return ()  # read from the pool's texts, as are n-grams of another length than the signatures'
        return (_SIGNAL_OF_STRATEGY[params.get("strategy", "minhash")],)

    def space(self, signals: SignalTable) -> tuple[Param, ...]:
        present = tuple(name for name, signal in _SIGNAL_OF_STRATEGY.items() if has_signal(signals, signal))
        if signals.n > ALL_PAIRS_ROWS:
            present = tuple(name for name in present if name not in _BY_COSINE) or present
        if not present:
            return self.params
        default = "minhash" if "minhash" in present else present[0]
        vectors = [_SIGNAL_OF_STRATEGY[name] for name in present if name in _BY_COSINE]
        low = min((_listable(signals, signal, COSINE_FLOOR) for signal in vectors), default=COSINE_FLOOR)
        return ranged(
            self.params,
            strategy={"choices": present, "default": default},
            cosine_threshold={"low": low, "default": max(low, _COSINE)},
        )

    def available(self, signals: SignalTable) -> bool:
        return any(has_signal(signals, signal) for signal in _SIGNAL_OF_STRATEGY.values())

    def phrases(self, params: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
        found = [str(params["strategy"])]
        for name, word in (("jaccard_threshold", "Jaccard"), ("cosine_threshold", "cosine")):
            if params.get(name) is not None:
                found.append(f"{word} {number(params[name])}")
        for name, default, words in (
            ("ngram_size", 5, "-grams"),
            ("num_perm", 128, " permutations"),
            ("part", "row", "s"),
        ):
            if params.get(name, default) != default:
                found.append(f"{params[name]}{words}")
        return found

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        signals = context.signals
        part = params.get("part", "row")
        if part != "row":
            return _by_part(rows, signals, part, params)
        if params["strategy"] == "exact":
            return Outcome(rows[_exact(rows, signals)])
        if params["strategy"] == "minhash":
            near = _near(signals, params["ngram_size"], params["num_perm"])
            kept = keep_by_edges(rows, near.node, near.edges, params["jaccard_threshold"])
            return Outcome(rows[kept], notes=_near_notes(near))
        if params["strategy"] == "sentence":
            return _by_cosine(rows, signals, params["cosine_threshold"], "sentence pairs", "embeddings")
        return _by_cosine(rows, signals, params["cosine_threshold"], "feature pairs", "sae")


def _exact(rows: Rows, signals: SignalTable) -> IntArray:
    hashes = signals.require_text_hash()

    def build() -> Arrays:
        groups = np.unique(hashes, return_inverse=True)[1].reshape(-1)
        return {"group": groups.astype(np.int32)}

    codes = stored_artefact(signals, "text groups", {}, build, version=_VERSION, needs=("text_hash",))["group"]
    return first_of_each(codes[rows], signals.n)[0]


def _by_part(rows: Rows, signals: SignalTable, part: str, params: Mapping[str, Any]) -> Outcome:
    """Deduplication by the prompts or the responses alone."""
    if params["strategy"] == "exact":
        groups = _part_groups(signals, part)
        kept = first_of_each(groups["group"][rows], signals.n)[0]
        return Outcome(rows[kept], missing=int(np.count_nonzero(groups["absent"][rows])))
    near, absent = _part_pairs(signals, part, params["ngram_size"])
    mask = keep_by_edges(rows, near.node, near.edges, params["jaccard_threshold"])
    return Outcome(rows[mask], missing=int(np.count_nonzero(absent[rows])), notes=_near_notes(near))


def _part_groups(signals: SignalTable, part: str) -> Arrays:
    """``group``, int32[N]: equal for rows with the same part, one of its own where it is empty (``absent``)."""
    fetch = signals.require_parts(part)

    def build() -> Arrays:
        from autoselection.signals.families.text_hash import text_hashes

        hashes = np.empty(signals.n, np.uint64)
        absent = np.empty(signals.n, bool)
        for block in _blocks(signals.n):
            texts = fetch(block)
            hashes[block] = text_hashes(texts)
            absent[block] = [not text.strip() for text in texts]
        group = np.empty(signals.n, np.int32)
        group[~absent] = np.unique(hashes[~absent], return_inverse=True)[1].reshape(-1)
        group[absent] = int(group[~absent].max(initial=-1)) + 1 + np.arange(np.count_nonzero(absent))
        return {"group": group, "absent": absent}

    return stored_artefact(signals, "part groups", {"part": part}, build, version=_TEXT_VERSION, needs=())


def _part_pairs(signals: SignalTable, part: str, ngram_size: int) -> tuple[NearDuplicates, NDArray[np.bool_]]:
    """The near duplicates by one part of the rows, and the rows in which it is empty: they are similar to none."""
    from autoselection.signals.families.near_duplicates import DEFAULT_RECALL, JACCARD_FLOOR, VERSION, near_duplicates

    fetch = signals.require_parts(part)
    made = replace(MinHashParams(), ngram_size=ngram_size)

    def build() -> Arrays:
        from autoselection.signals.families.minhash import minhash_signatures

        signatures = np.empty((signals.n, made.num_perm), np.uint32)
        absent = np.empty(signals.n, bool)
        for block in _blocks(signals.n):
            texts = fetch(block)
            signatures[block] = minhash_signatures(texts, made)
            absent[block] = [not text.strip() for text in texts]
        found = near_duplicates(signatures, fetch, ngram_size)
        node = np.where(absent, np.arange(signals.n, dtype=np.int32), found.node)
        facts = np.array([found.stats["pairs_not_compared"], found.recall])
        return _edge_arrays(found.edges) | {"node": node, "facts": facts, "absent": absent}

    params = {"part": part, "ngram_size": ngram_size, "recall": DEFAULT_RECALL, "seed": made.seed, "finder": VERSION}
    arrays = stored_artefact(signals, "part pairs", params, build, version=_VERSION, needs=())
    skipped, recall = arrays["facts"].tolist()
    stats = {"pairs_not_compared": int(skipped)}
    edges = _edges_from(arrays)
    return NearDuplicates(arrays["node"], edges, ngram_size, JACCARD_FLOOR, recall, True, stats), arrays["absent"]


def _blocks(rows: int) -> Iterator[IntArray]:
    """Consecutive row numbers, so many that their texts are held in memory at once."""
    for start in range(0, rows, _TEXTS):
        yield np.arange(start, min(start + _TEXTS, rows))


def _by_cosine(rows: Rows, signals: SignalTable, threshold: float, name: str, signal: str) -> Outcome:
    def unit() -> Any:
        return _unit_features(signals) if signal == "sae" else signals.require_embeddings()

    def find() -> tuple[IntArray, Edges, float]:
        vectors = unit()
        node = equal_rows(vectors)
        nodes = np.flatnonzero(node == np.arange(len(node)))
        edges, floor = cosine_edges(vectors if len(nodes) == len(node) else vectors[nodes], COSINE_FLOOR)
        edges = Edges(nodes[edges.left].astype(np.int32), nodes[edges.right].astype(np.int32), edges.similarity)
        return node, edges, floor

    absent = _featureless(rows, signals) if signal == "sae" else _unembedded(rows, signals)
    similar = _Similar.stored(signals, name, {"floor": COSINE_FLOOR}, signal, find)
    if threshold < similar.floor - COSINE_SLACK:
        kept = cosine_keep(unit()[rows], threshold)
    else:
        kept = keep_by_edges(rows, similar.node, similar.edges, threshold - COSINE_SLACK)
    return Outcome(rows[kept], missing=absent, notes=similar.note(threshold))


def _listable(signals: SignalTable, signal: str, floor: float) -> float:
    """The lowest cosine searched, ``floor`` or higher: below it the pool has too many similar pairs to list."""

    def find() -> float:
        rows = sampled(signals.n)
        if signal == "sae":
            sample = normalized(signals.require_sae().take(rows).to_scipy())
        else:
            sample = signals.require_embeddings()[rows]
        return listable_floor(sample, signals.n, floor)

    return pool_artefact(signals, ("listable", signal, floor), find)


def _unembedded(rows: Rows, signals: SignalTable) -> int:
    return int(np.count_nonzero(np.isnan(signals.require_embeddings()[rows, 0])))


def _near_notes(near: NearDuplicates) -> dict[str, Note]:
    notes: dict[str, Note] = {}
    if near.recall < 1:
        notes[f"expected recall at {near.floor:g}"] = near.recall
    if not near.exact:
        notes["compared"] = "by signatures: the pool's texts were not given"
    if near.stats.get("pairs_not_compared"):
        notes["pairs not compared (groups too large)"] = near.stats["pairs_not_compared"]
    return notes


def _near(signals: SignalTable, ngram_size: int, num_perm: int) -> NearDuplicates:
    """The pool's near duplicates: scored ones, those found earlier for these n-grams, or found now and stored."""
    from autoselection.signals.families.near_duplicates import DEFAULT_RECALL, JACCARD_FLOOR, VERSION, near_duplicates

    scored = signals.near_duplicates
    if scored is not None and scored.ngram_size == ngram_size:
        return scored
    made = signals.minhash_params or MinHashParams()
    texts = signals.texts
    signatures = signals.minhash if made.ngram_size == ngram_size else None
    if texts is None:
        signatures = _few(signals, ngram_size, num_perm)

    def build() -> Arrays:
        from autoselection.signals.families.minhash import minhash_signatures

        values = signatures
        if values is None:
            assert texts is not None
            values = minhash_signatures(texts(np.arange(signals.n)), replace(made, ngram_size=ngram_size))
        found = near_duplicates(values, texts, ngram_size)
        facts = np.array([found.stats["pairs_not_compared"], found.recall])
        return _edge_arrays(found.edges) | {"node": found.node, "facts": facts}

    params = {"ngram_size": ngram_size, "recall": DEFAULT_RECALL, "seed": made.seed, "finder": VERSION}
    if texts is None:
        params["num_perm"] = num_perm
    needs = () if signatures is None else ("minhash",)
    arrays = stored_artefact(signals, "near_duplicates", params, build, version=_VERSION, needs=needs)
    skipped, recall = arrays["facts"].tolist()
    exact, stats = texts is not None, {"pairs_not_compared": int(skipped)}
    return NearDuplicates(arrays["node"], _edges_from(arrays), ngram_size, JACCARD_FLOOR, recall, exact, stats)


def _few(signals: SignalTable, ngram_size: int, num_perm: int) -> NDArray[np.uint32]:
    """The first ``num_perm`` values of the signatures of a pool without texts."""
    made = signals.minhash_params or MinHashParams()
    cached = signals.minhash
    if cached is None:
        raise SignalError(f"The pool has no MinHash signatures: {signal_registry().how_to_get('minhash')}")
    if made.ngram_size != ngram_size or cached.shape[1] < num_perm:
        raise SignalError(
            f"The pool's MinHash signatures are for ngram_size {made.ngram_size} and num_perm {cached.shape[1]}, and "
            f"without its texts none can be made for ngram_size {ngram_size} and num_perm {num_perm}: use the former, "
            f"or score the pool again with the latter."
        )
    return np.ascontiguousarray(cached[:, :num_perm])


def cluster_count(asked: int, rows: int) -> int:
    """The number of clusters used: 1, 2 or 5 times a power of ten, the nearest that leaves 10 rows a cluster."""
    most = max(1, rows // ROWS_PER_CLUSTER)
    grid = [step * count for count in (1, 10, 100, 1000, 10_000) for step in (1, 2, 5) if step * count <= most]
    nearest: int = min(grid, key=lambda count: (abs(math.log(count / asked)), count))
    return nearest


class SemDeDup(BaseOperator):
    """Cluster the pool by SAE features, then drop rows similar to an earlier row of the same cluster.

    After Abbas et al. 2023 (SemDeDup), with one difference: the row kept of a group is the first in the order given,
    not the one farthest from the centroid. The clusters are those of the whole pool, whatever rows are given, so that
    a step before this one does not reshuffle them; they depend on ``num_clusters`` and the seed. ``num_clusters`` is
    moved to the nearest of 1, 2, 5, 10, 20, … that leaves at least 10 rows a cluster on average, so that few clusterings
    serve a whole search; clusterings and their similar pairs are stored. Where most rows share their features, clusters
    too large to list their pairs are not searched. A row without SAE features is kept.
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
            _COSINE,
            low=CLUSTER_FLOOR,
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
        if has_signal(signals, "sae") and _listable(signals, "sae", CLUSTER_FLOOR) > CLUSTER_FLOOR:
            # Rows that share most features are similar wherever they are: only small clusters have few enough pairs.
            low = min(high, max(low, signals.n**2 // EDGE_LIMIT))
        default = max(low, min(1000, high))
        return ranged(self.params, num_clusters={"low": low, "high": high, "default": default})

    def phrases(self, params: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
        return [f"cosine {number(params['cosine_threshold'])}", f"{params['num_clusters']:,} clusters"]

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        signals = context.signals
        clusters = cluster_count(params["num_clusters"], signals.n)
        threshold = params["cosine_threshold"]
        facts = {"clusters": clusters, "seed": context.seed}

        def cluster() -> Arrays:
            return {"label": feature_clusters(_unit_features(signals), clusters, context.seed).astype(np.int32)}

        def labels() -> IntArray:
            stored = stored_artefact(signals, "clusters", facts, cluster, version=_VERSION, needs=("sae",))
            return stored["label"].astype(np.int64)

        def find() -> tuple[IntArray, Edges, float]:
            unit = _unit_features(signals)
            node = equal_rows(unit)
            label = np.where(node == np.arange(len(node)), labels(), -1)
            return node, *cluster_edges(unit, label, CLUSTER_FLOOR)

        similar = _Similar.stored(signals, "cluster pairs", facts | {"floor": CLUSTER_FLOOR}, "sae", find)
        if threshold >= similar.floor - COSINE_SLACK:
            kept = keep_by_edges(rows, similar.node, similar.edges, threshold - COSINE_SLACK)
        else:
            unit = _unit_features(signals)
            kept = np.ones(len(rows), bool)
            for members in clusters_of(labels()[rows]):
                kept[members] = cosine_keep(unit[rows[members]], threshold)
        notes: dict[str, Note] = {"clusters": clusters}
        if clusters != params["num_clusters"]:
            notes["num_clusters moved from"] = params["num_clusters"]
        return Outcome(rows[kept], missing=_featureless(rows, signals), notes=notes | similar.note(threshold))
