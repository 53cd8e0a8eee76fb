"""Scores so far below the rest that they say no more than a failure does, as of trainings that diverged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NORMAL_DEVIATION = 1.4826
"""Standard deviation of a normal distribution, in median absolute deviations."""
FAR, FAR_OF_FEW = 12.0, 64.0
"""Scores are far ``FAR + FAR_OF_FEW / n`` spreads below the median of n: about one set in a hundred with an exponential tail has such
a score (simulated: 29, 31, 21, 18 and 15 spreads for 4, 5, 6, 8 and 15 scores). A recipe that loses a task is nearer and tells something."""
FEW = 4
"""Scores below which nothing is known of what is far."""


def better_spread(scores: Array) -> float:
    """Spread of the better half of the scores around their median, which bad ones do not widen."""
    upper = scores[scores >= np.median(scores)] - np.median(scores)
    return float(np.sqrt(np.mean(upper**2)))


def worst_told(scores: Array) -> float:
    """The lowest score that is not far from the rest; those below it count as that one, as failures do.

    The spread is the larger one of that of the better half and the median absolute deviation. Minus infinity for fewer than
    ``FEW`` scores, and where most are equal.

    Args:
        scores: float64[evaluations], finite.
    """
    if len(scores) < FEW:
        return -np.inf
    centre = float(np.median(scores))
    spread = max(better_spread(scores), NORMAL_DEVIATION * float(np.median(np.abs(scores - centre))))
    far = FAR + FAR_OF_FEW / len(scores)
    return float(scores[scores >= centre - far * spread].min()) if spread > 1e-12 else -np.inf


def as_told(scores: Array) -> Array:
    """Scores of which those far below the rest count as the worst of it, see :func:`worst_told`."""
    return np.maximum(scores, worst_told(scores))
