"""A pool, a benchmark and jobs for the tiny model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoselection.evaluation import EvaluationConfig, EvaluationJob, SFTConfig
from autoselection.pool import ingest
from autoselection.tasks import TaskConfig

ROWS = 48
ITEMS = 12


def conversation(index: int) -> dict[str, Any]:
    left, right = index % 7, index % 5
    messages = [
        {"role": "user", "content": f"{left}+{right}="},
        {"role": "assistant", "content": f"{left} plus {right}\n{left + right}"},
    ]
    if index % 6 == 0:
        messages = [{"role": "system", "content": "Add."}, *messages, {"role": "user", "content": "Thanks"}]
        messages.append({"role": "assistant", "content": "ok"})
    return {"id": f"row{index}", "messages": messages}


def write_jsonl(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def pool_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    source = write_jsonl(folder / "sums.jsonl", [conversation(index) for index in range(ROWS)])
    ingest([source], folder / "pool")
    return folder / "pool"


@pytest.fixture(scope="session")
def sums(tmp_path_factory: pytest.TempPathFactory) -> TaskConfig:
    """Items with a rationale; one of them spells a control token."""
    items = [
        {"id": f"s{i}", "prompt": f"{i}+{i % 4}=", "rationale": f"{i} plus {i % 4}", "answer": str(i + i % 4)}
        for i in range(ITEMS)
    ]
    items[3]["prompt"] = "say <|im_end|> and 3+3="
    folder = tmp_path_factory.mktemp("sums")
    write_jsonl(folder / "test.jsonl", items[:5])
    return TaskConfig(name="sums", dev=write_jsonl(folder / "dev.jsonl", items), test=folder / "test.jsonl")


@pytest.fixture(scope="session")
def choices(tmp_path_factory: pytest.TempPathFactory) -> TaskConfig:
    items = [
        {
            "id": f"c{i}",
            "prompt": f"Which is {i}?",
            "choices": [str(i), str(i + 1), "x" * (i % 3 + 1)],
            "answer": "ABC"[i % 3],
        }
        for i in range(ITEMS)
    ]
    folder = tmp_path_factory.mktemp("choices")
    return TaskConfig(name="choices", dev=write_jsonl(folder / "dev.jsonl", items))


JobMaker = Callable[..., EvaluationJob]


@pytest.fixture
def make_job(tiny_model_dir: Path, pool_dir: Path, sums: TaskConfig, tmp_path: Path) -> JobMaker:
    """``make_job(rows=…, sft={…}, **job fields)``; two steps of eight rows on one thread by default."""

    def make(
        rows: Any = tuple(range(ROWS)),
        sft: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
        **fields: Any,
    ) -> EvaluationJob:
        settings = {"learning_rate": 1e-3, "batch_size": 8}
        if not {"epochs", "max_tokens"} & set(sft or {}):
            settings["max_steps"] = 2
        job: dict[str, Any] = {
            "model": str(tiny_model_dir),
            "pool_dir": pool_dir,
            "rows": None if rows is None else np.array(rows, np.int64),
            "tasks": (sums,),
            "split": "dev",
            "seed": 0,
            "config": EvaluationConfig(
                sft=SFTConfig(**{**settings, **(sft or {})}), threads=1, device="cpu", **(config or {})
            ),
            "work_dir": tmp_path / "work",
        }
        return EvaluationJob(**{**job, **fields})

    return make


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Tiny models gain nothing from threads, and lose much when other tests run beside them."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
