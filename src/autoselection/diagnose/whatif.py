"""What a study would have chosen if its tasks counted otherwise: from what is known, without any training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from autoselection.diagnose.study import study_table
from autoselection.errors import ConfigError, StudyError
from autoselection.recipes import Materialization, PrefixCache, materialize
from autoselection.search import Prediction, SearchController
from autoselection.search.proposer import EditProposer, ProposalRequest, StartingPoint
from autoselection.signals import SignalTable
from autoselection.statistics import best_probabilities, chance_correlation
from autoselection.study import Study, Trial
from autoselection.study.chance import study_chance
from autoselection.study.evidence import counted_tables
from autoselection.tasks import TaskConfig, merit, missed_by, overall, shortfall
from autoselection.wording import named_numbers, suggestion

PROPOSALS = 160
SHOWN = 5
"""Proposals that are told of, those of the highest expected improvement first."""
PARENTS = 4
_STREAM = 21
"""Distinguishes the draws of proposals from other uses of the same seed."""


@dataclass(frozen=True)
class Reweighed:
    """A trial under other weights.

    Attributes:
        score, before: its score now, and by the study's own weights.
        probability: that it is the best of the trials, see :func:`~autoselection.statistics.best_probabilities`; None where
            no item scores were kept.
        below: tasks whose floor it misses.
    """

    trial: str
    score: float
    before: float
    probability: float | None
    rows: int
    recipe: str
    tasks: Mapping[str, float]
    below: tuple[str, ...] = ()


@dataclass(frozen=True)
class Untried:
    """A recipe that was never evaluated.

    Attributes:
        mu, sigma: what the search's surrogate expects of its score.
        better: probability that it is better than the best trial, and meets the floors, where there are any.
        meets: probability that it meets the floors; None where there are none.
        document: the recipe, to be saved and run.
    """

    recipe: str
    rows: int
    mu: float
    sigma: float
    better: float
    document: Mapping[str, Any]
    meets: float | None = None


@dataclass(frozen=True)
class WhatIf:
    """What other weights would change.

    Attributes:
        weights: of every task.
        trials: those that meet the floors, the best first; all that have a score, those that miss the floors least first, where none does.
        untried: a few proposals, the highest expected improvement first; empty where the pool is gone.
        sentences: the answer, and what is not known.
    """

    weights: Mapping[str, float]
    trials: tuple[Reweighed, ...]
    untried: tuple[Untried, ...]
    sentences: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def parse_weights(given: str) -> dict[str, float]:
    """``gsm8k=2,mmlu=0.5`` as a mapping.

    Raises:
        ConfigError: it is something else.
    """
    found = named_numbers(given, "--weights", "TASK=WEIGHT", "gsm8k=2,mmlu=0.5")
    if not found:
        raise ConfigError("--weights names no task: give TASK=WEIGHT, such as gsm8k=2,mmlu=0.5.")
    return found


def what_if(study: Study, weights: Mapping[str, float], *, proposals: int = PROPOSALS) -> WhatIf:
    """What the study would choose with other weights of tasks.

    Trials are scored again from the scores of their tasks; proposals are drawn near the best of them, as the search does,
    and predicted by its surrogate. Everything random is seeded by ``search.seed``.

    Args:
        weights: by task; tasks that are not named keep their own.
        proposals: recipes to look at besides the trials.

    Raises:
        ConfigError: a task that the study does not have, or no weight above 0.
        StudyError: no trial has a score.
    """
    tasks, floors = reweighed_tasks(study, weights), study.floors
    trials = study.contenders()
    if not trials:
        raise StudyError(f"{study.path}: no trial has a score yet; run the study first.")
    scores = np.array([overall(trial.tasks, tasks) for trial in trials])
    known, notes = _probabilities(study, trials, tasks)
    left_out = sum(trial.score is not None for trial in study.subsets()) - len(trials)
    if left_out:
        notes.append(f"{left_out} trial(s) that miss a floor are left out.")
    listed = [
        Reweighed(
            trial.id,
            float(score),
            float(trial.score or 0.0),
            None if known is None else float(known[place]),
            trial.size,
            trial.recipe.describe(),
            trial.tasks,
            tuple(task for task, floor in floors.items() if missed_by(trial.tasks[task], floor)),
        )
        for place, (trial, score) in enumerate(zip(trials, scores, strict=True))
    ]
    # The later one of equal trials comes first, as it is the study's best.
    listed.reverse()
    listed.sort(key=lambda item: merit(item.score, item.tasks, floors), reverse=True)
    table = study_table(study, notes) if proposals else None
    untried = [] if table is None else _untried(study, table, trials, tasks, proposals)
    said = _sentences(study, listed, untried)
    return WhatIf({task.name: task.weight for task in tasks}, tuple(listed), tuple(untried), (*said, *notes))


def reweighed_tasks(study: Study, weights: Mapping[str, float]) -> list[TaskConfig]:
    """The study's tasks with other weights.

    Raises:
        ConfigError: a task that the study does not have, or no weight above 0.
    """
    names = [task.name for task in study.config.tasks]
    for name in weights:
        if name not in names:
            raise ConfigError(f"--weights: the study has no task '{name}'{suggestion(name, names)}")
    tasks = [task.model_copy(update={"weight": weights.get(task.name, task.weight)}) for task in study.config.tasks]
    if not any(task.weight for task in tasks):
        raise ConfigError("--weights: every task would have weight 0; give one a weight above 0.")
    return tasks


def _probabilities(
    study: Study, trials: Sequence[Trial], tasks: Sequence[TaskConfig]
) -> tuple[NDArray[np.float64] | None, list[str]]:
    tables = [table for table in counted_tables(trials, tasks) if table is not None]
    if len(tables) < len(trials):
        return None, ["Which trial is the best is told by the scores alone: no item scores were kept of some."]
    # The trainings of the verdict count too: they are the only repeats of a search with one seed.
    chance = study_chance(study, score=lambda result: overall(result.scores, tasks))
    seeds = [list(trial.results) for trial in trials]
    notes = []
    deviations = [0.0] * len(trials)
    if chance.noise.known:
        deviations = [math.sqrt(chance.noise.variance / len(own)) for own in seeds]
    else:
        notes.append(
            "No subset was trained with two seeds: probabilities say what other items would choose, not what other "
            "trainings would."
        )
    correlation = chance_correlation(
        seeds, chance.among([trial.record["subset_hash"] for trial in trials]), chance.shared
    )
    found = best_probabilities(tables, deviations, correlation=correlation, seed=study.config.search.seed)
    return found, notes


def _untried(
    study: Study, table: SignalTable, trials: Sequence[Trial], tasks: Sequence[TaskConfig], count: int
) -> list[Untried]:
    """The proposals that are expected to improve most on the best trial, first the one of the highest expected improvement,
    times the probability that it meets the floors; that alone where no trial does.

    Args:
        trials: those that the best is chosen from; the surrogate learns from the others too.
        tasks: with the weights that are asked about.
    """
    search, floors = study.config.search, study.floors
    settings = search.model_copy(update={"initial": (), "include_full": False, "proposals": count})
    controller = SearchController(table, settings)
    known = [trial for trial in study.subsets() if trial.score is not None]
    scores = np.array([overall(trial.tasks, tasks) for trial in known])
    recipes = [trial.recipe.canonical(controller.registry) for trial in known]
    meeting = [shortfall(trial.tasks, floors) == 0 for trial in known]
    chosen = {trial.id for trial in trials}
    starts = [
        StartingPoint(recipes[place], None)
        for place in np.argsort(-scores, kind="stable").tolist()
        if known[place].id in chosen
    ]
    rng = np.random.default_rng([search.seed, _STREAM])
    request = ProposalRequest(count, 0, starts[:PARENTS], (), controller.credit, controller.space, rng)
    seen = {str(trial.record["subset_hash"]) for trial in study.subsets()}
    cache, found = PrefixCache(), list[Materialization]()
    for proposed in EditProposer(settings).propose(request).recipes:
        made = materialize(proposed.recipe, table, seed=search.seed, registry=controller.registry, cache=cache)
        if made.subset_hash not in seen and made.distinct >= search.least_rows(table):
            seen.add(made.subset_hash)
            found.append(made)
    if not found:
        return []
    inputs = controller.predictions.inputs
    predicted = controller.predictions.elsewhere(
        inputs.points(recipes, [study.rows(trial.id) for trial in known]),
        scores,
        inputs.points([made.recipe for made in found], [made.rows for made in found]),
        eligible=meeting if floors else None,
        floors=floors,
        tasks={task: np.array([trial.tasks[task] for trial in known]) for task in floors},
    )
    best = max(overall(trial.tasks, tasks) for trial in trials)
    # Of what is far from all trials next to nothing is known: by probability alone it would stand above what is likely good.
    order = sorted(range(len(found)), key=lambda place: (-predicted[place].log_ei, place))[:SHOWN]
    return [_told(found[place], predicted[place], best if any(meeting) else None) for place in order]


def _told(made: Materialization, expected: Prediction, best: float | None) -> Untried:
    """A proposal beside the best trial; None: no trial meets the floors, so that whatever meets them is better."""
    better = 1.0 if best is None else float(norm.sf(best, expected.mu, max(expected.sigma, 1e-12)))
    return Untried(
        made.recipe.describe(),
        len(made.rows),
        expected.mu,
        expected.sigma,
        better * (1.0 if expected.meets is None else expected.meets),
        made.recipe.to_dict(),
        expected.meets,
    )


def _sentences(study: Study, trials: Sequence[Reweighed], untried: Sequence[Untried]) -> list[str]:
    lead, own = trials[0], study.best()
    surely = "" if lead.probability is None else f", the best of the trials with probability {lead.probability:.0%}"
    same = own is not None and own.id == lead.trial
    said = [
        f"With these weights {lead.trial} is still the best ({lead.score:.4f}{surely})."
        if same
        else f"With these weights {lead.trial} is the best ({lead.score:.4f}{surely})"
        + ("." if own is None else f", not {own.id} ({_of(trials, own.id):.4f})."),
    ]
    if own is not None and shortfall(own.tasks, study.floors) > 0:
        said.append(f"No trial meets the floors; {own.id} misses them least, so it comes first.")
    if untried:
        first = untried[0]
        floors = "" if first.meets is None else " and meets the floors"
        said.append(
            f"Of the recipes that were not tried, the highest improvement is expected of one that is better than that{floors} with "
            f"probability {first.better:.0%} ({first.mu:.4f} ± {first.sigma:.4f}): {first.recipe}."
        )
    return said


def _of(trials: Sequence[Reweighed], name: str) -> float:
    return next((item.score for item in trials if item.trial == name), math.nan)
