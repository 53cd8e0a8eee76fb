"""What a search's ranker expects of recipes, from everything that the search was told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from autoselection.search.history import SearchHistory
from autoselection.search.proposals import Draft
from autoselection.search.random_streams import SURROGATE, generator
from autoselection.search.ranker import Known, LeaveOneOut, Point, Prediction, Ranker
from autoselection.search.records import Candidate, EvaluatedCandidate
from autoselection.search.surrogate_inputs import SurrogateInputs


class Predictions:
    """Asks the ranker.

    Args:
        ranker: what predicts.
        inputs: what it sees of recipes.
        history: what it learns from.
    """

    def __init__(self, ranker: Ranker, inputs: SurrogateInputs, history: SearchHistory) -> None:
        self.ranker = ranker
        self.inputs = inputs
        self._history = history

    def elsewhere(self, train: Sequence[Point], scores: NDArray[np.float64], test: Sequence[Point]) -> list[Prediction]:
        """Predictions of ``test`` from the scores of ``train``: subsets of this pool that were evaluated elsewhere, as
        :meth:`SurrogateInputs.points` describes them."""
        config = self._history.config
        known = self.inputs.elsewhere(train, scores)
        return self.ranker.predict(known, test, config.surrogate.kappa, config.seed)[len(train) :]

    def of_candidates(self, candidates: Sequence[Candidate], number: int, *, full: bool = False) -> list[Prediction]:
        """What trial ``number`` is decided by, for candidates; with ``full`` as if each were fully evaluated."""
        points = [self.inputs.known(candidate) for candidate in candidates]
        return self._of(_in_full(points) if full else points, number)

    def ranked(self, drafts: Sequence[Draft], number: int, *, own: bool = False) -> list[Draft]:
        """Drafts with predictions, highest acquisition value first (ties: the earlier proposal).

        Args:
            own: from what this search was told alone, not from earlier studies.
        """
        new = [draft for draft in drafts if draft.point is None]
        made = iter(self.inputs.points([draft.outcome.recipe for draft in new], [draft.outcome.rows for draft in new]))
        points = [draft.point or replace(next(made), similarity=draft.similarity) for draft in drafts]
        predictions = self._of(points, number, own=own)
        return [
            replace(drafts[place], point=points[place], prediction=predictions[place])
            for place in self.order(predictions)
        ]

    def order(self, predictions: Sequence[Prediction]) -> list[int]:
        """Places of predictions, highest acquisition value first (ties: the earlier one)."""
        value = attrgetter(self._history.config.surrogate.acquisition)
        return sorted(range(len(predictions)), key=lambda place: (-value(predictions[place]), place))

    def most_promising(self, best: EvaluatedCandidate) -> list[EvaluatedCandidate]:
        """Evaluated candidates whose recipes are edited, the most promising first: ``best``, or the highest by the
        ranker."""
        config, scored = self._history.config, self._history.scored
        if config.parents == 1 or len(scored) < 2:
            return [best]
        known = self._known(scored)
        in_full = _in_full([point for point in known.points[: len(scored)] if point.fidelity < 1.0])
        predicted = self.ranker.predict(known, in_full, 0.0, config.seed)
        moved = iter(predicted[len(known.points) :])
        believed = [
            next(moved) if point.fidelity < 1.0 else expected
            for point, expected in zip(known.points[: len(scored)], predicted, strict=False)
        ]
        order = sorted(range(len(scored)), key=lambda place: (-believed[place].mu, -place))
        return [scored[place] for place in order[: config.parents]]

    def noise(self) -> float:
        """Standard deviation of one full evaluation around what its subset deserves."""
        full = [trial for trial in self._history.told if trial.full and trial.score is not None]
        return self.ranker.noise(self._known(full))

    def leave_one_out(self) -> LeaveOneOut | None:
        """How well the ranker predicts what is known from the rest of it."""
        scored = self._history.scored
        return self.ranker.leave_one_out(self._known(scored), self._history.config.seed) if len(scored) > 1 else None

    def _known(self, trials: Sequence[EvaluatedCandidate]) -> Known:
        scores = np.array([trial.score for trial in trials], np.float64)
        return self.inputs.evaluated([trial.candidate for trial in trials], scores)

    def _of(self, points: Sequence[Point], number: int, *, own: bool = False) -> list[Prediction]:
        """Predictions for ``points``, when trial ``number`` is decided.

        Pending candidates of the round count as told with the score the ranker expects of them.
        """
        history = self._history
        told, scores, _ = history.training()
        pending = list(history.pending)
        kappa = history.config.surrogate.kappa
        seed = int(generator(history.config.seed, number, SURROGATE).integers(2**31))
        if pending:
            waiting = [self.inputs.known(candidate) for candidate in pending]
            known = self.inputs.evaluated(told, scores, own=own)
            expected = self.ranker.predict(known, waiting, kappa, seed)[len(known.points) :]
            scores = np.concatenate([scores, [prediction.mu for prediction in expected]])
            told += pending
        known = self.inputs.evaluated(told, scores, own=own)
        return self.ranker.predict(known, points, kappa, seed)[len(known.points) :]


def _in_full(points: Sequence[Point]) -> list[Point]:
    return [replace(point, fidelity=1.0) for point in points]
