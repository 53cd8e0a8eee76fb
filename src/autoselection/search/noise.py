"""How noisy evaluations are beside each other: what the scores of a search owe to the luck of their trainings.

Two trainings with the same seed take the rows that their subsets share in the same order (see :mod:`autoselection.evaluation`), so that
part of their luck is the same too: statistics use that (:mod:`autoselection.statistics.noise`). The surrogate takes luck for independent.
Without repeats it cannot tell luck that follows the rows from worth that follows the rows, for which its kernel has a term of the same
shape, and searches told of it were no better (docs/results/row-order.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def noise_covariance(averaged: Sequence[float]) -> Array | None:
    """Covariance of the noise of evaluations, relative to the variance of a full one; None where it is the identity.

    A lower level's variance is that of a full one over its share: it averages over so much less.

    Args:
        averaged: share of the training budget, times that of the items, of each one (:attr:`Level.averaged`).
    """
    shares = np.array(averaged, np.float64)
    return None if (shares == 1.0).all() else np.diag(1.0 / shares)
