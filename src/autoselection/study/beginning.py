"""From a configuration and a held journal to a study whose search can begin or go on: everything before the first decision."""

from __future__ import annotations

from pathlib import Path

from autoselection.activity import tell_stage
from autoselection.config import StudyConfig
from autoselection.errors import naming
from autoselection.executors import Executor
from autoselection.ledger import Journal
from autoselection.progress import console
from autoselection.recipes import lineage_remarks, load_recipe, materialize
from autoselection.signals import SignalTable
from autoselection.study.budget import change_budget, known_budget
from autoselection.study.checkpoints import prune_checkpoints
from autoselection.study.identity import study_identity
from autoselection.study.incumbent import Incumbent, open_incumbent
from autoselection.study.kind import check_kind
from autoselection.study.opening import prepare_journalled
from autoselection.study.prepare import Prepared
from autoselection.study.references import watched
from autoselection.study.rounds import learn_from_earlier, measure_floors, settle_levels
from autoselection.study.settings import note_speed
from autoselection.study.study import FLOORS, LEVELS, Study
from autoselection.terminal import styled


def has_begun(study: Study) -> bool:
    """Whether :func:`begin` has nothing left to do: the search may decide."""
    journal, config = study.journal, study.config
    return (
        known_budget(study) == config.search.evaluations
        and bool(journal.of(FLOORS) or not watched(config))
        and bool(journal.of("warm_start") or not config.search.warm_start)
        and bool(journal.of(LEVELS) or not config.search.fidelity.models)
    )


def begin(
    config: StudyConfig, out: Path, journal: Journal, executor: Executor
) -> tuple[Study, Prepared, Incumbent | None]:
    """Begin the study in ``out``, or open it where it stands: pool, signals, floors, what earlier studies taught.

    Args:
        journal: that of the study, held.

    Raises:
        ConfigError, PoolError, RecipeError, SignalError: something that it needs is wrong or missing.
        StudyError: the folder belongs to another study, or what it began with changed.
    """
    check_kind(journal, "study")
    if journal.events and journal.undecided:
        journal.start_again()  # settings, pool and files may have been mended since
    identity = study_identity(config)
    study = Study.create_or_open(config, out, journal, identity)
    if journal.cut_bytes:
        console.say(f"The journal's torn last line ({journal.cut_bytes} bytes) was cut off.", style="yellow")
    tell_stage("preparing pool and signals")
    change_budget(study)
    note_speed(journal, config)
    prune_checkpoints(study)  # what an interrupted run left
    prepared = prepare_journalled(config, study.path, journal, "study", identity)
    if prepared.benchmarks and not journal.of("benchmarks"):
        journal.append("benchmarks", findings=[finding.to_dict() for finding in prepared.benchmarks])
    incumbent = open_incumbent(config, prepared.table)  # a recipe that cannot be run here stops before the search
    if incumbent is not None:
        for said in lineage_remarks(incumbent.selected.lineage):
            console.say(styled(f"Incumbent, {incumbent.name}", "yellow"), f": {said}")
    _try_recipes(config, prepared.table)
    measure_floors(study, prepared.pool, executor, None if incumbent is None else incumbent.selected)
    settle_levels(study)
    learn_from_earlier(study, prepared.table, prepared.pool)
    return study, prepared, incumbent


def _try_recipes(config: StudyConfig, table: SignalTable) -> None:
    """Run the recipes that the search begins with and those of the final table, if there is to be one, so that none fails after
    hours.

    Raises:
        RecipeError, SignalError: one cannot be run on this pool; key and file are named.
    """
    final = config.final.recipes if config.final.enabled else ()
    for key, files in (("search.initial", config.search.initial), ("final.recipes", final)):
        for file in files:
            with naming(f"{key}: {file}"):
                materialize(load_recipe(file), table, seed=config.search.seed)
