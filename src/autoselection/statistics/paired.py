"""Paired tests of two subsets scored on the same items, for the trainings at hand: sign flips, and McNemar's."""

from __future__ import annotations

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
    trainings; other trainings are the matter of :func:`~autoselection.statistics.crossed_test`.

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
