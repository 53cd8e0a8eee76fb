"""Second trainings of a subset: full ones after short ones, and repeats of leaders.

A repeat is chosen where another training of a leader is worth more than a training of something new. Both are judged by what they are expected to add to the final choice, the recipe with the highest expected score (the
knowledge gradient: Frazier, Powell and Dayanik, "The knowledge-gradient policy for correlated normal beliefs", INFORMS J.
Comput. 21, 2009; here one recipe's belief changes at a time).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from autoselection.operators import OperatorRegistry
from autoselection.search.history import SearchHistory
from autoselection.search.levels import FULL, Level
from autoselection.search.predictions import Predictions
from autoselection.search.ranker import Prediction
from autoselection.search.records import Candidate, Decision, Origin, Ranked, trial_id

Array = NDArray[np.float64]


def gain(mu: Array, sigma: Array, rival: Array, noise: float) -> Array:
    """Expected rise of the best expected score by one more evaluation, in score units.

    A normal belief with mean ``mu`` and deviation ``sigma`` moves by a normal step of deviation
    ``s = sigma² / sqrt(sigma² + noise²)``; the gain is ``s · h(|mu - rival| / s)`` with ``h(z) = phi(z) - z · Phi(-z)``.

    Args:
        mu: expected score of each recipe.
        sigma: its deviation.
        rival: highest expected score among the other recipes that may be chosen.
        noise: standard deviation of one evaluation.
    """
    step = sigma**2 / np.sqrt(sigma**2 + noise**2 + 1e-300)
    z = np.minimum(np.abs(mu - rival) / np.maximum(step, 1e-300), 50.0)
    h = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi) - z * np.exp(log_ndtr(-z))
    return np.asarray(step * np.maximum(h, 0.0))


def leader_to_repeat(
    known: list[Prediction], new: Prediction | None, noise: float, done: Collection[int] = ()
) -> tuple[int, float, float] | None:
    """The evaluated recipe worth repeating, its gain and that of the new one; None where the new one is worth more.

    Args:
        known: beliefs about the evaluated recipes.
        new: belief about the best new proposal; one that may miss a floor gains in so far as it does not.
        noise: standard deviation of one evaluation.
        done: places of those evaluated as often as they may be: rivals of the others, and not repeated.
    """
    if len(known) < 2:
        return None
    mu = np.array([prediction.mu for prediction in known])
    sigma = np.array([prediction.sigma for prediction in known])
    order = np.argsort(-mu, kind="stable")
    rival = np.full(len(mu), mu[order[0]])
    rival[order[0]] = mu[order[1]]
    gains = gain(mu, sigma, rival, noise)
    gains[list(done)] = -np.inf
    fresh = 0.0
    if new is not None:
        fresh = float(gain(np.array([new.mu]), np.array([new.sigma]), mu[order[:1]], noise)[0])
        fresh *= 1.0 if new.meets is None else new.meets
    best = int(np.argmax(gains))
    return (best, float(gains[best]), fresh) if gains[best] > fresh else None


def repeat(
    history: SearchHistory,
    predictions: Predictions,
    registry: OperatorRegistry,
    number: int,
    new: Candidate | None,
) -> tuple[Candidate, Decision] | None:
    """Another evaluation of a leader, if that is worth more than the evaluation of ``new``."""
    config = history.config.repeats
    asked = Counter(item.subset_hash for item in history.candidates if item.fidelity == 1.0)
    full = [trial for trial in history.scored if trial.full]
    leaders = [trial.candidate for trial in full if history.meets(trial)] or [trial.candidate for trial in full]
    if not config.enabled or len(leaders) < config.after or (new is not None and new.fidelity < 1.0):
        return None
    believed = predictions.of_candidates(leaders, number)
    noise = predictions.noise()
    done = [place for place, leader in enumerate(leaders) if asked[leader.subset_hash] >= config.most]
    chosen = leader_to_repeat(believed, new.prediction if new else None, noise, done)
    if chosen is None:
        return None
    place, rise, instead = chosen
    first, expected = leaders[place], believed[place]
    candidate = again(first, number, "repeat", expected, asked[first.subset_hash])
    reason = (
        f"another training of {first.id} (mu {expected.mu:.4f}, sigma {expected.sigma:.4f}) is expected to improve the "
        f"choice by {rise:.2g}, the best new recipe by {instead:.2g} (noise of one training: {noise:.2g})"
    )
    return candidate, Decision.about(candidate, 1, {}, [record_of(first, expected, registry)], reason, {})


def promotion(
    history: SearchHistory, predictions: Predictions, registry: OperatorRegistry, number: int
) -> tuple[Candidate, Decision] | None:
    """A full training of the shortly trained recipe with the highest value; None if none waits for one."""
    full = {candidate.subset_hash for candidate in history.candidates if candidate.fidelity == 1.0}
    waiting = [
        trial.candidate
        for trial in history.told
        if not trial.full and trial.score is not None and trial.candidate.subset_hash not in full
    ]
    if not waiting:
        return None
    believed = predictions.of_candidates(waiting, number, full=True)
    order = predictions.order(believed)
    first, expected = waiting[order[0]], believed[order[0]]
    candidate = again(first, number, "promotion", expected)
    ranked = [record_of(waiting[place], believed[place], registry) for place in order]
    reason = (
        f"{first.id} is the most promising of {len(waiting)} shortly trained recipes "
        f"(mu {expected.mu:.4f}, sigma {expected.sigma:.4f})"
    )
    return candidate, Decision.about(candidate, len(waiting), {}, ranked, reason, {})


def again(
    first: Candidate, number: int, origin: Origin, expected: Prediction, replicate: int = 0, level: Level = FULL
) -> Candidate:
    """Another evaluation of the subset that ``first`` evaluated before, in full unless a level is given."""
    return replace(
        first,
        id=trial_id(number),
        number=number,
        origin=origin,
        prediction=expected,
        fidelity=level.cost,
        model=level.model,
        of=first.id,
        replicate=replicate,
    )


def record_of(candidate: Candidate, expected: Prediction, registry: OperatorRegistry) -> Ranked:
    """What a decision remembers of a candidate that might be trained again."""
    recipe = candidate.recipe
    return Ranked(recipe.describe(), recipe.digest(registry), candidate.edit, len(candidate.rows), expected)
