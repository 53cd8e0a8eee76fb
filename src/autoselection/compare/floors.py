"""What the floors of a comparison's tasks come to: the same as in a study's search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from autoselection.config import StudyConfig, floor_problems
from autoselection.errors import ConfigError
from autoselection.evaluation import EvaluationResult
from autoselection.ledger import Ledger, Wanted
from autoselection.signals import SignalTable
from autoselection.study.incumbent import open_incumbent
from autoselection.study.references import floor_values


def compared_floors(config: StudyConfig, table: SignalTable, ledger: Ledger, folder: Path) -> dict[str, float]:
    """Lowest dev score of each task that has a floor; what floors are measured from, the untrained base model or what is used today, is scored
    first, and no part of a method's budget.

    Raises:
        ConfigError: a floor is measured from an incumbent, and there is none.
        StudyError: what a floor is measured from could not be scored.
    """
    for key, why in floor_problems(config):
        raise ConfigError(f"{'.'.join(map(str, key))}: {why}")
    named = {floor.reference for task in config.tasks if (floor := task.lowest) is not None}
    seeds = config.evaluation.seeds
    wanted: dict[str, list[Wanted]] = {}
    if "base" in named:
        wanted["base"] = [Wanted(None, seeds[0], "dev", name="base model")]
    if "incumbent" in named:
        incumbent = open_incumbent(config, table)
        assert incumbent is not None, "floor_problems tells of a floor that is measured from none"
        rows, name = incumbent.selected.rows, incumbent.name
        wanted["incumbent"] = [Wanted(rows, seed, "dev", name=name) for seed in seeds]

    def results(reference: str) -> Mapping[int, EvaluationResult]:
        found = ledger.evaluate(wanted[reference], title="References", quiet=True)
        return {item.seed: result for item, result in zip(wanted[reference], found, strict=True)}

    return floor_values(config, results, folder)
