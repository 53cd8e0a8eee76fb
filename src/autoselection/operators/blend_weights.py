"""Weights of the signals of a blend in their canonical form.

Canonical weights have absolute values that sum to one, in units of 1/10,000, by name: blends that differ in scale or in the
order of their terms are the same recipe. A term of less than half a unit is none.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

MOST_TERMS = 6
UNITS = 10_000
ROUNDING = 1e-6
"""In units: what weights of another scale may differ by."""


def canonical_blend(weights: Mapping[str, float | None]) -> dict[str, float] | None:
    """Weights as recipes hold them; None if they make no blend: a weight is no number, all are 0, or more than six are not.

    Units are given out by largest remainder, equal remainders to the first by name.
    """
    if any(weight is None for weight in weights.values()):
        return None
    given = {name: float(weight) for name, weight in sorted(weights.items()) if weight}
    if not 1 <= len(given) <= MOST_TERMS:
        return None
    sizes = np.abs(np.array(list(given.values())))
    ideal = UNITS * (sizes / sizes.max()) / (sizes / sizes.max()).sum()
    units = np.floor(ideal + ROUNDING)
    by_remainder = np.argsort(-(ideal - units).round(5), kind="stable")
    units[by_remainder[: UNITS - int(units.sum())]] += 1
    return {
        name: float(np.sign(weight) * unit / UNITS)
        for (name, weight), unit in zip(given.items(), units.tolist(), strict=True)
        if unit
    }
