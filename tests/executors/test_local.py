"""Evaluations in real worker processes, one of which is killed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import popen_forkserver
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from autoselection.demo import model_dir, task_file
from autoselection.errors import ConfigError
from autoselection.evaluation import EvaluationConfig, EvaluationJob, EvaluationResult, memory
from autoselection.evaluation.memory import planned_gpu_bytes, share_gpu
from autoselection.executors import ExecutorConfig, LocalExecutor
from autoselection.executors.local import sharers
from autoselection.tasks import TaskConfig


def workers_of(parent: int) -> list[int]:
    """Process ids of the workers, which a server that is a child of ``parent`` has forked; it gives them its own command."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                command = (folder / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if b"multiprocessing.forkserver" in command:
                parents[int(folder.name)] = int(fields[1])
    return [process for process, server in parents.items() if parents.get(server) == parent]


def two_jobs(folder: Path) -> list[EvaluationJob]:
    task = TaskConfig(name="addition", dev=task_file("addition", "dev"), dev_limit=4)
    return [
        EvaluationJob(str(model_dir()), None, None, (task,), "dev", seed, EvaluationConfig(threads=1), folder)
        for seed in (0, 1)
    ]


def run_and_kill(jobs: list[EvaluationJob], workers: int, retries: int) -> dict[int, EvaluationResult]:
    """The results where one worker is killed as soon as all have been started."""
    killed: list[int] = []

    def kill_a_worker() -> None:
        deadline = time.monotonic() + 60
        while not killed and time.monotonic() < deadline:
            found = workers_of(os.getpid())
            if len(found) == workers:
                os.kill(found[0], signal.SIGKILL)
                killed.append(found[0])
            time.sleep(0.05)

    executor = LocalExecutor(ExecutorConfig(workers=workers, retries=retries))
    killer = threading.Thread(target=kill_a_worker)
    killer.start()
    try:
        results = dict(executor.run(jobs))
    finally:
        killer.join()
        executor.close()
    assert killed
    return results


def test_a_killed_worker_costs_one_attempt_and_no_result(tmp_path: Path) -> None:
    results = run_and_kill(two_jobs(tmp_path), workers=1, retries=1)
    assert all(result.failure is None and result.score < 0 for result in results.values())
    assert results[0].scores == results[1].scores  # without training there is nothing for a seed to change
    assert workers_of(os.getpid()) == []


def test_a_killed_worker_takes_no_job_of_another_with_it(tmp_path: Path) -> None:
    results = run_and_kill(two_jobs(tmp_path), workers=2, retries=0)
    assert sorted(result.failure_kind or "none" for result in results.values()) == ["infrastructure", "none"]
    assert workers_of(os.getpid()) == []


def test_a_worker_that_the_system_has_no_process_for_is_started_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[object] = []
    launch = popen_forkserver.Popen._launch

    def full(popen: popen_forkserver.Popen, process: object) -> None:
        if not refused:
            refused.append(process)
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        launch(popen, process)

    monkeypatch.setattr(popen_forkserver.Popen, "_launch", full)
    executor = LocalExecutor(ExecutorConfig(retries=1))
    try:
        results = list(executor.run(two_jobs(tmp_path)))
    finally:
        executor.close()
    assert refused and sorted(index for index, _ in results) == [0, 1]
    assert all(result.failure is None for _, result in results) and workers_of(os.getpid()) == []


def test_workers_have_the_variables_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("first", "second"):  # the server of the first is there when the second one starts
        monkeypatch.setenv("OPENAI_API_KEY", key)
        executor = LocalExecutor(ExecutorConfig())
        try:
            list(executor.run(two_jobs(tmp_path)[:1]))
            pool = executor._workers[0]._pool
            assert pool is not None and pool.submit(os.getenv, "OPENAI_API_KEY").result() == key
        finally:
            executor.close()


@pytest.mark.parametrize(("built_for", "imported"), [("None", True), ("'13.0'", False)])
def test_what_may_ask_for_a_gpu_is_not_imported_before_a_fork_where_there_may_be_one(
    built_for: str, imported: bool
) -> None:
    told = (
        f"import sys, torch; torch.version.cuda = {built_for}; import autoselection.executors.preload; "
        "print('trl' in sys.modules, torch.cuda.is_initialized())"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(imported), "False"]


SCRIPT = """
import sys
from pathlib import Path
from autoselection.demo import model_dir, task_file
from autoselection.evaluation import EvaluationConfig, EvaluationJob
from autoselection.executors import ExecutorConfig, LocalExecutor
from autoselection.tasks import TaskConfig

task = TaskConfig(name="addition", dev=task_file("addition", "dev"), dev_limit=4)
job = EvaluationJob(str(model_dir()), None, None, (task,), "dev", 0, EvaluationConfig(threads=1), Path(sys.argv[1]))
executor = LocalExecutor(ExecutorConfig(devices=("0",)))
print(list(executor.run([job])))
"""


def run_script(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "my.py").write_text(text)
    return subprocess.run([sys.executable, "my.py", str(folder)], cwd=folder, capture_output=True, text=True)


def test_a_script_without_a_guard_is_told_so_and_not_tried_again(tmp_path: Path) -> None:
    done = run_script(SCRIPT, tmp_path)
    assert done.returncode == 1
    said = done.stderr.strip().splitlines()[-1]
    assert "A worker process ended while it was started (exit code 1)" in said and '__name__ == "__main__":' in said
    assert "runs again" not in done.stderr and "lack of memory" not in done.stderr
    assert done.stderr.count("ConfigError: This is a worker process that is being started") == 1


def test_a_script_whose_workers_cannot_start_is_told_that_and_not_of_memory(tmp_path: Path) -> None:
    guarded = SCRIPT.replace("\nexecutor =", "\nif __name__ == '__mp_main__':\n    raise SystemExit(3)\nexecutor =")
    done = run_script(guarded, tmp_path)
    assert "(exit code 1)" in done.stderr.strip().splitlines()[-1] and "runs again" not in done.stderr


def test_a_mistake_does_not_take_the_results_of_others_with_it() -> None:
    ended: list[Future[EvaluationResult]] = [Future() for _ in range(3)]
    found, mistake = EvaluationResult("dev", 0, 1.0), ConfigError("no such split")
    ended[0].set_exception(mistake)
    ended[1].set_result(found)
    ended[2].set_exception(BrokenProcessPool("gone"))
    outcomes = LocalExecutor(ExecutorConfig(workers=4)).finished(ended)
    assert outcomes[:2] == [(ended[0], mistake), (ended[1], found)]
    assert outcomes[2][0] is ended[2] and "was killed" in str(outcomes[2][1])


@pytest.mark.parametrize(
    ("workers", "devices", "each"),
    [
        (1, (), [1]),
        (3, (), [3, 3, 3]),  # all on the one that PyTorch takes
        (3, ("0", "1"), [2, 1, 2]),
        (4, ("0", "0", "1"), [3, 3, 1, 3]),
        (1, ("0", "1"), [1]),
    ],
)
def test_workers_on_one_gpu_plan_for_a_share_of_it(
    workers: int, devices: tuple[str, ...], each: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [sharers(index, workers, devices) for index in range(workers)] == each
    monkeypatch.setattr(memory, "_sharers", 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=48 << 30))
    for count in each:
        share_gpu(count)
        assert planned_gpu_bytes("cuda") == (12 << 30) // count
