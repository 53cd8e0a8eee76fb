"""What a study's verdict (docs/incumbent.md) would say at the end of a replayed search, with the whole pool as the incumbent.

The pick keeps the lucky score that it was chosen by, what choosing is expected to have added is taken off, chance in training is
known from these four trainings alone: as in a study. Only the items are left out, which a replay does not have; they make a study
change less often still.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student

from autoselection.compare.session import plain_mean
from autoselection.recipes import subset_hash
from autoselection.statistics import pooled_noise, selection_flattery
from benchmarks.worlds.base import Evaluated, Rows, World

LEVEL = 0.95
_FRESH = 1_000_003
"""Added to a search's seed: a training that the search did not see."""


def whole_pool_stays(log: Sequence[Evaluated], pick: Rows | None, world: World, seed: int) -> bool:
    """Whether the verdict leaves the whole pool in place: the pick is not better beyond noise.

    Args:
        log: evaluations of the search.
        pick: what it would choose; None: nothing.
        seed: of the search's evaluations.
    """
    everything = np.arange(world.table.n)
    if pick is None or subset_hash(pick) == subset_hash(everything):
        return True
    scores: dict[str, float] = {}
    for item in log:
        if item.fidelity == 1.0 and item.failure is None:
            scores.setdefault(subset_hash(item.rows), item.observed)
    names, chosen, whole = list(scores), subset_hash(pick), subset_hash(everything)

    def trained(rows: Rows, name: str) -> dict[int, float]:
        first = scores[name] if name in scores else plain_mean(world.observe(rows, seed))
        return {0: first, 1: plain_mean(world.observe(rows, seed + _FRESH))}

    ours, theirs = trained(pick, chosen), trained(everything, whole)
    noise = pooled_noise([ours, theirs])
    rival = names.index(whole) if whole in names else len(names)
    count = max(len(names), rival + 1)
    lucky = selection_flattery(
        [[np.array([[score]])] for score in scores.values()],
        [math.sqrt(noise.variance)] * count,
        correlation=np.eye(count),
        rival=rival,
        seed=seed,
    )
    ahead = np.mean(list(ours.values())) - lucky.training / len(ours) - np.mean(list(theirs.values()))
    error = math.sqrt(2 * noise.variance / len(ours))
    return not ahead > student.ppf(1 - (1 - LEVEL) / 2, noise.freedom) * error
