"""Sampling by score: like a filter, but with chance; a better row is likelier, not certain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.operators.base import BaseOperator, Context, Decision, Outcome, Rows
from autoselection.operators.columns import searched_columns
from autoselection.operators.judgement import Judgement, shown, unscored
from autoselection.operators.param import Param, ranged
from autoselection.operators.phrases import missing_phrases, number
from autoselection.operators.ranking import keep_in_order
from autoselection.operators.sampling import size_params, size_phrases, sized, target_size
from autoselection.signals.table import SignalTable


class Sample(BaseOperator):
    """Draw rows one after the other without replacement, each with probability proportional to ``exp(z / temperature)``.

    ``z`` is the signal standardised over the rows given that have a score (mean 0, standard deviation 1; all 0 if they
    are alike), negated for direction low: the temperature has no unit. At 0.1 the draw is nearly a cut, at 100 nearly
    uniform. Drawn by the Gumbel top-k trick (Kool et al. 2019): the rows with the largest ``z / temperature + G``, with
    one standard Gumbel number G for every row of the pool, from the seed and the number of earlier ``sample`` steps. So a
    smaller sample of the same rows is part of a larger one.
    """

    name = "sample"
    family = "score"
    summary = "a random sample without replacement in which rows of higher (or lower) score are likelier"
    order = "the order in which the rows were given"
    randomized = True
    searched = False
    published = False
    params: tuple[Param, ...] = (
        Param("signal", "signal", searched=True, role="column", help="column of the signal table"),
        Param(
            "temperature",
            "float",
            1.0,
            low=0.01,
            high=100.0,
            log=True,
            searched=True,
            help="in standard deviations of the signal",
        ),
        *size_params(0.5, True, ", those without a score not counted"),
        Param(
            "direction",
            "choice",
            "high",
            choices=("high", "low"),
            searched=True,
            role="end",
            help="which end is likelier",
        ),
        Param(
            "missing",
            "choice",
            "drop",
            choices=("drop", "keep"),
            role="missing",
            help="what to do with rows without a score; kept ones are added to the sample",
        ),
    )

    def space(self, signals: SignalTable) -> tuple[Param, ...]:
        return ranged(sized(self.params, signals), signal={"choices": searched_columns(signals, owned=True)})

    def available(self, signals: SignalTable) -> bool:
        return bool(searched_columns(signals, owned=True))

    def phrases(self, params: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
        found = [str(params["signal"]), *size_phrases(params), f"{params['direction']} likelier"]
        if params["temperature"] != 1.0:
            found.append(f"temperature {number(params['temperature'])}")
        return found + missing_phrases(params)

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        drawn, unscored_rows = self._drawn(rows, params, context)
        chosen = drawn[: target_size(params, len(drawn))]
        best = int(drawn[0]) if len(drawn) else None
        if params["missing"] == "keep":
            chosen = np.concatenate([chosen, unscored_rows])
        kept = keep_in_order(rows, chosen, context.signals.n)
        return Outcome(kept, missing=len(unscored_rows), best=best)

    @staticmethod
    def _drawn(rows: Rows, params: Mapping[str, Any], context: Context) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows with a score in the order in which they are drawn, and those without, by row."""
        signals = context.signals
        ordered = np.sort(rows)  # sums must not depend on the order given
        scores = signals.column(params["signal"])[ordered].astype(np.float64)
        known = ~np.isnan(scores)
        scored, scores = ordered[known], np.clip(scores[known], -1e30, 1e30)
        deviation = scores.std() if len(scores) else 0.0
        z = (scores - scores.mean()) / deviation if deviation > 0 else np.zeros(len(scores))
        if params["direction"] == "low":
            z = -z
        uniform = context.rng().random(signals.n)[scored]
        gumbel = -np.log(-np.log(np.clip(uniform, 1e-300, 1.0 - 2.0**-53)))
        drawn = scored[np.argsort(-(z / params["temperature"] + gumbel), kind="stable")]
        return drawn, ordered[~known]

    def judge(self, decision: Decision, asked: Rows) -> Sequence[Judgement | None]:
        """By the place in the order drawn; there is no margin in the signal, as chance has a part in it."""
        column, params = str(decision.params["signal"]), decision.params
        drawn, _ = self._drawn(decision.rows, params, decision.context)
        rank = np.zeros(decision.signals.n, np.int64)
        rank[drawn] = np.arange(1, len(drawn) + 1)
        places, scores = int(target_size(params, len(drawn)) or 0), decision.signals.column(column)
        return [
            Judgement(
                f"drawn with chances by {column}, here {shown(value)}, it has place {place:,} of {len(drawn):,}; "
                f"the first {places:,} are kept",
                column,
                value,
                rank=place,
                places=places,
                among=len(drawn),
            )
            if place
            else unscored(column, params["missing"] == "keep")
            for value, place in zip(scores[asked].tolist(), rank[asked].tolist(), strict=True)
        ]
