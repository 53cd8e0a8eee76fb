"""A reproduction on the first rows of the demo pool, with evaluations that are arithmetic instead of training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from browser import chromium, opened
from tests.reproduce.arithmetic import Arithmetic

from autoselection.demo import TASKS, data_dir, model_dir, pool_file, task_file
from autoselection.evaluation import EvaluationJob
from autoselection.pool import ingest
from autoselection.reproduce import ReproductionConfig, load_reproduction, run_reproduction

ROWS = 300
__all__ = ["chromium", "opened"]


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
