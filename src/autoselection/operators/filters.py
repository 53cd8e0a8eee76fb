"""Filters that keep the rows with the highest (or lowest) scores: relevance, quality, complexity, any column, length."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import SignalError
from autoselection.operators.base import Context, Decision, Outcome, Rows
from autoselection.operators.columns import LENGTHS, searched_columns
from autoselection.operators.cuts import CutFilter, best_positions, cut_by, cut_groups, cut_outcome, cut_params, quota
from autoselection.operators.groups import group_codes, scopes_of
from autoselection.operators.judgement import Judgement, past_threshold, shown, unscored
from autoselection.operators.param import Param, ranged
from autoselection.operators.phrases import number
from autoselection.operators.ranking import keep_in_order, ranking, share
from autoselection.operators.standing import Standing, by_place
from autoselection.signals.families.mona import MONA_PREFIX
from autoselection.signals.table import SignalTable


class ColumnCut(CutFilter):
    """A cut by one column, best first."""

    order = (
        "best score first (direction low: lowest first) over all sources, ties by row index; "
        "rows kept without a score come last, by row index"
    )

    def _cut(self, column: str, rows: Rows, params: Mapping[str, Any], signals: SignalTable) -> Outcome:
        scores, direction = signals.column(column), params["direction"]
        overall = ranking(signals, column, direction)
        groups = cut_groups(params)
        ranked = overall if groups is None else ranking(signals, column, direction, groups)
        if params.get("band_low") is None:
            return cut_by(overall, ranked, rows, scores, params)
        scored, unscored = ranked.split(rows)
        kept = overall.positions(_band(column, ranked.rows(scored), params, signals))
        return cut_outcome(overall, ranked, scored, unscored, kept, params)

    def judge(self, decision: Decision, asked: Rows) -> Sequence[Judgement | None]:
        column = self.scored_by(decision.params)
        assert column is not None
        if decision.params.get("band_low") is not None:
            return _judged_by_band(column, decision, asked)
        return judged_by_cut(column, decision, decision.rows, asked)


def judged_by_cut(column: str, decision: Decision, rows: Rows, asked: Rows) -> list[Judgement | None]:
    """Judgements by a cut of :func:`~autoselection.operators.cuts.cut_params`.

    Args:
        rows: those that the cut was made of.
    """
    params, signals = decision.params, decision.signals
    direction, scores = params["direction"], signals.column(column)
    if params.get("threshold") is not None:
        limit = float(np.float32(params["threshold"]))
        values = scores[asked].tolist()
        stays = decision.members[asked].tolist()
        return [
            unscored(column, kept) if np.isnan(value) else past_threshold(column, value, limit, direction)
            for value, kept in zip(values, stays, strict=True)
        ]
    groups = cut_groups(params)
    ranked = ranking(signals, column, direction, groups)
    standing = Standing(ranked, rows, decision.members, asked)
    named = None if groups is None else (groups, group_codes(signals, groups)[1])
    return by_place(standing, scores, decision, asked, column, direction, named)


def _judged_by_band(column: str, decision: Decision, asked: Rows) -> list[Judgement | None]:
    """Judgements by a band between two quantiles; the margin is to the nearer of the lowest and highest score kept."""
    signals, groups = decision.signals, cut_groups(decision.params)
    scores, upward = signals.column(column), ranking(signals, column, "low", groups)
    standing = Standing(upward, decision.rows, decision.members, asked)
    codes, names = (np.zeros(signals.n, np.int32), ("whole",)) if groups is None else group_codes(signals, groups)
    kept = decision.kept[~np.isnan(scores[decision.kept])]
    lowest = np.full(len(names), np.inf, np.float32)
    highest = np.full(len(names), -np.inf, np.float32)
    np.minimum.at(lowest, codes[kept], scores[kept])
    np.maximum.at(highest, codes[kept], scores[kept])
    found: list[Judgement | None] = []
    for row, rank, among in zip(asked.tolist(), standing.rank.tolist(), standing.among.tolist(), strict=True):
        value, group = float(scores[row]), int(codes[row])
        if np.isnan(value):
            found.append(unscored(column, bool(decision.members[row])))
            continue
        name = None if groups is None else names[group]
        within = "" if name is None else f" of {groups} {name}"
        said = f"{column} {shown(value)} has place {rank:,} of {among:,}{within} (lowest first)"
        low, high = (int(share(decision.params[end], among)) for end in ("band_low", "band_high"))
        if low >= high:
            found.append(
                Judgement(f"{said}; the band holds no place", column, value, rank=rank, among=among, group=name)
            )
            continue
        bottom, top = float(lowest[group]), float(highest[group])
        said += f"; places {low + 1:,} to {high:,} are kept, {shown(bottom)} to {shown(top)}"
        from_bottom = rank <= low or (rank <= high and value - bottom <= top - value)
        limit, margin = (bottom, value - bottom) if from_bottom else (top, top - value)
        found.append(Judgement(said, column, value, limit, margin, rank, high - low, among, name))
    return found


def _band(column: str, scored: Rows, params: Mapping[str, Any], signals: SignalTable) -> Rows:
    """Those of the rows, all with a score, that lie between two quantiles of their group, see :class:`ColumnFilter`."""
    upward = ranking(signals, column, "low", cut_groups(params))
    positions = upward.positions(scored)
    sizes = upward.sizes(positions)
    below, inside = (
        upward.first_of_groups(positions, share(params[name], sizes)) for name in ("band_low", "band_high")
    )
    return upward.rows(np.setdiff1d(inside, below, assume_unique=True))


class ScoreFilter(ColumnCut):
    """Keep the rows that score best in one column, best first."""

    def __init__(
        self, name: str, column: str, family: str, summary: str, *, direction: str = "high", published: bool = True
    ) -> None:
        self.name = name
        self.column = column
        self.family = family
        self.summary = summary
        self.published = self.searched = published
        self.params = cut_params(fraction=0.5, lowest_fraction=0.05, what="", bounds=None, direction=direction)

    def needs(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        return (self.column, *self.scope_needs(params))

    def scored_by(self, params: Mapping[str, Any]) -> str | None:
        return self.column

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        return self._cut(self.column, rows, params, context.signals)


_CUT = cut_params(fraction=0.5, lowest_fraction=0.05, what="", bounds=None)


class ColumnFilter(ColumnCut):
    """Keep the best rows by any numeric signal, or those in a band between two of its quantiles.

    The band: the m rows with a score (of the subset, or of each group of the scope) are ranked from the lowest score,
    rank 0, to the highest, equal scores by row index; a row of rank r is kept if
    ``ceil(band_low · m) <= r < ceil(band_high · m)``. So the bands 0 to 0.3, 0.3 to 0.8 and 0.8 to 1 share no row and
    leave none out; a band of a small group may hold no row. ``direction`` is then only the order of the rows returned.
    """

    name = "score_filter"
    family = "score"
    summary = "the rows that score best in any numeric signal: one that has no operator of its own, such as a reward"
    published = False
    params: tuple[Param, ...] = (
        Param(
            "signal",
            "signal",
            searched=True,
            role="column",
            help="column of the signal table, such as reward or loss_conditional",
        ),
        *_CUT[:3],
        Param("band_low", "float", low=0.0, high=1.0, group="cut", help="keep from this quantile on, upwards"),
        Param("band_high", "float", low=0.0, high=1.0, when=("band_low", ()), help="and below this one, the higher"),
        *_CUT[3:],
    )

    def needs(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        return (*super().needs(params), *self.scope_needs(params))

    def phrases(self, params: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
        return [str(params["signal"]), *super().phrases(params, names)]

    def space(self, signals: SignalTable) -> tuple[Param, ...]:
        return ranged(super().space(signals), signal={"choices": searched_columns(signals)})

    def available(self, signals: SignalTable) -> bool:
        return bool(searched_columns(signals))

    def check(self, params: Mapping[str, Any]) -> None:
        if params["band_low"] is not None and params["band_low"] >= params["band_high"]:
            raise ValueError(
                f"band_low ({params['band_low']:g}) must be below band_high ({params['band_high']:g}): "
                "they are quantiles of the signal, such as 0.2 and 0.8"
            )

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        return self._cut(params["signal"], rows, params, context.signals)


class LengthFilter(CutFilter):
    """Keep rows between two lengths, or the longest (shortest) share of them, or both: first the bounds, then the share.

    "Longest responses" is a strong simple baseline (Zhao et al. 2024, "Long Is More for Alignment").
    """

    name = "length_filter"
    family = "length"
    summary = (
        "rows whose prompt, response or whole has a length between two bounds, or is among the longest or shortest"
    )
    order = "the order in which the rows were given"
    searched = False
    published = False
    ends = ("longest", "shortest")
    params: tuple[Param, ...] = (
        Param(
            "length",
            "choice",
            LENGTHS[0],
            choices=LENGTHS,
            searched=True,
            role="column",
            help="which length, in what it counts",
        ),
        Param("min", "float", low=0.0, optional=True, help="keep lengths of at least this"),
        Param("max", "float", low=0.0, optional=True, help="keep lengths of at most this"),
        Param(
            "fraction",
            "float",
            low=0.05,
            high=1.0,
            searched=True,
            group="share",
            role="strength",
            help="share of the rows within the bounds to keep, rounded up",
        ),
        *_CUT[3:],  # direction, scope, missing
    )

    def needs(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        return (str(params.get("length") or LENGTHS[0]), *self.scope_needs(params))

    def space(self, signals: SignalTable) -> tuple[Param, ...]:
        present = tuple(name for name in LENGTHS if name in signals.columns)
        changes = {"choices": present, "default": present[0]} if present else {}
        return ranged(self.params, length=changes, scope={"choices": scopes_of(signals)})

    def available(self, signals: SignalTable) -> bool:
        return any(name in signals.columns for name in LENGTHS)

    def check(self, params: Mapping[str, Any]) -> None:
        low, high = params["min"], params["max"]
        if low is None and high is None and params["fraction"] is None:
            raise ValueError("give at least one of min, max and fraction")
        if low is not None and high is not None and low > high:
            raise ValueError(f"min ({low:g}) must not be above max ({high:g})")

    def phrases(self, params: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
        low, high = params["min"], params["max"]
        found = [str(params["length"]).removeprefix("n_").replace("_", " ")]
        if low is not None and high is not None:
            found.append(f"{number(low)} to {number(high)}")
        elif low is not None:
            found.append(f"at least {number(low)}")
        elif high is not None:
            found.append(f"at most {number(high)}")
        return [*found, *super().phrases(params, names)]

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        signals = context.signals
        lengths = signals.column(params["length"])
        own = lengths[rows]
        known = ~np.isnan(own)
        inside = known.copy()
        if params["min"] is not None:
            inside &= own >= np.float32(params["min"])
        if params["max"] is not None:
            inside &= own <= np.float32(params["max"])
        kept = rows[inside]
        if params["fraction"] is not None:
            cut = {**params, "top_k": None, "threshold": None}
            ranked = ranking(signals, params["length"], params["direction"], cut_groups(cut))
            kept = ranked.rows(best_positions(ranked, ranked.positions(kept), lengths, cut))
        chosen = np.concatenate([kept, rows[~known]]) if params["missing"] == "keep" else kept
        best = None if len(chosen) else self._nearest(rows[known], own[known], params)
        return Outcome(keep_in_order(rows, chosen, signals.n), missing=int(np.count_nonzero(~known)), best=best)

    @staticmethod
    def _nearest(rows: Rows, lengths: NDArray[np.float32], params: Mapping[str, Any]) -> int | None:
        """The row whose length misses the bounds by least; None if there is no row."""
        if not len(rows):
            return None
        low, high = (
            math.inf * sign if params[name] is None else params[name] for name, sign in (("min", -1), ("max", 1))
        )
        beyond = np.maximum(low - lengths, lengths - high)
        return int(rows[beyond == beyond.min()].min())

    def judge(self, decision: Decision, asked: Rows) -> Sequence[Judgement | None]:
        params, column = decision.params, str(decision.params["length"])
        lengths = decision.signals.column(column)
        bounds = [
            (float(np.float32(params[name])), direction)
            for name, direction in (("min", "high"), ("max", "low"))
            if params[name] is not None
        ]
        inside = ~np.isnan(lengths[decision.rows])
        for limit, direction in bounds:
            own = lengths[decision.rows]
            inside &= own >= limit if direction == "high" else own <= limit
        shares: Sequence[Judgement | None] = [None] * len(asked)
        if params["fraction"] is not None:
            cut = Decision(
                decision.rows, decision.kept, {**params, "threshold": None}, decision.context, decision.members
            )
            shares = judged_by_cut(column, cut, decision.rows[inside], asked)
        found: list[Judgement | None] = []
        for row, by_share in zip(asked.tolist(), shares, strict=True):
            value = float(lengths[row])
            if np.isnan(value):
                found.append(unscored(column, bool(decision.members[row])))
                continue
            by_bound = [past_threshold(column, value, limit, direction) for limit, direction in bounds]
            nearest = min(by_bound, key=lambda each: each.margin or 0.0, default=None)
            outside = nearest is not None and nearest.margin is not None and nearest.margin < 0
            found.append(nearest if outside or by_share is None else by_share)
        return found


class MonaFilter(CutFilter):
    """Keep the rows most relevant to any task, by their MONA scores.

    Each task keeps its own best rows (``fraction`` of the rows it scores, ``top_k`` or ``threshold``; with scope source
    within each source, and so on) and the union over tasks is returned, so more than ``fraction`` of the rows may survive.
    """

    name = "mona_filter"
    family = "relevance"
    summary = "the rows closest to a task in SAE features (MONA); every task keeps its best, the union survives"
    order = "the order in which the rows were given"
    each = " for each task"
    params: tuple[Param, ...] = cut_params(
        fraction=0.3, lowest_fraction=0.01, what=", for each task", bounds=(0.0, 1.0)
    )

    def needs(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        return ("mona",)

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        signals = context.signals
        tasks = signals.tasks
        if not tasks:
            raise SignalError(f"The pool has no relevance scores for any task: {signals.how_to_get('mona')}")
        chosen = np.zeros(signals.n, bool)
        unscored: NDArray[np.bool_] | None = np.ones(len(rows), bool)  # by any task; None: every row has a score
        notes: dict[str, int] = {}
        for task in tasks:
            ranked = ranking(signals, MONA_PREFIX + task, params["direction"], cut_groups(params))
            scored = ranked.count_scored(rows)
            if scored == len(rows):
                unscored = None
            elif unscored is not None:
                unscored &= ranked.rank[rows] >= ranked.scored
            if params["scope"] == "whole" and params["threshold"] is None:
                count = int(quota(params, scored))
                chosen |= ranked.rank <= ranked.cutoff(rows, count)
            else:
                positions = ranked.split(rows)[0]
                kept = best_positions(ranked, positions, signals.column(MONA_PREFIX + task), params)
                chosen[ranked.order[kept]] = True
                count = len(kept)
            notes[f"kept for {task}"] = count
        if unscored is not None and params["missing"] == "keep":
            chosen[rows[unscored]] = True
        kept_rows = rows[chosen[rows]]
        missing = 0 if unscored is None else int(np.count_nonzero(unscored))
        best = self._first(rows, params, signals) if len(kept_rows) == 0 else None
        return Outcome(kept_rows, missing=missing, notes=notes, best=best)

    def judge(self, decision: Decision, asked: Rows) -> Sequence[Judgement | None]:
        """By the task for which a row came nearest to staying, or for which it stands best."""
        signals, params = decision.signals, decision.params
        best: list[Judgement | None] = [None] * len(asked)
        for task in signals.tasks:
            column = MONA_PREFIX + task
            ranked = ranking(signals, column, params["direction"], cut_groups(params))
            positions = ranked.split(decision.rows)[0]
            own = ranked.rows(best_positions(ranked, positions, signals.column(column), params))
            for_task = Decision.of(decision.rows, own, params, decision.context)
            for at, found in enumerate(judged_by_cut(column, for_task, decision.rows, asked)):
                if found is not None and found.value is not None and (best[at] is None or _nearer(found, best[at])):
                    best[at] = found
        return [
            unscored("mona", bool(decision.members[row]), "relevance for any task") if found is None else found
            for row, found in zip(asked.tolist(), best, strict=True)
        ]

    @staticmethod
    def _first(rows: Rows, params: Mapping[str, Any], signals: SignalTable) -> int | None:
        """The best row for the first task that scores any."""
        for task in signals.tasks:
            ranked = ranking(signals, MONA_PREFIX + task, params["direction"])
            scored = ranked.split(rows)[0]
            if len(scored):
                return int(ranked.order[scored[0]])
        return None


def _nearer(one: Judgement, other: Judgement | None) -> bool:
    """Whether one judgement by a task is nearer to keeping the row than another."""
    if other is None:
        return True
    if one.rank is None or other.rank is None or one.places is None or other.places is None:
        return (one.margin or 0.0) > (other.margin or 0.0)
    return one.rank - one.places < other.rank - other.places


BUILTIN_FILTERS = (
    ScoreFilter(
        "ifd_filter",
        "ifd",
        "quality",
        "instruction-following difficulty: loss of the response given the prompt over its loss alone",
    ),
    ScoreFilter(
        "ngram_entropy",
        "ngram_entropy",
        "complexity",
        "Shannon entropy (bits) of the row's n-grams of words and symbols",
    ),
    ScoreFilter(
        "action_object_branching",
        "action_object_branching",
        "complexity",
        "number of verbs and size of their subtrees in the dependency parse",
    ),
    ScoreFilter(
        "varentropy_filter",
        "varentropy",
        "quality",
        "variance of the base model's surprise over the response's tokens",
    ),
    ScoreFilter(
        "rsr_filter",
        "rsr",
        "quality",
        "rank-surprisal ratio: mean rank of the response's tokens under the base model over their mean loss; low where "
        "the response surprises the model and is yet among its first choices",
        direction="low",
        published=False,
    ),
)
