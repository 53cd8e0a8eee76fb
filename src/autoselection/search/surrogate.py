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
  Short trainings and those of an earlier study are series of their own (:mod:`autoselection.search.series`), with an
  intercept; what is common to two series is multiplied by their correlation, another hyperparameter of the grid.

  Around which the scores vary is a constant, with a variance of its own, and a line in the features,

      f(A) = b + s · β · z(A) + deviations with the kernel above,   β ~ N(m, diag(S)),

  whose coefficients were learnt from other pools (:mod:`autoselection.search.prior`): the sign and size that the effect
  of a feature usually has, and how much that differs between pools. The grid holds three strengths of it: none, as
  learnt, and with the sizes that were learnt but no sign (m = 0, variances S + m²). So a pool that is unlike those
  it was learnt from switches it off.

  Scores of one recipe vary between trainings: noise is the model's variance times a matrix that the search gives
  (``Known.noise``; one for each score by itself where it gives none).

Scores of a pool's recipes have a long lower tail (a recipe that loses a task can score ten times the noise below the
rest). ``robust`` maps scores by ``asinh`` around their median before fitting; predictions are mapped back. A score that is
far from all others (:mod:`autoselection.search.outliers`) counts as the worst of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoselection.search.config import SearchConfig
from autoselection.search.kernels import KernelParts, Model
from autoselection.search.outliers import better_spread, worst_told
from autoselection.search.prior import LinearPrior, read_prior
from autoselection.search.ranker import (
    MIN_POINTS_FOR_LEAVE_ONE_OUT,
    BaseRanker,
    Known,
    LeaveOneOut,
    Point,
    Prediction,
    Ranker,
    calibration,
    log_expected_improvement,
)
from autoselection.statistics import all_alike

# The process over recipe encodings stands in for the published one; nobody tunes what is compared with.
PUBLISHED_NOISE = 1e-2
"""Its noise variance, in units of the scores' variance."""
PUBLISHED_RESTARTS = 2
"""Restarts of the optimiser of its length scale."""

Array = NDArray[np.float64]

NOISES = (1e-3, 1e-2, 5e-2, 0.2)
"""Noise variances, relative to the amplitude of the kernel."""
AMPLITUDE_SHAPE, AMPLITUDE_RATE = 2.0, 1.0
"""Inverse-gamma prior of the amplitude of standardised scores: mean 1, heavy upper tail."""
WHOLE_SPREAD = 8.0
"""Scores by which the spread of all scores counts beside that of the better half: of four scores that half is two, and a scale
taken from two made intervals too narrow by a third (docs/results/search-parts.md)."""


@dataclass(frozen=True)
class Transform:
    """Scores to a scale on which a Gaussian process works, and back; a score below ``worst`` counts as that."""

    centre: float
    scale: float
    robust: bool
    worst: float = -np.inf

    @classmethod
    def of(cls, scores: Array, robust: bool) -> Transform:
        if len(scores) == 0:
            return cls(0.0, 1.0, robust)
        if not robust:
            deviation = float(scores.std())
            return cls(float(scores.mean()), deviation if deviation > 1e-12 else 1.0, False)
        centre = float(np.median(scores))
        worst = worst_told(scores)
        # The spread of the better half, which bad scores do not widen, and while there are few that of all.
        variance = len(scores) * better_spread(scores) ** 2 + WHOLE_SPREAD * float(scores[scores >= worst].var())
        scale = float(np.sqrt(variance / (len(scores) + WHOLE_SPREAD)))
        return cls(centre, scale if scale > 1e-12 else 1.0, True, worst)

    def forward(self, scores: Array) -> Array:
        z = (np.maximum(scores, self.worst) - self.centre) / self.scale
        return np.asarray(np.arcsinh(z) if self.robust else z)

    def backward(self, z: Array) -> Array:
        return np.asarray(self.centre + self.scale * (np.sinh(z) if self.robust else z))


class GaussianProcess(BaseRanker):
    """Ranks by ``search.surrogate``; see :class:`autoselection.search.ranker.Ranker`.

    Args:
        learnt: usual effects as earlier studies changed them (:mod:`autoselection.search.prior_learning`); those that
            ``search.surrogate.prior`` names stay in the grid.
    """

    def __init__(self, config: SearchConfig, learnt: LinearPrior | None = None) -> None:
        self.config = config.surrogate
        usual = read_prior(self.config.prior) if self.config.features != "encoding" else None
        self.priors = () if usual is None else (usual,) if learnt is None else (learnt, usual)
        self.has_prior = bool(self.priors) and self.config.features != "subset"

    def _parts(self, known: Known, points: Sequence[Point] = ()) -> KernelParts:
        return KernelParts(
            known.points,
            points,
            self.config,
            known.weights,
            known.places,
            known.features,
            known.noise,
            self.priors,
            known.eligible,
            known.expected,
        )

    def predict(self, known: Known, points: Sequence[Point], kappa: float, seed: int) -> list[Prediction]:
        return predict(self._parts(known, points), known.scores, kappa, seed)

    def reach(
        self, known: Known, full: Sequence[Point], lower: Sequence[Point], seed: int, noise: float = 1.0
    ) -> Array:
        if self.config.features == "encoding":  # knows of no levels
            return np.ones(len(full))
        parts = self._parts(known, [*lower, *full])
        first = parts.n_train
        left, right = first + np.arange(len(full)), first + len(full) + np.arange(len(full))
        _, covariances, deviations = pair_covariances(parts, known.scores, left, right)
        variances = (covariances[:, 0, 0] + noise * deviations[0] ** 2) * covariances[:, 1, 1]
        return np.asarray(np.clip(covariances[:, 0, 1] / np.sqrt(np.maximum(variances, 1e-300)), 0.0, 1.0))

    def noise(self, known: Known) -> float:
        return noise_deviation(self._parts(known), known.scores)

    def leave_one_out(self, known: Known, seed: int) -> LeaveOneOut | None:
        return leave_one_out(self._parts(known), known.scores, seed)


def without_prior(ranker: Ranker, config: SearchConfig) -> Ranker:
    """A ranker to predict other scores than those that a search maximises: ``ranker``, or ours without usual effects in place
    of one that knows any."""
    if not ranker.has_prior:
        return ranker
    return GaussianProcess(
        config.model_copy(update={"surrogate": config.surrogate.model_copy(update={"prior": False})})
    )


def predict(parts: KernelParts, scores: Array, kappa: float, seed: int = 0) -> list[Prediction]:
    """Predictions for all points of ``parts``, the evaluated ones (whose ``scores`` are given) first.

    Without any they are on the scale of the model, where random recipes have mean 0, and improve on 0.
    """
    transform = Transform.of(scores[parts.was_told], parts.config.robust and parts.config.features != "encoding")
    y = transform.forward(scores)
    if parts.config.features == "encoding":
        mean, deviation = _published(parts, y, seed)
    else:
        everything = np.arange(len(parts.points))
        mean, deviation, _ = _averaged(parts, np.arange(parts.n_train), y, everything)
    mu = transform.backward(mean)
    sigma = (transform.backward(mean + deviation) - transform.backward(mean - deviation)) / 2.0
    ucb = transform.backward(mean + kappa * deviation)
    best = float(mean[parts.judged].max()) if parts.n_train else 0.0
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
    told = y[parts.was_told[train]]
    centre = float(told.mean()) if len(told) else 0.0
    mean, deviation, noise = _posterior(parts.model(train, test), y - centre)
    return mean + centre, deviation, noise


def coefficients(parts: KernelParts, scores: Array) -> tuple[tuple[str, ...], Array, Array]:
    """Names, means and standard deviations of the first prior's coefficients, given scores of the evaluated points."""
    names, model = parts.coefficients()
    y = Transform.of(scores, parts.config.robust).forward(scores)
    mean, deviation, _ = _posterior(model, y - y.mean())
    return names, mean, deviation


@dataclass(frozen=True, eq=False)
class _Fitted:
    """What the scores say under every setting of kernels and noise (first axes), and the settings' weights.

    Attributes:
        share: weight of each setting, shape (kernels * noises,), as in the other arrays of one axis of settings.
        means, spreads: of the test points, shape (settings, test).
        amplitude: shape (kernels, noises).
        solved: covariance of the scores' inverse times that with the test points, shape (kernels, noises, train, test).
    """

    share: Array
    means: Array
    spreads: Array
    amplitude: Array
    solved: Array

    def noise_deviations(self, factors: Array) -> Array:
        """Standard deviation of the noise of scores, averaged over the settings, shape (points,).

        Args:
            factors: of its variance, by setting of the kernels, shape (kernels, points).
        """
        variances = self.share.reshape(self.amplitude.shape) * self.amplitude * np.array(NOISES)
        return np.asarray(np.sqrt(variances.sum(axis=1) @ factors))


def _fitted(model: Model, y: Array) -> _Fitted:
    """For scores ``y`` around 0."""
    n = len(y)
    y = y - model.means[:, :n]
    noises = np.array(NOISES)
    # Every setting at once, shape (kernels, noises, ...): a search refits hundreds of small systems a round.
    base = model.own[:, None] + noises[:, None, None] * model.noise[:, None] + 1e-10 * np.eye(n)
    solved = np.linalg.solve(base, np.concatenate([y[:, :, None], model.cross], axis=2)[:, None])
    weights = solved[..., 0]
    misfit = AMPLITUDE_RATE + 0.5 * np.einsum("kmn,kn->km", weights, y)
    half_log_det = np.log(np.diagonal(np.linalg.cholesky(base), axis1=2, axis2=3)).sum(axis=2)
    evidence = (-half_log_det - (AMPLITUDE_SHAPE + 0.5 * n) * np.log(misfit)).ravel()
    amplitude = misfit / (AMPLITUDE_SHAPE + 0.5 * n - 1.0)
    explained = np.einsum("knt,kmnt->kmt", model.cross, solved[..., 1:])
    left = np.clip(model.variances[:, None] - explained, 1e-12, None)
    spreads = (amplitude[..., None] * left).reshape(len(evidence), model.cross.shape[2])
    means = (weights @ model.cross + model.means[:, None, n:]).reshape(len(evidence), model.cross.shape[2])
    share = np.exp(evidence - evidence.max())
    share /= share.sum()
    return _Fitted(share, means, spreads, amplitude, solved[..., 1:])


def _posterior(model: Model, y: Array) -> tuple[Array, Array, float]:
    """As :func:`_averaged`, for scores ``y`` around 0."""
    fitted = _fitted(model, y)
    mean, deviation = _moments(fitted)
    return mean, deviation, float(np.sqrt(fitted.share @ (fitted.amplitude * np.array(NOISES)).ravel()))


def _moments(fitted: _Fitted) -> tuple[Array, Array]:
    """Mean and standard deviation of the test points, averaged over the settings."""
    mean = fitted.share @ fitted.means
    second = fitted.share @ (fitted.spreads + fitted.means**2)
    return mean, np.sqrt(np.clip(second - mean**2, 1e-12, None))


def pair_covariances(
    parts: KernelParts,
    scores: Array,
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    train: NDArray[np.int64] | None = None,
) -> tuple[Array, Array, Array]:
    """Joint beliefs of pairs of points, given the scores of the evaluated ones, on the scale of the model.

    Args:
        scores: of the points at ``train``; the others may be asked about.
        left, right: places of the pairs' points among all.
        train: places of evaluated points; None: the first ones.

    Returns:
        means, shape (2, pairs); covariances, shape (pairs, 2, 2), without noise; standard deviations, shape (2, pairs), of the
        noise of a score that averages over as much as a full one, in the series of each point.
    """
    transform = Transform.of(scores, parts.config.robust)
    y = transform.forward(scores)
    centre = float(y.mean()) if len(y) else 0.0
    count = len(left)
    train = np.arange(len(scores)) if train is None else train
    model = parts.model(train, np.concatenate([left, right]))
    fitted = _fitted(model, y - centre)
    prior = parts.across(left, right)
    explained = np.einsum("knt,kmnt->kmt", model.cross[:, :, :count], fitted.solved[..., count:])
    shared = (fitted.amplitude[..., None] * (prior[:, None] - explained)).reshape(len(fitted.share), count)
    mean = fitted.share @ fitted.means
    away = fitted.means - mean
    variances = fitted.share @ (fitted.spreads + away**2)
    covariance = fitted.share @ (shared + away[:, :count] * away[:, count:])
    both = np.stack([variances[:count], covariance, covariance, variances[count:]], axis=-1).reshape(count, 2, 2)
    noise = fitted.noise_deviations(parts.noise_factors(np.concatenate([left, right])))
    return mean.reshape(2, count) + centre, both, noise.reshape(2, count)


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
    own = [place for place in range(parts.n_train) if parts.points[place].study == 0]
    if len(own) < MIN_POINTS_FOR_LEAVE_ONE_OUT or all_alike(scores[own]):
        return None
    predicted, errors = np.array([_without(parts, left_out, scores, seed) for left_out in own]).T
    return calibration(scores[own], predicted, errors)


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
        test, centre = np.array([left_out]), float(y.mean())
        fitted = _fitted(parts.model(keep, test), y - centre)
        mean, deviation = _moments(fitted)
        mean = mean + centre
        relative = parts.noise[left_out, left_out]
        noise = float(np.sqrt(relative) * fitted.noise_deviations(parts.noise_factors(test))[0])
    error = (transform.forward(scores[[left_out]]) - mean) / np.hypot(deviation, noise)
    return float(transform.backward(mean)[0]), float(error[0])
