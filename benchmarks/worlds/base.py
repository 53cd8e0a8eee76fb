"""What a search is measured on: a pool's signals, noisy scores, and a hidden truth that judges the choice.

A method is given a :class:`Session`, never the world: it sees the signals and the scores that it pays for. Sessions and
methods are those of ``autoselection compare`` (``autoselection.compare``); worlds stand here for real training.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np

from autoselection.compare import BudgetSpent, Evaluated, Rows, Session, incumbents
from autoselection.recipes import subset_hash
from autoselection.signals.table import SignalTable

__all__ = ["BudgetSpent", "Evaluated", "Rows", "Session", "World", "incumbents", "noise_generator"]


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


def noise_generator(rows: Rows, seed: int, purpose: str) -> np.random.Generator:
    """Random numbers that belong to a set of rows, a seed and a purpose."""
    digest = hashlib.blake2b(f"{subset_hash(rows)}/{seed}/{purpose}".encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))
