"""Levels of evaluation: what is cheaper than a full one, and what it costs.

A full evaluation trains the target model with the whole budget and scores it on all dev items. A lower level has less of one
of these, or of several: a shorter training, a share of the items, another model.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import PurePath

from autoselection.errors import ConfigError
from autoselection.search.config import FidelityConfig


@dataclass(frozen=True)
class Level:
    """One way to evaluate a recipe.

    Attributes:
        cost: of an evaluation, in full ones.
        training: share of the training budget.
        items: share of every task's dev items.
        model: what it is called where it is another model than the target; else empty.
        number: place of that model in ``search.fidelity.models``; None: the target model.
    """

    cost: float = 1.0
    training: float = 1.0
    items: float = 1.0
    model: str = ""
    number: int | None = None

    @property
    def averaged(self) -> float:
        """Share of a full evaluation's training budget and items that its score averages over."""
        return self.training * self.items

    def describe(self) -> str:
        """In words, such as ``model small, 25% of a training, 10% of the items``; empty for a full evaluation."""
        said = [f"model {self.model}"] if self.model else []
        said += [f"{self.training:.0%} of a training"] if self.training < 1.0 else []
        said += [f"{self.items:.0%} of the items"] if self.items < 1.0 else []
        return ", ".join(said)


FULL = Level()


def lower_levels(config: FidelityConfig) -> tuple[Level, ...]:
    """The levels below a full evaluation, the cheapest first.

    Raises:
        ConfigError: what an evaluation with another model costs is not known.
    """
    found = []
    if config.level is not None or config.items is not None:
        training, items = config.level or 1.0, config.items or 1.0
        found.append(Level(config.target_cost, training, items))
    for number, (name, model) in enumerate(zip(model_names(config), config.models, strict=True)):
        if model.cost is None:
            raise ConfigError(
                f"search.fidelity.models[{number}].cost: what an evaluation with {model.path} costs is not known; give its share "
                "of a full one (a study estimates it from the models' sizes)."
            )
        found.append(Level(model.cost, model.level, model.items, name, number))
    return tuple(sorted(found, key=lambda level: (level.cost, level.model)))


def model_names(config: FidelityConfig) -> list[str]:
    """What the other models are called: the last part of their paths, numbered where several are the same."""
    parts = [PurePath(model.path).name or model.path for model in config.models]
    seen: Counter[str] = Counter()
    found = []
    for part in parts:
        seen[part] += 1
        found.append(part if parts.count(part) == 1 else f"{part}-{seen[part]}")
    return found


def level_of(config: FidelityConfig, model: str, fidelity: float) -> Level:
    """The level that a candidate with this model and fidelity is evaluated at."""
    if fidelity == 1.0 and not model:
        return FULL
    if model:
        return next(level for level in lower_levels(config) if level.model == model)
    if config.level is None and config.items is None:  # asked by a search of other settings
        return Level(fidelity, fidelity)
    return Level(fidelity, config.level or 1.0, config.items or 1.0)
