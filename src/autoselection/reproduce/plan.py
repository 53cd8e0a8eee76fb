"""How many trainings a reproduction needs at most, before anything is known of a pool."""

from __future__ import annotations

from collections.abc import Mapping

from autoselection.reproduce.config import ModelEntry, ReproductionConfig
from autoselection.reproduce.rows import TRANSFERRED, single_rows

Purpose = str


def planned(config: ReproductionConfig, model: ModelEntry, passes: int = 1) -> dict[str, Mapping[Purpose, int]]:
    """Trainings by section and purpose, at most: a subset that two rows have in common is trained once.

    Args:
        passes: trainings of an evaluation on dev (the study's ``evaluation.seeds``).
    """
    seeds, finals = len(config.seeds), len(config.final_seeds)
    fixed = 2 + len(single_rows(config))  # full data, the default
    main = {
        "searches on dev": len(config.methods) * seeds * config.budget * passes,
        "rows without a search on dev": fixed * seeds * passes if config.fixed_on_dev else 0,
        "test": (fixed + len(config.methods)) * seeds * finals,
    }
    ablation = {
        "searches on dev": len(config.ablations) * seeds * config.budget * passes,
        "test": len(config.ablations) * seeds * finals,
    }
    transfer = {
        target.name: len(transfer_rows(config)) * len(config.seeds[: target.seeds]) * finals
        for target in model.transfer
    }
    return {"main": main, "ood": {}, "ablation": ablation, "transfer": transfer}


def transfer_rows(config: ReproductionConfig) -> list[str]:
    """Trained rows of the transfer table: full data, the default, and the winners of some search methods."""
    return ["full", "default", *(name for name in config.methods if name in TRANSFERRED)]
