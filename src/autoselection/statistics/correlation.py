"""How the differences of one row from several others go together: through the row they share, seeds and items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoselection.statistics.bootstrap import Floats, Table, checked
from autoselection.statistics.crossed import row_variances, seed_scores


def difference_correlation(shared: Sequence[Table], others: Sequence[Table], *, paired: Sequence[bool]) -> Floats:
    """Correlation of the estimates ``shared - other``, float64[K, K].

    Over seeds it is what the design says where seeds are no pairs: rows are independent, and two differences have the
    variance of the shared row's mean in common. Where they are pairs it is measured, and shrunk towards none as far as so
    few seeds leave it open (Schäfer & Strimmer, Stat. Appl. Genet. Mol. Biol. 4, 2005): none is the cautious side. Over
    items it is measured.

    Args:
        shared, others: K tables each; the shared row with the seeds that it has in common with the other.
        paired: whether the seeds of the k-th are pairs.
    """
    ours, theirs = [checked(table) for table in shared], [checked(table) for table in others]
    by_seed = np.zeros((len(ours), len(ours)))
    own = {
        k: row_variances(seed_scores(ours[k]), seed_scores(theirs[k])) or (0.0, 0.0)
        for k, pair in enumerate(paired)
        if not pair
    }
    measured = [k for k, pair in enumerate(paired) if pair and len(ours[k][0]) > 1]
    for j, variances in own.items():
        by_seed[j, j] = sum(variances)
        for k in own:
            if k < j:
                by_seed[j, k] = by_seed[k, j] = min(variances[0], own[k][0])
    if measured:
        differences = [seed_scores(ours[k]) - seed_scores(theirs[k]) for k in measured]
        by_seed[np.ix_(measured, measured)] = _shrunk(differences)
    means = [
        [a.mean(axis=0) - b.mean(axis=0) for a, b in zip(*tables, strict=True)]
        for tables in zip(ours, theirs, strict=True)
    ]
    covariance = by_seed + _over_items(means)
    scale = np.sqrt(np.diag(covariance))
    scale[scale == 0] = np.inf  # a difference that never varies goes with no other
    correlation: Floats = covariance / np.outer(scale, scale)
    np.fill_diagonal(correlation, 1.0)
    return correlation


def _mean_variance(scores: Floats) -> float:
    return float(scores.var(ddof=1)) / len(scores) if len(scores) > 1 else 0.0


def _shrunk(differences: Sequence[Floats]) -> Floats:
    """Covariance of the means of paired differences of S seeds each, correlations shrunk; none if their numbers differ."""
    variances = [_mean_variance(values) for values in differences]
    result = np.diag(np.asarray(variances, np.float64))
    seeds = {len(values) for values in differences}
    if len(differences) < 2 or len(seeds) > 1 or (count := seeds.pop()) < 4:
        return result
    stacked = np.stack(differences)
    deviation = stacked.std(axis=1, ddof=1, keepdims=True)
    z = (stacked - stacked.mean(axis=1, keepdims=True)) / np.where(deviation > 0, deviation, 1.0)
    products = z[:, None, :] * z[None, :, :]
    r = products.sum(axis=2) / (count - 1)
    noise = ((products - products.mean(axis=2, keepdims=True)) ** 2).sum(axis=2) * count / (count - 1) ** 3
    off = ~np.eye(len(r), dtype=bool)
    total = float((r[off] ** 2).sum())
    kept = max(0.0, 1 - float(noise[off].sum()) / total) if total > 0 else 0.0
    scale = np.sqrt(np.asarray(variances))
    result[off] = (kept * r * np.outer(scale, scale))[off]
    return result


def _over_items(means: Sequence[Sequence[Floats]]) -> Floats:
    """Covariance over items of the estimates, from each difference's means by item and task; 0 where items differ."""
    count = len(means)
    result = np.zeros((count, count))
    tasks = len(means[0])
    if len({tuple(len(task) for task in listed) for listed in means}) > 1:
        return np.diag([sum(float(t.var(ddof=1)) / (len(m) ** 2 * len(t)) for t in m if len(t) > 1) for m in means])
    for task in range(tasks):
        stacked = np.stack([listed[task] for listed in means])
        items = stacked.shape[1]
        if items > 1:
            result += np.cov(stacked, ddof=1).reshape(count, count) / (tasks**2 * items)
    return result
