"""Some of the rows that each step of a recipe drops, with why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoselection.inspection.difference import Example, examples_of
from autoselection.inspection.explanation import pool_of
from autoselection.recipes import PrefixCache, Recipe, dropped_rows, why
from autoselection.recipes.why import EXCLUDED
from autoselection.signals import SignalTable

#: Rows of each step that are shown.
SHOWN_DROPPED = 3


@dataclass(frozen=True)
class DroppedBy:
    """What one step drops.

    Attributes:
        step: its number, from 1; 0: rows that could not be selected at all.
        phrase: the step in words.
        rows: rows that are not selected because of it (count).
        examples: some of them, drawn at random, in row order.
    """

    step: int
    phrase: str
    rows: int
    examples: tuple[Example, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "step": self.step,
            "phrase": self.phrase,
            "rows": self.rows,
            "examples": [each.to_dict() for each in self.examples],
        }


def dropped_examples(
    recipe: Recipe,
    signals: SignalTable,
    *,
    seed: int = 0,
    count: int = SHOWN_DROPPED,
    cache: PrefixCache | None = None,
) -> Sequence[DroppedBy]:
    """Some of the rows that each step drops; steps that drop none are left out.

    Args:
        recipe, signals, seed, cache: as of :func:`~autoselection.recipes.materialize`; ``seed`` also draws the examples.
        count: examples of each step.

    Raises:
        PoolError: the signals are not of a pool.
        RecipeError, SignalError: as of ``materialize``.
    """
    pool_of(signals)
    rows, steps = dropped_rows(recipe, signals, seed=seed, cache=cache)
    phrases = [EXCLUDED, *recipe.describe_steps()]
    rng = np.random.default_rng(seed)
    dropped = {step: rows[steps == step] for step in np.unique(steps).tolist()}
    drawn = {step: np.sort(rng.permutation(own)[:count]) for step, own in dropped.items()}
    everyone = np.concatenate([np.zeros(0, np.int64), *drawn.values()])
    fates = iter(why(recipe, signals, everyone, seed=seed, cache=cache))
    return [
        DroppedBy(step, phrases[step], len(dropped[step]), examples_of(own, signals, [next(fates) for _ in own]))
        for step, own in drawn.items()
    ]
