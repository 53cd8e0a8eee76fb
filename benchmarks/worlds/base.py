"""What a search is measured on: a pool's signals, noisy scores, and a hidden truth that judges the choice.

A method is given a :class:`Session`, never the world: it sees the signals and the scores that it pays for.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from autoselection.recipes import subset_hash
from autoselection.signals.table import SignalTable

Rows = NDArray[np.int64]

FIDELITIES = (1 / 9, 1 / 3)
"""Cheaper evaluations that every world offers, as shares of the cost of a full one."""


class World(Protocol):
    """A pool on which recipes can be tried."""

    @property
    def table(self) -> SignalTable: ...

    @property
    def min_rows(self) -> int:
        """Smallest subset that is scored."""
        ...

    @property
    def optimum(self) -> float:
        """Truth of the best subset known; no subset that recipes reach is better."""
        ...

    @property
    def reachable(self) -> float:
        """Truth of the best subset that recipes are known to reach; at most ``optimum``."""
        ...

    def truth(self, rows: Rows) -> float:
        """Score without noise, higher is better."""
        ...

    def truth_of_tasks(self, rows: Rows) -> dict[str, float]:
        """The same by task; its mean is the truth unless the world says otherwise."""
        ...

    def observe(self, rows: Rows, seed: int, fidelity: float = 1.0) -> dict[str, float]:
        """Noisy scores by task: what one training run with this seed would give."""
        ...


class BudgetSpent(Exception):
    """A method asked for more than its budget."""


@dataclass(frozen=True, eq=False)
class Evaluated:
    """One evaluation: what was asked, what came back, what the whole run had cost by then."""

    rows: Rows
    observed: float
    tasks: dict[str, float]
    fidelity: float
    spent: float
    recommended: Rows | None = None


@dataclass
class Session:
    """A budgeted view of a world: counts evaluations, and the seconds spent outside of them.

    Observations depend on the rows, the session's seed and how often these rows were scored before: methods that try
    the same subset in the same session see the same number.

    Args:
        world: hidden from methods by convention of this class: only its table and its noisy scores are passed on.
        budget: full evaluations that may be paid.
        seed: of the noise.
    """

    _world: World
    budget: int
    seed: int
    log: list[Evaluated] = field(default_factory=list)
    spent: float = 0.0
    _inside: float = 0.0
    _times: dict[tuple[str, float], int] = field(default_factory=dict)
    _started: float = field(default_factory=time.perf_counter)

    @property
    def table(self) -> SignalTable:
        return self._world.table

    @property
    def min_rows(self) -> int:
        return self._world.min_rows

    @property
    def fidelities(self) -> tuple[float, ...]:
        return FIDELITIES

    @property
    def left(self) -> float:
        """Budget left, in full evaluations."""
        return self.budget - self.spent

    def can_pay(self, fidelity: float = 1.0) -> bool:
        return self.spent + fidelity <= self.budget + 1e-9

    def observe(self, rows: Rows, fidelity: float = 1.0) -> float:
        """Pay for an evaluation and get its score (mean over tasks)."""
        return self.observe_tasks(rows, fidelity)[0]

    def observe_tasks(self, rows: Rows, fidelity: float = 1.0) -> tuple[float, dict[str, float]]:
        """Pay for an evaluation and get its score and the scores of the tasks.

        Raises:
            BudgetSpent: the budget does not cover it.
            ValueError: the subset is smaller than the world scores.
        """
        entered = time.perf_counter()
        rows = np.unique(np.asarray(rows, np.int64))
        if len(rows) < self.min_rows:
            raise ValueError(f"a subset of {len(rows)} rows is below the least of this world ({self.min_rows}).")
        if not self.can_pay(fidelity):
            raise BudgetSpent(f"an evaluation of cost {fidelity:.3g} with {self.left:.3g} of {self.budget} left.")
        key = (subset_hash(rows), fidelity)
        repeat = self._times.get(key, 0)
        self._times[key] = repeat + 1
        tasks = self._world.observe(rows, _mixed(self.seed, repeat), fidelity)
        score = float(np.mean(list(tasks.values())))
        self.spent += fidelity
        self.log.append(Evaluated(rows, score, tasks, fidelity, self.spent))
        self._inside += time.perf_counter() - entered
        return score, tasks

    def recommend(self, rows: Rows) -> None:
        """What the method would pick now; without it the subset with the best mean score is taken."""
        last = self.log[-1]
        self.log[-1] = Evaluated(last.rows, last.observed, last.tasks, last.fidelity, last.spent, np.unique(rows))

    @property
    def controller_seconds(self) -> float:
        """Wall-clock seconds since the session began that were not spent on scores."""
        return time.perf_counter() - self._started - self._inside


def _mixed(seed: int, repeat: int) -> int:
    return seed + 1_000_003 * repeat


def noise_generator(rows: Rows, seed: int, purpose: str) -> np.random.Generator:
    """Random numbers that belong to a set of rows, a seed and a purpose."""
    digest = hashlib.blake2b(f"{subset_hash(rows)}/{seed}/{purpose}".encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def incumbents(log: list[Evaluated], budget: int) -> list[Rows | None]:
    """What a method would pick after 1, 2, ... ``budget`` full evaluations' worth; None before it has any score.

    The method's own recommendation if it made one, else the subset with the best mean score at the highest fidelity
    seen so far (ties: the earlier one).
    """
    picks: list[Rows | None] = []
    for cost in range(1, budget + 1):
        past = [item for item in log if item.spent <= cost + 1e-9]
        recommended = [item.recommended for item in past if item.recommended is not None]
        picks.append(recommended[-1] if recommended else _best(past))
    return picks


def _best(past: list[Evaluated]) -> Rows | None:
    if not past:
        return None
    highest = max(item.fidelity for item in past)
    scores: dict[str, list[float]] = {}
    rows: dict[str, Rows] = {}
    for item in past:
        if item.fidelity == highest:
            key = subset_hash(item.rows)
            scores.setdefault(key, []).append(item.observed)
            rows.setdefault(key, item.rows)
    return rows[max(scores, key=lambda key: float(np.mean(scores[key])))]
