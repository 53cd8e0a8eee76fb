"""What an analysis of runs found, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.mixture.runs import Runs

Array = NDArray[np.float64]

CENTRAL_95 = 1.959963984540054
"""Standard deviations on either side of a normal mean that hold 95%."""


@dataclass(frozen=True)
class Interval:
    """A number and the ends of its 95% interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, mean: float, deviation: float) -> Interval:
        return cls(mean, mean - CENTRAL_95 * deviation, mean + CENTRAL_95 * deviation)

    def turned(self) -> Interval:
        """The same with the other sign."""
        return Interval(-self.value, -self.high, -self.low)

    def to_dict(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Foretold:
    """How well runs are predicted that the model is not shown.

    Attributes:
        column: score column; None: the objective.
        rank_correlation: Spearman's, of predictions and scores; None where predictions or scores are all alike.
        error: root mean square, in units of the score.
        spread: standard deviation of the scores: the error of a prediction that knows nothing.
        within_80: share of the scores inside of their 80% predictive interval.
        predicted: predictions, in the units and direction of the table (of the objective: higher is better), for plots.
        scores: the same of the scores.
    """

    column: str | None
    rank_correlation: Interval | None
    error: float
    spread: float
    within_80: float
    predicted: tuple[float, ...]
    scores: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        found = {"column": self.column, "rank_correlation": self.rank_correlation and self.rank_correlation.to_dict()}
        return found | {"rms_error": self.error, "standard_deviation": self.spread, "within_80": self.within_80}


@dataclass(frozen=True, eq=False)
class RatedMixture:
    """A mixture and what is expected of it at the target.

    Attributes:
        shares: of the sources, shape (sources,).
        objective: weighted mean of the scores, higher is better.
        columns: every score, in the units and direction of the table.
        seen: objective of its run at the target; None if there is none.
        line: line of that run in the file.
        beats: probability that it deserves a higher objective than the best mixture seen; None for that one.
    """

    shares: Array
    objective: Interval
    columns: tuple[Interval, ...]
    seen: float | None
    line: int | None
    beats: float | None


@dataclass(frozen=True)
class Effect:
    """What doubling a source's share in the average mixture does, the others shrunk in proportion; above 0 is better.

    A source of which even twice as much is below the floor of shares has no effect that a table could tell: 0, without doubt.

    Attributes:
        share: of the source in the average mixture.
        objective: change of the objective.
        columns: change of every score column.
        halved: change of the objective by half as much of the source, the others grown in proportion. It is no mirror image: a
            share that is about right has both below 0.
    """

    source: str
    share: float
    objective: Interval
    columns: tuple[Interval, ...]
    halved: Interval


@dataclass(frozen=True, eq=False)
class NextRun:
    """A run worth making.

    Attributes:
        shares: shape (sources,).
        level: name of the level.
        value: expected improvement of the objective of the mixture that is chosen in the end; 0 where none is expected.
        cost: in runs at the target.
        reason: why this one, as a sentence without a full stop.
    """

    shares: Array
    level: str
    value: float
    cost: float
    reason: str


@dataclass(frozen=True, eq=False)
class WhatIf:
    """Who wins under other weights.

    Attributes:
        weights: of the columns.
        winner: best mixture under these, its objective too.
        today: what the best mixture of the weights as they are would get under these.
        changes: probability that the new winner is better than today's, under these weights.
    """

    weights: Array
    winner: RatedMixture
    today: Interval
    changes: float


@dataclass(frozen=True, eq=False)
class Analysis:
    """Everything :func:`analyse` finds; see :meth:`to_dict` for the document."""

    runs: Runs
    weights: Array
    level: str
    foretold: tuple[Foretold, ...]
    slopes: tuple[tuple[str, Array], ...]
    seen: tuple[RatedMixture, ...]
    predicted: tuple[RatedMixture, ...]
    effects: tuple[Effect, ...]
    pareto: tuple[str, ...]
    front: tuple[RatedMixture, ...]
    following: tuple[NextRun, ...]
    what_if: tuple[WhatIf, ...]

    def to_dict(self) -> dict[str, Any]:
        """The document of ``--json``. Mixtures are shares by source; objectives are higher when better."""
        runs = self.runs

        def mixture(rated: RatedMixture) -> dict[str, Any]:
            return {
                "shares": self._shares(rated.shares),
                "objective": rated.objective.to_dict(),
                "scores": {name: found.to_dict() for name, found in zip(runs.columns, rated.columns, strict=True)},
                "seen": rated.seen,
                "line": rated.line,
                "beats_best_seen": rated.beats,
            }

        return {
            "table": str(runs.path),
            "runs": len(runs.shares),
            "levels": {
                name: {"cost": cost, "runs": int((runs.level == place).sum())}
                for place, (name, cost) in enumerate(zip(runs.levels.names, runs.levels.costs, strict=True))
            },
            "target": runs.levels.names[-1],
            "columns": {
                name: {"minimise": bool(minimise), "weight": float(weight)}
                for name, minimise, weight in zip(runs.columns, runs.minimise, self.weights, strict=True)
            },
            "notices": list(runs.notices),
            "leave_one_out": {"level": self.level, "of": [found.to_dict() for found in self.foretold]},
            "slopes": {name: dict(zip(runs.columns, values.tolist(), strict=True)) for name, values in self.slopes},
            "best_seen": [mixture(rated) for rated in self.seen],
            "best_predicted": [mixture(rated) for rated in self.predicted],
            "effects": [
                {
                    "source": effect.source,
                    "share": effect.share,
                    "objective": effect.objective.to_dict(),
                    "halved": effect.halved.to_dict(),
                    "scores": {name: found.to_dict() for name, found in zip(runs.columns, effect.columns, strict=True)},
                }
                for effect in self.effects
            ],
            "pareto": {"columns": list(self.pareto), "mixtures": [mixture(rated) for rated in self.front]},
            "next": [
                {
                    "shares": self._shares(run.shares),
                    "level": run.level,
                    "value": run.value,
                    "cost": run.cost,
                    "reason": run.reason,
                }
                for run in self.following
            ],
            "what_if": [
                {
                    "weights": dict(zip(runs.columns, found.weights.tolist(), strict=True)),
                    "winner": mixture(found.winner),
                    "today": found.today.to_dict(),
                    "probability_of_change": found.changes,
                }
                for found in self.what_if
            ],
        }

    def _shares(self, shares: Array) -> dict[str, float]:
        return {name: round(float(share), 6) for name, share in zip(self.runs.sources, shares, strict=True)}


def short_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names without what they begin with in common up to a slash: ``share/wiki`` is ``wiki``."""
    ends = [name.rpartition("/")[2] for name in names]
    beginnings = {name.rpartition("/")[0] for name in names}
    return tuple(ends) if len(beginnings) == 1 and all(ends) and len(set(ends)) == len(ends) else tuple(names)
