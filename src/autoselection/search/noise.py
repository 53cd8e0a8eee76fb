"""How noisy evaluations are beside each other: what the scores of a search owe to the luck of their trainings.

Two trainings with the same seed take the rows that their subsets share in the same order (see
:mod:`autoselection.evaluation`), so that part of their luck is the same too. With s the share of the noise that follows the
rows, J the weighted Jaccard similarity of the subsets, and v the relative variance of each score,

    cov(i, j) = √(v_i v_j) · (s · J_ij + (1 - s) · [i = j])   for evaluations with the same seeds and budget,

and 0 for others. It is positive semi-definite, as J is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoselection.search.records import Candidate

Array = NDArray[np.float64]

SHARED = 0.0
"""Share of the noise that two trainings with the same seed have in common as far as their rows are the same, as the surrogate
has it. Measured it is about 0.8, and statistics use it; but without repeats the surrogate cannot tell such noise from worth that
follows the rows, for which its kernel has a term of the same shape, and searches told of it were no better
(docs/results/row-order.md)."""


def noise_covariance(
    candidates: Sequence[Candidate], similarity: Array, shared: float = SHARED, budgets: Sequence[float] | None = None
) -> Array | None:
    """Covariance of the noise of evaluations, relative to the variance of a full one; None where it is the identity.

    A short training's variance is that of a full one over its share of the budget: it averages over so much less.

    Args:
        similarity: of the candidates' subsets with each other.
        budgets: share of the training budget, and of the items, that each one averages over; None: its fidelity.
    """
    averaged = np.array([candidate.fidelity for candidate in candidates] if budgets is None else budgets)
    if shared == 0.0 and (averaged == 1.0).all():
        return None
    repeat = np.array([candidate.replicate for candidate in candidates])
    names = sorted({candidate.series for candidate in candidates})
    series = np.array([names.index(candidate.series) for candidate in candidates])
    alike = (series[:, None] == series) & (repeat[:, None] == repeat)
    count = len(candidates)
    relative = shared * np.where(alike, similarity, 0.0) + (1.0 - shared) * np.eye(count)
    deviation = 1.0 / np.sqrt(averaged)
    return np.asarray(deviation[:, None] * relative * deviation)
