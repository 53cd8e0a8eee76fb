"""Our executors keep the contract of executors, and what breaks it is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from autoselection.errors import AutoSelectionError
from autoselection.evaluation import EvaluationJob, EvaluationResult, evaluate
from autoselection.executors import Executor, ExecutorConfig, LocalExecutor
from autoselection.testing import check_executor


def test_processes_of_this_machine_keep_the_contract() -> None:
    check_executor(LocalExecutor, workers=1)


class Here(Executor):
    """Evaluates in this process; with a fault, if it is asked for one."""

    def __init__(self, config: ExecutorConfig, fault: str = "") -> None:
        self.config, self.fault = config, fault

    def run(self, jobs: Sequence[EvaluationJob]) -> Iterator[tuple[int, EvaluationResult]]:
        for index, job in enumerate(jobs[:1] if self.fault == "one" else jobs):
            try:
                result = evaluate(jobs[0] if self.fault == "first" else job)
            except AutoSelectionError as error:
                if self.fault != "hides":
                    raise
                result = EvaluationResult.failed(job, str(error))
            yield index, result

    def close(self) -> None:
        """Nothing was started."""


def test_an_executor_in_this_process_keeps_the_contract() -> None:
    check_executor(Here)


@pytest.mark.parametrize(
    ("fault", "told"), [("one", "one result"), ("first", "another result"), ("hides", "is an error that run")]
)
def test_an_executor_that_breaks_it_is_told_so(fault: str, told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        check_executor(lambda config: Here(config, fault))
