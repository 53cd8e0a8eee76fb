"""Gaussian processes that predict the score of a recipe before it is trained.

Two models behind one function pair, :func:`predict` and :func:`leave_one_out`:

* ``features: encoding`` is the published one: scikit-learn's ``GaussianProcessRegressor`` with constant × Matérn 5/2
  over the recipe's encoded parameters, noise 1e-2 and normalised scores.
* All others see what a recipe *did* to the pool. The kernel is a convex combination of a Matérn 5/2 term over the state
  vector and the weighted Jaccard (Tanimoto) overlap of the realized subsets,

      k(A, B) = w · Matérn(|z(A) - z(B)| / ℓ) + (1 - w) · tokens(A ∩ B) / tokens(A ∪ B),

  both of which are positive semi-definite. At 3 to 15 points a maximum-likelihood estimate of (w, ℓ, noise) is close
  to arbitrary, so predictions are averaged over a small fixed grid of them, each weighted by its marginal likelihood;
  the amplitude has an inverse-gamma prior and is integrated out. No optimiser, hence no restarts and no local optima.

Scores of a pool's recipes have a long lower tail (a recipe that loses a task can score ten times the noise below the
rest). ``robust`` maps scores by ``asinh`` around their median before fitting; predictions are mapped back.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import spearmanr

from autoselection.search.config import SurrogateConfig

Array = NDArray[np.float64]

LENGTH_SCALES = (0.5, 1.0, 2.0, 4.0)
"""Length scales of the Matérn terms, in units of the square root of the number of features (features have scale 1)."""
NOISES = (1e-3, 1e-2, 5e-2, 0.2)
"""Noise variances, relative to the amplitude of the kernel."""
AMPLITUDE_SHAPE, AMPLITUDE_RATE = 2.0, 1.0
"""Inverse-gamma prior of the amplitude of standardised scores: mean 1, heavy upper tail."""
MIN_POINTS_FOR_LEAVE_ONE_OUT = 5


@dataclass(frozen=True, eq=False)
class Point:
    """What the surrogate sees of a recipe.

    Attributes:
        rows: distinct rows of the realized subset, in any order.
        state: state vector extended by row shares per source, scaled by :class:`Scale`.
        encoding: encoded parameters of the recipe.
    """

    rows: NDArray[np.int64]
    state: Array
    encoding: Array


@dataclass(frozen=True)
class Prediction:
    """Predicted score: mean, standard deviation and upper confidence bound, in score units."""

    mu: float
    sigma: float
    ucb: float

    def to_dict(self) -> dict[str, float]:
        return {"mu": self.mu, "sigma": self.sigma, "ucb": self.ucb}


@dataclass(frozen=True, eq=False)
class Scale:
    """Centre and spread of each state feature over recipes drawn at random, so that features compare."""

    centre: Array
    spread: Array

    @classmethod
    def of(cls, vectors: Array) -> Scale:
        """From an (n, k) array of raw vectors; NaN is left out; a feature that never varies gets spread 1."""
        known = np.isfinite(vectors)
        count = np.maximum(known.sum(axis=0), 1)
        centre = np.where(known, vectors, 0.0).sum(axis=0) / count
        spread = np.sqrt((np.where(known, vectors - centre, 0.0) ** 2).sum(axis=0) / count)
        return cls(centre, np.where(spread > 1e-9, spread, 1.0))

    def __call__(self, vector: Array) -> Array:
        """Scaled vector; a missing (NaN) feature becomes 0, the centre."""
        scaled = (vector - self.centre) / self.spread
        return np.where(np.isfinite(scaled), scaled, 0.0)


def overlap(subsets: Sequence[NDArray[np.int64]], weights: Array) -> Array:
    """Weighted Jaccard similarity of every pair of subsets: ``w(A ∩ B) / w(A ∪ B)``, shape (n, n).

    Args:
        subsets: distinct row indices of each subset, none empty.
        weights: positive weight of each row of the pool, such as its number of tokens.
    """
    from scipy.sparse import csr_matrix

    indptr = np.concatenate([[0], np.cumsum([len(rows) for rows in subsets])])
    indices = np.concatenate([np.sort(rows) for rows in subsets]) if len(subsets) else np.zeros(0, np.int64)
    shape = (len(subsets), len(weights))
    # The square root splits each weight evenly, so that M @ M.T sums whole weights over common rows.
    members = csr_matrix((np.sqrt(weights)[indices], indices, indptr), shape=shape)
    if len(indices) > 0.1 * np.prod(shape):
        dense = members.toarray()
        common = dense @ dense.T
    else:
        common = np.asarray((members @ members.T).todense())
    sizes = np.diag(common)
    return np.asarray(common / (sizes[:, None] + sizes[None, :] - common))


def matern(distance: Array) -> Array:
    """Matérn 5/2 correlation, ``(1 + a + a²/3) e^{-a}`` with ``a = √5 · distance``."""
    a = np.sqrt(5.0) * distance
    return np.asarray((1.0 + a + a * a / 3.0) * np.exp(-a))


@dataclass(frozen=True)
class _Transform:
    """Scores to a scale on which a Gaussian process works, and back."""

    centre: float
    scale: float
    robust: bool

    @classmethod
    def of(cls, scores: Array, robust: bool) -> _Transform:
        if not robust:
            deviation = float(scores.std())
            return cls(float(scores.mean()), deviation if deviation > 1e-12 else 1.0, False)
        centre = float(np.median(scores))
        # Half of the spread of the better half: bad scores do not widen it.
        upper = scores[scores >= centre] - centre
        scale = float(np.sqrt(np.mean(upper**2)))
        if scale <= 1e-12:
            scale = float(scores.std())
        return cls(centre, scale if scale > 1e-12 else 1.0, True)

    def forward(self, scores: Array) -> Array:
        z = (scores - self.centre) / self.scale
        return np.asarray(np.arcsinh(z) if self.robust else z)

    def backward(self, z: Array) -> Array:
        return np.asarray(self.centre + self.scale * (np.sinh(z) if self.robust else z))


class KernelParts:
    """Kernel matrices over one fixed list of points, for every setting of the hyperparameters.

    Args:
        points: evaluated recipes and proposals together; later calls name them by position.
        config: which parts there are.
        weights: weight of each row of the pool.
    """

    def __init__(self, points: Sequence[Point], config: SurrogateConfig, weights: Array) -> None:
        self.config = config
        self.points = points
        self.distances: list[Array] = []
        self.similarity: Array | None = None
        if config.features in ("realized", "state", "both"):
            self.distances.append(_distance(np.array([point.state for point in points])))
        if config.features in ("encoding", "both"):
            self.distances.append(_distance(np.array([point.encoding for point in points])))
        if config.features in ("realized", "subset", "both"):
            self.similarity = overlap([point.rows for point in points], weights)
        self.kernels = list(self._grid())

    def _grid(self) -> Any:
        """Every kernel matrix of the grid, each with diagonal 1."""
        maternal = [
            [matern(distance / length) for length in LENGTH_SCALES] if distance.any() else []
            for distance in self.distances
        ]
        choices = [options for options in maternal if options]
        if not choices:
            yield self.similarity if self.similarity is not None else np.ones((len(self.points), len(self.points)))
            return
        for terms in product(*choices):
            mean = np.mean(terms, axis=0)
            if self.similarity is None:
                yield mean
            else:
                for weight in (0.25, 0.5, 0.75):
                    yield weight * mean + (1.0 - weight) * self.similarity


def _distance(features: Array) -> Array:
    """Euclidean distances divided by the square root of the number of features, shape (n, n)."""
    from scipy.spatial.distance import cdist

    if features.shape[1] == 0:
        return np.zeros((len(features), len(features)))
    return np.asarray(cdist(features, features) / np.sqrt(features.shape[1]))


def predict(
    parts: KernelParts, train: Sequence[int], scores: Array, test: Sequence[int], kappa: float, seed: int = 0
) -> list[Prediction]:
    """Predict the scores of ``test`` points from those of ``train`` points (positions in ``parts.points``)."""
    transform = _Transform.of(scores, parts.config.robust and parts.config.features != "encoding")
    y = transform.forward(scores)
    if parts.config.features == "encoding":
        mean, deviation = _published(parts, train, y, test, seed)
    else:
        mean, deviation = _averaged(parts, train, y, test)
    mu = transform.backward(mean)
    sigma = (transform.backward(mean + deviation) - transform.backward(mean - deviation)) / 2.0
    ucb = transform.backward(mean + kappa * deviation)
    return [Prediction(float(m), float(s), float(u)) for m, s, u in zip(mu, sigma, ucb, strict=True)]


def _averaged(parts: KernelParts, train: Sequence[int], y: Array, test: Sequence[int]) -> tuple[Array, Array]:
    """Posterior mean and standard deviation, averaged over the grid by marginal likelihood."""
    centre = float(y.mean())
    y = y - centre
    n = len(y)
    log_evidence, means, variances = [], [], []
    inside, across = np.ix_(train, train), np.ix_(train, test)
    for kernel in parts.kernels:
        base, cross = kernel[inside], kernel[across]
        for noise in NOISES:
            factor = cho_factor(base + (noise + 1e-10) * np.eye(n), lower=True)
            weights = cho_solve(factor, y)
            misfit = AMPLITUDE_RATE + 0.5 * float(y @ weights)
            half_log_det = float(np.log(np.diag(factor[0])).sum())
            log_evidence.append(-half_log_det - (AMPLITUDE_SHAPE + 0.5 * n) * np.log(misfit))
            amplitude = misfit / (AMPLITUDE_SHAPE + 0.5 * n - 1.0)
            explained = np.einsum("ij,ij->j", cross, cho_solve(factor, cross))
            means.append(cross.T @ weights)
            variances.append(amplitude * np.clip(1.0 - explained, 1e-12, None))
    evidence = np.array(log_evidence)
    share = np.exp(evidence - evidence.max())
    share /= share.sum()
    mean = share @ np.array(means)
    second = share @ (np.array(variances) + np.array(means) ** 2)
    return mean + centre, np.sqrt(np.clip(second - mean**2, 1e-12, None))


def _published(
    parts: KernelParts, train: Sequence[int], y: Array, test: Sequence[int], seed: int
) -> tuple[Array, Array]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern

    features = np.array([point.encoding for point in parts.points])
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(length_scale=1.0, length_scale_bounds=(1e-1, 1e2), nu=2.5)
    model = GaussianProcessRegressor(
        kernel=kernel,
        alpha=parts.config.noise,
        normalize_y=True,
        n_restarts_optimizer=parts.config.restarts,
        random_state=seed,
    )
    with warnings.catch_warnings():
        # A length scale at its bound is usual with a handful of points and no failure.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features[list(train)], y)
        mean, deviation = model.predict(features[list(test)], return_std=True)
    return np.asarray(mean), np.maximum(np.asarray(deviation), 1e-6)


def leave_one_out(parts: KernelParts, train: Sequence[int], scores: Array, seed: int = 0) -> float | None:
    """Spearman correlation of scores with predictions made without them.

    None below five points or where the scores, or the predictions, are all alike.
    """
    if len(train) < MIN_POINTS_FOR_LEAVE_ONE_OUT or np.ptp(scores) == 0:
        return None
    predicted = []
    for left_out in range(len(train)):
        keep = [position for position in range(len(train)) if position != left_out]
        rest = [train[position] for position in keep]
        predicted.append(predict(parts, rest, scores[keep], [train[left_out]], 0.0, seed)[0].mu)
    if np.ptp(predicted) == 0:
        return None
    return float(spearmanr(scores, predicted).statistic)
