"""Operators that work by source: a random cap, a filter of whole sources, and mixes in given proportions.

None of them ever returns a row twice: a subset is a set of rows. Where ``source_mix`` may repeat (``max_repeats``), it says
beside the rows how often each counts, and hashes, tokens, overlaps and training honour that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import RecipeError
from autoselection.operators import mixing_rules
from autoselection.operators.base import BaseOperator, Context, Decision, Note, Outcome, Rows
from autoselection.operators.groups import COLUMN, VECTORS, group_codes
from autoselection.operators.judgement import Judgement, unscored
from autoselection.operators.param import Param, ranged
from autoselection.operators.phrases import listed, missing_phrases, number, percent
from autoselection.operators.quotas import allocate
from autoselection.operators.ranking import random_ranking, share
from autoselection.operators.standing import Standing, by_draw
from autoselection.signals.derived.memory import kept_with
from autoselection.signals.families.mona import MONA_PREFIX
from autoselection.signals.families.traces import TOOL_NAMES
from autoselection.signals.table import SignalTable
from autoselection.wording import suggestion

LOSS_DROP = "loss_drop"
"""Column of what a row's loss falls by between two checkpoints."""
REFILLED = "refilled"
"""Note of a mix: how many rows come from groups that had rows left, beyond their shares."""
SHORT = "short of the size by"
"""Note of a mix whose groups have too few rows for its size: how many it lacks."""
SEARCHED_REPEATS = 4
"""Most times that a row counts in a mix that a search makes."""

#: The published range of ``total_samples``; on a pool, the ends are clipped to its size.
PUBLISHED_SAMPLES = (500, 100_000)


def _counts(rows: Rows, signals: SignalTable, groups: str = "source") -> NDArray[np.int64]:
    codes, names = group_codes(signals, groups)
    return np.bincount(codes[rows], minlength=len(names)).astype(np.int64)


def _draw(rows: Rows, quotas: NDArray[np.int64], context: Context, groups: str = "source") -> NDArray[np.bool_]:
    """Which of ``rows`` are in a random choice of ``quotas[group]`` rows of each group."""
    ranked = random_ranking(context.signals, context.stream, groups)
    return ranked.among_first(rows, group_codes(context.signals, groups)[0], quotas)


def judged_by_draw(decision: Decision, rows: Rows, asked: Rows, groups: str = "source") -> list[Judgement | None]:
    """Judgements of rows that were drawn at random from each source, or other group; ``rows``: those drawn from."""
    context = decision.context
    ranked = random_ranking(context.signals, context.stream, groups)
    names = group_codes(context.signals, groups)[1]
    return by_draw(Standing(ranked, rows, decision.members, asked), names, groups.removeprefix(COLUMN))


def size_params(default: float | None, searched: bool, absent: str) -> tuple[Param, ...]:
    return (
        Param(
            "fraction",
            "float",
            default,
            low=0.01,
            high=1.0,
            optional=default is None,
            searched=searched,
            group="size",
            role="strength",
            help=f"size as a share of the rows given, rounded up{absent}",
        ),
        Param(
            "total_samples",
            "int",
            low=1,
            optional=default is None,
            group="size",
            help="size in rows, all of them if there are fewer (published range 500 to 100,000)",
        ),
    )


def sized(params: tuple[Param, ...], signals: SignalTable) -> tuple[Param, ...]:
    low, high = (max(1, min(bound, signals.n)) for bound in PUBLISHED_SAMPLES)
    return ranged(params, total_samples={"low": low, "high": high, "log": True})


def size_phrases(params: Mapping[str, Any]) -> list[str]:
    """The size of :func:`size_params` in words."""
    if params.get("fraction") is not None:
        return [percent(params["fraction"])]
    return [f"{params['total_samples']:,} rows"] if params.get("total_samples") is not None else []


def target_size(params: Mapping[str, Any], available: int, repeats: int = 1) -> int | None:
    if params["total_samples"] is not None:
        return min(int(params["total_samples"]), available * repeats)
    return None if params["fraction"] is None else int(share(params["fraction"], available))


def _known(name: str, named: Any, groups: Sequence[str], noun: str = "source") -> list[int]:
    codes = {group: code for code, group in enumerate(groups)}
    for group in named:
        if group not in codes:
            raise RecipeError(f"operator '{name}': the pool has no {noun} '{group}'{suggestion(group, codes)}")
    return [codes[group] for group in named]


class TruncateSamples(BaseOperator):
    """Cap the number of rows by a random draw with equal quotas over sources.

    Quotas are equal over the sources present and rounded by largest remainder (ties: the source first by name); what a
    small source cannot fill is refilled from those with rows left. A row's random draw depends on the seed and on how
    many ``truncate_samples`` steps came before, not on the other rows: a smaller cap keeps a subset of a larger one.
    """

    name = "truncate_samples"
    family = "size"
    summary = "a random cap on the number of rows, spread evenly over the sources"
    order = "the order in which the rows were given"
    randomized = True
    params: tuple[Param, ...] = size_params(0.5, True, "")

    def space(self, signals: SignalTable) -> tuple[Param, ...]:
        return sized(self.params, signals)

    def as_fraction(self, params: Mapping[str, Any], signals: SignalTable) -> float:
        """The cap as a share of the pool's rows."""
        if params.get("fraction") is not None:
            return float(params["fraction"])
        return min(1.0, int(params["total_samples"]) / max(1, signals.n))

    def phrases(self, params: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
        return [f"random {size}" for size in size_phrases(params)]

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        total = target_size(params, len(rows))
        capacity = _counts(rows, context.signals)
        quotas = allocate(len(rows) if total is None else total, np.ones(len(capacity)), capacity)
        return Outcome(rows[_draw(rows, quotas, context)])

    def judge(self, decision: Decision, asked: Rows) -> Sequence[Judgement | None]:
        return judged_by_draw(decision, decision.rows, asked)


class SourceFilter(BaseOperator):
    """Drop or keep whole sources. Not among the published operators: the coarsest cut, and often the best first one."""

    name = "source_filter"
    family = "source"
    summary = "drops (or keeps only) the named sources"
    order = "the order in which the rows were given"
    published = False
    params: tuple[Param, ...] = (
        Param("mode", "choice", "drop", choices=("drop", "keep"), help="drop the named sources, or keep only them"),
        Param("sources", "sources", searched=True, help="source names of the pool"),
    )

    def space(self, signals: SignalTable) -> tuple[Param, ...]:
        return ranged(self.params, sources={"choices": signals.source_names})

    def available(self, signals: SignalTable) -> bool:
        return len(signals.source_names) > 1

    def phrases(self, params: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
        return [f"{params['mode']} {listed(params['sources'])}"]

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        named = np.zeros(len(context.signals.source_names), bool)
        named[_known(self.name, params["sources"], context.signals.source_names)] = True
        kept = named if params["mode"] == "keep" else ~named
        return Outcome(rows[kept[context.signals.source[rows]]])

    def judge(self, decision: Decision, asked: Rows) -> Sequence[Judgement | None]:
        what = "is not among those kept" if decision.params["mode"] == "keep" else "is dropped"
        stays = "is kept" if decision.params["mode"] == "keep" else "is not among those dropped"
        names = [decision.signals.source_names[code] for code in decision.signals.source[asked].tolist()]
        return [
            Judgement(f"its source, {name}, {stays if kept else what}", group=name)
            for name, kept in zip(names, decision.members[asked].tolist(), strict=True)
        ]


def _mix(
    rows: Rows,
    weights: NDArray[np.float64],
    params: Mapping[str, Any],
    context: Context,
    groups: str = "source",
    repeats: int = 1,
) -> Outcome:
    """Draw rows so that groups stand in the proportions ``weights``.

    Without a size: the largest one at which every group of positive weight can serve its share. With a size: shares by
    largest remainder, what a group cannot serve is refilled from the others in proportion. A group serves at most
    ``repeats`` times its rows: all of them before one of them a second time.
    """
    codes, names = group_codes(context.signals, groups)
    rows_of = _counts(rows, context.signals, groups)
    capacity = rows_of * repeats
    asked = weights / max(weights.sum(), 1e-300)
    weights = np.where(capacity > 0, weights, 0.0)
    notes: dict[str, Note] = {}
    if not weights.any():
        return Outcome(rows[:0])
    shares = weights / weights.sum()
    served = shares > 0
    total = target_size(params, len(rows), repeats)
    if total is None:
        with np.errstate(over="ignore"):  # a share of next to nothing limits no size
            largest = float((capacity[served] / shares[served]).min())
        total = max(
            1, int(largest + max(1e-9, 1e-14 * largest))
        )  # the quotient of whole numbers may lie just below one
    quotas = allocate(total, weights, capacity)
    ideal = np.ceil(total * asked)  # of all groups: those without any row cannot serve theirs either
    notes[REFILLED] = int(np.maximum(quotas - ideal, 0).sum())
    if quotas.sum() < total:
        notes[SHORT] = int(total - quotas.sum())
    for name, quota in zip(names, quotas.tolist(), strict=True):
        notes[f"from {name}"] = quota
    whole = quotas // np.maximum(rows_of, 1)
    more = _draw(rows, quotas - whole * rows_of, context, groups)
    copies = whole[codes[rows]] + more
    kept = copies > 0
    return Outcome(rows[kept], notes=notes, copies=copies[kept] if repeats > 1 else None)


def known_mixtures(signals: SignalTable) -> dict[str, tuple[float, ...]]:
    """Shares of the sources that a search begins near: ``size`` (as in the pool), ``equal``, ``tempered`` and ``unimax`` between
    the two (:mod:`autoselection.operators.mixing_rules`; of unimax, as many rows as the pool has); with tasks ``relevance``, by size times the exponential of the
    source's mean relevance, in standard deviations over sources; with the losses of two checkpoints ``excess loss``: what
    :func:`~autoselection.operators.mixing_rules.after_excess_loss` makes of equal shares where a row's excess is what its loss falls by."""

    def build() -> dict[str, tuple[float, ...]]:
        sizes = np.bincount(signals.source[signals.selectable], minlength=len(signals.source_names)).astype(np.float64)
        there = sizes > 0
        found = {
            "size": mixing_rules.proportional(sizes),
            "equal": mixing_rules.equal(sizes),
            "tempered": mixing_rules.tempered(sizes),
            "unimax": mixing_rules.unimax(sizes, float(sizes.sum()), SEARCHED_REPEATS),
        }
        if LOSS_DROP in signals.columns:
            excess = _source_means(np.maximum(signals.column(LOSS_DROP), 0.0)[None], signals)
            even = found["equal"]
            found["excess loss"] = mixing_rules.after_excess_loss(even, np.nan_to_num(excess), np.zeros(len(sizes)))
        if signals.tasks:
            means = _source_means(np.array([signals.column(MONA_PREFIX + task) for task in signals.tasks]), signals)
            centred = np.nan_to_num(means - np.nanmean(means[there]))
            spread = float(centred[there].std())
            weights = np.where(there, sizes * np.exp(centred / spread if spread > 0 else 0.0 * centred), 0.0)
            found["relevance"] = weights / weights.sum()
        return {name: tuple(shares.tolist()) for name, shares in found.items()}

    return kept_with(signals, "known mixtures", build)


def _source_means(scores: NDArray[np.float32], signals: SignalTable) -> NDArray[np.float64]:
    """Mean of all finite scores of each source's rows, float64[sources]; 0 for a source without rows, NaN for one without scores.

    Args:
        scores: float32[columns, N].
    """
    means = np.zeros(len(signals.source_names))
    for source in np.unique(signals.source[signals.selectable]).tolist():
        own = scores[:, signals.source == source]
        finite = np.isfinite(own)
        means[source] = np.nanmean(np.where(finite, own, np.nan)) if finite.any() else np.nan
    return means


def _grouping(params: Mapping[str, Any]) -> str:
    """What a mix is of, as :func:`~autoselection.operators.groups.group_codes` knows it."""
    groups: str = params.get("groups", "source")
    return f"{COLUMN}{params['column']}" if groups == "column" else groups


class SourceMix(BaseOperator):
    """Mix the sources, or other groups, by random draws.

    The shares are proportional to the given ``weights``, or to ``size^(1 / temperature)`` of each group's rows among
    those given: 1 leaves the groups as they are, a high temperature approaches equal shares. A search that
    uses this operator (``search.also``) moves the shares of sources, the size and the repeats.

    With ``max_repeats`` a group may serve more rows than it has: each of its rows then counts several times, all of them
    about equally often. One pass of training sees a row as often as it counts, and later steps keep the count.
    With a size, what a group cannot serve is taken from the others in proportion; above a tenth a warning says so.

    ``groups: {column: topic}`` (short for ``groups: column`` with ``column: topic``) mixes the values of a column: of the
    signals, or, if none has that name, of the columns that came with the pool's rows, of text too. A column of more than 1,024 values is
    refused.
    """

    name = "source_mix"
    family = "source"
    summary = "mixes the sources in given proportions; weight 0 drops a source"
    order = "the order in which the rows were given"
    randomized = True
    searched = False
    stand_ins = VECTORS
    params: tuple[Param, ...] = (
        Param(
            "weights",
            "weights",
            searched=True,
            group="mix",
            help="weight of each source (or group); the shares of the mix are proportional to them",
        ),
        Param(
            "temperature",
            "float",
            2.0,
            low=0.5,
            high=100.0,
            log=True,
            group="mix",
            help="shares are proportional to size^(1 / temperature)",
        ),
        Param(
            "other",
            "float",
            low=0.0,
            optional=True,
            when=("weights", ()),
            help="weight of each source not named (unset: naming all is required)",
        ),
        *size_params(None, True, " (neither set: the largest mix whose shares every group can serve)"),
        Param(
            "max_repeats",
            "int",
            1,
            low=1,
            high=100,
            log=True,
            searched=True,
            implicit=True,
            help="how often a row may count, so that a group can have a larger share than its rows allow",
        ),
        Param(
            "groups",
            "choice",
            "source",
            choices=("source", "task", "cluster", "tools", "column"),
            implicit=True,
            help="what is mixed: sources, nearest tasks, clusters, sets of tools called, or the values of a column",
        ),
        Param(
            "column",
            "signal",
            when=("groups", ("column",)),
            help="column whose values are the groups: of the signals, or the pool's own, such as a topic",
        ),
    )

    def space(self, signals: SignalTable) -> tuple[Param, ...]:
        names = signals.source_names
        weights = {"choices": names, "mixtures": known_mixtures(signals)}
        repeats = {"high": SEARCHED_REPEATS}
        return ranged(sized(self.params, signals), weights=weights, max_repeats=repeats)

    def available(self, signals: SignalTable) -> bool:
        return len(signals.source_names) > 1

    def needs(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        groups = params.get("groups", "source")
        by_column = (params["column"],) if groups == "column" and params.get("column") else ()
        named = {"task": ("mona",), "cluster": ("embeddings",), "tools": (TOOL_NAMES,), "column": by_column}
        return named.get(groups, ())

    def phrases(self, params: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
        groups, repeats = params.get("groups", "source"), params.get("max_repeats", 1)
        more = [f"rows up to {repeats} times"] if repeats > 1 else []
        more += [] if groups == "source" else [f"by {params.get('column') or groups}"]
        if params.get("weights") is None:
            return [f"temperature {number(params['temperature'])}", *size_phrases(params), *more]
        shares = [f"{name} {number(weight)}" for name, weight in params["weights"].items()]
        shares += [f"others {number(params['other'])}"] if params.get("other") is not None else []
        return [" : ".join(shares), *size_phrases(params), *more]

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        signals, repeats, groups = context.signals, params.get("max_repeats", 1), _grouping(params)
        if params["temperature"] is not None:
            weights = _counts(rows, signals, groups) ** (1.0 / params["temperature"])
            return _mix(rows, weights, params, context, groups, repeats)
        named: Mapping[str, float] = params["weights"]
        known = group_codes(signals, groups)[1]
        noun = f"{params['column']} of" if groups.startswith(COLUMN) else groups
        codes = _known(self.name, named, known, noun)
        absent = [group for group in known if group not in named]
        if absent and params["other"] is None:
            raise RecipeError(
                f"operator '{self.name}': parameter 'weights' leaves out the {noun} '{absent[0]}' of the pool: "
                f"name it (0 drops it) or set 'other'."
            )
        weights = np.full(len(known), params["other"] or 0.0, np.float64)
        weights[codes] = list(named.values())
        return _mix(rows, weights, params, context, groups, repeats)

    def judge(self, decision: Decision, asked: Rows) -> Sequence[Judgement | None]:
        return judged_by_draw(decision, decision.rows, asked, _grouping(decision.params))


class VarentropyMix(BaseOperator):
    """Mix the sources in proportion to ``softmax(mean varentropy / temperature)``.

    A source's mean is taken over its rows with a score among the rows given; a source without any gets the mean over
    all of them. The high end gets more; a high temperature approaches equal shares.
    """

    name = "varentropy_mix"
    family = "source"
    summary = "mixes the sources by the softmax of their mean varentropy"
    order = "the order in which the rows were given"
    randomized = True
    searched = False
    params: tuple[Param, ...] = (
        Param(
            "temperature",
            "float",
            1.0,
            low=0.01,
            high=100.0,
            log=True,
            searched=True,
            help="softmax temperature (varentropy's unit, nats²)",
        ),
        Param(
            "missing",
            "choice",
            "drop",
            choices=("drop", "keep"),
            role="missing",
            help="what to do with rows without a score",
        ),
        *size_params(None, False, " (neither set: the largest mix whose shares every group can serve)"),
    )

    def scored_by(self, params: Mapping[str, Any]) -> str | None:
        return "varentropy"

    def space(self, signals: SignalTable) -> tuple[Param, ...]:
        return sized(self.params, signals)

    def phrases(self, params: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
        return [f"temperature {number(params['temperature'])}", *size_phrases(params), *missing_phrases(params)]

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        signals = context.signals
        scores = signals.column("varentropy")[rows].astype(np.float64)
        scores = np.clip(scores, -1e30, 1e30)  # so that sources with infinite ones have a mean
        scored = ~np.isnan(scores)
        missing = int(np.count_nonzero(~scored))
        if not scored.any():
            return Outcome(rows if params["missing"] == "keep" else rows[:0], missing=missing)
        codes, width = signals.source[rows], len(signals.source_names)
        sums = np.bincount(codes[scored], weights=scores[scored], minlength=width)
        counts = np.bincount(codes[scored], minlength=width)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), scores[scored].mean())
        logits = means / params["temperature"]
        pool = rows if params["missing"] == "keep" else rows[scored]
        present = np.bincount(signals.source[pool], minlength=width) > 0
        weights = np.where(present, np.exp(logits - logits[present].max()), 0.0)
        outcome = _mix(pool, weights, params, context)
        return Outcome(outcome.rows, missing=missing, notes=outcome.notes)

    def judge(self, decision: Decision, asked: Rows) -> Sequence[Judgement | None]:
        scores, keeps = decision.signals.column("varentropy"), decision.params["missing"] == "keep"
        drawn = decision.rows if keeps else decision.rows[~np.isnan(scores[decision.rows])]
        return [
            unscored("varentropy", False) if np.isnan(score) and not keeps else found
            for score, found in zip(scores[asked].tolist(), judged_by_draw(decision, drawn, asked), strict=True)
        ]
