"""What a study leaves for its user: the winner's recipe and rows in the usual formats, ready to train on."""

from __future__ import annotations

import json

from autoselection.export import DatasetCard, export_hf_dataset, export_messages, export_sharegpt
from autoselection.recipes import Recipe
from autoselection.study.prepare import Prepared
from autoselection.study.study import Study, Trial


def write_outputs(study: Study, prepared: Prepared) -> None:
    """Write ``best/`` (recipe, row ids, exports); running it again writes the same files."""
    best = study.best()
    if best is None:
        return
    folder = study.path / "best"
    folder.mkdir(exist_ok=True)
    rows = study.rows(best.id)
    Recipe.from_dict(best.record["recipe"]).dump(folder / "recipe.yaml")
    ids = prepared.pool.ids
    (folder / "ids.json").write_text(
        json.dumps([str(ids[int(row)]) for row in rows], ensure_ascii=False) + "\n", encoding="utf-8"
    )
    export = study.config.export
    if export.messages:
        export_messages(prepared.pool, rows, folder / "messages.jsonl")
    if export.sharegpt:
        export_sharegpt(prepared.pool, rows, folder / "sharegpt", study.config.name)
    if export.hf_dataset:
        export_hf_dataset(prepared.pool, rows, folder / "hf_dataset", _card(study, best), overwrite=True)


def _card(study: Study, best: Trial) -> DatasetCard:
    scores: dict[str, dict[str, float | None]] = {f"{best.id}, dev": dict(best.tasks)}
    for name, results in study.final_results().items():
        for seed, result in results.items():
            scores[f"{name}, test, seed {seed}"] = {} if result.failure else dict(result.scores)
    return DatasetCard(
        title=study.config.name,
        recipe=best.record["recipe"],
        recipe_hash=best.record["recipe_hash"],
        subset_hash=best.record["subset_hash"],
        lineage=best.record["lineage"],
        state=best.record["state"],
        scores=scores,
        scores_about="Each task in its search metric, higher is better (nll counts negative). "
        "dev guided the search; test was scored once, after it.",
        base_model=study.config.model.path,
        seed=study.config.search.seed,
    )
