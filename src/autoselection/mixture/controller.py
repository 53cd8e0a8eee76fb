"""A search over mixtures by ask and tell, for a pool of which only the sources' names are known.

It has the members of :class:`autoselection.search.SearchController` that make sense without rows: ``ask``, ``tell``, ``run``,
``pending``, ``history``, ``spent``, ``best``. What is asked for is a mixture at a level instead of a recipe.

Up to half of the budget goes into levels below the target first, in equal parts: their runs are what tells mixtures apart
at all. Runs at the target then take turns. One asks for what would tell most about how the candidates differ (it is
what the slope between levels, each column's own, is learnt by); the next asks for what is expected to improve the final
choice most (:func:`~autoselection.mixture.value.knowledge_gradient`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import ConfigError, StudyError
from autoselection.mixture.inputs import LogShares
from autoselection.mixture.model import MixtureModel
from autoselection.mixture.space import MixtureSpace
from autoselection.mixture.value import knowledge_gradient, variance_reduction

Array = NDArray[np.float64]

PROPOSALS = 400
"""Mixtures that a run is chosen from where any can be run."""
PARENTS = 8
"""Best runs so far that half of these are drawn around."""
FIRST_AT_TARGET = 4
"""Random runs at the target before any is chosen by the model, where there is no cheaper level (at most a third of all)."""
LARGEST_BELOW = 0.5
"""Largest share of the budget that goes into cheaper levels."""
MOST_COMPARED = 400
"""Mixtures at the target that are compared in full, every one with every other: of more, the half that promises most and as
many others, in the search's random order."""
MOST_BELOW = 1000
"""Most runs at one cheaper level: the model's work grows with their third power."""


@dataclass(frozen=True, eq=False)
class MixtureCandidate:
    """A run to make.

    Attributes:
        number: 1 for the first that was asked for.
        shares: the mixture, shape (sources,).
        level: place of its level among the space's.
        place: its place in the space's list of candidates at that level; None without a list.
        reason: why, as a sentence without a full stop.
    """

    number: int
    shares: Array
    level: int
    place: int | None
    reason: str


@dataclass(frozen=True, eq=False)
class EvaluatedMixture:
    """A run that was made: its scores, higher is better, NaN where missing; None if it failed."""

    candidate: MixtureCandidate
    scores: Array | None


class MixtureController:
    """Decides which mixtures to run, at which level.

    Args:
        space: mixtures and levels.
        weights: of the score columns, shape (columns,).
        budget: what may be spent, in runs at the target.
        seed: of all random draws.
        below: share of the budget for each cheaper level; None: equal parts of a half, at most a quarter.

    Raises:
        ConfigError: weights that make no objective, or a budget that pays no run at the target.
    """

    def __init__(
        self, space: MixtureSpace, weights: Sequence[float], budget: float, seed: int = 0, below: float | None = None
    ) -> None:
        self.space = space
        self.weights = np.asarray(weights, np.float64)
        if self.weights.ndim != 1 or not (self.weights >= 0).all() or not 0 < self.weights.sum() < float("inf"):
            raise ConfigError(
                f"weights: one number from 0 on for each score, not all 0, is expected, not {list(weights)}."
            )
        if not 1 <= budget < float("inf"):
            raise ConfigError(f"budget: {budget} pays no run at the target; it is counted in those, from 1 on.")
        if below is not None and not 0 <= below * space.levels.target < 1:
            raise ConfigError(
                f"below: {below} for each of {space.levels.target} cheaper levels leaves nothing for the target."
            )
        self.budget = budget
        self.seed = seed
        self._asked: list[MixtureCandidate] = []
        self._told: dict[int, EvaluatedMixture] = {}
        cheaper = space.levels.target
        self._below = min(0.25, LARGEST_BELOW / max(1, cheaper)) if below is None else below
        self._model: tuple[int, MixtureModel] | None = None
        self._lower: MixtureModel | None = None
        self._lower_told = -1
        self._order: list[NDArray[np.int64]] = []
        if space.candidates is not None:
            self._order = _nested(space.candidates, np.random.default_rng([seed, 1]))

    @property
    def pending(self) -> tuple[MixtureCandidate, ...]:
        """Asked and not told."""
        return tuple(candidate for candidate in self._asked if candidate.number not in self._told)

    @property
    def history(self) -> tuple[EvaluatedMixture, ...]:
        """Everything told so far, in the order of numbers."""
        return tuple(self._told[number] for number in sorted(self._told))

    @property
    def spent(self) -> float:
        """Cost of everything asked so far, in runs at the target."""
        return sum(self._cost(candidate.level) for candidate in self._asked)

    @property
    def best(self) -> EvaluatedMixture | None:
        """The run at the target with the best objective; None before the first."""
        known = [
            (self._objective(run.scores), -run.candidate.number, run)
            for run in self.history
            if run.candidate.level == self.space.levels.target and run.scores is not None and self._complete(run.scores)
        ]
        return max(known)[2] if known else None

    def ask(self, q: int = 1) -> list[MixtureCandidate]:
        """Runs to make now; empty when the budget is spent or there is nothing left to run.

        All runs below the target are asked for at once, level by level: none of them depends on another's score.
        """
        if q < 1:
            raise ValueError(f"ask needs q >= 1, not {q}.")
        if self.pending:
            return list(self.pending)
        if not self._asked:
            for level in range(self.space.levels.target):
                self._ask_below(level)
        if not self.pending:
            for _ in range(q):
                if not self._can_pay(self.space.levels.target) or not self._ask_target():
                    break
        return list(self.pending)

    def tell(self, candidate: MixtureCandidate, scores: Sequence[float] | Array | None) -> None:
        """Take a run's scores (higher is better, NaN where missing), or None for one that failed.

        Raises:
            StudyError: it was not asked for, was told before, has another number of scores, or scores that are no finite numbers.
        """
        if candidate.number > len(self._asked) or self._asked[candidate.number - 1] is not candidate:
            raise StudyError(f"Run {candidate.number} was not asked for.")
        if candidate.number in self._told:
            raise StudyError(f"Run {candidate.number} has its scores already.")
        try:
            found = None if scores is None else np.asarray(scores, np.float64)
        except (TypeError, ValueError) as error:
            raise StudyError(f"Run {candidate.number} has scores that are no numbers: {scores!r}.") from error
        if found is not None and found.shape != self.weights.shape:
            given = "a single number" if found.ndim == 0 else f"{found.size} scores in the shape {found.shape}"
            raise StudyError(
                f"Run {candidate.number} has {given}: a list of {self.weights.size} is needed, one score a weight."
            )
        if found is not None and np.isinf(found).any():
            raise StudyError(
                f"Run {candidate.number} has an infinite score: tell NaN where one is missing, None if the run failed."
            )
        self._told[candidate.number] = EvaluatedMixture(candidate, found)

    def run(self, evaluate: Callable[[MixtureCandidate], Sequence[float] | Array | None]) -> EvaluatedMixture | None:
        """Ask, evaluate and tell until the budget is spent; gives the best run at the target, None if all of these failed.

        Raises:
            StudyError: as of ``tell``, or no run at the target has all scores that count.
        """
        while candidates := self.ask():
            for candidate in candidates:
                self.tell(candidate, evaluate(candidate))
        told = [
            run for run in self.history if run.candidate.level == self.space.levels.target and run.scores is not None
        ]
        if told and self.best is None:
            raise StudyError(
                f"None of the {len(told)} runs at the target has all scores that count: a score that is NaN in every run needs the weight 0."
            )
        return self.best

    def model(self) -> MixtureModel | None:
        """What the runs so far say; None before any."""
        runs = [run for run in self.history if run.scores is not None]
        if not runs:
            return None
        if self._model is not None and self._model[0] == len(self._told):
            return self._model[1]
        target = self.space.levels.target
        shares = np.array([run.candidate.shares for run in runs])
        scores = np.array([run.scores for run in runs])
        levels = np.array([run.candidate.level for run in runs])
        listed = self.space.candidates
        inputs = LogShares.of(shares if listed is None else np.concatenate([*listed]))
        below = int((levels < target).sum())
        if below and self._lower_told != below:
            kept = levels < target
            remember = None if listed is None or len(listed[target]) > MOST_COMPARED else listed[target]
            self._lower = MixtureModel(shares[kept], scores[kept], levels[kept], target + 1, inputs, remember=remember)
            self._lower_told = below
        found = MixtureModel(shares, scores, levels, target + 1, inputs, self._lower if below else None)
        self._model = (len(self._told), found)
        return found

    def _cost(self, level: int) -> float:
        costs = self.space.levels.costs
        return costs[level] / costs[-1]

    def _can_pay(self, level: int) -> bool:
        return self.spent + self._cost(level) <= self.budget + 1e-9

    def _complete(self, scores: Array) -> bool:
        return bool(np.isfinite(scores[self.weights != 0]).all())

    def _objective(self, scores: Array) -> float:
        """The weighted score; a score of weight 0 may be missing, and 0 times NaN is NaN."""
        used = self.weights != 0
        return float(scores[used] @ self.weights[used])

    def _add(self, shares: Array, level: int, place: int | None, reason: str) -> None:
        self._asked.append(MixtureCandidate(len(self._asked) + 1, shares, level, place, reason))

    def _ask_below(self, level: int) -> None:
        count = min(MOST_BELOW, int(self._below * self.budget / self._cost(level) + 1e-9))
        name = self.space.levels.names[level]
        reason = f"runs at {name} tell mixtures apart at {self._cost(level):.2g} of the cost"
        if self.space.candidates is not None:
            for place in self._order[level][:count]:
                self._add(self.space.candidates[level][place], level, int(place), reason)
            return
        rng = np.random.default_rng([self.seed, 2])
        for shares in self.space.draw(count, rng):  # the same mixtures at every level, as far as they go
            self._add(shares, level, None, reason)

    def _left(self) -> tuple[Array, NDArray[np.int64] | None]:
        """Mixtures that can still be run at the target, and their places in the list."""
        target = self.space.levels.target
        if self.space.candidates is None:
            known = sorted(
                (-run.candidate.level, -self._objective(run.scores), run.candidate.number)
                for run in self.history
                if run.scores is not None and self._complete(run.scores)
            )
            around = np.array([self._asked[number - 1].shares for *_, number in known[:PARENTS]]) if known else None
            rng = np.random.default_rng([self.seed, 3, len(self._asked)])
            return self.space.draw(PROPOSALS, rng, around), None
        taken = {candidate.place for candidate in self._asked if candidate.level == target}
        places = np.array([place for place in self._order[target] if place not in taken], np.int64)
        return self.space.candidates[target][places], places

    def _ask_target(self) -> bool:
        target = self.space.levels.target
        left, places = self._left()
        if not len(left):
            return False
        own = sum(candidate.level == target for candidate in self._asked)
        model = self.model()
        first = min(FIRST_AT_TARGET, int(self.budget) // 3)
        if model is None or (target == 0 and own < first):
            chosen, reason = 0, "a first run at the target, drawn at random"
        else:
            some = self._promising(model, left)
            chosen, reason = self._choose(model, left[some], own)
            chosen = int(some[chosen])
        self._add(left[chosen], target, None if places is None else int(places[chosen]), reason)
        return True

    def _promising(self, model: MixtureModel, left: Array) -> NDArray[np.int64]:
        """Places of the mixtures that are compared in full."""
        if len(left) <= MOST_COMPARED:
            return np.arange(len(left))
        means, variances = model.columns(left)
        hopeful = means @ self.weights + np.sqrt(variances @ self.weights**2)
        best = np.argsort(-hopeful, kind="stable")[: MOST_COMPARED // 2]
        others = np.setdiff1d(np.arange(len(left)), best)[: MOST_COMPARED - len(best)]
        return np.sort(np.concatenate([best, others]))

    def _choose(self, model: MixtureModel, left: Array, own: int) -> tuple[int, str]:
        """The run that is worth most, by turns for what it tells and for what it is expected to improve."""
        target = self.space.levels.target
        pending = [candidate.shares for candidate in self.pending]
        known = [run.candidate.shares for run in self.history if run.candidate.level == target]
        believed = np.concatenate([left, np.array([*pending, *known]).reshape(-1, left.shape[1])])
        belief = model.objective(self.weights, believed)
        noise = model.noise(self.weights) * model.widening(self.weights)
        covariance = belief.covariance
        for place in range(len(left), len(left) + len(pending)):
            covariance = conditioned(covariance, place, noise)
        cross, variance = covariance[:, : len(left)], np.diag(covariance)[: len(left)] + noise
        if target and own % 2 == 0:
            told = variance_reduction(cross[: len(left)], variance)
            return int(np.argmax(told)), "it would tell most about how the other mixtures differ"
        gain = knowledge_gradient(belief.mean, cross, variance)
        # Where no run is expected to change the choice, the most promising one that was not run.
        if gain.max() <= 1e-9 * float(np.sqrt(variance.max())):
            return int(np.argmax(belief.mean[: len(left)])), "it is predicted to be the best of those left"
        return int(np.argmax(gain)), "it is expected to improve the final choice most"


def conditioned(covariance: Array, place: int, noise: float) -> Array:
    """The covariance after a run at one of the points, whatever its score."""
    column = covariance[:, place]
    return np.asarray(covariance - np.outer(column, column) / (covariance[place, place] + noise + 1e-16))


def _nested(listed: Sequence[Array], rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """An order of the mixtures of each level, random, with the same order for what several levels have in common."""
    rank: dict[bytes, float] = {}
    orders = []
    for shares in listed:
        keys = [np.round(row, 9).tobytes() for row in shares]
        for key in keys:
            if key not in rank:
                rank[key] = float(rng.random())
        # Later copies of a mixture stand behind, in the order of the table.
        ordered = sorted((rank[key], place) for place, key in enumerate(keys))
        orders.append(np.array([place for _, place in ordered], np.int64))
    return orders
