"""Levels below a full evaluation, in a study: other models and what they cost, and what became of what was tried there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoselection.config import ModelConfig, StudyConfig
from autoselection.errors import AutoSelectionError, ConfigError
from autoselection.evaluation.harness import check_items
from autoselection.evaluation.trainers.trl import check_adapters
from autoselection.language.chat import ConversationEncoder
from autoselection.language.models import (
    check_model_files,
    context_length,
    load_config,
    load_tokenizer,
    model_parts,
    parameter_count,
)
from autoselection.ledger import Wanted
from autoselection.notebook import counted
from autoselection.search import Candidate
from autoselection.search.config import SearchConfig
from autoselection.search.levels import level_of, model_names
from autoselection.statistics import RankAgreement, rank_agreement
from autoselection.study.study import LEVELS, Study
from autoselection.study.trials import Trial


def lower_model(config: StudyConfig, number: int) -> ModelConfig:
    """One of ``search.fidelity.models`` as a model to train: whatever it does not say is as of the target model."""
    entry = config.search.fidelity.models[number]
    return config.model.model_copy(
        update={"path": entry.path, "chat_template": entry.chat_template or config.model.chat_template}
    )


def wanted_of(config: StudyConfig, search: SearchConfig, candidate: Candidate, seed: int) -> Wanted:
    """The evaluation of a candidate at its level.

    Args:
        search: with the costs of all levels.
    """
    level = level_of(search.fidelity, candidate.model, candidate.fidelity)
    model = None if level.number is None else lower_model(config, level.number)
    return Wanted(candidate.rows, seed, "dev", level.training, name=candidate.id, model=model, items=level.items)


# Costs


@dataclass(frozen=True)
class ModelCost:
    """What an evaluation with another model is taken to cost.

    Attributes:
        cost: in full evaluations.
        told: where the figure comes from, in words.
    """

    model: str
    cost: float
    told: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dict(vars(self))


def model_costs(config: StudyConfig) -> list[ModelCost]:
    """Costs of evaluations with the models of ``search.fidelity.models``: as given, else by their numbers of parameters.

    Raises:
        ConfigError: a model is not smaller than the target, and no cost is given.
        EvaluationError: a model cannot be read.
    """
    fidelity = config.search.fidelity
    found = []
    for number, (name, entry) in enumerate(zip(model_names(fidelity), fidelity.models, strict=True)):
        if entry.cost is not None:
            found.append(ModelCost(name, entry.cost, "as given (search.fidelity.models[].cost)"))
            continue
        own, target = parameter_count(entry.path), parameter_count(config.model.path)
        cost = own / target * entry.level
        if cost >= 1.0:
            raise ConfigError(
                f"search.fidelity.models[{number}]: {entry.path} has {own:,} parameters, and the target model {target:,}: with it "
                "nothing would be saved; name a smaller model, or give the cost of an evaluation with it as a share of a full one "
                "(cost)."
            )
        shorter = "" if entry.level == 1.0 else f", times {entry.level:g} of a training"
        found.append(ModelCost(name, cost, f"estimated: {own:,} of {target:,} parameters{shorter}"))
    return found


def with_costs(search: SearchConfig, costs: list[dict[str, Any]]) -> SearchConfig:
    """The settings with the costs of :func:`model_costs`, as the journal has them."""
    fidelity = search.fidelity
    models = tuple(
        entry.model_copy(update={"cost": found["cost"]}) for entry, found in zip(fidelity.models, costs, strict=True)
    )
    return search.model_copy(update={"fidelity": fidelity.model_copy(update={"models": models})})


def settled_search(study: Study) -> SearchConfig:
    """A study's search settings with the costs that its journal began with."""
    events = study.journal.of(LEVELS)
    return with_costs(study.config.search, events[0]["models"] if events else [])


# Checks


def check_lower_models(config: StudyConfig) -> None:
    """Refuse other models that cannot be trained and scored here, before anything is computed.

    Raises:
        ConfigError: one is missing, cannot be used, is the target itself, or costs no less; the key is named.
    """
    fidelity = config.search.fidelity
    for number, entry in enumerate(fidelity.models):
        where = f"search.fidelity.models[{number}].path"
        try:
            if model_parts(entry.path)["model"] == model_parts(config.model.path)["model"]:
                raise ConfigError(
                    f"{where}: {entry.path} is the target model itself (model.path): name another one, or use "
                    "search.fidelity.level for shorter trainings of it."
                )
            _check_usable(config, lower_model(config, number))
        except ConfigError:
            raise
        except AutoSelectionError as error:
            raise ConfigError(f"{where}: {error}") from error
    model_costs(config)


def _check_usable(config: StudyConfig, model: ModelConfig) -> None:
    """See that a model's files, template and context do for the study's trainings and dev items."""
    check_model_files(model.path)
    tokenizer = load_tokenizer(model.path, model.chat_options(), model.trust_remote_code)
    loaded = load_config(model.path, model.trust_remote_code)
    length = context_length(loaded)
    ConversationEncoder(tokenizer, max_length=length)
    check_adapters(config.evaluation.sft, loaded, model.trust_remote_code)
    for task in config.tasks:
        check_items(task, "dev", tokenizer, context_length=length, config=config.evaluation)


# What became of it


FEWEST_PAIRS = 5
"""Recipes with two scores from which on a correlation is told."""


@dataclass(frozen=True)
class LevelTold:
    """What a level told of full evaluations.

    Attributes:
        level: in words, such as ``model small``.
        cost: of an evaluation, in full ones, as it was counted; 0 where an earlier study paid for it.
        tried: recipes with a score there.
        promoted: of these, recipes that were evaluated in full, too.
        correlation: rank correlation of the two scores over these; None below five, or without a spread.
        interval: 95% interval of that.
        tasks: the same correlation for each task by itself, where there is one.
        seconds: of an evaluation there over those of a full one, as measured (means); None without both.
    """

    level: str
    cost: float
    tried: int
    promoted: int
    correlation: float | None
    interval: tuple[float, float] | None
    tasks: dict[str, float]
    seconds: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**vars(self), "interval": None if self.interval is None else list(self.interval)}

    def sentence(self) -> str:
        """For people."""
        said = (
            f"{self.level[0].upper()}{self.level[1:]}: {counted(self.tried, 'recipe')} tried"
            f"{f' at {self.cost:.2g} of the cost' if self.cost else ''}, {self.promoted} of them evaluated in full, too"
        )
        if self.interval is not None:
            low, high = self.interval
            said += f"; over these the scores' rank correlation is {self.correlation:.2f} (95% {low:.2f} to {high:.2f})"
        if len(self.tasks) > 1:
            said += f", by task {', '.join(f'{task} {value:.2f}' for task, value in self.tasks.items())}"
        if self.seconds is not None:
            said += f"; it took {self.seconds:.2f} of the time of a full evaluation"
        return f"{said}."


def told_by_levels(study: Study) -> list[LevelTold]:
    """What every level of a study told, the cheapest first; empty where there is none."""
    settings = settled_search(study)
    groups: dict[tuple[float, str], list[Trial]] = {}
    for trial in study.all_trials():
        if trial.fidelity < 1.0:
            groups.setdefault((trial.fidelity, trial.model), []).append(trial)
    full = {trial.record["subset_hash"]: trial for trial in study.subsets()}
    earlier: dict[str, dict[str, float]] = {}
    for entry in (study.journal.of("warm_start") or [{}])[0].get("scores", ()):
        if "model" in entry:
            name = f"model {entry['model']} in the study {entry['study']}"
            earlier.setdefault(name, {})[entry["subset_hash"]] = entry["score"]
    found = [_told(name, 0.0, scores, {}, full, None) for name, scores in earlier.items()]
    for (fidelity, model), trials in sorted(groups.items()):
        scored = [trial for trial in trials if trial.score is not None]
        took = [trial.seconds / max(1, len(trial.results)) for trial in scored]
        whole = [trial.seconds / max(1, len(trial.results)) for trial in full.values() if trial.score is not None]
        seconds = float(np.mean(took) / np.mean(whole)) if took and whole and np.mean(whole) > 0 else None
        name = level_of(settings.fidelity, model, fidelity).describe()
        scores = {str(trial.record["subset_hash"]): float(trial.score or 0.0) for trial in scored}
        by_task = {
            task.name: {str(trial.record["subset_hash"]): trial.tasks[task.name] for trial in scored}
            for task in study.config.tasks
        }
        found.append(_told(name, fidelity, scores, by_task, full, seconds))
    return found


def _told(
    level: str,
    cost: float,
    scores: Mapping[str, float],
    by_task: Mapping[str, Mapping[str, float]],
    full: Mapping[str, Trial],
    seconds: float | None,
) -> LevelTold:
    """From the scores of subsets at a level, and those of each task."""
    both = [subset for subset in scores if subset in full and full[subset].score is not None]
    agreement = _agreement([(scores[subset], full[subset].score or 0.0) for subset in both])
    tasks = {
        task: _agreement([(own[subset], full[subset].tasks[task]) for subset in both]) for task, own in by_task.items()
    }
    return LevelTold(
        level,
        cost,
        len(scores),
        sum(subset in full for subset in scores),
        None if agreement is None else agreement.value,
        None if agreement is None else (agreement.low, agreement.high),
        {task: found.value for task, found in tasks.items() if found is not None},
        seconds,
    )


def _agreement(pairs: Sequence[tuple[float, float]]) -> RankAgreement | None:
    return rank_agreement(*np.array(pairs, np.float64).T) if len(pairs) >= FEWEST_PAIRS else None


def level_sentences(study: Study) -> Iterator[str]:
    """What to know of the levels of a study, for its report."""
    for cost in (study.journal.of(LEVELS) or [{"models": []}])[0]["models"]:
        yield f"An evaluation with {cost['model']} is counted as {cost['cost']:.2g} of a full one ({cost['told']})."
    found = told_by_levels(study)
    yield from (level.sentence() for level in found)
    if found:
        yield "Only full evaluations were compared for the best; what the others would have scored in full is not known."
