"""What runs on other mixtures say of one: the regressions of the literature, from shares of sources to losses.

Inputs are shares of sources, float64[runs, sources], and, where subsets differ in size, the logarithm of the share of the pool
that was kept as one column more.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from autoselection.statistics import all_alike

Array = NDArray[np.float64]
Fit = Callable[[Array, Array, Array, int], Array]
"""Predicted losses of mixtures, float64[wanted], from inputs of runs, their losses, inputs wanted, and a seed."""

FLOORS = tuple(float(floor) for floor in np.geomspace(0.01, 5.0, 25))
"""How far below the lowest loss the law's constant may lie, in ranges of the losses."""
PENALTIES = (1e-4, 1e-2, 1e-1, 1.0)
"""Of squared coefficients, in squared errors of the logarithm."""
LEADING = 32
"""Simulated mixtures whose mean is proposed."""


def by_mixing_law(inputs: Array, losses: Array, wanted: Array, seed: int = 0) -> Array:
    """A data mixing law (Ye et al. 2024, arXiv 2403.16952): ``loss = c + exp(k + Σ_j t_j · share_j)``.

    For each constant c and penalty of a small grid, the logarithm of the loss above c is a ridge regression on the inputs; that
    with the smallest squared error of left-out losses is taken. Losses that are all alike are predicted as they are.
    """
    spread = float(np.ptp(losses))
    if len(losses) < 2 or all_alike(losses):
        return np.full(len(wanted), float(np.mean(losses)))
    centre = inputs.mean(axis=0)
    design = np.column_stack([np.ones(len(inputs)), inputs - centre])
    target = np.column_stack([np.ones(len(wanted)), wanted - centre])
    best: tuple[float, float, Array] | None = None
    for floor in FLOORS:
        constant = float(losses.min()) - floor * spread
        logs = np.log(losses - constant)
        for penalty in PENALTIES:
            ridge = penalty * np.eye(design.shape[1])
            ridge[0, 0] = 0.0
            solved = np.linalg.solve(design.T @ design + ridge, design.T)
            hat = np.einsum("ij,ji->i", design, solved)
            left_out = logs - (logs - design @ (solved @ logs)) / np.maximum(1.0 - hat, 1e-6)
            error = float(np.mean((constant + np.exp(np.clip(left_out, -50, 50)) - losses) ** 2))
            if best is None or error < best[0]:
                best = (error, constant, solved @ logs)
    assert best is not None
    _, constant, coefficients = best
    return np.asarray(constant + np.exp(np.clip(target @ coefficients, -50, 50)))


def by_boosting(inputs: Array, losses: Array, wanted: Array, seed: int = 0) -> Array:
    """RegMix's gradient boosting of trees (Liu et al. 2024, arXiv 2407.01492), with leaves that fit the number of runs."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        max_iter=300,
        learning_rate=0.05,
        max_leaf_nodes=15,
        min_samples_leaf=min(10, max(2, len(inputs) // 8)),
        random_state=seed,
    )
    return np.asarray(model.fit(inputs, losses).predict(wanted))


def predicted_mean(fit: Fit, inputs: Array, losses: Array, weights: Array, wanted: Array, seed: int = 0) -> Array:
    """Weighted mean of the predictions of several losses, each by itself, float64[wanted]; a column whose losses are all alike
    tells mixtures apart by nothing and is left out.

    Args:
        losses: float64[runs, columns].
        weights: of the columns.
    """
    found = np.zeros(len(wanted))
    for column, weight in zip(losses.T, weights, strict=True):
        if len(column) > 2 and not all_alike(column):
            found += weight * fit(inputs, column, wanted, seed)
    return found


def leading_mean(candidates: Array, losses: Array, count: int = LEADING) -> Array:
    """Mean of the candidates with the lowest predicted losses, as RegMix proposes, ties by row."""
    return np.asarray(candidates[np.argsort(losses, kind="stable")[:count]].mean(axis=0))
