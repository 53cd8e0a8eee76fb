"""Whether a subset is below a floor beyond noise: its items, and chance in its trainings, against the floor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from autoselection.evaluation import EvaluationResult
from autoselection.ledger.wanted import UNTRAINED
from autoselection.statistics import SeedNoise, compare_all
from autoselection.statistics.compare import p_text
from autoselection.study.evidence import LEVEL, Table, item_table
from autoselection.study.study import REFERENCE, Study

_HALF = 0.5
"""Correlation of chance at which a difference has the variance of one score: what a floor is measured from may have none."""


@dataclass(frozen=True)
class FloorCheck:
    """A subset beside the floor of a task.

    Attributes:
        floor: as it is written in the configuration.
        score: of the subset on dev, over the trainings of the comparison.
        difference: score minus floor, the floor measured in the same trainings where it is the incumbent's.
        low, high: ends of its 95% interval, over seeds and items where chance in training is known, else over items.
        p: of no difference.
        below: whether the score is below the floor beyond noise.
    """

    task: str
    floor: str
    score: float
    difference: float
    low: float
    high: float
    p: float
    below: bool

    def sentence(self, name: str) -> str:
        """For people, where it is below."""
        return (
            f"{name} is below the floor of {self.task}, {self.floor}, beyond noise: {self.score:.4f}, {-self.difference:.4f} too low "
            f"(95% interval of the difference {self.low:+.4f} to {self.high:+.4f}, {p_text(self.p)})."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def floor_checks(
    study: Study, table: Table, incumbent: Table, chance: Mapping[str, tuple[SeedNoise, float]]
) -> list[FloorCheck]:
    """A subset beside the floors of all tasks that have one.

    Args:
        table: its item scores, per task float64[seeds, items].
        incumbent: those of the incumbent, in trainings with the same seeds.
        chance: per task, chance in training, and the correlation of the subset's with the incumbent's at the same seed.
    """
    found = []
    for task in study.config.tasks:
        floor = task.lowest
        if floor is None:
            continue
        mine, (noise, overlap) = table[task.name], chance[task.name]
        if floor.reference == "incumbent":
            reference = incumbent[task.name]
        else:
            overlap = _HALF
            reference = np.zeros_like(mine)
            if floor.reference == "base":
                untrained = item_table(_untrained(study), [task])
                if untrained is None:
                    continue
                reference = np.broadcast_to(untrained[task.name], mine.shape)
        pairs = {task.name: ({task.name: mine}, {task.name: reference + floor.margin})}
        (compared,) = compare_all(
            task.name, pairs, level=LEVEL, seed=study.config.search.seed, noise=noise, overlap={task.name: overlap}
        )
        estimate = compared.difference.estimate
        low, high = compared.interval
        below = compared.significant and estimate < 0
        score = float(mine.mean())
        found.append(FloorCheck(task.name, str(task.floor), score, estimate, low, high, compared.p, below))
    return found


def _untrained(study: Study) -> list[EvaluationResult]:
    events = [event for event in study.journal.of(REFERENCE) if event["subset_hash"] == UNTRAINED]
    return [EvaluationResult.from_dict(event["result"]) for event in events]
