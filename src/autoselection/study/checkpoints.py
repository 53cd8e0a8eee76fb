"""Which saved models a study keeps.

What an evaluation leaves in ``work/LABEL-seedN/`` besides its items (models, adapters, the alternative trainer's files)
is removed as soon as its result is in the journal, unless ``evaluation.keep_model`` asks for it; with ``keep_best`` = k
the models of the k best subsets, of all their trials, and of the final winner stay (trainings for the verdict about the
incumbent save none). So a study holds the models of at most k + batch subsets while it searches, whatever its length.

Safe at any moment: the journal alone decides. Evaluations without a result there are left alone (they may be running,
or will run again and write over what is left), and a removal that was cut off, or that the system refused, is finished
the next time. A subset once outside the k best comes back only where a repeat (``search.repeats``) lowers one before it, or
raises itself: then it has the models of its later trials alone.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from autoselection.progress import console
from autoselection.study.study import REFERENCE, Study
from autoselection.study.trials import Trial, as_one
from autoselection.system import told

#: Folders in an evaluation's work folder that hold weights or copies of data.
_HEAVY = ("model", "adapter", "llamafactory/data", "llamafactory/cache", "llamafactory/output")

_said: set[Path] = set()


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
            if name not in keep and (folder / name).is_dir() and _removed(folder / name):
                removed.append(folder / name)
    return removed


def _removed(folder: Path) -> bool:
    """Remove a folder; where the system refuses, as for files on NFS that a process still has open, that is said once."""
    try:
        shutil.rmtree(folder)
    except OSError as error:
        if folder not in _said:
            _said.add(folder)
            what, _ = told(error, str(folder))
            console.say(
                f"{folder} is not removed yet ({what}): it is tried again after the next result.", style="yellow"
            )
        return False
    return True


def _kept_labels(study: Study) -> set[str] | None:
    """Labels whose models stay; None for all."""
    settings = study.config.evaluation
    if not settings.keep_model:
        return set()
    if settings.keep_best is None:
        return None
    groups: dict[str, list[Trial]] = {}
    for trial in study.trials:
        groups.setdefault(trial.record["subset_hash"], []).append(trial)
    # The place of a subset of which a result is still to come is not decided, and it takes nobody else's.
    pending = {subset for subset, group in groups.items() if not all(map(study.is_done, group))}
    scored = [
        (*study.merit(one), place, subset)
        for place, (subset, one) in enumerate((subset, as_one(group)) for subset, group in groups.items())
        if one.score is not None and subset not in pending
    ]
    # The later of two equal ones is the better one, as in Study.best.
    kept = pending | {subset for *_, subset in sorted(scored, reverse=True)[: settings.keep_best]}
    labels = {trial.id for subset in kept for trial in groups[subset]}
    return labels | {entry_label(0)}  # the winner's row comes first


def _finished(study: Study) -> set[tuple[str, int]]:
    """Labels and seeds with a result; of rows of the final table, one that counts for the last plan."""
    found = {(event["trial"], event["seed"]) for event in study.journal.of("evaluation")}
    found |= {(event["label"], event["seed"]) for event in study.journal.of("incumbent_evaluation")}
    found |= {(event["label"].replace(" ", "-"), event["seed"]) for event in study.journal.of(REFERENCE)}
    tested = study.final_results().values()  # in the order of the plan
    return found | {(entry_label(number), seed) for number, seeds in enumerate(tested) for seed in seeds}
