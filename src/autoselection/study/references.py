"""What floors and guards are measured from: the base model without training, and what is used today, both on dev.

They are scored before the search: the base model once, without training, wherever there is a guard or a floor, and what is used
today, with the search's seeds, where a floor is measured from it (the verdict needs these trainings anyway). What floors come
to is in the journal before the first trial, and does not change after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoselection.config import StudyConfig, floor_problems
from autoselection.errors import ConfigError, StudyError
from autoselection.evaluation import EvaluationResult
from autoselection.ledger import Wanted
from autoselection.ledger.wanted import UNTRAINED
from autoselection.recipes import Materialization
from autoselection.study.dev_results import dev_label, dev_results
from autoselection.study.study import REFERENCE, Study
from autoselection.tasks import TaskConfig

BASE = "base model"


def watched(config: StudyConfig) -> list[TaskConfig]:
    """Tasks of which it is told what is forgotten: guards, and those that have a floor."""
    return [task for task in config.tasks if task.weight == 0 or task.floor is not None]


def reference_trainings(study: Study, incumbent: Materialization | None) -> list[Wanted]:
    """What is scored before the search; nothing without guards and floors.

    Raises:
        ConfigError: a floor is measured from an incumbent, and there is none.
    """
    config = study.config
    for key, why in floor_problems(config):
        raise ConfigError(f"{'.'.join(map(str, key))}: {why}")
    seeds = config.evaluation.seeds
    wanted = [Wanted(None, seeds[0], "dev", name=BASE)] if watched(config) else []
    if incumbent is not None and any(_measured_from_incumbent(task) for task in config.tasks):
        label = dev_label(study, incumbent.subset_hash)
        wanted += [Wanted(incumbent.rows, seed, "dev", name=label) for seed in seeds]
    return wanted


def check_measured_from(study: Study, incumbent: Materialization | None) -> None:
    """See that floors which are measured are those of this incumbent: the search chooses by them, and the verdict by its scores.

    Raises:
        StudyError: they are of another one.
    """
    if not any(_measured_from_incumbent(task) for task in study.config.tasks):
        return
    known = {event["subset_hash"] for event in study.journal.of(REFERENCE)}
    if incumbent is None or incumbent.subset_hash not in known:
        raise StudyError(
            f"{study.path}: its floors were measured from another incumbent than incumbent.recipe is now: restore that, or name "
            "another --out directory."
        )


def measured_floors(study: Study, incumbent: Materialization | None) -> dict[str, Any]:
    """What the floors come to, as plain data for the journal: ``values`` by task.

    Raises:
        StudyError: what a floor is measured from could not be scored.
    """

    def results(reference: str) -> Mapping[int, EvaluationResult]:
        return dev_results(study, UNTRAINED if reference == "base" or incumbent is None else incumbent.subset_hash)

    return {"values": floor_values(study.config, results, study.path)}


def floor_values(
    config: StudyConfig, results: Callable[[str], Mapping[int, EvaluationResult]], folder: Path
) -> dict[str, float]:
    """Lowest dev score of each task that has a floor.

    Args:
        results: dev results by seed of ``base`` or ``incumbent``.
        folder: named in the error.

    Raises:
        StudyError: what a floor is measured from could not be scored.
    """
    values = {}
    for task in config.tasks:
        floor = task.lowest
        if floor is None:
            continue
        references: dict[str, float] = {}
        if floor.reference is not None:
            found = results(floor.reference)
            if failure := next((result.failure for result in found.values() if result.failure), None):
                raise StudyError(
                    f"{folder}: the floor of task '{task.name}' is measured from {floor.reference}, which could not be scored "
                    f"({failure.rstrip('.')})."
                )
            references = {floor.reference: _mean(found, task.name)}
        values[task.name] = floor.value(references)
    return values


def _measured_from_incumbent(task: TaskConfig) -> bool:
    return task.lowest is not None and task.lowest.reference == "incumbent"


def _mean(results: Mapping[int, EvaluationResult], task: str) -> float:
    return float(np.mean([result.scores[task] for result in results.values()]))


def reference_results(study: Study) -> dict[str, dict[int, EvaluationResult]]:
    """What was scored before the search, by what it is called and seed."""
    found: dict[str, dict[int, EvaluationResult]] = {}
    for event in study.journal.of(REFERENCE):
        found.setdefault(event["label"], {})[event["seed"]] = EvaluationResult.from_dict(event["result"])
    return found


@dataclass(frozen=True)
class Watched:
    """What became of a guard, or of a task with a floor: its dev score before and after.

    Attributes:
        floor: as it is written; None: there is none.
        lowest: what that came to.
        base, incumbent, winner: dev scores, means over all trainings on these rows, those for the verdict too; None where they are
            not known.
        name: what the incumbent is called.
    """

    task: str
    guard: bool
    floor: str | None
    lowest: float | None
    base: float | None
    incumbent: float | None
    winner: float | None
    name: str

    @property
    def kept(self) -> bool | None:
        """Whether the winner's score is at least the floor; None without either."""
        return None if self.winner is None or self.lowest is None else self.winner >= self.lowest

    def sentence(self, winner: str) -> str:
        """For people, where the winner misses the floor."""
        assert self.winner is not None and self.lowest is not None
        return f"{winner} misses the floor of {self.task}, {self.floor}: {self.winner:.4f} on dev, mean of all trainings, and the floor is {self.lowest:.4f}."

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "kept": self.kept}


def watched_tasks(study: Study) -> list[Watched]:
    """Every guard and every task with a floor, as far as the study has come."""
    best, plans = study.best(), study.journal.of("incumbent_plan")
    incumbent = dev_results(study, plans[-1]["incumbent_hash"]) if plans else {}
    winner = {} if best is None else dev_results(study, best.record["subset_hash"])
    floors = study.floors
    return [
        Watched(
            task.name,
            task.weight == 0,
            task.floor,
            floors.get(task.name),
            _known(dev_results(study, UNTRAINED), task.name),
            _known(incumbent, task.name),
            _known(winner, task.name),
            plans[-1]["incumbent"] if plans else "",
        )
        for task in watched(study.config)
    ]


def _known(results: Mapping[int, EvaluationResult], task: str) -> float | None:
    good = {seed: result for seed, result in results.items() if not result.failure}
    return _mean(good, task) if good else None
