"""Evaluations in processes of this machine: one persistent worker each.

On Linux workers are forked from a server that has imported what they need (``preload``), which takes a moment instead of
seconds; elsewhere each is started with ``spawn``. Each is a pool of its own: one that dies (killed for memory, crashed in native
code) takes no other evaluation with it. Its own job is lost, and it is started anew when it is next needed. Workers end by
themselves when the process that started them is gone, so that ``kill -9`` on a study leaves no training behind.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for
from multiprocessing.context import BaseContext
from multiprocessing.synchronize import Semaphore
from types import FrameType

from autoselection.errors import ConfigError, EvaluationError
from autoselection.evaluation import EvaluationJob, EvaluationResult, evaluate
from autoselection.evaluation.memory import share_gpu
from autoselection.executors.contract import Executor, ExecutorConfig, run_jobs

_PRELOAD = "autoselection.executors.preload"
_KILLED = "the worker process was killed (often by the system for lack of memory)"
_GUARD = (
    "every worker process reads the script that runs the study again, so that what it does has to stand under "
    'if __name__ == "__main__":'
)


def check_guarded() -> None:
    """Refuse to run evaluations in a process that is only just being started, and reads its parent's script for that.

    Raises:
        ConfigError: it is one.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # as multiprocessing asks itself
        raise ConfigError(f"This is a worker process that is being started: {_GUARD}.")


def sharers(index: int, workers: int, devices: Sequence[str]) -> int:
    """How many of the workers have the device of worker ``index``, it counted; without names all have the same one."""
    if not devices:
        return workers
    own = devices[index % len(devices)]
    return sum(devices[other % len(devices)] == own for other in range(workers))


def _context() -> BaseContext:
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_PRELOAD])  # heard by a server that has yet to be started
    return context


def _start_worker(
    environ: Mapping[str, str], index: int, workers: int, devices: tuple[str, ...], ready: Semaphore
) -> None:
    os.environ.clear()  # a server has the variables of the moment when it was started
    os.environ.update(environ)
    # Ctrl-C reaches the whole group of processes; the one that started the worker ends it. A handler that does nothing,
    # unlike SIG_IGN, is not inherited by the programs that a worker starts.
    signal.signal(signal.SIGINT, _wait_to_be_ended)
    _mask_interrupts(signal.SIG_UNBLOCK)
    share_gpu(sharers(index, workers, devices))
    if devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[index % len(devices)]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    ready.release()


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


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for([parent.sentinel])
    os._exit(1)


class _Worker:
    """One process, started for its first job, and anew for the first one after its death."""

    def __init__(self, index: int, config: ExecutorConfig) -> None:
        self._given = index, config.workers, config.devices
        self._context = _context()
        self._pool: ProcessPoolExecutor | None = None
        self._ready = self._context.Semaphore(0)
        self._latest: Future[EvaluationResult] | None = None

    def has(self, job: Future[EvaluationResult]) -> bool:
        """Whether this is its latest job."""
        return self._latest is job

    @property
    def busy(self) -> bool:
        """Whether it has a job that has not ended."""
        return self._latest is not None and not self._latest.done()

    def start(self, job: EvaluationJob) -> Future[EvaluationResult]:
        """Hand it a job."""
        try:
            self._latest = self._submitted(job)
        except BrokenProcessPool:  # it died with its last job, or since
            self.close()
            self._latest = self._submitted(job)
        return self._latest

    def _submitted(self, job: EvaluationJob) -> Future[EvaluationResult]:
        if self._pool is None:
            self._ready = self._context.Semaphore(0)
            given = (dict(os.environ), *self._given, self._ready)
            self._pool = ProcessPoolExecutor(1, mp_context=self._context, initializer=_start_worker, initargs=given)
        with _without_interrupts():
            try:
                return self._pool.submit(evaluate, job)
            except BrokenProcessPool:
                raise
            except (OSError, RuntimeError):  # no process or thread was to be had: the job must not wait in there
                self._end_processes()
                self._pool.shutdown(wait=False, cancel_futures=True)
                self._pool = None
                raise

    def _end_processes(self) -> None:
        if self._pool is not None:
            for process in list((self._pool._processes or {}).values()):
                process.terminate()

    def death(self) -> str | BaseException:
        """Why its process died with its latest job: a reason if it was killed, an error if it never got as far as a job."""
        processes = [] if self._pool is None else list((self._pool._processes or {}).values())
        started = self._ready.acquire(block=False)
        self.close()  # waits for the process, whose exit code is known then
        codes = [process.exitcode for process in processes]
        ended = [code for code in codes if code is not None and code >= 0]  # below 0: by a signal
        if started or not ended:
            return _KILLED
        return EvaluationError(
            f"A worker process ended while it was started (exit code {ended[0]}); what it printed says why. In a script, {_GUARD}."
        )

    def close(self) -> None:
        """Stop it: an idle process ends by itself, a running job is cut off and lost."""
        if self._pool is None:
            return
        if self.busy:
            self._end_processes()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = self._latest = None


class LocalExecutor(Executor):
    """Runs jobs in ``config.workers`` processes."""

    local = True

    def __init__(self, config: ExecutorConfig) -> None:
        self.config = config
        self._workers = [_Worker(index, config) for index in range(config.workers)]

    def run(self, jobs: Sequence[EvaluationJob]) -> Iterator[tuple[int, EvaluationResult]]:
        """Yield (index, result) in the order of completion; see :class:`Executor`.

        Raises:
            ConfigError: this is a worker process that is being started, see :func:`check_guarded`.
        """
        check_guarded()
        config = self.config
        return run_jobs(self, jobs, workers=config.workers, retries=config.retries)

    def start(self, job: EvaluationJob) -> Future[EvaluationResult]:
        """Hand a job to a worker that has none; behind another job only where an earlier run was given up."""
        return min(self._workers, key=lambda worker: worker.busy).start(job)

    def finished(
        self, running: Sequence[Future[EvaluationResult]]
    ) -> list[tuple[Future[EvaluationResult], EvaluationResult | str | BaseException]]:
        """Wait for the next results; the job of a worker that died is lost."""
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        return [(future, self._outcome(future)) for future in running if future in done]

    def _outcome(self, future: Future[EvaluationResult]) -> EvaluationResult | str | BaseException:
        error = future.exception()
        if not isinstance(error, BrokenProcessPool):
            return future.result() if error is None else error
        worker = next((worker for worker in self._workers if worker.has(future)), None)
        return _KILLED if worker is None else worker.death()

    def close(self) -> None:
        """Stop the workers: idle ones end by themselves, running jobs are cut off and lost."""
        with ThreadPoolExecutor(len(self._workers)) as side_by_side:
            list(side_by_side.map(_Worker.close, self._workers))
