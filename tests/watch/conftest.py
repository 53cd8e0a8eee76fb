"""A study without trainings to look at."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from browser import chromium, opened

from autoselection.config import load_config
from autoselection.demo import TASKS, model_dir, pool_file, task_file
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.study import Study, run_study

__all__ = ["chromium", "opened"]


class Stub:
    """Evaluates without training: the share of rows kept is the score."""

    def run(self, jobs: Sequence[EvaluationJob]) -> Iterator[tuple[int, EvaluationResult]]:
        for index, job in enumerate(jobs):
            score = 0.0 if job.rows is None else len(job.rows) / 1000
            items = {TASKS[0]: {"ids": ["a", "b"], "nll": [-score, -score], "greedy_match": [0.0, 0.0]}}
            metrics = {TASKS[0]: {"nll": -score, "items": 2}}
            yield (
                index,
                EvaluationResult(
                    job.split,
                    job.seed,
                    score,
                    {TASKS[0]: score},
                    metrics,
                    items,
                    seconds={"train": 0.5, "eval": 0.5, "total": 1.0},
                ),
            )

    def close(self) -> None:
        """Nothing was started."""


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A finished study; copy it before writing to it."""
    folder = tmp_path_factory.mktemp("watched")
    (folder / "few.jsonl").write_bytes(b"\n".join(pool_file().read_bytes().split(b"\n")[:200]) + b"\n")
    document = {
        "name": "small",
        "pool": {"files": [str(folder / "few.jsonl")]},
        "model": {"path": str(model_dir())},
        "tasks": [{"name": TASKS[0], **{split: str(task_file(TASKS[0], split)) for split in ("dev", "test")}}],
        "signals": {"signals": ["tokens", "lengths", "ngram_entropy"]},
        "search": {"evaluations": 4, "warmup": 2, "proposals": 8, "min_rows": 8},
        "final": {"single_operators": 1},
    }
    (folder / "study.yaml").write_text(json.dumps(document))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autoselection.study.run.make_executor", lambda _: Stub())
        return run_study(load_config(folder / "study.yaml"), folder / "study")


@pytest.fixture
def copied(watched: Study, tmp_path: Path) -> Path:
    """A copy of the study elsewhere, without its pool and without what its processes said."""
    shutil.copytree(watched.path, tmp_path / "copy", ignore=shutil.ignore_patterns("pool", "activity.json"))
    return tmp_path / "copy"
