"""What run_study takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoselection.errors import ConfigError
from autoselection.study import run_study


def test_what_is_no_configuration_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not dict: StudyConfig"):
        run_study({}, tmp_path / "study")  # type: ignore[arg-type]
    assert not (tmp_path / "study").exists()
