"""A reproduction on the first rows of the demo pool, with evaluations that are arithmetic instead of training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from browser import chromium, opened

from autoselection.demo import TASKS, data_dir, model_dir, pool_file, task_file
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.pool import Pool, ingest
from autoselection.reproduce import ReproductionConfig, load_reproduction, run_reproduction

ROWS = 300
__all__ = ["chromium", "opened"]


class Arithmetic:
    """An executor whose scores are known: the share of rows from sources that are about the tasks, and noise.

    Attributes:
        jobs: every job it was given.
        lost: jobs are lost to the machine once so many were done (None: never).
    """

    def __init__(self) -> None:
        self.jobs: list[EvaluationJob] = []
        self.lost: int | None = None

    def run(self, jobs: Sequence[EvaluationJob]) -> Iterator[tuple[int, EvaluationResult]]:
        for index, job in enumerate(jobs):
            if self.lost is not None and len(self.jobs) >= self.lost:
                yield index, EvaluationResult.failed(job, "the disk is full", "infrastructure")
                continue
            self.jobs.append(job)
            yield index, self.result(job)

    def result(self, job: EvaluationJob) -> EvaluationResult:
        quality = 0.3
        if job.rows is not None:
            pool = Pool.open(job.pool_dir or Path())
            quality = 1.0 - float(np.mean(pool.source_codes[job.rows] == pool.source_names.index("chatter")))
        rng = np.random.default_rng([job.seed, 0 if job.rows is None else int(job.rows.sum())])
        items = {
            task.name: {
                "ids": [f"{task.name}{number}" for number in range(6)],
                "nll": [round(float(2 - quality + 0.05 * rng.normal()), 6) for _ in range(6)],
                "exact_match": [float(rng.random() < quality) for _ in range(6)],
            }
            for task in job.tasks
        }
        scores = {name: -float(np.mean(found["nll"])) for name, found in items.items()}
        metrics = {
            name: {"nll": -scores[name], "exact_match": float(np.mean(items[name]["exact_match"]))} for name in items
        }
        seconds = {"train": 1.0, "eval": 0.5, "total": 1.5}
        score = float(np.mean(list(scores.values())))
        return EvaluationResult(job.split, job.seed, score, scores, metrics, items, seconds)

    def close(self) -> None:
        pass


@pytest.fixture(scope="session")
def small_pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first rows of the demo pool as a pool directory."""
    folder = tmp_path_factory.mktemp("reproduction-pool")
    raw = folder / "pool.jsonl"
    raw.write_bytes(b"\n".join(pool_file().read_bytes().split(b"\n")[:ROWS]) + b"\n")
    ingest([raw], folder / "pool")
    return folder / "pool"


def study_document(pool: Path) -> dict[str, Any]:
    """A study of two tasks with text signals only."""
    return {
        "name": "small",
        "pool": {"path": str(pool)},
        "model": {"path": str(model_dir())},
        "tasks": [
            {"name": name, "dev": str(task_file(name, "dev")), "test": str(task_file(name, "test"))}
            for name in TASKS[:2]
        ],
        "signals": {"signals": ["lengths", "ngram_entropy", "text_hash", "minhash"]},
        "search": {"warmup": 2, "proposals": 6, "min_rows": 20},
    }


@pytest.fixture(scope="session")
def reproduction_file(small_pool: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two replicates, three evaluations a search, one larger model."""
    folder = tmp_path_factory.mktemp("reproduction")
    (folder / "study.yaml").write_text(yaml.safe_dump(study_document(small_pool)))
    document = {
        "name": "small",
        "paths": {"models": str(model_dir().parent)},
        "models": [
            {
                "name": "base",
                "study": "study.yaml",
                "transfer": [{"name": "larger", "model": "${models}/model", "set": ["evaluation.sft.max_steps=7"]}],
            }
        ],
        "ood": [{"name": "reversing", "test": str(data_dir() / "ood" / "reversing" / "test.jsonl")}],
        "seeds": [0, 1],
        "budget": 3,
        "single_operators": ["truncate_samples", "ngram_entropy"],
        "default": "default.yaml",
        "recipes": ["fixed.yaml"],
        "methods": ["random", "random-top-k", "single-operators", "single-operators:all", "ours"],
        "ablations": ["no-gp", "no-union"],
    }
    steps = [{"operator": "ngram_entropy", "params": {"fraction": 0.5}}]
    (folder / "default.yaml").write_text(yaml.safe_dump({"version": 1, "name": "entropy-half", "steps": steps}))
    shorter = [{"operator": "ngram_entropy", "params": {"fraction": 0.3, "direction": "low"}}]
    (folder / "fixed.yaml").write_text(yaml.safe_dump({"version": 1, "name": "low-entropy", "steps": shorter}))
    (folder / "paper.yaml").write_text(yaml.safe_dump(document))
    return folder / "paper.yaml"


@pytest.fixture(scope="session")
def reproduction(reproduction_file: Path) -> ReproductionConfig:
    """The same, read."""
    return load_reproduction(str(reproduction_file))


@dataclass
class Finished:
    """A reproduction run to its end: its folder, its document, and the jobs it took."""

    out: Path
    document: dict[str, Any]
    jobs: list[EvaluationJob]

    def table(self, section: str) -> dict[str, Any]:
        """The section's table of scores."""
        tables = self.document["models"][0]["tables"]
        found: dict[str, Any] = next(t for t in tables if (t["section"], t["metric"]) == (section, "score"))
        return found

    def methods(self, section: str) -> list[str]:
        """Names of its rows."""
        return [row["method"] for row in self.table(section)["rows"]]


@pytest.fixture(scope="session")
def finished(reproduction: ReproductionConfig, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """All sections, in one go."""
    out = tmp_path_factory.mktemp("reproduced")
    executor = Arithmetic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autoselection.reproduce.run.make_executor", lambda config: executor)
        return Finished(out, run_reproduction(reproduction, out), executor.jobs)


@pytest.fixture
def arithmetic(monkeypatch: pytest.MonkeyPatch) -> Arithmetic:
    """The executor that every reproduction of a test uses."""
    executor = Arithmetic()
    monkeypatch.setattr("autoselection.reproduce.run.make_executor", lambda config: executor)
    return executor
