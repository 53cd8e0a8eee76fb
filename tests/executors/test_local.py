"""Evaluations in real worker processes, one of which is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from autoselection.demo import model_dir, task_file
from autoselection.evaluation import EvaluationConfig, EvaluationJob, memory
from autoselection.evaluation.memory import planned_gpu_bytes, share_gpu
from autoselection.executors import ExecutorConfig, LocalExecutor
from autoselection.executors.local import sharers
from autoselection.tasks import TaskConfig


def workers_of(parent: int) -> list[int]:
    """Process ids of the spawned workers (not of multiprocessing's resource tracker)."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                command = (folder / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == parent and b"spawn_main" in command:
                found.append(int(folder.name))
    return found


def test_a_killed_worker_costs_one_attempt_and_no_result(tmp_path: Path) -> None:
    task = TaskConfig(name="addition", dev=task_file("addition", "dev"), dev_limit=4)
    jobs = [
        EvaluationJob(str(model_dir()), None, None, (task,), "dev", seed, EvaluationConfig(threads=1), tmp_path)
        for seed in (0, 1)
    ]
    killed: list[int] = []

    def kill_the_first_worker() -> None:
        deadline = time.monotonic() + 60
        while not killed and time.monotonic() < deadline:
            for worker in workers_of(os.getpid())[:1]:
                os.kill(worker, signal.SIGKILL)
                killed.append(worker)
            time.sleep(0.05)

    executor = LocalExecutor(ExecutorConfig(workers=1, retries=1))
    killer = threading.Thread(target=kill_the_first_worker)
    killer.start()
    try:
        results = dict(executor.run(jobs))
    finally:
        killer.join()
        executor.close()
    assert killed
    assert all(result.failure is None and result.score < 0 for result in results.values())
    assert results[0].scores == results[1].scores  # without training there is nothing for a seed to change
    assert workers_of(os.getpid()) == []


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
