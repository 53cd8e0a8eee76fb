"""How many trainings a reproduction needs at most, before anything is known of a pool."""

from __future__ import annotations

from collections.abc import Mapping

from autoselection.compare.methods import METHODS
from autoselection.config import StudyConfig
from autoselection.reproduce.config import ModelEntry, ReproductionConfig
from autoselection.reproduce.rows import TRANSFERRED, single_rows

Purpose = str


RATES = "full data at each learning rate on dev"


def planned(config: ReproductionConfig, model: ModelEntry, study: StudyConfig) -> dict[str, Mapping[Purpose, int]]:
    """Trainings by section and purpose, at most: a subset that two rows have in common is trained once.

    Methods that have a number of evaluations of their own are counted as for a pool that has every signal.
    """
    seeds, finals, passes = len(config.seeds), len(config.final_seeds), len(study.evaluation.seeds)
    fixed = 2 + len(single_rows(config)) + len(config.recipes)  # full data, the default
    own = {name: most(study.search) for name in config.methods if (most := METHODS[name].most) is not None}
    main = {
        RATES: len(config.learning_rates) * seeds * passes,
        "searches on dev": (len(config.methods) - len(own)) * seeds * config.budget * passes,
        **{f"{name} on dev": count * seeds * passes for name, count in own.items()},
        "rows without a search on dev": fixed * seeds * passes if config.fixed_on_dev else 0,
        "test": (fixed + len(config.methods) + 1) * seeds * finals,  # and random rows, as many as the winner has
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
