"""What a study leaves for its user: recipe and rows in the usual formats, ready to train on.

``best/`` holds the search's winner, unless the verdict says that the incumbent stays: then it holds the incumbent's rows,
and ``found/`` the winner's. ``verdict.txt`` in each says which and why.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection import files
from autoselection.evaluation import EvaluationResult
from autoselection.export import DatasetCard, export_hf_dataset, export_messages, export_sharegpt
from autoselection.progress import console
from autoselection.recipes import Lock, Recipe, RecipeBook, materialize, state_vector
from autoselection.study.dev_results import dev_results
from autoselection.study.incumbent import current_verdict, open_incumbent
from autoselection.study.prepare import Prepared
from autoselection.study.study import Study
from autoselection.study.trials import Trial
from autoselection.terminal import visible

BEST, FOUND, VERDICT, LOCK = "best", "found", "verdict.txt", "recipe.lock.yaml"


def write_outputs(study: Study, prepared: Prepared) -> None:
    """Write ``best/`` and, if the incumbent stays, ``found/``; running it again writes the same files."""
    best = study.best()
    judged = current_verdict(study)
    sentences = judged["sentences"] if judged else []
    stays = judged is not None and judged["exported"] == "incumbent"
    if stays:
        card, rows = _incumbent(study, prepared)
        _write(study.path / BEST, study, prepared, rows, replace(card, description=" ".join(sentences)))
    apart = stays and best is not None and judged is not None and judged["outcome"] != "same rows"
    if best is not None and (apart or not stays):
        card = replace(_card(study, best), description=" ".join(sentences) or None)
        _write(study.path / (FOUND if apart else BEST), study, prepared, study.rows(best.id), card)
    if not apart and (study.path / FOUND).is_dir():  # of an earlier verdict
        shutil.rmtree(study.path / FOUND)


def _write(folder: Path, study: Study, prepared: Prepared, rows: NDArray[np.int64], card: DatasetCard) -> None:
    folder.mkdir(exist_ok=True)
    recipe = Recipe.from_dict(card.recipe)
    recipe.dump(folder / "recipe.yaml")
    _lock(folder / LOCK, recipe, study, prepared, rows)
    ids = prepared.pool.ids
    files.write_text(folder / "ids.json", json.dumps([str(ids[int(row)]) for row in rows], ensure_ascii=False) + "\n")
    if card.description:
        files.write_text(folder / VERDICT, visible(card.description) + "\n")
    else:
        (folder / VERDICT).unlink(missing_ok=True)
    export = study.config.export
    reports = []
    if export.messages:
        reports.append(export_messages(prepared.pool, rows, folder / "messages.jsonl"))
    if export.sharegpt:
        reports.append(export_sharegpt(prepared.pool, rows, folder / "sharegpt", study.config.name))
    if export.hf_dataset:
        reports.append(export_hf_dataset(prepared.pool, rows, folder / "hf_dataset", card, overwrite=True))
    for said in (sentence for report in reports for sentence in report.sentences()):
        console.say(said, style="yellow")


def _lock(path: Path, recipe: Recipe, study: Study, prepared: Prepared, rows: NDArray[np.int64]) -> None:
    """Lock the rows to their recipe; not those that it does not select any more, as after an update of a package."""
    seed = study.config.search.seed
    found = materialize(recipe, prepared.table, seed=seed, book=RecipeBook())
    if np.array_equal(found.rows, rows):
        Lock.of(found, prepared.table, seed=seed, cosine=study.config.pool.contamination_cosine).write(path)
    else:
        path.unlink(missing_ok=True)


def _incumbent(study: Study, prepared: Prepared) -> tuple[DatasetCard, NDArray[np.int64]]:
    incumbent = open_incumbent(study.config, prepared.table)
    assert incumbent is not None  # there is a verdict about it
    selected = incumbent.selected
    scored = [result for result in dev_results(study, selected.subset_hash).values() if not result.failure]
    card = _described(
        study,
        selected.to_dict(),
        state_vector(selected.rows, prepared.table).to_dict(),
        {f"{incumbent.name}, dev": _mean_scores(scored)} if scored else {},
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


def _mean_scores(results: Sequence[EvaluationResult]) -> dict[str, float | None]:
    return {name: float(np.mean([result.scores[name] for result in results])) for name in results[0].scores}
