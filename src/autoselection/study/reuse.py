"""What earlier studies are good for: their recipes as first evaluations of a new search."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from autoselection.errors import AutoSelectionError, RecipeError, SignalError, StudyError
from autoselection.recipes import Recipe, materialize
from autoselection.search import SearchConfig
from autoselection.signals import SignalTable
from autoselection.study.kind import JOURNAL
from autoselection.study.study import Study

NOTHING: dict[str, Any] = {"recipes": [], "passed_over": {}}
"""What a study begins with that names no earlier one."""


def warm_start(table: SignalTable, config: SearchConfig) -> dict[str, Any]:
    """Recipes of earlier studies that a search starts with, chosen before anything is evaluated.

    The studies' best trials take turns (each study's best, each study's second best, ...); a recipe is taken if this
    pool has its signals, its subset is large enough, and no recipe before selects the same rows.

    Returns:
        Plain data for the journal: ``recipes`` (``study``, ``trial``, ``score`` and ``subset_hash`` there, ``rows`` here,
        ``recipe``) and ``passed_over`` (why a recipe before the last taken one was not taken: count).

    Raises:
        StudyError: a folder of ``search.warm_start`` holds no study, or one without a scored trial.
    """
    taken: list[dict[str, Any]] = []
    passed: dict[str, int] = {}
    hashes: set[str] = set()
    ranked = [ranked_trials(path) for path in config.warm_start]
    for trial in (trial for turn in zip_longest(*ranked) for trial in turn if trial is not None):
        if len(taken) == config.warm_start_probes:
            break
        if len(trial["recipe"]["steps"]) > config.max_steps:
            passed["more steps than max_steps"] = passed.get("more steps than max_steps", 0) + 1
            continue
        try:
            found = materialize(Recipe.from_dict(trial["recipe"]), table, seed=config.seed)
        except (RecipeError, SignalError):
            problem = "needs an operator or a signal that is not here"
        else:
            if found.distinct < config.least_rows(table):
                problem = "below min_rows"
            elif found.subset_hash in hashes:
                problem = "same subset as one before"
            else:
                hashes.add(found.subset_hash)
                taken.append({**trial, "rows": len(found.rows)})
                continue
        passed[problem] = passed.get(problem, 0) + 1
    return {"recipes": taken, "passed_over": passed}


def warm_recipes(chosen: dict[str, Any]) -> list[Recipe]:
    """The recipes of :func:`warm_start`, named by where they come from."""
    return [
        Recipe.from_dict({**entry["recipe"], "name": f"{entry['trial']} of {Path(entry['study']).name}"})
        for entry in chosen["recipes"]
    ]


def ranked_trials(path: Path) -> Sequence[dict[str, Any]]:
    """Scored trials of a study, best first (ties: the earlier one).

    Raises:
        StudyError: the folder holds no study, or one without a scored trial.
    """
    if not (path / JOURNAL).exists():
        raise StudyError(f"search.warm_start: {path} holds no study (no {JOURNAL}).")
    try:
        trials = Study(path).subsets()
    except AutoSelectionError as error:
        raise StudyError(f"search.warm_start: {path}: {error}") from error
    scored = [
        {
            "study": str(path),
            "trial": trial.id,
            "score": trial.score,
            "recipe": dict(trial.record["recipe"]),
            "subset_hash": trial.record["subset_hash"],
        }
        for trial in trials
        if trial.score is not None
    ]
    if not scored:
        raise StudyError(f"search.warm_start: the study in {path} has no scored trial.")
    return sorted(scored, key=lambda trial: (-trial["score"], trial["trial"]))
