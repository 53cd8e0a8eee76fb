"""What a reproduction needs and will cost, without loading anything heavy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autoselection.errors import ConfigError
from autoselection.reproduce.checks import model_check, study_checks, target_check
from autoselection.reproduce.config import ReproductionConfig, checked_sections, study_of, target_study
from autoselection.reproduce.costs import estimate
from autoselection.statistics import detectable_by_design


def dry_run(config: ReproductionConfig, sections: Sequence[str] = ()) -> dict[str, Any]:
    """Check every path of every model, count trainings, estimate device hours and disk.

    Args:
        sections: estimate these (default: those of the configuration).

    Keys: ``name``, ``models`` (each with ``checks``, ``estimate`` and ``no_estimate``), ``missing`` (sentences), ``power`` (a
    sentence: what so many replicates can find) and ``assumptions``. While the files of a model are missing and nothing else tells
    its size, its ``estimate`` is None and ``no_estimate`` a sentence that says so; else ``no_estimate`` is None.

    Raises:
        ConfigError: a study configuration is missing or wrong, a section unknown, or a model's size, though none of its files is
            missing (a hub id).
    """
    chosen = checked_sections(config, sections)
    models, missing = [], []
    for model in config.models:
        if "transfer" not in chosen:
            model = model.model_copy(update={"transfer": ()})
        study = study_of(config, model)
        transfers = {target.name: target_check(target) for target in model.transfer}
        checks = [*study_checks(config, study), *transfers.values()]
        for target in model.transfer:
            target_study(config, model, target)  # its overrides fit
        missing += [f"{model.name}: {check.what}: {check.where}" for check in checks if check.state == "missing"]
        found = estimate(config, model, chosen)
        unknown = [name for name, size in found["sizes"].items() if size["parameters"] is None]
        folders = {**transfers, model.name: model_check("base model", study.model.path)}
        if any(folders[name].state != "missing" for name in unknown):
            raise ConfigError(
                f"{config.name}: the size of {', '.join(unknown)} is unknown: set parameters beside its name."
            )
        models.append(
            {
                "name": model.name,
                "checks": [check.to_dict() for check in checks],
                "estimate": None if unknown else found,
                "no_estimate": _no_estimate(model.name, unknown) if unknown else None,
            }
        )
    return {
        "name": config.name,
        "models": models,
        "missing": missing,
        "power": _power(len(config.seeds)),
        "assumptions": config.estimates.model_dump(mode="json"),
    }


def _no_estimate(name: str, unknown: Sequence[str]) -> str:
    return (
        f"{name}: no estimate, as the size of {', '.join(unknown)} is unknown while its files are missing: put them there, or set "
        "parameters beside its name."
    )


def _power(replicates: int) -> str:
    found = detectable_by_design(replicates, paired=False)
    if found is None:
        return "One replicate a search: nothing can be said of other searches; take two or more (seeds)."
    return (
        f"{replicates} replicates: the comparison of two searches finds a difference of {found:.1f} standard deviations (of a "
        "search's test score over replicates) with 80% power; half of that takes about four times as many (seeds)."
    )
