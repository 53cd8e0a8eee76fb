"""Evaluations on a Ray cluster: every job is a Ray task; Ray places it on a node with room."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any

from autoselection.errors import MissingExtraError
from autoselection.evaluation import EvaluationJob, EvaluationResult, evaluate
from autoselection.evaluation.memory import share_gpu
from autoselection.executors.contract import Executor, ExecutorConfig, run_jobs


def evaluate_sharing(job: EvaluationJob, evaluations: int) -> EvaluationResult:
    """Evaluate on a GPU that so many evaluations use side by side."""
    share_gpu(evaluations)
    return evaluate(job)


class RayExecutor(Executor):
    """Runs jobs as Ray tasks; connects to ``RAY_ADDRESS`` or starts Ray on this machine.

    The pool, model and task paths of a job must be visible on every node (a shared file system).

    Raises:
        MissingExtraError: Ray is not installed.
    """

    def __init__(self, config: ExecutorConfig) -> None:
        if importlib.util.find_spec("ray") is None:
            raise MissingExtraError("ray", "ray", "executor.kind 'ray'")
        self.config = config
        self._connected = False
        self._running: list[Any] = []

    def run(self, jobs: Sequence[EvaluationJob]) -> Iterator[tuple[int, EvaluationResult]]:
        """Yield (index, result) in the order of completion; see :class:`Executor`."""
        config = self.config
        return run_jobs(self, jobs, workers=config.workers, retries=config.retries)

    def start(self, job: EvaluationJob) -> Any:
        """Start a job as a Ray task."""
        import ray

        if not ray.is_initialized():
            ray.init(log_to_driver=False, include_dashboard=False)
            self._connected = True
        options: dict[str, Any] = {"max_retries": 0, "num_cpus": 1}
        reserved = self.config.gpus_per_worker
        if reserved:
            options["num_gpus"] = reserved
        task = ray.remote(**options)(evaluate_sharing).remote(job, int(1 / reserved) if reserved else 1)
        self._running.append(task)
        return task

    def finished(self, running: Sequence[Any]) -> list[tuple[Any, EvaluationResult | str | BaseException]]:
        """Wait for the next result; a lost worker or node comes with Ray's reason, what the evaluation raised as it is."""
        import ray

        done, _ = ray.wait(list(running), num_returns=1)
        self._running.remove(done[0])
        try:
            return [(done[0], ray.get(done[0]))]
        except ray.exceptions.RayTaskError as error:  # a RayError, too
            return [(done[0], _raised(error, ray.exceptions.RayError))]
        except ray.exceptions.RayError as error:
            return [(done[0], _lost(error))]

    def close(self) -> None:
        """Disconnect from Ray; from a session that was there before, take what still runs."""
        running, self._running = self._running, []
        if not running and not self._connected:
            return
        import ray

        if not ray.is_initialized():
            return
        if self._connected:
            self._connected = False
            ray.shutdown()
        else:
            for task in running:
                ray.cancel(task, force=True)


def _raised(error: Any, ray_error: type[Exception]) -> BaseException | str:
    """What the evaluation raised, out of Ray's ``RayTaskError``; a reason where Ray lost what the task was given."""
    cause = error.cause
    if isinstance(cause, ray_error) and type(cause) is not ray_error:
        return _lost(cause)
    # A plain RayError stands in the place of an error that cannot be sent; the traceback is Ray's.
    own = isinstance(cause, BaseException) and not isinstance(cause, ray_error)
    found: BaseException = cause if own else error
    return found


def _lost(error: BaseException) -> str:
    return f"Ray lost the evaluation: {error}"
