"""A budgeted view of something that scores subsets: what a search method is given, and what it leaves behind."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from autoselection.recipes import subset_hash
from autoselection.search import SearchConfig
from autoselection.signals.table import SignalTable
from autoselection.tasks import mean_of_repeats, merit

Rows = NDArray[np.int64]

FIDELITIES = (1 / 9, 1 / 3)
"""Shares of a full training's budget that shorter ones may have in methods that use them."""


class Scorer(Protocol):
    """A pool whose subsets can be scored."""

    @property
    def table(self) -> SignalTable:
        """The pool's signals."""
        ...

    @property
    def min_rows(self) -> int:
        """Smallest subset that is scored."""
        ...

    def observe(self, rows: Rows, seed: int, fidelity: float = 1.0) -> dict[str, float]:
        """Scores by task of one evaluation (higher is better): what a training with this seed gives.

        Raises:
            EvaluationFailed: the training failed and would fail again.
        """
        ...


class BudgetSpent(Exception):
    """A method asked for more than its budget."""


class EvaluationFailed(Exception):
    """The evaluation of a subset failed, for a reason that lies in the subset and the settings."""


@dataclass(frozen=True, eq=False)
class Evaluated:
    """One evaluation.

    Attributes:
        rows: the subset, in row order.
        observed: mean score over the tasks; NaN if it failed.
        tasks: score by task.
        fidelity: cost as a share of a full evaluation.
        spent: what the whole run had cost by then, in full evaluations.
        failure: why it failed, or None.
        subset: hash of the set of rows; computed if it is not given.
    """

    rows: Rows
    observed: float
    tasks: dict[str, float]
    fidelity: float
    spent: float
    failure: str | None = None
    subset: str = ""

    def __post_init__(self) -> None:
        if not self.subset:
            object.__setattr__(self, "subset", subset_hash(self.rows))


def plain_mean(tasks: Mapping[str, float]) -> float:
    """The mean over tasks that all count alike."""
    return float(np.mean(list(tasks.values())))


@dataclass
class Session:
    """Counts evaluations, and the seconds spent outside of them.

    Observations depend on the rows, the session's seed and how often these rows were scored before: methods that try
    the same subset in sessions of one seed see the same number. The order of rows never matters.

    Args:
        world: what scores subsets; hidden from methods by convention: only its table and its scores are passed on.
        budget: full evaluations that may be paid.
        seed: of the evaluations.
        search: the space of recipes that methods draw from, and the settings of those that are this package's.
        overall: the score from those of the tasks.
        floors: lowest score of each task that has one: what a method would pick meets them, if anything does.
    """

    _world: Scorer
    budget: int
    seed: int
    search: SearchConfig = field(default_factory=SearchConfig)
    overall: Callable[[Mapping[str, float]], float] = plain_mean
    floors: Mapping[str, float] = field(default_factory=dict)
    log: list[Evaluated] = field(default_factory=list)
    spent: float = 0.0
    _inside: float = 0.0
    _times: dict[tuple[str, float], int] = field(default_factory=dict)
    _started: float = field(default_factory=time.perf_counter)

    @property
    def table(self) -> SignalTable:
        """The pool's signals."""
        return self._world.table

    @property
    def min_rows(self) -> int:
        """Smallest subset that is scored."""
        return self._world.min_rows

    @property
    def fidelities(self) -> tuple[float, ...]:
        """Shorter evaluations that can be paid for, as shares of a full one, the shortest first."""
        return FIDELITIES

    @property
    def left(self) -> float:
        """Budget left, in full evaluations."""
        return self.budget - self.spent

    @property
    def worst(self) -> float | None:
        """The worst score so far: what a method that needs a number may take for a failure."""
        known = [item.observed for item in self.log if item.failure is None]
        return min(known) if known else None

    def can_pay(self, fidelity: float = 1.0) -> bool:
        """Whether the budget covers another evaluation."""
        return self.spent + fidelity <= self.budget + 1e-9

    def observe(self, rows: Rows, fidelity: float = 1.0) -> float:
        """Pay for an evaluation and get its score (over all tasks); NaN if it failed, which costs all the same."""
        return self.observe_tasks(rows, fidelity)[0]

    def observe_tasks(self, rows: Rows, fidelity: float = 1.0) -> tuple[float, dict[str, float]]:
        """Pay for an evaluation and get its score and the scores of the tasks; NaN and none if it failed.

        Raises:
            BudgetSpent: the budget does not cover it.
            ValueError: the subset is smaller than what is scored.
        """
        entered = time.perf_counter()
        rows = np.sort(np.asarray(rows, np.int64))
        if len(rows) < self.min_rows:
            raise ValueError(f"a subset of {len(rows)} rows is below the least that is scored ({self.min_rows}).")
        if not self.can_pay(fidelity):
            raise BudgetSpent(f"an evaluation of cost {fidelity:.3g} with {self.left:.3g} of {self.budget} left.")
        key = (subset_hash(rows), fidelity)
        repeat = self._times.get(key, 0)
        self._times[key] = repeat + 1
        tasks: dict[str, float] = {}
        failure = None
        try:
            tasks = self._world.observe(rows, _mixed(self.seed, repeat), fidelity)
        except EvaluationFailed as error:
            failure = str(error)
        score = math.nan if failure is not None else self.overall(tasks)
        self.spent += fidelity
        self.log.append(Evaluated(rows, score, tasks, fidelity, self.spent, failure, key[0]))
        self._inside += time.perf_counter() - entered
        return score, tasks

    def begin(self) -> None:
        """Start the clock now, if the method starts later than the session was made."""
        self._started = time.perf_counter()

    @property
    def controller_seconds(self) -> float:
        """Wall-clock seconds since the session began that were not spent on scores."""
        return time.perf_counter() - self._started - self._inside


def _mixed(seed: int, repeat: int) -> int:
    return seed + 1_000_003 * repeat


@dataclass(frozen=True, eq=False)
class Standing:
    """What a method would pick at some point.

    Attributes:
        rows: the subset.
        seen: mean score seen of it (NaN: never scored by itself).
        subset: hash of the set of rows.
    """

    rows: Rows
    seen: float
    subset: str


class _Tally:
    """What was scored at the highest fidelity so far, by subset, and what it is worth."""

    def __init__(self, floors: Mapping[str, float]) -> None:
        self._floors = floors
        self._fidelity = 0.0
        self._found: dict[str, list[Evaluated]] = {}
        self._worth: dict[str, tuple[float, float]] = {}
        self._seen: dict[str, float] = {}

    def add(self, item: Evaluated) -> None:
        """Take one more evaluation; a failed one counts for nothing."""
        if item.failure is not None or item.fidelity < self._fidelity:
            return
        if item.fidelity > self._fidelity:
            self._fidelity = item.fidelity
            self._found, self._worth, self._seen = {}, {}, {}
        same = self._found.setdefault(item.subset, [])
        same.append(item)
        floored = [{task: each.tasks[task] for task in self._floors} for each in same]
        self._seen[item.subset], means = mean_of_repeats([each.observed for each in same], floored)
        self._worth[item.subset] = merit(self._seen[item.subset], means, self._floors)

    def pick(self) -> Standing | None:
        """The best subset (ties: the earlier one)."""
        if not self._found:
            return None
        best = max(self._found, key=self._worth.__getitem__)
        return Standing(self._found[best][0].rows, self._seen[best], best)


def standings(
    log: Sequence[Evaluated], budget: int, floors: Mapping[str, float] | None = None
) -> list[Standing | None]:
    """What a method would pick after 1, 2, ... ``budget`` full evaluations' worth; None before it has any score.

    The subset with the best mean score at the highest fidelity seen so far (ties: the earlier one), of those whose mean task scores
    meet every floor; the one that misses them least, while none does. Failed evaluations count for nothing.

    Args:
        log: evaluations in the order in which they were paid for.
        floors: lowest score by task.
    """
    tally = _Tally(floors or {})
    picks: list[Standing | None] = []
    place = 0
    for cost in range(1, budget + 1):
        while place < len(log) and log[place].spent <= cost + 1e-9:
            tally.add(log[place])
            place += 1
        picks.append(tally.pick())
    return picks


def standing(log: Sequence[Evaluated], floors: Mapping[str, float] | None = None) -> Standing | None:
    """The last of :func:`standings`: what a method would pick after all of its evaluations."""
    tally = _Tally(floors or {})
    for item in log:
        tally.add(item)
    return tally.pick()


def incumbents(log: Sequence[Evaluated], budget: int, floors: Mapping[str, float] | None = None) -> list[Rows | None]:
    """The subsets of :func:`standings`."""
    return [None if pick is None else pick.rows for pick in standings(log, budget, floors)]
