"""What a study's journal tells: made again only when something was added to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoselection.report.study_view import TrialView, trial_views
from autoselection.study import Study
from autoselection.study.evidence import planned_seeds
from autoselection.study.incumbent import current_verdict
from autoselection.study.prepare import Contamination
from autoselection.tasks import labels

_NOTES = 20


@dataclass(frozen=True)
class Best:
    """The best subset so far, on dev.

    Attributes:
        tasks: score of each task, by its name with the sign of its metric.
        trials: ids of all evaluations of it.
        trainings: how many its scores are the mean of.
        rule: what the best is, in words: see ``Study.best_rule``.
    """

    trial: str
    score: float
    rows: int
    recipe: str
    tasks: tuple[tuple[str, float], ...]
    trials: tuple[str, ...]
    trainings: int
    rule: str


@dataclass(frozen=True)
class Tested:
    """A row of the final table: mean test score of the seeds that are done, or why there is none."""

    name: str
    rows: int
    done: int
    seeds: int
    score: float | None
    failure: str | None


@dataclass(frozen=True)
class Record:
    """A study as its journal has it.

    Attributes:
        pool_rows: None before the pool is read.
        budget: evaluations that the search may spend, and ``spent`` of them, in full ones.
        trials: in the order in which they were asked.
        pending: ids of trials that lack a result.
        verdict: in a sentence, once winner and incumbent were compared.
        tests: rows of the final table, once it is planned.
        began, latest: times of the first and the last event (seconds since 1970); None before there is one.
        notes: what went wrong or has to be known, newest last.
    """

    name: str
    path: str
    pool_rows: int | None
    budget: int
    spent: float
    trials: tuple[TrialView, ...]
    pending: tuple[str, ...]
    best: Best | None
    verdict: str | None
    tests: tuple[Tested, ...]
    finished: bool
    began: float | None
    latest: float | None
    notes: tuple[str, ...]


def record(study: Study, damage: str | None = None) -> Record:
    """Gather what is looked at of a study.

    Args:
        damage: what is wrong with its journal, if something is.
    """
    events = study.journal.events
    opening = study.journal.of("study")
    trials = trial_views(study)
    pending = tuple(trial.id for trial in study.all_trials() if not study.is_done(trial))
    judged = current_verdict(study)
    return Record(
        name=study.config.name,
        path=str(study.path),
        pool_rows=opening[0]["rows"] if opening else None,
        budget=study.config.search.evaluations,
        spent=study.spent,
        trials=trials,
        pending=pending,
        best=_best(study),
        verdict=judged["sentences"][0] if judged else None,
        tests=_tests(study),
        finished=study.finished,
        began=events[0].get("time") if events else None,
        latest=events[-1].get("time") if events else None,
        notes=_notes(study, damage),
    )


def _best(study: Study) -> Best | None:
    best = study.best()
    if best is None or best.score is None:
        return None
    names = labels(study.config.tasks)
    shown = dict(zip((task.name for task in study.config.tasks), names, strict=True))
    tasks = tuple((shown.get(name, name), score) for name, score in best.tasks.items())
    subset = best.record["subset_hash"]
    same = tuple(trial.id for trial in study.trials if trial.record["subset_hash"] == subset)
    recipe = best.recipe.describe()
    return Best(best.id, best.score, best.size, recipe, tasks, same, len(best.results), study.best_rule)


def _tests(study: Study) -> tuple[Tested, ...]:
    plans = study.journal.of("final_plan")
    if not plans:
        return ()
    entries = {entry["name"]: entry for entry in plans[-1]["entries"]}
    found = []
    for name, results in study.final_results().items():
        entry = entries[name]
        failure = next((result.failure for result in results.values() if result.failure), None)
        scores = [result.score for result in results.values() if not result.failure]
        seeds = planned_seeds(plans[-1], entry)
        score = float(np.mean(scores)) if scores and failure is None else None
        found.append(Tested(name, int(entry["rows"]), len(results), seeds, score, failure))
    return tuple(found)


def _notes(study: Study, damage: str | None) -> tuple[str, ...]:
    """The last of what went wrong or has to be known, each thing once."""
    journal = study.journal
    found = []
    guard = journal.of("contamination")
    opening = journal.of("study")
    if guard and opening:
        found.append(Contamination.of(guard[0]).sentence(opening[0]["rows"]))
    for event in journal.events:
        kind = event["event"]
        if kind == "benchmarks":
            found += [finding["sentence"] for finding in event["findings"]]
        elif kind == "interruption":
            named = event.get("key") or f"{event.get('name')}, seed {event.get('seed')}"
            found.append(f"{named} was lost to the machine: {event['reason']}")
        elif isinstance(result := event.get("result"), dict):
            named = event.get("trial") or event.get("name") or event.get("label")
            if result.get("failure"):
                found.append(f"{named} failed: {result['failure']}")
            found += [f"{named}: {remark}" for remark in result.get("remarks") or ()]
    if damage:
        found.append(damage)
    return tuple(dict.fromkeys(filter(None, found)))[-_NOTES:]
