"""A study as runs of a tracker: plain numbers and words, taken from its journal."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from autoselection._version import __version__
from autoselection.evaluation import EvaluationResult
from autoselection.evaluation.job import mean_score, mean_scores
from autoselection.recipes.state import largest_sources, shown_numbers
from autoselection.report.study_view import trial_kind
from autoselection.study import Study
from autoselection.study.incumbent import current_verdict
from autoselection.study.tracked import STUDY, done_trials
from autoselection.study.trials import Trial

Value = str | int | float | bool

#: Longest name of a run, and longest value of a parameter (characters).
_NAME, _VALUE = 120, 500


@dataclass(frozen=True)
class Point:
    """Numbers of a study at one of its trials.

    Attributes:
        step: number of the trial, from 1.
        time: seconds since 1970.
    """

    step: int
    time: float
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class Run:
    """One run of a tracker.

    Attributes:
        key: id of the trial, or ``study``.
        name: for people.
        parameters: what was chosen.
        words: what is told in words; they may change.
        numbers: what was measured, each once.
        final: numbers that come when the study ends.
        points: numbers over the trials of a study.
        began, ended: seconds since 1970; ``ended`` None while it goes on.
        failed: it has no score.
    """

    key: str
    name: str
    parameters: Mapping[str, Value]
    words: Mapping[str, str]
    numbers: Mapping[str, float]
    final: Mapping[str, float] = field(default_factory=dict)
    points: tuple[Point, ...] = ()
    began: float = 0.0
    ended: float | None = None
    failed: bool = False

    @property
    def digest(self) -> str:
        """Hash of all that is told."""
        return hashlib.blake2b(json.dumps(asdict(self), sort_keys=True).encode(), digest_size=8).hexdigest()


def study_key(study: Study) -> str | None:
    """Fingerprint of a study, wherever its folder lies: of when it began, its pool and its signals; None before it did."""
    opening = study.journal.of("study")
    if not opening:
        return None
    begun = [opening[0].get("time"), opening[0]["pool"], opening[0]["signals"]]
    return hashlib.blake2b(json.dumps(begun).encode(), digest_size=6).hexdigest()


def trial_runs(study: Study) -> Iterator[Run]:
    """A run for every trial that has all its results, in order."""
    trials = study.all_trials()
    asked = {event["trial"]["id"]: float(event.get("time") or 0.0) for event in study.journal.of("trial")}
    ended = _times(study)
    final = _final_of_trials(study)
    # Those of the first trial: what was sent of one trial does not depend on those that come later.
    sources = largest_sources([trial.record.get("state") or {} for trial in trials[:1]])
    for name in done_trials(study):
        trial = trials[name]
        numbers = _trial_numbers(trial, sources)
        yield _trial_run(trial, numbers, asked[name], ended.get(name, asked[name]), final.get(name, {}))


def _times(study: Study) -> dict[str, float]:
    """When the last evaluation of each trial ended."""
    return {event["trial"]: float(event.get("time") or 0.0) for event in study.journal.of("evaluation")}


def _trial_run(trial: Trial, numbers: Mapping[str, Any], began: float, ended: float, final: Mapping[str, float]) -> Run:
    record = trial.record
    recipe = trial.recipe.describe()
    stage = trial_kind(trial)
    parameters: dict[str, Value] = {
        "stage": stage,
        "recipe": _clipped(recipe),
        "recipe_hash": record["recipe_hash"],
        "subset_hash": record["subset_hash"],
        "rows": trial.size,
        "fidelity": trial.fidelity,
        **({"model": trial.model} if trial.model else {}),
        "trajectory": int(record.get("trajectory") or 0),
        **({"parent": record["parent"]} if record.get("parent") else {}),
        **({"repeats": record["of"]} if record.get("of") else {}),
        **_steps(record["recipe"]),
    }
    words = {"edit": _clipped(str(record.get("edit") or ""))}
    if trial.failure:
        words["failure"] = _clipped(trial.failure)
    hash_ = str(record["recipe_hash"])[:8]
    return Run(
        key=trial.id,
        name=f"{trial.id} {stage}: {recipe}"[: _NAME - 9].rstrip() + f" {hash_}",
        parameters=parameters,
        words={name: value for name, value in words.items() if value},
        numbers=_finite(numbers),
        final=_finite(final),
        began=began,
        ended=ended,
        failed=trial.failure is not None,
    )


def _trial_numbers(trial: Trial, sources: frozenset[str]) -> dict[str, Any]:
    results = list(trial.results.values())
    numbers: dict[str, Any] = {"rows": trial.size}
    if trial.score is not None:
        numbers["score"] = trial.score
        numbers |= {f"score/{task}": score for task, score in trial.tasks.items()}
    for seed, result in sorted(trial.results.items()):
        if result.failure is None:
            numbers[f"seed_{seed}/score"] = result.score
            numbers |= {f"seed_{seed}/score/{task}": score for task, score in result.scores.items()}
    numbers |= _costs(results)
    expected = trial.record.get("prediction")
    if expected is not None:
        numbers |= {"expected/score": expected["mu"], "expected/deviation": expected["sigma"]}
    (state,) = shown_numbers([trial.record.get("state") or {}], sources)
    return numbers | {f"state/{name}": value for name, value in state.items()}


def _costs(results: list[EvaluationResult]) -> dict[str, float]:
    return {
        "cost/tokens": sum(result.train_tokens for result in results),
        "cost/steps": sum(result.steps for result in results),
        "cost/seconds": sum(result.seconds.get("total", 0.0) for result in results),
        "cost/train_seconds": sum(result.seconds.get("train", 0.0) for result in results),
        "cost/score_seconds": sum(result.seconds.get("eval", 0.0) for result in results),
    }


def _steps(recipe: Mapping[str, Any]) -> dict[str, Value]:
    """The steps of a recipe: ``step_1`` is its operator, ``step_1/k`` a parameter."""
    found: dict[str, Value] = {}
    for number, step in enumerate(recipe.get("steps") or (), 1):
        found[f"step_{number}"] = str(step.get("operator"))
        for name, value in (step.get("params") or {}).items():
            if value is None:
                continue
            plain = isinstance(value, (str, int, float, bool))
            text = value if plain else json.dumps(value, ensure_ascii=False, sort_keys=True)
            found[f"step_{number}/{name}"] = _clipped(text) if isinstance(text, str) else text
    return found


def study_run(study: Study) -> Run:
    """The run of a study so far."""
    config, events = study.config, study.journal.events
    opening = study.journal.of("study")[0]
    best = study.best()
    judged = current_verdict(study)
    sft = config.evaluation.sft.model_dump(mode="json")
    parameters: dict[str, Value] = {
        "model": config.model.path,
        "tasks": ", ".join(task.name for task in config.tasks),
        "pool_rows": int(opening["rows"]),
        "pool": opening["pool"],
        "seed": config.search.seed,
        "seeds": ", ".join(map(str, config.evaluation.seeds)),
        **{f"sft/{name}": _parameter(value) for name, value in sft.items() if value is not None},
    }
    words = {
        "evaluations": f"{len(done_trials(study))} trials done, {config.search.evaluations} evaluations in the budget",
        "best": "" if best is None else f"{best.id}: {best.recipe.describe()}",
        "verdict": " ".join(judged["sentences"]) if judged else "",
        "state": "finished" if study.finished else "not finished",
        "autoselection": __version__,
        "path": str(study.path),
    }
    times = [float(event.get("time") or 0.0) for event in events]
    points = tuple(_points(study))
    return Run(
        key=STUDY,
        name=config.name,
        parameters=parameters,
        words={name: _clipped(value) for name, value in words.items() if value},
        numbers=dict(points[-1].numbers) if points else {},
        final=_finite(_final(study)),
        points=points,
        began=times[0] if times else 0.0,
        ended=times[-1] if study.finished and times else None,
        failed=study.finished and best is None,
    )


def _points(study: Study) -> Iterator[Point]:
    """Score, best score so far and costs so far, after each full trial and each short one."""
    known, ended = study.all_trials(), _times(study)
    trials = [known[name] for name in done_trials(study)]
    spent: dict[str, float] = {}
    for step, (trial, leader) in enumerate(zip(trials, study.leaders(trials), strict=True), 1):
        for cost, value in _costs(list(trial.results.values())).items():
            spent[cost] = spent.get(cost, 0.0) + value
        numbers = {**spent, "rows": trial.size}
        if trial.score is not None and trial.fidelity == 1.0:
            numbers["score"] = trial.score
        if leader is not None and leader.score is not None:
            numbers["best/score"] = leader.score
            numbers |= {f"best/score/{task}": score for task, score in leader.tasks.items()}
        yield Point(step, ended.get(trial.id, 0.0), _finite(numbers))


def _final(study: Study) -> dict[str, float]:
    """Mean test scores of the rows of the final table, by their names."""
    found: dict[str, float] = {}
    for name, results in study.final_results().items():
        found |= {f"test/{name}/{what}": value for what, value in _mean_scores(list(results.values())).items()}
    return found


def _final_of_trials(study: Study) -> dict[str, dict[str, float]]:
    """Test scores of the winner, by its trial."""
    plans = study.journal.of("final_plan")
    if not plans or plans[-1].get("winner") is None:
        return {}
    name = next((entry["name"] for entry in plans[-1]["entries"] if entry["kind"] == "winner"), None)
    scores = _mean_scores(list(study.final_results().get(str(name), {}).values()))
    return {plans[-1]["winner"]: {f"test/{what}": value for what, value in scores.items()}} if study.finished else {}


def _mean_scores(results: list[EvaluationResult]) -> dict[str, float]:
    if not results or any(result.failure for result in results):
        return {}
    return {"score": mean_score(results), **{f"score/{task}": score for task, score in mean_scores(results).items()}}


def _finite(numbers: Mapping[str, Any]) -> dict[str, float]:
    """The numbers that are some."""
    return {name: float(value) for name, value in numbers.items() if _is_number(value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and math.isfinite(value)


def _parameter(value: Any) -> Value:
    return value if isinstance(value, (str, int, float, bool)) else json.dumps(value, sort_keys=True)


def _clipped(text: str) -> str:
    return text if len(text) <= _VALUE else text[: _VALUE - 1] + "…"
