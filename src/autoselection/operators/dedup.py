"""Operators that drop rows too similar to an earlier row.

"Earlier" means earlier in the order given, so that after a filter (best first) the best-scored row of each group of
duplicates is the one kept. A row is compared with *kept* rows only: in a chain a~b~c with a, c unlike, b goes, c stays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from autoselection.operators.base import (
    BaseOperator,
    Context,
    Decision,
    Note,
    Outcome,
    Rows,
    has_signal,
    needs_of_pool,
)
from autoselection.operators.greedy import Mask, cosine_keep, first_of_each, keep_by_edges, keep_in_squares
from autoselection.operators.judgement import Judgement
from autoselection.operators.param import Param, ranged
from autoselection.operators.phrases import number
from autoselection.operators.twins import by_cosines, by_groups, by_pairs
from autoselection.signals.arrays import MinHashParams
from autoselection.signals.derived.cluster_cosines import ClusterCosines
from autoselection.signals.derived.cosine import COSINE_SLACK, EDGE_LIMIT, clusters_of
from autoselection.signals.derived.cosine_pairs import (
    CLUSTER_FLOOR,
    COSINE_FLOOR,
    ClusterPairs,
    CosinePairs,
    FeatureClusters,
    SimilarRows,
    listable,
    unit_vectors,
)
from autoselection.signals.derived.ngram_pairs import PartPairs, near_duplicates_of
from autoselection.signals.derived.text_groups import PartGroups, TextGroups
from autoselection.signals.pairs import NearDuplicates
from autoselection.signals.table import SignalTable

#: semdedup's clusters hold at least this many rows on average.
ROWS_PER_CLUSTER = 10
_COSINE = 0.9
#: In larger pools all pairs of rows are compared only where a recipe says so, and not in a search: it takes hours.
ALL_PAIRS_ROWS = 200_000
_BY_COSINE = ("embedding", "sentence")
_SIGNAL_OF_STRATEGY = {"exact": "text_hash", "minhash": "minhash", "embedding": "sae", "sentence": "embeddings"}


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
    is empty, or shows nothing, is similar to none and is kept, counted as missing. A part's pairs are found from the pool's
    texts when a recipe first asks for them, with a recall of 0.95 at 0.5, and stored; no signal is needed.
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

    stand_ins = MappingProxyType({"minhash": ("near_duplicates",)})

    def needs(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        made = MinHashParams().ngram_size
        if params.get("part", "row") != "row" or params.get("ngram_size", made) != made:
            return ()  # read from the pool's texts, as are n-grams of another length than the signatures'
        return (_SIGNAL_OF_STRATEGY[params.get("strategy", "minhash")],)

    def space(self, signals: SignalTable) -> tuple[Param, ...]:
        present = self._strategies(signals)
        if signals.n > ALL_PAIRS_ROWS:
            present = tuple(name for name in present if name not in _BY_COSINE) or present
        if not present:
            return self.params
        default = "minhash" if "minhash" in present else present[0]
        vectors = [_SIGNAL_OF_STRATEGY[name] for name in present if name in _BY_COSINE]
        low = min((listable(signals, signal, COSINE_FLOOR) for signal in vectors), default=COSINE_FLOOR)
        return ranged(
            self.params,
            strategy={"choices": present, "default": default},
            cosine_threshold={"low": low, "default": max(low, _COSINE)},
        )

    def available(self, signals: SignalTable) -> bool:
        return bool(self._strategies(signals))

    def _strategies(self, signals: SignalTable) -> tuple[str, ...]:
        """The strategies that the pool has what they compare for."""
        needs = {name: needs_of_pool(self, {"strategy": name}, signals) for name in _SIGNAL_OF_STRATEGY}
        return tuple(name for name, needed in needs.items() if all(has_signal(signals, need) for need in needed))

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
            codes = TextGroups().of(signals)["group"]
            return Outcome(rows[first_of_each(codes[rows], signals.n)[0]])
        if params["strategy"] == "minhash":
            near = near_duplicates_of(signals, params["ngram_size"], params["num_perm"])
            kept = keep_by_edges(rows, near.node, near.edges, params["jaccard_threshold"])
            return Outcome(rows[kept], notes=_near_notes(near))
        if params["strategy"] == "sentence":
            return _by_cosine(rows, signals, params["cosine_threshold"], "embeddings")
        return _by_cosine(rows, signals, params["cosine_threshold"], "sae")

    def judge(self, decision: Decision, asked: Rows) -> Sequence[Judgement | None]:
        signals, params = decision.signals, decision.params
        part, strategy = params.get("part", "row"), params["strategy"]
        absent, what = np.zeros(signals.n, bool), part
        if strategy == "exact" and part == "row":
            found = by_groups(decision, asked, TextGroups().of(signals)["group"], "the same text")
        elif strategy == "exact":
            groups = PartGroups(part).of(signals)
            absent, found = groups["absent"], by_groups(decision, asked, groups["group"], f"the same {part}")
        elif strategy == "minhash":
            if part == "row":
                near = near_duplicates_of(signals, params["ngram_size"], params["num_perm"])
            else:
                near, absent = PartPairs(part, params["ngram_size"]).pairs(signals)
            measure = "Jaccard similarity" + ("" if part == "row" else f" of the {part}s")
            found = by_pairs(decision, asked, near.node, near.edges, params["jaccard_threshold"], measure)
        else:
            signal = "embeddings" if strategy == "sentence" else "sae"
            similar, threshold = CosinePairs(signal).pairs(signals), params["cosine_threshold"]
            if threshold < similar.floor - COSINE_SLACK:
                found = by_cosines(decision, asked, unit_vectors(signals, signal), None, threshold)
            else:
                found = by_pairs(decision, asked, similar.node, similar.edges, threshold, "cosine")
            absent, what = _vectorless(signals, signal), "vector"
        return _or_absent(asked, absent, what, found)


def _vectorless(signals: SignalTable, signal: str) -> Mask:
    """bool[N]: the rows without features, or without an embedding."""
    if signal == "sae":
        return np.asarray(np.diff(signals.require_sae().indptr) == 0)
    absent: Mask = np.isnan(signals.require_embeddings()[:, 0])
    return absent


def _or_absent(asked: Rows, absent: Mask, what: str, found: Sequence[Judgement | None]) -> Sequence[Judgement | None]:
    """The judgements, but of rows that have nothing to compare."""
    said = Judgement(
        f"it has no {what}, and so is similar to no row"
        if what == "vector"
        else f"its {what} is empty, and so is similar to none"
    )
    return [said if lacks else each for lacks, each in zip(absent[asked].tolist(), found, strict=True)]


def _by_part(rows: Rows, signals: SignalTable, part: str, params: Mapping[str, Any]) -> Outcome:
    """Deduplication by the prompts or the responses alone."""
    if params["strategy"] == "exact":
        groups = PartGroups(part).of(signals)
        kept = first_of_each(groups["group"][rows], signals.n)[0]
        return Outcome(rows[kept], missing=int(np.count_nonzero(groups["absent"][rows])))
    near, absent = PartPairs(part, params["ngram_size"]).pairs(signals)
    mask = keep_by_edges(rows, near.node, near.edges, params["jaccard_threshold"])
    return Outcome(rows[mask], missing=int(np.count_nonzero(absent[rows])), notes=_near_notes(near))


def _by_cosine(rows: Rows, signals: SignalTable, threshold: float, signal: str) -> Outcome:
    absent = _featureless(rows, signals) if signal == "sae" else _unembedded(rows, signals)
    similar = CosinePairs(signal).pairs(signals)
    if threshold < similar.floor - COSINE_SLACK:
        kept = cosine_keep(unit_vectors(signals, signal)[rows], threshold)
    else:
        kept = keep_by_edges(rows, similar.node, similar.edges, threshold - COSINE_SLACK)
    return Outcome(rows[kept], missing=absent, notes=_directly(similar, threshold))


def _directly(similar: SimilarRows, threshold: float) -> dict[str, Note]:
    if threshold >= similar.floor - COSINE_SLACK:
        return {}
    return {"compared": f"directly: the pool has too many pairs more similar than {similar.floor:g} to list"}


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
    serve a whole search; clusterings and the similar pairs in them, or all cosines where most are similar, are stored. Where
    most rows share their features, clusters too large to list their pairs are not searched. A row without SAE features is kept.
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
        if has_signal(signals, "sae") and listable(signals, "sae", CLUSTER_FLOOR) > CLUSTER_FLOOR:
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
        kept, compared = _within(rows, signals, FeatureClusters(clusters, context.seed), threshold)
        notes: dict[str, Note] = {"clusters": clusters}
        if clusters != params["num_clusters"]:
            notes["num_clusters moved from"] = params["num_clusters"]
        return Outcome(rows[kept], missing=_featureless(rows, signals), notes=notes | compared)

    def judge(self, decision: Decision, asked: Rows) -> Sequence[Judgement | None]:
        signals, params = decision.signals, decision.params
        clusters = FeatureClusters(cluster_count(params["num_clusters"], signals.n), decision.context.seed)
        threshold = params["cosine_threshold"]
        if ClusterCosines(clusters).suits(signals):
            squares = ClusterCosines(clusters).squares(signals)
            node, edges, floor = squares.node, squares.strongest, squares.floor
        else:
            similar = ClusterPairs(clusters).pairs(signals)
            node, edges, floor = similar.node, similar.edges, similar.floor
        if threshold >= floor - COSINE_SLACK:
            found = by_pairs(decision, asked, node, edges, threshold, "cosine")
        else:
            found = by_cosines(decision, asked, unit_vectors(signals, "sae"), clusters.labels(signals), threshold)
        return _or_absent(asked, _vectorless(signals, "sae"), "vector", found)


def _within(
    rows: Rows, signals: SignalTable, clusters: FeatureClusters, threshold: float
) -> tuple[Mask, dict[str, Note]]:
    """Which of ``rows`` the greedy rule keeps inside clusters, and how they were compared."""
    cosines = ClusterCosines(clusters)
    if cosines.suits(signals):
        return keep_in_squares(rows, cosines.squares(signals), threshold - COSINE_SLACK), {}
    similar = ClusterPairs(clusters).pairs(signals)
    if threshold >= similar.floor - COSINE_SLACK:
        return keep_by_edges(rows, similar.node, similar.edges, threshold - COSINE_SLACK), {}
    unit = unit_vectors(signals, "sae")
    kept = np.ones(len(rows), bool)
    for members in clusters_of(clusters.labels(signals)[rows]):
        kept[members] = cosine_keep(unit[rows[members]], threshold)
    return kept, _directly(similar, threshold)
