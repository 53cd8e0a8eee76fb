"""How much scores vary by training seed, by item, and by both: variance components of a two-way random layout."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from autoselection.statistics.bootstrap import Floats, checked


@dataclass(frozen=True)
class VarianceComponents:
    """Variances of ``x_si = mean + seed_s + item_i + rest_si``.

    Attributes:
        seed: variance of the seed effects; NaN with one seed.
        item: variance of the item effects; with one seed, the rest is in it.
        rest: variance of what neither explains (interaction and noise); NaN with one seed.
        seeds, items: how many there were.
    """

    seed: float
    item: float
    rest: float
    seeds: int
    items: int

    @property
    def seed_error(self) -> float:
        """Standard deviation of one training's score on these items due to its seed."""
        return math.sqrt(self.seed + self.rest / self.items) if self.seeds > 1 else math.nan

    @property
    def item_error(self) -> float:
        """Standard deviation of the mean over seeds due to which items were drawn."""
        rest = self.rest / self.seeds if self.seeds > 1 else 0.0
        return math.sqrt((self.item + rest) / self.items)


def crossed_components(values: Floats) -> VarianceComponents:
    """Components of ``values``, shape (seeds, items), one observation a cell.

    Henderson's first method, the ANOVA estimators of balanced data (Searle, Casella & McCulloch, *Variance Components*,
    1992, ch. 4): with mean squares MS of seeds, items and residual, ``seed = (MS_seed - MS_res) / items``,
    ``item = (MS_item - MS_res) / seeds``, ``rest = MS_res``; a negative estimate becomes 0.

    Raises:
        ValueError: fewer than two items.
    """
    (array,) = checked([values])
    seeds, items = array.shape
    if items < 2:
        raise ValueError("Variance components need at least two items.")
    by_item = array.mean(axis=0)
    if seeds == 1:
        return VarianceComponents(math.nan, float(by_item.var(ddof=1)), math.nan, 1, items)
    by_seed = array.mean(axis=1)
    residual = array - by_item - by_seed[:, None] + array.mean()
    rest = float((residual**2).sum()) / ((seeds - 1) * (items - 1))
    seed = (items * float(by_seed.var(ddof=1)) - rest) / items
    item = (seeds * float(by_item.var(ddof=1)) - rest) / seeds
    return VarianceComponents(max(seed, 0.0), max(item, 0.0), rest, seeds, items)


def table_components(table: Mapping[str, Floats]) -> dict[str, VarianceComponents]:
    """Components of each task, by name; tasks of a single item are left out."""
    return {name: crossed_components(values) for name, values in table.items() if np.atleast_2d(values).shape[1] > 1}
