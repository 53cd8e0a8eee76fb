"""Sampling by score: like a filter, but with chance; a better row is likelier, not certain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from autoselection.operators.base import BaseOperator, Context, Outcome, Rows
from autoselection.operators.columns import searched_columns
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
        chosen = drawn[: target_size(params, len(scored))]
        best = int(drawn[0]) if len(drawn) else None
        if params["missing"] == "keep":
            chosen = np.concatenate([chosen, ordered[~known]])
        kept = keep_in_order(rows, chosen, signals.n)
        return Outcome(kept, missing=int(np.count_nonzero(~known)), best=best)
