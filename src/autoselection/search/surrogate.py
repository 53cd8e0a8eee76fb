"""The ranker that comes with the package: Gaussian processes that predict the score of a recipe before it is trained.

Two models behind one class, :class:`GaussianProcess`:

* ``features: encoding`` is the published one: scikit-learn's ``GaussianProcessRegressor`` with constant × Matérn 5/2
  over the recipe's encoded parameters, noise 1e-2 and normalised scores.
* All others see what a recipe *did* to the pool. The kernel is a convex combination of a Matérn 5/2 term over the
  features z of the subset (:mod:`autoselection.search.features`) and the weighted Jaccard (Tanimoto) overlap of the
  realized subsets,

      k(A, B) = w · Matérn(|z(A) - z(B)| / ℓ) + (1 - w) · tokens(A ∩ B) / tokens(A ∪ B),

  both positive semi-definite. At 3 to 15 points a maximum-likelihood estimate of (w, ℓ, noise) is close to
  arbitrary, so predictions are averaged over a small fixed grid of them, each weighted by its marginal likelihood;
  the amplitude has an inverse-gamma prior and is integrated out. No optimiser, hence no restarts and no local optima.
  Between short and full trainings (:mod:`autoselection.search.fidelity`) the kernel is multiplied by their correlation,
  another hyperparameter of the grid.

Scores of a pool's recipes have a long lower tail (a recipe that loses a task can score ten times the noise below the
rest). ``robust`` maps scores by ``asinh`` around their median before fitting; predictions are mapped back.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from autoselection.search.config import SearchConfig, SurrogateConfig
from autoselection.search.overlaps import overlap
from autoselection.search.ranker import (
    MIN_POINTS_FOR_LEAVE_ONE_OUT,
    Known,
    LeaveOneOut,
    Point,
    Prediction,
    calibration,
    log_expected_improvement,
)

# The process over recipe encodings stands in for the published one; nobody tunes what is compared with.
PUBLISHED_NOISE = 1e-2
"""Its noise variance, in units of the scores' variance."""
PUBLISHED_RESTARTS = 2
"""Restarts of the optimiser of its length scale."""

Array = NDArray[np.float64]

LENGTH_SCALES = (1.0, 2.0, 4.0, 8.0)
"""Length scales of the Matérn terms, in units of the square root of the number of features (features have scale 1)."""
SHARES = (0.25, 0.5, 0.75)
"""Shares of the kernel that the Matérn term gets; the overlap gets the rest."""
RELATIONS = (0.5, 0.8, 0.95)
"""Correlations of short and full trainings of one recipe."""
NOISES = (1e-3, 1e-2, 5e-2, 0.2)
"""Noise variances, relative to the amplitude of the kernel."""
AMPLITUDE_SHAPE, AMPLITUDE_RATE = 2.0, 1.0
"""Inverse-gamma prior of the amplitude of standardised scores: mean 1, heavy upper tail."""


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
    """Kernel matrices for every setting of the hyperparameters: of some evaluated points with themselves and others.

    Args:
        train: evaluated recipes.
        test: recipes to predict.
        config: which parts there are.
        weights: weight of each row of the pool.
        places: places of the evaluated ones among the subsets asked for, if all points know their similarity with those.
    """

    def __init__(
        self,
        train: Sequence[Point],
        test: Sequence[Point],
        config: SurrogateConfig,
        weights: Array,
        places: Sequence[int] | None = None,
    ) -> None:
        self.config = config
        self.points = [*train, *test]
        self.n_train = len(train)
        self._distances: list[Array] = []
        self._similarity: Array | None = None
        if config.features in ("realized", "state", "both"):
            self._distances.append(_distance(np.array([point.state for point in self.points]), self.n_train))
        if config.features in ("encoding", "both"):
            self._distances.append(_distance(np.array([point.encoding for point in self.points]), self.n_train))
        if config.features in ("realized", "subset", "both"):
            if places is None:
                rows = [point.rows for point in self.points]
                self._similarity = overlap(rows[: self.n_train], weights, rows)
            else:
                self._similarity = np.array([point.similarity[list(places)] for point in self.points]).T
        levels = np.array([point.fidelity for point in self.points])
        self._other_level = levels[: self.n_train, None] != levels[None, :]
        self.kernels = np.array(list(self._related()))  # (settings, train, all points)

    def _related(self) -> Iterator[Array]:
        """The grid, with every correlation of short and full trainings where there are both."""
        for kernel in self._grid():
            if not self._other_level.any():
                yield kernel
                continue
            for relation in RELATIONS:
                yield np.where(self._other_level, relation * kernel, kernel)

    def _grid(self) -> Iterator[Array]:
        """Every setting's kernel, train × all points; 1 for a point with itself."""
        choices = [
            [matern(distance / length) for length in LENGTH_SCALES] for distance in self._distances if distance.any()
        ]
        if not choices:
            alike = np.ones((self.n_train, len(self.points)))
            yield alike if self._similarity is None else self._similarity
            return
        for terms in product(*choices):
            mean = np.mean(terms, axis=0)
            if self._similarity is None:
                yield mean
            else:
                for share in SHARES:
                    yield share * mean + (1.0 - share) * self._similarity


def _distance(features: Array, n_train: int) -> Array:
    """Euclidean distances of the first points to all, divided by the square root of the number of features."""
    from scipy.spatial.distance import cdist

    if features.shape[1] == 0:
        return np.zeros((n_train, len(features)))
    return np.asarray(cdist(features[:n_train], features) / np.sqrt(features.shape[1]))


class GaussianProcess:
    """Ranks by ``search.surrogate``; see :class:`autoselection.search.ranker.Ranker`."""

    def __init__(self, config: SearchConfig) -> None:
        self.config = config.surrogate

    def _parts(self, known: Known, points: Sequence[Point] = ()) -> KernelParts:
        return KernelParts(known.points, points, self.config, known.weights, known.places)

    def predict(self, known: Known, points: Sequence[Point], kappa: float, seed: int) -> list[Prediction]:
        return predict(self._parts(known, points), known.scores, kappa, seed)

    def noise(self, known: Known) -> float:
        return noise_deviation(self._parts(known), known.scores)

    def leave_one_out(self, known: Known, seed: int) -> LeaveOneOut | None:
        return leave_one_out(self._parts(known), known.scores, seed)


def predict(parts: KernelParts, scores: Array, kappa: float, seed: int = 0) -> list[Prediction]:
    """Predictions for all points of ``parts``, the evaluated ones (whose ``scores`` are given) first."""
    transform = _Transform.of(scores, parts.config.robust and parts.config.features != "encoding")
    y = transform.forward(scores)
    if parts.config.features == "encoding":
        mean, deviation = _published(parts, y, seed)
    else:
        everything = np.arange(len(parts.points))
        mean, deviation, _ = _averaged(parts, np.arange(parts.n_train), y, everything)
    mu = transform.backward(mean)
    sigma = (transform.backward(mean + deviation) - transform.backward(mean - deviation)) / 2.0
    ucb = transform.backward(mean + kappa * deviation)
    gain = log_expected_improvement(mean, deviation, float(mean[: parts.n_train].max()))
    return [Prediction(float(m), float(s), float(u), float(g)) for m, s, u, g in zip(mu, sigma, ucb, gain, strict=True)]


def noise_deviation(parts: KernelParts, scores: Array) -> float:
    """Standard deviation of one score around what the subset deserves, as the surrogate sees it, near the leader (score
    units); repeated evaluations of a subset tell most about it."""
    if parts.config.features == "encoding":
        return float(np.sqrt(PUBLISHED_NOISE) * scores.std())
    transform = _Transform.of(scores, parts.config.robust)
    everything = np.arange(parts.n_train)
    mean, _, noise = _averaged(parts, everything, transform.forward(scores), everything)
    edges = transform.backward(mean.max() + np.array([-noise, noise]))
    return float(edges[1] - edges[0]) / 2.0


def _averaged(
    parts: KernelParts, train: NDArray[np.int64], y: Array, test: NDArray[np.int64]
) -> tuple[Array, Array, float]:
    """Posterior mean and standard deviation, and the noise's, averaged over the grid by marginal likelihood."""
    centre = float(y.mean())
    y = y - centre
    n = len(y)
    noises = np.array(NOISES)
    # Every setting at once, shape (kernels, noises, ...): a search refits hundreds of small systems a round.
    cross = parts.kernels[:, train[:, None], test]
    base = parts.kernels[:, train[:, None], train][:, None] + (noises[:, None, None] + 1e-10) * np.eye(n)
    known = np.broadcast_to(y[:, None], (len(cross), n, 1))
    solved = np.linalg.solve(base, np.concatenate([known, cross], axis=2)[:, None])
    weights = solved[..., 0]
    misfit = AMPLITUDE_RATE + 0.5 * (weights @ y)
    half_log_det = np.log(np.diagonal(np.linalg.cholesky(base), axis1=2, axis2=3)).sum(axis=2)
    evidence = (-half_log_det - (AMPLITUDE_SHAPE + 0.5 * n) * np.log(misfit)).ravel()
    amplitude = misfit / (AMPLITUDE_SHAPE + 0.5 * n - 1.0)
    explained = np.einsum("knt,kmnt->kmt", cross, solved[..., 1:])
    variances = (amplitude[..., None] * np.clip(1.0 - explained, 1e-12, None)).reshape(-1, len(test))
    means = (weights @ cross).reshape(-1, len(test))
    share = np.exp(evidence - evidence.max())
    share /= share.sum()
    mean = share @ means
    second = share @ (variances + means**2)
    deviation = np.sqrt(np.clip(second - mean**2, 1e-12, None))
    return mean + centre, deviation, float(np.sqrt(share @ (amplitude * noises).ravel()))


def _published(parts: KernelParts, y: Array, seed: int) -> tuple[Array, Array]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern

    features = np.array([point.encoding for point in parts.points])
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(length_scale=1.0, length_scale_bounds=(1e-1, 1e2), nu=2.5)
    model = GaussianProcessRegressor(
        kernel=kernel,
        alpha=PUBLISHED_NOISE,
        normalize_y=True,
        n_restarts_optimizer=PUBLISHED_RESTARTS,
        random_state=seed,
    )
    with warnings.catch_warnings():
        # A length scale at its bound is usual with a handful of points and no failure.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features[: parts.n_train], y)
        mean, deviation = model.predict(features, return_std=True)
    return np.asarray(mean), np.maximum(np.asarray(deviation), 1e-6)


def leave_one_out(parts: KernelParts, scores: Array, seed: int = 0) -> LeaveOneOut | None:
    """Rank correlation and calibration of predictions of the evaluated points' scores made without them.

    None below five points or where the scores, or the predictions, are all alike.
    """
    n = parts.n_train
    if n < MIN_POINTS_FOR_LEAVE_ONE_OUT or np.ptp(scores) == 0:
        return None
    predicted, errors = np.array([_without(parts, left_out, scores, seed) for left_out in range(n)]).T
    return calibration(scores, predicted, errors)


def _without(parts: KernelParts, left_out: int, scores: Array, seed: int) -> tuple[float, float]:
    """The score predicted for an evaluated point by the others, and the standardised error of that prediction."""
    keep = np.delete(np.arange(parts.n_train), left_out)
    transform = _Transform.of(scores[keep], parts.config.robust and parts.config.features != "encoding")
    y = transform.forward(scores[keep])
    if parts.config.features == "encoding":
        points = [parts.points[place] for place in (*keep, left_out)]
        others = KernelParts(points[:-1], points[-1:], parts.config, np.zeros(0))
        mean, deviation = (values[-1:] for values in _published(others, y, seed))
        noise = float(np.sqrt(PUBLISHED_NOISE) * y.std())  # relative to scores of variance 1
    else:
        mean, deviation, noise = _averaged(parts, keep, y, np.array([left_out]))
    error = (transform.forward(scores[[left_out]]) - mean) / np.hypot(deviation, noise)
    return float(transform.backward(mean)[0]), float(error[0])
