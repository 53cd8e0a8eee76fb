"""The trade-offs that a study found between the objectives of ``search.pareto``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoselection.search.pareto import ROWS, SCORE, TOKENS, front
from autoselection.study.study import Study
from autoselection.study.trials import Trial


@dataclass(frozen=True)
class TradeOff:
    """A subset beside the others.

    Attributes:
        values: of the objectives, as tables show them: dev scores, rows and tokens as shares of the pool's.
        leads: whether no other is better: at least as good in every objective, and better in one.
    """

    trial: Trial
    values: tuple[float, ...]
    leads: bool


def trade_offs(study: Study) -> list[TradeOff]:
    """Every subset that the best could be chosen from, those that lead first, by the first objective; empty where nothing is
    traded off."""
    names = study.config.search.pareto
    trials = study.contenders() if names else []
    if not trials:
        return []
    values = np.array([[_value(trial, name) for name in names] for trial in trials])
    signs = np.array([-1.0 if name in (ROWS, TOKENS) else 1.0 for name in names])
    leads = front(values * signs)
    order = sorted(range(len(trials)), key=lambda place: (not leads[place], -values[place, 0] * signs[0], place))
    return [TradeOff(trials[place], tuple(values[place].tolist()), bool(leads[place])) for place in order]


def _value(trial: Trial, name: str) -> float:
    state = trial.record["state"]
    own = {SCORE: trial.score, ROWS: state["retain_ratio"], TOKENS: state["token_ratio"]}
    return float({**own, **trial.tasks}[name] or 0.0)
