"""What an evaluation is asked and what it answers: plain data that travels between processes and into the journal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import ConfigError
from autoselection.evaluation.config import EvaluationConfig
from autoselection.language.chat import ChatOptions
from autoselection.tasks import TaskConfig

EvaluationSplit = Literal["dev", "test"]
FailureKind = Literal["training", "infrastructure"]

#: Decimals kept of per-item values: far below their noise, and the journal stays small.
_ITEM_DECIMALS = 6


@dataclass(frozen=True)
class EvaluationJob:
    """Train ``model`` on ``rows`` of a pool and score it on one split of the tasks.

    Attributes:
        model: folder of the base model (or a hub id).
        pool_dir: the pool directory; not read when ``rows`` is None.
        rows: row indices of the subset, at least one; None scores the base model untrained.
        tasks: the benchmarks.
        split: ``dev`` during the search; ``test`` once, at the end.
        seed: seed of the row order, of adapter initialisation and of dropout.
        config: how to train and score.
        work_dir: folder for what the evaluation writes (``model/`` if kept,
            ``items/TASK/SPLIT/items.jsonl``).
        chat_template: a named template or Jinja file, or all options; None is the model's own template.
        full_metrics: also generate the answers of tasks without choices, whatever the tasks' search metric.
        trust_remote_code: run code shipped with the model.
        items: share of each task's items that are scored.
        items_seed: of their choice.
    """

    model: str
    pool_dir: Path | None
    rows: NDArray[np.int64] | None
    tasks: tuple[TaskConfig, ...]
    split: EvaluationSplit
    seed: int
    config: EvaluationConfig
    work_dir: Path
    chat_template: str | ChatOptions | None = None
    full_metrics: bool = False
    trust_remote_code: bool = False
    items: float = 1.0
    items_seed: int = 0

    def __post_init__(self) -> None:
        if self.split not in ("dev", "test"):
            raise ConfigError(f"Evaluations score the split 'dev' or 'test', not '{self.split}'.")
        if not self.tasks:
            raise ConfigError("An evaluation needs at least one task.")
        if self.rows is not None and len(self.rows) == 0:
            raise ConfigError("An evaluation needs at least one row; rows=None scores the base model untrained.")
        if self.rows is not None and self.pool_dir is None:
            raise ConfigError("An evaluation of rows needs the pool directory they index.")


@dataclass(frozen=True)
class EvaluationResult:
    """Scores and costs of one evaluation, or why there are none.

    Attributes:
        split: the scored split.
        seed: the training seed.
        score: mean of ``scores`` over the tasks, by their weights, higher is better; NaN if the evaluation failed.
        scores: score of each task in its search metric, higher is better (``nll`` counts negative).
        metrics: per task, ``items`` (count), ``nll`` (gold answer, nats per token, mean over items), ``nll_per_byte``,
            ``greedy_match`` (share of items whose gold answer is, token for token, what greedy decoding writes),
            ``truncated`` (items longer than the model's context), where there are options ``accuracy``,
            ``option_likelihood`` (the right option's share of the options' probability) and ``guessing`` (the accuracy of
            who knows nothing), and where generated ``exact_match`` and ``at_limit`` (answers that ended because they may
            be no longer, count). Evaluations of earlier versions may lack those of options.
        items: per task, ``ids`` and, aligned with them, every item's ``nll`` and ``greedy_match``, and where scored
            ``accuracy``, ``option_likelihood``, ``exact_match``, ``at_limit``, and ``nll_per_byte`` or ``blend`` where it is
            the task's metric: what paired tests need.
        seconds: wall time: ``load``, ``train``, ``eval``, ``total``.
        steps: optimiser steps taken.
        train_tokens: trained tokens, prompts included, padding not.
        train_rows: rows the model saw, repetitions included.
        response_tokens: of these, tokens that had a loss.
        truncated_rows: rows of the subset cut to the maximum length; here and below, of those read for training: a
            budget of tokens or steps may end before all are.
        truncated_tokens: tokens cut off these rows.
        read_rows: rows of the subset that were read for training.
        dropped_rows: of these, those not trained on.
        dropped: why, rows by reason: ``max_length`` (the prompt fills it), ``no_response`` (none there), ``template``
            (does not render the turns), ``trainer`` (cannot hold the row).
        train_loss: mean loss over the first and over the last tenth of the steps; empty without training.
        settings: what was resolved: ``device``, ``dtype``, and of a training ``order`` (of its rows; absent in trainings of
            earlier versions, see :mod:`autoselection.evaluation.row_keys`), ``forward_passes``, ``trainable_parameters``,
            ``cached_tasks`` (tasks whose scores came from ``evaluation.cache_dir``, where one is set).
        remarks: what a reader has to know besides the numbers (sentences): many rows dropped or cut, answers that ended
            at the limit, settings that could not be kept.
        model_dir: where the model was saved, or None.
        failure: why the evaluation failed, or None.
        failure_kind: ``training`` if the subset and the settings are to blame (it would fail again: divergence, more
            memory than there is), ``infrastructure`` if the machine is (disk, memory taken by others, a lost worker).
    """

    split: EvaluationSplit
    seed: int
    score: float
    scores: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    items: Mapping[str, Mapping[str, list[Any]]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=lambda: {"train": 0.0, "eval": 0.0, "total": 0.0})
    steps: int = 0
    train_tokens: int = 0
    train_rows: int = 0
    response_tokens: int = 0
    truncated_rows: int = 0
    truncated_tokens: int = 0
    read_rows: int = 0
    dropped_rows: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    train_loss: tuple[float, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    model_dir: str | None = None
    failure: str | None = None
    failure_kind: FailureKind | None = None

    @classmethod
    def failed(
        cls, job: EvaluationJob, reason: str, kind: FailureKind = "training", seconds: float = 0.0, **costs: Any
    ) -> EvaluationResult:
        """The result of an evaluation that failed for ``reason`` after ``seconds``."""
        return cls(
            job.split,
            job.seed,
            math.nan,
            seconds={"train": 0.0, "eval": 0.0, "total": seconds},
            failure=reason,
            failure_kind=kind,
            **costs,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe form; NaN becomes null."""
        return {entry.name: _plain(getattr(self, entry.name)) for entry in fields(self)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> EvaluationResult:
        """Inverse of :meth:`to_dict`; unknown keys of later versions are ignored."""
        known = {entry.name for entry in fields(cls)}
        values = {name: value for name, value in record.items() if name in known}
        values["score"] = math.nan if values.get("score") is None else values["score"]
        values |= {name: tuple(values.get(name, ())) for name in ("train_loss", "remarks")}
        return cls(**values)


def mean_score(results: Iterable[EvaluationResult]) -> float:
    """The mean score of evaluations of one thing over seeds.

    A mean over the seeds that happened to work would flatter what fails now and then: whoever calls leaves out what has a
    failed seed, or says why a mean without it is what is asked for.
    """
    return float(np.mean([result.score for result in results]))


def mean_scores(results: Sequence[EvaluationResult]) -> dict[str, float]:
    """The same of each task of the first of them."""
    return {task: float(np.mean([result.scores[task] for result in results])) for task in results[0].scores}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value


def rounded(values: NDArray[np.float64]) -> list[float]:
    """Per-item values as they are kept."""
    return [round(float(value), _ITEM_DECIMALS) for value in values]
