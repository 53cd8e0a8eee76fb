"""Moving on the simplex: shares of groups in a mix, as a search draws and changes them.

Shares are canonical: they sum to one, are rounded, and name every group, so that equal mixtures are equal recipes. A
share below :data:`LEAST` is none. Of more than 1,000 groups an equal share is hardly larger than that: shares of many
groups have more decimals, and a smaller one is the least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from autoselection.operators.param import DIGITS, Param
from autoselection.operators.quotas import allocate

Shares = NDArray[np.float64]

DECIMALS = 4
"""Of a share, unless the groups are so many that an equal one would be fewer than ten units."""
LEAST = 0.0005
"""Smallest share that is kept of up to 1,000 groups."""
CONCENTRATION = 8.0
"""Of the Dirichlet distribution around a known mixture that draws are from; every other draw is from the flat one."""
SPREAD = 4.0
"""Standard deviation of the logarithm of a share that is scaled, for a step of 1."""


def canonical(shares: Shares, names: Sequence[str]) -> dict[str, float]:
    """Weights by name, as recipes hold them; no share is lost only because the groups are many."""
    count = len(names)
    decimals = min(DIGITS, max(DECIMALS, 1 + len(str(count - 1))))  # more than DIGITS no recipe holds
    units = 10**decimals
    least = min(LEAST * 10 ** (DECIMALS - decimals), 0.5 / count)  # below an equal share, so that the largest is kept
    kept = np.where(shares < least * shares.sum(), 0.0, shares)
    parts = allocate(units, kept, np.full(count, units))
    return {name: part / units for name, part in zip(names, parts.tolist(), strict=True)}


def shares_of(weights: Mapping[str, float], names: Sequence[str]) -> Shares | None:
    """Shares of the named groups; None if none of them has a weight."""
    found = np.array([float(weights.get(name, 0.0)) for name in names])
    return found / found.sum() if found.sum() > 0 else None


def drawn(param: Param, rng: np.random.Generator) -> dict[str, float]:
    """A random mixture: anywhere on the simplex, or around one of the parameter's known ones."""
    count = len(param.choices)
    if rng.random() < 0.5:
        return canonical(rng.dirichlet(np.ones(count)), param.choices)
    known = list(param.mixtures.values())
    centre = np.asarray(known[int(rng.integers(len(known)))])
    return canonical(rng.dirichlet(CONCENTRATION * centre + 0.05), param.choices)


def moved(param: Param, weights: Mapping[str, float], rng: np.random.Generator, scale: float) -> dict[str, float]:
    """Another mixture near ``weights``: a share shifted from one group to another, one scaled, dropped or restored, or all
    of them moved towards a known mixture.

    Args:
        scale: of the step, in shares of the whole range.
    """
    names = param.choices
    before = shares_of(weights, names)
    if before is None:
        return drawn(param, rng)
    for _ in range(32):
        shares = _moves(param, before, rng, scale)
        found = canonical(shares, names) if shares is not None and shares.sum() > 0 else None
        if found is not None and found != canonical(before, names):
            return found
    return drawn(param, rng)


def _moves(param: Param, before: Shares, rng: np.random.Generator, scale: float) -> Shares | None:
    shares = before.copy()
    there, gone = np.flatnonzero(before > 0), np.flatnonzero(before == 0)
    kind = rng.choice(("shift", "scale", "drop", "restore", "towards"), p=(0.35, 0.3, 0.08, 0.12, 0.15))
    if kind == "shift":
        giver = int(rng.choice(there))
        taker = int(rng.choice(np.delete(np.arange(len(before)), giver)))
        part = min(1.0, abs(float(rng.normal(0.0, 2.0 * scale)))) * before[giver]
        shares[giver] -= part
        shares[taker] += part
    elif kind == "scale":
        shares[int(rng.choice(there))] *= float(np.exp(rng.normal(0.0, SPREAD * scale)))
    elif kind == "drop":
        if len(there) < 2:
            return None
        shares[int(rng.choice(there))] = 0.0
    elif kind == "restore":
        if not len(gone):
            return None
        shares[int(rng.choice(gone))] = before[there].mean() * float(np.exp(rng.normal(0.0, SPREAD * scale)))
    else:
        known = list(param.mixtures.values())
        target = np.asarray(known[int(rng.integers(len(known)))])
        part = min(1.0, 0.1 + abs(float(rng.normal(0.0, 2.0 * scale))))
        shares = (1 - part) * before + part * target
    return shares
