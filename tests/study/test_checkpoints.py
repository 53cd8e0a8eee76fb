"""A study keeps the models its policy names and no others, whenever it is stopped."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from autoselection.config import load_config
from autoselection.study import Study, run_study
from autoselection.study.checkpoints import prune_checkpoints
from autoselection.study.journal import Journal


@pytest.fixture(autouse=True)
def _inline(ends: Any) -> None:
    ends(lambda _: None)


def saved(study: Path) -> set[str]:
    return {path.parent.name for path in study.glob("work/*/model") if (path / "model.safetensors").is_file()}


def best_of(study: Study, count: int) -> set[str]:
    scored = [(trial.score or 0.0, index, trial.id) for index, trial in enumerate(study.trials()) if trial.results]
    return {f"{name}-seed0" for _, _, name in sorted(scored, reverse=True)[:count]}


KEEP_TWO = ["evaluation.keep_model=true", "evaluation.keep_best=2", "incumbent.recipe=none"]


def test_the_best_models_stay_and_disk_use_is_bounded_all_along(
    study_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    out = tmp_path / "study"
    append = Journal.append

    def watch(self: Journal, event: str, **fields: Any) -> dict[str, Any]:
        counts.append(len(saved(out)))
        return append(self, event, **fields)

    monkeypatch.setattr(Journal, "append", watch)
    study = run_study(load_config(study_config, [*KEEP_TWO, "final.enabled=false"]), out)
    assert saved(out) == best_of(study, 2)
    assert max(counts) <= 2 + study.config.search.batch
    assert len(list(out.glob("work/t*-seed0/items"))) == 5  # answers of every item stay


def test_a_study_stopped_between_saving_and_removing_ends_with_the_same_models(
    study_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(study_config, [*KEEP_TWO, "final.enabled=false"])
    out = tmp_path / "study"

    class Stopped(Exception):
        pass

    def stop(study: Study) -> Sequence[Path]:
        if len(study.journal.of("evaluation")) == 4:
            raise Stopped
        return prune_checkpoints(study)

    monkeypatch.setattr("autoselection.study.run.prune_checkpoints", stop)
    with pytest.raises(Stopped):
        run_study(config, out)
    unfinished = out / "work" / "t005-seed0" / "model"  # half of a model that is still being written
    unfinished.mkdir(parents=True, exist_ok=True)
    (unfinished / "part").write_text("x")
    assert prune_checkpoints(Study(out))
    assert (unfinished / "part").is_file()  # no result: left alone
    monkeypatch.setattr("autoselection.study.run.prune_checkpoints", prune_checkpoints)
    study = run_study(config, out)
    assert saved(out) == best_of(study, 2)
    assert prune_checkpoints(study) == []


@pytest.mark.parametrize("kept", [True, False])
def test_all_models_stay_if_asked_and_none_otherwise(kept: bool, study_config: Path, tmp_path: Path) -> None:
    overrides = [f"evaluation.keep_model={kept}", "search.evaluations=2", "search.warmup=2", "final.enabled=false"]
    overrides += ["incumbent.recipe=full"]  # whose trainings, and those of the verdict, keep no model
    study = run_study(load_config(study_config, overrides), tmp_path / "study")
    assert saved(study.path) == ({"t001-seed0", "t002-seed0"} if kept else set())


def test_the_winner_of_the_final_table_keeps_its_model(study_config: Path, tmp_path: Path) -> None:
    overrides = [*KEEP_TWO[:1], "evaluation.keep_best=1", "search.evaluations=3", "search.warmup=2"]
    overrides += ["final.full=false", "final.single_operators=0", "incumbent.recipe=none"]
    study = run_study(load_config(study_config, overrides), tmp_path / "study")
    seeds = study.journal.of("final_plan")[0]["seeds"]
    assert saved(study.path) == best_of(study, 1) | {f"test00-seed{seed}" for seed in seeds}


def test_a_second_plan_for_test_keeps_what_it_is_still_training(finished_study: Study, tmp_path: Path) -> None:
    """Rows of another plan may have the folder of an earlier plan's rows."""
    copy = tmp_path / "copy"
    shutil.copytree(finished_study.path, copy)
    plan = finished_study.journal.of("final_plan")[0]
    number = next(i for i, entry in enumerate(plan["entries"]) if entry["kind"] == "single")
    folders = [copy / "work" / f"test{i:02d}-seed{plan['seeds'][0]}" / "model" for i in (number, number - 1)]
    for folder in folders:
        folder.mkdir(parents=True)
    entries = [dict(entry) for entry in plan["entries"]]
    entries[number] |= {"name": "another subset", "subset_hash": "0" * 32}
    with Journal(copy / "journal.jsonl") as journal:
        journal.append("final_plan", **{**{k: v for k, v in plan.items() if k not in ("seq", "time", "event")},
                                        "entries": entries})  # fmt: skip
    assert prune_checkpoints(Study(copy)) == [folders[1]]
    assert folders[0].is_dir()
