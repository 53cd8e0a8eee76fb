"""One score of several: a filter that cuts by a weighted sum of rank-normalised signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.operators.base import Context, Decision, Outcome, Rows
from autoselection.operators.blends import leading
from autoselection.operators.columns import blended_columns
from autoselection.operators.cuts import CutFilter, cut_by, cut_groups, cut_params
from autoselection.operators.groups import group_codes, scopes_of
from autoselection.operators.judgement import Judgement, past_threshold, shown, unscored
from autoselection.operators.param import Param, Term, ranged
from autoselection.operators.phrases import percent
from autoselection.operators.ranking import ranking_of
from autoselection.operators.standing import Standing, by_place
from autoselection.signals.derived.memory import kept_with
from autoselection.signals.families.mona import MONA_PREFIX
from autoselection.signals.table import SignalTable

Scores = NDArray[np.float32]

TIED = 0.9
"""Correlation of ranks, of either sign, from which two signals are of one group."""
MOST_COMPARED = 1 << 16
"""Rows, spread evenly over the pool, on which correlations are measured."""
RELEVANCE = "relevance"
BLEND = "blend"
"""What the score is called where columns go by their names."""
_CUT = cut_params(fraction=0.5, lowest_fraction=0.05, what="", bounds=(0.0, 1.0))


def pool_ranks(signals: SignalTable, column: str) -> Scores:
    """Where each row stands among the pool's rows with a score, float32[N]: mid-rank minus a half over their number, in
    (0, 1), equal scores alike; NaN for a row without a score."""

    def build() -> Scores:
        from scipy.stats import rankdata

        scores = signals.column(column)
        known = ~np.isnan(scores)
        ranks = np.full(signals.n, np.nan, np.float32)
        if known.any():
            ranks[known] = (rankdata(scores[known]) - 0.5) / known.sum()
        return ranks

    return kept_with(signals, ("pool ranks", column), build)


def rank_correlation(signals: SignalTable, one: str, other: str) -> float:
    """Correlation of two columns' :func:`pool_ranks` over the rows of the pool that have both scores, at most 65,536 of them
    spread evenly; 0 where fewer than three have both, or one does not vary among these."""
    one, other = sorted((one, other))
    return kept_with(
        signals,
        ("rank correlation", one, other),
        lambda: _correlation(pool_ranks(signals, one), pool_ranks(signals, other)),
    )


def _correlation(one: Scores, other: Scores) -> float:
    step = -(-len(one) // MOST_COMPARED)
    left, right = one[::step], other[::step]
    both = ~(np.isnan(left) | np.isnan(right))
    if np.count_nonzero(both) < 3:
        return 0.0
    left, right = left[both].astype(np.float64), right[both].astype(np.float64)
    left, right = left - left.mean(), right - right.mean()
    length = float(np.sqrt((left @ left) * (right @ right)))
    return float(left @ right) / length if length > 1e-9 else 0.0


def tied_groups(signals: SignalTable, columns: Sequence[str]) -> dict[str, int]:
    """Group of each column: two are of one group if their ranks correlate by at least :data:`TIED`, of either sign, or if a
    chain of such pairs joins them. Groups are numbered in the order of the first of them by name."""
    names = sorted(columns)
    group = {name: place for place, name in enumerate(names)}
    for one, other in combinations(names, 2):
        low, high = sorted((group[one], group[other]))
        if low != high and abs(rank_correlation(signals, one, other)) >= TIED:
            group = {name: low if own == high else own for name, own in group.items()}
    order = {own: place for place, own in enumerate(dict.fromkeys(group.values()))}
    return {name: order[own] for name, own in group.items()}


def effective_weights(signals: SignalTable, weights: Mapping[str, float]) -> dict[str, float]:
    """The part of each term in the score on this pool, absolute values summing to one: its weight over the number of terms of
    its group, so that signals that are nearly the same count once together."""
    groups = tied_groups(signals, list(weights))
    sizes = np.bincount(list(groups.values()))
    parts = {name: weights[name] / int(sizes[groups[name]]) for name in sorted(weights)}
    total = sum(abs(part) for part in parts.values())
    return {name: part / total for name, part in parts.items()}


def blended(signals: SignalTable, weights: Mapping[str, float]) -> Scores:
    """The score of every row, float32[N] in (0, 1): the weighted mean of its :func:`pool_ranks`, counted from the top where a
    weight is below 0, with :func:`effective_weights`; NaN for a row that lacks one of the signals."""
    total = np.zeros(signals.n)
    for name, part in effective_weights(signals, weights).items():
        ranks = pool_ranks(signals, name).astype(np.float64)
        total += part * ranks if part > 0 else -part * (1.0 - ranks)
    return total.astype(np.float32)


class BlendFilter(CutFilter):
    """Keep the rows that score best in a weighted sum of signals, each as ranks in the pool.

    ``weights: {ifd: -2, reward: 1}`` prefers a low IFD twice as much as a high reward. A signal's rank is its place among the
    pool's rows with a score, from 0 to 1 and equal scores alike; where its weight is below 0 it is counted from
    the top. The score is the mean of the ranks, weighted by the absolute weights: from 0 to 1, in single precision.
    Only the proportions of the weights matter; they are kept in units of 1/10,000 of their sum.

    Signals that order the pool alike are tied: two whose ranks correlate by at least 0.9, whichever way round, over the
    pool's rows that have both (or that are joined by a chain of such pairs) are of one group, and the weight of each is
    divided by the number of the group's terms. So two near copies count as one, with the mean of their weights.

    A row that lacks one of the signals has no score. A search that uses this operator (``search.also``) draws
    and moves the weights and their signs, one signal of a group at most.
    """

    name = "blend_filter"
    family = "score"
    summary = "the rows that score best in a weighted sum of up to six signals, each as ranks in the pool"
    order = "best blended score first over all sources, ties by row index; rows kept without a score come last, by row index"
    searched = False
    published = False
    ends = ("best", "best")
    params: tuple[Param, ...] = (
        Param(
            "weights",
            "blend",
            searched=True,
            help="weight of each signal, a column of the signal table; below 0: low scores are better",
        ),
        *(
            replace(param, help="keep blended scores of at least this") if param.name == "threshold" else param
            for param in _CUT
            if param.role != "end"
        ),
    )

    def needs(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        return (*sorted(params.get("weights") or ()), *self.scope_needs(params))

    def space(self, signals: SignalTable) -> tuple[Param, ...]:
        columns = blended_columns(signals)
        groups = tied_groups(signals, columns)
        terms = tuple(Term(groups[name]) for name in columns)
        weights = replace(self.params[0], choices=columns, terms=terms)
        return ranged(
            self.params,
            weights={"choices": columns, "terms": terms, "blends": _known_blends(signals, weights)},
            top_k={"high": max(1, signals.n)},
            scope={"choices": scopes_of(signals)},
        )

    def available(self, signals: SignalTable) -> bool:
        return len(set(tied_groups(signals, blended_columns(signals)).values())) > 1

    def phrases(self, params: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
        terms = sorted(params["weights"].items(), key=lambda item: (-abs(item[1]), item[0]))
        said = (f"{'high' if weight > 0 else 'low'} {name} {percent(abs(weight))}" for name, weight in terms)
        return [" + ".join(said), *super().phrases({**params, "direction": "high"}, names)]

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        signals = context.signals
        scores = blended(signals, params["weights"])
        overall = ranking_of(signals, scores, "high")
        groups = cut_groups(params)
        ranked = overall if groups is None else ranking_of(signals, scores, "high", groups)
        return cut_by(overall, ranked, rows, scores, {**params, "direction": "high"})

    def judge(self, decision: Decision, asked: Rows) -> Sequence[Judgement | None]:
        """By the place of the blended score, with the part that each signal has in it."""
        params, signals = decision.params, decision.signals
        scores = blended(signals, params["weights"])
        if params["threshold"] is not None:
            limit = float(np.float32(params["threshold"]))
            found = [past_threshold(BLEND, value, limit, "high") for value in scores[asked].tolist()]
        else:
            groups = cut_groups(params)
            standing = Standing(ranking_of(signals, scores, "high", groups), decision.rows, decision.members, asked)
            named = None if groups is None else (groups, group_codes(signals, groups)[1])
            placed = by_place(standing, scores, decision, asked, BLEND, "high", named)
            found = [each for each in placed if each is not None]
        parts = effective_weights(signals, params["weights"])
        return [self._told(each, row, parts, decision) for each, row in zip(found, asked.tolist(), strict=True)]

    @staticmethod
    def _told(judged: Judgement, row: int, parts: Mapping[str, float], decision: Decision) -> Judgement:
        """A judgement by the blend, with its terms; of a row without a score, by the first signal that it lacks."""
        signals = decision.signals
        ranks = {name: float(pool_ranks(signals, name)[row]) for name in parts}
        lacking = [name for name, rank in ranks.items() if np.isnan(rank)]
        if lacking:
            return unscored(lacking[0], bool(decision.members[row]))
        terms = []
        for name, part in sorted(parts.items(), key=lambda item: (-abs(item[1]), item[0])):
            end = "high" if part > 0 else "low"
            own = ranks[name] if part > 0 else 1.0 - ranks[name]
            value = shown(float(signals.column(name)[row]))
            terms.append(f"{percent(round(abs(part), 4))} × {own:.3f} for {end} {name} ({value})")
        return replace(judged, sentence=f"{judged.sentence}; the blend is {' + '.join(terms)}")


def _known_blends(signals: SignalTable, param: Param) -> dict[str, dict[str, float]]:
    """``relevance``: each signal by the correlation of its ranks with the mean relevance rank over tasks, where there are any
    tasks; relevance scores themselves left out."""
    if not signals.tasks:
        return {}

    def build() -> dict[str, float]:
        ranks = [pool_ranks(signals, MONA_PREFIX + task) for task in signals.tasks]
        mean = np.mean(ranks, axis=0).astype(np.float32)
        others = [name for name in param.choices if not name.startswith(MONA_PREFIX)]
        return leading(param, {name: _correlation(pool_ranks(signals, name), mean) for name in others})

    found = kept_with(signals, "relevance blend", build)
    return {RELEVANCE: found} if found else {}
