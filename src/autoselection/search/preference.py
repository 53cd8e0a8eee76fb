"""Which of two recipes is better, with a probability, from what is known; and how often that was right.

The surrogate's joint belief of two recipes' full scores gives the probability that one deserves more than the other. An answer is
given when it is sure enough, else none: to abstain is an answer, too. Whether it knows how sure it is, is tested on pairs of
recipes with full scores: each pair is predicted without these two scores (what cheaper levels told of the two stays, which is
what they are for). Beliefs are widened by what these tests show beyond the surrogate's own errors, for each pair from the pairs
that have none of its recipes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from autoselection.search.config import SearchConfig
from autoselection.search.kernels import KernelParts
from autoselection.search.noise import noise_covariance
from autoselection.search.prior import read_prior
from autoselection.search.ranker import Point
from autoselection.search.series import FIRST, aligned
from autoselection.search.surrogate import Transform, pair_covariances

Array = NDArray[np.float64]

SURE = 0.9
"""Probability from which an answer is given."""
PSEUDO_RECIPES = 4.0
"""Weight of the belief that the surrogate's errors are as large as it says, in recipes of a test."""
MOST_PAIRS = 400
"""Pairs that are tested; of more, so many drawn by the search's seed."""
FEWEST = 4
"""Recipes with full scores from which pairs can be tested."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Scores that a judgement rests on.

    Attributes:
        points: the recipes, each with its series; those evaluated in full belong to the first one.
        scores: as told, higher is better.
        subsets: hash of each one's subset.
        weights: of the pool's rows.
        features: names of the points' features.
        averaged: share of a full evaluation's training budget and items that each score averages over
            (:attr:`autoselection.search.levels.Level.averaged`): the less, the noisier; None: 1 for all.
    """

    points: Sequence[Point]
    scores: Array
    subsets: Sequence[str]
    weights: Array
    features: Sequence[str]
    averaged: Sequence[float] | None = None

    @property
    def full(self) -> list[int]:
        """Places of full evaluations."""
        return [place for place, point in enumerate(self.points) if point.series == FIRST]


@dataclass(frozen=True, eq=False)
class Tested:
    """Pairs of recipes with full scores, each predicted without them.

    Attributes:
        left, right: places of the pairs' points in the evidence.
        probability: that the left one is better.
        won: whether its full score is higher; of a pair with equal scores half.
        widening: factor on the variance of differences for pairs that were not tested.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    probability: Array
    won: Array
    widening: float

    def answered(self, sure: float = SURE) -> NDArray[np.bool_]:
        """Which pairs are answered."""
        return np.asarray(np.maximum(self.probability, 1.0 - self.probability) >= sure)

    def right_answers(self, sure: float = SURE) -> Array:
        """Of the answered pairs, whether the answer is that of the full scores (1 or 0; half for equal scores)."""
        kept = self.answered(sure)
        return np.asarray(np.where(self.probability[kept] > 0.5, self.won[kept], 1.0 - self.won[kept]))


class Preference:
    """Judges pairs by the surrogate that comes with the package.

    Args:
        config: settings of the search.
        evidence: at least one full evaluation.
    """

    def __init__(self, config: SearchConfig, evidence: Evidence) -> None:
        self.config = config
        self.evidence = evidence
        usual = read_prior(config.surrogate.prior)
        self._priors = () if usual is None else (usual,)
        self._tested: Tested | None = None

    def better(self, one: Sequence[Point], other: Sequence[Point]) -> Array:
        """Probability that each of some recipes deserves a higher full score than its counterpart."""
        asked = [replace(point, fidelity=1.0, model="", study=0) for point in (*one, *other)]
        everything = np.arange(len(self.evidence.points))
        parts = self._parts(asked)
        count, first = len(one), len(everything)
        left = first + np.arange(count)
        mean, spread, _ = self._differences(parts, everything, left, left + count)
        tested = self.tested()
        widening = 1.0 if tested is None else tested.widening
        return np.asarray(ndtr(mean / np.sqrt(np.maximum(widening * spread, 1e-300))))

    def tested(self) -> Tested | None:
        """How pairs with full scores are predicted without these; None with fewer than :data:`FEWEST` recipes that have one."""
        if self._tested is None and len(self.evidence.full) >= FEWEST:
            self._tested = self._test()
        return self._tested

    def _test(self) -> Tested:
        evidence = self.evidence
        pairs = np.array(list(combinations(evidence.full, 2)), np.int64)
        if len(pairs) > MOST_PAIRS:
            rng = np.random.default_rng([self.config.seed, len(pairs)])
            pairs = pairs[np.sort(rng.choice(len(pairs), MOST_PAIRS, replace=False))]
        parts = self._parts(())
        found = np.zeros((len(pairs), 4))
        everything = np.arange(len(evidence.points))
        for number, (i, j) in enumerate(pairs):
            keep = everything[(everything != i) & (everything != j)]
            differs, varies, luck = self._differences(parts, keep, pairs[number, :1], pairs[number, 1:])
            transform, _ = self._scaled(keep)
            told = transform.forward(evidence.scores[[i, j]])
            found[number] = differs[0], varies[0], luck, told[0] - told[1]
        mean, spread, noise, seen = found.T
        squared = (seen - mean) ** 2 / (spread + 2.0 * noise**2)
        # Of each pair, the squared errors of those that share no recipe with it.
        of_recipe = np.zeros((2, len(everything)))
        for side in (0, 1):
            np.add.at(of_recipe[0], pairs[:, side], squared)
            np.add.at(of_recipe[1], pairs[:, side], 1.0)
        sums = squared.sum() - of_recipe[0][pairs].sum(axis=1) + squared
        counts = len(pairs) - of_recipe[1][pairs].sum(axis=1) + 1.0
        recipes = len(evidence.full)
        widening = _widening(np.append(sums, squared.sum()), np.append(counts, len(pairs)), recipes)
        probability = ndtr(mean / np.sqrt(np.maximum(widening[:-1] * spread, 1e-300)))
        won = np.where(seen == 0, 0.5, (seen > 0).astype(np.float64))
        return Tested(pairs[:, 0], pairs[:, 1], probability, won, float(widening[-1]))

    def _scaled(self, keep: NDArray[np.int64]) -> tuple[Transform, Array]:
        """The scale of the model, and the scores moved to that of full evaluations, from some of the evidence."""
        evidence = self.evidence
        scores = aligned(
            evidence.scores[keep],
            [evidence.points[place].series for place in keep],
            [evidence.subsets[place] for place in keep],
        )
        return Transform.of(scores, self.config.surrogate.robust), scores

    def _differences(
        self, parts: KernelParts, keep: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]
    ) -> tuple[Array, Array, float]:
        """Mean and variance of the pairs' differences, and the noise's deviation, on the model's scale."""
        _, scores = self._scaled(keep)
        means, covariances, noise = pair_covariances(parts, scores, left, right, keep)
        spread = covariances[:, 0, 0] + covariances[:, 1, 1] - 2.0 * covariances[:, 0, 1]
        return means[0] - means[1], np.maximum(spread, 1e-12), float(noise[0, 0])

    def _parts(self, asked: Sequence[Point]) -> KernelParts:
        evidence, settings = self.evidence, self.config.surrogate
        points = [*evidence.points, *asked]
        averaged = evidence.averaged or [1.0] * len(evidence.points)
        noise = noise_covariance([*averaged, *(1.0 for _ in asked)])
        return KernelParts(points, (), settings, evidence.weights, None, evidence.features, noise, self._priors)


def _widening(sums: Array, counts: Array, recipes: int) -> Array:
    """Mean squared standardised errors, with the belief of :data:`PSEUDO_RECIPES` that they are 1; never below 1: where the
    surrogate was luckier than it thought, it is not made surer by that."""
    mean = np.where(counts > 0, sums / np.maximum(counts, 1.0), 1.0)
    return np.maximum(1.0, (PSEUDO_RECIPES + recipes * mean) / (PSEUDO_RECIPES + recipes))
