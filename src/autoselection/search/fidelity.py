"""Short trainings beside full ones: how scores of the one compare with scores of the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PSEUDO_PAIRS = 3.0
"""Weight of the belief that a step of a short score is as large a step of the full one, in recipes that have both."""


def on_full_scale(
    scores: NDArray[np.float64], fidelities: Sequence[float], subsets: Sequence[str]
) -> NDArray[np.float64]:
    """Scores of short trainings, moved to where full ones of the same subsets would be expected.

    The line through the subsets that have both (least squares, its slope shrunk to 1); without any the scores stay as
    they are. All of them are of one fidelity below 1.

    Args:
        scores: of all evaluations.
        fidelities: 1 for a full one.
        subsets: hash of each evaluation's subset.
    """
    full = np.array([fidelity == 1.0 for fidelity in fidelities], bool)
    if full.all():
        return scores
    mean_full = _means(scores[full], [key for key, is_full in zip(subsets, full, strict=True) if is_full])
    mean_short = _means(scores[~full], [key for key, is_full in zip(subsets, full, strict=True) if not is_full])
    both = [key for key in mean_short if key in mean_full]
    if not both:
        return scores
    x = np.array([mean_short[key] for key in both])
    y = np.array([mean_full[key] for key in both])
    prior = PSEUDO_PAIRS * float(np.var(list(mean_short.values())))
    dx, dy = x - x.mean(), y - y.mean()
    slope = (float(dx @ dy) + prior) / (float(dx @ dx) + prior) if prior > 0 else 1.0
    moved = scores.copy()
    moved[~full] = y.mean() + max(slope, 0.0) * (scores[~full] - x.mean())
    return moved


def _means(scores: NDArray[np.float64], keys: Sequence[str]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for key, score in zip(keys, scores, strict=True):
        found.setdefault(key, []).append(float(score))
    return {key: float(np.mean(values)) for key, values in found.items()}
