"""Evaluations that fail count against their recipe, those the machine loses do not; neither ends in a traceback."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from autoselection.config import StudyConfig, load_config
from autoselection.errors import StudyError
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.ledger.journal import Journal
from autoselection.report import study_markdown
from autoselection.study import Study, decisions, run_study

REASON = "Training diverged: the loss became nan in step 3 of 4; lower evaluation.sft.learning_rate."


def trial_of(job: EvaluationJob) -> str:
    return job.work_dir.name.split("-")[0]


def config_of(study_config: Path, *overrides: str) -> StudyConfig:
    return load_config(study_config, ["final.enabled=false", "incumbent.recipe=none", *overrides])


def test_a_recipe_whose_training_diverges_is_penalised_and_the_search_goes_on(
    study_config: Path, tmp_path: Path, ends: Any
) -> None:
    def end(job: EvaluationJob) -> EvaluationResult | None:
        return EvaluationResult.failed(job, REASON, seconds=1.0) if trial_of(job) == "t002" else None

    ends(end)
    study = run_study(config_of(study_config), tmp_path / "study")
    trials = study.trials
    assert len(trials) == 5  # the failure has used up one evaluation of the budget
    assert [trial.failure for trial in trials] == [None, REASON, None, None, None]
    assert trials[1].score is None
    best = study.best()
    assert best is not None and best.id != "t002"
    text = study_markdown(study)
    assert f"t002 failed and counts against the budget: {REASON}" in text
    assert all(event["name"] != "t002" for event in study.journal.of("interruption"))


def test_a_study_whose_trainings_all_diverge_says_so_and_scores_no_test(study_config: Path, tmp_path: Path) -> None:
    """Real trainings, in a real worker, with a learning rate that no model survives."""
    wild = ["evaluation.sft.learning_rate=1e18", "evaluation.sft.scheduler=constant"]
    overrides = [*wild, "search.evaluations=3", "executor.workers=1"]
    config = load_config(study_config, overrides)
    with pytest.raises(StudyError, match=r"none of the first 2 evaluations could be trained.*t001: .*diverged.*t002: "):
        run_study(config, tmp_path / "study")
    study = Study(tmp_path / "study")
    results = [event["result"] for event in study.journal.of("evaluation")]
    assert len(results) == 2
    assert all("diverged" in result["failure"] and result["failure_kind"] == "training" for result in results)
    assert not study.journal.of("test") and not study.journal.of("final_plan")


@pytest.mark.parametrize("batch", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_study_stops_where_neither_of_its_first_two_evaluations_can_train(
    study_config: Path, tmp_path: Path, ends: Any, batch: int
) -> None:
    def failing(names: set[str]) -> Any:
        return lambda job: EvaluationResult.failed(job, "No row fits.") if trial_of(job) in names else None

    config = config_of(study_config, f"search.batch={batch}")
    ends(failing({"t001", "t002", "t003"}))
    for _ in range(2):  # started again it says the same, and evaluates nothing
        with pytest.raises(StudyError, match=r"none of the first 2 .*\(t001: No row fits\.; t002: No row fits\.\)"):
            run_study(config, tmp_path / "none")
        assert len(Study(tmp_path / "none").journal.of("evaluation")) == 2
    ends(failing({"t001"}))
    one = run_study(config, tmp_path / "one")
    assert [bool(trial.failure) for trial in one.all_trials()][:2] == [True, False]
    assert one.journal.of("finished")


def test_a_study_without_memory_goes_on_with_other_settings_of_memory(
    study_config: Path, tmp_path: Path, ends: Any
) -> None:
    """The message told to start a new study, although these settings may change; the same command said it again."""

    def without_memory(job: EvaluationJob) -> EvaluationResult:
        return EvaluationResult.failed(job, "Out of memory.")

    def tokens(count: int) -> StudyConfig:
        return config_of(study_config, "search.batch=1", f"evaluation.sft.micro_batch_tokens={count}")

    ends(without_memory)
    with pytest.raises(StudyError, match=r"none of the first 2 .*micro_batch_tokens.* the same command goes on"):
        run_study(tokens(4096), tmp_path / "study")
    with pytest.raises(StudyError, match=r"none of the first 4 evaluations .*\(t003: Out of memory\.; t004: "):
        run_study(tokens(2048), tmp_path / "study")  # two more show whether these help
    ends(lambda _: None)
    study = run_study(tokens(1024), tmp_path / "study")
    assert [bool(trial.failure) for trial in study.all_trials()] == [True, True, True, True, False]
    assert study.journal.of("finished")


def test_an_evaluation_lost_to_the_machine_runs_again_and_changes_no_decision(
    study_config: Path, tmp_path: Path, ends: Any
) -> None:
    ends(lambda _: None)
    calm = run_study(config_of(study_config), tmp_path / "calm")

    def end(job: EvaluationJob) -> EvaluationResult | None:
        reason = "Out of memory taken by others (1.0 GiB of 8.0 GiB held here, 6.8 GiB by others)."
        return EvaluationResult.failed(job, reason, "infrastructure") if trial_of(job) == "t003" else None

    ends(end)
    with pytest.raises(StudyError, match=r"lost to the machine, not to the recipe: t003 .* taken by others"):
        run_study(config_of(study_config), tmp_path / "lost")
    lost = Study(tmp_path / "lost")
    assert lost.trials[2].results == {} and lost.trials[2].failure is None
    assert [event["name"] for event in lost.journal.of("interruption")] == ["t003"]
    ends(lambda _: None)
    again = run_study(config_of(study_config), tmp_path / "lost")
    assert [trial.score for trial in again.trials] == [trial.score for trial in calm.trials]

    def settled(study: Study) -> list[str]:
        plain = decisions([event for event in study.journal.events if event["event"] != "interruption"])
        for event in plain:
            del event["seq"]
        return sorted(json.dumps(event, sort_keys=True).replace(str(study.path), "OUT") for event in plain)

    assert settled(again) == settled(calm)
    assert "1 evaluation(s) were lost to the machine and run again" in study_markdown(again)


def test_a_full_disk_stops_the_study_with_a_sentence_and_loses_nothing(
    study_config: Path, tmp_path: Path, ends: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends(lambda _: None)
    append = Journal.append

    def full(self: Journal, event: str, **fields: Any) -> dict[str, Any]:
        if event == "evaluation" and len(self.of("evaluation")) == 2:
            with self.path.open("ab") as file:  # half of the line still fits
                file.write(b'{"seq": 99, "event": "evalua')
            raise OSError(errno.ENOSPC, "No space left on device")
        return append(self, event, **fields)

    monkeypatch.setattr(Journal, "append", full)
    with pytest.raises(
        StudyError, match=r"no space is left on the device.*Free some space.*finished evaluations are kept"
    ):
        run_study(config_of(study_config), tmp_path / "study")
    assert len(Study(tmp_path / "study").journal.of("evaluation")) == 2
    monkeypatch.setattr(Journal, "append", append)
    study = run_study(config_of(study_config), tmp_path / "study")
    assert len(study.journal.of("evaluation")) == 5
    assert all(trial.score is not None for trial in study.trials)


def test_rows_cut_and_tokens_lost_are_in_the_journal_and_in_the_report(
    study_config: Path, tmp_path: Path, ends: Any
) -> None:
    ends(lambda _: None)
    short = ["evaluation.sft.max_length=40", "search.evaluations=2", "search.warmup=2"]
    study = run_study(config_of(study_config, *short), tmp_path / "study")
    results = [event["result"] for event in study.journal.of("evaluation")]
    assert all(result["truncated_rows"] > 0 and result["truncated_tokens"] > 0 for result in results)
    text = study_markdown(study)
    for result in results:
        assert f"{result['truncated_rows']:,} rows, {result['truncated_tokens']:,} tokens" in text


def test_a_setting_that_a_later_version_adds_does_not_stop_an_old_study(finished_study: Study, tmp_path: Path) -> None:
    import shutil

    import yaml

    copy = tmp_path / "old"
    shutil.copytree(finished_study.path, copy)
    document = yaml.safe_load((copy / "config.yaml").read_text())
    del document["evaluation"]["sft"]["group_by_length"], document["evaluation"]["sft"]["budget_counts"]
    (copy / "config.yaml").write_text(yaml.safe_dump(document))
    assert Study.create_or_open(finished_study.config, copy).trials
    document["evaluation"]["sft"]["group_by_length"] = True
    (copy / "config.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(StudyError, match=r"evaluation\.sft\.group_by_length"):
        Study.create_or_open(finished_study.config, copy)
