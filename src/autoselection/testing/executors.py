"""The contract of executors, checked by scoring the demo's model without training (as long as a few processes take to start)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from autoselection.demo import model_dir, task_file
from autoselection.errors import AutoSelectionError
from autoselection.evaluation import EvaluationConfig, EvaluationJob, evaluate
from autoselection.evaluation.runtime import require_packages
from autoselection.executors.contract import Executor, ExecutorConfig
from autoselection.plugins import has_members
from autoselection.tasks import TaskConfig
from autoselection.testing.factories import made_by


def check_executor(make: Callable[[ExecutorConfig], Executor], *, workers: int = 2) -> None:
    """See that an executor keeps the contract of :class:`~autoselection.executors.Executor`.

    What happens to a job that the infrastructure loses cannot be checked from outside: kill a worker in a test of your own.

    Args:
        make: the executor for settings: its class, with its options filled in if it has some.
        workers: evaluations side by side.

    Raises:
        AssertionError: it does not; the sentence says where.
        MissingExtraError: the ``train`` extra is not installed.
    """
    require_packages()
    executor = made_by(make, ExecutorConfig.model_validate({"workers": workers, "retries": 1}))
    assert has_members(executor, Executor), f"{executor!r} lacks a member of Executor."
    try:
        with tempfile.TemporaryDirectory() as folder:
            _check_jobs(executor, Path(folder))
            _check_mistake(executor, Path(folder))
    finally:
        executor.close()
    executor.close()  # a second time does nothing


def _check_jobs(executor: Executor, folder: Path) -> None:
    jobs = [_job(folder, 3), _job(folder, 2)]
    assert list(executor.run([])) == [], "No jobs, no results."
    found = list(executor.run(jobs))
    assert sorted(index for index, _ in found) == [0, 1], "Every job yields one result, with its index."
    for index, result in found:
        wanted = evaluate(jobs[index])
        assert (result.scores, result.items) == (wanted.scores, wanted.items), (
            f"Job {index} has another result than evaluate() gives: {result.failure or result.scores}."
        )


def _check_mistake(executor: Executor, folder: Path) -> None:
    """A job that cannot be evaluated by the user's mistake is an error, and no result with a failure."""
    wrong = _job(folder, 1, split="test")
    try:
        results = list(executor.run([wrong]))
    except AutoSelectionError:
        return
    raise AssertionError(f"A task without items of the split is an error that run() raises, not {results}.")


def _job(folder: Path, items: int, split: str = "dev") -> EvaluationJob:
    """The demo's model without training on some items of the demo's task; it has no test items."""
    task = TaskConfig(name="addition", dev=task_file("addition", "dev"), dev_limit=items)
    config = EvaluationConfig.model_validate({"threads": 1, "device": "cpu"})
    model = str(model_dir())
    return EvaluationJob(model, None, None, (task,), split, 0, config, folder / f"{split}{items}")  # type: ignore[arg-type]
