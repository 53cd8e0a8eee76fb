"""General optimisers over the recipe space: Optuna's TPE and GP samplers, and a BoTorch GP over mixed variables.

A proposal that selects too few rows to be trained costs nothing (it would be refused before training). Optuna is told
the worst score seen for it, as a GP that learns nothing of a failed trial proposes it again; after :data:`REFUSALS` in
a row a random point is tried. BoTorch's ranking just goes on to the next point. The same subset may be proposed
twice: it is paid for twice, which an optimiser that knows only the recipe cannot avoid.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from autoselection.recipes import Recipe
from benchmarks.methods.base import Materializer, Method
from benchmarks.methods.spaces import ENDS, SLOTS, Cube, Slots
from benchmarks.worlds.base import Session

REFUSALS = 5
STARTS = 5
"""Random or space-filling points before a model is used, for every optimiser here (of 15; fewer than their defaults)."""

FIT_STEPS = 60
"""Optimiser steps of BoTorch's fit; to convergence it takes 10 s a round on one core."""

_PACKAGE = ("operators", "recipes", "search/space.py")


def _optuna(make_sampler: Callable[[int], Any], slots: bool) -> Callable[[Session, int], None]:
    def run(session: Session, seed: int) -> None:
        import optuna
        import torch

        torch.set_num_threads(1)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        made = Materializer(session, seed)
        cube = Cube(session.table)
        compact = Slots(session.table)

        def propose(trial: Any) -> Recipe | None:
            if not slots:
                return cube.recipe([trial.suggest_float(name, 0.0, 1.0) for name in cube.names])
            steps = []
            for place in range(SLOTS):
                name = trial.suggest_categorical(f"operator{place}", compact.operators)
                strength = trial.suggest_float(f"strength{place}", 0.0, 1.0)
                steps.append((name, strength, trial.suggest_categorical(f"end{place}", ENDS)))
            return compact.recipe(steps)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(direction="maximize", sampler=make_sampler(seed))
            rng = np.random.default_rng([seed, 22])
            refused = 0
            while session.can_pay() and refused < 40 * REFUSALS:
                trial = study.ask()
                recipe = propose(trial)
                rows = made.rows(recipe) if recipe is not None else None
                if rows is not None:
                    refused = 0
                    study.tell(trial, session.observe(rows))
                    continue
                refused += 1
                worst = min((item.observed for item in session.log), default=None)
                if worst is None:
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                else:
                    study.tell(trial, worst)
                if refused % REFUSALS == 0 and trial.params:  # it is stuck: one random point
                    drawn = {name: _drawn(space, rng) for name, space in trial.distributions.items()}
                    study.enqueue_trial(drawn)

    return run


def _drawn(distribution: Any, rng: np.random.Generator) -> Any:
    choices = getattr(distribution, "choices", None)
    return choices[int(rng.integers(len(choices)))] if choices is not None else float(rng.random())


def _tpe(seed: int) -> Any:
    import optuna

    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTS, multivariate=True)


def _gp(seed: int) -> Any:
    import optuna

    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTS, deterministic_objective=False)


def _botorch(session: Session, seed: int) -> None:
    """GP over mixed variables (operators and ends are categorical), noisy log expected improvement over 1024 random
    points and 256 neighbours of the three best."""
    import torch
    from botorch.acquisition.logei import qLogNoisyExpectedImprovement
    from botorch.exceptions.warnings import InputDataWarning, OptimizationWarning
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import MixedSingleTaskGP
    from botorch.models.transforms.outcome import Standardize
    from gpytorch.mlls import ExactMarginalLogLikelihood

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    made = Materializer(session, seed)
    space = Slots(session.table)
    rng = np.random.default_rng([seed, 21])
    categorical = [column for column in range(3 * SLOTS) if column % 3 != 1]

    def draw(count: int) -> np.ndarray:
        points = rng.random((count, 3 * SLOTS))
        points[:, 0::3] = rng.integers(len(space.operators), size=(count, SLOTS))
        points[:, 2::3] = rng.integers(len(ENDS), size=(count, SLOTS))
        return points

    def near(best: np.ndarray, count: int) -> np.ndarray:
        points = best[rng.integers(len(best), size=count)]
        points[:, 1::3] = np.clip(points[:, 1::3] + rng.normal(0, 0.15, (count, SLOTS)), 0, 1)
        fresh, change = draw(count), rng.random((count, 3 * SLOTS)) < 1 / (2 * SLOTS)
        change[:, 1::3] = False
        return np.where(change, fresh, points)

    def rows_at(point: np.ndarray) -> Any:
        slots = [
            (space.operators[int(point[3 * i])], float(point[3 * i + 1]), ENDS[int(point[3 * i + 2])])
            for i in range(SLOTS)
        ]
        recipe = space.recipe(slots)
        return made.rows(recipe) if recipe is not None else None

    points: list[np.ndarray] = []
    scores: list[float] = []
    refused = 0
    while session.can_pay() and refused < 5000:
        if len(points) < STARTS:
            ranked = draw(1)
        else:
            x = torch.tensor(np.array(points))
            y = torch.tensor(scores).double().unsqueeze(-1)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InputDataWarning)
                warnings.simplefilter("ignore", RuntimeWarning)
                model = MixedSingleTaskGP(x, y, cat_dims=categorical, outcome_transform=Standardize(1))
                warnings.simplefilter("ignore", OptimizationWarning)
                likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
                fit_gpytorch_mll(likelihood, optimizer_kwargs={"options": {"maxiter": FIT_STEPS}})
                best = np.array(points)[np.argsort(-np.array(scores))[:3]]
                pool = np.concatenate([draw(1024), near(best, 256)])
                improvement = qLogNoisyExpectedImprovement(model, x)
                with torch.no_grad():
                    value = improvement(torch.tensor(pool).unsqueeze(1)).numpy()
            ranked = pool[np.argsort(-value, kind="stable")]
        for point in ranked:
            rows = rows_at(point)
            if rows is None:
                refused += 1
                continue
            refused = 0
            points.append(point)
            scores.append(session.observe(rows))
            break


OPTIMISERS = (
    Method("optuna-tpe", _optuna(_tpe, slots=False), {"starts": STARTS}, _PACKAGE),
    Method("optuna-gp", _optuna(_gp, slots=False), {"starts": STARTS}, _PACKAGE),
    Method("optuna-tpe-slots", _optuna(_tpe, slots=True), {"starts": STARTS}, _PACKAGE),
    Method("optuna-gp-slots", _optuna(_gp, slots=True), {"starts": STARTS}, _PACKAGE),
    Method("botorch-mixed-gp", _botorch, {"starts": STARTS, "fit": FIT_STEPS}, _PACKAGE),
)
