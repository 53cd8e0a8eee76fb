"""A whole study: what it leaves, that it can be killed at any moment, and that it always decides the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.study.journals import write_unchecked

from autoselection.config import load_config
from autoselection.errors import StudyError
from autoselection.pool import Pool
from autoselection.report import write_report
from autoselection.study import Study, decisions, read_events, run_study, summary


def test_the_journal_tells_the_whole_search(finished_study: Study) -> None:
    trials = finished_study.trials
    assert [trial.id for trial in trials] == ["t001", "t002", "t003", "t004", "t005"]
    assert all(trial.score is not None and set(trial.tasks) == {"addition", "boolean"} for trial in trials)
    hashes = [trial.record["subset_hash"] for trial in trials]
    assert len(set(hashes)) == len(hashes), "no realized subset is trained twice"
    best = finished_study.best()
    assert best is not None and best.score == max(trial.score or 0.0 for trial in trials)


def test_test_is_scored_once_after_a_written_plan(finished_study: Study) -> None:
    events = [event["event"] for event in finished_study.journal.events]
    assert events.count("final_plan") == 1
    assert events.index("final_plan") < events.index("test")
    assert max(i for i, event in enumerate(events) if event == "evaluation") < events.index("final_plan")
    assert all(event["result"]["split"] == "dev" for event in finished_study.journal.of("evaluation"))
    assert all(event["result"]["split"] == "test" for event in finished_study.journal.of("test"))
    names = list(finished_study.final_results())
    assert names[1:3] == ["base model", "full pool"] and names[0].startswith("winner")
    assert len(names) == 5


def test_outputs_hold_the_rows_of_the_best_trial(finished_study: Study, scored_pool: Path) -> None:
    best = finished_study.best()
    assert best is not None
    kept = finished_study.journal.of("verdict")[0][
        "exported"
    ]  # 12 items and 4 steps tell little: the full pool may stay
    folder = finished_study.path / {"found": "best", "incumbent": "found"}[kept]
    pool = Pool.open(scored_pool)
    ids = json.loads((folder / "ids.json").read_text())
    assert np.array_equal(pool.row_of(ids), finished_study.rows(best.id))
    assert len((folder / "messages.jsonl").read_bytes().splitlines()) == len(ids)
    assert (folder / "hf_dataset" / "README.md").exists()
    assert (folder / "sharegpt" / "dataset_info.json").exists()
    assert yaml.safe_load((folder / "recipe.yaml").read_text())["steps"]
    write_report(finished_study)
    assert "Final table" in (finished_study.path / "report.md").read_text()
    assert json.loads(json.dumps(summary(finished_study), allow_nan=False))["finished"]


def test_running_a_finished_study_again_evaluates_nothing(finished_study: Study, study_config: Path) -> None:
    before = len(finished_study.journal.events)
    again = run_study(load_config(study_config), finished_study.path)
    assert len(again.journal.events) == before


def test_other_settings_in_the_same_folder_are_refused(finished_study: Study, study_config: Path) -> None:
    with pytest.raises(StudyError, match=r"evaluation\.sft\.learning_rate"):
        run_study(load_config(study_config, ["evaluation.sft.learning_rate=0.01"]), finished_study.path)


def _evaluations(journal: Path) -> list[tuple[str, int]]:
    kinds = {"evaluation": "trial", "test": "name"}
    return [(e[kinds[e["event"]]], e["seed"]) for e in read_events(journal) if e["event"] in kinds]


def test_kill_nine_loses_and_repeats_nothing(finished_study: Study, study_config: Path, tmp_path: Path) -> None:
    """Killed twice (once while searching, once while scoring test), the study ends as the undisturbed one did."""
    out = tmp_path / "killed"
    journal = out / "journal.jsonl"
    command = [sys.executable, "-m", "autoselection", "search", str(study_config), "--out", str(out), "--json"]
    two_workers = [*command, "--set", "executor.workers=2"]  # one starts in half the time; two are killed once
    for finished, asked in ((2, two_workers), (6, command)):
        process = subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not journal.exists() or len(_evaluations(journal)) < finished:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kept = _evaluations(journal)
        assert len(kept) >= finished
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert _evaluations(journal)[: len(kept)] == kept
    assert len(set(_evaluations(journal))) == len(_evaluations(journal)) == 10
    assert json.loads(done.stdout)["finished"]

    def settled(events: list[dict[str, object]]) -> list[str]:
        """Decisions in a fixed order: side-by-side evaluations may end in either order."""
        plain = decisions([e for e in events if e["event"] != "interruption"])  # type: ignore[arg-type]
        for event in plain:
            del event["seq"]
        return sorted(json.dumps(event, sort_keys=True).replace(str(out), "OUT") for event in plain)

    whole = [s.replace(str(finished_study.path), "OUT") for s in settled(finished_study.journal.events)]
    assert settled(list(read_events(journal))) == whole


def test_a_changed_pool_is_noticed(finished_study: Study, study_config: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished_study.path, copy)
    opening, *rest = read_events(copy / "journal.jsonl")
    write_unchecked(copy / "journal.jsonl", [{**opening, "pool": "0" * 32}, *rest])
    with pytest.raises(StudyError, match="pool of the study changed"):
        run_study(load_config(study_config), copy)
