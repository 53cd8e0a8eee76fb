"""What a reproduction will cost: device hours and disk, by stated assumptions.

    training    6 · parameters · tokens trained on
    likelihoods 2 · parameters · tokens of the items
    generation  2 · parameters · (tokens of the items + generated tokens), at its own, much lower utilisation
    signals     2 passes of 2 · parameters · tokens of the pool (with and without the prompt)

(floating-point operations; Kaplan et al. 2020). Loading, starting of engines and failures are not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autoselection.config import StudyConfig
from autoselection.evaluation.engines.contract import make_engine
from autoselection.evaluation.trainers.contract import make_trainer
from autoselection.reproduce.checks import count_lines, parameters_of, pool_size, target_check
from autoselection.reproduce.config import EstimateConfig, ModelEntry, ReproductionConfig, study_of, target_study
from autoselection.reproduce.plan import RATES, planned, transfer_rows
from autoselection.study.estimate import training_tokens
from autoselection.tasks import OPTION_METRICS, TaskConfig

BYTES_A_TOKEN = 4.0
ROW_TOKENS = 400.0
_FLOAT, _INDEX = 4, 4
_ROW_SIGNALS = 1200  # bytes a row of all other signals: MinHash signatures (128 numbers), hashes, some twenty columns
_ITEM_BYTES = 24  # bytes an item's value takes in the journal
_RESULT_BYTES = 4096


@dataclass(frozen=True)
class Size:
    """What decides the cost of an evaluation.

    Attributes:
        parameters: of the model; None if nothing tells.
        rows: of the pool.
        row_tokens: of a row.
        assumed: which of these are assumptions of the configuration.
    """

    parameters: float | None
    rows: int
    row_tokens: float
    assumed: tuple[str, ...]


def size_of(study: StudyConfig, declared: float | None, estimates: EstimateConfig) -> Size:
    """Read sizes from headers where the files are there, else take what the configuration says."""
    assumed = []
    counted = parameters_of(study.model.path)
    if counted is None:
        assumed.append("parameters")
    known = pool_size(study)
    rows, width = known or (estimates.rows, BYTES_A_TOKEN * ROW_TOKENS)
    if known is None:
        assumed.append("rows")
    if estimates.row_tokens is not None or known is None:
        assumed.append("tokens a row")
    return Size(counted or declared, rows, estimates.row_tokens or width / BYTES_A_TOKEN, tuple(assumed))


def train_tokens(study: StudyConfig, size: Size, share: float) -> float:
    """Tokens of one training on a share of the pool."""
    return training_tokens(study.evaluation.sft, share * size.rows, size.row_tokens)


def items_of(task: TaskConfig, split: str, estimates: EstimateConfig) -> int:
    """Items of a split, counted where the file is there."""
    path = getattr(task, split)
    limit = getattr(task, f"{split}_limit")
    count = count_lines(path) if path is not None and path.is_file() else estimates.items
    return count if limit is None else min(count, limit)


def evaluation_flops(study: StudyConfig, config: ReproductionConfig, size: Size, split: str) -> tuple[float, float]:
    """Operations of scoring one model: (likelihoods, generation)."""
    estimates = config.estimates
    tasks = [*study.tasks, *(task.task() for task in config.ood if split == "test")]
    forward = generated = 0.0
    for task in tasks:
        items = items_of(task, split, estimates)
        forward += items * estimates.item_tokens
        asked = split == "test" or study.evaluation.exact_match
        if task.metric == "exact_match" or (asked and task.metric not in OPTION_METRICS):
            generated += items * (estimates.item_tokens + estimates.generated_tokens)
    parameters = size.parameters or 0.0
    return 2 * parameters * forward, 2 * parameters * generated


def estimate(config: ReproductionConfig, model: ModelEntry, sections: Sequence[str]) -> dict[str, Any]:
    """Trainings, device hours and disk of one model, by section, as plain data; optional targets that are missing left out."""
    study = study_of(config, model)
    estimates = config.estimates
    size = size_of(study, model.parameters, estimates)
    present = [target for target in model.transfer if target_check(target).state != "optional"]
    model = model.model_copy(update={"transfer": tuple(present)})
    every = planned(config, model, study)
    counts = {section: every[section] for section in sections}
    searched = [section for section in ("main", "ablation") if section in sections]
    hours = {section: _section_hours(config, study, size, section, counts[section]) for section in searched}
    transfer = 0.0
    sizes = {model.name: size}
    for target in model.transfer:
        larger = target_study(config, model, target)
        sizes[target.name] = size_of(larger, target.parameters, estimates)
        replicates = len(config.seeds[: target.seeds]) * len(config.final_seeds)
        for row in transfer_rows(config):
            share = 1.0 if row == "full" else 0.5 if row == "default" else estimates.share
            transfer += replicates * _hours(config, larger, sizes[target.name], share, "test")
    if "transfer" in sections:
        hours["transfer"] = transfer
    tokens = size.rows * size.row_tokens
    hours["signals"] = 2 * 2 * (size.parameters or 0.0) * tokens / _rate(estimates, estimates.training)
    return {
        "trainings": {section: dict(found) for section, found in counts.items()},
        "hours": {name: round(value, 3) for name, value in hours.items()},
        "total_hours": round(sum(hours.values()), 2),
        "sizes": {name: {**vars(found), "assumed": list(found.assumed)} for name, found in sizes.items()},
        "disk_gb": _disk(config, study, size, sum(sum(found.values()) for found in counts.values())),
    }


def _rate(estimates: EstimateConfig, share: float) -> float:
    """Operations an hour."""
    return estimates.peak_tflops * 1e12 * share * 3600


def _hours(config: ReproductionConfig, study: StudyConfig, size: Size, share: float, split: str) -> float:
    """Device hours of one training and scoring."""
    estimates = config.estimates
    training = 6 * (size.parameters or 0.0) * train_tokens(study, size, share)
    likelihoods, generation = evaluation_flops(study, config, size, split)
    return (training + likelihoods) / _rate(estimates, estimates.training) + generation / _rate(
        estimates, estimates.generation
    )


def _section_hours(config: ReproductionConfig, study: StudyConfig, size: Size, section: str, counts: Any) -> float:
    share = config.estimates.share
    total = 0.0
    for purpose, count in counts.items():
        split = "test" if purpose == "test" else "dev"
        total += count * _hours(config, study, size, 1.0 if purpose == RATES else share, split)
    if section == "main":  # full data is one row of those without a search, on test and perhaps on dev
        extra = train_tokens(study, size, 1.0) - train_tokens(study, size, share)
        dev = len(study.evaluation.seeds) if config.fixed_on_dev else 0
        runs = len(config.seeds) * (len(config.final_seeds) + dev)
        total += runs * 6 * (size.parameters or 0.0) * extra / _rate(config.estimates, config.estimates.training)
    return total


def _disk(config: ReproductionConfig, study: StudyConfig, size: Size, trainings: int) -> dict[str, float]:
    """Gigabytes by what takes them."""
    estimates = config.estimates
    pool = size.rows * size.row_tokens * BYTES_A_TOKEN * (0 if study.pool.path is not None else 1)
    sae = size.rows * study.signals.made_options("sae").max_features * (_FLOAT + _INDEX) if study.sae is not None else 0
    items = sum(items_of(task, "test", estimates) for task in study.tasks) + sum(
        items_of(task.task(), "test", estimates) for task in config.ood
    )
    results = trainings * (_RESULT_BYTES + 10 * items * _ITEM_BYTES)
    evaluation = study.evaluation
    external = make_engine(evaluation).reads == "folder" or not make_trainer(evaluation.sft).in_process
    checkpoints = (size.parameters or 0.0) * 4 * study.executor.workers if external else 0.0
    found = {
        "pool": pool,
        "sae_features": sae,
        "other_signals": size.rows * _ROW_SIGNALS,
        "results": results,
        "checkpoints_kept": 0.0,
        "checkpoints_at_a_time": checkpoints,
    }
    return {name: round(value / 1e9, 4) for name, value in found.items()}
