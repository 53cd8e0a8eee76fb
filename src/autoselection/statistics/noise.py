"""Chance in training, pooled over everything that was trained with several seeds, and what it does to a difference.

Two trainings with the same seed take the rows that their subsets share in the same order (row keys), so that part of
their chance is the same too. With v the variance of one training's score, J the Jaccard similarity of two subsets and s
the share of the chance that follows the rows,

    cov(i, j) = v · (s · J_ij + (1 - s) · [i = j])   for trainings with the same seed,   0 for others.

It is positive semi-definite, as J is (Bouchard, Jousselme & Doré, Int. J. Approx. Reasoning 54, 2013).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autoselection.statistics.bootstrap import Floats, Table, checked
from autoselection.statistics.crossed import UNKNOWN, Error, Parts, table_parts
from autoselection.statistics.ties import all_alike

SHARED = 2 / 3
"""The share s where nothing is known of the trainings at hand: the mean of its prior. On the cautious side of what was
measured, 0.84 on the demo's model (0.67 to 0.92, docs/results/row-order.md): others may owe more to what rows do not decide."""
_PRIOR = (4.0, 2.0)
"""Parameters of the share's prior, a beta distribution: 95% of it lie between 0.28 and 0.95."""
_SHARES = np.linspace(0.0, 0.99, 100)


@dataclass(frozen=True)
class SeedNoise:
    """Variance of one training's score over training seeds.

    Attributes:
        variance: in squared units of the score; 0 where ``freedom`` is.
        freedom: degrees of freedom it was estimated with; 0: nothing was trained twice.
    """

    variance: float
    freedom: float

    @property
    def known(self) -> bool:
        """Whether anything was trained twice."""
        return self.freedom > 0


def pooled_noise(
    scores: Sequence[Mapping[int, float]], similarity: Floats | None = None, shared: float = 0.0
) -> SeedNoise:
    """Noise from the scores of subsets that were trained with several seeds: the mean of their variances, weighed by
    their degrees of freedom. It takes chance to be as large for every subset; subsets trained once say nothing.

    Subsets that have part of their chance in common say less than so many others would. The degrees of freedom are those
    of a chi-square of the same mean and variance: with M_i the matrix that centres subset i's scores, f = sum_i tr M_i and
    r_ij the correlation at one seed, ``f² / sum_ij r_ij² tr(M_i M_j)`` (Satterthwaite 1946).

    Args:
        scores: of each subset, by training seed.
        similarity: Jaccard similarity of the subsets; with ``shared`` alone.
        shared: s of the module's formula.
    """
    several = [subset for subset, found in enumerate(scores) if len(found) > 1]
    if not several:
        return SeedNoise(0.0, 0.0)
    places = {seed: place for place, seed in enumerate(sorted(set().union(*(scores[subset] for subset in several))))}
    centring, squares, free = np.zeros((len(several), len(places), len(places))), 0.0, 0
    for matrix, subset in zip(centring, several, strict=True):
        values = np.array(list(scores[subset].values()))
        own = [places[seed] for seed in scores[subset]]
        matrix[np.ix_(own, own)] = np.eye(len(own)) - 1 / len(own)
        squares += float(((values - values.mean()) ** 2).sum())
        free += len(own) - 1
    alike = np.eye(len(several))
    if similarity is not None:
        alike = shared * similarity[np.ix_(several, several)] + (1 - shared) * alike
    traces = np.einsum("iab,jba->ij", centring, centring)
    return SeedNoise(squares / free, float(free**2 / (alike**2 * traces).sum()))


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


def shared_chance(scores: Sequence[Mapping[int, float]], similarity: Floats) -> float:
    """Which share of chance in training follows the rows: s of the module's formula, the mean of its posterior.

    The likelihood is that of all scores of subsets trained with several seeds, each subset with a level of its own, the
    variance integrated out (REML). Where nothing, or next to nothing, was trained twice, it is the prior's mean,
    :data:`SHARED`.

    Args:
        scores: of each subset, by training seed.
        similarity: Jaccard similarity of the subsets, float64[K, K].
    """
    several = [subset for subset, found in enumerate(scores) if len(found) > 1]
    prior = _SHARES ** (_PRIOR[0] - 1) * (1 - _SHARES) ** (_PRIOR[1] - 1)
    freedom = sum(len(scores[subset]) for subset in several) - len(several)
    if all(all_alike(list(scores[subset].values())) for subset in several):  # nothing varied by seed
        return float(prior @ _SHARES / prior.sum())
    # Seeds have nothing in common, and for every share the eigenvectors of a seed's covariance are those of the similarity.
    levels, values, spectrum = [], [], []
    for seed in sorted(set().union(*(scores[subset] for subset in several))):
        own = np.array([place for place, subset in enumerate(several) if seed in scores[subset]])
        subsets = [several[place] for place in own]
        roots, vectors = np.linalg.eigh(similarity[np.ix_(subsets, subsets)])
        level = np.zeros((len(own), len(several)))
        level[np.arange(len(own)), own] = 1.0
        levels.append(vectors.T @ level)
        values.append(vectors.T @ np.array([scores[subset][seed] for subset in subsets]))
        spectrum.append(np.maximum(roots, 0.0))
    design, observed, alike = np.concatenate(levels), np.concatenate(values), np.concatenate(spectrum)
    evidence = []
    for share in _SHARES:
        variances = share * alike + 1 - share
        weighted = design / variances[:, None]
        inner = design.T @ weighted
        left = observed - design @ np.linalg.solve(inner, weighted.T @ observed)
        squares = float((left**2 / variances).sum())
        volume = float(np.log(variances).sum()) + float(np.linalg.slogdet(inner)[1])
        evidence.append(-0.5 * (volume + freedom * np.log(squares)))
    posterior = prior * np.exp(np.array(evidence) - max(evidence))
    return float(posterior @ _SHARES / posterior.sum())


def chance_correlation(seeds: Sequence[Collection[int]], similarity: Floats, shared: float) -> Floats:
    """Correlation of chance in the mean scores of subsets, float64[K, K].

    Args:
        seeds: those each subset was trained with, one at least.
        similarity: Jaccard similarity of the subsets.
        shared: s of the module's formula, see :func:`shared_chance`.
    """
    every = sorted(set().union(*seeds))
    trained = np.array([[seed in own for seed in every] for own in seeds], np.float64)
    common = trained @ trained.T / np.sqrt(np.outer(trained.sum(axis=1), trained.sum(axis=1)))
    return np.asarray(common * (shared * similarity + (1 - shared) * np.eye(len(seeds))))
