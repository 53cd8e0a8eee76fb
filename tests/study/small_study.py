"""The small study's configuration, and evaluations in the test's own process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from autoselection.demo import TASKS, model_dir, sae_dir, task_file
from autoselection.evaluation import EvaluationJob, EvaluationResult, evaluate


def small_document(pool: dict[str, Any]) -> dict[str, Any]:
    """A study configuration with tiny budgets on two of the demo's tasks."""
    return {
        "name": "small",
        "pool": pool,
        "model": {"path": str(model_dir())},
        "sae": str(sae_dir()),
        "tasks": [
            {
                "name": name,
                **{split: str(task_file(name, split)) for split in ("target", "dev", "test")},
                "dev_limit": 12,
                "test_limit": 12,
            }
            for name in TASKS[:2]
        ],
        "signals": {"signals": ["tokens", "ngram_entropy", "text_hash", "minhash", "ifd", "varentropy", "sae", "mona"]},
        "evaluation": {
            "threads": 1,
            "sft": {"max_steps": 4, "batch_size": 8, "learning_rate": 1e-3, "max_length": 128},
        },
        "search": {
            "evaluations": 5,
            "warmup": 2,
            "batch": 2,
            "proposals": 8,
            "min_rows": 20,
            "reseed": {"patience": 2},
        },
        "executor": {"workers": 1},
        "final": {"single_operators": 1},
    }


class InlineExecutor:
    """Evaluates in this process, and lets ``end`` answer for a job instead."""

    def __init__(self, end: Callable[[EvaluationJob], EvaluationResult | None]) -> None:
        self.end = end

    def run(self, jobs: Sequence[EvaluationJob]) -> Iterator[tuple[int, EvaluationResult]]:
        for index, job in enumerate(jobs):
            yield index, self.end(job) or evaluate(job)

    def close(self) -> None:
        """Nothing was started."""


def evaluate_here(
    monkeypatch: pytest.MonkeyPatch, end: Callable[[EvaluationJob], EvaluationResult | None] = lambda _: None
) -> None:
    """Studies evaluate in this process from now on: a worker's imports take longer than the small trainings."""
    for module in ("run", "compute"):
        monkeypatch.setattr(f"autoselection.study.{module}.make_executor", lambda _: InlineExecutor(end))
