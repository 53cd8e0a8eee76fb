"""What a study knows of a subset on dev: by the search, and by the trainings before it and for the verdict."""

from __future__ import annotations

from autoselection.evaluation import EvaluationResult
from autoselection.study.study import REFERENCE, Study
from autoselection.study.trials import Trial


def dev_results(study: Study, subset_hash: str) -> dict[int, EvaluationResult]:
    """Every dev result of these rows by seed: of the search, and of the trainings before it and for the verdict."""
    return with_other_trainings(study, subset_hash, _trial_of(study, subset_hash))


def with_other_trainings(study: Study, subset_hash: str, trial: Trial | None) -> dict[int, EvaluationResult]:
    """The same where the subset's trial is at hand; None: it has none."""
    found = dict(trial.results) if trial is not None else {}
    for event in (*study.journal.of(REFERENCE), *study.journal.of("incumbent_evaluation")):
        if event["subset_hash"] == subset_hash:
            found[event["seed"]] = EvaluationResult.from_dict(event["result"])
    return dict(sorted(found.items()))


def dev_label(study: Study, subset_hash: str) -> str:
    """How trainings on these rows are called in folders and messages: by their trial if the search had one."""
    trial = _trial_of(study, subset_hash)
    return trial.id if trial is not None else f"incumbent-{subset_hash[:8]}"


def _trial_of(study: Study, subset_hash: str) -> Trial | None:
    return next((trial for trial in study.subsets() if trial.record["subset_hash"] == subset_hash), None)
