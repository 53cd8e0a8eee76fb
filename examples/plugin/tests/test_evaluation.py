"""Trainer, engine and executor keep their contracts; real trainings of the demo's model, a few seconds each."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import autoselection_plugin_example.executor as executor_module
import pytest
from autoselection_plugin_example.engine import LoggedEngine, LoggedOptions
from autoselection_plugin_example.executor import FolderExecutor, FolderOptions
from autoselection_plugin_example.trainer import PartialOptions, PartialTrainer

from autoselection.demo import model_dir, task_file
from autoselection.errors import AutoSelectionError
from autoselection.evaluation import EvaluationConfig, EvaluationJob, EvaluationResult
from autoselection.executors import ExecutorConfig
from autoselection.tasks import TaskConfig
from autoselection.testing import check_engine, check_executor, check_trainer


@pytest.mark.parametrize("weights", [("norm",), ("lm_head", "embed")])
def test_the_trainer_keeps_its_contract(weights):
    check_trainer(lambda config: PartialTrainer(config, PartialOptions(weights=weights)))


def test_the_engine_keeps_its_contract():
    check_engine(lambda config: LoggedEngine(config, LoggedOptions()))


def test_the_executor_keeps_its_contract():
    check_executor(lambda config: FolderExecutor(config, FolderOptions()))


def job(folder: Path, split: str = "dev") -> EvaluationJob:
    """The demo's model on two items of the demo's task, which has no test items."""
    task = TaskConfig(name="addition", dev=task_file("addition", "dev"), dev_limit=2)
    config = EvaluationConfig.model_validate({"threads": 1, "device": "cpu"})
    return EvaluationJob(str(model_dir()), None, None, (task,), split, 0, config, folder / split)


def wait_for(happened):
    for _ in range(3000):
        if happened():
            return
        time.sleep(0.1)
    raise AssertionError("it never happened")


def test_a_mistake_takes_no_result_with_it_that_ended_beside_it(tmp_path):
    executor = FolderExecutor(ExecutorConfig(workers=2), FolderOptions())
    try:
        started = [executor.start(job(tmp_path)), executor.start(job(tmp_path, "test"))]
        for split in ("dev", "test"):
            wait_for(lambda split=split: (tmp_path / split / "command" / "result.pickle").exists())
        found = {}
        while len(found) < 2:
            found |= dict(executor.finished([number for number in started if number not in found]))
    finally:
        executor.close()
    good, wrong = (found[number] for number in started)
    assert isinstance(good, EvaluationResult) and good.failure is None and isinstance(wrong, AutoSelectionError)
    assert not (tmp_path / "dev" / "command").exists(), "a result is not left lying about"


STARTS = """
import sys, time
from pathlib import Path
from autoselection.executors import ExecutorConfig
from autoselection_plugin_example.executor import FolderExecutor, FolderOptions
from test_evaluation import job
folder = Path(sys.argv[1])
executor = FolderExecutor(ExecutorConfig(), FolderOptions(prefix=(sys.executable, "-c", sys.argv[2], str(folder / "code"))))
executor.start(job(folder))
print("started", flush=True)
time.sleep(600)
"""
#: Runs the command, as a batch system would, and notes how it ended.
PREFIX = "import subprocess, sys; code = subprocess.call(sys.argv[2:]); open(sys.argv[1], 'w').write(str(code))"


def test_a_command_ends_with_the_study_that_was_killed(tmp_path):
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    study = subprocess.Popen(
        [sys.executable, "-c", STARTS, str(tmp_path), PREFIX],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert study.stdout.readline() == b"started\n"
    study.kill()
    study.wait()
    study.stdout.close()
    wait_for((tmp_path / "code").exists)
    wait_for((tmp_path / "code").read_text)
    assert (tmp_path / "code").read_text() == "1" and not (tmp_path / "dev" / "command" / "result.pickle").exists()


DEAF = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open(sys.argv[1], 'w'); time.sleep(600)"
)


def test_a_command_that_does_not_end_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(executor_module, "_PATIENCE", 0.2)
    prefix = (sys.executable, "-c", DEAF, str(tmp_path / "deaf"))
    executor = FolderExecutor(ExecutorConfig(), FolderOptions(prefix=prefix))
    executor.start(job(tmp_path))
    wait_for((tmp_path / "deaf").exists)
    started = time.monotonic()
    executor.close()
    assert time.monotonic() - started < 60
