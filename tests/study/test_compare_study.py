"""Methods on a study's own pool: with real trainings, killed and started again, and with an evaluator that fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.report.drawn import figures_of
from typer.testing import CliRunner

from autoselection import cli
from autoselection.compare import Comparison, run_compare
from autoselection.compare import run as compare_run
from autoselection.config import load_config
from autoselection.errors import AutoSelectionError, ConfigError, StudyError
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.pool import Pool
from autoselection.recipes import subset_hash
from autoselection.report import write_comparison_page
from autoselection.report.comparison_page import comparison_page
from autoselection.study import read_events

METHODS = ("random", "single-operators", "ours")
BUDGET = 3


class FastExecutor:
    """Scores a subset by its size without training it; may fail or lose what it is told to."""

    def __init__(self) -> None:
        self.jobs: list[tuple[str, str, int]] = []
        self.batches: list[int] = []
        self.fails: set[str] = set()
        self.loses: set[str] = set()

    def run(self, jobs: Sequence[EvaluationJob]) -> Iterator[tuple[int, EvaluationResult]]:
        self.batches.append(len(jobs))
        for place in reversed(range(len(jobs))):  # the order of completion is any
            job = jobs[place]
            assert job.rows is not None
            key = subset_hash(job.rows)
            self.jobs.append((key, job.split, job.seed))
            if key in self.loses:
                yield place, EvaluationResult.failed(job, "the disk is full", "infrastructure")
            elif key in self.fails:
                yield place, EvaluationResult.failed(job, "the loss is not a number")
            else:
                yield place, self._result(job)

    def _result(self, job: EvaluationJob) -> EvaluationResult:
        assert job.rows is not None
        values = [abs(len(job.rows) - 150) / 100 + 0.01 * (job.seed % 7) + 0.001 * item for item in range(12)]
        items = {task.name: {"ids": [str(i) for i in range(12)], "nll": values} for task in job.tasks}
        scores = {task.name: -float(np.mean(values)) for task in job.tasks}
        seconds = {"train": 0.0, "eval": 0.0, "total": 0.0}
        return EvaluationResult(job.split, job.seed, float(np.mean(list(scores.values()))), scores, {}, items, seconds)

    def close(self) -> None:
        pass


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> FastExecutor:
    made = FastExecutor()
    monkeypatch.setattr(compare_run, "make_executor", lambda config: made)
    return made


def _compare(config: Path, out: Path, names: Sequence[str] = METHODS, **more: Any) -> Comparison:
    overrides = more.pop("overrides", [])
    return run_compare(
        load_config(config, overrides), names, more.pop("budget", BUDGET), more.pop("seeds", (0, 1)), out
    )


def _keys(out: Path) -> list[str]:
    return [event["key"] for event in read_events(out / "journal.jsonl") if event["event"] == "evaluation"]


def test_the_table_says_what_happened(study_config: Path, tmp_path: Path, executor: FastExecutor) -> None:
    found = _compare(study_config, tmp_path)
    assert {item.method for item in found.methods} == set(METHODS) and found.reference == "random"
    bests = [item.best_dev for item in found.methods]
    assert bests == sorted(bests, reverse=True)
    for item in found.methods:
        assert [run.seed for run in item.runs] == [0, 1]
        for run in item.runs:
            assert len(run.curve) == BUDGET and run.evaluations == BUDGET and run.failed == 0
            assert list(run.curve) == sorted(run.curve)
            assert run.test == pytest.approx(run.best_dev)  # this evaluator scores both splits alike
        if item.method != "random":
            other = next(entry for entry in found.methods if entry.method == "random")
            assert item.difference is not None and item.test is not None and other.test is not None
            assert item.difference.value == pytest.approx(item.test - other.test)
    assert json.loads((tmp_path / "comparison.json").read_text())["methods"][0]["method"] == found.methods[0].method
    assert "| ours |" in (tmp_path / "comparison.md").read_text()
    run = found.methods[0].runs[0]
    ids = json.loads((tmp_path / "incumbents" / f"{run.method}-seed{run.seed}.json").read_text())
    pool = Pool.open(load_config(study_config).pool.path or Path())
    assert subset_hash(pool.row_of(ids)) == run.incumbent


def test_what_methods_pick_is_filed_under_names_that_every_system_has(
    study_config: Path, tmp_path: Path, executor: FastExecutor
) -> None:
    _compare(study_config, tmp_path, ("random", "mix:equal"), seeds=(0,))
    files = {path.name: json.loads(path.read_text()) for path in (tmp_path / "incumbents").iterdir()}
    assert sorted(files) == ["mix-equal-seed0.json", "random-seed0.json"]
    assert all(ids and all(isinstance(each, str) for each in ids) for ids in files.values())


class Forgetting(FastExecutor):
    """The fewer rows the better on addition and the worse on boolean, of which the untrained model knows all."""

    def run(self, jobs: Sequence[EvaluationJob]) -> Iterator[tuple[int, EvaluationResult]]:
        for place, job in enumerate(jobs):
            self.jobs.append(("" if job.rows is None else subset_hash(job.rows), job.split, job.seed))
            share = 1.0 if job.rows is None else len(job.rows) / 400
            by_task = {"addition": -share, "boolean": share}
            scores = {task.name: by_task[task.name] for task in job.tasks}
            items = {name: {"ids": ["0", "1"], "nll": [-value] * 2} for name, value in scores.items()}
            seconds = {"train": 0.0, "eval": 0.0, "total": 0.0}
            yield place, EvaluationResult(job.split, job.seed, scores["addition"], scores, {}, items, seconds)


def test_what_methods_pick_keeps_the_floors(
    study_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Forgetting()
    monkeypatch.setattr(compare_run, "make_executor", lambda config: made)
    floors = ["tasks.1.weight=0", "tasks.1.floor=base - 0.6"]
    names, budget = ("random", "ours"), 6
    free = _compare(study_config, tmp_path / "free", names, budget=budget, overrides=floors[:1])
    kept = _compare(study_config, tmp_path / "kept", names, budget=budget, overrides=floors)
    assert ("", "dev", 0) in made.jobs, "the untrained model is what the floor is measured from"
    for one, other in zip(
        sorted(free.methods, key=lambda item: item.method),
        sorted(kept.methods, key=lambda item: item.method),
        strict=True,
    ):
        for run in other.runs:
            assert run.rows >= 0.4 * 400 and run.evaluations == budget, "references are no part of the budget"
        assert min(run.rows for run in one.runs) < 0.4 * 400
    with pytest.raises(StudyError, match="comparison of other floors"):
        _compare(study_config, tmp_path / "kept", names, budget=budget, overrides=[floors[0], "tasks.1.floor=0.2"])


def test_the_page_draws_what_the_table_says(study_config: Path, tmp_path: Path, executor: FastExecutor) -> None:
    go = pytest.importorskip("plotly.graph_objects")
    found = _compare(study_config, tmp_path)
    page = comparison_page(found)
    figures = {figure.title: figure for figure in figures_of(page)}
    assert set(figures) == {"Differences on test", "Best so far", "Every seed"}
    for figure in figures.values():
        go.Figure(list(figure.traces), dict(figure.layout))
    curve = next(trace for trace in figures["Best so far"].traces if trace["name"] == found.methods[0].method)
    assert curve["y"] == pytest.approx(found.methods[0].curve)
    text = write_comparison_page(found, tmp_path / "page.html").read_text("utf-8")
    assert "single-operators, seed 1" in text and "<script src=" not in text


def test_nothing_is_evaluated_twice(study_config: Path, tmp_path: Path, executor: FastExecutor) -> None:
    first = _compare(study_config, tmp_path)
    assert len(set(executor.jobs)) == len(executor.jobs) == len(set(_keys(tmp_path))) == first.evaluations
    assert max(executor.batches) > 1, "methods are evaluated side by side"
    before = (tmp_path / "journal.jsonl").read_bytes()
    again = _compare(study_config, tmp_path)
    assert again.evaluations == 0 and (tmp_path / "journal.jsonl").read_bytes() == before

    def outcomes(found: Comparison) -> list[Any]:
        return [(run.method, run.seed, run.curve, run.incumbent, run.test) for m in found.methods for run in m.runs]

    assert outcomes(again) == outcomes(first)


def test_methods_share_evaluations(study_config: Path, tmp_path: Path, executor: FastExecutor) -> None:
    overrides = ["final.enabled=false"]
    _compare(study_config, tmp_path, ["random"], overrides=overrides)
    spent = len(executor.jobs)
    more = _compare(study_config, tmp_path, ["random", "single-operators"], overrides=overrides)
    assert len(executor.jobs) - spent == more.evaluations <= 2 * BUDGET
    longer = _compare(study_config, tmp_path, ["random"], budget=BUDGET + 1, overrides=overrides)
    assert longer.evaluations <= 2
    changed = _compare(study_config, tmp_path, ["random"], overrides=[*overrides, "evaluation.sft.max_steps=5"])
    assert changed.evaluations == spent, "another training is another evaluation"


def test_all_single_operators_are_evaluated_whatever_the_budget(
    study_config: Path, tmp_path: Path, executor: FastExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    found = _compare(study_config, tmp_path, ["random", "single-operators", "single-operators:all"], seeds=[0])
    by_name = {item.method: item for item in found.methods}
    (run,) = by_name["single-operators:all"].runs
    assert BUDGET < run.evaluations <= len(run.curve)
    assert run.best_dev >= by_name["single-operators"].runs[0].best_dev
    assert f"single-operators:all: {len(run.curve)} evaluations" in capsys.readouterr().err
    text = (tmp_path / "comparison.md").read_text()
    assert f"single-operators:all ({len(run.curve)} evaluations)" in text
    lines = [line for line in text.splitlines() if line.startswith("| single-operators:all |")]
    assert [line.count("|") for line in lines] == [BUDGET + 2], "its curve is shown up to the budget of the others"
    assert len(set(executor.jobs)) == len(executor.jobs), "what methods share is trained once"


def test_test_is_scored_after_the_search_and_for_one_comparison(
    study_config: Path, tmp_path: Path, executor: FastExecutor
) -> None:
    _compare(study_config, tmp_path)
    events = [(event["event"], event.get("split")) for event in read_events(tmp_path / "journal.jsonl")]
    plan = events.index(("test_plan", None))
    assert ("evaluation", "test") not in events[:plan] and ("evaluation", "dev") not in events[plan:]
    with pytest.raises(StudyError, match="already scored for a comparison of other budget"):
        _compare(study_config, tmp_path, budget=BUDGET + 1)
    with pytest.raises(StudyError, match="other methods"):
        _compare(study_config, tmp_path, ["random"])


def test_a_failed_training_counts_and_a_lost_one_does_not(
    study_config: Path, tmp_path: Path, executor: FastExecutor
) -> None:
    _compare(study_config, tmp_path / "whole", seeds=(0,))
    first = [key for key, split, _ in executor.jobs if split == "dev"][:3]  # the first of each method

    executor.fails = {first[0]}
    found = _compare(study_config, tmp_path / "failed", seeds=(0,))
    assert sum(run.failed for item in found.methods for run in item.runs) == 1
    assert all(run.evaluations == BUDGET for item in found.methods for run in item.runs)

    executor.fails, executor.loses = set(), {first[1]}
    out = tmp_path / "lost"
    with pytest.raises(StudyError, match=r"1 evaluation\(s\) were lost.*the disk is full.*same command again"):
        _compare(study_config, out, seeds=(0,))
    kept = _keys(out)
    assert len(kept) >= 2 * BUDGET, "the other methods spent their budgets"
    assert not any("/test/" in key for key in kept)
    executor.loses = set()
    _compare(study_config, out, seeds=(0,))
    assert _keys(out)[: len(kept)] == kept and len(set(_keys(out))) == len(_keys(out))


def test_several_training_seeds_are_averaged(study_config: Path, tmp_path: Path, executor: FastExecutor) -> None:
    found = _compare(study_config, tmp_path, ["random"], seeds=(0,), overrides=["evaluation.seeds=[0, 3]"])
    (run,) = found.methods[0].runs
    assert {seed for _, split, seed in executor.jobs if split == "dev"} == {0, 3}
    assert run.test is not None and run.best_dev == pytest.approx(run.test - 0.015)  # the mean of seeds 0 and 3


def test_one_sentence_for_every_mistake(study_config: Path, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path)]
    for arguments, words in (
        (["--methods", "random,our"], "no method 'our'; did you mean 'ours'?"),
        (["--methods", "random", "--seeds", "a"], "--seeds a"),
        (["--methods", "random", "--seeds", "1,1"], "--seeds 1,1: expected different seeds from 0"),
        (["--methods", "random", "--budget", "0"], "--budget must be at least 1"),
    ):
        result = CliRunner().invoke(cli.app, ["compare", str(study_config), *out, *arguments])
        assert isinstance(result.exception, ConfigError) and words in str(result.exception)
    assert not (tmp_path / "journal.jsonl").exists()
    assert issubclass(ConfigError, AutoSelectionError)


@pytest.mark.slow
def test_kill_nine_repeats_nothing_with_real_trainings(study_config: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = [
        "--methods",
        "random,single-operators",
        "--budget",
        "2",
        "--out",
        str(out),
        "--json",
        "--set",
        "executor.workers=1",
    ]
    command = [sys.executable, "-m", "autoselection", "compare", str(study_config), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (out / "journal.jsonl").exists() or len(_keys(out)) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = _keys(out)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    document = json.loads(done.stdout)
    keys = _keys(out)
    assert keys[: len(kept)] == kept and len(set(keys)) == len(keys)
    assert document["evaluations_made"] == len(keys) - len(kept)
    for method in document["methods"]:
        (run,) = method["runs"]
        assert run["evaluations"] == 2 and run["test"] < 0 and set(run["test_tasks"]) == {"addition", "boolean"}


def test_levels_that_would_be_paid_for_unevenly_are_refused(study_config: Path, tmp_path: Path) -> None:
    for override, why in (
        (
            "search.fidelity={level: 0.11, cost: 0.4}",
            r"counts a short training by its share .*\(level: 0.11\), not as 0.4",
        ),
        ("search.fidelity={items: 0.5}", "evaluates the configured model on all items"),
    ):
        with pytest.raises(ConfigError, match=why):
            _compare(study_config, tmp_path / "out", overrides=[override])
    assert not (tmp_path / "out").exists()
