"""Learning the usual effects of features (:mod:`autoselection.search.prior`) from pools where recipes were scored.

**Many pools at once** (:func:`learn`), by expectation and maximisation on two levels:

* the coefficients of a pool's line are normal around the mean of its **family**, with a variance for every feature; scores vary
  around the line with a variance of the pool's own. Features that differ only in the name of a source or task share mean
  and variance;
* families count alike: the prior's mean is the mean over families, its variance the mean variance within them plus the
  variance of their means.

Scores that no pool had get the mean 0 and the variance that scores have (``mean/*`` and the like).

**One pool more** (:func:`updated`), from what the surrogate believes of its coefficients after its scores.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoselection.search.prior import Effect, LinearPrior

Array = NDArray[np.float64]

ITERATIONS = 60
SHRINKAGE = 0.1
"""Worlds without any effect that count beside a family's own, as a share of these: means of few worlds are drawn to 0."""
SMALLEST = 1e-4
"""Least variance of a coefficient within a family."""


@dataclass(frozen=True, eq=False)
class Scored:
    """What recipes of one world came to.

    Attributes:
        features: names of the columns of ``inputs``.
        inputs: as :func:`autoselection.search.prior.line_inputs` gives them.
        scores: on the surrogate's scale.
    """

    family: str
    features: tuple[str, ...]
    inputs: Array
    scores: Array


def shared_name(feature: str) -> str:
    """The name under which a feature's effect is learnt: sources and tasks are all alike."""
    feature = re.sub(r"^log_kept/(source|task)/.*", r"log_kept/\1/*", feature)
    return re.sub(r"mona/(?:(?!/within source$).)*", "mona/*", feature)


def learn(worlds: Sequence[Scored]) -> dict[str, tuple[float, float]]:
    """Mean and variance of the coefficient of every shared name, see the module's docstring."""
    names = sorted({shared_name(feature) for world in worlds for feature in world.features})
    families = sorted({world.family for world in worlds})
    means, variances = np.array(
        [_of_family([world for world in worlds if world.family == family], names) for family in families]
    ).transpose(1, 0, 2)
    mean = np.nanmean(means, axis=0)  # over the families that have the feature
    variance = np.nanmean(variances, axis=0) + np.nanmean((means - mean) ** 2, axis=0)
    return {name: (float(m), float(v)) for name, m, v in zip(names, mean, variance, strict=True)}


def _of_family(worlds: Sequence[Scored], names: Sequence[str]) -> tuple[Array, Array]:
    """Means and variances of the coefficients over worlds; NaN for names that none of them has."""
    place = {name: number for number, name in enumerate(names)}
    codes = [np.array([place[shared_name(feature)] for feature in world.features]) for world in worlds]
    mean, variance = np.zeros(len(names)), np.full(len(names), 0.05)
    rests = np.full(len(worlds), 0.3)
    counts = np.bincount(np.concatenate(codes), minlength=len(names))
    for _ in range(ITERATIONS):
        sums, found = np.zeros(len(names)), []
        for number, (world, code) in enumerate(zip(worlds, codes, strict=True)):
            design = np.column_stack([np.ones(len(world.scores)), world.inputs])
            expected, spread = np.r_[0.0, mean[code]], np.r_[1e2, variance[code]]
            covariance = np.linalg.inv(design.T @ design / rests[number] + np.diag(1.0 / spread))
            line = covariance @ (design.T @ world.scores / rests[number] + expected / spread)
            missed = world.scores - design @ line
            rests[number] = max(0.01, (missed @ missed + np.trace(design @ covariance @ design.T)) / len(missed))
            np.add.at(sums, code, line[1:])
            found.append((code, line[1:], np.diag(covariance)[1:]))
        mean = sums / np.maximum(counts + SHRINKAGE * len(worlds), 1e-9)
        squares = np.zeros(len(names))
        for code, line, uncertain in found:
            np.add.at(squares, code, (line - mean[code]) ** 2 + uncertain)
        variance = np.maximum(squares / np.maximum(counts, 1), SMALLEST)
    return np.where(counts > 0, mean, np.nan), np.where(counts > 0, variance, np.nan)


def effects(learnt: Mapping[str, tuple[float, float]]) -> list[dict[str, str | float]]:
    """The entries of the file: single names before patterns, narrow patterns before wide ones, unknown scores last."""
    entries = [(name, mean, variance) for name, (mean, variance) in learnt.items()]
    for kind in ("mean", "spread"):
        for where in ("/within source", ""):
            known = [
                mean**2 + variance
                for name, (mean, variance) in learnt.items()
                if name.startswith(f"{kind}/") and name.endswith("/within source") == bool(where)
            ]
            if known:
                entries.append((f"{kind}/*{where}", 0.0, float(np.mean(known))))
    entries.sort(key=lambda entry: _narrow_first(entry[0]))
    return [
        {"feature": name, "mean": round(mean, 3), "deviation": round(float(np.sqrt(variance)), 3)}
        for name, mean, variance in entries
    ]


KINSHIP = 0.5
"""Correlation of a coefficient in two pools of one user, given what is known of pools in general."""


def updated(prior: LinearPrior, names: Sequence[str], means: Array, deviations: Array, source: str) -> LinearPrior:
    """A prior for the next pool of a user of whose earlier pool something is known.

    With m, s the prior's mean and deviation of a coefficient, and a normal belief with mean b and deviation d about the
    earlier pool's, the next pool's is normal with mean ``m + k (b - m)`` and variance ``(1 - k²) s² + k² d²``, k the
    :data:`KINSHIP` (a coefficient of the earlier pool and of the next one are jointly normal around m, with variance s² and
    correlation k). Effects of features by name come first; those of sources and tasks with other names follow from the mean
    over the earlier pool's.

    Args:
        names: inputs of the earlier pool's line, see :meth:`LinearPrior.names`.
        means: expected coefficient of each.
        deviations: standard deviation of each, at most that of the prior where scores were informative.
        source: what to call the earlier pool in ``learnt_from``.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for name, mean, deviation in zip(names, means.tolist(), deviations.tolist(), strict=True):
        for key in dict.fromkeys((name, shared_name(name))):
            found.setdefault(key, []).append((mean, deviation**2))
    entries = []
    for key, beliefs in found.items():
        usual = prior.effect(key)
        values, variances = np.array(beliefs).T
        mean = usual.mean + KINSHIP * (values.mean() - usual.mean)
        known = min(variances.mean() + values.var(), usual.deviation**2)
        deviation = float(np.sqrt((1.0 - KINSHIP**2) * usual.deviation**2 + KINSHIP**2 * known))
        entries.append(Effect(feature=key, mean=round(float(mean), 4), deviation=round(deviation, 4)))
    named = {entry.feature for entry in entries}
    entries += [effect for effect in prior.effects if effect.feature not in named]
    entries.sort(key=lambda entry: _narrow_first(entry.feature))
    return LinearPrior(learnt_from=(*prior.learnt_from, source), effects=tuple(entries))


def _narrow_first(feature: str) -> tuple[bool, int, str]:
    return "*" in feature, -len(feature), feature
