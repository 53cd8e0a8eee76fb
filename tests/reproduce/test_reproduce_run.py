from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autoselection.errors import ConfigError, StudyError
from autoselection.reproduce import ReproductionConfig, run_reproduction, write_paper
from autoselection.reproduce.rows import AUTOSELECTION, BASE, BEST_SINGLE, FULL

SINGLES = ["truncate_samples", "ngram_entropy, high end", "ngram_entropy, low end"]


def _table(document: dict[str, Any], section: str, metric: str = "score") -> dict[str, Any]:
    tables = document["models"][0]["tables"]
    return next(table for table in tables if (table["section"], table["metric"]) == (section, metric))


def _events(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "base" / "journal.jsonl").read_text().splitlines()]


def test_all_sections_from_one_configuration(reproduction: ReproductionConfig, arithmetic: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    document = run_reproduction(reproduction, out)
    assert document["models"][0]["missing"] == []
    rows = [row["method"] for row in _table(document, "main")["rows"]]
    searched = ["random recipe search", "random top-k"]
    assert rows == [BASE, FULL, *searched, *SINGLES, BEST_SINGLE, "fixed default: entropy-half", AUTOSELECTION]
    ablation = [row["method"] for row in _table(document, "ablation")["rows"]]
    assert ablation == [AUTOSELECTION, "without GP", "without union"]
    assert _table(document, "ood")["tasks"] == ["reversing"]
    assert [row["method"] for row in _table(document, "transfer")["rows"]] == [
        BASE, FULL, "random recipe search", "fixed default: entropy-half", AUTOSELECTION,
    ]  # fmt: skip
    for table in document["models"][0]["tables"]:
        for row in table["rows"]:
            assert row["average"]["ci95"][0] <= row["average"]["value"] <= row["average"]["ci95"][1]
            assert (row["autoselection_minus"] is None) == (row["method"] == AUTOSELECTION)
    assert document["models"][0]["correlation"]["all"]["subsets"] >= 8
    assert json.loads((out / "paper.json").read_text()) == document
    text = (out / "paper.md").read_text()
    assert "Structural ablation" in text and "No significant difference" in text and "Missing" not in text
    value = document["rows"][0]
    assert list(value) == ["model", "section", "method", "task", "seed", "split", "metric", "value"]
    assert {row["split"] for row in document["rows"]} == {"dev", "test"}


def test_searches_see_dev_only_and_test_is_planned_before(
    reproduction: ReproductionConfig, arithmetic: Any, tmp_path: Path
) -> None:
    run_reproduction(reproduction, tmp_path / "out", ["main"])
    events = _events(tmp_path / "out")
    kinds = [event["event"] if event["event"] != "evaluation" else event["split"] for event in events]
    plan = kinds.index("test_plan")
    assert "test" not in kinds[:plan] and "dev" not in kinds[plan:]
    seeds = {split: {job.seed for job in arithmetic.jobs if job.split == split} for split in ("dev", "test")}
    assert seeds == {"dev": {0, 1}, "test": {0, 100, 101}}  # 0: the base model's one pass
    assert all(len(job.tasks) == (3 if job.split == "test" else 2) for job in arithmetic.jobs)
    trained = [(job.split, job.seed, None if job.rows is None else tuple(job.rows)) for job in arithmetic.jobs]
    assert len(trained) == len(set(trained))


def test_a_run_that_lost_the_machine_goes_on_and_ends_alike(
    reproduction: ReproductionConfig, arithmetic: Any, tmp_path: Path
) -> None:
    whole = run_reproduction(reproduction, tmp_path / "whole", ["main", "ablation"])
    made = len(arithmetic.jobs)
    arithmetic.jobs.clear()
    arithmetic.lost = made // 2
    with pytest.raises(StudyError, match="run the same command again"):
        run_reproduction(reproduction, tmp_path / "cut", ["main", "ablation"])
    partial = write_paper(reproduction, tmp_path / "cut")
    assert any("main" in sentence or "ablation" in sentence for sentence in partial["models"][0]["missing"])
    arithmetic.lost = None
    again = run_reproduction(reproduction, tmp_path / "cut", ["main", "ablation"])
    assert len(arithmetic.jobs) == made
    assert again["rows"] == whole["rows"] and again["models"][0]["tables"] == whole["models"][0]["tables"]
    arithmetic.jobs.clear()
    run_reproduction(reproduction, tmp_path / "cut", ["main", "ablation"])
    assert arithmetic.jobs == []


def test_test_is_not_scored_again_by_other_settings(
    reproduction: ReproductionConfig, arithmetic: Any, tmp_path: Path
) -> None:
    run_reproduction(reproduction, tmp_path / "out", ["main"])
    more = reproduction.model_copy(update={"budget": 4})
    with pytest.raises(StudyError, match="other settings"):
        run_reproduction(more, tmp_path / "out", ["main"])


def test_transfer_needs_the_main_table_and_its_model(
    reproduction: ReproductionConfig, arithmetic: Any, tmp_path: Path
) -> None:
    with pytest.raises(StudyError, match="run the section main first"):
        run_reproduction(reproduction, tmp_path / "out", ["transfer"])
    model = reproduction.models[0]
    gone = model.transfer[0].model_copy(update={"model": str(tmp_path / "none"), "hint": "make it with: make models"})
    changed = model.model_copy(update={"transfer": (gone,)})
    absent = reproduction.model_copy(update={"models": (changed,)})
    with pytest.raises(
        ConfigError, match=r"Transfer to larger: There is no model folder .* Make it with: make models\."
    ):
        run_reproduction(absent, tmp_path / "out", ["main", "transfer"])
    optional = gone.model_copy(update={"optional": True})
    left_out = reproduction.model_copy(update={"models": (model.model_copy(update={"transfer": (optional,)}),)})
    document = run_reproduction(left_out, tmp_path / "out", ["main", "transfer"])
    assert document["models"][0]["missing"][-1] == "transfer to larger: nothing was trained."


def test_an_unknown_section_is_one_sentence(reproduction: ReproductionConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'ablation'"):
        run_reproduction(reproduction, tmp_path, ["ablations"])


def test_nothing_yet_is_said(reproduction: ReproductionConfig, tmp_path: Path) -> None:
    document = write_paper(reproduction, tmp_path)
    assert document["rows"] == [] and len(document["models"][0]["missing"]) == 3
    assert "have not ended" in (tmp_path / "paper.md").read_text()
