"""Paired tests of two subsets scored on the same items: sign flips, McNemar, a test over seeds and items, Holm."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from autoselection.statistics.bootstrap import Floats, Table, checked

#: Up to so many items that differ, all sign flips are enumerated.
_ENUMERATED = 14
#: Draws that are held at once, times items.
_HELD = 4_000_000


def sign_flip_test(differences: Table, *, draws: int = 9999, seed: int = 0) -> float:
    """Two-sided p-value of the paired permutation test that the score of ``differences`` is zero.

    If the two subsets are as good as each other, each item's difference (mean over training seeds) may as well have the
    other sign. Exact for up to 14 items that differ; else ``draws`` random flips and ``p = (1 + hits) / (1 + draws)``,
    which never understates p (Phipson & Smyth 2010). It asks whether other *items* would show the same with these
    trainings; other trainings are the matter of :func:`crossed_test`.

    Args:
        differences: per task (seeds, items), or (items,).
    """
    weighted = [array.mean(axis=0) / array.shape[1] for array in checked(differences)]
    values = np.concatenate(weighted)
    observed = abs(values.sum())
    sizes, counts = np.unique(np.abs(values[values != 0]), return_counts=True)
    if len(sizes) == 0:
        return 1.0
    # The same sum in another order is the same sum, also where it is zero but for rounding.
    reached = observed - 1e-12 * float(np.abs(values).sum())
    if counts.sum() <= _ENUMERATED:
        each = np.repeat(sizes, counts)
        bits = (np.arange(1 << len(each))[:, None] >> np.arange(len(each))) & 1
        return float(np.mean(np.abs((2.0 * bits - 1) @ each) >= reached))
    rng = np.random.default_rng(seed)
    step = max(1, _HELD // len(sizes))
    hits = 0
    for start in range(0, draws, step):
        # Flips of items with the same absolute difference only count: how many came up positive.
        positive = rng.binomial(counts, 0.5, size=(min(step, draws - start), len(sizes)))
        hits += int(np.count_nonzero(np.abs((2 * positive - counts) @ sizes) >= reached))
    return (1 + hits) / (1 + draws)


def mcnemar(first: Floats, second: Floats) -> float:
    """Exact two-sided p-value of McNemar's test: items right (1) or wrong (0) under two subsets, arrays of one shape.

    The items that only one of them gets right split like fair coins if both are as good.

    Raises:
        ValueError: the shapes differ, or a value is neither 0 nor 1.
    """
    from scipy.stats import binomtest

    one, other = np.asarray(first), np.asarray(second)
    if one.shape != other.shape or not (np.isin(one, (0, 1)).all() and np.isin(other, (0, 1)).all()):
        raise ValueError("McNemar's test needs two arrays of zeros and ones of the same shape.")
    gained, lost = int(np.count_nonzero(one > other)), int(np.count_nonzero(one < other))
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def crossed_test(differences: Table) -> tuple[float, float, float]:
    """Whether the score of paired differences is zero, seeds *and* items being samples: (standard error, df, p).

    The quasi-t of two crossed random factors (Clark, J. Verbal Learning Verbal Behav. 12, 1973; Baayen, Davidson & Bates
    2008 for its place): the variance of the mean is that over seeds, plus that over items, less the interaction, which
    both hold. With D_s the score of seed s, d_ti the mean over seeds of item i of task t, T tasks:

        V = var(D) / S + sum_t var(d_t) / (T² n_t) - sum_t MS_res,t / (T² S n_t)

    never less than either of the first two terms. Degrees of freedom after Satterthwaite (1946).

    Returns:
        NaN, NaN, NaN with one seed.
    """
    from scipy.stats import t as student

    arrays = checked(differences)
    seeds, tasks = len(arrays[0]), len(arrays)
    if seeds < 2 or all(array.shape[1] < 2 for array in arrays):
        return math.nan, math.nan, math.nan
    scores = np.mean([array.mean(axis=1) for array in arrays], axis=0)
    parts = [(float(scores.var(ddof=1)) / seeds, seeds - 1)]
    shared = 0.0
    for array in arrays:
        items = array.shape[1]
        if items < 2:
            continue
        share = 1 / (tasks**2 * items)
        parts.append((float(array.mean(axis=0).var(ddof=1)) * share, items - 1))
        residual = array - array.mean(axis=0) - array.mean(axis=1, keepdims=True) + array.mean()
        mean_square = float((residual**2).sum()) / ((seeds - 1) * (items - 1))
        shared += mean_square * share / seeds
    by_seed, by_item = parts[0][0], sum(part for part, _ in parts[1:])
    variance = max(by_seed + by_item - shared, by_seed, by_item)
    mean = float(scores.mean())
    if variance <= 0:
        return 0.0, math.inf, 1.0 if mean == 0 else 0.0
    df = (by_seed + by_item) ** 2 / sum(part**2 / free for part, free in parts)
    error = math.sqrt(variance)
    return error, df, float(2 * student.sf(abs(mean) / error, df))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for all of them being looked at (Holm 1979): significant if at most the level, each."""
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled)) if len(values) else scaled
    return [float(value) for value in adjusted]
