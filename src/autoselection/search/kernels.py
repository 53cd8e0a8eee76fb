"""What the surrogate believes of points before their scores: the kernels of :mod:`autoselection.search.surrogate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from autoselection.search.config import SurrogateConfig
from autoselection.search.overlaps import overlap
from autoselection.search.prior import LinearPrior
from autoselection.search.ranker import Point
from autoselection.search.series import FIRST, INTERCEPT_VARIANCE, Relations

Array = NDArray[np.float64]

LENGTH_SCALES = (2.0, 8.0)
"""Length scales of the Matérn terms, in units of the square root of the number of features (features have scale 1)."""
SHARES = (0.3, 0.7)
"""Shares of the kernel that the Matérn term gets; the overlap gets the rest."""


def matern(distance: Array) -> Array:
    """Matérn 5/2 correlation, ``(1 + a + a²/3) e^{-a}`` with ``a = √5 · distance``."""
    a = np.sqrt(5.0) * distance
    return np.asarray((1.0 + a + a * a / 3.0) * np.exp(-a))


@dataclass(frozen=True, eq=False)
class Line:
    """The linear part of the model at one strength: its prior mean at all points, and factors of its covariance."""

    mean: Array
    factors: Array


@dataclass(frozen=True, eq=False)
class Model:
    """Beliefs before any score, relative to the amplitude but for the means; the first axis is the setting.

    Attributes:
        own: covariances of evaluated points, shape (settings, train, train).
        cross: of these with others, shape (settings, train, test).
        variances: of the others, shape (settings, test).
        means: of all, shape (settings, train + test).
        noise: covariances of the scores' noise, shape (settings, train, train), times a hyperparameter.
    """

    own: Array
    cross: Array
    variances: Array
    means: Array
    noise: Array


def _each(values: Array, kernels: int) -> Array:
    """Values of every setting of the relations (first axis), the same for every kernel (second axis)."""
    return np.broadcast_to(values[:, None], (len(values), kernels, *values.shape[1:]))


def _flat(lines: Sequence[Array]) -> Array:
    """Values of lines by relation and kernel, as settings."""
    return np.concatenate([line.reshape(len(line) * line.shape[1], *line.shape[2:]) for line in lines])


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
        priors: usual effects of features: what to go by, then others that may be right where that is not.
        eligible: which evaluated points may be chosen in the end; None: all.
        expected: which of their scores are expectations; None: none.
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
        priors: Sequence[LinearPrior] = (),
        eligible: Sequence[bool] | None = None,
        expected: Sequence[bool] | None = None,
    ) -> None:
        self.config = config
        self.priors = priors
        self.features = features
        self.noise = np.eye(len(train)) if noise is None else noise
        self.points = [*train, *test]
        self.n_train = len(train)
        self._eligible = eligible
        self.was_told = np.ones(self.n_train, bool) if expected is None else ~np.array(expected, bool)
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
        self.relations = Relations.of([point.series for point in self.points])
        self.kernels = np.array(list(self._grid()))  # (settings, train, all points)
        self.lines = list(self._lines())

    def _lines(self) -> Iterator[Line]:
        """The line at every strength: none, as each prior has it, and with the sizes but not the signs of the first."""
        count = len(self.points)
        yield Line(np.zeros(count), np.zeros((count, 0)))
        if not self.features or self.config.features not in ("realized", "state", "both"):
            return
        states = np.array([point.state for point in self.points])
        for place, prior in enumerate(self.priors):
            design, means, deviations = prior.design(self.features, states)
            yield Line(design @ means, design * deviations)
            if place == 0:
                yield Line(np.zeros(count), design * np.hypot(deviations, means))

    @property
    def judged(self) -> list[int]:
        """Places of the evaluated points that the best is one of: eligible ones and those of the first series, where there are
        such."""
        may = [place for place in range(self.n_train) if self._eligible is None or self._eligible[place]]
        may = may or list(range(self.n_train))
        return [place for place in may if self.points[place].series == FIRST] or may

    def model(self, train: NDArray[np.int64], test: NDArray[np.int64]) -> Model:
        """What is believed of points before their scores, for every setting.

        Args:
            train: places of evaluated points.
            test: places of any.
        """
        own, cross, variances, means = [], [], [], []
        both = np.concatenate([train, test])
        relations, scales = self.relations, self.relations.scales
        shared, reached = relations.between(train, train), relations.between(train, test)
        # Before any score the constant is the zero of the scale, not unknown: it would only hide differences.
        told = bool(self.was_told[train].any())
        constant = INTERCEPT_VARIANCE if told else 0.0
        offsets = [relations.intercepts(train, others) * float(told) for others in (train, test)]
        for line in self.lines:
            known, other = line.factors[train], line.factors[test]
            within = shared[0][:, None] * self.kernels[:, train[:, None], train]
            towards = reached[0][:, None] * self.kernels[:, train[:, None], test]
            own.append(within + (shared[1] * (known @ known.T) + offsets[0])[:, None])
            cross.append(towards + (reached[1] * (known @ other.T) + offsets[1])[:, None])
            spread = scales[:, test] ** 2 * (1.0 + (other**2).sum(axis=1)) + constant
            variances.append(_each(spread, len(self.kernels)))
            means.append(_each(scales[:, both] * line.mean[both], len(self.kernels)))
        noise = self.noise[np.ix_(train, train)] * scales[:, train, None] * scales[:, None, train]
        return Model(
            _flat(own),
            _flat(cross),
            _flat(variances),
            _flat(means),
            _flat([_each(noise, len(self.kernels))] * len(means)),
        )

    def noise_factors(self, points: NDArray[np.int64]) -> Array:
        """What the series of points multiply the variance of their scores' noise by, for every setting as in :meth:`model`,
        shape (settings, points)."""
        squares = self.relations.scales[:, points] ** 2
        return _flat([_each(squares, len(self.kernels))] * len(self.lines))

    def across(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> Array:
        """Prior covariances of pairs of points, for every setting as in :meth:`model`, shape (settings, pairs).

        Points of a pair are of the same subset, or at least one of them is among the first, the evaluated ones.
        """
        relations = self.relations
        pairs = np.arange(len(left))
        shared = [values[:, pairs, pairs] for values in relations.between(left, right)]
        offset = relations.intercepts(left, right)[pairs, pairs]
        same = np.array([_same_subset(self.points[a], self.points[b]) for a, b in zip(left, right, strict=True)], bool)
        evaluated = np.minimum(left, right)
        kernels = np.ones((len(self.kernels), len(left)))
        kernels[:, ~same] = self.kernels[:, evaluated[~same], np.maximum(left, right)[~same]]
        found = []
        for line in self.lines:
            towards = shared[0][:, None] * kernels
            both = (line.factors[left] * line.factors[right]).sum(axis=1)
            found.append(towards + (shared[1] * both + offset)[:, None])
        return _flat(found)

    def coefficients(self) -> tuple[tuple[str, ...], Model]:
        """Names of the first prior's inputs, and what is believed of its coefficients in the place of points."""
        prior, count = self.priors[0], self.n_train
        states = np.array([point.state for point in self.points[:count]])
        names = prior.names(self.features)
        design, means, deviations = prior.design(self.features, states)
        factors = design * deviations
        own = self.kernels[:, :, :count] + (factors @ factors.T + INTERCEPT_VARIANCE)
        settings = len(own)
        return names, Model(
            own,
            _repeated((factors * deviations), settings),
            _repeated(deviations**2, settings),
            _repeated(np.concatenate([design @ means, means]), settings),
            _repeated(self.noise, settings),
        )

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


def _same_subset(one: Point, other: Point) -> bool:
    return one.rows is other.rows or np.array_equal(np.sort(one.rows), np.sort(other.rows))


def _repeated(values: Array, settings: int) -> Array:
    return np.broadcast_to(values, (settings, *values.shape))


def _distance(features: Array, n_train: int) -> Array:
    """Euclidean distances of the first points to all, divided by the square root of the number of features."""
    from scipy.spatial.distance import cdist

    if features.shape[1] == 0:
        return np.zeros((n_train, len(features)))
    return np.asarray(cdist(features[:n_train], features) / np.sqrt(features.shape[1]))
