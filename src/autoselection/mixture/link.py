"""From one level to the next: what larger trainings deserve, given what smaller ones do.

    f(x) = b + ρ · (lower(x) - c) + δ(x)

(Kennedy and O'Hagan 2000, computed level by level as Le Gratiet and Garnier 2014 do). ``lower`` is what the cheaper level's
process knows, with its uncertainty; c is the lower level's mean score. The correlation of two levels is no number given:
ρ has a normal prior, integrated out, and the strengths of it, of δ and of the noise are a grid, every setting weighted by
how well it explains the scores. A setting that many columns favour is favoured for the others (each column's prior over
the grid is learnt from all other columns), for a handful of large runs says little about one column by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular

from autoselection.mixture.process import JITTER, Process, RelevanceProcess, drawn

Array = NDArray[np.float64]

SLOPES = (0.0, 0.35, 0.7, 1.0)
"""Prior means of ρ, from levels that tell nothing of each other to those that agree."""
SLOPE_DEVIATIONS = (0.15, 0.5)
"""Prior standard deviations of ρ."""
DEPARTURES = (1e-3, 3e-2, 1.0)
"""Variances of the line and of the curve in δ, relative to those of the lowest level's process in units of the link, each by
itself: what a larger model makes of a little of a source may differ by a line in its logarithm, and nothing else."""
NOISES = (3e-4, 3e-3, 3e-2, 0.2)
"""Variances of the noise, in units of the link."""
OFFSET = 100.0
"""Prior variance of b, in units of the link: as good as unknown."""
PSEUDO_COLUMNS = 1.0
"""Weight of the flat prior over the grid beside the other columns."""
LEAST_WEIGHT = 0.05
"""Settings that explain less than this, beside the one that explains most, are left out of predictions."""
MOST_TO_WEIGH = 100
"""Runs that the settings are weighed by; predictions use all."""


@dataclass(frozen=True)
class Setting:
    """One point of the grid; see the module's formula."""

    slope: float
    slope_deviation: float
    line: float
    curve: float
    noise: float


GRID = tuple(Setting(*values) for values in product(SLOPES, SLOPE_DEVIATIONS, DEPARTURES, DEPARTURES, NOISES))


@dataclass(frozen=True, eq=False)
class Parts:
    """At some points: the lower level's mean and covariance, and covariances of a line and of a curve."""

    mean: Array
    covariance: Array
    line: Array
    curve: Array

    def at(self, places: NDArray[np.int64]) -> Parts:
        """The same at some of the points."""
        both = np.ix_(places, places)
        return Parts(self.mean[places], self.covariance[both], self.line[both], self.curve[both])


class Link:
    """The process of one column at a level above its lowest.

    Args:
        lower: the process of the level below.
        base: the process of the column's lowest level, which gives length scales.
        points: inputs of this level's runs, shape (runs, inputs); there may be none.
        scores: their scores, shape (runs,).

    Attributes:
        scale: the link's unit, a standard deviation of scores: of this level or of one below, whichever is largest. A small
            model that scores by chance has scores that are nearly alike, and says nothing of how far those of a large one differ.
    """

    def __init__(self, lower: Process, base: RelevanceProcess, points: Array, scores: Array) -> None:
        self.lower, self.base, self.points = lower, base, points
        self.scale = max(lower.scale, float(scores.std())) if len(scores) else lower.scale
        self._scores = scores / self.scale
        # Around the mean score of the runs: the constant's prior is then never far from the data.
        self._centre = float(self._scores.mean()) if len(scores) else base.centre / self.scale
        self._lower_centre = base.centre / self.scale
        self._settings: list[tuple[Setting, float]] = []
        self._evidence: Array | None = None
        self._factors: dict[Setting, tuple[Array, bool]] = {}
        self._known = self._parts(points)
        self.weigh(np.full(len(GRID), 1.0 / len(GRID)))

    def _parts(self, points: Array) -> Parts:
        """What the prior at some points is made of, in units of the link."""
        scale = self.scale
        mean, covariance = self.lower.posterior(points)
        line, curve = self.base.kernels(points)
        return Parts(mean / scale - self._lower_centre, covariance / scale**2, line, curve)

    def _prior(self, setting: Setting, parts: Parts) -> tuple[Array, Array]:
        mean, covariance = parts.mean, parts.covariance
        uncertain = setting.slope**2 + setting.slope_deviation**2
        total = uncertain * covariance + setting.slope_deviation**2 * np.outer(mean, mean)
        return (
            self._centre + setting.slope * mean,
            total + setting.line * parts.line + setting.curve * parts.curve + OFFSET,
        )

    def _factor(self, setting: Setting) -> tuple[Array, bool]:
        if setting not in self._factors:
            _, covariance = self._prior(setting, self._known)
            covariance[np.diag_indices(len(covariance))] += setting.noise + JITTER
            self._factors[setting] = cho_factor(covariance, lower=True, check_finite=False)
        return self._factors[setting]

    def evidence(self) -> Array:
        """Log marginal likelihood of this level's scores under every setting, shape (grid,), up to a constant."""
        if self._evidence is None:
            found = np.zeros(len(GRID))
            if len(self.points):
                chosen = drawn(self.points, MOST_TO_WEIGH)
                parts = self._known.at(chosen)
                for place, setting in enumerate(GRID):
                    mean, covariance = self._prior(setting, parts)
                    off = self._scores[chosen] - mean
                    covariance[np.diag_indices(len(off))] += setting.noise + JITTER
                    factor = cholesky(covariance, lower=True, check_finite=False)
                    half = solve_triangular(factor, off, lower=True, check_finite=False)
                    found[place] = -0.5 * half @ half - np.log(np.diag(factor)).sum()
            self._evidence = found
        return self._evidence

    def weigh(self, prior: Array) -> Array:
        """Weight the settings by prior and evidence; gives the posterior weights, shape (grid,)."""
        logs = self.evidence() + np.log(prior)
        weights = np.exp(logs - logs.max())
        weights /= weights.sum()
        kept = np.flatnonzero(weights >= LEAST_WEIGHT * weights.max())
        share = weights[kept] / weights[kept].sum()
        self._settings = [(GRID[place], float(weight)) for place, weight in zip(kept, share, strict=True)]
        return np.asarray(weights)

    @property
    def noise(self) -> float:
        return self.scale**2 * sum(weight * setting.noise for setting, weight in self._settings)

    @property
    def slope(self) -> tuple[float, float]:
        """Mean and standard deviation of ρ, given the scores."""
        means, seconds = [], []
        for setting, _ in self._settings:
            mean, variance = setting.slope, setting.slope_deviation**2
            if len(self.points):
                prior, _ = self._prior(setting, self._known)
                cross = variance * self._known.mean
                solved = cho_solve(self._factor(setting), np.column_stack([self._scores - prior, cross]))
                mean, variance = mean + cross @ solved[:, 0], variance - cross @ solved[:, 1]
            means.append(mean)
            seconds.append(variance + mean**2)
        weights = np.array([weight for _, weight in self._settings])
        mean = float(weights @ np.array(means))
        return mean, math.sqrt(max(0.0, float(weights @ np.array(seconds)) - mean**2))

    def posterior(self, points: Array) -> tuple[Array, Array]:
        count = len(self.points)
        parts = self._parts(np.concatenate([self.points, points]))
        means, covariances = [], []
        for setting, _ in self._settings:
            prior, covariance = self._prior(setting, parts)
            if count == 0:
                means.append(prior)
                covariances.append(covariance)
                continue
            factor = self._factor(setting)
            half = solve_triangular(factor[0], covariance[:count, count:], lower=True, check_finite=False)
            off = solve_triangular(factor[0], self._scores - prior[:count], lower=True, check_finite=False)
            means.append(prior[count:] + off @ half)
            covariances.append(covariance[count:, count:] - half.T @ half)
        weights = np.array([weight for _, weight in self._settings])
        every = np.array(means)
        mean = weights @ every
        off = every - mean
        covariance = np.einsum("s,sij->ij", weights, np.array(covariances)) + (weights[:, None] * off).T @ off
        return self.scale * mean, self.scale**2 * covariance

    def leave_one_out(self) -> tuple[Array, Array]:
        means, seconds = np.zeros((2, len(self.points)))
        for setting, weight in self._settings:
            prior, _ = self._prior(setting, self._known)
            inverse = cho_solve(self._factor(setting), np.eye(len(self.points)))
            precision = np.diag(inverse)
            mean = self._scores - (inverse @ (self._scores - prior)) / precision
            means += weight * mean
            seconds += weight * (1.0 / precision + mean**2)
        deviations = np.sqrt(np.maximum(seconds - means**2, 1e-16))
        return self.scale * means, self.scale * deviations


#: How often the columns' weights are matched to one another (count).
_ROUNDS = 4


def weigh_together(links: Sequence[Link]) -> None:
    """Weight the settings of all columns at one level, each column's prior being what the others found."""
    flat = np.full(len(GRID), PSEUDO_COLUMNS / len(GRID))
    weights = np.array([link.weigh(flat / flat.sum()) for link in links])
    for _ in range(_ROUNDS if len(links) > 1 else 0):
        others = flat + weights.sum(axis=0) - weights
        weights = np.array([link.weigh(prior / prior.sum()) for link, prior in zip(links, others, strict=True)])
