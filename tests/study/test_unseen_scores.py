"""What the surrogate does not see of a search's operators is said on the screen and in the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.study.test_budget import by_rows, config_of

from autoselection.report import study_markdown
from autoselection.search.surrogate_inputs import SurrogateInputs
from autoselection.study import run_study


def test_what_is_not_seen_is_said_once_and_reported(
    study_config: Path, tmp_path: Path, ends: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends(by_rows)
    said = "The surrogate does not see what silent cuts by."
    monkeypatch.setattr(SurrogateInputs, "unseen", (said,))
    study = run_study(config_of(study_config, 2, "final.enabled=false"), tmp_path / "study")
    assert capsys.readouterr().err.count(said) == 1
    assert study_markdown(study).count(said) == 1
