"""Is another training of a leader worth more than a training of something new?

Both are judged by what they are expected to add to the final choice, the recipe with the highest expected score (the
knowledge gradient: Frazier, Powell and Dayanik, "The knowledge-gradient policy for correlated normal beliefs", INFORMS J.
Comput. 21, 2009; here one recipe's belief changes at a time).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from autoselection.search.surrogate import Prediction

Array = NDArray[np.float64]


def gain(mu: Array, sigma: Array, rival: Array, noise: float) -> Array:
    """Expected rise of the best expected score by one more evaluation, in score units.

    A normal belief with mean ``mu`` and deviation ``sigma`` moves by a normal step of deviation
    ``s = sigma² / sqrt(sigma² + noise²)``; the gain is ``s · h(|mu - rival| / s)`` with ``h(z) = phi(z) - z · Phi(-z)``.

    Args:
        mu: expected score of each recipe.
        sigma: its deviation.
        rival: highest expected score among the other recipes that may be chosen.
        noise: standard deviation of one evaluation.
    """
    step = sigma**2 / np.sqrt(sigma**2 + noise**2 + 1e-300)
    z = np.minimum(np.abs(mu - rival) / np.maximum(step, 1e-300), 50.0)
    h = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi) - z * np.exp(log_ndtr(-z))
    return np.asarray(step * np.maximum(h, 0.0))


def leader_to_repeat(known: list[Prediction], new: Prediction | None, noise: float) -> tuple[int, float, float] | None:
    """The evaluated recipe worth repeating, its gain and that of the new one; None where the new one is worth more.

    Args:
        known: beliefs about the evaluated recipes.
        new: belief about the best new proposal.
        noise: standard deviation of one evaluation.
    """
    if len(known) < 2:
        return None
    mu = np.array([prediction.mu for prediction in known])
    sigma = np.array([prediction.sigma for prediction in known])
    order = np.argsort(-mu, kind="stable")
    rival = np.full(len(mu), mu[order[0]])
    rival[order[0]] = mu[order[1]]
    gains = gain(mu, sigma, rival, noise)
    fresh = 0.0
    if new is not None:
        fresh = float(gain(np.array([new.mu]), np.array([new.sigma]), mu[order[:1]], noise)[0])
    best = int(np.argmax(gains))
    return (best, float(gains[best]), fresh) if gains[best] > fresh else None
