"""A table of runs as a world to search: a method buys runs that were really made, and picks a mixture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from autoselection.mixture.runs import Runs

Array = NDArray[np.float64]

PROMISED = 0.95
"""Pairs are answered, the surest first, as long as so many of the answers are expected to be right."""


COMPLETE = 0.5
"""Share of the runs at the target that must have all scores; columns are left out until they do."""


class OverspentError(RuntimeError):
    """A method bought what it could not pay."""


class Replay:
    """What is true of a table: the candidates are its runs at the target with all scores.

    Attributes:
        runs: the table.
        weights: of the columns, equal.
        targets: rows of the candidates.
        truth: objective of each candidate's mixture (mean of the runs of the same mixture), higher is better.
        sizes: how much there is of every source, in any unit, float64[sources]; None: not known.
    """

    def __init__(self, runs: Runs, sizes: Array | None = None) -> None:
        self.runs = runs
        self.sizes = sizes
        self.weights = np.full(len(runs.columns), 1.0 / len(runs.columns))
        self.values = runs.values
        self.complete = np.isfinite(self.values).all(axis=1)
        self.objective = np.where(self.complete, np.nan_to_num(self.values) @ self.weights, np.nan)
        self.targets = np.flatnonzero((runs.level == runs.levels.target) & self.complete)
        _, mixture = np.unique(np.round(runs.shares[self.targets], 9), axis=0, return_inverse=True)
        mixture = mixture.reshape(-1)
        sums = np.bincount(mixture, self.objective[self.targets])
        self.mixture = mixture
        self.truth = (sums / np.bincount(mixture))[mixture]

    def rows_at(self, level: int) -> NDArray[np.int64]:
        """Rows that can be bought at a level."""
        if level == self.runs.levels.target:
            return self.targets
        return np.flatnonzero((self.runs.level == level) & self.complete)


def with_complete_targets(runs: Runs) -> tuple[Runs, tuple[str, ...]]:
    """The table without columns that most runs at the target lack: candidates need all scores. Also their names."""
    dropped = []
    while len(runs.columns) > 1:
        known = np.isfinite(runs.scores[runs.level == runs.levels.target])
        if known.all(axis=1).mean() >= COMPLETE:
            break
        worst = int(np.argmin(known.sum(axis=0)))
        kept = [place for place in range(len(runs.columns)) if place != worst]
        dropped.append(runs.columns[worst])
        columns = tuple(runs.columns[place] for place in kept)
        runs = replace(runs, columns=columns, minimise=runs.minimise[kept], scores=runs.scores[:, kept])
    return runs, tuple(dropped)


@dataclass
class Session:
    """One method on the table with a budget.

    Attributes:
        replay: the table.
        budget: in runs at the target.
        seed: of the method.
        bought: rows, in the order in which they were bought.
    """

    replay: Replay
    budget: float
    seed: int
    bought: list[int] = field(default_factory=list)
    spent: float = 0.0

    def cost(self, level: int) -> float:
        """Of a run at a level, in runs at the target."""
        costs = self.replay.runs.levels.costs
        return costs[level] / costs[-1]

    def can_pay(self, level: int, count: int = 1) -> bool:
        return self.spent + count * self.cost(level) <= self.budget + 1e-9

    def buy(self, row: int) -> Array:
        """The scores of a run, higher is better, shape (columns,)."""
        level = int(self.replay.runs.level[row])
        if not self.can_pay(level) or row in self.bought:
            raise OverspentError(f"row {row} cannot be paid, or was bought before")
        self.spent += self.cost(level)
        self.bought.append(row)
        return self.replay.values[row]

    def seen(self) -> dict[int, float]:
        """Objectives of the candidates that were bought."""
        targets = set(self.replay.targets.tolist())
        return {row: float(self.replay.objective[row]) for row in self.bought if row in targets}


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a method says in the end.

    Attributes:
        pick: row of the candidate it would take.
        mean: predicted objective of every candidate, in any unit, shape (candidates,); None: it predicts none.
        better: probability that candidate i is better than j, shape (candidates, candidates); None: it does not say.
    """

    pick: int
    mean: Array | None = None
    better: Array | None = None


@dataclass(frozen=True)
class Method:
    """A way to spend a budget on runs and to pick a mixture.

    Attributes:
        needs: package that has to be installed, if it is none of the core.
        sizes: whether it has to know how much there is of every source.
    """

    name: str
    run: Callable[[Session], Outcome]
    needs: str | None = None
    sizes: bool = False


@dataclass(frozen=True)
class Mark:
    """How good an outcome is.

    Attributes:
        regret: the best candidate's truth minus the pick's.
        rank_correlation: Spearman's, of predictions and truths of the candidates that were not bought; None: it predicts
            none, or fewer than three are left.
        decided: share of the pairs of these that it answers.
        right: share of the answered that are right; None: none is answered.
    """

    regret: float
    rank_correlation: float | None
    decided: float | None
    right: float | None


def pick(session: Session, mean: Array | None = None) -> int:
    """The candidate with the best objective: seen where it was bought, predicted elsewhere; ties by row."""
    targets = session.replay.targets
    value = np.full(len(targets), -np.inf) if mean is None else np.array(mean, np.float64)
    for row, objective in session.seen().items():
        value[np.searchsorted(targets, row)] = objective
    return int(targets[np.argmax(value)])


def answered(better: Array, promised: float = PROMISED) -> NDArray[np.bool_]:
    """Which pairs are answered: the surest, as many as are expected right in the promised share, shape of ``better``."""
    sure = np.maximum(better, 1.0 - better)
    order = np.argsort(-sure, kind="stable")
    mean = np.cumsum(sure[order]) / np.arange(1, len(order) + 1)
    found = np.zeros(len(sure), bool)
    found[order[mean >= promised]] = True
    return found


def judge(session: Session, outcome: Outcome) -> Mark:
    """Compare with what the table knows."""
    replay = session.replay
    place = int(np.searchsorted(replay.targets, outcome.pick))
    regret = float(replay.truth.max() - replay.truth[place])
    bought = set(session.bought)
    known = {int(replay.mixture[at]) for at, row in enumerate(replay.targets) if int(row) in bought}
    unseen = np.array([at for at in range(len(replay.targets)) if int(replay.mixture[at]) not in known], np.int64)
    if outcome.mean is None or len(unseen) < 3:
        return Mark(regret, None, None, None)
    mean, truth = outcome.mean[unseen], replay.truth[unseen]
    rank = float(spearmanr(mean, truth).statistic) if np.ptp(mean) > 0 and np.ptp(truth) > 0 else None
    if outcome.better is None:
        return Mark(regret, rank, None, None)
    left, right = np.triu_indices(len(unseen), 1)
    differ = truth[left] != truth[right]
    left, right = left[differ], right[differ]
    probability = outcome.better[np.ix_(unseen, unseen)][left, right]
    said = answered(probability)
    correct = (probability > 0.5) == (truth[left] > truth[right])
    return Mark(regret, rank, float(said.mean()), float(correct[said].mean()) if said.any() else None)
