"""Where evaluations run. An executor takes jobs and yields results as they finish."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import ClassVar, Generic, Protocol, TypeVar

from pydantic import Field

from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.executors.registry import EXECUTORS
from autoselection.progress import console
from autoselection.schema import Configured, StrictModel
from autoselection.system import machine_error
from autoselection.terminal import styled

#: Wait before a lost evaluation runs again where nothing else runs (s), doubled with every attempt: others' memory may be
#: free by then, and if not, it is by one of the later attempts.
FIRST_PAUSE = 1.0

Handle = TypeVar("Handle")


class ExecutorConfig(Configured):
    """Where and how many evaluations run side by side."""

    registry = EXECUTORS
    chosen_by = "kind"

    kind: str = Field(
        "local",
        description="Where: local (processes on this machine), ray, or an executor that another package registers.",
    )
    workers: int = Field(1, ge=1, le=256, description="Evaluations that run side by side (count).")
    retries: int = Field(
        2,
        ge=0,
        le=10,
        description="How often an evaluation lost to the infrastructure (a killed worker, a full disk) is run again.",
    )
    devices: tuple[str, ...] = Field(
        (),
        description="CUDA device ids handed to the local workers in turn; empty leaves the visible devices as they are.",
    )
    gpus_per_worker: float = Field(
        0.0, ge=0.0, description="GPUs each Ray worker reserves (count); ignored by the local executor."
    )


class Executor(Protocol):
    """Runs evaluation jobs. Made of the configuration that names it (and its options, if it has some); nothing is started,
    and nothing but what is missing here is complained of, before :meth:`run`.

    Contract (:func:`autoselection.testing.check_executor` checks it):

    - every job yields one result, that of :func:`~autoselection.evaluation.evaluate`, as soon as it is there;
    - a job lost to the infrastructure (a killed worker, a full disk) is run again, ``config.retries`` times; then its result
      carries ``failure_kind == "infrastructure"``;
    - an error that is a mistake of the user's or ours (:class:`~autoselection.errors.AutoSelectionError`) is raised;
    - it can run again after jobs, and be closed twice.

    :func:`run_jobs` does the second for whoever can start a job and tell which one ended.
    """

    #: Model of its options, None if it has none: see :class:`~autoselection.plugins.Registry`.
    options: ClassVar[type[StrictModel] | None] = None
    #: Whether jobs run on this machine, so that what they need can be looked for here.
    local: ClassVar[bool] = False

    def run(self, jobs: Sequence[EvaluationJob]) -> Iterator[tuple[int, EvaluationResult]]:
        """Yield (index of the job, its result) in the order of completion."""
        ...

    def close(self) -> None:
        """Stop the workers; jobs still running are lost."""
        ...


def make_executor(config: ExecutorConfig) -> Executor:
    """The executor that a configuration names.

    Raises:
        ConfigError: there is none of this name, or the package that registers it is broken.
        MissingExtraError: Ray is asked for and not installed.
    """
    executor: Executor = EXECUTORS.make(config)
    return executor


class Backend(Protocol, Generic[Handle]):
    """What an executor has to know about the machines: how to start a job, and which job ended."""

    def start(self, job: EvaluationJob) -> Handle:
        """Start one job."""
        ...

    def finished(self, running: Sequence[Handle]) -> Sequence[tuple[Handle, EvaluationResult | str | BaseException]]:
        """Wait until at least one job ends; a lost job comes with the reason instead of a result, a mistake with its error."""
        ...


def run_jobs(
    backend: Backend[Handle], jobs: Sequence[EvaluationJob], *, workers: int, retries: int
) -> Iterator[tuple[int, EvaluationResult]]:
    """Run ``jobs``, at most ``workers`` at once, lost ones again up to ``retries`` times; yield as they finish. One that cannot
    be started for lack of processes, memory and the like is lost, too.

    Before a lost job runs again with nothing beside it, ``FIRST_PAUSE`` seconds pass, twice as many with every attempt.

    Raises:
        BaseException: the error of a job that is a mistake, when the results of those that ended with it have been yielded.
    """
    queue = deque(range(len(jobs)))
    attempts = [0] * len(jobs)
    running: dict[Handle, int] = {}

    def runs_again(index: int, result: EvaluationResult) -> bool:
        if result.failure_kind != "infrastructure" or attempts[index] > retries:
            return False
        console.say(styled("Evaluation runs again:", "yellow"), f" {result.failure}")
        queue.append(index)
        return True

    while queue or running:
        while queue and len(running) < workers:
            index = queue.popleft()
            if attempts[index] and not running:
                time.sleep(FIRST_PAUSE * 2 ** (attempts[index] - 1))
            attempts[index] += 1
            try:
                running[backend.start(jobs[index])] = index
            except (OSError, RuntimeError, MemoryError) as error:
                if machine_error(error) is None:
                    raise
                lost = EvaluationResult.failed(jobs[index], f"It could not be started: {error}.", kind="infrastructure")
                if not runs_again(index, lost):
                    yield index, lost
                break  # what runs may hold what it lacks
        if not running:
            continue
        mistakes: list[BaseException] = []
        for handle, outcome in backend.finished(list(running)):
            index = running.pop(handle)
            if isinstance(outcome, BaseException):
                mistakes.append(outcome)
                continue
            if isinstance(outcome, str):
                outcome = EvaluationResult.failed(jobs[index], outcome, kind="infrastructure")
            if not runs_again(index, outcome):
                yield index, outcome
        if mistakes:
            raise mistakes[0]
