"""Jobs lost to the machine run again; jobs that failed by themselves do not."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from autoselection.config import load_config
from autoselection.errors import ConfigError
from autoselection.evaluation import EvaluationConfig, EvaluationJob, EvaluationResult
from autoselection.executors.contract import run_jobs
from autoselection.tasks import TaskConfig


def job(seed: int) -> EvaluationJob:
    """A job told apart by its seed; these backends never train it."""
    task = TaskConfig(name="addition", dev=Path("dev.jsonl"))
    return EvaluationJob("base", None, None, (task,), "dev", seed, EvaluationConfig(), Path("work"))


class ScriptedBackend:
    """Ends jobs first in, first out, with what the script says: a result's failure kind, or a reason for a loss."""

    def __init__(self, script: dict[int, list[str]]) -> None:
        self.script = script
        self.most_running = 0

    def start(self, started: EvaluationJob) -> tuple[int, int]:
        return started.seed, len(self.script[started.seed])

    def finished(self, running: Sequence[tuple[int, int]]) -> list[tuple[tuple[int, int], EvaluationResult | str]]:
        self.most_running = max(self.most_running, len(running))
        handle = running[0]
        step = self.script[handle[0]].pop(0)
        if step == "ok":
            return [(handle, EvaluationResult("dev", handle[0], 1.0))]
        if step == "training":
            return [(handle, EvaluationResult.failed(job(handle[0]), "diverged", kind="training"))]
        return [(handle, step)]


def test_lost_jobs_run_again_until_the_retries_are_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoselection.executors.contract.FIRST_PAUSE", 0.0)
    backend = ScriptedBackend({0: ["worker killed", "ok"], 1: ["ok"], 2: ["disk full", "disk full", "disk full"]})
    results = dict(run_jobs(backend, [job(0), job(1), job(2)], workers=2, retries=2))
    assert results[0].score == 1.0 and results[1].score == 1.0
    assert (results[2].failure_kind, results[2].failure) == ("infrastructure", "disk full")
    assert backend.most_running == 2


class NoRoom(ScriptedBackend):
    """Cannot start the jobs of some seeds so many times."""

    def __init__(self, script: dict[int, list[str]], refuses: dict[int, int], error: Exception) -> None:
        super().__init__(script)
        self.refuses, self.error = refuses, error

    def start(self, started: EvaluationJob) -> tuple[int, int]:
        if self.refuses.get(started.seed, 0):
            self.refuses[started.seed] -= 1
            raise self.error
        return super().start(started)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EAGAIN, "Resource temporarily unavailable"), OSError(errno.ESTALE, "Stale file handle"),
     RuntimeError("can't start new thread"), MemoryError()],
)  # fmt: skip
def test_a_job_that_the_machine_cannot_start_is_lost_and_takes_no_other_with_it(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("autoselection.executors.contract.time.sleep", waits.append)
    backend = NoRoom({0: ["ok"], 1: ["ok"], 2: ["ok"]}, {1: 1, 2: 9}, error)
    results = dict(run_jobs(backend, [job(0), job(1), job(2)], workers=3, retries=2))
    assert results[0].score == results[1].score == 1.0
    assert results[2].failure_kind == "infrastructure" and "could not be started" in str(results[2].failure)
    assert backend.refuses[2] == 6 and waits, "three attempts, with pauses"


def test_a_job_that_cannot_be_started_by_a_mistake_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        dict(
            run_jobs(
                NoRoom({0: ["ok"]}, {0: 1}, FileNotFoundError(errno.ENOENT, "srun")), [job(0)], workers=1, retries=2
            )
        )


def test_a_lost_job_waits_before_it_runs_again_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("autoselection.executors.contract.time.sleep", waits.append)
    script = {0: ["memory", "memory", "ok"], 1: ["ok", "ok"]}
    results = dict(run_jobs(ScriptedBackend(script), [job(0), job(1)], workers=2, retries=2))
    assert results[0].score == 1.0
    assert waits == [2.0]  # the first time, the other job was still running


def test_a_training_failure_is_a_result() -> None:
    results = dict(run_jobs(ScriptedBackend({0: ["training"]}), [job(0)], workers=1, retries=5))
    assert results[0].failure_kind == "training"


def test_a_mistake_is_raised_when_what_ended_with_it_has_been_yielded() -> None:
    class Both(ScriptedBackend):
        def finished(self, running: Sequence[tuple[int, int]]) -> list[tuple[tuple[int, int], Any]]:
            return [(running[0], ConfigError("a mistake")), (running[1], EvaluationResult("dev", 1, 1.0))]

    found = run_jobs(Both({0: ["ok"], 1: ["ok"]}), [job(0), job(1)], workers=2, retries=2)
    assert next(found)[0] == 1
    with pytest.raises(ConfigError, match="a mistake"):
        next(found)


@pytest.mark.parametrize(
    ("key", "known"),
    [("executor.kind", "local"), ("evaluation.engine", "transformers"), ("evaluation.sft.trainer", "llamafactory")],
)
def test_an_unknown_name_is_refused_where_it_stands_with_a_suggestion(key: str, known: str, tmp_path: Path) -> None:
    path, wrong = tmp_path / "study.yaml", known[:-1]
    path.write_text("pool: {path: p}\nmodel: {path: m}\ntasks: [{name: t, dev: d.jsonl}]\n")
    what = "executor" if key == "executor.kind" else key.rpartition(".")[2]
    with pytest.raises(ConfigError) as told:
        load_config(path, [f"{key}={wrong}"])
    assert str(told.value) == f"--set {key}: {key}: there is no {what} '{wrong}'; did you mean '{known}'?"
