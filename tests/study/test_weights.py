"""A study whose tasks do not count alike: what decides, and what is only watched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoselection.compare import run_compare
from autoselection.config import load_config
from autoselection.errors import ConfigError
from autoselection.report import study_markdown
from autoselection.study import run_study
from autoselection.study.evidence import final_evidence
from autoselection.study.incumbent import current_verdict
from autoselection.tasks import overall

pytestmark = pytest.mark.usefixtures("inline_module")
SHORT = [
    "search.evaluations=3",
    "search.batch=1",
    "executor.workers=1",
    "final.single_operators=0",
    "final.random=false",
]


def test_a_guard_is_scored_and_reported_and_decides_nothing(study_config: Path, tmp_path: Path) -> None:
    study = run_study(load_config(study_config, [*SHORT, "tasks.1.weight=0"]), tmp_path / "study")
    for trial in study.trials:
        assert set(trial.tasks) == {"addition", "boolean"}
        assert trial.score == trial.tasks["addition"]
    best = study.best()
    assert best is not None and best.score == max(trial.tasks["addition"] for trial in study.trials)
    judged = current_verdict(study)
    assert judged is not None
    if "comparison" in judged:
        assert judged["measured"] == pytest.approx(
            judged["comparison"]["tasks"]["addition"] + judged["flattery"]["mean"]
        )
        assert set(judged["comparison"]["tasks"]) == {"addition", "boolean"}
    evidence = final_evidence(study)
    assert evidence is not None
    for comparison in evidence["comparisons"]:
        assert comparison["difference"]["estimate"] == pytest.approx(comparison["tasks"]["addition"])
        assert "boolean" in comparison["tasks"]
    assert "boolean (guard)" in study_markdown(study)
    assert "addition (weight 1)" in (study.path / "best" / "hf_dataset" / "README.md").read_text()


@pytest.mark.slow
def test_evaluations_are_known_whatever_the_weights(study_config: Path, tmp_path: Path) -> None:
    short = ["executor.workers=1", "final.enabled=false"]
    first = run_compare(load_config(study_config, short), ["random"], 2, [0], tmp_path / "compare")
    weighed = load_config(study_config, [*short, "tasks.0.weight=3"])
    second = run_compare(weighed, ["random"], 2, [0], tmp_path / "compare")
    assert (first.evaluations, second.evaluations) == (2, 0)
    assert first.methods[0].best_dev != second.methods[0].best_dev


def test_weights_are_a_mean(study_config: Path) -> None:
    config = load_config(study_config, ["tasks.0.weight=3"])
    assert overall({"addition": 1.0, "boolean": 0.0}, config.tasks) == pytest.approx(0.75)
    assert np.isclose(overall({"addition": 1.0, "boolean": 2.0}, config.tasks), 1.25)


def test_somebody_has_to_count(study_config: Path) -> None:
    with pytest.raises(ConfigError, match="every task has weight 0; give a weight above 0"):
        load_config(study_config, ["tasks.0.weight=0", "tasks.1.weight=0"])
