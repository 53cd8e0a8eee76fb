"""Chance in training, pooled over everything that was trained with several seeds, and what it does to a difference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from autoselection.statistics.bootstrap import Floats, Table, checked
from autoselection.statistics.crossed import UNKNOWN, Error, Parts, table_parts


@dataclass(frozen=True)
class SeedNoise:
    """Variance of one training's score over training seeds.

    Attributes:
        variance: in squared units of the score; 0 where ``freedom`` is.
        freedom: degrees of freedom it was estimated with; 0: nothing was trained twice.
    """

    variance: float
    freedom: int

    @property
    def known(self) -> bool:
        """Whether anything was trained twice."""
        return self.freedom > 0


def pooled_noise(groups: Iterable[Sequence[float]]) -> SeedNoise:
    """Noise from groups of scores, each of one subset with different seeds: the mean of their variances, weighed by
    their degrees of freedom. It takes chance to be as large for every subset; groups of one score say nothing.
    """
    several = [np.asarray(values, np.float64) for values in groups if len(values) > 1]
    freedom = sum(len(values) - 1 for values in several)
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in several)
    return SeedNoise(squares / freedom if freedom else 0.0, freedom)


def difference_error(differences: Table, noise: SeedNoise, *, overlap: float = 0.0) -> Error:
    """Standard error of the score of differences paired by seed and item, with the seeds' part taken from ``noise``.

    The two rows in question are trained two or three times, which says little of chance in training; everything else
    that was trained twice says more. So ``2 · variance · (1 - overlap) / S`` stands in for the first term of
    :mod:`~autoselection.statistics.crossed`, with the degrees of freedom of the noise; items as there.

    Args:
        differences: per task (seeds, items).
        overlap: correlation of the two rows' chance at the same seed: 0 if a training says nothing of the other's.
            Subsets that share rows, trained on them alike, go together, so that their difference is less noisy than
            their scores.

    Raises:
        ValueError: an overlap outside of 0 to 1.
    """
    if not 0 <= overlap <= 1:
        raise ValueError(f"An overlap lies between 0 and 1, not {overlap}.")
    if not noise.known:
        return UNKNOWN
    arrays: list[Floats] = checked(differences)
    found = table_parts(arrays)
    by_seed = 2 * noise.variance * (1 - overlap) / len(arrays[0])
    return Parts([(by_seed, noise.freedom)], found.items, found.shared).error()
