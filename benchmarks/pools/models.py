"""The two base models of the family, and the study of one pool with one of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoselection.config import StudyConfig

FOLDER = Path(__file__).with_name("models")


@dataclass(frozen=True)
class BaseModel:
    """A character-level Llama and how it was pre-trained.

    Attributes:
        width: of the hidden states; heads are 32 wide.
        wrong: share of the answers in its pre-training that carry a slip (half of that for choices).
        uneven: shape of the Gamma distribution that the skills' shares are drawn from: small is uneven.
    """

    name: str
    seed: int
    width: int
    layers: int
    steps: int
    batch: int
    rate: float
    wrong: float
    uneven: float

    @property
    def path(self) -> Path:
        return FOLDER / self.name / "model"

    @property
    def hookpoint(self) -> str:
        """The layer whose output the sparse autoencoder reads: the last but one."""
        return f"layers.{self.layers - 2}"

    @property
    def sae(self) -> Path:
        return FOLDER / self.name / "sae" / self.hookpoint


MODELS = {
    model.name: model
    for model in (
        BaseModel("wide", 1, width=128, layers=4, steps=1000, batch=48, rate=3e-3, wrong=0.4, uneven=3.0),
        BaseModel("narrow", 2, width=96, layers=3, steps=1400, batch=32, rate=4e-3, wrong=0.25, uneven=1.0),
    )
}

STEPS, BATCH, RATE, MAX_LENGTH = 100, 16, 2e-3, 160
"""Of one training: the rate is the best of 1e-3, 2e-3 and 4e-3 on a whole clean pool."""


def study(work: Path, pool: str, model: str) -> StudyConfig:
    """The study of a pool of :mod:`benchmarks.pools.make` in ``work`` with one of :data:`MODELS`."""
    folder = work / pool
    tasks = json.loads((folder / "specification.json").read_text("utf-8"))["targets"]
    base = MODELS[model]
    settings: dict[str, Any] = {
        "name": f"{pool}-{model}",
        "pool": {"files": [str(folder / "pool.jsonl")]},
        "model": {"path": str(base.path)},
        "sae": str(base.sae),
        "tasks": [
            {
                "name": task,
                **{split: str(folder / "tasks" / task / f"{split}.jsonl") for split in ("target", "dev", "test")},
            }
            for task in tasks
        ],
        "evaluation": {
            "threads": 1,
            "sft": {"max_steps": STEPS, "batch_size": BATCH, "learning_rate": RATE, "max_length": MAX_LENGTH},
        },
    }
    return StudyConfig.model_validate(settings)
