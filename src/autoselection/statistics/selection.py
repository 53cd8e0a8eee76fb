"""What choosing the best of many by a noisy score does to that score: the winner's curse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoselection.statistics.bootstrap import Floats, checked

#: Resampling counts that are held at once.
_HELD = 4_000_000


@dataclass(frozen=True)
class SelectionBias:
    """By how much the best score of a search is expected to flatter its trial.

    Attributes:
        candidates: scores the best was chosen from.
        noise: standard deviation of one score's noise (score units).
        spread: standard deviation of the true scores, estimated: ``sqrt(max(0, var(scores) - noise²))``.
        expected: ``(best - mean) · noise² / (noise² + spread²)``, the regression to the mean of the best one.
        if_equal: ``noise · E[max of so many standard normals]``: the bias if all candidates were equally good.
    """

    candidates: int
    noise: float
    spread: float
    expected: float
    if_equal: float


def expected_maximum(count: int) -> float:
    """Expected maximum of ``count`` independent standard normal numbers: ``integral of x k phi(x) Phi(x)^(k-1)``."""
    from scipy.special import ndtr

    if count < 1:
        raise ValueError("The maximum of no numbers does not exist.")
    x = np.linspace(-12, 12, 4801)  # smooth and zero at both ends: the plain sum is exact to 1e-12
    density = count * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi) * ndtr(x) ** (count - 1)
    return float((x * density).sum() * (x[1] - x[0]))


def selection_bias(scores: Sequence[float], noise: float) -> SelectionBias:
    """The expected bias of the best of ``scores``, each with independent noise of standard deviation ``noise``.

    ``expected`` is the empirical Bayes estimate with a normal prior: its correction needs no allowance for the selection
    (Efron, "Tweedie's formula and selection bias", JASA 106, 2011). It takes the candidates for draws from one
    population, which those of a search that learns are only roughly.

    Raises:
        ValueError: no score, or a negative noise.
    """
    values = np.asarray(scores, np.float64)
    if len(values) == 0 or not noise >= 0:
        raise ValueError("The selection bias needs at least one score and a noise of at least 0.")
    observed = float(values.var(ddof=1)) if len(values) > 1 else 0.0
    spread = max(0.0, observed - noise**2)
    share = noise**2 / (noise**2 + spread) if noise > 0 else 0.0
    expected = float(values.max() - values.mean()) * share
    return SelectionBias(len(values), noise, math.sqrt(spread), expected, noise * expected_maximum(len(values)))


@dataclass(frozen=True)
class Flattery:
    """By how much choosing the best of several trials is expected to have raised the chosen one's score.

    Attributes:
        items: through the items it was chosen on: in every score on these items, whatever the training.
        training: through chance in the trainings it was chosen by: in their scores only, not in those of later trainings.
    """

    items: float
    training: float


def selection_flattery(
    trials: Sequence[Sequence[Floats]],
    training_deviation: float | Sequence[float] = 0.0,
    *,
    correlation: Floats | None = None,
    rival: int | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> Flattery:
    """How much being chosen flatters the best of ``trials``, measured by choosing again and again.

    In every draw items are drawn with replacement within their task, each trial's training is moved by normal noise, and
    the best trial is chosen: ``items`` is its mean score on the drawn items less that on the items left out, ``training``
    the mean of its noise. That is the bootstrap of Tsamardinos, Greasidou & Borboudakis (Machine Learning 107, 2018).
    Unlike :func:`selection_bias` it supposes nothing of how good the trials are: a few bad ones, which make the spread
    large, do not hide that the good ones differ by chance. It errs on the high side, by up to the square root of 2 if all
    trials are equally good, because a drawn sample holds the noise of the sample it was drawn from and its own.

    Args:
        trials: for each trial, its table (per task (seeds, items)); every trial with the same items.
        training_deviation: standard deviation of chance in training in a trial's score (mean over its seeds), one for all
            or one for each.
        correlation: of that chance between trials, float64[K, K], see
            :func:`~autoselection.statistics.chance_correlation`; None: none. What all have in common does not matter to
            the choice. With one row and column more, and a deviation more, the last one is a rival that is no trial.
        rival: place of what the chosen one, being another, is compared with: both parts are then those of the chosen one
            less those of the rival, which was passed over on the same items (where it is a trial) and in the same trainings.
        draws: how often is chosen.

    Returns:
        Zeros for a single trial.

    Raises:
        ValueError: no trial.
    """
    tables = [checked(trial) for trial in trials]
    if not tables:
        raise ValueError("The flattery of a choice needs at least one trial.")
    if len(tables) == 1:
        return Flattery(0.0, 0.0)
    rng = np.random.default_rng(seed)
    noise = _training_noise(rng, draws, len(tables), training_deviation, correlation)
    drawn, left = np.zeros((draws, len(tables))), np.zeros((draws, len(tables)))
    for task in range(len(tables[0])):
        layout = np.stack([table[task].mean(axis=0) for table in tables])
        layout -= layout.mean(axis=0)  # what moves all trials together does not matter to the choice
        items = layout.shape[1]
        step = max(1, _HELD // items)
        for start in range(0, draws, step):
            part = slice(start, min(draws, start + step))
            counts = rng.multinomial(items, np.full(items, 1 / items), size=part.stop - start)
            drawn[part] += counts @ layout.T / items
            out = counts == 0
            missed = out.sum(axis=1, keepdims=True)
            # Every item drawn (a task of very few): nothing is left to judge by, and the drawn items say nothing either.
            left[part] += np.where(missed > 0, out @ layout.T / np.maximum(missed, 1), counts @ layout.T / items)
    tasks = len(tables[0])
    chosen = _last_best(drawn / tasks + noise[:, : len(tables)])[:, None]
    gaps = (drawn - left) / tasks
    gap, luck = (np.take_along_axis(found, chosen, axis=1)[:, 0] for found in (gaps, noise))
    if rival is not None:
        others = chosen[:, 0] != rival
        if not others.any():  # it is always the best: nothing else is chosen by chance
            return Flattery(0.0, 0.0)
        luck = (luck - noise[:, rival])[others]
        # A rival that is a trial was passed over on the same items, which did not suit it.
        gap = (gap - gaps[:, rival] if rival < len(tables) else gap)[others]
    return Flattery(max(0.0, float(gap.mean())), max(0.0, float(luck.mean())))


def best_probabilities(
    trials: Sequence[Sequence[Floats]],
    training_deviation: float | Sequence[float] = 0.0,
    *,
    correlation: Floats | None = None,
    draws: int = 4000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """How often each of ``trials`` is the best, float64[K], where items are drawn again (within their task, the same for
    all trials) and each training is moved by normal noise. Ties go to the last, as in a search.

    Args:
        trials, training_deviation, correlation: as of :func:`selection_flattery`.

    Raises:
        ValueError: no trial.
    """
    tables = [checked(trial) for trial in trials]
    if not tables:
        raise ValueError("The best of no trial is not known.")
    rng = np.random.default_rng(seed)
    total = _training_noise(rng, draws, len(tables), training_deviation, correlation)[:, : len(tables)]
    for task in range(len(tables[0])):
        layout = np.stack([table[task].mean(axis=0) for table in tables])
        items = layout.shape[1]
        step = max(1, _HELD // items)
        for start in range(0, draws, step):
            part = slice(start, min(draws, start + step))
            counts = rng.multinomial(items, np.full(items, 1 / items), size=part.stop - start)
            total[part] += counts @ layout.T / (items * len(tables[0]))
    return np.bincount(_last_best(total), minlength=len(tables)) / draws


def _last_best(scores: Floats) -> NDArray[np.int64]:
    """Of each row the place of its largest number; the last one of equals, as a search takes the later of equal trials."""
    return np.asarray(scores.shape[1] - 1 - np.argmax(scores[:, ::-1], axis=1), np.int64)


def _training_noise(
    rng: np.random.Generator,
    draws: int,
    count: int,
    deviation: float | Sequence[float],
    correlation: Floats | None,
) -> NDArray[np.float64]:
    """Chance in the trainings of ``count`` trials (or of as many as ``correlation`` has), float64[draws, count]."""
    noise = rng.normal(size=(draws, count if correlation is None else len(correlation)))
    if correlation is not None:
        values, vectors = np.linalg.eigh(correlation)
        # Subsets that are alike leave it without full rank.
        noise = noise @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
    return np.asarray(noise * np.asarray(deviation, np.float64))


def trial_noise(
    trials: Sequence[Sequence[Floats]], seed_deviation: float | None = None, *, alike: float = 0.0
) -> float:
    """Standard deviation of the noise in a trial's score *relative to the other trials* on the same items.

    Which items were drawn moves all trials together and does not matter for the choice; what does is the interaction of
    trials and items, the residual mean square of the trials x items layout: ``sqrt(sum_t MS_res,t / (T² n_t))``; and
    chance in training, which needs several seeds.

    Args:
        trials: for each trial, its table (per task (seeds, items)); every trial with the same items.
        seed_deviation: standard deviation of a single training's score over seeds, if known from elsewhere; else it is
            pooled over the trials with several seeds.
        alike: mean correlation of chance in training between two trials: so much of it moves all together.

    Raises:
        ValueError: fewer than two trials.
    """
    tables = [checked(trial) for trial in trials]
    if len(tables) < 2:
        raise ValueError("The noise among trials needs at least two trials.")
    tasks = len(tables[0])
    variance = 0.0
    for task in range(tasks):
        layout = np.stack([table[task].mean(axis=0) for table in tables])
        items = layout.shape[1]
        if items > 1:
            residual = layout - layout.mean(axis=0) - layout.mean(axis=1, keepdims=True) + layout.mean()
            mean_square = float((residual**2).sum()) / ((len(tables) - 1) * (items - 1))
            variance += mean_square / (tasks**2 * items)
    by_seed = [np.mean([array.mean(axis=1) for array in table], axis=0) for table in tables]
    several = [float(scores.var(ddof=1)) for scores in by_seed if len(scores) > 1]
    between = seed_deviation**2 if seed_deviation is not None else (float(np.mean(several)) if several else 0.0)
    between *= 1 - alike
    return math.sqrt(variance + between / float(np.median([len(scores) for scores in by_seed])))
