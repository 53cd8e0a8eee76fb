"""Reseeding: the first recipe of a new trajectory, put together from operators that earned credit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoselection.recipes import Recipe, Step
from autoselection.search.credit import Credit
from autoselection.search.edits import ADDED_RATIO, SMALL_STEP
from autoselection.search.records import EvaluatedCandidate
from autoselection.search.space import RecipeSpace

TRIES = 20
"""Draws until a new subset is found, where no ranker chooses among many; bounds work in a pool that is nearly exhausted."""
CAPS = (0.1, 1.0)
"""Range of the random size cap (share of the pool's rows): any size that a search looks at."""
MAX_OPERATORS = 4
BASE_WEIGHT = 0.1
"""Chance of an operator without credit, relative to the one with most."""


def draw_reseed(
    space: RecipeSpace,
    trials: Sequence[EvaluatedCandidate],
    credit: Credit,
    max_steps: int,
    rng: np.random.Generator,
) -> tuple[Recipe, str]:
    """A random recipe of credited operators, and the sentence that says how it was made.

    It starts from a pair drawn by positive pair credit (without one, from operators drawn by credit), is filled up to
    two to four operators drawn by positive credit, takes each operator's parameters from one of the better half of the
    scored trials (moved by a small step; drawn afresh if none of them uses it), and begins with a random size cap.

    Args:
        trials: scored trials.
    """
    names = [name for name in space.plain if name not in space.caps] or list(space.plain)
    cap = float(rng.uniform(*CAPS)) if space.caps else 1.0
    capped = cap < 1.0 and max_steps > 1
    most = max(1, min(MAX_OPERATORS, max_steps - int(capped), len(names)))
    count = int(rng.integers(min(2, most), most + 1))
    chosen = list(_pair(names, credit, rng) if count > 1 else ())
    from_pair = " and ".join(chosen)
    while len(chosen) < count:
        left = [name for name in names if name not in chosen]
        weights = np.array([_weight(name, credit) for name in left])
        chosen.append(left[int(rng.choice(len(left), p=weights / weights.sum()))])
    good = _better_half(trials)
    steps = [_step(space, chosen[int(place)], good, rng) for place in rng.permutation(len(chosen))]
    said = f"new trajectory of {', '.join(step.operator for step in steps)}"
    said += f" (credited pair: {from_pair})" if from_pair else ""
    if capped:
        steps.insert(0, space.draw(space.caps[int(rng.integers(len(space.caps)))], rng, ratio=cap))
        said += f" on a random {cap:.0%} of the pool"
    return Recipe(tuple(steps)), said


def _pair(names: Sequence[str], credit: Credit, rng: np.random.Generator) -> tuple[str, ...]:
    """A pair of operators drawn by its credit; empty if none has any."""
    pairs = sorted((pair, share.total) for pair, share in credit.pairs.items() if share.total > 0)
    pairs = [(pair, total) for pair, total in pairs if set(pair) <= set(names)]
    if not pairs:
        return ()
    totals = np.array([total for _, total in pairs])
    return pairs[int(rng.choice(len(pairs), p=totals / totals.sum()))][0]


def _weight(name: str, credit: Credit) -> float:
    largest = max((share.total for share in credit.operators.values()), default=0.0)
    if largest <= 0 or name not in credit.operators:
        return BASE_WEIGHT
    return BASE_WEIGHT + max(0.0, credit.operators[name].total) / largest


def _better_half(trials: Sequence[EvaluatedCandidate]) -> list[EvaluatedCandidate]:
    """The better half of the scored trials, best first (ties: the later one)."""
    scored = sorted(
        (trial for trial in trials if trial.score is not None),
        key=lambda trial: (-(trial.score or 0.0), -trial.candidate.number),
    )
    return scored[: (len(scored) + 1) // 2]


def _step(space: RecipeSpace, name: str, good: Sequence[EvaluatedCandidate], rng: np.random.Generator) -> Step:
    known = [step for trial in good for step in trial.candidate.recipe.steps if step.operator == name]
    if not known:
        return space.draw(name, rng, ratio=float(rng.uniform(*ADDED_RATIO)))
    weights = 1.0 / np.arange(1.0, len(known) + 1.0)
    return space.perturb(known[int(rng.choice(len(known), p=weights / weights.sum()))], rng, SMALL_STEP)
