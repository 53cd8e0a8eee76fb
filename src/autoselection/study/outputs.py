"""What a study leaves for its user: recipe and rows in the usual formats, ready to train on.

``best/`` holds the search's winner, unless the verdict says that the incumbent stays: then it holds the incumbent's rows,
and ``found/`` the winner's. ``verdict.txt`` in each says which and why.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection import files
from autoselection.evaluation.job import mean_scores
from autoselection.export import DatasetCard, export_hf_dataset, export_messages, export_sharegpt
from autoselection.progress import console
from autoselection.recipes import Lock, Recipe, RecipeBook, materialize, state_vector
from autoselection.study.dev_results import dev_results
from autoselection.study.incumbent import current_verdict, open_incumbent
from autoselection.study.prepare import Prepared
from autoselection.study.study import Study
from autoselection.study.trials import Trial
from autoselection.terminal import visible

BEST, FOUND = "best", "found"
RECIPE, LOCK, IDS, VERDICT = "recipe.yaml", "recipe.lock.yaml", "ids.json", "verdict.txt"
MESSAGES, SHAREGPT, HF_DATASET = "messages.jsonl", "sharegpt", "hf_dataset"
_FORMS = frozenset({RECIPE, LOCK, IDS, VERDICT, MESSAGES, SHAREGPT, HF_DATASET})


def write_outputs(study: Study, prepared: Prepared) -> None:
    """Write ``best/`` and, if the incumbent stays, ``found/``; running it again writes the same files.

    All of it takes its place when all is written. What an earlier call wrote there and this one does not is removed; what others
    put beside it stays.
    """
    best = study.best()
    judged = current_verdict(study)
    sentences = judged["sentences"] if judged else []
    stays = judged is not None and judged["exported"] == "incumbent"
    written: dict[str, set[str]] = {}
    with files.together():
        if stays:
            card, rows = _incumbent(study, prepared)
            card = replace(card, description=" ".join(sentences))
            written[BEST] = _write(study.path / BEST, study, prepared, rows, card)
        apart = stays and best is not None and judged is not None and judged["outcome"] != "same rows"
        if best is not None and (apart or not stays):
            card = replace(_card(study, best), description=" ".join(sentences) or None)
            name = FOUND if apart else BEST
            written[name] = _write(study.path / name, study, prepared, study.rows(best.id), card)
    if BEST in written:
        _remove(study.path / BEST, _FORMS - written[BEST])
    _remove(study.path / FOUND, _FORMS - written.get(FOUND, set()))


def _remove(folder: Path, names: Set[str]) -> None:
    """Remove what an earlier call wrote, and the folder if nothing is in it then."""
    for path in (folder / name for name in names):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.unlink() if folder.is_symlink() else folder.rmdir()


def _write(folder: Path, study: Study, prepared: Prepared, rows: NDArray[np.int64], card: DatasetCard) -> set[str]:
    """Write the rows in every form that is asked for; the names of files and folders in ``folder``."""
    recipe = Recipe.from_dict(card.recipe)
    recipe.dump(folder / RECIPE)
    ids = prepared.pool.ids
    files.write_text(folder / IDS, json.dumps([str(ids[int(row)]) for row in rows], ensure_ascii=False) + "\n")
    written = {RECIPE, IDS}
    if (lock := _lock(recipe, study, prepared, rows)) is not None:
        lock.write(folder / LOCK)
        written.add(LOCK)
    if card.description:
        files.write_text(folder / VERDICT, visible(card.description) + "\n")
        written.add(VERDICT)
    export = study.config.export
    reports = []
    if export.messages:
        reports.append(export_messages(prepared.pool, rows, folder / MESSAGES))
        written.add(MESSAGES)
    if export.sharegpt:
        with files.whole_folder(folder / SHAREGPT) as part:  # without the file of an earlier name
            report = export_sharegpt(prepared.pool, rows, part, study.config.name)
        reports.append(replace(report, path=folder / SHAREGPT))
        written.add(SHAREGPT)
    if export.hf_dataset:
        reports.append(export_hf_dataset(prepared.pool, rows, folder / HF_DATASET, card, overwrite=True))
        written.add(HF_DATASET)
    for said in (sentence for report in reports for sentence in report.sentences()):
        console.say(said, style="yellow")
    return written


def _lock(recipe: Recipe, study: Study, prepared: Prepared, rows: NDArray[np.int64]) -> Lock | None:
    """Lock the rows to their recipe; None where it does not select them any more, as after an update of a package."""
    seed = study.config.search.seed
    found = materialize(recipe, prepared.table, seed=seed, book=RecipeBook())
    if not np.array_equal(found.rows, rows):
        return None
    return Lock.of(found, prepared.table, seed=seed, cosine=study.config.pool.contamination_cosine)


def _incumbent(study: Study, prepared: Prepared) -> tuple[DatasetCard, NDArray[np.int64]]:
    incumbent = open_incumbent(study.config, prepared.table)
    assert incumbent is not None  # there is a verdict about it
    selected = incumbent.selected
    scored = [result for result in dev_results(study, selected.subset_hash).values() if not result.failure]
    card = _described(
        study,
        selected.to_dict(),
        state_vector(selected.rows, prepared.table).to_dict(),
        {f"{incumbent.name}, dev": mean_scores(scored)} if scored else {},
    )
    return card, selected.rows


def _card(study: Study, best: Trial) -> DatasetCard:
    return _described(study, best.record, best.record["state"], {f"{best.id}, dev": dict(best.tasks)})


def _described(
    study: Study, selected: Mapping[str, Any], state: Mapping[str, Any], dev: Mapping[str, Mapping[str, float | None]]
) -> DatasetCard:
    scores = {name: dict(values) for name, values in dev.items()}
    tasks = study.config.tasks
    for name, results in study.final_results().items():
        for seed, result in results.items():
            scores[f"{name}, test, seed {seed}"] = {} if result.failure else dict(result.scores)
    return DatasetCard(
        title=study.config.name,
        recipe=selected["recipe"],
        recipe_hash=selected["recipe_hash"],
        subset_hash=selected["subset_hash"],
        lineage=selected["lineage"],
        state=state,
        scores=scores,
        weights={} if len({task.weight for task in tasks}) < 2 else {task.name: task.weight for task in tasks},
        scores_about="Each task in its search metric, higher is better (nll counts negative). "
        "dev guided the search; test was scored once, after it.",
        base_model=study.config.model.path,
        seed=study.config.search.seed,
    )
