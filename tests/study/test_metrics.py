"""A study in the one metric whose items were not kept: verdict, final table and comparison come to numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoselection.compare import run_compare
from autoselection.config import load_config
from autoselection.study import run_study
from autoselection.study.evidence import final_evidence
from autoselection.study.incumbent import current_verdict


@pytest.mark.slow
def test_losses_per_byte_are_compared_like_any_other_score(study_config: Path, tmp_path: Path) -> None:
    config = load_config(
        study_config,
        [
            "tasks.0.metric=nll_per_byte", "tasks.1.metric=nll_per_byte", "search.evaluations=2", "search.batch=2",
            "final.single_operators=0", "executor.workers=1",
        ],
    )  # fmt: skip
    study = run_study(config, tmp_path / "study")
    judged = current_verdict(study)
    assert judged is not None
    assert judged["outcome"] in ("better", "worse", "no difference")
    best = study.best()
    assert best is not None
    results = list(best.results.values())
    for result in results:
        for task, score in result.scores.items():
            values = result.items[task]["nll_per_byte"]
            assert score == pytest.approx(-sum(values) / len(values), abs=1e-5)
    evidence = final_evidence(study)
    assert evidence is not None
    assert {found["baseline"] for found in evidence["comparisons"]} >= {"base model", "full pool"}
    found = run_compare(config, ["random", "single-operators"], 2, [0], tmp_path / "compare")
    (other,) = [method for method in found.methods if method.method != "random"]
    assert other.difference is not None and other.test is not None
    assert other.difference.items == 24  # twelve of each task
