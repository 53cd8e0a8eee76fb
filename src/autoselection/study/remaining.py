"""What a study has still to evaluate: all that its configuration asks for, without what its journal holds."""

from __future__ import annotations

from dataclasses import dataclass

from autoselection.config import StudyConfig
from autoselection.ledger import UNTRAINED
from autoselection.recipes import Recipe
from autoselection.study.dev_results import dev_results
from autoselection.study.evidence import asks_for_another_winner, unscored_best
from autoselection.study.final import changed_request
from autoselection.study.incumbent import incumbent_recipe, verdict_trainings
from autoselection.study.references import watched
from autoselection.study.study import FLOORS, REFERENCE, Study
from autoselection.study.trials import Trial

#: Rows of each training that is left; None where they are those of a subset that the search is still to find.
Trainings = tuple[int | None, ...]


@dataclass(frozen=True)
class Remaining:
    """What is left.

    Attributes:
        search: evaluations of the search (in full ones).
        references: whether guards and floors are still to be measured.
        comparison: of the winner with the incumbent.
        final: of the final table.
        untrained: rows of the final table that are scored without a training (count).
    """

    search: float
    references: bool
    comparison: Trainings
    final: Trainings
    untrained: int


def remaining(config: StudyConfig, rows: int, study: Study | None) -> Remaining:
    """What a study has still to evaluate.

    Args:
        rows: of the pool.
        study: as far as it is; None before it is begun.

    Raises:
        RecipeError: the incumbent's recipe, or one of the final table, cannot be read.
    """
    search = max(0.0, config.search.evaluations - (0.0 if study is None else _spent(study)))
    if study is not None and study.finished and config.search.evaluations == study.config.search.evaluations:
        search = 0.0  # it may have ended early
    measured = study is not None and bool(study.journal.of(FLOORS))
    final, untrained = _final(config, rows, study, search)
    return Remaining(
        search, bool(watched(config)) and not measured, _comparison(config, rows, study, search), final, untrained
    )


def _spent(study: Study) -> float:
    """Evaluations of the search that have their results (in full ones)."""
    seeds = len(study.config.evaluation.seeds)
    return sum(trial.fidelity * _share_done(trial, seeds) for trial in study.all_trials())


def _share_done(trial: Trial, seeds: int) -> float:
    return 1.0 if trial.failure else min(1.0, len(trial.results) / seeds)


def _comparison(config: StudyConfig, rows: int, study: Study | None, search: float) -> Trainings:
    named = incumbent_recipe(config)
    if named is None:
        return ()
    recipe, fresh, seeds = named[1], config.incumbent.fresh_seeds, len(config.evaluation.seeds)
    size = None if recipe.steps else rows
    plans = [] if study is None else study.journal.of("incumbent_plan")
    if study is None or not plans or Recipe.from_dict(plans[-1]["recipe"]).hash != recipe.hash:
        known = seeds if config.search.include_full and not recipe.steps else 0
        known = max(known, 0 if study is None else _measured(study))
    else:
        plan, best = plans[-1], study.best()
        stands = search == 0 and best is not None and best.id == plan["winner"] and len(plan["fresh_seeds"]) == fresh
        if stands:
            left = [subset for subset, seed in verdict_trainings(study) if seed not in dev_results(study, subset)]
            return tuple(plan["rows"] if subset == plan["incumbent_hash"] else None for subset in left)
        size, known = plan["rows"], len(dev_results(study, plan["incumbent_hash"]))
    return (None,) * fresh + (size,) * max(0, seeds + fresh - known)


def _measured(study: Study) -> int:
    """Trainings of the incumbent that floors were measured from before the search (count)."""
    return sum(event["subset_hash"] != UNTRAINED for event in study.journal.of(REFERENCE))


def _final(config: StudyConfig, rows: int, study: Study | None, search: float) -> tuple[Trainings, int]:
    """Trainings of the final table, and rows of it without one."""
    final = config.final
    if not final.enabled:
        return (), 0
    plans = [] if study is None else study.journal.of("final_plan")
    if (
        study is not None
        and plans
        and not changed_request(plans[-1], config)
        and not _planned_anew(study, config, search)
    ):
        plan, done = plans[-1], study.final_results()
        trained = [entry for entry in plan["entries"] if entry["subset_hash"] is not None]
        left = tuple(entry["rows"] for entry in trained for seed in plan["seeds"] if seed not in done[entry["name"]])
        return left, sum(entry["subset_hash"] is None and not done[entry["name"]] for entry in plan["entries"])
    named = incumbent_recipe(config)
    found = (
        1 + final.random + len(final.recipes) + final.single_operators + (named is not None and bool(named[1].steps))
    )
    sizes: Trainings = (None,) * found + (rows,) * final.full
    return sizes * len(final.seeds), int(final.base)


def _planned_anew(study: Study, config: StudyConfig, search: float) -> bool:
    """Whether test is scored once more for another winner, as a reason that is new asks for it."""
    return (search > 0 or unscored_best(study) is not None) and asks_for_another_winner(study, config)
