"""Shares of sources by rules of the literature: what a team tries before it searches.

Every rule takes one number a source and returns shares, float64[sources], that sum to one; a source without rows gets none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Shares = NDArray[np.float64]

TEMPERATURE = 1 / 0.3
"""Of :func:`tempered` where none is given: sizes to the power of 0.3, as mT5 was trained (Xue et al. 2021, arXiv 2010.11934)."""
EPOCHS = 4
"""Of :func:`unimax`: how often a row may count."""
STEP, SMOOTHING = 1.0, 1e-3
"""Of :func:`after_excess_loss`: the step and the share of even weights of DoReMi (arXiv 2305.10429)."""


def proportional(sizes: NDArray[np.number]) -> Shares:
    """As much of every source as there is: ``n_i / Σ n``."""
    return _shares(np.asarray(sizes, np.float64))


def equal(sizes: NDArray[np.number]) -> Shares:
    """As much of one source as of another: ``1 / k`` for k sources with rows."""
    return _shares((np.asarray(sizes) > 0).astype(np.float64))


def tempered(sizes: NDArray[np.number], temperature: float = TEMPERATURE) -> Shares:
    """Between the two: ``n_i^(1 / T)`` over their sum (Arivazhagan et al. 2019, arXiv 1907.05019); 1 is proportional, a high
    temperature equal."""
    sizes = np.asarray(sizes, np.float64)
    return _shares(np.where(sizes > 0, sizes, 0.0) ** (1.0 / temperature) * (sizes > 0))


def unimax(sizes: NDArray[np.number], total: float, epochs: float = EPOCHS) -> Shares:
    """As equal as a limit on repetition allows: UniMax (Chung et al. 2023, arXiv 2304.09151, algorithm 1).

    Sources are gone through from the smallest on; each gets an equal part of what is left of ``total``, at most ``epochs`` times
    its size.

    Args:
        total: rows to draw, in the unit of ``sizes``.
        epochs: how often a row may count.
    """
    sizes = np.asarray(sizes, np.float64)
    found = np.zeros(len(sizes))
    there = [place for place in np.argsort(sizes, kind="stable").tolist() if sizes[place] > 0]
    left = float(total)
    for number, place in enumerate(there):
        found[place] = min(left / (len(there) - number), epochs * sizes[place])
        left -= found[place]
    return _shares(found)


def after_excess_loss(
    shares: Shares, losses: Shares, reference: Shares, step: float = STEP, smoothing: float = SMOOTHING
) -> Shares:
    """More of the sources on which a model is worse than a reference: one step of DoReMi (Xie et al. 2023, arXiv 2305.10429,
    algorithm 1).

    ``a_i ∝ shares_i · exp(step · max(losses_i − reference_i, 0))``, then ``(1 − smoothing) · a + smoothing / k``. DoReMi does so
    after every batch of one training and takes the mean over its course; from whole trainings it is one
    step each.

    Args:
        shares: before; sources of none have no rows and stay without.
        losses: of the model, by source (nats a token).
        reference: of a model trained on the reference shares, by source.
    """
    there = shares > 0
    excess = np.where(there, np.maximum(losses - reference, 0.0), 0.0)
    moved = _shares(np.where(there, shares * np.exp(step * (excess - excess.max())), 0.0))
    return np.asarray((1.0 - smoothing) * moved + smoothing * there / there.sum())


def _shares(weights: Shares) -> Shares:
    total = float(weights.sum())
    return weights / total if total > 0 else weights
