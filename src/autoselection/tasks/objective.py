"""One score from the scores of several tasks: their weighted mean. Tasks of weight 0 (guards) are no part of it.

Whatever takes a plain mean over tasks, such as the tests and intervals of :mod:`autoselection.statistics`, gets the same
from values that are multiplied by :func:`factors` first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from autoselection.tasks.items import TaskConfig

Values = TypeVar("Values", float, NDArray[np.float64])


def factors(tasks: Sequence[TaskConfig]) -> dict[str, float]:
    """What each task's values are multiplied by, so that the plain mean over the tasks listed is the weighted one; guards
    are not listed. All are exactly 1 where all weights are equal."""
    counted = {task.name: task.weight for task in tasks if task.weight > 0}
    if len(set(counted.values())) < 2:
        return dict.fromkeys(counted, 1.0)
    total = sum(counted.values())
    return {name: weight * len(counted) / total for name, weight in counted.items()}


def weighed(values: Mapping[str, Values], by: Mapping[str, float]) -> dict[str, Values]:
    """The values of the tasks that :func:`factors` lists, multiplied by them, in the order of ``values``."""
    return {name: value * by[name] for name, value in values.items() if name in by}


def labels(tasks: Sequence[TaskConfig]) -> list[str]:
    """The tasks' names for headings; with their weights where these differ."""
    if len({task.weight for task in tasks}) < 2:
        return [task.name for task in tasks]
    return [f"{task.name} ({f'weight {task.weight:g}' if task.weight else 'guard'})" for task in tasks]


def overall(scores: Mapping[str, float], tasks: Sequence[TaskConfig]) -> float:
    """Weighted mean of the tasks' scores; the plain mean of what there is where every task is a guard."""
    found = weighed(scores, factors(tasks)) or scores
    return float(np.mean(list(found.values())))
