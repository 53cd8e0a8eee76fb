"""What a study decided before, from its journal: it goes on from there, under a later version of the package too.

A later version may decide otherwise. What was decided and paid for stands; the later version decides what comes next.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import RecipeError, SignalError, StudyError
from autoselection.recipes import Recipe, materialize, ordered_hash
from autoselection.search import Candidate
from autoselection.search.records import Decision, RecordedRound, Round
from autoselection.signals import SignalTable
from autoselection.study.study import Study
from autoselection.study.trials import Trial


def recorded_rounds(study: Study, table: SignalTable) -> Iterator[RecordedRound]:
    """The rounds of the journal.

    Raises:
        StudyError: the rows of a trial are lost, and its recipe gives others.
    """
    trials = study.all_trials()
    for event in study.journal.of("round"):
        told = event["round"]
        asked = [trials[decision["candidate"]] for decision in told["decisions"]]
        candidates = (Candidate.from_dict(trial.record, _rows(study, trial, table)) for trial in asked)
        yield RecordedRound(tuple(candidates), told.get("stopped"))


def complete_rounds(study: Study) -> None:
    """Journal the round of a recipe that an agent brought where only its trial got there.

    The search would decide its own trials again; an agent's would be lost, and the next one would take its number.
    """
    told = study.journal.of("round")
    rounds = {decision["candidate"] for event in told for decision in event["round"]["decisions"]}
    for trial in study.all_trials():
        if trial.record["origin"] == "agent" and trial.id not in rounds:
            parent = trial.record["parent"]
            decision = Decision(trial.id, "agent", parent, 1, {}, 1, (), "proposed; the round was interrupted")
            number = len(study.journal.of("round")) + 1
            study.journal.append("round", round=Round.bare(number, [decision]).to_dict())


def _rows(study: Study, trial: Trial, table: SignalTable) -> NDArray[np.int64]:
    """Rows of a trial in their order; made again if their file is lost or damaged."""
    try:
        return study.rows(trial.id)
    except StudyError:
        pass
    try:
        rows = materialize(Recipe.from_dict(trial.record["recipe"]), table, seed=study.config.search.seed).rows
    except (RecipeError, SignalError) as error:
        raise StudyError(
            f"{study.path}: the rows of {trial.id} are lost and cannot be selected again: {error}"
        ) from error
    if ordered_hash(rows) != trial.record["ordered_hash"]:
        raise StudyError(
            f"{study.path}: the rows of {trial.id} are lost, and its recipe gives another subset for {trial.id} than the one "
            "evaluated: restore them from a copy, or start a new study."
        )
    return rows
