"""Floors: how low a task's score may fall, as a number or beside the base model or what is used today."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from autoselection.statistics.ties import ROUNDING

Reference = Literal["base", "incumbent"]

REFERENCES: tuple[Reference, ...] = ("base", "incumbent")

_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_FLOOR = re.compile(
    rf"(?:(?P<reference>base|incumbent)(?:\s*(?P<margin>[+-]\s*{_NUMBER}))?|(?P<number>[+-]?\s*{_NUMBER}))"
)
#: The same for JSON schemas, whose regular expressions name no groups.
FLOOR_PATTERN = rf"^\s*(?:(?:base|incumbent)(?:\s*[+-]\s*{_NUMBER})?|[+-]?\s*{_NUMBER})\s*$"


@dataclass(frozen=True)
class Floor:
    """The lowest score that a task may have, in the task's search metric (higher is better).

    Attributes:
        reference: whose score it is measured from: ``base`` (the model without training), ``incumbent`` (what is used today);
            None: 0.
        margin: what is added to that.
    """

    reference: Reference | None
    margin: float

    @classmethod
    def parse(cls, text: str) -> Floor:
        """From ``NUMBER``, ``base`` or ``incumbent``, the last two with ``+ NUMBER`` or ``- NUMBER`` behind them if need be.

        Raises:
            ValueError: it is none of these.
        """
        found = _FLOOR.fullmatch(text.strip())
        number = "" if found is None else (found["margin"] or found["number"] or "0").replace(" ", "")
        if found is None or not math.isfinite(float(number)):
            raise ValueError(
                "expected a number, base or incumbent, the last two with + or - and a number behind if need be, such as "
                "'incumbent - 0.01'"
            )
        reference = next((name for name in REFERENCES if name == found["reference"]), None)
        return cls(reference, float(number))

    def value(self, references: Mapping[str, float]) -> float:
        """The floor as a number.

        Args:
            references: the task's score by :data:`REFERENCES`, of the one that is named at least.
        """
        return self.margin if self.reference is None else references[self.reference] + self.margin


def shortfall(scores: Mapping[str, float], floors: Mapping[str, float]) -> float:
    """By how much scores miss floors, summed over the tasks; 0 where every floor is met.

    Args:
        scores: of each task that has a floor, and perhaps others.
        floors: lowest score by task.
    """
    return sum(missed_by(scores[task], floor) for task, floor in floors.items())


def missed_by(score: float, floor: float) -> float:
    """By how much a score misses a floor; 0 where it meets it, but for rounding.

    The floor ``base - 0.1`` of a base model that scores 0.8 is 0.7000000000000001, which 0.7 meets.
    """
    return 0.0 if math.isclose(score, floor, rel_tol=ROUNDING) else max(0.0, floor - score)


def mean_of_repeats(scores: Sequence[float], tasks: Sequence[Mapping[str, float]]) -> tuple[float, dict[str, float]]:
    """What the evaluations of one subset say of it together: the mean of their scores, and that of each task.

    The search, the study and comparisons of search methods take this mean of what each evaluation gave, itself a mean over
    seeds, and none over all seeds at once: its last bit differs, which would decide ties elsewhere.

    Args:
        scores, tasks: of each evaluation; tasks are those of the first.
    """
    return float(np.mean(scores)), {name: float(np.mean([one[name] for one in tasks])) for name in tasks[0]}


def merit(score: float, scores: Mapping[str, float], floors: Mapping[str, float]) -> tuple[float, float]:
    """What is the larger the better a subset is: minus what it misses floors by, then its score.

    Args:
        score: what is maximised.
        scores, floors: see :func:`shortfall`.
    """
    return -shortfall(scores, floors), score
