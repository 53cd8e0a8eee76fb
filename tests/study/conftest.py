"""A small real study on the embedded demo: real training, real scoring, a few seconds an evaluation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from browser import chromium, opened
from tests.study.small_study import evaluate_here, small_document

from autoselection.config import load_config
from autoselection.demo import model_dir, pool_file
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.pool import IngestConfig, Pool, ingest
from autoselection.signals import score_pool
from autoselection.study import Study, run_study

ROWS = 400

__all__ = ["chromium", "opened"]


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
