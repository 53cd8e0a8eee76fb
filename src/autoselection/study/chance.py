"""Chance in a study's trainings: how large it is, and how far it is the same in subsets that share rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from autoselection.evaluation import EvaluationResult
from autoselection.search.overlaps import overlap
from autoselection.statistics import SeedNoise, pooled_noise, shared_chance
from autoselection.study.dev_results import with_other_trainings
from autoselection.study.study import Study


@dataclass(frozen=True, eq=False)
class Chance:
    """Chance in the trainings of some subsets, see :mod:`autoselection.statistics.noise`.

    Attributes:
        places: place of every subset in ``similarity``, by its hash.
        similarity: Jaccard similarity of their rows.
        shared: share of the chance that follows the rows.
        noise: variance of one training's score.
    """

    places: Mapping[str, int]
    similarity: NDArray[np.float64]
    shared: float
    noise: SeedNoise

    def among(self, subsets: Sequence[str]) -> NDArray[np.float64]:
        """Similarity of some of the subsets with each other."""
        places = [self.places[name] for name in subsets]
        return self.similarity[np.ix_(places, places)]

    def alike(self, one: str, other: str) -> float:
        """Jaccard similarity of two subsets."""
        return float(self.similarity[self.places[one], self.places[other]])

    def correlation(self, one: str, other: str) -> float:
        """Of two trainings' chance, with the same seed."""
        return self.shared * self.alike(one, other)


def chance_of(results: Mapping[str, Mapping[int, EvaluationResult]], rows: Mapping[str, NDArray[np.int64]]) -> Chance:
    """Chance as the dev results of subsets tell of it.

    Trainings of versions that shuffled each subset by itself have nothing in common.

    Args:
        results: of every subset by training seed, none of which failed.
        rows: of every subset.
    """
    names = list(results)
    similarity = overlap([rows[name] for name in names], np.ones(1 + max(int(rows[name].max()) for name in names)))
    scores = [{seed: result.score for seed, result in results[name].items()} for name in names]
    by_row = all("order" in result.settings for found in results.values() for result in found.values())
    shared = shared_chance(scores, similarity) if by_row else 0.0
    noise = pooled_noise(scores, similarity, shared)
    return Chance({name: place for place, name in enumerate(names)}, similarity, shared, noise)


def study_chance(
    study: Study,
    more: Mapping[str, NDArray[np.int64]] = MappingProxyType({}),
    score: Callable[[EvaluationResult], float] | None = None,
) -> Chance:
    """Chance in training, from everything that a study trained and scored on dev, every training once: by the search, as references and for
    every verdict.

    Args:
        more: rows of subsets that are no trials, by their hash, such as the incumbent.
        score: of a result; None: what is maximised.

    Raises:
        StudyError: the rows of a trial cannot be read.
    """
    trials = {trial.record["subset_hash"]: trial for trial in study.subsets() if trial.score is not None}
    results: dict[str, dict[int, EvaluationResult]] = {}
    for name in (*trials, *(name for name in more if name not in trials)):
        found = {
            seed: result
            for seed, result in with_other_trainings(study, name, trials.get(name)).items()
            if not result.failure
        }
        if score is not None:
            found = {seed: replace(result, score=score(result)) for seed, result in found.items()}
        if found:
            results[name] = found
    rows = {name: study.rows(trial.id) for name, trial in trials.items()} | dict(more)
    return chance_of(results, rows)
