"""What Ray raises, told apart: by a STAND-IN of the few names that are used here. Ray itself is not installed.

Its classes are as in Ray's ``exceptions.py``: ``RayTaskError`` is a ``RayError`` that holds what the task raised as ``cause``,
``ray.get`` raises it as a class that is also that of the cause, and an error that cannot be pickled is replaced by a plain
``RayError``.
"""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from test_run_jobs import job

from autoselection.errors import EvaluationError
from autoselection.evaluation import EvaluationResult
from autoselection.executors import ExecutorConfig
from autoselection.executors.ray import RayExecutor


class RayError(Exception):
    pass


class WorkerCrashedError(RayError):
    pass


class ObjectLostError(RayError):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        super().__init__(f"traceback of {cause!r}")
        self.cause = cause

    def as_instanceof_cause(self) -> RayTaskError:
        own = type(self.cause)
        if issubclass(own, RayError):
            return self

        class Both(RayTaskError, own):  # type: ignore[misc, valid-type]
            pass

        return Both(self.cause)


def stand_in(get: Callable[[Any], EvaluationResult], initialized: bool = True) -> ModuleType:
    """A module ``ray``; ``called`` lists what was called that changes its session."""
    ray, called = ModuleType("ray"), list[object]()
    session = {"on": initialized}

    def switch(name: str, on: bool) -> None:
        called.append(name)
        session["on"] = on

    ray.__spec__ = importlib.machinery.ModuleSpec("ray", None)
    vars(ray).update(
        called=called,
        exceptions=SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError),
        is_initialized=lambda: session["on"],
        init=lambda **_: switch("init", True),
        shutdown=lambda: switch("shutdown", False),
        cancel=lambda task, force: called.append(task),
        remote=lambda **_: lambda _function: SimpleNamespace(remote=lambda *_given: object()),
        wait=lambda running, num_returns: (running[:num_returns], running[num_returns:]),
        get=get,
    )
    return ray


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[int, EvaluationResult]]]:
    """``run(*ends, retries=…)``: the results of one job; each of its attempts ends as the next of ``ends``, an error or None."""
    monkeypatch.setattr("autoselection.executors.contract.FIRST_PAUSE", 0.0)

    def results(*ends: Exception | None, retries: int) -> list[tuple[int, EvaluationResult]]:
        left = list(ends)

        def get(_: Any) -> EvaluationResult:
            error = left.pop(0)
            if error is not None:
                raise error.as_instanceof_cause() if isinstance(error, RayTaskError) else error
            return EvaluationResult("dev", 0, 1.0)

        ray = stand_in(get)
        monkeypatch.setitem(sys.modules, "ray", ray)
        found = list(RayExecutor(ExecutorConfig(kind="ray", retries=retries)).run([job(0)]))
        assert not left
        return found

    return results


def test_a_lost_worker_is_replaced(run: Any) -> None:
    ((_, result),) = run(WorkerCrashedError("gone"), RayTaskError(ObjectLostError("its job")), None, retries=2)
    assert result.score == 1.0
    ((_, lost),) = run(WorkerCrashedError("gone"), retries=0)
    assert (lost.failure_kind, lost.failure) == ("infrastructure", "Ray lost the evaluation: gone")


def test_a_mistake_is_raised_at_once_and_as_it_is(run: Any) -> None:
    mistake = EvaluationError("the model is damaged", hint="fetch it again")
    with pytest.raises(EvaluationError) as raised:
        run(RayTaskError(mistake), retries=2)
    assert raised.value is mistake


def test_an_error_that_cannot_be_sent_is_no_lost_worker(run: Any) -> None:
    with pytest.raises(RayTaskError, match="traceback of"):
        run(RayTaskError(RayError("isn't serializable")), retries=2)


@pytest.mark.parametrize("there", [True, False])
def test_only_a_session_of_its_own_is_shut_down(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = stand_in(lambda _: EvaluationResult("dev", 0, 1.0), there)
    monkeypatch.setitem(sys.modules, "ray", ray)
    executor = RayExecutor(ExecutorConfig(kind="ray"))
    executor.close()
    assert ray.called == [], "nothing was evaluated"
    assert list(executor.run([job(0)]))
    running = executor.start(job(1))
    executor.close()
    executor.close()
    assert ray.called == ([running] if there else ["init", "shutdown"])
