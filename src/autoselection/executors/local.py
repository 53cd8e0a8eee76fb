"""Evaluations in processes of this machine: one persistent worker each, started with ``spawn``.

A worker that dies (killed for memory, crashed in native code) takes no other evaluation with it for good: the pool is
rebuilt and the unfinished jobs run again. Workers end by themselves when the process that started them is gone, so
that ``kill -9`` on a study leaves no training behind.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized
from types import FrameType

from autoselection.evaluation import EvaluationJob, EvaluationResult, evaluate
from autoselection.evaluation.memory import share_gpu
from autoselection.executors.contract import Executor, ExecutorConfig, run_jobs

_PARENT_POLL_SECONDS = 1.0


def sharers(index: int, workers: int, devices: Sequence[str]) -> int:
    """How many of the workers have the device of worker ``index``, it counted; without names all have the same one."""
    if not devices:
        return workers
    own = devices[index % len(devices)]
    return sum(devices[other % len(devices)] == own for other in range(workers))


def _start_worker(parent: int, counter: Synchronized[int], workers: int, devices: tuple[str, ...]) -> None:
    # Ctrl-C reaches the whole group of processes; the one that started the worker ends it. A handler that does nothing,
    # unlike SIG_IGN, is not inherited by the programs that a worker starts.
    signal.signal(signal.SIGINT, _wait_to_be_ended)
    _mask_interrupts(signal.SIG_UNBLOCK)
    with counter.get_lock():
        index = counter.value
        counter.value += 1
    share_gpu(sharers(index % workers, workers, devices))
    if devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[index % len(devices)]
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _wait_to_be_ended(number: int, frame: FrameType | None) -> None:
    pass


def _mask_interrupts(how: int) -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(how, {signal.SIGINT})


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back for a moment: processes started meanwhile are born without it, and would print tracebacks else."""
    _mask_interrupts(signal.SIG_BLOCK)
    try:
        yield
    finally:
        _mask_interrupts(signal.SIG_UNBLOCK)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_SECONDS)
    os._exit(1)


class LocalExecutor(Executor):
    """Runs jobs in ``config.workers`` processes."""

    local = True

    def __init__(self, config: ExecutorConfig) -> None:
        self.config = config
        self._pool: ProcessPoolExecutor | None = None
        self._started: list[Future[EvaluationResult]] = []

    def run(self, jobs: Sequence[EvaluationJob]) -> Iterator[tuple[int, EvaluationResult]]:
        """Yield (index, result) in the order of completion; see :class:`Executor`."""
        config = self.config
        return run_jobs(self, jobs, workers=config.workers, retries=config.retries)

    def start(self, job: EvaluationJob) -> Future[EvaluationResult]:
        """Hand a job to the worker processes, which are started on first use."""
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                self.config.workers,
                mp_context=context,
                initializer=_start_worker,
                initargs=(os.getpid(), context.Value("i", 0), self.config.workers, self.config.devices),
            )
        with _without_interrupts():
            future = self._pool.submit(evaluate, job)
        self._started.append(future)
        return future

    def finished(
        self, running: Sequence[Future[EvaluationResult]]
    ) -> list[tuple[Future[EvaluationResult], EvaluationResult | str]]:
        """Wait for the next results; a dead worker breaks the pool, and every running job is lost with it."""
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        lost = "the worker process was killed (often by the system for lack of memory)"
        if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
            self.close()
            wait(running)
            return [
                (future, lost if isinstance(future.exception(), BrokenProcessPool) else future.result())
                for future in running
            ]
        return [(future, future.result()) for future in done]

    def close(self) -> None:
        """Stop the workers: idle ones end by themselves, running jobs are cut off and lost."""
        if self._pool is None:
            return
        if any(not future.done() for future in self._started):
            for process in list((self._pool._processes or {}).values()):
                process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None
        self._started.clear()
