"""A study keeps the models its policy names and no others, whenever it is stopped."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.study.journals import write_unchecked
from tests.study.test_incumbent import scored

from autoselection.config import load_config
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.ledger.journal import Journal
from autoselection.study import Study, checkpoints, read_events, run_study
from autoselection.study.checkpoints import prune_checkpoints


@pytest.fixture(autouse=True)
def _inline(ends: Any) -> None:
    ends(lambda _: None)


def saved(study: Path) -> set[str]:
    return {path.parent.name for path in study.glob("work/*/model") if (path / "model.safetensors").is_file()}


def best_of(study: Study, count: int) -> set[str]:
    scored = [(trial.score or 0.0, index, trial.id) for index, trial in enumerate(study.trials) if trial.results]
    return {f"{name}-seed0" for _, _, name in sorted(scored, reverse=True)[:count]}


KEEP_TWO = ["evaluation.keep_model=true", "evaluation.keep_best=2", "incumbent.recipe=none"]


def test_the_best_models_stay_and_disk_use_is_bounded_all_along(
    study_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    out = tmp_path / "study"
    append = Journal.append

    def watch(self: Journal, event: str, **fields: Any) -> dict[str, Any]:
        counts.append(len(saved(out)))
        return append(self, event, **fields)

    monkeypatch.setattr(Journal, "append", watch)
    study = run_study(load_config(study_config, [*KEEP_TWO, "final.enabled=false"]), out)
    assert saved(out) == best_of(study, 2)
    assert max(counts) <= 2 + study.config.search.batch
    assert len(list(out.glob("work/t*-seed0/items"))) == 5  # answers of every item stay


def test_a_study_stopped_between_saving_and_removing_ends_with_the_same_models(
    study_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(study_config, [*KEEP_TWO, "final.enabled=false"])
    out = tmp_path / "study"

    class Stopped(Exception):
        pass

    def stop(study: Study) -> Sequence[Path]:
        if len(study.journal.of("evaluation")) == 4:
            raise Stopped
        return prune_checkpoints(study)

    monkeypatch.setattr("autoselection.study.rounds.prune_checkpoints", stop)
    with pytest.raises(Stopped):
        run_study(config, out)
    unfinished = out / "work" / "t005-seed0" / "model"  # half of a model that is still being written
    unfinished.mkdir(parents=True, exist_ok=True)
    (unfinished / "part").write_text("x")
    assert prune_checkpoints(Study(out))
    assert (unfinished / "part").is_file()  # no result: left alone
    monkeypatch.setattr("autoselection.study.rounds.prune_checkpoints", prune_checkpoints)
    study = run_study(config, out)
    assert saved(out) == best_of(study, 2)
    assert prune_checkpoints(study) == []


def leave_model(job: EvaluationJob, quality: float) -> EvaluationResult:
    if job.config.keep_model:
        (job.work_dir / "model").mkdir(parents=True)
        (job.work_dir / "model" / "model.safetensors").touch()
    return scored(job, quality)


@pytest.mark.parametrize("best", [0, 1])
def test_models_of_a_trial_stay_until_all_its_seeds_are_known(
    best: int, study_config: Path, tmp_path: Path, ends: Any
) -> None:
    """The second trial may yet be the better one while its second seed is trained; if it is not, both its models go."""
    out = tmp_path / "study"

    def end(job: EvaluationJob) -> EvaluationResult:
        if job.work_dir.name == "t002-seed1":
            assert saved(out) == {"t001-seed0", "t001-seed1", "t002-seed0"}
        return leave_model(job, float(job.work_dir.name.startswith(f"t00{best + 1}")))

    ends(end)
    more = ["evaluation.seeds=[0, 1]", "search.evaluations=2", "search.batch=1", "final.enabled=false"]
    more += ["incumbent.recipe=none", "executor.workers=1", "evaluation.keep_model=true", "evaluation.keep_best=1"]
    run_study(load_config(study_config, more), out)
    assert saved(out) == {f"t00{best + 1}-seed0", f"t00{best + 1}-seed1"}


def test_of_two_equals_the_model_of_the_later_stays(study_config: Path, tmp_path: Path, ends: Any) -> None:
    def end(job: EvaluationJob) -> EvaluationResult:
        result = leave_model(job, 0.0)
        return EvaluationResult.from_dict({**result.to_dict(), "score": 0.5})

    ends(end)
    more = ["search.evaluations=3", "search.batch=1", "final.enabled=false", "incumbent.recipe=none"]
    more += ["executor.workers=1", "evaluation.keep_model=true", "evaluation.keep_best=1"]
    study = run_study(load_config(study_config, more), tmp_path / "study")
    best = study.best()
    assert best is not None and best.id == "t003" and saved(study.path) == {"t003-seed0"}


@pytest.mark.parametrize("kept", [True, False])
def test_all_models_stay_if_asked_and_none_otherwise(kept: bool, study_config: Path, tmp_path: Path) -> None:
    overrides = [f"evaluation.keep_model={kept}", "search.evaluations=2", "search.warmup=2", "final.enabled=false"]
    overrides += ["incumbent.recipe=full"]  # whose trainings, and those of the verdict, keep no model
    study = run_study(load_config(study_config, overrides), tmp_path / "study")
    assert saved(study.path) == ({"t001-seed0", "t002-seed0"} if kept else set())


def test_the_winner_of_the_final_table_keeps_its_model(study_config: Path, tmp_path: Path) -> None:
    overrides = [*KEEP_TWO[:1], "evaluation.keep_best=1", "search.evaluations=3", "search.warmup=2"]
    overrides += ["final.full=false", "final.single_operators=0", "incumbent.recipe=none"]
    study = run_study(load_config(study_config, overrides), tmp_path / "study")
    seeds = study.journal.of("final_plan")[0]["seeds"]
    assert saved(study.path) == best_of(study, 1) | {f"test00-seed{seed}" for seed in seeds}


def test_a_second_plan_for_test_keeps_what_it_is_still_training(finished_study: Study, tmp_path: Path) -> None:
    """Rows of another plan may have the folder of an earlier plan's rows."""
    copy = tmp_path / "copy"
    shutil.copytree(finished_study.path, copy)
    plan = finished_study.journal.of("final_plan")[0]
    number = next(i for i, entry in enumerate(plan["entries"]) if entry["kind"] == "single")
    folders = [copy / "work" / f"test{i:02d}-seed{plan['seeds'][0]}" / "model" for i in (number, number - 1)]
    for folder in folders:
        folder.mkdir(parents=True)
    entries = [dict(entry) for entry in plan["entries"]]
    entries[number] |= {"name": "another subset", "subset_hash": "0" * 32}
    with Journal(copy / "journal.jsonl") as journal:
        journal.append("final_plan", **{**{k: v for k, v in plan.items() if k not in ("seq", "time", "event")},
                                        "entries": entries})  # fmt: skip
    assert prune_checkpoints(Study(copy)) == [folders[1]]
    assert folders[0].is_dir()


@pytest.mark.parametrize(
    ("best", "kept"), [(1, {"t002"}), (2, {"t001", "t002", "t004"}), (3, {"t001", "t002", "t003", "t004"})]
)
def test_trials_of_one_subset_are_ranked_as_the_winner_is_chosen(
    best: int, kept: set[str], finished_study: Study, study_config: Path, tmp_path: Path
) -> None:
    """The best of two trainings of one subset is above the mean of another, and the mean of the two is not."""
    path = Path(shutil.copytree(finished_study.path, tmp_path / "copy"))
    events = [
        event for event in read_events(path / "journal.jsonl") if event["event"] in ("study", "trial", "evaluation")
    ]
    scores = {"t001": 0.9, "t002": 0.8, "t003": 0.3, "t004": 0.5, "t005": 0.1}
    first = next(event["trial"]["subset_hash"] for event in events if event["event"] == "trial")
    for event in events:
        if event["event"] == "trial" and event["trial"]["id"] == "t004":
            event["trial"] |= {"subset_hash": first, "of": "t001"}
        elif event["event"] == "evaluation":
            event["result"]["score"] = scores[event["trial"]]
            event["seed"] = int(event["trial"] == "t004")
    write_unchecked(path / "journal.jsonl", events)
    study = Study(path)
    study.config = load_config(study_config, ["evaluation.keep_model=true", f"evaluation.keep_best={best}"])
    for event in study.journal.of("evaluation"):
        (path / "work" / f"{event['trial']}-seed{event['seed']}" / "model").mkdir(parents=True, exist_ok=True)
    found = study.best()
    assert found is not None and found.id == "t002"
    prune_checkpoints(study)
    assert {folder.parent.name.partition("-")[0] for folder in path.glob("work/t0*/model")} == kept


def test_a_model_that_cannot_be_removed_yet_is_said_once_and_stops_nothing(
    finished_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Study(Path(shutil.copytree(finished_study.path, tmp_path / "copy")))
    held, free = (study.path / "work" / f"{trial.id}-seed0" / "model" for trial in study.trials[:2])
    for folder in (held, free):
        folder.mkdir(parents=True, exist_ok=True)
    remove = shutil.rmtree

    def refuse(folder: Path) -> None:
        if folder == held:
            raise OSError(errno.EBUSY, "Device or resource busy", str(folder / ".nfs0001"))
        remove(folder)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.shutil, "rmtree", refuse)
        assert prune_checkpoints(study) == [free] and prune_checkpoints(study) == []
    assert capsys.readouterr().err.count("is not removed yet") == 1
    assert prune_checkpoints(study) == [held]
