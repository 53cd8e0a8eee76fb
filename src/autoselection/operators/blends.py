"""Moving among blends of signals: weights of either sign, as a search draws and changes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from autoselection.operators.blend_weights import MOST_TERMS, canonical_blend
from autoselection.operators.param import Param

SPREAD = 4.0
"""Standard deviation of the logarithm of a weight that changes, for a step of 1."""
NEAR = 0.5
"""Standard deviation of the logarithm of weights that are drawn near known ones."""
LEAST = 0.02
"""Smallest weight that a search keeps, as a share of the largest."""

Weights = Mapping[str, float]


def drawn_blend(param: Param, rng: np.random.Generator) -> dict[str, float]:
    """A random blend: every third one near a known one, if any is known; of the others, of two terms and more from different
    groups (few more often), every second one with equal weights."""
    known = [blend for blend in param.blends.values() if leading(param, blend)]
    if known and rng.random() < 1 / 3:
        return near(param, known[int(rng.integers(len(known)))], rng)
    groups = _groups(param)
    most = min(MOST_TERMS, len(groups))
    counts = np.arange(min(2, most), most + 1)
    count = int(rng.choice(counts, p=(1 / counts) / (1 / counts).sum()))
    chosen = [groups[int(place)] for place in rng.permutation(len(groups))[:count]]
    names = [group[int(rng.integers(len(group)))] for group in chosen]
    sizes = np.ones(count) if rng.random() < 0.5 else rng.dirichlet(np.ones(count)) + LEAST
    return _blend({name: size * _sign(param, name, rng) for name, size in zip(names, sizes.tolist(), strict=True)})


def near(param: Param, known: Weights, rng: np.random.Generator) -> dict[str, float]:
    """Some of the largest terms of a known blend, few more often, with weights near the known ones; :func:`leading` must leave
    one at least."""
    kept = leading(param, known)
    counts = np.arange(min(2, len(kept)), len(kept) + 1)
    count = int(rng.choice(counts, p=(1 / counts) / (1 / counts).sum()))
    sizes = np.exp(rng.normal(0.0, NEAR, count)).tolist()
    return _blend({name: kept[name] * size for name, size in zip(list(kept)[:count], sizes, strict=True)})


def leading(param: Param, weights: Weights) -> dict[str, float]:
    """The largest weights, of names that are choices and ends that are drawn, one of each group and six at most; largest
    first (equal ones by name)."""
    groups = dict(zip(param.choices, param.terms, strict=True))
    found: dict[str, float] = {}
    taken: set[int] = set()
    for name, weight in sorted(weights.items(), key=lambda item: (-abs(item[1]), item[0])):
        allowed = name in groups and weight and _allowed(param, name, weight)
        if allowed and groups[name].group not in taken and len(found) < MOST_TERMS:
            found[name] = float(weight)
            taken.add(groups[name].group)
    return found


def flipped_blends(param: Param, weights: Weights) -> list[dict[str, float]]:
    """The blends with one term turned round, where a draw could have that end."""
    return [
        {**weights, name: -weight}
        for name, weight in weights.items()
        if name not in param.choices or _allowed(param, name, -weight)
    ]


def moved_blend(param: Param, weights: Weights, rng: np.random.Generator, scale: float) -> dict[str, float]:
    """Another blend near ``weights``: one term reweighed, turned round, added or dropped, or all moved towards equal weights.

    Args:
        scale: of the step, in shares of the whole range.
    """
    before = _blend(weights)
    for _ in range(32):
        found = _move(param, before, rng, scale)
        if found and (after := _blend(found)) != before:
            return after
    return drawn_blend(param, rng)


def _move(param: Param, before: Weights, rng: np.random.Generator, scale: float) -> Weights | None:
    names = list(before)
    name = names[int(rng.integers(len(names)))]
    kind = rng.choice(("reweigh", "flip", "add", "drop", "equal"), p=(0.35, 0.15, 0.25, 0.15, 0.1))
    if kind == "reweigh":
        return {**before, name: before[name] * float(np.exp(rng.normal(0.0, SPREAD * scale)))}
    if kind == "flip":
        options = flipped_blends(param, before)
        return options[int(rng.integers(len(options)))] if options else None
    if kind == "drop":
        return {key: weight for key, weight in before.items() if key != name} if len(before) > 1 else None
    sizes = {key: abs(weight) for key, weight in before.items()}
    mean = sum(sizes.values()) / len(sizes)
    if kind == "equal":
        part = min(1.0, 0.1 + abs(float(rng.normal(0.0, 2.0 * scale))))
        return {key: float(np.sign(before[key])) * ((1 - part) * size + part * mean) for key, size in sizes.items()}
    taken = {term.group for choice, term in zip(param.choices, param.terms, strict=True) if choice in before}
    free = _groups(param, but=taken)
    if not free or len(before) == MOST_TERMS:
        return None
    group = free[int(rng.integers(len(free)))]
    added = group[int(rng.integers(len(group)))]
    return {**before, added: _sign(param, added, rng) * mean * float(np.exp(rng.normal(0.0, SPREAD * scale)))}


def _blend(weights: Weights) -> dict[str, float]:
    """Canonical, without terms too small to search."""
    largest = max(abs(weight) for weight in weights.values())
    found = canonical_blend({name: weight for name, weight in weights.items() if abs(weight) >= LEAST * largest})
    assert found is not None
    return found


def _groups(param: Param, but: Collection[int] = ()) -> list[list[str]]:
    """Names of the choices by group, groups in their order."""
    found: dict[int, list[str]] = {}
    for name, term in zip(param.choices, param.terms, strict=True):
        if term.group not in but:
            found.setdefault(term.group, []).append(name)
    return [found[group] for group in sorted(found)]


def _low(param: Param, name: str) -> float:
    return param.terms[param.choices.index(name)].low


def _sign(param: Param, name: str, rng: np.random.Generator) -> float:
    return -1.0 if rng.random() < _low(param, name) else 1.0


def _allowed(param: Param, name: str, weight: float) -> bool:
    low = _low(param, name)
    return (low if weight < 0 else 1.0 - low) > 0
