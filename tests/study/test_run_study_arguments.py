"""What run_study takes."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from autoselection.errors import ConfigError
from autoselection.study import run_study


def test_what_is_no_configuration_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not dict: StudyConfig"):
        run_study({}, tmp_path / "study")  # type: ignore[arg-type]
    assert not (tmp_path / "study").exists()


def test_a_worker_process_that_reads_a_script_begins_no_study(
    study_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(ConfigError, match='under if __name__ == "__main__":'):
        run_study(study_config, tmp_path / "study")
    assert not (tmp_path / "study").exists()
