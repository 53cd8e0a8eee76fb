"""Seeds, ties, means and lengths: what the trials of a study are trained with and judged by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.study.test_budget import config_of
from tests.study.test_incumbent import scored

from autoselection.config import load_config
from autoselection.evaluation import EvaluationConfig, EvaluationJob, EvaluationResult
from autoselection.study import Study, run_study
from autoselection.study.rounds import training_seeds


@given(seeds=st.lists(st.integers(0, 30), min_size=1, max_size=4, unique=True))
def test_repeats_of_a_subset_are_trained_with_seeds_that_none_before_had(seeds: list[int]) -> None:
    config = EvaluationConfig(seeds=tuple(seeds))
    assert training_seeds(config, 0) == tuple(seeds)
    used = [seed for replicate in range(5) for seed in training_seeds(config, replicate)]
    assert len(set(used)) == len(used) == 5 * len(seeds)


def told(folder: Path, study_config: Path, trials: list[tuple[str, str, dict[int, float | None]]]) -> Study:
    """A study whose journal holds these trials: subset, and score by seed (None: failed)."""
    study = Study.create_or_open(load_config(study_config), folder)
    with study.journal as journal:
        for number, (name, subset, scores) in enumerate(trials, 1):
            fidelity = 0.2 if name == "short" else 1.0
            journal.append("trial", trial={"id": f"t{number:03d}", "subset_hash": subset, "fidelity": fidelity})
            for seed, score in scores.items():
                failed = score is None
                result = EvaluationResult(
                    "dev",
                    seed,
                    float("nan") if score is None else score,
                    scores={} if score is None else {"a": score, "b": score},
                    failure="diverged" if failed else None,
                    failure_kind="training" if failed else None,
                )
                journal.append("evaluation", trial=f"t{number:03d}", seed=seed, result=result.to_dict())
    return Study(folder)


def test_a_trial_is_judged_by_the_mean_of_its_seeds_and_of_two_equals_the_later_leads(
    study_config: Path, tmp_path: Path
) -> None:
    study = told(
        tmp_path,
        study_config,
        [
            ("full", "a", {0: 0.9, 1: 0.1}),
            ("full", "b", {0: 0.4, 1: 0.6}),
            ("full", "c", {0: 2.0, 1: None}),
            ("short", "d", {0: 9.0}),
            ("full", "e", {0: 0.2, 1: 0.3}),
        ],
    )
    assert [trial.score for trial in study.trials] == [0.5, 0.5, None, 0.25]
    assert study.trials[0].tasks == {"a": 0.5, "b": 0.5}
    best = study.best()
    assert best is not None and best.id == "t002"


def test_a_subset_that_was_trained_again_is_judged_by_all_its_trainings(study_config: Path, tmp_path: Path) -> None:
    study = told(
        tmp_path,
        study_config,
        [("full", "a", {0: 1.0}), ("full", "b", {0: 0.6}), ("full", "a", {1: 0.0}), ("full", "b", {1: None})],
    )
    assert [(trial.id, trial.score) for trial in study.subsets()] == [("t001", 0.5), ("t002", 0.6)]
    best = study.best()
    assert best is not None and best.id == "t002"


def test_a_repeated_subset_is_judged_by_the_mean_of_its_evaluations_as_in_the_search(
    study_config: Path, tmp_path: Path
) -> None:
    """Both have 0.45. The mean of a's four results is larger by its last bit; that of its two evaluations is not."""
    seen = {0: 0.4, 1: 0.42}
    trials = [("full", "a", seen), ("full", "b", {0: 0.4, 1: 0.5}), ("full", "a", {2: 0.4, 3: 0.58})]
    assert float(np.mean([0.4, 0.42, 0.4, 0.58])) > float(np.mean([0.4, 0.5])), "what a mean over all seeds would say"
    study = told(tmp_path / "done", study_config, trials)
    a, b = study.subsets()
    assert a.score == b.score == 0.45 and a.tasks == b.tasks and len(a.results) == 4
    best, leaders = study.best(), [leader.id for leader in study.leaders(study.trials) if leader is not None]
    assert best is not None and best.id == "t002" and leaders == ["t001", "t002", "t002"]
    pending = told(tmp_path / "pending", study_config, [*trials[:2], ("full", "a", {2: 9.0})])
    assert pending.subsets()[0].score == float(np.mean([0.4, 0.42])), "a repeat counts once it has all its seeds"


def test_the_leader_after_each_trial_is_the_best_of_what_was_known_then(study_config: Path, tmp_path: Path) -> None:
    seen = [("a", 0.5), ("b", 0.7), ("c", 0.6), ("b", 0.1), ("a", 0.9), ("c", None), ("a", 0.1), ("c", 0.4), ("b", 0.9)]
    trials = [("full", subset, {seed: score}) for seed, (subset, score) in enumerate(seen)]
    found = told(tmp_path / "all", study_config, trials)
    for count, leader in enumerate(found.leaders(found.trials), 1):
        best = told(tmp_path / str(count), study_config, trials[:count]).best()
        assert best is not None and leader is not None and (leader.id, leader.score) == (best.id, best.score)


def test_a_short_training_is_short_and_leaves_no_model(study_config: Path, tmp_path: Path, ends: Any) -> None:
    jobs: dict[str, EvaluationJob] = {}

    def end(job: EvaluationJob) -> EvaluationResult:
        jobs[job.work_dir.name if hasattr(job.work_dir, "name") else str(job.work_dir)] = job
        return scored(job, 0.0)

    ends(end)
    more = (
        "search.fidelity.level=0.5",
        "search.fidelity.warmup=2",
        "final.enabled=false",
        "evaluation.keep_model=true",
    )
    study = run_study(config_of(study_config, 3, *more), tmp_path / "s")
    levels = {trial.id: trial.fidelity for trial in study.all_trials()}
    assert set(levels.values()) == {0.5, 1.0}
    for name, job in jobs.items():
        fidelity = next(level for trial, level in levels.items() if trial in name)
        assert job.config.sft.max_steps == {0.5: 2, 1.0: 4}[fidelity]
        assert job.config.keep_model == (fidelity == 1.0)


@pytest.mark.parametrize("seeds", [(3,), (0, 4)])
def test_trainings_use_the_seeds_of_the_configuration(
    seeds: tuple[int, ...], study_config: Path, tmp_path: Path, ends: Any
) -> None:
    ends(lambda job: scored(job, 0.0))
    config = config_of(study_config, 2, f"evaluation.seeds={list(seeds)}", "final.enabled=false")
    study = run_study(config, tmp_path / "s")
    assert all(set(trial.results) == set(seeds) for trial in study.trials)
