"""Series: scores that compare with each other as they are. Full trainings of a search are one, its short trainings another,
those of another model one each, and the full trainings of every earlier study of the same pool.

What the surrogate takes for granted of a recipe's score in series c, f the score that it deserves in the first one,

    y_c(A) = a_c + b_c · (r_c · f(A) + √(1 - r_c²) · g_c(A)) + noise,

g_c as smooth as f and independent of it. The intercept a_c is normal with a variance of its own and is integrated out, so that
scores count before any recipe has a score in both; r_c and b_c are hyperparameters of its grid
(:class:`autoselection.search.kernels.KernelParts`): short trainings may rank recipes otherwise and differ less, earlier
studies and other models may have nothing to say at all (r = 0). Effects of features (the line in f) are the same in short
trainings as in full ones; those of another model are as much like those of the target as its deviations are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from autoselection.search.outliers import as_told

Array = NDArray[np.float64]

Series: TypeAlias = tuple[int, str, float]
"""Study (0: this one, from 1 on: earlier ones), the model that was trained (empty: the target), and the share of a full
evaluation's cost that was saved."""
FIRST: Series = (0, "", 0.0)

PSEUDO_PAIRS = 3.0
"""Weight of the belief that a step of one score is as large a step of the other, in recipes that have both."""
UNLIKE = 2.0
"""Factor by which the spreads of two studies may differ before that belief gives way."""
FLATTEST = 0.25
"""Least slope, as a share of that belief: scores that contradict each other are not taken for scores that are all alike, which
would make the surrogate too sure."""
SHORT = tuple(product((0.5, 0.9), (0.4, 1.0)))
"""Correlations of short trainings with full ones, and factors between their differences."""
EARLIER = ((0.0, 1.0), (0.9, 1.0))
"""The same for an earlier study."""
OF_MODEL = (0.0, 0.6, 0.95)
"""Correlations of another model's scores with the target's, see :data:`MODELS_APART`. The highest is what RegMix's public table shows
(256 mixtures trained at 1M and at 60M parameters: 0.967 for the mean of their losses); that of subsets of a pool may be lower."""
MODELS_APART = 2
"""Most correlations of other models in the grid, which each multiplies by their choices: of more models the first, by study and
name, has its own, and the others share one."""
MODEL_FACTORS = (0.8, 1.25)
"""Factors between their differences: standard deviations in that table are as 1.27 to 1."""
INTERCEPT_VARIANCE = 1.0
"""Prior variance of an intercept, relative to the amplitude: around the mean of all scores, of other series than the first
around where :func:`aligned` puts them."""


@dataclass(frozen=True, eq=False)
class Relations:
    """How the scores of some points are related, for every setting of correlations and factors.

    Attributes:
        codes: series of each point as a number; 0 is the first.
        correlations: r of each series, shape (settings, series); that of the first is 1.
        of_lines: the same for what the line gives: 1 for short trainings too.
        factors: b of each series, likewise.
    """

    codes: NDArray[np.int64]
    correlations: Array
    of_lines: Array
    factors: Array

    @classmethod
    def of(cls, series: Sequence[Series]) -> Relations:
        """From the series of points."""
        names = sorted(set(series) | {FIRST})
        codes = np.array([names.index(name) for name in series], np.int64)
        single = len(set(series)) < 2
        kinds = set() if single else {_kind(name) for name in names}
        models = [] if single else list(dict.fromkeys(model for _, model, _ in names if model))
        correlations, of_lines, factors = [], [], []
        for of_short, of_earlier, own, factor in product(
            SHORT if "short" in kinds else ((1.0, 1.0),),
            EARLIER if "earlier" in kinds else ((1.0, 1.0),),
            product(OF_MODEL, repeat=min(MODELS_APART, len(models))),
            MODEL_FACTORS if models else (1.0,),
        ):
            of_kind = {"first": (1.0, 1.0), "short": of_short, "earlier": of_earlier}
            each = [*own, *own[-1:] * (len(models) - len(own))]
            of_model = {model: (correlation, factor) for model, correlation in zip(models, each, strict=True)}
            chosen = [of_kind.get(_kind(name)) or of_model.get(name[1], (1.0, 1.0)) for name in names]
            correlations.append([correlation for correlation, _ in chosen])
            same = [1.0 if _kind(name) in ("first", "short") else 0.0 for name in names]
            of_lines.append([max(share, pair[0]) for share, pair in zip(same, chosen, strict=True)])
            factors.append([factor for _, factor in chosen])
        return cls(codes, np.array(correlations), np.array(of_lines), np.array(factors))

    @property
    def scales(self) -> Array:
        """Factor of each point's score, shape (settings, points)."""
        return np.asarray(self.factors[:, self.codes])

    def between(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> tuple[Array, Array]:
        """What covariances that deviations, and that lines, give are multiplied by, shapes (settings, len(one), len(other))."""
        left, right = self.codes[one], self.codes[other]
        factors = self.factors[:, left, None] * self.factors[:, None, right]
        found = []
        for correlations in (self.correlations, self.of_lines):
            related = correlations[:, left, None] * correlations[:, None, right]
            found.append(np.asarray(factors * np.where(left[:, None] == right, 1.0, related)))
        return found[0], found[1]

    def intercepts(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> Array:
        """Covariances that intercepts add, shape (len(one), len(other))."""
        left, right = self.codes[one], self.codes[other]
        return np.where(left[:, None] == right, INTERCEPT_VARIANCE, 0.0)


def _kind(series: Series) -> str:
    study, model, saved = series
    return "model" if model else "earlier" if study else "short" if saved > 0 else "first"


def aligned(scores: Array, series: Sequence[Series], subsets: Sequence[str]) -> Array:
    """Scores moved to where the first series' scores of the same subsets would be expected.

    Each other series is moved by the line through the subsets that have both (least squares, its slope shrunk to 1; for an
    earlier study or another model to what makes the spreads differ by no more than a factor of ``UNLIKE``); without any, so
    that its mean is that of the first.
    The first series is that of full trainings where there are some, else the first of the others. No line is drawn through scores
    that are far below the rest of their series (:func:`~autoselection.search.outliers.worst_told`).

    Args:
        scores: of all evaluations.
        series: of each one.
        subsets: hash of each one's subset.
    """
    names = sorted(set(series))
    if len(names) < 2:
        return scores
    places = {name: [place for place, own in enumerate(series) if own == name] for name in names}
    moved = scores.copy()
    calm = scores.copy()
    for own in places.values():
        calm[own] = as_told(scores[own])
    first = _means(calm, places[names[0]], subsets)
    for name in names[1:]:
        other = _means(calm, places[name], subsets)
        both = [key for key in other if key in first]
        whole = np.array(list(other.values()))
        x = np.array([other[key] for key in both]) if both else whole
        y = np.array([first[key] for key in both or first])
        # Short trainings are scored by the same measure; another study, or a model with other tokens, may not have been.
        usual = 1.0 if name[:2] == names[0][:2] else _usual_slope(np.array(list(first.values())), whole)
        prior = PSEUDO_PAIRS * float(np.var(whole))
        slope = usual
        if both and prior > 0:
            dx, dy = x - x.mean(), y - y.mean()
            slope = (float(dx @ dy) + usual * prior) / (float(dx @ dx) + prior)
        moved[places[name]] = y.mean() + max(slope, FLATTEST * usual) * (calm[places[name]] - x.mean())
    return moved


def _usual_slope(first: Array, other: Array) -> float:
    """1, or what brings the other's spread within a factor of the first's: another measure, such as a share of right answers."""
    if len(first) < 2 or len(other) < 2 or first.std() <= 0 or other.std() <= 0:
        return 1.0
    ratio = float(first.std() / other.std())
    return float(np.clip(1.0, ratio / UNLIKE, ratio * UNLIKE))


def _means(scores: Array, places: Sequence[int], subsets: Sequence[str]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for place in places:
        found.setdefault(subsets[place], []).append(float(scores[place]))
    return {key: float(np.mean(values)) for key, values in found.items()}
