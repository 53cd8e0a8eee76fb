"""Mixtures of sources that the scores of a search so far point to, by methods of the literature.

A trial counts with the shares of sources in its subset, whatever its recipe, and with its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoselection.operators.groups import group_codes
from autoselection.operators.mixing_rules import after_excess_loss
from autoselection.search.mixture_fits import by_boosting, by_mixing_law, leading_mean
from autoselection.search.outliers import as_told
from autoselection.search.records import EvaluatedCandidate
from autoselection.signals.table import SignalTable
from autoselection.statistics import all_alike

Array = NDArray[np.float64]

LEAST = 5
"""Scores before regressions are made."""
SIMULATED = 1000
"""Mixtures that a regression chooses among."""
CONCENTRATION = 16.0
"""Of the Dirichlet distribution around a trial's shares that every second one of these is drawn from."""
BOOSTED, BY_LAW, EXCESS = "boosting", "a mixing law", "excess loss"


@dataclass(frozen=True, eq=False)
class LearntMixture:
    """A mixture to try.

    Attributes:
        method: what proposes it.
        shares: of the sources, float64[sources].
        kept: size as a share of the pool's rows.
    """

    method: str
    shares: Array
    kept: float


def described(rows: NDArray[np.int64], signals: SignalTable) -> Array:
    """Shares of the sources in a subset, and the logarithm of its size as a share of the pool, float64[sources + 1]."""
    counts = np.bincount(signals.source[rows], minlength=len(signals.source_names))
    return np.append(counts / max(1, counts.sum()), np.log(len(rows) / max(1, len(signals.selectable))))


def learnt_mixtures(
    scored: Sequence[EvaluatedCandidate], signals: SignalTable, rng: np.random.Generator
) -> list[LearntMixture]:
    """What boosting, a mixing law and excess losses propose; empty where too little is known.

    Args:
        scored: trials with a score, one a subset.
    """
    found: list[LearntMixture] = []
    if len(signals.source_names) < 2 or not scored:
        return found
    inputs = np.array([described(trial.candidate.rows, signals) for trial in scored])
    losses = -as_told(np.array([trial.score for trial in scored], np.float64))
    if len(scored) >= LEAST and not all_alike(losses):
        wanted = simulated(inputs, rng, SIMULATED)
        for method, fit in ((BOOSTED, by_boosting), (BY_LAW, by_mixing_law)):
            best = leading_mean(wanted, fit(inputs, losses, wanted, 0))
            found.append(LearntMixture(method, best[:-1] / best[:-1].sum(), float(np.exp(best[-1]))))
    best_trial = int(np.argmin(losses))
    worse = task_excess(scored, best_trial)
    if worse:
        moved = after_excess_loss(inputs[best_trial, :-1], source_excess(worse, signals), np.zeros(inputs.shape[1] - 1))
        found.append(LearntMixture(EXCESS, moved, float(min(1.0, np.exp(inputs[best_trial, -1])))))
    return found


def simulated(inputs: Array, rng: np.random.Generator, count: int) -> Array:
    """Inputs of random mixtures, in turns anywhere on the simplex and around one of the runs; sizes within those seen."""
    sources = inputs.shape[1] - 1
    shares = np.empty((count, sources))
    for place in range(count):
        centre = inputs[int(rng.integers(len(inputs))), :-1]
        shares[place] = rng.dirichlet(CONCENTRATION * centre + 0.05 if place % 2 else np.ones(sources))
    low, high = float(inputs[:, -1].min()), float(inputs[:, -1].max())
    return np.column_stack([shares, rng.uniform(low, high, count)])


def task_excess(scored: Sequence[EvaluatedCandidate], place: int) -> dict[str, float]:
    """By how much a trial is worse than the best of all on each task; empty where no trial is better on one of several."""
    tasks = [trial.observation.tasks for trial in scored]
    own = tasks[place]
    if len(own) < 2:
        return {}
    worse = {name: max(0.0, max(found.get(name, value) for found in tasks) - value) for name, value in own.items()}
    return worse if any(worse.values()) else {}


def source_excess(worse: dict[str, float], signals: SignalTable) -> Array:
    """Excess losses of the sources from those of the tasks, float64[sources]: their mean over the tasks that a source's rows
    are nearest to; that over all tasks for rows near none, or where no relevance is known."""
    mean = float(np.mean(list(worse.values())))
    if len(signals.tasks) < 2:
        return np.full(len(signals.source_names), mean)
    codes, names = group_codes(signals, "task")
    by_row = np.array([worse.get(name, mean) for name in names])[codes]
    rows = signals.selectable
    sums = np.bincount(signals.source[rows], weights=by_row[rows], minlength=len(signals.source_names))
    counts = np.bincount(signals.source[rows], minlength=len(signals.source_names))
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), 0.0))
