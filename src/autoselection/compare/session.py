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
from autoselection.tasks import merit

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
    """

    rows: Rows
    observed: float
    tasks: dict[str, float]
    fidelity: float
    spent: float
    failure: str | None = None


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
        self.log.append(Evaluated(rows, score, tasks, fidelity, self.spent, failure=failure))
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
    """What a method would pick at some point, and the mean score it has seen of it (NaN: never scored by itself)."""

    rows: Rows
    seen: float


def standings(
    log: Sequence[Evaluated], budget: int, floors: Mapping[str, float] | None = None
) -> list[Standing | None]:
    """What a method would pick after 1, 2, ... ``budget`` full evaluations' worth; None before it has any score.

    The subset with the best mean score at the highest fidelity seen so far (ties: the earlier one), of those whose mean task scores
    meet every floor; the one that misses them least, while none does. Failed evaluations count for nothing.

    Args:
        floors: lowest score by task.
    """
    picks: list[Standing | None] = []
    for cost in range(1, budget + 1):
        past = [item for item in log if item.spent <= cost + 1e-9]
        picks.append(_pick(past, floors or {}))
    return picks


def incumbents(log: Sequence[Evaluated], budget: int, floors: Mapping[str, float] | None = None) -> list[Rows | None]:
    """The subsets of :func:`standings`."""
    return [None if pick is None else pick.rows for pick in standings(log, budget, floors)]


def _pick(past: Sequence[Evaluated], floors: Mapping[str, float]) -> Standing | None:
    scored = [item for item in past if item.failure is None]
    if not scored:
        return None
    highest = max(item.fidelity for item in scored)
    found: dict[str, list[Evaluated]] = {}
    for item in scored:
        if item.fidelity == highest:
            found.setdefault(subset_hash(item.rows), []).append(item)
    seen = {key: float(np.mean([item.observed for item in items])) for key, items in found.items()}

    def worth(key: str) -> tuple[float, float]:
        means = {task: float(np.mean([item.tasks[task] for item in found[key]])) for task in floors}
        return merit(seen[key], means, floors)

    best = max(found, key=worth)
    return Standing(found[best][0].rows, seen[best])
