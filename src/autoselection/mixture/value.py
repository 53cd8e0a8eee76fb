"""Which run is worth making next: what it is expected to add to the objective of the mixture that is chosen in the end.

The knowledge gradient (Frazier, Powell and Dayanik 2009): a run at x moves what is believed of every candidate c by
σ̃_c · Z, where Z is standard normal and σ̃_c = cov(f_c, f_x) / √(var(f_x) + noise), so that its value is

    E[max_c (μ_c + σ̃_c Z)] - max_c μ_c.

Runs at cheaper levels have a smaller σ̃ (what they say reaches the target through the slopes between the levels) and a
smaller cost; runs are compared by value over cost.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NODES = np.linspace(-4.5, 4.5, 46)
"""Values of a standard normal that the expectation is summed over, far into its tails."""
WEIGHTS = np.exp(-0.5 * NODES**2) / np.exp(-0.5 * NODES**2).sum()
_BLOCK = 256
"""Runs that are valued at once (memory)."""


def knowledge_gradient(mean: Array, cross: Array, variance: Array) -> Array:
    """Value of every possible run, shape (runs,), in units of the objective.

    Args:
        mean: of the candidates, shape (candidates,).
        cross: covariance of candidates and runs, shape (candidates, runs).
        variance: of each run's score, noise included, shape (runs,).
    """
    shift = cross / np.sqrt(np.maximum(variance, 1e-16))
    found = [
        (mean[:, None, None] + shift[:, start : start + _BLOCK, None] * NODES).max(axis=0) @ WEIGHTS
        for start in range(0, shift.shape[1], _BLOCK)
    ]
    return np.asarray(np.concatenate(found) - mean.max()) if found else np.zeros(0)


def variance_reduction(cross: Array, variance: Array) -> Array:
    """How much of the variance of the candidates' differences every possible run takes away, shape (runs,).

    What all candidates have in common (an unknown offset) decides nothing: it is taken out.
    """
    shift = cross / np.sqrt(np.maximum(variance, 1e-16))
    return np.asarray(((shift - shift.mean(axis=0)) ** 2).sum(axis=0))
