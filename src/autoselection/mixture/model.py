"""The model of a table of runs: every score column at every level, and one number that they are summed up in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoselection.mixture.inputs import LogShares
from autoselection.mixture.link import Link, weigh_together
from autoselection.mixture.process import Process, RelevanceProcess, Remembered

Array = NDArray[np.float64]

PSEUDO_ERRORS = 4.0
"""Weight of the belief that intervals are as wide as they should be, in runs left out."""
ERRORS_WANTED = 30
"""Left-out runs that the width of intervals is judged by; with fewer at the target, levels below are asked too."""


@dataclass(frozen=True, eq=False)
class Belief:
    """What is believed of some mixtures' objective: mean, shape (mixtures,), and covariance, without noise."""

    mean: Array
    covariance: Array

    @property
    def deviation(self) -> Array:
        """Standard deviations, shape (mixtures,)."""
        return np.asarray(np.sqrt(np.maximum(np.diag(self.covariance), 0.0)))

    def first_better(self, noise: float = 0.0) -> Array:
        """Probability that mixture i scores higher than j, shape (mixtures, mixtures).

        Args:
            noise: variance of one score; of two runs, twice this is added.
        """
        from scipy.special import ndtr

        variance = np.diag(self.covariance)
        spread = variance[:, None] + variance - 2.0 * self.covariance + 2.0 * noise
        return np.asarray(ndtr((self.mean[:, None] - self.mean) / np.sqrt(np.maximum(spread, 1e-16))))


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Every run of a level predicted without its own score: means, deviations (noise included) and scores, higher is
    better; NaN where a run has no such score. Shapes (runs, columns)."""

    rows: NDArray[np.int64]
    mean: Array
    deviation: Array
    score: Array


class MixtureModel:
    """Predicts what mixtures score at each level, from the runs of all levels up to it.

    Args:
        shares: shape (runs, sources), each row summing to one.
        scores: higher is better, NaN where missing, shape (runs, columns).
        levels: level of every run, 0 the cheapest, shape (runs,).
        count: number of levels; the last one is the target.
        inputs: of mixtures; None: learnt from ``shares``.
        below: a model of the same runs at all levels but the target, which is then not learnt again.
        remember: mixtures that the target is going to be asked about often, shape (mixtures, sources).
    """

    def __init__(
        self,
        shares: Array,
        scores: Array,
        levels: NDArray[np.int64],
        count: int,
        inputs: LogShares | None = None,
        below: MixtureModel | None = None,
        remember: Array | None = None,
    ) -> None:
        self.inputs = LogShares.of(shares) if inputs is None else inputs
        self._scores, self._levels = scores, levels
        points = self.inputs(shares)
        known = np.isfinite(scores)
        columns = scores.shape[1]
        self.processes: list[list[Process | None]] = []  # level, column
        self._base: list[RelevanceProcess | None] = [None] * columns
        self._widening: dict[bytes, float] = {}
        lowers: list[Process | None] = [None] * columns
        first = 0
        if below is not None:
            self.inputs, first = below.inputs, count - 1
            points = self.inputs(shares)
            self.processes, self._base = below.processes[:first], list(below._base)
            lowers = list(self.processes[-1])
        for level in range(first, count):
            here: list[Process | None] = []
            links: list[Link] = []
            for column in range(columns):
                rows = np.flatnonzero((levels == level) & known[:, column])
                lower, base = lowers[column], self._base[column]
                process: Process | None
                if lower is not None and base is not None:
                    process = Link(lower, base, points[rows], scores[rows, column])
                    links.append(process)
                elif len(rows):
                    spread = float(np.nanstd(scores[:, column]))
                    process = self._base[column] = RelevanceProcess(points[rows], scores[rows, column], spread or 1.0)
                else:
                    process = None
                here.append(process)
            if links:
                weigh_together(links)
            if remember is not None and level == count - 2:
                asked = self.inputs(remember)
                here = [process and Remembered(process, asked) for process in here]
            self.processes = [*self.processes, here]
            lowers = here
        self.target = count - 1

    def column(self, column: int, shares: Array, level: int | None = None) -> Belief:
        """What is believed of one column's scores (higher is better)."""
        process = self.processes[self.target if level is None else level][column]
        if process is None:
            return Belief(np.zeros(len(shares)), np.eye(len(shares)))
        return Belief(*process.posterior(self.inputs(shares)))

    def columns(self, shares: Array, block: int = 400) -> tuple[Array, Array]:
        """Means and variances of every column at the target, without noise, shape (mixtures, columns) each."""
        points = self.inputs(shares)
        means, variances = np.zeros((2, len(points), len(self._base)))
        for column, process in enumerate(self.processes[self.target]):
            for start in range(0, len(points) if process else 0, block):
                here = slice(start, start + block)
                means[here, column], covariance = process.posterior(points[here])  # type: ignore[union-attr]
                variances[here, column] = np.maximum(np.diag(covariance), 0.0)
        return means, variances

    def left_out(self, level: int) -> LeftOut:
        """Leave-one-out predictions of a level's runs."""
        rows = np.flatnonzero(self._levels == level)
        mean, deviation = np.full((2, len(rows), self._scores.shape[1]), np.nan)
        for column, process in enumerate(self.processes[level]):
            known = np.isfinite(self._scores[rows, column])
            if process is not None and known.any():
                mean[known, column], deviation[known, column] = process.leave_one_out()
        return LeftOut(rows, mean, deviation, self._scores[rows])

    def noise(self, weights: Array, level: int | None = None) -> float:
        """Variance of one run's objective around what its mixture deserves."""
        processes = self.processes[self.target if level is None else level]
        return float(sum(w**2 * process.noise for w, process in zip(weights, processes, strict=True) if process))

    def widening(self, weights: Array) -> float:
        """Factor on the variance of the objective: what columns' errors have in common, and what intervals lack.

        The squared leave-one-out errors of the objective over the sum of its columns' variances, mean over the runs of
        the target level, and of those below as long as there are few.
        """
        key = weights.tobytes()
        if key not in self._widening:
            self._widening[key] = self._measured_widening(weights)
        return self._widening[key]

    def _measured_widening(self, weights: Array) -> float:
        total, count = PSEUDO_ERRORS, PSEUDO_ERRORS
        for level in range(self.target, -1, -1):
            found = self.left_out(level)
            used = weights != 0
            complete = np.isfinite(found.mean[:, used]).all(axis=1)
            if complete.sum() < 3:
                continue
            errors = (found.score - found.mean)[complete][:, used] @ weights[used]
            variances = (found.deviation[complete][:, used] ** 2) @ weights[used] ** 2
            total += float((errors**2 / variances).sum())
            count += int(complete.sum())
            if count >= ERRORS_WANTED:
                break
        return total / count

    def objective(self, weights: Array, shares: Array, level: int | None = None) -> Belief:
        """What is believed of the weighted sum of the columns.

        Args:
            weights: of the columns, shape (columns,).
            shares: of the mixtures, shape (mixtures, sources).
            level: the target unless given.
        """
        mean = np.zeros(len(shares))
        covariance = np.zeros((len(shares), len(shares)))
        for column in np.flatnonzero(weights):
            belief = self.column(int(column), shares, level)
            mean += weights[column] * belief.mean
            covariance += weights[column] ** 2 * belief.covariance
        return Belief(mean, self.widening(weights) * covariance)

    def slopes(self, level: int) -> Array:
        """How far each column at a level moves the target: product of the mean slopes above it, shape (columns,)."""
        found = np.ones(len(self._base))
        for above in range(level + 1, self.target + 1):
            for column, process in enumerate(self.processes[above]):
                inner = process.process if isinstance(process, Remembered) else process
                if isinstance(inner, Link):
                    found[column] *= inner.slope[0]
        return found

    def reaches(self, weights: Array, candidates: Array, runs: Array, level: int) -> tuple[Array, Array]:
        """How the objective of candidates at the target goes with a run's score at a level.

        Below the target this is what the level's process knows of both, times the slopes above it, for columns that
        are independent: what the target's own runs say already is not taken off, so it is an upper bound.

        Returns:
            covariances, shape (candidates, runs), and the variance of each run's objective, noise included, in units of
            the target, shape (runs,).
        """
        count = len(candidates)
        slopes = self.slopes(level)
        covariance = np.zeros((count, len(runs)))
        variance = np.zeros(len(runs))
        both = self.inputs(np.concatenate([candidates, runs]))
        for column in np.flatnonzero(weights):
            process = self.processes[level][column]
            if process is None:
                continue
            _, found = process.posterior(both)
            scale = (weights[column] * slopes[column]) ** 2
            covariance += scale * found[:count, count:]
            variance += scale * (np.diag(found)[count:] + process.noise)
        widening = self.widening(weights)
        return widening * covariance, widening * variance
