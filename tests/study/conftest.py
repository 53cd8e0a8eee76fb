"""A small real study on the embedded demo: real training, real scoring, a few seconds an evaluation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from browser import chromium, opened

from autoselection.config import load_config
from autoselection.demo import TASKS, model_dir, pool_file, sae_dir, task_file
from autoselection.evaluation import EvaluationJob, EvaluationResult, evaluate
from autoselection.pool import IngestConfig, Pool, ingest
from autoselection.signals import score_pool
from autoselection.study import Study, run_study

ROWS = 400

__all__ = ["chromium", "opened"]


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
        "executor": {"workers": 2},
        "final": {"single_operators": 1},
    }


@pytest.fixture(scope="session")
def raw_pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first rows of the demo pool, as a file."""
    path = tmp_path_factory.mktemp("raw") / "pool.jsonl"
    path.write_bytes(b"\n".join(pool_file().read_bytes().split(b"\n")[:ROWS]) + b"\n")
    return path


@pytest.fixture(scope="session")
def scored_pool(raw_pool: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same rows as a pool directory whose signals are cached."""
    out = tmp_path_factory.mktemp("pool") / "pool"
    ingest([raw_pool], out, IngestConfig())
    config_file = tmp_path_factory.mktemp("config") / "study.yaml"
    config_file.write_text(json.dumps(small_document({"path": str(out)})))
    config = load_config(config_file)
    score_pool(Pool.open(out), config.signals, model=config.model.path, sae=config.sae, tasks=config.tasks)
    return out


@pytest.fixture(scope="session")
def smaller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one layer that was trained on nothing; its tokenizer and template are the demo's."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("models") / "smaller"
    shutil.copytree(model_dir(), folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
    config = AutoConfig.from_pretrained(model_dir())
    config.num_hidden_layers = 1
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:1]
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def study_config(scored_pool: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration file of the small study."""
    path = tmp_path_factory.mktemp("study-config") / "study.yaml"
    path.write_text(yaml.safe_dump(small_document({"path": str(scored_pool)})))
    return path


@pytest.fixture(scope="session")
def finished_study(study_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The small study, run to its end in this process without interruption."""
    with pytest.MonkeyPatch.context() as patch:
        evaluate_here(patch)
        return run_study(load_config(study_config), tmp_path_factory.mktemp("study") / "whole")


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


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[EvaluationJob], EvaluationResult | None]], None]:
    """``ends(end)``: studies of this test evaluate in this process, which starts no worker."""

    def use(end: Callable[[EvaluationJob], EvaluationResult | None]) -> None:
        evaluate_here(monkeypatch, end)

    return use


@pytest.fixture(scope="module")
def inline_module() -> Iterator[None]:
    """Studies of a whole module evaluate in this process, those of its fixtures too."""
    with pytest.MonkeyPatch.context() as patch:
        evaluate_here(patch)
        yield
