"""At which level to evaluate what, where there are several: by value per cost.

The value of an evaluation at level l is the expected improvement of the recipe's *full* score, times how much the level's score
would tell of it (their correlation, given everything known), over the level's cost,

    α(x, l) = EI(x) · corr(y_l(x), f(x)) / c_l

(Huang, Allen, Notz and Miller 2006, "Sequential kriging optimization using multiple-fidelity evaluations", whose factor for
noise is in the correlation here). A recipe that was tried at a lower level and looks good is promoted when its α at a higher
level is the largest of all. A level whose scores turn out to say nothing of full ones has no value any more, and is left alone:
"a small model cannot decide here" is no special case.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autoselection.search.history import SearchHistory
from autoselection.search.levels import FULL, Level, lower_levels
from autoselection.search.predictions import Predictions
from autoselection.search.proposals import Draft
from autoselection.search.ranker import Point, Prediction
from autoselection.search.records import Candidate

PROBES = 1 / 3
"""Share of what may go into lower levels that probes get at most."""
LOOKED_AT = 8
"""Leading proposals for which levels are compared."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """What to evaluate next, and at which level.

    Attributes:
        draft: the proposal; None where a recipe is evaluated again, at a higher level.
        first: that recipe's first evaluation.
        reason: why, in words.
    """

    level: Level
    prediction: Prediction
    reason: str
    draft: Draft | None = None
    first: Candidate | None = None


def choose(history: SearchHistory, predictions: Predictions, ranked: Sequence[Draft], number: int) -> Chosen | None:
    """The best of leading proposals and of recipes that wait at lower levels; None without any.

    Args:
        ranked: proposals with predictions of their full scores, the best first.
    """
    waiting = waiting_candidates(history)
    believed = predictions.of_candidates(waiting, number, full=True) if waiting else []
    drafts = list(ranked[:LOOKED_AT])
    things: list[tuple[Draft | None, Candidate | None, Point, Prediction, float]] = []
    for draft in drafts:
        assert draft.point is not None and draft.prediction is not None
        things.append((draft, None, draft.point, draft.prediction, 0.0))
    for candidate, prediction in zip(waiting, believed, strict=True):
        paid = max(item.fidelity for item in history.candidates if item.subset_hash == candidate.subset_hash)
        things.append((None, candidate, predictions.inputs.known(candidate), prediction, paid))
    if not things:
        return None
    full = [replace(point, fidelity=1.0, model="") for _, _, point, _, _ in things]
    found: list[tuple[float, int, Level, float]] = [
        (thing[3].log_ei, place, FULL, 1.0) for place, thing in enumerate(things)
    ]
    for level in history.payable_levels:
        told = predictions.reach(full, level, number)
        for place, thing in enumerate(things):
            if level.cost > thing[4] and told[place] > 0:
                value = thing[3].log_ei + math.log(told[place]) - math.log(level.cost)
                found.append((value, place, level, float(told[place])))
    best = max(range(len(found)), key=lambda option: (found[option][0], -option))
    _, place, level, told_of = found[best]
    proposal, first, _, prediction, _ = things[place]
    return Chosen(level, prediction, _reason(level, prediction, told_of, len(found), first), proposal, first)


def waiting_candidates(history: SearchHistory) -> list[Candidate]:
    """The last evaluation of every recipe that has a score at lower levels, and no full evaluation."""
    full = {candidate.subset_hash for candidate in history.candidates if candidate.fidelity == 1.0}
    pending = {candidate.subset_hash for candidate in history.pending}
    found: dict[str, Candidate] = {}
    for trial in history.told:
        key = trial.candidate.subset_hash
        if trial.score is not None and key not in full | pending:
            found[key] = trial.candidate
    return list(found.values())


def _reason(level: Level, expected: Prediction, told: float, options: int, first: Candidate | None) -> str:
    what = "highest value per cost" if first is None else f"{first.id} has the highest value per cost"
    meets = "" if expected.meets is None else f", meets the floors with probability {expected.meets:.0%}"
    said = f"{what} of {options} options (mu {expected.mu:.4f}, sigma {expected.sigma:.4f} in full{meets})"
    if level == FULL:
        return f"{said}: a full evaluation"
    return f"{said}: {level.describe()}, which tells of the full score with a correlation of {told:.2f} at {level.cost:.2g} of its cost"


def probes_due(history: SearchHistory) -> int:
    """How many probes begin a search with several levels: ``fidelity.warmup`` where :data:`PROBES` of what may go below a full
    evaluation pays for so many at the cheapest level, else what it pays for, but no fewer than ``search.warmup``."""
    config = history.config
    return min(config.fidelity.warmup, max(config.warmup, _affordable(history)))


def _affordable(history: SearchHistory) -> int:
    """How many evaluations at the cheapest level :data:`PROBES` of what may go below a full one pays for."""
    config = history.config
    cheapest = lower_levels(config.fidelity)[0]
    return math.floor(PROBES * config.fidelity.share * config.evaluations / cheapest.cost + 1e-9)


def screening_pays(history: SearchHistory) -> bool:
    """Whether the cheapest level is so cheap that all of ``fidelity.warmup`` is paid for: then halves of scores come first."""
    return history.next_level != FULL and _affordable(history) >= history.config.fidelity.warmup
