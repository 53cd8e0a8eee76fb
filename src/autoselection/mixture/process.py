"""A Gaussian process over log shares: a line in them plus what departs from it, with a length scale for every source.

    f(z) = b + βᵀz + g(z),   cov(g(z), g(z')) = a · Matérn 5/2(√Σ_j (z_j - z'_j)² / ℓ_j²),   β_j ~ N(0, v)

The hyperparameters (ℓ_j, a, v and the noise's variance) are those of the highest posterior density: the marginal likelihood
of the scores times priors that are wide beside what a hundred runs say and hold where ten runs say little. With many runs
they are learnt from a part of them, drawn by a key that depends neither on the order of the runs nor on that of the
sources; predictions always use all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from autoselection.search.kernels import matern

Array = NDArray[np.float64]

CONSTANT = 4.0
"""Prior variance of the constant, in variances of the scores."""
LENGTH_DEVIATION = 1.0
"""Prior standard deviation of the logarithm of a length scale, around 2 √sources standard deviations of a log share."""
MOST_TO_LEARN = 200
"""Runs that the hyperparameters are learnt from; a step of the search takes time that grows with their third power."""
STEPS = 40
"""Most steps of the search for hyperparameters."""
JITTER = 1e-8


class Process(Protocol):
    """What predicts the scores of one column at one level.

    Attributes:
        scale: its unit: by how much scores differ, as a standard deviation.
    """

    scale: float

    def posterior(self, points: Array) -> tuple[Array, Array]:
        """Mean, shape (points,), and covariance, shape (points, points), of what mixtures deserve, without noise."""
        ...

    def leave_one_out(self) -> tuple[Array, Array]:
        """Mean and standard deviation (noise included) of every run's score, from all others, in the order of the runs."""
        ...

    @property
    def noise(self) -> float:
        """Variance of one score around what its mixture deserves."""
        ...


class Remembered:
    """A process that has worked out its posterior at some points: a search asks for the same ones again and again."""

    def __init__(self, process: Process, points: Array) -> None:
        self.process, self.scale = process, process.scale
        self._place = {point.tobytes(): place for place, point in enumerate(points)}
        self._mean, self._covariance = process.posterior(points)

    @property
    def noise(self) -> float:
        return self.process.noise

    def posterior(self, points: Array) -> tuple[Array, Array]:
        places = [self._place.get(point.tobytes(), -1) for point in points]
        if min(places, default=0) < 0:
            return self.process.posterior(points)
        return self._mean[places], self._covariance[np.ix_(places, places)]

    def leave_one_out(self) -> tuple[Array, Array]:
        return self.process.leave_one_out()


@dataclass(frozen=True, eq=False)
class Hyperparameters:
    """Of a column's process, scores in standard deviations.

    Attributes:
        lengths: length scale of every source, shape (inputs,).
        amplitude: variance of what departs from the line.
        slope: prior variance of a coefficient of the line.
        noise: variance of the noise.
    """

    lengths: Array
    amplitude: float
    slope: float
    noise: float

    def kernel(self, left: Array, right: Array) -> Array:
        """Prior covariances, shape (left, right), but for the constant."""
        return self.line(left, right) + self.curve(left, right)

    def line(self, left: Array, right: Array) -> Array:
        """Prior covariances of the line."""
        return np.asarray(self.slope * (left @ right.T))

    def curve(self, left: Array, right: Array) -> Array:
        """Prior covariances of what departs from the line."""
        return self.amplitude * matern(np.sqrt(_squares(left / self.lengths, right / self.lengths)))


def _squares(left: Array, right: Array) -> Array:
    """Squared Euclidean distances, shape (left, right)."""
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2.0 * (left @ right.T)
    return np.asarray(np.maximum(squares, 0.0))


def drawn(points: Array, count: int) -> NDArray[np.int64]:
    """Places of ``count`` points, as good as random, the same for any order of points and of inputs."""
    if len(points) <= count:
        return np.arange(len(points))
    keys = np.mod((points**2).sum(axis=1) * 1e4, 1.0)
    return np.sort(np.argsort(keys, kind="stable")[:count])


def learn(points: Array, scores: Array) -> Hyperparameters:
    """Hyperparameters of the highest posterior density.

    Args:
        points: inputs, shape (runs, inputs).
        scores: in standard deviations around their mean, shape (runs,).
    """
    chosen = drawn(points, MOST_TO_LEARN)
    points, scores = points[chosen], scores[chosen]
    inputs = points.shape[1]
    # Logarithms of: lengths, amplitude, noise, slope.
    centre = np.array([np.log(2.0 * np.sqrt(max(1, inputs)))] * inputs + [0.0, -4.0, np.log(1.0 / max(1, inputs))])
    deviation = np.array([LENGTH_DEVIATION] * inputs + [1.5, 1.5, 1.5])
    found = minimize(
        _cost,
        centre,
        (points, scores, centre, deviation),
        jac=True,
        method="L-BFGS-B",
        bounds=[(middle - 5 * wide, middle + 5 * wide) for middle, wide in zip(centre, deviation, strict=True)],
        options={"maxiter": STEPS},
    )
    logs = found.x
    return Hyperparameters(
        np.exp(logs[:inputs]), *(float(np.exp(logs[place])) for place in (inputs, inputs + 2, inputs + 1))
    )


def _cost(logs: Array, points: Array, scores: Array, centre: Array, deviation: Array) -> tuple[float, Array]:
    """Minus the log posterior density of the hyperparameters, up to a constant, and its gradient."""
    count, inputs = points.shape
    amplitude, noise, slope = np.exp(logs[inputs:])
    scaled = points * np.exp(-logs[:inputs])
    steps = np.sqrt(5.0 * _squares(scaled, scaled))
    decay = np.exp(-steps)
    curved = amplitude * (1.0 + steps + steps**2 / 3.0) * decay
    products = points @ points.T
    covariance = curved + slope * products + CONSTANT
    covariance[np.diag_indices(count)] += noise + JITTER
    try:
        factor = cholesky(covariance, lower=True, check_finite=False)
    except LinAlgError:
        return 1e10, np.zeros_like(logs)
    inverse = solve_triangular(factor, np.eye(count), lower=True, check_finite=False)
    inverse = inverse.T @ inverse
    weights = inverse @ scores
    off = (logs - centre) / deviation
    cost = 0.5 * scores @ weights + np.log(np.diag(factor)).sum() + 0.5 * off @ off
    # d log p / dθ = Σ W ∘ dK/dθ; for a length: dK/dlog ℓ_j = (5/3) a (1 + s) e^{-s} (z_j - z'_j)² / ℓ_j².
    pull = 0.5 * (np.outer(weights, weights) - inverse)
    bent = pull * (amplitude * (5.0 / 3.0) * (1.0 + steps) * decay)
    gradient = off / deviation
    gradient[:inputs] -= 2.0 * (bent.sum(axis=1) @ scaled**2 - np.einsum("nd,nd->d", scaled, bent @ scaled))
    gradient[inputs:] -= [(pull * curved).sum(), np.trace(pull) * noise, (pull * products).sum() * slope]
    return float(cost), gradient


class RelevanceProcess:
    """The process of one column at the cheapest level where it has scores.

    Args:
        points: inputs of the runs, shape (runs, inputs).
        scores: their scores, shape (runs,).
        scale: of the scores' departures from their mean where they cannot say (fewer than two, or all alike).
    """

    def __init__(self, points: Array, scores: Array, scale: float = 1.0) -> None:
        self.points = points
        self.centre = float(scores.mean())
        deviation = float(scores.std())
        self.scale = deviation if deviation > 1e-12 else scale
        standard = (scores - self.centre) / self.scale
        self.hyperparameters = learn(points, standard)
        covariance = self.hyperparameters.kernel(points, points) + CONSTANT
        covariance[np.diag_indices(len(points))] += self.hyperparameters.noise + JITTER
        self._factor = cho_factor(covariance, lower=True, check_finite=False)
        self._standard = standard
        self._weights = cho_solve(self._factor, standard)

    @property
    def noise(self) -> float:
        return self.hyperparameters.noise * self.scale**2

    def kernels(self, points: Array) -> tuple[Array, Array]:
        """Prior covariances of the line and of the curve between points, in variances of the scores."""
        return self.hyperparameters.line(points, points), self.hyperparameters.curve(points, points)

    def posterior(self, points: Array) -> tuple[Array, Array]:
        cross = self.hyperparameters.kernel(points, self.points) + CONSTANT
        half = solve_triangular(self._factor[0], cross.T, lower=True, check_finite=False)
        covariance = self.hyperparameters.kernel(points, points) + CONSTANT - half.T @ half
        return self.centre + self.scale * (cross @ self._weights), self.scale**2 * covariance

    def leave_one_out(self) -> tuple[Array, Array]:
        inverse = cho_solve(self._factor, np.eye(len(self.points)))
        precision = np.diag(inverse)
        missed = self._weights / precision
        return self.centre + self.scale * (self._standard - missed), self.scale / np.sqrt(precision)
