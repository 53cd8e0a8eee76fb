"""``explain`` and ``diff`` of a finished study and its trials."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from test_cli import document
from typer.testing import CliRunner

from autoselection.cli import app
from autoselection.errors import AutoSelectionError, StudyError
from autoselection.study import Study
from autoselection.study.named_subsets import open_named_subset


def test_a_study_explains_its_rows_with_its_own_pool_seed_and_tasks(finished_study: Study) -> None:
    named = open_named_subset(str(finished_study.path))
    best = finished_study.best()
    assert named.rows.tolist() == finished_study.rows(best.id).tolist() and not named.remarks
    assert named.scores["score"] == best.score and set(named.tasks) == {
        task.name for task in finished_study.config.tasks
    }
    dropped = next(row for row in range(400) if row not in set(named.rows.tolist()))
    told = document("explain", finished_study.path, str(dropped))
    (row,) = told["rows"]
    assert row["row"] == dropped and row["fate"]["dropped_step"] >= 1 and row["target_items"]
    assert {"ifd", "n_tokens"} <= set(row["signals"])


def test_trials_of_a_study_are_compared_with_their_scores(finished_study: Study, tmp_path: Path) -> None:
    first, second = (trial.id for trial in finished_study.trials[:2])
    path = finished_study.path
    found = document("diff", f"{path}:{first}", f"{path}:{second}")
    assert set(found["both"]) == set(finished_study.rows(first).tolist()) & set(finished_study.rows(second).tolist())
    assert found["scores"]["score"] == [finished_study.trials[0].score, finished_study.trials[1].score]
    (tmp_path / "recipe.yaml").write_text(json.dumps(finished_study.trials[0].recipe.to_dict()))
    again = document("diff", tmp_path / "recipe.yaml", f"{path}:{first}", "--pool", path)
    assert again["only_first"] == again["only_second"] == []


def test_a_trial_that_is_not_there_is_named(finished_study: Study) -> None:
    with pytest.raises(StudyError, match="There is no trial 't099'"):
        open_named_subset(f"{finished_study.path}:t099")


def test_the_rows_of_the_winner_are_locked(finished_study: Study, tmp_path: Path) -> None:
    for folder in (finished_study.path / "best", finished_study.path / "found"):
        if not folder.is_dir():
            continue
        lock = folder / "recipe.lock.yaml"
        for place in (finished_study.path, finished_study.pool.path):
            out = tmp_path / f"{folder.name}-{place.name}.jsonl"
            document("apply", "--locked", lock, "--pool", place, "--out", out)
            written = [json.loads(line)["id"] for line in out.read_text().splitlines()]
            assert written == json.loads((folder / "ids.json").read_text())


def test_a_study_without_its_target_files_is_explained_and_compared(finished_study: Study, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(finished_study.path, tmp_path / "moved"))
    settings = yaml.safe_load((moved / "config.yaml").read_text())
    for task in settings["tasks"]:
        task["target"] = str(tmp_path / "nowhere" / "target.jsonl")
    (moved / "config.yaml").write_text(yaml.safe_dump(settings))
    done = CliRunner().invoke(app, ["explain", str(moved), "0", "--json"])
    said = json.loads(done.stdout)["warnings"]
    assert done.exit_code == 0 and len(said) == 1 and all(task["name"] in said[0] for task in settings["tasks"])
    assert "No target items near the rows are told of" in said[0] and "does not exist" in said[0]
    done = CliRunner().invoke(app, ["diff", str(moved), str(moved), "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout)["warnings"] == []
    done = CliRunner().invoke(app, ["explain", str(moved), "0", "--config", str(moved / "config.yaml")])
    assert isinstance(done.exception, AutoSelectionError) and "does not exist" in str(done.exception)
