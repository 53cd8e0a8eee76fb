"""What a search's ranker expects of recipes, from everything that the search was told.

**Floors.** Where tasks have floors, each of them has a surrogate of its own, over the same features, which gives the
probability that a recipe's score on the task is at least the floor. With several floors they are multiplied, as if the tasks
were independent given the recipe. A proposal's value is the expected improvement on the best of what meets the floors times
that probability (Schonlau, Welch and Jones 1998, "Global versus local search in constrained optimization of computer models";
Gardner et al. 2014, "Bayesian optimization with inequality constraints"); while nothing meets them, the probability alone.
Usual effects (:mod:`autoselection.search.prior`) were learnt for means of tasks that were wanted, and say nothing of what is
forgotten: these surrogates go without them, so that after few trials they tell recipes apart little, not wrongly.

**Trade-offs.** With ``search.pareto`` a proposal's value is what it is expected to add to the hypervolume of what is known
(:mod:`autoselection.search.pareto`); each named task has a surrogate of its own, rows and tokens are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from autoselection.search.history import SearchHistory
from autoselection.search.levels import Level
from autoselection.search.pareto import ROWS, SCORE, TOKENS, expected_hypervolume_improvement, front
from autoselection.search.proposals import Draft
from autoselection.search.random_streams import SURROGATE, generator
from autoselection.search.ranker import Known, LeaveOneOut, Point, Prediction, Ranker
from autoselection.search.records import Candidate, EvaluatedCandidate
from autoselection.search.surrogate import without_prior
from autoselection.search.surrogate_inputs import SurrogateInputs

MEAN, WITHIN = "mean/", "/within source"
"""How features are called that are the mean rank of a score in the pool, and what those within sources end with."""
MIN_TOLD_FOR_FLOORS = 2
"""Scores from which on something is said of the probability that floors are met."""


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
        self._of_tasks = without_prior(ranker, history.config)

    def elsewhere(
        self,
        train: Sequence[Point],
        scores: NDArray[np.float64],
        test: Sequence[Point],
        *,
        eligible: Sequence[bool] | None = None,
        floors: Mapping[str, float] | None = None,
        tasks: Mapping[str, NDArray[np.float64]] | None = None,
    ) -> list[Prediction]:
        """Predictions of ``test`` from the scores of ``train``: subsets of this pool that were evaluated elsewhere, as
        :meth:`SurrogateInputs.points` describes them.

        Args:
            eligible: which of ``train`` may be chosen, so that an improvement is one on the best of these; None: all.
            floors: lowest score by task: predictions then tell the probability that all are met, and value what is expected
                to improve by it; by that alone while nothing is eligible.
            tasks: scores of ``train`` by task, of those that have floors at least.
        """
        config = self._history.config
        some = eligible is None or any(eligible)
        known = replace(self.inputs.elsewhere(train, scores), eligible=eligible if some else None)
        found = self.ranker.predict(known, test, config.surrogate.kappa, config.seed)[len(train) :]
        if not floors or not tasks:
            return found
        logs = np.zeros(len(test))
        for task, floor in floors.items():
            of_task = self.inputs.elsewhere(train, tasks[task])
            expected = self._of_tasks.predict(of_task, test, config.surrogate.kappa, config.seed)[len(train) :]
            logs += _log_above(expected, floor)
        return _within_floors(found, logs, some)

    def of_candidates(self, candidates: Sequence[Candidate], number: int, *, full: bool = False) -> list[Prediction]:
        """What trial ``number`` is decided by, for candidates; with ``full`` as if each were fully evaluated."""
        points = [self.inputs.known(candidate) for candidate in candidates]
        return self._of(_in_full(points) if full else points, number)

    def reach(self, points: Sequence[Point], level: Level, number: int) -> NDArray[np.float64]:
        """How much a score at a lower level would tell of the full score of each point, see :meth:`Ranker.reach`."""
        history = self._history
        seed = int(generator(history.config.seed, number, SURROGATE).integers(2**31))
        told, scores, _ = history.training()
        lower = [replace(point, fidelity=level.cost, model=level.model) for point in points]
        known = self.inputs.evaluated(told, scores)
        return self.ranker.reach(known, points, lower, seed, noise=1.0 / level.averaged)

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
        """Places of predictions, highest acquisition value first (ties: the earlier one).

        Where tasks have floors, an upper confidence bound counts only if they are more likely met than not.
        """
        config = self._history.config
        acquisition = "log_ei" if config.pareto else config.surrogate.acquisition
        value = attrgetter(acquisition)

        def key(place: int) -> tuple[float, float, int]:
            meets = predictions[place].meets
            likely = 0.0 if meets is None or acquisition == "log_ei" else min(meets, 0.5)
            return -likely, -value(predictions[place]), place

        return sorted(range(len(predictions)), key=key)

    def effects(self, number: int) -> dict[str, float]:
        """What a subset whose mean rank in a score is higher by a standard deviation (over random recipes) is expected to gain,
        by column; half the difference between one above and one below the usual, all else as in random recipes."""
        features = self.inputs.features
        places = {name.removeprefix(MEAN): place for place, name in enumerate(features) if name.startswith(MEAN)}
        columns = [name for name in places if not name.endswith(WITHIN)]
        best = self._history.leader
        if best is None or not columns:
            return {}
        (usual,) = _in_full([replace(self.inputs.known(best.candidate), state=np.zeros(len(features)))])
        points = []
        for name in columns:
            for side in (1.0, -1.0):
                state = np.zeros(len(features))
                state[places[name]] = side
                points.append(replace(usual, state=state))
        seed = int(generator(self._history.config.seed, number, SURROGATE).integers(2**31))
        _, expected = self._believed(self.ranker, None, points, seed, own=False)
        values = np.array([prediction.mu for prediction in expected]).reshape(-1, 2)
        return dict(zip(columns, ((values[:, 0] - values[:, 1]) / 2).tolist(), strict=True))

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
        worth = np.array([expected.mu for expected in believed])
        meets = self._log_meets(_in_full(known.points[: len(scored)]), config.seed)
        if meets is not None:  # above the worst of them, if what misses a floor is worth no more than that
            worth = (worth - worth.min()) * np.exp(meets)
        order = sorted(range(len(scored)), key=lambda place: (-worth[place], -place))
        if config.pareto:
            order = self._by_turns(scored, order)
        return [scored[place] for place in order[: config.parents]]

    def _by_turns(self, scored: Sequence[EvaluatedCandidate], order: Sequence[int]) -> list[int]:
        """Places of trials, those of the front of what meets the floors first, the best of each objective in turn; the others
        in their order."""
        values = np.array([self._history.objectives(trial) for trial in scored])
        meeting = np.flatnonzero([self._history.meets(trial) for trial in scored])
        leading = meeting[front(values[meeting])].tolist()
        found: list[int] = []
        while leading:
            column = values[leading, len(found) % values.shape[1]]
            found.append(leading.pop(int(np.argmax(column))))
        return [*found, *(place for place in order if place not in found)]

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
        seed = int(generator(self._history.config.seed, number, SURROGATE).integers(2**31))
        known, predicted = self._believed(self.ranker, None, points, seed, own=own)
        some = any(self._history.meets(trial) for trial in self._history.told)
        if self._history.config.pareto and some:
            predicted = self._traded_off(known, predicted, points, seed)
        meets = self._log_meets(points, seed)
        return predicted if meets is None else _within_floors(predicted, meets, some)

    def _traded_off(
        self, known: Sequence[Prediction], predicted: Sequence[Prediction], points: Sequence[Point], seed: int
    ) -> list[Prediction]:
        """Predictions whose value is what points are expected to add to the front of what is known and meets the floors."""
        history = self._history
        asked = [*(trial.candidate for trial in history.told), *history.pending]
        seen = [self.inputs.known(candidate) for candidate in asked]
        standing = [place for place, trial in enumerate(history.told) if history.meets(trial)]
        full = [place for place in standing if asked[place].fidelity == 1.0] or standing
        if not history.floors:  # what a pending one will be is expected, whether it will meet floors is not known
            full += range(len(history.told), len(asked))
        means, deviations, values = [], [], []
        for name in history.config.pareto:
            if name in (ROWS, TOKENS):
                values.append(-self.inputs.cost(seen, name))
                means.append(-self.inputs.cost(points, name))
                deviations.append(np.zeros(len(points)))
                continue
            told, new = (known, predicted)
            if name != SCORE:
                told, new = self._believed(self.ranker, name, points, seed, own=True)
            values.append(np.array([expected.mu for expected in told]))
            means.append(np.array([expected.mu for expected in new]))
            deviations.append(np.array([expected.sigma for expected in new]))
        gain = expected_hypervolume_improvement(
            np.stack(means, axis=1), np.stack(deviations, axis=1), np.stack(values, axis=1)[full]
        )
        logs = np.log(np.maximum(gain, 1e-300))
        return [replace(expected, log_ei=float(log)) for expected, log in zip(predicted, logs, strict=True)]

    def _log_meets(self, points: Sequence[Point], seed: int) -> NDArray[np.float64] | None:
        """Logarithm of the probability that each point meets every floor; None without floors, or before enough is known."""
        history = self._history
        scored = [trial for trial in history.told if trial.score is not None]
        if not history.floors or len(scored) < MIN_TOLD_FOR_FLOORS:
            return None
        found = np.zeros(len(points))
        for task, floor in history.floors.items():
            _, predicted = self._believed(self._of_tasks, task, points, seed, own=True)
            found += _log_above(predicted, floor)
        return found

    def _believed(
        self, ranker: Ranker, task: str | None, points: Sequence[Point], seed: int, *, own: bool
    ) -> tuple[list[Prediction], list[Prediction]]:
        """What ``ranker`` expects of what was asked for (told, then pending), and of points; of a task's scores, or of those
        that are maximised."""
        history = self._history
        told, scores, _ = history.training(task)
        pending = list(history.pending)
        kappa = history.config.surrogate.kappa
        eligible = [history.meets(trial) for trial in history.told] if history.floors else None
        if pending:
            waiting = [self.inputs.known(candidate) for candidate in pending]
            known = self.inputs.evaluated(told, scores, own=own)
            expected = ranker.predict(known, waiting, kappa, seed)[len(known.points) :]
            scores = np.concatenate([scores, [prediction.mu for prediction in expected]])
            told += pending
        known = self.inputs.evaluated(told, scores, own=own)
        if pending:
            others = len(known.points) - len(told)
            guessed = [False] * (len(told) - len(pending)) + [True] * len(pending) + [False] * others
            known = replace(known, expected=guessed)
        if eligible is not None:
            known = replace(known, eligible=[*eligible, *[False] * (len(known.points) - len(eligible))])
        found = ranker.predict(known, points, kappa, seed)
        return found[: len(told)], found[len(known.points) :]


def _in_full(points: Sequence[Point]) -> list[Point]:
    return [replace(point, fidelity=1.0, model="") for point in points]


def _log_above(expected: Sequence[Prediction], floor: float) -> NDArray[np.float64]:
    """Logarithm of the probability that each score is at least a floor."""
    mu, sigma = np.array([(each.mu, max(each.sigma, 1e-12)) for each in expected]).reshape(-1, 2).T
    return np.asarray(log_ndtr((mu - floor) / sigma))


def _within_floors(expected: Sequence[Prediction], logs: NDArray[np.float64], some: bool) -> list[Prediction]:
    """Predictions with the probability, of which the logarithm is given, that all floors are met.

    Args:
        some: whether anything known meets them: else the probability alone is the value.
    """
    return [
        replace(each, meets=float(np.exp(log)), log_ei=float(log) + (each.log_ei if some else 0.0))
        for each, log in zip(expected, logs, strict=True)
    ]
