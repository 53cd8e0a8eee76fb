"""What the ranker sees of recipes, evaluated ones and others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from autoselection.recipes import Recipe
from autoselection.search.config import SearchConfig
from autoselection.search.earlier import EarlierTrial
from autoselection.search.features import SubsetFeatures
from autoselection.search.levels import level_of
from autoselection.search.noise import noise_covariance
from autoselection.search.pareto import TOKENS
from autoselection.search.proposals import Drafts
from autoselection.search.random_streams import SCALE, generator
from autoselection.search.ranker import Known, Point
from autoselection.search.records import Candidate
from autoselection.search.scores import CutScores, cut_scores
from autoselection.search.series import FIRST, aligned
from autoselection.search.space import RecipeSpace
from autoselection.search.warmup import draw_probe, zone_of
from autoselection.signals.table import SignalTable

SCALE_RECIPES = 24
"""Random recipes whose spread sets the scale of the surrogate's state features."""


@dataclass(frozen=True, eq=False)
class Scale:
    """Centre and spread of each state feature over recipes drawn at random, so that features compare."""

    centre: NDArray[np.float64]
    spread: NDArray[np.float64]

    @classmethod
    def of(cls, vectors: NDArray[np.float64]) -> Scale:
        """From an (n, k) array of raw vectors; NaN is left out; a feature that never varies gets spread 1."""
        known = np.isfinite(vectors)
        count = np.maximum(known.sum(axis=0), 1)
        centre = np.where(known, vectors, 0.0).sum(axis=0) / count
        spread = np.sqrt((np.where(known, vectors - centre, 0.0) ** 2).sum(axis=0) / count)
        return cls(centre, np.where(spread > 1e-9, spread, 1.0))

    def __call__(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scaled vector; a missing (NaN) feature becomes 0, the centre."""
        scaled = (vector - self.centre) / self.spread
        return np.where(np.isfinite(scaled), scaled, 0.0)


class SurrogateInputs:
    """Describes recipes of one search to its ranker.

    Args:
        drafts: of the same search; it knows the subsets of ``earlier``.
        earlier: what earlier studies of this pool found.
    """

    def __init__(
        self,
        signals: SignalTable,
        config: SearchConfig,
        space: RecipeSpace,
        drafts: Drafts,
        earlier: Sequence[EarlierTrial] = (),
    ) -> None:
        self._signals = signals
        self._config = config
        self._space = space
        self._drafts = drafts
        self._earlier = earlier
        self._points: dict[str, Point] = {}

    @property
    def unseen(self) -> tuple[str, ...]:
        """Sentences about operators of the search whose cuts no feature tells of."""
        return () if self._config.surrogate.features == "encoding" else self._scores.unseen

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features in every point's ``state``."""
        return self._features.names

    @cached_property
    def _scores(self) -> CutScores:
        return cut_scores(self._space)

    @cached_property
    def _features(self) -> SubsetFeatures:
        """Describes subsets by the scores that the search may cut by, and by length."""
        return SubsetFeatures(self._signals, sorted({*self._scores.columns, "n_tokens"}))

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

    def cost(self, points: Sequence[Point], unit: str) -> NDArray[np.float64]:
        """Rows or tokens of points, as shares of the pool's; rows that count twice are two."""
        weights = self._drafts.weights if unit == TOKENS else np.ones(self._signals.n)
        return np.array([float(weights[point.rows].sum()) for point in points]) / float(weights.sum())

    def known(self, candidate: Candidate) -> Point:
        """What it sees of a candidate, similarity with all candidates included."""
        if candidate.id not in self._points:
            described = self._features(candidate.rows, candidate.state)
            point = self._point(candidate.rows, described, candidate.recipe)
            self._points[candidate.id] = replace(point, fidelity=candidate.fidelity, model=candidate.model)
        return replace(self._points[candidate.id], similarity=self._drafts.among[self._drafts.place(candidate)])

    @cached_property
    def _found_earlier(self) -> list[Point]:
        points = self.points([trial.recipe for trial in self._earlier], [trial.rows for trial in self._earlier])
        return [
            replace(point, study=trial.study, model=trial.model)
            for point, trial in zip(points, self._earlier, strict=True)
        ]

    def evaluated(self, candidates: Sequence[Candidate], scores: NDArray[np.float64], *, own: bool = False) -> Known:
        """What is known of candidates, with their scores, and of earlier studies; similarities of all are known.

        Args:
            scores: of the candidates, on the scale of full trainings.
            own: leave earlier studies out.
        """
        places = [self._drafts.place(candidate) for candidate in candidates]
        points = [self.known(candidate) for candidate in candidates]
        fidelity = self._config.fidelity
        levels = [level_of(fidelity, candidate.model, candidate.fidelity) for candidate in candidates]
        noise = noise_covariance([level.averaged for level in levels])
        if self._earlier and not own:
            found = self._found_earlier
            series = [*(FIRST for _ in candidates), *(point.series for point in found)]
            subsets = [item.subset_hash for item in candidates] + [trial.subset_hash for trial in self._earlier]
            scores = aligned(np.concatenate([scores, [trial.score for trial in self._earlier]]), series, subsets)
            points += [replace(point, similarity=self._drafts.among[place]) for place, point in enumerate(found)]
            places += range(len(found))
            if noise is not None:
                noise = block_diag(noise, np.eye(len(found)))
        return Known(points, scores, self._drafts.weights, places, self._features.names, noise)

    def elsewhere(self, points: Sequence[Point], scores: NDArray[np.float64]) -> Known:
        """What is known of subsets of this pool that another search evaluated."""
        return Known(points, scores, self._drafts.weights, features=self._features.names)
