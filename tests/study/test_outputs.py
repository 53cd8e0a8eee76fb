"""What a study writes for its user: wholly of its present winner, in the forms that are asked for, or as it was before."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.study.small_study import evaluate_here

from autoselection.config import StudyConfig
from autoselection.errors import StudyError
from autoselection.study import Study, outputs, run_study


@pytest.fixture
def copied(finished_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    evaluate_here(monkeypatch)
    return Study(Path(shutil.copytree(finished_study.path, tmp_path / "study")))


def exporting(study: Study, name: str, **export: bool) -> StudyConfig:
    return study.config.model_copy(update={"name": name, "export": study.config.export.model_copy(update=export)})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_forms_that_are_not_asked_for_any_more_go_and_what_others_put_there_stays(copied: Study) -> None:
    best = copied.path / "best"
    assert (best / "sharegpt" / "small.jsonl").is_file()
    (best / "model").mkdir()
    (best / "model" / "weights").write_text("theirs")
    run_study(exporting(copied, "renamed", messages=False, hf_dataset=False), copied.path)
    assert sorted(path.name for path in (best / "sharegpt").iterdir()) == ["dataset_info.json", "renamed.jsonl"]
    assert "small" not in (best / "sharegpt" / "dataset_info.json").read_text()
    names = {path.name for path in best.iterdir()}
    assert {"ids.json", "recipe.yaml", "sharegpt", "model"} <= names and not names & {"messages.jsonl", "hf_dataset"}
    run_study(exporting(copied, "renamed", sharegpt=False), copied.path)
    assert not (best / "sharegpt").exists() and (best / "model" / "weights").read_text() == "theirs"


def test_found_goes_where_the_winner_is_exported_and_what_others_put_there_stays(copied: Study) -> None:
    found = copied.path / "found"
    shutil.copytree(copied.path / "best", found, dirs_exist_ok=True)
    none = copied.config.incumbent.model_copy(update={"recipe": "none"})
    config = copied.config.model_copy(update={"incumbent": none})
    run_study(config, copied.path)
    assert not found.exists()
    found.mkdir()
    (found / "notes.txt").write_text("theirs")
    (found / "ids.json").write_text("[]")
    run_study(config, copied.path)
    assert [path.name for path in found.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("fails", ["export_sharegpt", "export_hf_dataset"])
def test_an_export_that_fails_leaves_the_former_one_whole_and_the_study_unfinished(
    fails: str, copied: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = copied.path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert b'"finished"' in lines[-1]
    journal.write_bytes(b"".join(lines[:-1]))
    before = contents(copied.path / "best")
    config = exporting(copied, "renamed")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(outputs, fails, full)
        with pytest.raises(StudyError, match="no space is left"):
            run_study(config, copied.path)
    assert contents(copied.path / "best") == before and not Study(copied.path).finished
    assert run_study(config, copied.path).finished and contents(copied.path / "best") != before
