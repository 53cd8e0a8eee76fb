"""A pool whose worth is known: rows with hidden value, two tasks, sources of different quality, near duplicates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoselection.signals.table import SignalTable


@dataclass(frozen=True, eq=False)
class KnownPool:
    """Signals that a search may see, and the hidden truth that scores a subset."""

    signals: SignalTable
    task: NDArray[np.int64]
    good: NDArray[np.bool_]
    group: NDArray[np.int64]

    def score(self, rows: NDArray[np.int64]) -> float:
        """Mean over tasks of: share of good rows (saturating) times coverage by distinct ones, minus wrong rows."""
        total = 0.0
        for task in (0, 1, 2):
            right = rows[(self.task[rows] == task) & self.good[rows]]
            wrong = rows[(self.task[rows] == task) & ~self.good[rows]]
            share = len(right) / len(rows)
            distinct = len(np.unique(self.group[right]))
            total += np.tanh(4.0 * share) * (1.0 - np.exp(-distinct / 60.0)) - 1.5 * len(wrong) / len(rows)
        return float(total / 3.0)


def make_pool(seed: int, n: int = 1200) -> KnownPool:
    rng = np.random.default_rng([seed, 77])
    # Sources: a clean one, a noisy one, one with another convention (all wrong), one off every task, one of duplicates.
    names = np.array(["clean", "noisy", "strange", "chatter", "copies"])
    source = rng.choice(5, n, p=[0.2, 0.3, 0.2, 0.2, 0.1])
    task = np.where(source == 3, 3, rng.integers(0, 3, n))
    chance = np.array([0.9, 0.6, 0.15, 0.0, 0.8])[source]
    good = (rng.random(n) < chance) & (task < 3)
    group = np.arange(n)
    copies = np.flatnonzero(source == 4)
    group[copies] = copies[0] + rng.integers(0, max(1, len(copies) // 6), len(copies)) if len(copies) else group[copies]
    relevance = {
        f"mona/task{t}": np.clip(0.3 + 0.25 * (task == t) + 0.1 * rng.normal(size=n), 0.01, 0.99) for t in range(3)
    }
    columns = {
        "n_tokens": rng.integers(10, 80, n).astype(float),
        "ifd": 0.9 - 0.25 * good + 0.15 * rng.normal(size=n) + 0.1 * (task == 1),
        "varentropy": 1.0 + 0.3 * rng.normal(size=n) + 0.2 * (source == 3),
        "ngram_entropy": 4.0 + rng.normal(size=n),
        "action_object_branching": np.where(rng.random(n) < 0.05, np.nan, 2.0 + rng.normal(size=n)),
        **relevance,
    }
    signals = SignalTable.from_arrays(columns, source=names[source], text_hash=group.astype(np.uint64))
    return KnownPool(signals, task, good, group)
