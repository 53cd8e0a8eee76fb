"""The compute multiplier: how much less training a subset needs for the same quality, read off measured curves.

A curve is one arm's score after separate trainings of fixed token budgets. It is made monotone (isotonic regression of
the mean over seeds: more training is taken not to hurt, and where a measurement says so it is averaged away) and
interpolated linearly over the logarithm of the tokens. Outside the measured budgets nothing is assumed: a quality
reached by the first budget needs *at most* that one, a quality above the last measured score needs *more* than the last.
So a multiplier is a pair of bounds, equal where both curves cross the quality between measured budgets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoselection.statistics.bootstrap import Floats


@dataclass(frozen=True, eq=False)
class Curve:
    """Scores of one arm over training tokens.

    Attributes:
        tokens: float64[B], trained tokens, ascending, B >= 2.
        scores: float64[S, B], higher is better; row s is the same training seed in every arm.
    """

    name: str
    tokens: Floats
    scores: Floats

    def __post_init__(self) -> None:
        if len(self.tokens) < 2 or (np.diff(self.tokens) <= 0).any() or self.tokens[0] <= 0:
            raise ValueError(f"The curve '{self.name}' needs at least two positive token budgets in ascending order.")
        if self.scores.ndim != 2 or self.scores.shape[1] != len(self.tokens) or not np.isfinite(self.scores).all():
            raise ValueError(f"The curve '{self.name}' needs finite scores of shape (seeds, budgets).")

    def monotone(self, seeds: Sequence[int] | None = None) -> Floats:
        """The mean over seeds (with repetitions, if given) made non-decreasing, float64[B]."""
        from sklearn.isotonic import isotonic_regression

        mean = (self.scores if seeds is None else self.scores[list(seeds)]).mean(axis=0)
        return np.asarray(isotonic_regression(mean), np.float64)


@dataclass(frozen=True)
class Reach:
    """Tokens needed for a quality: between ``low`` and ``high``; equal if known, 0 and infinity are open ends."""

    low: float
    high: float


def reach(tokens: Floats, scores: Floats, quality: float) -> Reach:
    """Tokens at which a monotone curve first reaches ``quality``."""
    if quality <= scores[0]:
        return Reach(0.0, float(tokens[0]))
    if quality > scores[-1]:
        return Reach(float(tokens[-1]), math.inf)
    after = int(np.argmax(scores >= quality))
    before, at = float(tokens[after - 1]), float(tokens[after])
    if scores[after] > quality:
        at = before * (at / before) ** ((quality - scores[after - 1]) / (scores[after] - scores[after - 1]))
    return Reach(at, at)


@dataclass(frozen=True)
class Multiplier:
    """Tokens the reference needs for a quality over those the subset needs.

    Attributes:
        quality: the reference's best measured (monotone) score.
        subset, reference: tokens each needs for it.
        low, high: bounds of the multiplier: equal if both were measured.
        interval: bootstrap interval over seeds (its ends may be 0 or infinity); None with one seed.
        reached: share of the draws in which the subset reaches the reference's quality; None with one seed.
        sentence: what it says.
    """

    against: str
    quality: float
    subset: Reach
    reference: Reach
    low: float
    high: float
    interval: tuple[float, float] | None
    reached: float | None
    sentence: str

    @property
    def value(self) -> float | None:
        """The multiplier where it was measured, else None."""
        return self.low if self.low == self.high else None


def compute_multiplier(
    subset: Curve, reference: Curve, *, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> Multiplier:
    """How much less training compute the subset needs for the best quality the reference was measured at.

    Args:
        level, draws, seed: of the bootstrap, which draws training seeds, the same for both curves.

    Raises:
        ValueError: the curves have not the same number of seeds.
    """
    if len(subset.scores) != len(reference.scores):
        raise ValueError("Two curves are compared seed by seed: they need the same seeds.")
    quality, ours, theirs = _needed(subset, reference, None)
    low, high = _ratio(ours, theirs)
    seeds = len(subset.scores)
    interval, reached = None, None
    if seeds > 1:
        rng = np.random.default_rng(seed)
        bounds = np.empty((draws, 2))
        hits = 0
        for draw in range(draws):
            _, own, other = _needed(subset, reference, rng.integers(0, seeds, seeds).tolist())
            bounds[draw] = _ratio(own, other)
            hits += math.isfinite(own.high)
        tail = (1 - level) / 2
        # Ends may be infinite: an order statistic, not a mean of two of them.
        interval = (
            float(np.quantile(bounds[:, 0], tail, method="lower")),
            float(np.quantile(bounds[:, 1], 1 - tail, method="higher")),
        )
        reached = hits / draws
    sentence = _sentence(subset, reference, ours, theirs, low, high)
    return Multiplier(reference.name, quality, ours, theirs, low, high, interval, reached, sentence)


def _needed(subset: Curve, reference: Curve, seeds: list[int] | None) -> tuple[float, Reach, Reach]:
    scores = reference.monotone(seeds)
    quality = float(scores[-1])
    return quality, reach(subset.tokens, subset.monotone(seeds), quality), reach(reference.tokens, scores, quality)


def _ratio(subset: Reach, reference: Reach) -> tuple[float, float]:
    low = 0.0 if math.isinf(subset.high) else reference.low / subset.high
    high = math.inf if subset.low == 0 else reference.high / subset.low
    return low, high


def _sentence(subset: Curve, reference: Curve, ours: Reach, theirs: Reach, low: float, high: float) -> str:
    names = f"{subset.name} reaches the best measured quality of {reference.name}"
    if math.isinf(ours.high):
        return (
            f"Not reached: within {subset.tokens[-1]:,.0f} tokens {subset.name} does not reach the best measured "
            f"quality of {reference.name}, so it needs more than {1 / high:.3g} times its compute."
        )
    if low == high:
        how = f"{low:.3g} times less" if low >= 1 else f"{1 / low:.3g} times more"
        return f"{names} with {ours.high:,.0f} instead of {theirs.high:,.0f} tokens: {how} compute."
    if low > 0:
        return f"{names} with its smallest budget ({ours.high:,.0f} tokens): at least {low:.3g} times less compute."
    if math.isinf(high):
        return f"{names} with the smallest budget, as does {reference.name} itself: measure smaller budgets."
    return f"{reference.name} is as good with its smallest budget: at most {high:.3g} times less compute for {subset.name}."


@dataclass(frozen=True)
class Payback:
    """When what was spent on finding the subset has come back.

    Attributes:
        overhead: what signals and search cost (any unit).
        saving: what one training with the subset instead of the reference saves, in that unit; negative: it costs more.
        trainings: trainings after which the overhead is paid; None if it never is.
        net: multiplier with the overhead counted, for 1, 10 and 100 trainings.
    """

    overhead: float
    saving: float
    trainings: int | None
    net: dict[int, float]


def payback(subset: float, reference: float, overhead: float) -> Payback:
    """Spread an overhead over trainings: cost of one training with the subset and with the reference, in one unit."""
    saving = reference - subset
    trainings = max(1, math.ceil(overhead / saving)) if saving > 0 else None
    net = {count: count * reference / (count * subset + overhead) for count in (1, 10, 100)}
    return Payback(overhead, saving, trainings, net)
