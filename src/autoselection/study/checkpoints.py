"""Which saved models a study keeps.

What an evaluation leaves in ``work/LABEL-seedN/`` besides its items (models, adapters, the alternative trainer's files)
is removed as soon as its result is in the journal, unless ``evaluation.keep_model`` asks for it; with ``keep_best`` = k
the models of the k best trials and of the final winner stay (trainings for the verdict about the incumbent save none). So a
study holds at most k + batch models per seed while it searches, whatever its length.

Safe at any moment: the journal alone decides. Evaluations without a result there are left alone (they may be running,
or will run again and write over what is left), a trial once outside the k best never comes back, and a removal that
was cut off is finished the next time.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from autoselection.study.study import Study

#: Folders in an evaluation's work folder that hold weights or copies of data.
_HEAVY = ("model", "adapter", "llamafactory/data", "llamafactory/cache", "llamafactory/output")


def work_folder(study: Path, label: str, seed: int) -> Path:
    """Where the evaluation of ``label`` (a trial, or that of a row of the final table) with ``seed`` writes."""
    return study / "work" / f"{label}-seed{seed}"


def entry_label(number: int) -> str:
    """What a row of the final table is called in folders, by its number in the plan."""
    return f"test{number:02d}"


def prune_checkpoints(study: Study) -> list[Path]:
    """Remove what the policy does not keep, and return the removed folders."""
    kept = _kept_labels(study)
    removed = []
    for label, seed in sorted(_finished(study)):
        folder = work_folder(study.path, label, seed)
        keep = ("model",) if kept is None or label in kept else ()
        for name in _HEAVY:
            if name not in keep and (folder / name).is_dir():
                shutil.rmtree(folder / name)
                removed.append(folder / name)
    return removed


def _kept_labels(study: Study) -> set[str] | None:
    """Labels whose models stay; None for all."""
    settings = study.config.evaluation
    if not settings.keep_model:
        return set()
    if settings.keep_best is None:
        return None
    trials = study.trials
    # The place of a trial whose other seeds are still to come is not decided, and it takes nobody else's.
    pending = {trial.id for trial in trials if not trial.failure and len(trial.results) < len(settings.seeds)}
    scored = [
        (trial.score, index, trial.id)
        for index, trial in enumerate(trials)
        if trial.score is not None and trial.id not in pending
    ]
    # The later of two equal ones is the better one, as in Study.best.
    best = {name for _, _, name in sorted(scored, reverse=True)[: settings.keep_best]}
    winners = {label for plan in _plans(study) for label, entry in plan if entry["kind"] == "winner"}
    return best | pending | winners


def _finished(study: Study) -> set[tuple[str, int]]:
    """Labels and seeds with a result; not those that the last plan for test gives to rows it has yet to train on."""
    found = {(event["trial"], event["seed"]) for event in study.journal.of("evaluation")}
    found |= {(event["label"], event["seed"]) for event in study.journal.of("incumbent_evaluation")}
    plans = _plans(study)
    for event in study.journal.of("test"):
        labels = {entry["name"]: label for label, entry in plans[event.get("plan", 1) - 1]}
        found.add((labels[event["name"]], event["seed"]))
    if plans:
        results = study.final_results()
        seeds = study.journal.of("final_plan")[-1]["seeds"]
        found -= {(label, seed) for label, entry in plans[-1] for seed in seeds if seed not in results[entry["name"]]}
    return found


def _plans(study: Study) -> list[list[tuple[str, dict[str, Any]]]]:
    """The rows of every plan for test with their labels."""
    return [
        [(entry_label(number), entry) for number, entry in enumerate(plan["entries"])]
        for plan in study.journal.of("final_plan")
    ]
