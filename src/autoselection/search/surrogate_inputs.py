"""What the surrogate sees of recipes, evaluated ones and others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autoselection.recipes import Recipe
from autoselection.search.config import SearchConfig
from autoselection.search.features import SubsetFeatures
from autoselection.search.proposals import Drafts
from autoselection.search.random_streams import SCALE, generator
from autoselection.search.records import Candidate
from autoselection.search.space import RecipeSpace
from autoselection.search.surrogate import KernelParts, Point, Prediction, Scale, predict
from autoselection.search.warmup import draw_probe, zone_of
from autoselection.signals.table import SignalTable

SCALE_RECIPES = 24
"""Random recipes whose spread sets the scale of the surrogate's state features."""


class Beliefs:
    """Describes recipes of one search to the surrogate.

    Args:
        drafts: of the same search.
    """

    def __init__(self, signals: SignalTable, config: SearchConfig, space: RecipeSpace, drafts: Drafts) -> None:
        self._signals = signals
        self._config = config
        self._space = space
        self._drafts = drafts
        self._points: dict[str, Point] = {}

    @cached_property
    def _features(self) -> SubsetFeatures:
        """Describes subsets by the scores that the searched filters rank by."""
        scores = {need for name in self._space.filters for need in self._space.operator(name).needs({})}
        return SubsetFeatures(self._signals, sorted({*scores, "n_tokens"}))

    @cached_property
    def _scale(self) -> Scale:
        """Spread of the state features over random recipes: fixed for the whole search."""
        config = self._config
        rng = generator(config.seed, 0, SCALE)
        subsets = []
        for probe in range(SCALE_RECIPES):
            recipe, _ = draw_probe(self._space, zone_of(probe, config.zones), config.max_steps, rng)
            subsets.append(self._drafts.make(recipe, "").outcome.rows)
        return Scale.of(np.array(self._features.many(subsets)))

    def _point(self, rows: NDArray[np.int64], described: NDArray[np.float64], recipe: Recipe) -> Point:
        encoded = self._config.surrogate.features in ("encoding", "both")
        return Point(rows, self._scale(described), self._space.encode(recipe) if encoded else np.zeros(0))

    def points(self, recipes: Sequence[Recipe], subsets: Sequence[NDArray[np.int64]]) -> list[Point]:
        """What the surrogate sees of subsets of this pool, whoever evaluated them."""
        described = self._features.many(subsets)
        return [self._point(*item) for item in zip(subsets, described, recipes, strict=True)]

    def known(self, candidate: Candidate) -> Point:
        """What it sees of a candidate, similarity with all candidates included."""
        if candidate.id not in self._points:
            described = self._features(candidate.rows, candidate.state)
            point = self._point(candidate.rows, described, candidate.recipe)
            self._points[candidate.id] = replace(point, fidelity=candidate.fidelity)
        return replace(self._points[candidate.id], similarity=self._drafts.among[candidate.number - 1])

    def parts(self, train: Sequence[Candidate], test: Sequence[Point]) -> KernelParts:
        """Kernels of candidates with themselves and with points that know their similarity with all candidates."""
        points = [self.known(candidate) for candidate in train]
        places = [candidate.number - 1 for candidate in train]
        return KernelParts(points, test, self._config.surrogate, self._drafts.weights, places)

    def predict(self, train: Sequence[Point], scores: NDArray[np.float64], test: Sequence[Point]) -> list[Prediction]:
        """Predictions of ``test`` from the scores of ``train``, for points of any origin."""
        parts = KernelParts(train, test, self._config.surrogate, self._drafts.weights)
        return predict(parts, scores, self._config.surrogate.kappa, self._config.seed)[len(train) :]
