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

  Around which the scores vary is a constant, with a variance of its own, and a line in the features,

      f(A) = b + s · β · z(A) + deviations with the kernel above,   β ~ N(m, diag(S)),

  whose coefficients were learnt from other pools (:mod:`autoselection.search.prior`): the sign and size that the effect
  of a feature usually has, and how much that differs between pools. The grid holds three strengths of it: none, as
  learnt, and with the sizes that were learnt but no sign (m = 0, variances S + m²). So a pool that is unlike those
  it was learnt from switches it off.

  Scores of one recipe vary between trainings: noise is the model's variance times a matrix that the search gives
  (``Known.noise``; one for each score by itself where it gives none).

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
from autoselection.search.prior import LinearPrior, read_prior
from autoselection.search.ranker import (
    MIN_POINTS_FOR_LEAVE_ONE_OUT,
    BaseRanker,
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

LENGTH_SCALES = (2.0, 8.0)
"""Length scales of the Matérn terms, in units of the square root of the number of features (features have scale 1)."""
SHARES = (0.3, 0.7)
"""Shares of the kernel that the Matérn term gets; the overlap gets the rest."""
RELATIONS = (0.5, 0.8, 0.95)
"""Correlations of short and full trainings of one recipe."""
NOISES = (1e-3, 1e-2, 5e-2, 0.2)
"""Noise variances, relative to the amplitude of the kernel."""
MEAN_VARIANCE = 1.0
"""Prior variance of the constant around the mean of the scores, relative to the amplitude."""
AMPLITUDE_SHAPE, AMPLITUDE_RATE = 2.0, 1.0
"""Inverse-gamma prior of the amplitude of standardised scores: mean 1, heavy upper tail."""


def matern(distance: Array) -> Array:
    """Matérn 5/2 correlation, ``(1 + a + a²/3) e^{-a}`` with ``a = √5 · distance``."""
    a = np.sqrt(5.0) * distance
    return np.asarray((1.0 + a + a * a / 3.0) * np.exp(-a))


@dataclass(frozen=True)
class Transform:
    """Scores to a scale on which a Gaussian process works, and back."""

    centre: float
    scale: float
    robust: bool

    @classmethod
    def of(cls, scores: Array, robust: bool) -> Transform:
        if len(scores) == 0:
            return cls(0.0, 1.0, robust)
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


@dataclass(frozen=True, eq=False)
class _Line:
    """The linear part of the model at one strength: its prior mean at all points, and factors of its covariance."""

    mean: Array
    factors: Array


class KernelParts:
    """Kernel matrices for every setting of the hyperparameters: of some evaluated points with themselves and others.

    Args:
        train: evaluated recipes.
        test: recipes to predict.
        config: which parts there are.
        weights: weight of each row of the pool.
        places: places of the evaluated ones among the subsets asked for, if all points know their similarity with those.
        features: names of the points' features, without which nothing is known of their effects.
        noise: covariance of the scores' noise, relative to that of one full evaluation; None: the identity.
        prior: usual effects of features.
    """

    def __init__(
        self,
        train: Sequence[Point],
        test: Sequence[Point],
        config: SurrogateConfig,
        weights: Array,
        places: Sequence[int] | None = None,
        features: Sequence[str] = (),
        noise: Array | None = None,
        prior: LinearPrior | None = None,
    ) -> None:
        self.config = config
        self.noise = np.eye(len(train)) if noise is None else noise
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
        count = len(self.points)
        self.lines = [_Line(np.zeros(count), np.zeros((count, 0)))]
        if prior is not None and features and config.features in ("realized", "state", "both"):
            design, means, deviations = prior.design(features, np.array([point.state for point in self.points]))
            self.lines.append(_Line(design @ means, design * deviations))
            self.lines.append(_Line(np.zeros(count), design * np.hypot(deviations, means)))

    def model(self, train: NDArray[np.int64], test: NDArray[np.int64]) -> tuple[Array, Array, Array, Array]:
        """For every setting: covariances of ``train`` with itself, and with ``test``, variances and prior means.

        Args:
            train: places of evaluated points.
            test: places of any.

        Returns:
            covariances (settings, train, train) and (settings, train, test), prior variances (settings, test), and prior
            means (settings, train + test), all relative to the amplitude but for the means.
        """
        own, cross, variances, means = [], [], [], []
        # Before any score the constant is the zero of the scale, not unknown: it would only hide differences.
        constant = MEAN_VARIANCE if len(train) else 0.0
        for line in self.lines:
            known, other = line.factors[train], line.factors[test]
            own.append(self.kernels[:, train[:, None], train] + (known @ known.T + constant))
            cross.append(self.kernels[:, train[:, None], test] + (known @ other.T + constant))
            spread = (other**2).sum(axis=1) + (1.0 + constant)
            variances.append(np.broadcast_to(spread, (len(self.kernels), len(test))))
            mean = line.mean[np.concatenate([train, test])]
            means.append(np.broadcast_to(mean, (len(self.kernels), len(mean))))
        return np.concatenate(own), np.concatenate(cross), np.concatenate(variances), np.concatenate(means)

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


class GaussianProcess(BaseRanker):
    """Ranks by ``search.surrogate``; see :class:`autoselection.search.ranker.Ranker`."""

    def __init__(self, config: SearchConfig) -> None:
        self.config = config.surrogate
        self.prior = read_prior(self.config.prior) if self.config.features != "encoding" else None
        self.has_prior = self.prior is not None and self.config.features != "subset"

    def _parts(self, known: Known, points: Sequence[Point] = ()) -> KernelParts:
        return KernelParts(
            known.points,
            points,
            self.config,
            known.weights,
            known.places,
            known.features,
            known.noise,
            self.prior,
        )

    def predict(self, known: Known, points: Sequence[Point], kappa: float, seed: int) -> list[Prediction]:
        return predict(self._parts(known, points), known.scores, kappa, seed)

    def noise(self, known: Known) -> float:
        return noise_deviation(self._parts(known), known.scores)

    def leave_one_out(self, known: Known, seed: int) -> LeaveOneOut | None:
        return leave_one_out(self._parts(known), known.scores, seed)


def predict(parts: KernelParts, scores: Array, kappa: float, seed: int = 0) -> list[Prediction]:
    """Predictions for all points of ``parts``, the evaluated ones (whose ``scores`` are given) first.

    Without any they are on the scale of the model, where random recipes have mean 0, and improve on 0.
    """
    transform = Transform.of(scores, parts.config.robust and parts.config.features != "encoding")
    y = transform.forward(scores)
    if parts.config.features == "encoding":
        mean, deviation = _published(parts, y, seed)
    else:
        everything = np.arange(len(parts.points))
        mean, deviation, _ = _averaged(parts, np.arange(parts.n_train), y, everything)
    mu = transform.backward(mean)
    sigma = (transform.backward(mean + deviation) - transform.backward(mean - deviation)) / 2.0
    ucb = transform.backward(mean + kappa * deviation)
    best = float(mean[: parts.n_train].max()) if parts.n_train else 0.0
    gain = log_expected_improvement(mean, deviation, best)
    return [Prediction(float(m), float(s), float(u), float(g)) for m, s, u, g in zip(mu, sigma, ucb, gain, strict=True)]


def noise_deviation(parts: KernelParts, scores: Array) -> float:
    """Standard deviation of one score around what the subset deserves, as the surrogate sees it, near the leader (score
    units); repeated evaluations of a subset tell most about it."""
    if parts.config.features == "encoding":
        return float(np.sqrt(PUBLISHED_NOISE) * scores.std())
    transform = Transform.of(scores, parts.config.robust)
    everything = np.arange(parts.n_train)
    mean, _, noise = _averaged(parts, everything, transform.forward(scores), everything)
    edges = transform.backward(mean.max() + np.array([-noise, noise]))
    return float(edges[1] - edges[0]) / 2.0


def _averaged(
    parts: KernelParts, train: NDArray[np.int64], y: Array, test: NDArray[np.int64]
) -> tuple[Array, Array, float]:
    """Posterior mean and standard deviation, and the noise's, averaged over the grid by marginal likelihood."""
    own, cross, variances, prior = parts.model(train, test)
    n = len(y)
    centre = float(y.mean()) if n else 0.0
    y = y - centre - prior[:, :n]
    noises = np.array(NOISES)
    noise = parts.noise[np.ix_(train, train)]
    # Every setting at once, shape (kernels, noises, ...): a search refits hundreds of small systems a round.
    base = own[:, None] + noises[:, None, None] * noise + 1e-10 * np.eye(n)
    solved = np.linalg.solve(base, np.concatenate([y[:, :, None], cross], axis=2)[:, None])
    weights = solved[..., 0]
    misfit = AMPLITUDE_RATE + 0.5 * np.einsum("kmn,kn->km", weights, y)
    half_log_det = np.log(np.diagonal(np.linalg.cholesky(base), axis1=2, axis2=3)).sum(axis=2)
    evidence = (-half_log_det - (AMPLITUDE_SHAPE + 0.5 * n) * np.log(misfit)).ravel()
    amplitude = misfit / (AMPLITUDE_SHAPE + 0.5 * n - 1.0)
    explained = np.einsum("knt,kmnt->kmt", cross, solved[..., 1:])
    left = np.clip(variances[:, None] - explained, 1e-12, None)
    spreads = (amplitude[..., None] * left).reshape(-1, len(test))
    means = (weights @ cross + prior[:, None, n:]).reshape(-1, len(test))
    share = np.exp(evidence - evidence.max())
    share /= share.sum()
    mean = share @ means
    second = share @ (spreads + means**2)
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
    transform = Transform.of(scores[keep], parts.config.robust and parts.config.features != "encoding")
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
