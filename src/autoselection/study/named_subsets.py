"""What commands compare and explain, as a user names it: a recipe, a study or one of its trials, a list of ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoselection.config import StudyConfig
from autoselection.errors import AutoSelectionError, ConfigError, StudyError, naming
from autoselection.recipes import Recipe, ScoredPool, load_recipe, materialize
from autoselection.recipes.ready import is_ready_name
from autoselection.study.named_pools import is_study, open_scored_pool
from autoselection.study.single import read_ids
from autoselection.study.study import Study
from autoselection.tasks import TaskConfig, TaskItem, load_items

#: Between a study's folder and the trial that is meant.
_TRIAL = ":"
_YAML = (".yaml", ".yml")


@dataclass(frozen=True, eq=False)
class NamedSubset:
    """Rows of a pool, and where they come from.

    Attributes:
        name: what the user calls it, with the trial.
        place: the pool and its signals.
        rows: row numbers, in their order.
        recipe: what selects them; None of a list of ids.
        seed: of the recipe's random steps.
        scores: mean dev scores of a trial, by task, and over all as ``score``; empty for others.
        tasks: target items by task, where a configuration names some.
        remarks: what has to be known, in sentences.
        task_remarks: whose target items are not there, in sentences: of a study that was moved without them, say.
    """

    name: str
    place: ScoredPool
    rows: NDArray[np.int64]
    recipe: Recipe | None = None
    seed: int = 0
    scores: Mapping[str, float] = field(default_factory=dict)
    tasks: Mapping[str, Sequence[TaskItem]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    task_remarks: tuple[str, ...] = ()


def open_named_subset(
    named: str,
    pool: Sequence[Path] = (),
    config: StudyConfig | None = None,
    *,
    seed: int | None = None,
) -> NamedSubset:
    """What a user named.

    Args:
        named: a recipe file or ready recipe; a study (its best trial) or ``STUDY:t012``; a file of ids.
        pool: a pool, study or raw files; of a study its own pool by default.
        config: a configuration that says how signals are computed and names tasks.
        seed: of random steps (default: that of a study, else 0).

    Raises:
        ConfigError: it is none of these, or a pool has to be named too.
        PoolError, RecipeError, SignalError, StudyError: it cannot be opened or run.
    """
    folder, trial = _study_named(named)
    if folder is not None:
        return _of_study(folder, trial, pool, config, seed)
    if not pool:
        raise ConfigError(f"{named}: name the pool with --pool; only a study has one of its own.")
    path = Path(named)
    if path.is_file() and path.suffix.lower() not in _YAML:
        place = open_scored_pool(list(pool), None, config)
        tasks, missing = _targets(config, pool)
        return NamedSubset(named, place, _rows_of(place, path), tasks=tasks, task_remarks=missing)
    recipe = load_recipe(path)
    place = open_scored_pool(list(pool), recipe, config, named)
    with naming(named):
        rows = materialize(recipe, place.table, seed=seed or 0).rows
    tasks, missing = _targets(config, pool)
    return NamedSubset(named, place, rows, recipe, seed or 0, tasks=tasks, task_remarks=missing)


def _study_named(named: str) -> tuple[Path | None, str | None]:
    if is_study(Path(named)):
        return Path(named), None
    folder, separator, trial = named.rpartition(_TRIAL)
    if separator and folder and is_study(Path(folder)):
        return Path(folder), trial
    path = Path(named)
    if path.is_dir():
        raise StudyError(f"{named} is a folder, and no study: name a recipe, a study, STUDY:TRIAL or a file of ids.")
    if not path.exists() and not path.suffix and not is_ready_name(named) and len(path.parts) > 1:
        raise ConfigError(f"{named}: there is no such recipe, study or file of ids.")
    return None, None


def _of_study(
    folder: Path, wanted: str | None, pool: Sequence[Path], config: StudyConfig | None, seed: int | None
) -> NamedSubset:
    study = Study(folder.resolve())
    trial = study.best() if wanted is None else study.all_trials()[wanted]
    if trial is None:
        raise StudyError(f"{folder}: the study has no score yet; name a trial, such as {folder}{_TRIAL}t001.")
    recipe, own_seed = trial.recipe, study.config.search.seed if seed is None else seed
    name = f"{folder}{_TRIAL}{trial.id}"
    place = open_scored_pool(list(pool) or folder, recipe, config or study.config, name)
    found = materialize(recipe, place.table, seed=own_seed)
    remarks: tuple[str, ...] = ()
    if not pool and seed is None and found.subset_hash != trial.record["subset_hash"]:
        remarks = (
            f"{name}: the recipe selects other rows now than those that were trained on: signals or operators changed since.",
        )
    scores = {} if trial.score is None else {"score": trial.score, **trial.tasks}
    tasks, missing = _targets(config, (folder,))
    return NamedSubset(name, place, found.rows, recipe, own_seed, scores, tasks, remarks, missing)


def _rows_of(place: ScoredPool, path: Path) -> NDArray[np.int64]:
    return place.pool.row_of(read_ids(path))


def present_targets(config: StudyConfig) -> tuple[Mapping[str, Sequence[TaskItem]], tuple[str, ...]]:
    """Target items by task of those whose files are there, and a sentence about the others: of a study that was moved without them, say."""
    found: dict[str, Sequence[TaskItem]] = {}
    missing: dict[str, str] = {}
    for task in _with_targets(config):
        try:
            found[task.name] = load_items(task, "target")
        except AutoSelectionError as error:
            missing[task.name] = str(error)
    if not missing:
        return found, ()
    return found, (f"No target items near the rows are told of {', '.join(missing)}: {next(iter(missing.values()))}",)


def _with_targets(config: StudyConfig) -> Iterator[TaskConfig]:
    return (task for task in config.tasks if task.target is not None or task.lm_eval)


def _targets(
    config: StudyConfig | None, pool: Sequence[Path]
) -> tuple[Mapping[str, Sequence[TaskItem]], tuple[str, ...]]:
    """The target items that a configuration, or the study whose pool is named, has; of a study's own, those that are there."""
    if config is not None:
        return {task.name: load_items(task, "target") for task in _with_targets(config)}, ()
    return present_targets(Study(pool[0].resolve()).config) if len(pool) == 1 and is_study(pool[0]) else ({}, ())
