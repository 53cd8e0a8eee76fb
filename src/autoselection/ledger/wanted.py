"""A training and scoring that somebody needs, and the job that it takes."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoselection.config import ModelConfig, StudyConfig
from autoselection.evaluation import EvaluationJob, SFTConfig
from autoselection.evaluation.job import EvaluationSplit
from autoselection.recipes import subset_hash

Rows = NDArray[np.int64]

#: Stands for the hash of the rows where there was no training.
UNTRAINED = "untrained"


@dataclass(frozen=True, eq=False)
class Wanted:
    """A training and scoring that somebody needs.

    Attributes:
        rows: rows of the subset, in any order (training has one of its own); None is the base model without training.
        seed: training seed.
        split: what is scored.
        fidelity: share of the configured training budget.
        tokens: train on so many tokens instead of the configured budget; None leaves it.
        name: what it is called in messages, and in journals that name evaluations; no part of what it is.
        model: another model than the configured one; None: that one.
        items: share of each task's items that is scored; which ones is seeded by ``search.seed``.
    """

    rows: Rows | None
    seed: int
    split: EvaluationSplit
    fidelity: float = 1.0
    tokens: int | None = None
    name: str = ""
    model: ModelConfig | None = None
    items: float = 1.0

    @property
    def full(self) -> bool:
        """Whether the configured model is trained with the whole budget, and scored on all items."""
        return self.fidelity == 1.0 and self.items == 1.0 and self.model is None

    @property
    def content(self) -> Hashable:
        """What makes two of them one training, under the same settings."""
        model = None if self.model is None else self.model.model_dump_json()
        return self.subset, self.split, self.seed, self.fidelity, self.tokens, model, self.items

    @property
    def subset(self) -> str:
        """Hash of the set of rows."""
        return UNTRAINED if self.rows is None else subset_hash(self.rows)

    @property
    def size(self) -> int:
        """Number of rows."""
        return 0 if self.rows is None else len(self.rows)

    def __str__(self) -> str:
        return f"{self.name or f'{self.size:,} rows'} (seed {self.seed})"

    def training(self, sft: SFTConfig) -> SFTConfig:
        """The configured training with the budget that is wanted."""
        if self.tokens is not None:
            budget = {"epochs": None, "max_steps": None, "max_tokens": self.tokens, "budget_counts": "all"}
            return sft.model_copy(update=budget)
        return sft.shortened(self.fidelity) if self.fidelity < 1.0 else sft


def evaluation_job(
    config: StudyConfig,
    pool: Path,
    wanted: Wanted,
    work: Path,
    *,
    keep_model: bool = False,
    full_metrics: bool | None = None,
) -> EvaluationJob:
    """The job that trains and scores what is wanted as ``config`` says.

    Args:
        pool: its directory.
        work: folder for what the evaluation writes.
        keep_model: whether its model may be kept, where the configuration asks for that.
        full_metrics: see :class:`~autoselection.evaluation.EvaluationJob`; None is on test, and where
            ``evaluation.exact_match`` asks for it.
    """
    model, settings = wanted.model or config.model, config.evaluation
    update = {"sft": wanted.training(settings.sft), "keep_model": settings.keep_model and keep_model}
    return EvaluationJob(
        model=model.path,
        chat_template=model.chat_options(),
        trust_remote_code=model.trust_remote_code,
        pool_dir=pool,
        rows=wanted.rows,
        tasks=config.tasks,
        split=wanted.split,
        seed=wanted.seed,
        config=settings.model_copy(update=update),
        work_dir=work,
        full_metrics=(wanted.split == "test" or settings.exact_match) if full_metrics is None else full_metrics,
        items=wanted.items,
        items_seed=config.search.seed,
    )
