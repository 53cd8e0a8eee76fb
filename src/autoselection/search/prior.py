"""Usual effects of a subset's features on its score: what a search knows before its first evaluation.

The score of a recipe, on the scale of the surrogate (standard deviations of the better half of the scores), is taken for a
line in the features of its subset, each in standard deviations over random recipes of the pool and levelled off far out
(:func:`line_inputs`); the square of the logarithm of the share kept (minus its mean, 1) is one more, so that
there is a best size. The coefficient of
a feature has a mean and a standard deviation over pools. They are learnt by ``python -m benchmarks.pools.effects`` (from other
worlds: ``benchmarks.prior``) from pools where many recipes were scored, and stand in ``effects.yaml`` beside this module with what they were learnt from.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from autoselection.documents import read_yaml
from autoselection.errors import ConfigError
from autoselection.schema import StrictModel
from autoselection.validation import validate

Array = NDArray[np.float64]

SHIPPED = Path(__file__).with_name("effects.yaml")
SIZE = "log_kept"
SQUARE = "log_kept squared"
SATURATION = 2.0
"""Where the effect of a feature levels off, in standard deviations over random recipes."""


class Effect(StrictModel):
    """The effect of one feature, or of all that match a pattern."""

    feature: str = Field(description="Name of a feature; * stands for any text, such as the name of a task.")
    mean: float = Field(
        description="Mean coefficient over pools (standard deviations of score by those of the feature)."
    )
    deviation: float = Field(ge=0, description="Standard deviation of the coefficient over pools.")


@lru_cache(maxsize=1024)
def _pattern(given: str) -> re.Pattern[str]:
    """Only ``*`` is more than itself: names of sources may hold brackets and question marks."""
    return re.compile(".*".join(map(re.escape, given.split("*"))), re.DOTALL)


class LinearPrior(StrictModel):
    """Normal priors of the coefficients."""

    learnt_from: tuple[str, ...] = Field(description="The pools.")
    effects: tuple[Effect, ...] = Field(description="Of a feature's matches the first decides; without one: no effect.")

    def effect(self, feature: str) -> Effect:
        """The effect of a feature."""
        for effect in self.effects:
            if feature == effect.feature or _pattern(effect.feature).fullmatch(feature):
                return effect
        return Effect(feature=feature, mean=0.0, deviation=0.0)

    def names(self, features: Sequence[str]) -> tuple[str, ...]:
        """Names of the inputs of the line, where there is any effect."""
        names, _ = line_inputs(features, np.zeros((0, len(features))))
        return tuple(name for name in names if (effect := self.effect(name)).mean or effect.deviation)

    def design(self, features: Sequence[str], states: Array) -> tuple[Array, Array, Array]:
        """Inputs of the line at some points, and the prior mean and standard deviation of each one's coefficient.

        Args:
            features: names of the columns of ``states``.
            states: features in standard units, shape (points, features).
        """
        names, inputs = line_inputs(features, states)
        effects = [self.effect(name) for name in names]
        used = [place for place, effect in enumerate(effects) if effect.mean or effect.deviation]
        means, deviations = (
            np.array([(effects[place].mean, effects[place].deviation) for place in used]).reshape(-1, 2).T
        )
        return inputs[:, used], means, deviations


def line_inputs(features: Sequence[str], states: Array) -> tuple[tuple[str, ...], Array]:
    """Names and values of what the line is in: the features and the square of the size, levelled off far out.

    Each is ``SATURATION · tanh(x / SATURATION)``: small subsets lie five deviations and more from random recipes in the
    scores that they were cut by, where the effect that was seen among usual recipes does not go on growing.
    """
    names = tuple(features)
    if SIZE in names:
        size = states[:, names.index(SIZE)]
        states = np.column_stack([states, size**2 - 1.0])
        names = (*names, SQUARE)
    return names, SATURATION * np.tanh(states / SATURATION)


def read_prior(which: bool | Path) -> LinearPrior | None:
    """The shipped prior (True), none (False), or that of a file.

    Raises:
        ConfigError: the file cannot be read or is no prior.
    """
    if which is False:
        return None
    path = SHIPPED if which is True else which
    document, tree = read_yaml(path)
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: this is no prior of a search: it lacks 'learnt_from' and 'effects'.")
    return validate(LinearPrior, document, str(path), tree)
