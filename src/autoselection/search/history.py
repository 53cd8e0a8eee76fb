"""What a search asked and was told so far, and what follows from that without any prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import ConfigError, StudyError
from autoselection.search.config import SearchConfig
from autoselection.search.credit import Credit, credit
from autoselection.search.levels import FULL, Level, lower_levels
from autoselection.search.outliers import as_told
from autoselection.search.pareto import NO_TASKS, ROWS, SCORE, TOKENS, front
from autoselection.search.records import Candidate, EvaluatedCandidate, Observation, Origin
from autoselection.search.series import Series, aligned
from autoselection.tasks import mean_of_repeats, merit
from autoselection.wording import clipped


class SearchHistory:
    """The candidates of one search in the order of their numbers, and what became of them.

    Attributes:
        config: settings of the search; the budget may be changed while it runs.
        floors: lowest score of each task that has one. What meets them all is better than what does not, whatever its score.
    """

    def __init__(self, config: SearchConfig, floors: Mapping[str, float] | None = None) -> None:
        self.config = config
        self.floors = dict(floors or {})
        for task, floor in self.floors.items():
            if not math.isfinite(floor):
                raise ConfigError(f"The floor of the task '{task}' is {floor}: a finite number is expected.")
        self._candidates: dict[str, Candidate] = {}
        self._observations: dict[str, Observation] = {}

    def ask(self, candidate: Candidate) -> None:
        """Take note of a candidate that was asked for."""
        self._candidates[candidate.id] = candidate

    def tell(self, observation: Observation) -> None:
        """Take the outcome of an evaluation; errors as of :meth:`SearchController.tell`."""
        key = observation.candidate_id
        candidate = self._candidates.get(key)
        if candidate is None:
            raise StudyError(f"Trial '{key}' was never asked for: tell only what ask() gave.")
        if observation.score is not None and (
            isinstance(observation.score, str) or not hasattr(observation.score, "__float__")
        ):
            raise StudyError(
                f"Trial {key}: the score is {clipped(repr(observation.score))}, not a number; tell None for a failed evaluation."
            )
        if observation.score is not None and not math.isfinite(observation.score):
            raise StudyError(f"Trial {key}: the score is {observation.score}; tell None for a failed evaluation.")
        needed = {**dict.fromkeys(self.traded, "is traded off"), **dict.fromkeys(self.floors, "has a floor")}
        lacking = [task for task in needed if task not in observation.tasks]
        if observation.score is not None and lacking:
            raise StudyError(
                f"Trial {key}: task '{lacking[0]}' {needed[lacking[0]]} and no score: tell an Observation with 'tasks'."
            )
        alike = self._alike(candidate)
        dropped = sorted(set(alike[0].observation.tasks) - set(observation.tasks)) if alike else []
        if observation.score is not None and dropped:
            raise StudyError(
                f"Trial {key} is another evaluation of the subset of {alike[0].id}, which was told with a score of task "
                f"'{dropped[0]}': tell an Observation whose 'tasks' has it, too."
            )
        if observation.subset_hash is not None and observation.subset_hash != candidate.subset_hash:
            raise StudyError(
                f"Trial {key} was evaluated on another subset ({observation.subset_hash}) than this search gives "
                f"({candidate.subset_hash}): the pool, its signals, the configuration or the package's version changed."
            )
        known = self._observations.get(key)
        if known is not None and known != observation:
            raise StudyError(f"Trial {key} was already told with another outcome (score {known.score}).")
        self._observations[key] = observation

    def _alike(self, candidate: Candidate) -> list[EvaluatedCandidate]:
        """Scored evaluations of a candidate's subset before its own whose scores are averaged with it, see :attr:`standing`."""
        return [
            trial
            for trial in self.told
            if trial.candidate.subset_hash == candidate.subset_hash
            and trial.candidate.number < candidate.number
            and trial.full == (candidate.fidelity == 1.0)
            and trial.score is not None
        ]

    @property
    def traded(self) -> list[str]:
        """Tasks that are traded off."""
        return [name for name in self.config.pareto if name not in NO_TASKS]

    def objectives(self, trial: EvaluatedCandidate) -> list[float]:
        """What is traded off, of a trial that has a score; higher is better."""
        state = trial.candidate.state
        own = {SCORE: trial.score or 0.0, ROWS: -state.retain_ratio, TOKENS: -(state.token_ratio or 0.0)}
        return [{**own, **trial.observation.tasks}[name] for name in self.config.pareto]

    # What was asked and told

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Everything asked so far, in order."""
        return tuple(self._candidates.values())

    @property
    def pending(self) -> tuple[Candidate, ...]:
        """Asked and not told."""
        return tuple(c for c in self._candidates.values() if c.id not in self._observations)

    @property
    def told(self) -> tuple[EvaluatedCandidate, ...]:
        """Everything told so far, in the order of trial numbers."""
        return tuple(
            EvaluatedCandidate(candidate, self._observations[candidate.id])
            for candidate in self._candidates.values()
            if candidate.id in self._observations
        )

    def count(self, origin: Origin) -> int:
        """How many candidates came about that way."""
        return sum(candidate.origin == origin for candidate in self._candidates.values())

    # The budget

    @property
    def spent(self) -> float:
        """Cost of everything asked so far, in full evaluations."""
        return sum(candidate.fidelity for candidate in self._candidates.values())

    @property
    def spent_share(self) -> float:
        """Cost of everything told so far, as a share of the budget."""
        return sum(self._candidates[key].fidelity for key in self._observations) / self.config.evaluations

    def can_pay(self, fidelity: float = 1.0) -> bool:
        """Whether the budget has room for a full evaluation behind one of ``fidelity`` (itself, if it is full)."""
        cost = 1.0 if fidelity == 1.0 else 1.0 + fidelity
        return self.config.evaluations - self.spent > cost - 1e-9

    @property
    def payable_levels(self) -> list[Level]:
        """Levels below a full evaluation that can be paid before one, the cheapest first. With a level chosen by value per
        cost, no more than ``fidelity.share`` of the budget goes into them together."""
        fidelity = self.config.fidelity
        lower = [level for level in lower_levels(fidelity) if self.can_pay(level.cost)]
        if not fidelity.by_value:
            return lower
        most = fidelity.share * self.config.evaluations + 1e-9
        return [level for level in lower if self._spent_below + level.cost <= most]

    @property
    def next_level(self) -> Level:
        """Level of the next recipe that was not evaluated yet, where nothing else decides it: the cheapest."""
        return next(iter(self.payable_levels), FULL)

    @property
    def _spent_below(self) -> float:
        return sum(candidate.fidelity for candidate in self._candidates.values() if candidate.fidelity < 1.0)

    @property
    def short_is_due(self) -> bool:
        """Whether short trainings have had less than their share of the budget, and another one can be paid."""
        level, share = self.next_level.cost, self.config.fidelity.share
        return level < 1.0 and self._spent_below + level <= share * (self.spent + level) + 1e-9

    # What the scores say

    @property
    def best(self) -> EvaluatedCandidate | None:
        """The fully evaluated subset with the best score, the mean of its repeats (ties: the later one), of those that meet
        every floor, or of those that miss them least; None before such a score is told. It is the subset's first evaluation
        that did not fail, with that mean."""
        return self.leading([trial for trial in self.standing if trial.full])

    @property
    def leader(self) -> EvaluatedCandidate | None:
        """:attr:`best`, or the best short evaluation before there is one."""
        return self.best or self.leading(self.standing)

    def leading(self, trials: Sequence[EvaluatedCandidate]) -> EvaluatedCandidate | None:
        """The best of some trials, see :attr:`best`; None if none has a score."""
        return next(iter(self.ordered(trials)), None)

    def ordered(self, trials: Sequence[EvaluatedCandidate]) -> list[EvaluatedCandidate]:
        """Those of some trials that have a score, the best first."""
        scored = [trial for trial in trials if trial.score is not None]
        return sorted(scored, key=lambda trial: (*self._merit(trial.observation), trial.candidate.number), reverse=True)

    def meets(self, trial: EvaluatedCandidate) -> bool:
        """Whether a trial has a score, and, where there are floors, is a full evaluation whose tasks' scores meet them all: a
        short training forgets little, and says nothing of what the full one keeps."""
        return trial.score is not None and (not self.floors or (trial.full and self._merit(trial.observation)[0] == 0))

    def _merit(self, observation: Observation) -> tuple[float, float]:
        """What is the larger the better a scored observation is: minus what it misses floors by, then its score."""
        assert observation.score is not None
        return merit(observation.score, observation.tasks, self.floors)

    @property
    def standing(self) -> tuple[EvaluatedCandidate, ...]:
        """What was told, one a subset: its first full evaluation where there is one, with the mean scores of its repeats,
        else its short one, with the scores, of its tasks too, moved to the scale of full ones."""
        groups: dict[str, list[tuple[EvaluatedCandidate, float]]] = {}
        for trial, score in zip(self._moved_tasks(), self._full_scale(), strict=True):
            groups.setdefault(trial.candidate.subset_hash, []).append((trial, float(score)))
        found = []
        for group in groups.values():
            told = [item for item in group if item[0].full] or group
            told = [item for item in told if item[0].score is not None] or told[:1]
            first = told[0][0]
            if first.score is not None:
                first = _mean_of([trial for trial, _ in told], [score for _, score in told])
            found.append(first)
        return tuple(sorted(found, key=lambda trial: trial.candidate.number))

    @property
    def scored(self) -> list[EvaluatedCandidate]:
        """:attr:`standing` without what failed."""
        return [trial for trial in self.standing if trial.score is not None]

    @property
    def credit(self) -> Credit:
        """Operator credit of all edits with two scores of the same fidelity, each the mean of its repeats.

        A score far below the others of its fidelity (:mod:`autoselection.search.outliers`) counts as the worst of them: a training
        that diverged would else be all the credit there is.
        """
        scores: dict[tuple[str, Series], list[float]] = {}
        first: dict[tuple[str, Series], Candidate] = {}
        for trial in self.told:
            if trial.score is not None:
                place = (trial.candidate.subset_hash, trial.candidate.series)
                scores.setdefault(place, []).append(trial.score)
                first.setdefault(place, trial.candidate)
        means = {place: float(np.mean(found)) if len(found) > 1 else found[0] for place, found in scores.items()}
        for series in {own for _, own in means}:
            places = [place for place in means if place[1] == series]
            means |= zip(places, as_told(np.array([means[place] for place in places])).tolist(), strict=True)
        changes = []
        for (_, series), candidate in first.items():
            parent = self._candidates.get(candidate.parent) if candidate.parent else None
            before = means.get((parent.subset_hash, series)) if parent is not None else None
            if parent is not None and before is not None:
                changes.append((parent.recipe, candidate.recipe, means[candidate.subset_hash, series] - before))
        return credit(changes)

    @property
    def stagnation(self) -> int:
        """Full evaluations of edits, fresh recipes, promotions and repeats since there was a new best (a new best trade-off,
        if objectives are traded off) or a reseed was asked for.

        Initial recipes, warmup probes and recipes of agents raise the best but do not count as evaluations without improvement.
        Scores are the means
        of a subset's repeats so far, as those of :attr:`best`: a repeat may raise or lower the best.
        """
        count = 0
        told: dict[str, list[EvaluatedCandidate]] = {}
        merits: dict[str, tuple[float, float]] = {}
        fronted: dict[str, list[float]] = {}  # objectives of subsets that meet every floor
        for candidate in self._candidates.values():
            observation = self._observations.get(candidate.id)
            full = candidate.fidelity == 1.0
            improved = False
            if observation is not None and observation.score is not None and full:
                subset = candidate.subset_hash
                told.setdefault(subset, []).append(EvaluatedCandidate(candidate, observation))
                mean = _mean_of(told[subset])
                found = self._merit(mean.observation)
                improved = found > max(merits.values(), default=(-math.inf, -math.inf))
                merits[subset] = found
                if self.config.pareto:
                    # A repeat is on the front if it beats what the subset was before, too.
                    if found[0] == 0:
                        now = self.objectives(mean)
                        new = now != fronted.get(subset)
                        improved = improved or (new and bool(front(np.array([*fronted.values(), now]))[-1]))
                        fronted[subset] = now
                    else:
                        fronted.pop(subset, None)
            if improved or candidate.origin == "reseed":
                count = 0
            elif candidate.origin in ("edit", "fresh", "promotion", "repeat") and full and observation is not None:
                count += 1
        return count

    def training(self, task: str | None = None) -> tuple[list[Candidate], NDArray[np.float64], int]:
        """Told candidates, their scores (the worst one for a failure), and how many are such failures.

        Args:
            task: whose scores; None: those that are maximised.
        """
        scores = self._full_scale(task)
        failed = np.isnan(scores)
        scores[failed] = np.nanmin(scores) if not failed.all() else 0.0
        return [trial.candidate for trial in self.told], scores, int(failed.sum())

    def _moved_tasks(self) -> tuple[EvaluatedCandidate, ...]:
        """What was told, with the tasks' scores on the scale of full evaluations."""
        told = self.told
        if len({trial.candidate.series for trial in told}) < 2:
            return told
        names = dict.fromkeys(name for trial in told for name in trial.observation.tasks)
        moved = {name: self._full_scale(name).tolist() for name in names}
        found = []
        for place, trial in enumerate(told):
            tasks = {name: moved[name][place] for name in trial.observation.tasks}
            short = trial.score is not None and not trial.full
            found.append(replace(trial, observation=replace(trial.observation, tasks=tasks)) if short else trial)
        return tuple(found)

    def _full_scale(self, task: str | None = None) -> NDArray[np.float64]:
        """Scores of what was told on the scale of full evaluations; NaN for failed ones."""
        told = self.told
        scores = np.array(
            [
                np.nan
                if trial.score is None
                else trial.score
                if task is None
                else trial.observation.tasks.get(task, np.nan)
                for trial in told
            ],
            np.float64,
        )
        known = np.flatnonzero(np.isfinite(scores))
        scores[known] = aligned(
            scores[known],
            [told[place].candidate.series for place in known],
            [told[place].candidate.subset_hash for place in known],
        )
        return scores


def _mean_of(trials: Sequence[EvaluatedCandidate], scores: Sequence[float] | None = None) -> EvaluatedCandidate:
    """The first of several scored evaluations of a subset, with the means of their scores.

    Args:
        scores: theirs on another scale.
    """
    scores = [float(trial.score or 0.0) for trial in trials] if scores is None else scores
    first = trials[0]
    if len(trials) == 1 and scores[0] == first.score:
        return first
    mean, tasks = mean_of_repeats(scores, [trial.observation.tasks for trial in trials])
    return replace(first, observation=replace(first.observation, score=mean, tasks=tasks))
