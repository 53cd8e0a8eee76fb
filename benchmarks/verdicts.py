"""What a study's verdict (docs/incumbent.md) would say at the end of a replayed search, with the whole pool as the incumbent.

The pick keeps the lucky scores that it was chosen by, what choosing is expected to have added is taken off, and chance in training
is known from the trainings of both alone, each with a fresh one. A study knows two things besides, of which a replay has none: the
items, which let it change less often, and what the trainings of overlapping subsets have in common, which lets it change more often.
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
_FRESH = 2**40
"""Added to a search's seed: a training that the search did not see (repeats are millions apart, see
:mod:`autoselection.compare.session`)."""


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
    scores: dict[str, list[float]] = {}  # a search may train a subset again
    for item in log:
        if item.fidelity == 1.0 and item.failure is None:
            scores.setdefault(subset_hash(item.rows), []).append(item.observed)
    if not scores:
        return True
    names, chosen, whole = list(scores), subset_hash(pick), subset_hash(everything)

    def trained(rows: Rows, name: str) -> dict[int, float]:
        seen = scores[name] if name in scores else [plain_mean(world.observe(rows, seed))]
        return dict(enumerate([*seen, plain_mean(world.observe(rows, seed + _FRESH))]))

    ours, theirs = trained(pick, chosen), trained(everything, whole)
    noise = pooled_noise([ours, theirs])
    rival = names.index(whole) if whole in names else len(names)
    count = max(len(names), rival + 1)
    lucky = selection_flattery(
        [[np.array([[np.mean(seen)]])] for seen in scores.values()],
        [math.sqrt(noise.variance / len(seen)) for seen in (*scores.values(), [0.0])][:count],
        correlation=np.eye(count),
        rival=rival,
        seed=seed,
    )
    flattered = (len(ours) - 1) / len(ours)  # all of its trainings but the fresh one
    ahead = np.mean(list(ours.values())) - lucky.training * flattered - np.mean(list(theirs.values()))
    error = math.sqrt(noise.variance * (1 / len(ours) + 1 / len(theirs)))
    return not ahead > student.ppf(1 - (1 - LEVEL) / 2, noise.freedom) * error
