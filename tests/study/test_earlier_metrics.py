"""A study that an earlier version ran, without accuracy beside its losses, goes on: what it evaluated is the same evaluation."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml
from journals import write_unchecked

from autoselection.config import load_config
from autoselection.evaluation import EvaluationJob
from autoselection.study import Study, run_study

LATER = ("accuracy", "option_likelihood", "guessing")
EVALUATED = ("evaluation", "incumbent_evaluation", "test")


def _earlier(study: Study, folder: Path, trials: int) -> Path:
    """The study as an earlier version left it when it was stopped after so many trials."""
    shutil.copytree(study.path, folder)
    shutil.rmtree(folder / "best")
    events: list[dict[str, Any]] = []
    evaluated = 0
    for event in study.journal.events:
        if event["event"] in EVALUATED:
            evaluated += 1
            for found in (event["result"]["metrics"]["boolean"], event["result"]["items"]["boolean"]):
                for name in LATER:
                    found.pop(name, None)
        events.append(dict(event))
        if evaluated == trials:
            break
    write_unchecked(folder / "journal.jsonl", events)
    document = yaml.safe_load((folder / "config.yaml").read_text())
    del document["evaluation"]["exact_match"]
    (folder / "config.yaml").write_text(yaml.safe_dump(document))
    return folder


def test_a_study_of_an_earlier_version_goes_on_with_what_it_evaluated(
    finished_study: Study, study_config: Path, tmp_path: Path, ends: Any
) -> None:
    expected = [trial.score for trial in finished_study.trials]
    folder = _earlier(Study(finished_study.path), tmp_path / "earlier", trials=3)
    jobs: list[EvaluationJob] = []
    ends(jobs.append)
    study = run_study(load_config(study_config, ["final.enabled=false"]), folder)
    assert [trial.score for trial in study.trials] == expected
    of_trials = [job for job in jobs if job.split == "dev" and job.work_dir.name.startswith("t0") and job.seed == 0]
    assert len(of_trials) == len(expected) - 3
    kept, *_, new = [next(iter(trial.results.values())).metrics["boolean"] for trial in study.trials]
    assert "accuracy" not in kept and 0 <= new["accuracy"] <= 1 and new["guessing"] >= 0.5
    # What is asked besides changes no evaluation either.
    before = len(jobs)
    again = run_study(load_config(study_config, ["final.enabled=false", "evaluation.exact_match=true"]), folder)
    assert len(jobs) == before and [trial.score for trial in again.trials] == expected
