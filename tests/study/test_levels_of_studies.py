"""A study that tries recipes on a smaller model and on fewer items first: real trainings of two tiny models."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.study.small_study import evaluate_here, small_document

from autoselection.config import StudyConfig, load_config
from autoselection.demo import model_dir
from autoselection.errors import ConfigError, StudyError
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.language.models import parameter_count
from autoselection.ledger import Wanted, decisions, read_events
from autoselection.ledger.account import keyed_account
from autoselection.report.study_view import trial_views
from autoselection.report.tables import study_notes, study_sheets
from autoselection.study import Study, run_study
from autoselection.study.checks import check_setup
from autoselection.study.levels import lower_model, model_costs, told_by_levels
from autoselection.study.run import summary
from autoselection.tasks import load_items, some_items
from autoselection.tracking.runs import trial_runs


def document(pool: Path, fidelity: dict[str, Any], **search: Any) -> dict[str, Any]:
    found = small_document({"path": str(pool)})
    found["search"] |= {"evaluations": 3, "batch": 1, "fidelity": fidelity, **search}
    found["evaluation"]["sft"]["max_steps"] = 2
    found["final"] = {"enabled": False}
    found["incumbent"] = {"recipe": "none"}
    return found


def configured(folder: Path, document: dict[str, Any]) -> StudyConfig:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(yaml.safe_dump(document))
    return load_config(folder / "study.yaml")


@pytest.fixture(scope="module")
def asked() -> list[EvaluationJob]:
    return []


@pytest.fixture(scope="module")
def levelled(
    smaller: Path, scored_pool: Path, inline_module: None, asked: list[EvaluationJob], tmp_path_factory: Any
) -> Study:
    """The study, interrupted after its second evaluation and in the middle of its fourth, and gone on with."""
    folder = tmp_path_factory.mktemp("levelled")
    fidelity = {"models": [{"path": str(smaller), "items": 0.5}], "warmup": 3, "share": 0.5}
    config = configured(folder, document(scored_pool, fidelity))
    for count in (2, 4, 99):

        def end(job: EvaluationJob, left: list[int] = [count]) -> EvaluationResult | None:  # noqa: B006
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            asked.append(job)
            return None

        with pytest.MonkeyPatch.context() as patch:
            evaluate_here(patch, end)
            try:
                run_study(config, folder / "study")
            except KeyboardInterrupt:
                assert count < 99
    return Study(folder / "study")


def test_both_models_are_trained_and_only_the_target_is_compared_for_the_best(
    levelled: Study, smaller: Path, asked: list[EvaluationJob]
) -> None:
    assert levelled.finished
    below = [trial for trial in levelled.all_trials() if trial.fidelity < 1.0]
    full = levelled.trials
    assert len(below) >= 3 and len(full) >= 1
    assert {trial.model for trial in below} == {"smaller"} and {trial.model for trial in full} == {""}
    assert {job.model for job in asked} == {str(smaller), str(model_dir())}
    assert len(asked) == len(levelled.all_trials()), "nothing was evaluated twice"
    best = levelled.best()
    assert best is not None and best.id in {trial.id for trial in full}
    events = levelled.journal.of("evaluation")
    assert all(
        (event.get("model") == str(smaller)) == (event["fidelity"] == 1.0 and "items" in event) for event in events
    )


def test_a_tracker_is_told_of_the_model_that_a_trial_was_evaluated_with(levelled: Study) -> None:
    trials = levelled.all_trials()
    kinds = {view.id: view.kind for view in trial_views(levelled)}
    for run in trial_runs(levelled):
        assert run.parameters["stage"] == kinds[run.key]
        assert run.parameters.get("model", "") == trials[run.key].model
    assert {kinds[trial.id] for trial in trials if trial.model} == {"model smaller"}


def test_costs_come_from_the_models_sizes_and_stay(levelled: Study, smaller: Path) -> None:
    (event,) = levelled.journal.of("levels")
    share = parameter_count(smaller) / parameter_count(model_dir())
    assert 0.2 < share < 0.5
    assert event["models"][0]["cost"] == pytest.approx(share)
    assert {trial.fidelity for trial in levelled.all_trials()} == {1.0, event["models"][0]["cost"]}
    assert sum(trial.fidelity for trial in levelled.all_trials()) <= 3.0


def test_the_smaller_model_is_scored_on_half_of_the_items(levelled: Study) -> None:
    task = levelled.config.tasks[0]
    everything = [item.id for item in load_items(task, "dev")]
    for trial in levelled.all_trials():
        ids = list(next(iter(trial.results.values())).items[task.name]["ids"])
        if trial.model:
            assert ids == [item.id for item in some_items(load_items(task, "dev"), task.name, 0.5, 0)]
            assert len(ids) == len(everything) // 2
        else:
            assert ids == everything


def test_what_the_levels_told_is_in_the_report_and_the_summary(levelled: Study) -> None:
    (told,) = told_by_levels(levelled)
    below = [trial for trial in levelled.all_trials() if trial.model]
    promoted = {t.record["subset_hash"] for t in below} & {t.record["subset_hash"] for t in levelled.trials}
    assert (told.level, told.tried, told.promoted) == ("model smaller, 50% of the items", len(below), len(promoted))
    assert told.seconds is not None and told.seconds > 0
    assert summary(levelled)["levels"] == [told.to_dict()]
    notes = study_notes(levelled)
    assert any(note.startswith("An evaluation with smaller is counted as 0.") for note in notes)
    assert any("what the others would have scored in full is not known" in note for note in notes)
    origins = [row[1] for row in study_sheets(levelled)["search"].rows]
    assert sum("model smaller, 50% of the items" in origin for origin in origins) == len(below)


def test_an_uninterrupted_study_decides_the_same(levelled: Study, tmp_path: Path) -> None:
    """What is kept in the journal is all there is: three parts or one are the same study."""
    whole = run_study(levelled.config, tmp_path / "whole")
    parts = ("trial", "levels", "finished")
    assert [e for e in decisions(whole.journal.events) if e["event"] in parts] == [
        {**e, "seq": s["seq"]}
        for e, s in zip(
            [e for e in decisions(levelled.journal.events) if e["event"] in parts],
            [e for e in decisions(whole.journal.events) if e["event"] in parts],
            strict=True,
        )
    ]


@pytest.mark.slow
def test_killed_while_the_smaller_model_is_trained_it_goes_on(levelled: Study, tmp_path: Path) -> None:
    config = tmp_path / "study.yaml"
    config.write_text((levelled.path / "config.yaml").read_text().rpartition("# checksum")[0])
    out, journal = tmp_path / "killed", tmp_path / "killed" / "journal.jsonl"
    command = [sys.executable, "-m", "autoselection", "search", str(config), "--out", str(out), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 240
    while not journal.exists() or sum(event["event"] == "evaluation" for event in read_events(journal)) < 1:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert found["finished"] and found["levels"][0]["tried"] == told_by_levels(levelled)[0].tried
    names = [(event["trial"], event["seed"]) for event in read_events(journal) if event["event"] == "evaluation"]
    assert len(names) == len(set(names)) == len(levelled.all_trials())


def test_a_smaller_model_that_changed_is_noticed(levelled: Study, tmp_path: Path) -> None:
    copy = tmp_path / "study"
    shutil.copytree(levelled.path, copy)
    events = levelled.journal.of("study")[0]["identity"]
    assert {"model of smaller", "tokenizer of smaller"} <= set(events)
    weights = next(Path(levelled.config.search.fidelity.models[0].path).glob("*.safetensors"))
    before = weights.read_bytes()
    try:
        weights.write_bytes(before[:-4] + b"\x00\x00\x00\x41")
        with pytest.raises(StudyError, match="these changed: model of smaller"):
            run_study(levelled.config, copy)
    finally:
        weights.write_bytes(before)


def test_evaluations_with_another_model_have_keys_of_their_own(levelled: Study, tmp_path: Path) -> None:
    from autoselection.ledger import Journal

    rows = levelled.rows("t001")
    config = levelled.config
    with Journal(tmp_path / "journal.jsonl") as journal:
        account = keyed_account(config, "pool", journal, tmp_path)
        wanted = [
            Wanted(rows, 0, "dev"),
            Wanted(rows, 0, "dev", items=0.5),
            Wanted(rows, 0, "dev", model=lower_model(config, 0)),
            Wanted(rows, 0, "dev", model=lower_model(config, 0), items=0.5),
        ]
        assert len({account.name(item) for item in wanted}) == len({item.content for item in wanted}) == 4


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"path": "nowhere/small"}, r"search\.fidelity\.models\[0\]\.path: .*nowhere/small"),
        ({"path": "TARGET"}, r"is the target model itself \(model\.path\)"),
        ({"path": "COPY"}, r"is the target model itself"),
        ({"path": "DEEPER"}, r"parameters, and the target model .*: with it nothing would be saved"),
    ],
)
def test_models_that_save_nothing_are_refused_before_anything_is_computed(
    entry: dict[str, Any], why: str, scored_pool: Path, smaller: Path, tmp_path: Path
) -> None:
    target = str(model_dir())
    if entry["path"] == "COPY":
        shutil.copytree(model_dir(), tmp_path / "copy")
    config = {"TARGET": target, "COPY": str(tmp_path / "copy"), "DEEPER": target}.get(entry["path"], entry["path"])
    settings = document(scored_pool, {"models": [{"path": config}]})
    if entry["path"] == "DEEPER":  # the smaller one is the target now
        settings["model"] = {"path": str(smaller)}
    with pytest.raises(ConfigError, match=why):
        check_setup(configured(tmp_path, settings))


def test_a_cost_that_is_given_is_taken(scored_pool: Path, smaller: Path, tmp_path: Path) -> None:
    settings = document(scored_pool, {"models": [{"path": str(smaller), "cost": 0.9}]})
    (cost,) = model_costs(configured(tmp_path, settings))
    assert (cost.model, cost.cost) == ("smaller", 0.9) and "given" in cost.told


def test_a_share_of_the_items_is_nested_and_of_its_seed(scored_pool: Path, tmp_path: Path) -> None:
    items = load_items(configured(tmp_path, document(scored_pool, {})).tasks[0], "dev")
    kept = {share: [item.id for item in some_items(items, "t", share, 0)] for share in (0.01, 0.3, 0.7, 1.0)}
    assert [len(ids) for ids in kept.values()] == [1, 4, 9, 12]
    assert set(kept[0.01]) < set(kept[0.3]) < set(kept[0.7]) < set(kept[1.0])
    order = [item.id for item in items]
    assert all(ids == [name for name in order if name in ids] for ids in kept.values())
    assert kept[0.3] != [item.id for item in some_items(items, "t", 0.3, 1)]
    json.dumps(kept)
