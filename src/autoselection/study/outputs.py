"""What a study leaves for its user: the winner's recipe and rows in the usual formats, and the report."""

from __future__ import annotations

import json
from pathlib import Path

from autoselection.export import DatasetCard, export_hf_dataset, export_messages, export_sharegpt
from autoselection.recipes import Recipe
from autoselection.report import study_markdown
from autoselection.study.prepare import Prepared
from autoselection.study.study import Study, Trial


def write_outputs(study: Study, prepared: Prepared) -> None:
    """Write ``best/`` (recipe, row ids, exports) and ``report.md``; running it again writes the same files."""
    best = study.best()
    (study.path / "report.md").write_text(study_markdown(study), encoding="utf-8")
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
        export_hf_dataset(prepared.pool, rows, folder / "hf_dataset", _card(study, best, folder))


def _card(study: Study, best: Trial, folder: Path) -> DatasetCard:
    test = {
        name: {str(seed): result.score for seed, result in results.items() if not result.failure}
        for name, results in study.final_results().items()
    }
    return DatasetCard(
        name=study.config.name,
        recipe_yaml=(folder / "recipe.yaml").read_text(encoding="utf-8"),
        lineage=best.record["lineage"],
        state=best.record["state"],
        dev_scores=best.tasks,
        test_scores=test,
    )
