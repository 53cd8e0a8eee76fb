"""The contract of a ranker: what predicts the score of a recipe before it is trained.

A search hands it what it knows of the evaluated recipes (:class:`Known`) and asks what it expects of others; proposals are
ranked by the answer. :class:`autoselection.search.surrogate.GaussianProcess` is the one that comes with the package.
Another, such as a BoTorch model, is an object with these members, given to ``SearchController(ranker=...)`` itself or by
the name under which its package registers the class::

    [project.entry-points."autoselection.rankers"]
    botorch = "my_package.ranker:BoTorchRanker"

The class is called with the search's :class:`~autoselection.search.config.SearchConfig`. A ranker keeps nothing between
calls: the same arguments give the same predictions, so that a search can be replayed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag
from scipy.stats import spearmanr

from autoselection.search.series import Series
from autoselection.statistics import all_alike, without_rounding

Array = NDArray[np.float64]

MIN_POINTS_FOR_LEAVE_ONE_OUT = 5
CENTRAL_80 = 1.2815515655446004
"""Standard deviations on either side of a normal mean that hold 80%."""


@dataclass(frozen=True, eq=False)
class Point:
    """What the ranker sees of a recipe.

    Attributes:
        rows: rows of the realized subset, in any order; one that counts twice stands there twice.
        state: features of the subset, on scales that compare (see :mod:`autoselection.search.surrogate_inputs`).
        encoding: encoded parameters of the recipe, in [0, 1]; empty unless ``search.surrogate.features`` asks for them.
        fidelity: what its evaluation costs, in full ones; 1 is a full evaluation.
        similarity: weighted Jaccard of the subset with each known one (of earlier studies, then those asked for so far); empty
            if that is not known.
        study: 0 for this search, else the number of the earlier study of the same pool that evaluated it.
        model: name of another model that was trained instead of the target; empty: none.
    """

    rows: NDArray[np.int64]
    state: Array
    encoding: Array
    fidelity: float = 1.0
    similarity: Array = field(default_factory=lambda: np.zeros(0))
    study: int = 0
    model: str = ""

    @property
    def series(self) -> Series:
        """What its score compares with as it is."""
        return (self.study, self.model, 1.0 - self.fidelity)


@dataclass(frozen=True, eq=False)
class Known:
    """What a ranker learns from.

    Attributes:
        points: the evaluated recipes; repeats of a subset by themselves; those of earlier studies of this pool last.
        scores: their scores, float64[len(points)], higher is better; a failed evaluation has the worst of them. Those of short
            trainings and of earlier studies are moved to the scale of this search's full ones, as far as that is known.
        weights: weight of each row of the pool where subsets are compared: its number of tokens.
        places: where each point stands in every point's ``similarity``; None: similarities are not known.
        features: names of the features in every point's ``state``, as of
            :class:`autoselection.search.features.SubsetFeatures`; empty: not known.
        noise: covariance of the scores' noise, float64[len(points), len(points)], relative to the variance of one full
            evaluation; None: independent and alike.
        eligible: whether each point may be chosen in the end, so that an improvement is one on the best of these; None: all may.
        expected: whether each score was not told yet and is what the ranker expected of it (a candidate of the round under way):
            such scores say nothing of the scale; None: all were told.
    """

    points: Sequence[Point]
    scores: Array
    weights: Array
    places: Sequence[int] | None = None
    features: Sequence[str] = ()
    noise: Array | None = None
    eligible: Sequence[bool] | None = None
    expected: Sequence[bool] | None = None

    def without(self, place: int) -> Known:
        """The same but for one point."""
        kept = [other for other in range(len(self.points)) if other != place]
        places = None if self.places is None else [self.places[other] for other in kept]
        noise = None if self.noise is None else self.noise[np.ix_(kept, kept)]
        eligible = None if self.eligible is None else [self.eligible[other] for other in kept]
        expected = None if self.expected is None else [self.expected[other] for other in kept]
        return replace(
            self,
            points=[self.points[other] for other in kept],
            scores=self.scores[kept],
            places=places,
            noise=noise,
            eligible=eligible,
            expected=expected,
        )


@dataclass(frozen=True)
class Prediction:
    """Predicted score: mean, standard deviation and upper confidence bound, in score units; and the logarithm of the
    expected improvement on the best evaluated recipe, on the scale of the model.

    In a search with floors ``meets`` is the probability that all of them are met; rankers leave it None, the search adds it."""

    mu: float
    sigma: float
    ucb: float
    log_ei: float
    meets: float | None = None

    def to_dict(self) -> dict[str, float]:
        meets = {} if self.meets is None else {"meets": self.meets}
        return {"mu": self.mu, "sigma": self.sigma, "ucb": self.ucb, "log_ei": self.log_ei, **meets}


@dataclass(frozen=True)
class LeaveOneOut:
    """How well the ranker predicts each evaluated score from the others.

    Attributes:
        correlation: Spearman correlation of scores and predictions.
        within_80: share of the scores inside their central 80% predictive interval (noise included); below 0.8 the
            ranker is too sure of itself.
        rms_error: root mean square of the errors over the predictive standard deviation, on the scale of the model;
            above 1 it is too sure of itself.
        points: scores predicted.
    """

    correlation: float
    within_80: float
    rms_error: float
    points: int

    def to_dict(self) -> dict[str, float | int]:
        return dict(vars(self))


class Ranker(Protocol):
    """Predicts scores; see the module's docstring. :class:`BaseRanker` has a default for all but :meth:`predict`.

    Attributes:
        has_prior: whether it can tell recipes apart before anything is known (``predict`` with no known point). The first
            probes are then chosen by it, else drawn.
    """

    has_prior: bool

    def predict(self, known: Known, points: Sequence[Point], kappa: float, seed: int) -> list[Prediction]:
        """Predictions for the known points, in their order, then for ``points``.

        Args:
            known: at least one point, unless ``has_prior``; without one predictions are on a scale of the ranker's own.
            points: recipes that were not evaluated, or were at another fidelity.
            kappa: weight of ``sigma`` in ``ucb``.
            seed: of whatever is random in a fit.
        """
        ...

    def noise(self, known: Known) -> float:
        """Standard deviation of one score around what its subset deserves (score units)."""
        ...

    def reach(
        self, known: Known, full: Sequence[Point], lower: Sequence[Point], seed: int, noise: float = 1.0
    ) -> Array:
        """How much a score at a lower level would tell of the full one: their correlation, given what is known, in [0, 1].

        Args:
            full: recipes, as if they were fully evaluated.
            lower: the same recipes at the level in question.
            noise: variance of the noise of a score at that level, relative to that of a full one as in :class:`Known`.
        """
        ...

    def leave_one_out(self, known: Known, seed: int) -> LeaveOneOut | None:
        """How well each known score is predicted by the others; None where that cannot be said."""
        ...


class BaseRanker:
    """Defaults for what follows from :meth:`Ranker.predict`."""

    has_prior: bool = False

    def predict(self, known: Known, points: Sequence[Point], kappa: float, seed: int) -> list[Prediction]:
        raise NotImplementedError

    def noise(self, known: Known) -> float:
        """Root mean square of what the predictions of the known points leave unexplained."""
        expected = np.array([prediction.mu for prediction in self.predict(known, (), 0.0, 0)])
        return float(np.sqrt(np.mean((known.scores - expected) ** 2)))

    def reach(
        self, known: Known, full: Sequence[Point], lower: Sequence[Point], seed: int, noise: float = 1.0
    ) -> Array:
        """From the share of the full score's variance that is gone once the lower one is as expected."""
        known, count = replace(known, places=None), len(known.points)
        told = np.eye(count) if known.noise is None else known.noise
        found = np.zeros(len(full))
        for number, (above, below) in enumerate(zip(full, lower, strict=True)):
            before = self.predict(known, [above, below], 0.0, seed)[count:]
            more = replace(
                known,
                points=[*known.points, below],
                scores=np.append(known.scores, before[1].mu),
                noise=block_diag(told, noise),
                eligible=None if known.eligible is None else [*known.eligible, False],
                expected=None if known.expected is None else [*known.expected, True],
            )
            after = self.predict(more, [above], 0.0, seed)[-1]
            left = after.sigma**2 / max(before[0].sigma ** 2, 1e-300)
            found[number] = np.sqrt(min(1.0, max(0.0, 1.0 - left)))
        return found

    def leave_one_out(self, known: Known, seed: int) -> LeaveOneOut | None:
        """One fit a point of this search."""
        own = [place for place, point in enumerate(known.points) if point.study == 0]
        if len(own) < MIN_POINTS_FOR_LEAVE_ONE_OUT:
            return None
        noise = self.noise(known)
        predicted, errors = np.zeros((2, len(own)))
        for number, place in enumerate(own):
            found = self.predict(known.without(place), [known.points[place]], 0.0, seed)[-1]
            predicted[number] = found.mu
            errors[number] = (known.scores[place] - found.mu) / max(1e-12, float(np.hypot(found.sigma, noise)))
        return calibration(known.scores[own], predicted, errors)


def calibration(scores: Array, predicted: Array, errors: Array) -> LeaveOneOut | None:
    """From predictions made without the score they predict, and their standardised errors.

    None below five scores or where the scores, or the predictions, are all alike but for rounding.
    """
    if len(scores) < MIN_POINTS_FOR_LEAVE_ONE_OUT or all_alike(scores) or all_alike(predicted):
        return None
    return LeaveOneOut(
        correlation=float(spearmanr(without_rounding(scores), without_rounding(predicted)).statistic),
        within_80=float(np.mean(np.abs(errors) <= CENTRAL_80)),
        rms_error=float(np.sqrt(np.mean(errors**2))),
        points=len(scores),
    )


def log_expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """``log E[max(0, f - best)]`` for a normal f, stable far below ``best`` (Ament et al. 2023, "LogEI").

    With noisy scores ``best`` is the highest posterior mean among the evaluated points, not the best score.
    """
    from scipy.special import erfcx, log_ndtr

    z = (mean - best) / deviation
    # log(phi(z) + z Phi(z)); for z << 0 by Phi's scaled complement, where the difference would cancel.
    near = np.log(np.maximum(np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi) + z * np.exp(log_ndtr(z)), 1e-300))
    far_z = np.minimum(z, -1.0)
    ratio = np.sqrt(np.pi / 2) * erfcx(-far_z / np.sqrt(2))
    far = -0.5 * far_z**2 - 0.5 * np.log(2 * np.pi) + np.log(np.maximum(1.0 + far_z * ratio, 1e-300))
    # Below -1e4 or so 1 + z * ratio is rounding; its expansion there is 1 / z².
    far = np.where(far_z < -1e3, -0.5 * far_z**2 - 0.5 * np.log(2 * np.pi) - 2 * np.log(-far_z), far)
    return np.asarray(np.where(z > -1.0, near, far) + np.log(deviation))


def normal_predictions(mean: Array, deviation: Array, known: int, kappa: float) -> list[Prediction]:
    """Predictions from normal beliefs in score units, those of the ``known`` evaluated points first."""
    gain = log_expected_improvement(mean, deviation, float(mean[:known].max()))
    beliefs = zip(mean.tolist(), deviation.tolist(), gain.tolist(), strict=True)
    return [Prediction(mu, sigma, mu + kappa * sigma, log_ei) for mu, sigma, log_ei in beliefs]
