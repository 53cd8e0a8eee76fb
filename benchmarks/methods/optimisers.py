"""General optimisers over the recipe space: a BoTorch GP over mixed variables, and Optuna's samplers, which the package has
(``autoselection.compare.optuna_search``).

A proposal that selects too few rows to be trained costs nothing (it would be refused before training): BoTorch's
ranking goes on to the next point. The same subset may be proposed twice: it is paid for twice, which an optimiser that
knows only the recipe cannot avoid.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from autoselection.compare import Materializer, Method
from autoselection.compare.optuna_search import OPTUNA, STARTS
from autoselection.compare.spaces import SLOTS, Slots
from benchmarks.worlds.base import Session

FIT_STEPS = 60
"""Optimiser steps of BoTorch's fit; to convergence it takes 10 s a round on one core."""


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
    space = Slots(session.table, session.search)
    rng = np.random.default_rng([seed, 21])
    categorical = [column for column in range(3 * SLOTS) if column % 3 != 1]

    def draw(count: int) -> np.ndarray:
        points = rng.random((count, 3 * SLOTS))
        points[:, 0::3] = rng.integers(len(space.operators), size=(count, SLOTS))
        points[:, 2::3] = rng.integers(len(space.ends), size=(count, SLOTS))
        return points

    def near(best: np.ndarray, count: int) -> np.ndarray:
        points = best[rng.integers(len(best), size=count)]
        points[:, 1::3] = np.clip(points[:, 1::3] + rng.normal(0, 0.15, (count, SLOTS)), 0, 1)
        fresh, change = draw(count), rng.random((count, 3 * SLOTS)) < 1 / (2 * SLOTS)
        change[:, 1::3] = False
        return np.where(change, fresh, points)

    def rows_at(point: np.ndarray) -> Any:
        slots = [
            (space.operators[int(point[3 * i])], float(point[3 * i + 1]), space.ends[int(point[3 * i + 2])])
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
    *OPTUNA,
    Method("botorch-mixed-gp", _botorch, {"starts": STARTS, "fit": FIT_STEPS}, "botorch"),
)
