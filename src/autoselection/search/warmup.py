"""Warmup probes: random recipes aimed at a zone of retention, before much is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoselection.recipes import Recipe, Step
from autoselection.search.config import ZoneConfig
from autoselection.search.space import RecipeSpace

# The zones are the dial of the warmup; these say how a zone is met.
MAX_FILTERS = 3
"""Most filters of a probe beside the size cap: with more, each would cut next to nothing."""
JITTER = 0.08
"""Steps of a probe keep unequal shares, so that it tells more than where a zone lies."""
TOLERANCE = 1.5
"""A probe that keeps less than low / TOLERANCE or more than high * TOLERANCE of the rows missed its zone (factor)."""
TRIES = 20
"""Draws for a probe; after the last the one nearest to its zone is taken. Bounds work where a zone is out of reach."""


def zone_of(probe: int, zones: Sequence[ZoneConfig]) -> ZoneConfig:
    """The zone of the probe with that index (from 0): they take turns."""
    return zones[probe % len(zones)]


def draw_probe(space: RecipeSpace, zone: ZoneConfig, max_steps: int, rng: np.random.Generator) -> tuple[Recipe, float]:
    """A random recipe whose steps together keep about a target retention, and that target.

    The target is drawn from the zone. A size cap and one to ``MAX_FILTERS`` distinct score filters stand in random
    order; each of the n steps keeps the n-th root of the target times U(1 - JITTER, 1 + JITTER) of its rows. A recipe of one
    step is a cap or a filter.
    """
    target = float(rng.uniform(zone.low, zone.high))
    caps, filters = space.caps, space.filters
    if max_steps == 1 and caps:  # the only step may be a filter as well
        caps, filters = (*caps, *filters), ()
    names = [caps[int(rng.integers(len(caps)))]] if caps else []
    most = min(MAX_FILTERS, max_steps - len(names), len(filters))
    if most > 0:
        count = int(rng.integers(1, most + 1))
        names += [filters[int(i)] for i in rng.choice(len(filters), count, replace=False)]
    if not names:  # no operator takes a ratio: any will do
        names = [space.plain[int(rng.integers(len(space.plain)))]]
    root = target ** (1.0 / len(names))
    steps: list[Step] = []
    for place in rng.permutation(len(names)):
        ratio = min(1.0, root * float(rng.uniform(1.0 - JITTER, 1.0 + JITTER)))
        steps.append(space.draw(names[int(place)], rng, ratio=ratio))
    return Recipe(tuple(steps)), target


def distance_to_zone(retention: float, zone: ZoneConfig) -> float:
    """How far a realized retention is from the zone, as the logarithm of a factor; 0 inside."""
    if retention <= 0:
        return float("inf")
    return float(max(0.0, np.log(zone.low / retention), np.log(retention / zone.high)))


def draw_any(space: RecipeSpace, max_steps: int, rng: np.random.Generator) -> Recipe:
    """A random recipe: one to ``max_steps`` distinct operators (short ones more often) in any order."""
    names = list(space.plain)
    lengths = np.arange(1, min(max_steps, len(names)) + 1)
    odds = 1.0 / lengths
    count = int(rng.choice(lengths, p=odds / odds.sum()))
    chosen = rng.permutation(len(names))[:count]
    return Recipe(tuple(space.draw(names[int(place)], rng) for place in chosen))
