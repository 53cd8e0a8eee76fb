"""Operators that work in the space of embeddings: a diverse cover of the rows, and a balance of their clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.operators.base import BaseOperator, Context, Decision, Note, Outcome, Rows
from autoselection.operators.columns import searched_columns
from autoselection.operators.coverage import GROUND, WORK, facility_location, k_center
from autoselection.operators.groups import NO_VECTOR, VECTORS, group_codes, pool_vectors
from autoselection.operators.judgement import Judgement, shown, unscored
from autoselection.operators.param import Param, ranged
from autoselection.operators.phrases import missing_phrases, number, percent
from autoselection.operators.quotas import allocate
from autoselection.operators.ranking import Ranking, keep_in_order, random_ranking, ranking, share
from autoselection.operators.sampling import size_params, size_phrases, sized, target_size
from autoselection.operators.standing import Standing, by_draw, by_place
from autoselection.signals.table import SignalTable


class _InEmbeddings(BaseOperator):
    """What both share: they read the sentence embeddings, or the SAE features if there are none."""

    family = "diversity"
    searched = False
    published = False
    randomized = True
    stand_ins = VECTORS

    def needs(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        return ("embeddings", *super().needs(params))


class Diversity(_InEmbeddings):
    """Keep rows that cover the others, by the cosine of their embeddings (of their SAE features if there are none).

    ``k_center`` begins with the row nearest to the mean and always adds the row farthest from those chosen: outliers
    come early. ``facility_location`` adds the row that most raises the sum, over all rows, of the cosine with the
    nearest chosen row: centres of dense regions come early.

    The cost is bounded. ``k_center`` chooses at most 5·10¹⁰ / (rows · width) rows one by one, 1,446 of 90,000 rows with
    384 numbers; the rest follows in the order of distance from these. ``facility_location`` chooses among and covers at
    most 4,096 rows, drawn at random (by seed); more than those follow likewise. The lineage says how many were chosen
    greedily. Seconds a step on a large pool: too slow for hundreds of candidates a round, so not searched unless named.
    """

    name = "diversity"
    summary = "a diverse choice of rows that covers the space of embeddings: k-center or facility location"
    order = "first chosen first; rows kept without a vector come last, by row index"
    params: tuple[Param, ...] = (
        Param(
            "method",
            "choice",
            "k_center",
            choices=("k_center", "facility_location"),
            searched=True,
            help="farthest row first, or best coverage first",
        ),
        Param(
            "fraction",
            "float",
            0.3,
            low=0.01,
            high=1.0,
            searched=True,
            group="cut",
            role="strength",
            help="share of the rows with a vector to keep, rounded up",
        ),
        Param("top_k", "int", low=1, group="cut", help="number of rows to keep"),
        Param(
            "missing",
            "choice",
            "drop",
            choices=("drop", "keep"),
            role="missing",
            help="what to do with rows without a vector",
        ),
    )

    def space(self, signals: SignalTable) -> tuple[Param, ...]:
        return ranged(self.params, top_k={"high": max(1, signals.n)})

    def as_fraction(self, params: Mapping[str, Any], signals: SignalTable) -> float:
        """The cut as a share of the pool's rows."""
        if params.get("fraction") is not None:
            return float(params["fraction"])
        return min(1.0, int(params["top_k"]) / max(1, signals.n))

    def phrases(self, params: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
        size = percent(params["fraction"]) if params.get("fraction") is not None else f"{params['top_k']:,} rows"
        return [str(params["method"]).replace("_", "-"), size, *missing_phrases(params)]

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        vectors = pool_vectors(context.signals)
        ordered = np.sort(rows)
        known = ~np.isnan(vectors[ordered, 0])
        placed, without = ordered[known], ordered[~known]
        kept = placed[:0]
        notes: dict[str, Note] = {}
        if len(placed):
            size = int(share(params["fraction"], len(placed))) if params["top_k"] is None else int(params["top_k"])
            kept, notes = self._choose(placed, vectors, min(size, len(placed)), params["method"], context)
        if params["missing"] == "keep":
            kept = np.concatenate([kept, without])
        return Outcome(kept, missing=len(without), notes=notes)

    def judge(self, decision: Decision, asked: Rows) -> Sequence[Judgement | None]:
        """By the nearest row chosen; which it is, is not looked for where that would take longer than the step itself."""
        vectors = pool_vectors(decision.signals)
        chosen = np.sort(decision.kept[~np.isnan(vectors[decision.kept, 0])])
        said = f"{len(chosen):,} rows cover the others"
        found: list[Judgement | None] = []
        cheap = len(asked) * len(chosen) * vectors.shape[1] <= WORK and len(chosen) > 0
        for row, stays in zip(asked.tolist(), decision.members[asked].tolist(), strict=True):
            if np.isnan(vectors[row, 0]):
                found.append(unscored("the embeddings", stays, "vector"))
            elif stays:
                found.append(Judgement(f"it is among the rows chosen: {said}", places=len(chosen)))
            elif not cheap:
                found.append(Judgement(f"it was not chosen: {said}", places=len(chosen)))
            else:
                cosines = vectors[chosen] @ vectors[row]
                nearest = int(np.argmax(cosines))
                cosine, other = float(cosines[nearest]), int(chosen[nearest])
                told = f"it was not chosen: {said}, the nearest of them, row {other}, with cosine {shown(cosine)}"
                found.append(Judgement(told, value=cosine, places=len(chosen), other=other))
        return found

    def _choose(
        self, placed: Rows, vectors: NDArray[np.float32], size: int, method: str, context: Context
    ) -> tuple[Rows, dict[str, Note]]:
        unit = vectors[placed]
        if method == "k_center":
            places, greedy = k_center(unit, size)
        else:
            draws = context.rng().random(context.signals.n)[placed]  # a draw for every row of the pool
            ground = np.sort(np.argsort(draws, kind="stable")[:GROUND])
            places, greedy = facility_location(unit, size, ground)
        return placed[places], {"chosen greedily": greedy, "filled up": len(places) - greedy}


class ClusterBalance(_InEmbeddings):
    """Spread the size over clusters of the pool, so that no topic drowns the others.

    Shares are proportional to ``size^(1 / temperature)`` of the clusters among the rows given: ``equal`` is an infinite
    temperature, ``sqrt`` is 2, ``temperature`` takes the number given. Quotas are rounded by largest remainder; what a
    small cluster cannot fill goes to the others. Within a cluster rows are drawn at random or taken best first by a
    signal. Rows without a vector are a cluster of their own; rows without the score that ``best`` needs are dropped or,
    beyond the size, kept.
    """

    name = "cluster_balance"
    summary = "spreads the size over the pool's clusters, at random or best first within each"
    order = "the order in which the rows were given"
    params: tuple[Param, ...] = (
        *size_params(0.5, True, ""),
        Param(
            "spread",
            "choice",
            "sqrt",
            choices=("equal", "sqrt", "temperature"),
            searched=True,
            help="how shares depend on the sizes of clusters",
        ),
        Param(
            "temperature",
            "float",
            4.0,
            low=0.5,
            high=100.0,
            log=True,
            when=("spread", ("temperature",)),
            searched=True,
            help="1 leaves the proportions as they are",
        ),
        Param(
            "clusters",
            "int",
            low=2,
            high=10_000,
            optional=True,
            help="number of clusters (unset: sqrt(N / 10), rounded to a power of two)",
        ),
        Param("within", "choice", "random", choices=("random", "best"), help="which rows of a cluster"),
        Param(
            "signal", "signal", when=("within", ("best",)), role="column", help="column that says which rows are best"
        ),
        Param(
            "direction",
            "choice",
            "high",
            choices=("high", "low"),
            when=("within", ("best",)),
            role="end",
            help="which is best",
        ),
        Param(
            "missing",
            "choice",
            "drop",
            choices=("drop", "keep"),
            when=("within", ("best",)),
            role="missing",
            help="what to do with rows without that score",
        ),
    )

    def space(self, signals: SignalTable) -> tuple[Param, ...]:
        return ranged(sized(self.params, signals), signal={"choices": searched_columns(signals, owned=True)})

    def phrases(self, params: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
        spread = params["spread"]
        found = [*size_phrases(params)]
        found.append(f"temperature {number(params['temperature'])}" if spread == "temperature" else f"{spread} shares")
        if params.get("clusters") is not None:
            found.append(f"{params['clusters']:,} clusters")
        if params["within"] == "best":
            found.append(f"{'lowest' if params.get('direction') == 'low' else 'highest'} {params['signal']}")
        return found + missing_phrases(params)

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        signals, scope = context.signals, _clusters(params)
        ranked = self._ranked(params, context)
        positions, unscored = ranked.split(rows)
        sizes = ranked.sizes(positions)
        power = {"equal": 0.0, "sqrt": 0.5}.get(params["spread"])
        weights = sizes.astype(np.float64) ** (1.0 / params["temperature"] if power is None else power)
        total = target_size(params, len(positions))
        quotas = allocate(len(positions) if total is None else total, np.where(sizes > 0, weights, 0.0), sizes)
        chosen = ranked.first_of_groups(positions, quotas)
        if params.get("missing") == "keep":
            chosen = np.concatenate([chosen, unscored])
        present = sizes > 0
        notes = {"clusters": int(present.sum()), "in full": int(np.count_nonzero(present & (quotas == sizes)))}
        missing = len(unscored) if params["within"] == "best" else _without_vector(rows, signals, scope)
        return Outcome(keep_in_order(rows, ranked.rows(chosen), signals.n), missing=missing, notes=notes)

    @staticmethod
    def _ranked(params: Mapping[str, Any], context: Context) -> Ranking:
        if params["within"] == "best":
            return ranking(context.signals, params["signal"], params["direction"], _clusters(params))
        return random_ranking(context.signals, context.stream, _clusters(params))

    def judge(self, decision: Decision, asked: Rows) -> Sequence[Judgement | None]:
        signals, params = decision.signals, decision.params
        standing = Standing(self._ranked(params, decision.context), decision.rows, decision.members, asked)
        names = [name.removeprefix("cluster ") for name in group_codes(signals, _clusters(params))[1]]
        if params["within"] != "best":
            return by_draw(standing, names, "cluster")
        column = str(params["signal"])
        scores = signals.column(column)
        return by_place(standing, scores, decision, asked, column, params["direction"], ("cluster", names))


def _clusters(params: Mapping[str, Any]) -> str:
    """The scope of the clusters that the parameters name."""
    return "cluster" if params["clusters"] is None else f"cluster/{params['clusters']}"


def _without_vector(rows: Rows, signals: SignalTable, scope: str) -> int:
    """How many of ``rows`` have no vector, and so are in a cluster of their own."""
    codes, names = group_codes(signals, scope)
    return int(np.count_nonzero(codes[rows] == len(names) - 1)) if names[-1] == NO_VECTOR else 0
