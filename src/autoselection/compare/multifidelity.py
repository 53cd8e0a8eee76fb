"""ASHA (asynchronous successive halving) with one worker: cheap runs first, the best third of a rung is promoted.

The budget counts cost: a run at a ninth of the training costs a ninth of an evaluation, promotion pays the next rung
in full (no training is continued). Recipes come from random recipe search, as that method's, or from Optuna's TPE fed
with the scores of the highest rung that has enough of them (which is what BOHB does).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from autoselection.compare.method import Materializer, Method
from autoselection.compare.session import Rows, Session
from autoselection.compare.spaces import SLOTS, Slots
from autoselection.recipes import Recipe
from autoselection.search.baselines import random_recipes

ETA = 3
ENOUGH = 6


class Ladder:
    """Rungs of a successive halving: who was scored where, and who is to go up."""

    def __init__(self, rungs: int) -> None:
        self.scores: list[dict[int, float]] = [{} for _ in range(rungs)]
        self._promoted: list[set[int]] = [set() for _ in range(rungs)]

    def promotable(self) -> tuple[int, int] | None:
        """(candidate, its next rung) of the highest rung whose best third holds one not promoted yet."""
        for rung in range(len(self.scores) - 2, -1, -1):
            ranked = sorted(self.scores[rung], key=lambda key: (-self.scores[rung][key], key))
            for key in ranked[: len(ranked) // ETA]:
                if key not in self._promoted[rung]:
                    return key, rung + 1
        return None

    def add(self, key: int, rung: int, score: float) -> None:
        self.scores[rung][key] = score
        if rung > 0:
            self._promoted[rung - 1].add(key)


def _halving(session: Session, propose: Callable[[Ladder], Rows | None]) -> None:
    costs = [*session.fidelities, 1.0]
    ladder = Ladder(len(costs))
    subsets: list[Rows] = []
    while True:
        up = ladder.promotable()
        if up is not None and session.can_pay(costs[up[1]]):
            key, rung = up
        elif session.can_pay(costs[0]) and (rows := propose(ladder)) is not None:
            subsets.append(rows)
            key, rung = len(subsets) - 1, 0
        else:
            return
        score = session.observe(subsets[key], costs[rung])
        ladder.add(key, rung, score if math.isfinite(score) else -math.inf)


def _asha(session: Session, seed: int) -> None:
    made = Materializer(session, session.search.seed)  # as random_recipes checks sizes and duplicates of its own
    most = int(session.budget / session.fidelities[0]) + 1

    def stream() -> Iterator[Rows]:
        for recipe in random_recipes(session.table, most, seed, config=session.search):
            rows = made.rows(recipe)
            if rows is not None:
                yield rows

    subsets = stream()
    _halving(session, lambda ladder: next(subsets, None))


def _bohb(session: Session, seed: int) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    made = Materializer(session, seed)
    space = Slots(session.table, session.search)
    distributions: dict[str, Any] = {}
    for place in range(SLOTS):
        distributions[f"operator{place}"] = optuna.distributions.CategoricalDistribution(space.operators)
        distributions[f"strength{place}"] = optuna.distributions.FloatDistribution(0.0, 1.0)
        distributions[f"end{place}"] = optuna.distributions.CategoricalDistribution(space.ends)
    asked: list[dict[str, Any]] = []

    def recipe_of(params: dict[str, Any]) -> Recipe | None:
        return space.recipe([(params[f"operator{i}"], params[f"strength{i}"], params[f"end{i}"]) for i in range(SLOTS)])

    def propose(ladder: Ladder) -> Rows | None:
        rung = next((r for r in range(len(ladder.scores) - 1, 0, -1) if len(ladder.scores[r]) >= ENOUGH), 0)
        sampler = optuna.samplers.TPESampler(
            seed=(seed * 100_003 + len(asked)) % 2**32, n_startup_trials=ENOUGH, multivariate=True
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(direction="maximize", sampler=sampler)
            for key, score in ladder.scores[rung].items():
                if math.isfinite(score):
                    known = optuna.trial.create_trial(params=asked[key], distributions=distributions, value=score)
                else:
                    failed = optuna.trial.TrialState.FAIL
                    known = optuna.trial.create_trial(params=asked[key], distributions=distributions, state=failed)
                study.add_trial(known)
            for _ in range(200):
                trial = study.ask(distributions)
                recipe = recipe_of(trial.params)
                rows = made.new_rows(recipe) if recipe is not None else None
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                if rows is not None:
                    asked.append(dict(trial.params))
                    return rows
        return None

    _halving(session, propose)


MULTIFIDELITY = (
    Method("asha", _asha, {"eta": ETA}),
    Method("bohb", _bohb, {"eta": ETA, "enough": ENOUGH}, "optuna"),
)
