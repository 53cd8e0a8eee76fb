"""What a table of runs says: how well it predicts, which mixtures are best, what sources do, what to run next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import spearmanr

from autoselection.errors import ConfigError
from autoselection.mixture.controller import conditioned
from autoselection.mixture.findings import (
    CENTRAL_95,
    Analysis,
    Effect,
    Foretold,
    Interval,
    NextRun,
    RatedMixture,
    WhatIf,
    short_names,
)
from autoselection.mixture.model import Belief, MixtureModel
from autoselection.mixture.process import drawn as drawn_places
from autoselection.mixture.runs import FEWEST_RUNS, SAME_MIXTURE, Runs
from autoselection.mixture.space import MixtureSpace, seen_bounds
from autoselection.mixture.value import knowledge_gradient, variance_reduction
from autoselection.search.ranker import CENTRAL_80
from autoselection.statistics import all_alike, without_rounding
from autoselection.wording import suggestion

Array = NDArray[np.float64]

DRAWN = 150
"""Mixtures drawn in each generation of the search for the best predicted one."""
GENERATIONS = 4
PARENTS = 10
MOST_OTHERS = 300
"""Mixtures of the cheapest level's runs that the search begins with, beside all that were run at the target."""
MOST_ON_FRONT = 12
"""Mixtures of the Pareto set that are named."""
SHOWN = 5
"""Best mixtures that are named."""
APART = 0.05
"""Total variation distance below which two mixtures are the same advice."""
CONSIDERED = 120
"""Mixtures that the next runs are chosen from."""
LEAST_VALUE = 1e-6
"""Smallest expected improvement that counts, in standard deviations of what is least known."""


def column_weights(runs: Runs, wanted: Mapping[str, float], option: str = "--weights") -> Array:
    """Weights of the score columns, as shares of their sum: 1 each unless named, in full or by its short name.

    Raises:
        ConfigError: there is no such column, one has two weights, a weight is below 0, or all are 0.
    """
    weights = np.ones(len(runs.columns))
    named: dict[int, str] = {}
    for name, weight in wanted.items():
        place = column_place(runs, name, option)
        if place in named:
            raise ConfigError(f"{option}: '{named[place]}' and '{name}' are one column; give it one weight.")
        named[place], weights[place] = name, weight
        if not 0 <= weight < np.inf:
            raise ConfigError(f"{option}: the weight of '{name}' must be a number of 0 or more, not {weight:g}.")
    if weights.sum() <= 0:
        raise ConfigError(f"{option}: at least one column needs a weight above 0.")
    return np.asarray(weights / weights.sum())


def column_place(runs: Runs, name: str, option: str) -> int:
    """Place of a score column by its name or short name.

    Raises:
        ConfigError: there is none.
    """
    for names in (runs.columns, short_names(runs.columns)):
        if name in names:
            return names.index(name)
    raise ConfigError(f"{option}: there is no score column '{name}'{suggestion(name, short_names(runs.columns))}")


def analyse(
    runs: Runs,
    weights: Array,
    *,
    pareto: Sequence[int] = (),
    following: int = 3,
    what_if: Sequence[Array] = (),
    seed: int = 0,
) -> Analysis:
    """Learn from a table of runs.

    Args:
        weights: of the score columns, summing to one, shape (columns,).
        pareto: places of the columns whose trade-off is asked for.
        following: how many next runs to name.
        what_if: other weights, as ``weights``.
        seed: of the mixtures that are drawn.
    """
    model = MixtureModel(runs.shares, runs.values, runs.level, len(runs.levels.names))
    rater = _Rater(runs, model, weights)
    drawn = _proposals(rater, weights, seed)
    seen = rater.seen()
    best = seen[0].shares if seen else None
    order = np.argsort(-(rater.believed(drawn)[0] @ weights), kind="stable")
    predicted = rater.rate(_apart(drawn[order], SHOWN), best)
    level, foretold = _foretold(runs, model, weights)
    return Analysis(
        runs,
        weights,
        level,
        foretold,
        tuple(
            (f"{name} to {runs.levels.names[-1]}", model.slopes(place))
            for place, name in enumerate(runs.levels.names[:-1])
            if (runs.level == place).any()
        ),
        tuple(seen[:SHOWN]),
        tuple(predicted),
        _effects(rater),
        tuple(runs.columns[place] for place in pareto),
        _front(rater, drawn, pareto, best),
        _following(rater, drawn[order], following),
        tuple(_what_if(rater, drawn[order[0]], _proposals(rater, other, seed), other) for other in what_if),
    )


class _Rater:
    """Asks the model, every mixture once."""

    def __init__(self, runs: Runs, model: MixtureModel, weights: Array) -> None:
        self.runs, self.model, self.weights = runs, model, weights
        self.signs = np.where(runs.minimise, -1.0, 1.0)
        complete = np.isfinite(runs.scores[:, weights > 0]).all(axis=1)
        self.targets = np.flatnonzero((runs.level == runs.levels.target) & complete)
        self.columns = np.eye(len(weights))
        self._known: dict[bytes, tuple[Array, Array]] = {}

    def believed(self, shares: Array) -> tuple[Array, Array]:
        """Means and variances of the columns, without noise, higher is better, shape (mixtures, columns) each."""
        new = {row.tobytes(): row for row in shares if row.tobytes() not in self._known}
        if new:
            found = self.model.columns(np.array(list(new.values())))
            self._known |= dict(zip(new, zip(*found, strict=True), strict=True))
        means, variances = zip(*(self._known[row.tobytes()] for row in shares), strict=True)
        return np.array(means), np.array(variances)

    def joint(self, shares: Array) -> list[Belief]:
        """Joint beliefs of the columns about some mixtures."""
        return [self.model.column(place, shares) for place in range(len(self.weights))]

    def summed(self, columns: Sequence[Belief], weights: Array) -> Belief:
        """The objective, from what is believed of the columns; as :meth:`MixtureModel.objective`."""
        mean = sum(weight * belief.mean for weight, belief in zip(weights, columns, strict=True))
        covariance = sum(weight**2 * belief.covariance for weight, belief in zip(weights, columns, strict=True))
        return Belief(np.asarray(mean), self.model.widening(weights) * np.asarray(covariance))

    def rate(
        self,
        shares: Sequence[Array],
        best: Array | None,
        weights: Array | None = None,
        rows: Sequence[int] | None = None,
    ) -> list[RatedMixture]:
        """Mixtures, beside the best that was seen.

        Args:
            rows: of their runs in the table; None: the first run at the target, if there is one.
        """
        if not len(shares):
            return []
        weights = self.weights if weights is None else weights
        joint = self.joint(np.array([*shares, *([] if best is None else [best])]))
        belief = self.summed(joint, weights)
        columns = [self.summed(joint, one) for one in self.columns]
        found = []
        used = weights > 0
        for place, mixture in enumerate(shares):
            each = []
            for sign, own in zip(self.signs, columns, strict=True):
                interval = Interval.of(float(own.mean[place]), float(own.deviation[place]))
                each.append(interval if sign > 0 else interval.turned())
            beats = None
            if best is not None and not _same(mixture, best):
                beats = _beats(belief, place, len(shares))
            row = self._run(mixture, used) if rows is None else rows[place]
            seen = None if row is None else float(self.runs.values[row][used] @ weights[used])
            line = None if row is None else int(self.runs.lines[row])
            objective = Interval.of(float(belief.mean[place]), float(belief.deviation[place]))
            found.append(RatedMixture(mixture, objective, tuple(each), seen, line, beats))
        return found

    def _run(self, mixture: Array, used: NDArray[np.bool_]) -> int | None:
        """The first run of a mixture at the target that has all scores that count."""
        runs = self.runs
        known = (runs.level == runs.levels.target) & np.isfinite(runs.scores[:, used]).all(axis=1)
        return next(iter(np.flatnonzero(known & runs.of(mixture)).tolist()), None)

    def seen(self) -> list[RatedMixture]:
        """The best mixtures run at the target, by what they are believed to deserve."""
        if not len(self.targets):
            return []
        shares = self.runs.shares[self.targets]
        order = np.argsort(-(self.believed(shares)[0] @ self.weights), kind="stable")[:SHOWN]
        rows = [int(self.targets[place]) for place in order]
        return self.rate(list(shares[order]), shares[order[0]], rows=rows)


def _same(one: Array, other: Array) -> bool:
    return bool(np.abs(one - other).max() <= SAME_MIXTURE)


def distance(one: Array, other: Array) -> float:
    """The total variation distance of two mixtures: the share of the data in which they differ."""
    return float(np.abs(one - other).sum() / 2)


def _beats(belief: Belief, one: int, other: int) -> float:
    covariance = belief.covariance
    spread = covariance[one, one] + covariance[other, other] - 2.0 * covariance[one, other]
    return float(ndtr((belief.mean[one] - belief.mean[other]) / np.sqrt(max(spread, 1e-16))))


def _foretold(runs: Runs, model: MixtureModel, weights: Array) -> tuple[str, tuple[Foretold, ...]]:
    """Left-out predictions at the target, or at the highest level that has enough runs for it."""
    for level in range(runs.levels.target, -1, -1):
        left_out = model.left_out(level)
        if len(left_out.rows) >= FEWEST_RUNS:
            break
    found = []
    used = weights > 0
    complete = np.isfinite(left_out.mean[:, used]).all(axis=1)
    if complete.sum() >= FEWEST_RUNS:
        mean = left_out.mean[complete][:, used] @ weights[used]
        score = left_out.score[complete][:, used] @ weights[used]
        variance = (left_out.deviation[complete][:, used] ** 2) @ weights[used] ** 2
        found.append(_compared(None, mean, score, np.sqrt(model.widening(weights) * variance), 1.0))
    for place, name in enumerate(runs.columns):
        known = np.isfinite(left_out.mean[:, place])
        if known.sum() >= FEWEST_RUNS:
            mean, score, deviation = (
                each[known, place] for each in (left_out.mean, left_out.score, left_out.deviation)
            )
            found.append(_compared(name, mean, score, deviation, -1.0 if runs.minimise[place] else 1.0))
    return runs.levels.names[level], tuple(found)


def _compared(column: str | None, mean: Array, score: Array, deviation: Array, sign: float) -> Foretold:
    correlation = None
    if len(mean) > 3 and not all_alike(mean) and not all_alike(score):
        value = float(spearmanr(without_rounding(mean), without_rounding(score)).statistic)
        # Fisher's transformation with Fieller's variance for ranks, 1.06 / (n - 3).
        middle, half = np.arctanh(np.clip(value, -0.999999, 0.999999)), CENTRAL_95 * np.sqrt(1.06 / (len(mean) - 3))
        correlation = Interval(value, float(np.tanh(middle - half)), float(np.tanh(middle + half)))
    return Foretold(
        column,
        correlation,
        float(np.sqrt(np.mean((mean - score) ** 2))),
        float(score.std()),
        float(np.mean(np.abs(mean - score) <= CENTRAL_80 * deviation)),
        tuple((sign * mean).tolist()),
        tuple((sign * score).tolist()),
    )


def _proposals(rater: _Rater, weights: Array, seed: int) -> Array:
    """Mixtures within what was seen: those of the table, and drawn ones near the best by ``weights``, generation by generation."""
    runs = rater.runs
    space = MixtureSpace(runs.sources, runs.levels, np.minimum(1.0, seen_bounds(runs.shares)))
    rng = np.random.default_rng([seed, 31])
    cheapest = int(runs.level.min())  # of those that have runs with a score
    own, others = (np.unique(runs.shares[runs.level == level], axis=0) for level in (runs.levels.target, cheapest))
    others = others[drawn_places(rater.model.inputs(others), MOST_OTHERS)]
    found = np.unique(np.concatenate([own, others]), axis=0)
    for _ in range(GENERATIONS):
        mean, _ = rater.believed(found)
        best = np.argsort(-(mean @ weights), kind="stable")[:PARENTS]
        found = np.concatenate([found, space.draw(DRAWN, rng, found[best])])
    return found


def _apart(ordered: Array, count: int) -> list[Array]:
    """The first mixtures that differ from one another."""
    chosen: list[Array] = []
    for shares in ordered:
        if all(distance(shares, other) >= APART for other in chosen):
            chosen.append(shares)
        if len(chosen) == count:
            break
    return chosen


def doubled(shares: Array, source: int) -> Array:
    """The mixture with twice as much of a source, at most half of what is left to one, the others shrunk in proportion."""
    share = min(2.0 * shares[source], (1.0 + shares[source]) / 2.0)
    rest = 1.0 - shares[source]
    found = shares * ((1.0 - share) / rest if rest > 0 else 1.0)
    found[source] = share
    return np.asarray(found)


def halved(shares: Array, source: int) -> Array:
    """The mixture with half as much of a source, the others grown in proportion; as it is where there is no other."""
    rest = 1.0 - shares[source]
    share = shares[source] / 2.0 if rest > 0 else shares[source]
    found = shares * ((1.0 - share) / rest if rest > 0 else 1.0)
    found[source] = share
    return np.asarray(found)


def _effects(rater: _Rater) -> tuple[Effect, ...]:
    runs = rater.runs
    own = runs.shares[rater.targets] if len(rater.targets) else runs.shares
    average = own.mean(axis=0)
    count, floor = len(average), rater.model.inputs.floor
    points = np.array([average, *(change(average, source) for change in (doubled, halved) for source in range(count))])
    found = []
    # Shares below the floor are all alike to the model.
    told = np.concatenate([points[1 : count + 1].diagonal() > floor, average > floor])
    joint = rater.joint(points)
    for weights in (rater.weights, *rater.columns):
        belief = rater.summed(joint, weights)
        covariance = belief.covariance
        change = belief.mean[1:] - belief.mean[0]
        spread = np.diag(covariance)[1:] + covariance[0, 0] - 2.0 * covariance[0, 1:]
        change, spread = np.where(told, change, 0.0), np.where(told, spread, 0.0)
        found.append(
            [Interval.of(float(m), float(s)) for m, s in zip(change, np.sqrt(np.maximum(spread, 0)), strict=True)]
        )
    return tuple(
        Effect(
            name,
            float(average[place]),
            found[0][place],
            tuple(column[place] for column in found[1:]),
            found[0][count + place],
        )
        for place, name in enumerate(runs.sources)
    )


def _front(rater: _Rater, drawn: Array, pareto: Sequence[int], best: Array | None) -> tuple[RatedMixture, ...]:
    """Mixtures that no other one is predicted to beat in every named column, at most a dozen, spread over the front, that differ from
    one another."""
    if len(pareto) < 2:
        return ()
    means = rater.believed(drawn)[0][:, list(pareto)]
    kept = nondominated(means)
    apart = _apart(drawn[kept[np.argsort(-means[kept, 0], kind="stable")]], len(kept))
    few = np.unique(np.linspace(0, len(apart) - 1, min(MOST_ON_FRONT, len(apart))).round().astype(int))
    return tuple(rater.rate([apart[place] for place in few], best))


def nondominated(values: Array) -> NDArray[np.int64]:
    """Places of points that no other is at least as good as in every column and better in one; higher is better."""
    found = []
    for place, value in enumerate(values):
        as_good, better = (values >= value).all(axis=1), (values > value).any(axis=1)
        if not (as_good & better).any():
            found.append(place)
    return np.array(found, np.int64)


def _following(rater: _Rater, ordered: Array, count: int) -> tuple[NextRun, ...]:
    """The next runs by value over cost, each chosen as if the ones before it were made."""
    runs, model = rater.runs, rater.model
    half = CONSIDERED // 2
    rest = ordered[half:]
    step = max(1, len(rest) // half)
    mixtures = np.concatenate([ordered[:half], rest[::step][:half]])
    belief = model.objective(rater.weights, mixtures)
    noise = model.noise(rater.weights) * model.widening(rater.weights)
    covariance = belief.covariance
    known = [
        {row.round(9).tobytes() for row in runs.shares[runs.level == level]} for level in range(len(runs.levels.names))
    ]
    below = {}
    for level in range(runs.levels.target):
        if (runs.level == level).any():
            below[level] = model.reaches(rater.weights, mixtures, mixtures, level)
    chosen: list[NextRun] = []
    least = LEAST_VALUE * float(np.sqrt(np.diag(covariance).max()))
    for _ in range(count):
        options: list[tuple[float, float, int, int]] = []
        for level in (*below, runs.levels.target):
            cross, variance = (covariance, np.diag(covariance) + noise) if level == runs.levels.target else below[level]
            if level != runs.levels.target:
                # What the target's runs say already cannot be said again.
                left = np.maximum(np.diag(covariance), 0.0) / np.maximum(np.diag(cross), 1e-16)
                cross = cross * np.sqrt(np.minimum(1.0, left))[:, None]
            value = knowledge_gradient(belief.mean, cross, variance)
            told = variance_reduction(cross, variance)
            new = [place for place in range(len(mixtures)) if mixtures[place].round(9).tobytes() not in known[level]]
            cost = runs.levels.costs[level] / runs.levels.costs[-1]
            for place in new:
                gain = float(value[place]) if value[place] >= least else 0.0
                options.append((gain / cost, float(told[place]) / cost, level, place))
        if not options:
            break
        gain, _, level, place = max(options, key=lambda option: (option[:3], -option[3]))
        cost = runs.levels.costs[level] / runs.levels.costs[-1]
        reason = (
            "most expected improvement for its cost"
            if gain
            else "no run is expected to change the choice; this one tells most about how mixtures differ, for its cost"
        )
        chosen.append(NextRun(mixtures[place], runs.levels.names[level], gain * cost, cost, reason))
        known[level].add(mixtures[place].round(9).tobytes())
        if level == runs.levels.target:
            covariance = conditioned(covariance, place, noise)
        else:
            cross, variance = below[level]
            below[level] = (
                conditioned(cross, place, float(variance[place] - cross[place, place])),
                variance - cross[:, place] ** 2 / variance[place],
            )
    return tuple(chosen)


def _what_if(rater: _Rater, today: Array, drawn: Array, weights: Array) -> WhatIf:
    """Who wins among ``drawn`` and ``today``, the best mixture of the weights as they are."""
    drawn = np.concatenate([drawn, today[None]])
    winner = drawn[int(np.argmax(rater.believed(drawn)[0] @ weights))]
    belief = rater.summed(rater.joint(np.array([winner, today])), weights)
    changes = 0.0 if _same(winner, today) else _beats(belief, 0, 1)
    kept = Interval.of(float(belief.mean[1]), float(belief.deviation[1]))
    return WhatIf(weights, rater.rate([winner], None, weights)[0], kept, changes)
