"""What the final table shows and what it does not: the winner against its baselines, item by item and seed by seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from autoselection.config import StudyConfig
from autoselection.errors import StudyError
from autoselection.evaluation import EvaluationResult
from autoselection.evaluation.job import mean_score
from autoselection.statistics import (
    BaselineComparison,
    SeedNoise,
    chance_correlation,
    compare_all,
    pooled_noise,
    selection_bias,
    table_components,
    trial_noise,
)
from autoselection.study.chance import Chance, study_chance
from autoselection.study.dev_results import dev_results
from autoselection.study.study import Study
from autoselection.study.trials import Trial
from autoselection.tasks import TaskConfig, factors, sign_of, weighed

Table = dict[str, NDArray[np.float64]]

LEVEL = 0.95


def item_table(results: Sequence[EvaluationResult], tasks: Sequence[TaskConfig]) -> Table | None:
    """Item scores of one subset, per task float64[results, items], in the tasks' search metrics (higher is better).

    Returns:
        None if a result holds no item scores.
    """
    table: Table = {}
    for task in tasks:
        rows = [result.items.get(task.name, {}).get(task.metric) for result in results]
        if not rows or any(row is None for row in rows):
            return None
        table[task.name] = sign_of(task.metric) * np.array(rows, np.float64)
    return table


def counted_tables(trials: Iterable[Trial], tasks: Sequence[TaskConfig]) -> list[list[NDArray[np.float64]] | None]:
    """Item scores of each trial for the tasks that count, by their weights: the mean over them is the score."""
    by = factors(tasks)
    tables = (item_table(list(trial.results.values()), tasks) for trial in trials)
    return [None if table is None else list(weighed(table, by).values()) for table in tables]


@dataclass(frozen=True)
class FinalProgress:
    """How far the last plan's final table is (counts of results).

    Attributes:
        done: results that are there, failures among them.
        planned: results that the plan asks for; of a row that failed, those that are there.
    """

    done: int
    planned: int

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.done == self.planned

    def __str__(self) -> str:
        return f"{self.done:,} of {self.planned:,} results"


def planned_seeds(plan: Mapping[str, Any], entry: Mapping[str, Any]) -> int:
    """Results that a final plan asks for of one of its rows: without training there is nothing for a seed to change."""
    return 1 if entry["subset_hash"] is None else len(plan["seeds"])


def final_progress(study: Study) -> FinalProgress | None:
    """How far the final table is; None before it is planned."""
    plans = study.journal.of("final_plan")
    if not plans:
        return None
    results, done, planned = study.final_results(), 0, 0
    for entry in plans[-1]["entries"]:
        own, asked = results[entry["name"]], planned_seeds(plans[-1], entry)
        failed = any(result.failure for result in own.values())
        done += len(own) if failed else min(len(own), asked)
        planned += len(own) if failed else asked
    return FinalProgress(done, planned)


def final_evidence(study: Study) -> dict[str, Any] | None:
    """Statistics of the final table as plain data; None before the winner is scored on test.

    Keys: ``winner``, ``level``, ``complete`` (whether all that was planned is scored), ``comparisons`` (see
    :class:`~autoselection.statistics.BaselineComparison`; before it is complete figures alone: None for ``significant`` and
    all that holds together), ``not_compared`` (baseline: why), ``variance`` (of the winner's test scores, by task),
    ``shrinkage`` (from dev to test), ``test_touched`` (each time test was read, with the reason) and ``sentences``.

    Raises:
        StudyError: two rows of the table were scored on other items.
    """
    events = len(study.journal.events)
    if study not in _KNOWN or _KNOWN[study][0] != events:
        _KNOWN[study] = events, _evidence(study)
    return _KNOWN[study][1]


#: What was said of a study that is open, and of how many events: tables, notes and summary ask in turn.
_KNOWN: WeakKeyDictionary[Study, tuple[int, dict[str, Any] | None]] = WeakKeyDictionary()


def _evidence(study: Study) -> dict[str, Any] | None:
    results = {name: list(found.items()) for name, found in study.final_results().items()}
    tasks = study.config.tasks
    winner = next(iter(results), None)
    if winner is None or not results[winner] or any(result.failure for _, result in results[winner]):
        return None
    check_items(study, results, "test")
    pairs: dict[str, tuple[Table, Table]] = {}
    left_out: dict[str, str] = {}
    base = {entry["name"] for entry in study.journal.of("final_plan")[-1]["entries"] if entry["kind"] == "base"}
    for name in list(results)[1:]:
        pair = _pair(dict(results[winner]), dict(results[name]), tasks, untrained=name in base)
        if isinstance(pair, str):
            left_out[name] = pair
        else:
            pairs[name] = pair
    seed = study.config.search.seed
    comparisons = compare_all(winner, pairs, level=LEVEL, seed=seed, factors=factors(tasks))
    progress = final_progress(study)
    complete = progress is not None and progress.complete
    compared = [each.to_dict() if complete else _figures(winner, each) for each in comparisons]
    table = item_table([result for _, result in sorted(results[winner])], tasks) or {}
    shrinkage = _shrinkage(study, {name: [result for _, result in found] for name, found in results.items()})
    touched = touches_of_test(study)
    sentences = [] if complete else [f"Test is being scored ({progress}): nothing is shown by it before all of it is."]
    sentences += [comparison["verdict"] for comparison in compared]
    sentences += [f"{winner} is not compared with {name}: {why}." for name, why in left_out.items()]
    if complete and comparisons and all(comparison.p_seeds is None for comparison in comparisons):
        sentences.append(
            "One training seed a row: the tests say what other items would show, not what other trainings would (final.seeds)."
        )
    sentences += shrinkage["sentences"] if shrinkage else []
    sentences.append(touched_sentence(touched))
    if said := other_winner(study):
        sentences.append(said)
    return {
        "winner": winner,
        "level": LEVEL,
        "complete": complete,
        "comparisons": compared,
        "not_compared": left_out,
        "variance": {
            name: {
                **{key: _finite(value) for key, value in vars(part).items()},
                "seed_error": _finite(part.seed_error),
                "item_error": _finite(part.item_error),
            }
            for name, part in table_components(table).items()
        },
        "shrinkage": None if shrinkage is None else {k: v for k, v in shrinkage.items() if k != "sentences"},
        "test_touched": touched,
        "sentences": sentences,
    }


#: What a comparison says together with all others of its table, which are not known before the table is complete.
_TOGETHER = ("p_adjusted", "significant", "interval_all", "gate", "p_family")


def _figures(winner: str, found: BaselineComparison) -> dict[str, Any]:
    """A comparison of a table that is not complete: the plan fixed which seeds and baselines are read together, and a
    finding on some of them would be one of many looks."""
    seeds = f"{found.seeds} training seed{'s' * (found.seeds > 1)}"
    verdict = f"{winner} minus {found.baseline} so far, on {seeds}: {found.difference.estimate:+.4f}."
    return {**found.to_dict(), **dict.fromkeys(_TOGETHER), "verdict": verdict}


def touches_of_test(study: Study) -> list[dict[str, Any]]:
    """Each time the study set out to read test, in order: ``what`` for, and the ``reason`` given (None: the first)."""
    touched = []
    for event in study.journal.events:
        if event["event"] == "final_plan":
            touched.append({"what": "final table", "reason": event.get("reason")})
        elif event["event"] == "test_access":
            touched.append({"what": event["what"], "reason": event["reason"]})
    return touched


def unscored_best(study: Study) -> Trial | None:
    """The best trial, where the last final plan is of another winner: the search went on after test was scored."""
    best, plans = study.best(), study.journal.of("final_plan")
    if best is None or not plans or plans[-1]["entries"][0]["subset_hash"] == best.record["subset_hash"]:
        return None
    return best


def asks_for_another_winner(study: Study, config: StudyConfig) -> bool:
    """Whether a reason is given to score test again for another winner: one that was given for an earlier plan does not
    speak for it."""
    given = [plan.get("reason") for plan in study.journal.of("final_plan")]
    return config.final.rescore not in (None, *given)


def other_winner(study: Study) -> str:
    """What to know where the search went on and found a better subset than the one scored on test; else empty."""
    best = unscored_best(study)
    if best is None:
        return ""
    plan = study.journal.of("final_plan")[-1]
    return (
        f"The search went on after test was scored: on dev {best.id} ({best.score:.4f}) is the best now, on test "
        f"{plan['winner']} was scored, the best before, and {best.id} was not; "
        "--rescore-test REASON (final.rescore) scores it, and is recorded and reported."
    )


def touched_sentence(touched: Sequence[Mapping[str, Any]]) -> str:
    """How often test was touched, and why again."""
    if len(touched) < 2:
        return "Test was touched once, by a plan written before."
    again = "; ".join(
        f"for the {entry['what']}" + (f": {entry['reason']}" if entry["reason"] else "") for entry in touched[1:]
    )
    return f"Test was touched {len(touched)} times, so later figures are less than independent of it ({again})."


def check_items(study: Study, results: Mapping[str, Sequence[tuple[int, EvaluationResult]]], split: str) -> None:
    """See that all were scored on the same items.

    Raises:
        StudyError: two were not; they are named.
    """
    seen: dict[str, tuple[str, list[Any]]] = {}
    for name, found in results.items():
        for _, result in found:
            for task, items in result.items.items():
                first, ids = seen.setdefault(task, (name, items["ids"]))
                if items["ids"] != ids:
                    raise StudyError(
                        f"{study.path}: '{name}' and '{first}' were scored on other {split} items of task '{task}': the "
                        "task file changed in between; start a new study in another folder."
                    )


def _pair(
    winner: Mapping[int, EvaluationResult],
    other: Mapping[int, EvaluationResult],
    tasks: Sequence[TaskConfig],
    *,
    untrained: bool,
) -> tuple[Table, Table] | str:
    """Tables of the seeds both have, or why there are none; a model without training is the same for every seed."""
    if not other:
        return "it was not scored yet"
    failed = next((result.failure for result in other.values() if result.failure), None)
    if failed:
        return f"it failed ({failed.rstrip('.')})"
    seeds = sorted(winner) if untrained else sorted(set(winner) & set(other))
    if not seeds:
        return "they have no training seed in common"
    theirs = [next(iter(other.values())) if untrained else other[seed] for seed in seeds]
    tables = item_table([winner[seed] for seed in seeds], tasks), item_table(theirs, tasks)
    if tables[0] is None or tables[1] is None:
        return "no item scores were kept"
    return tables[0], tables[1]


def _shrinkage(study: Study, results: Mapping[str, Sequence[EvaluationResult]]) -> dict[str, Any] | None:
    """What became of the winner's dev score, and how much of it choosing it was expected to add."""
    plan = study.journal.of("final_plan")[-1]
    # All of them, if it is still the best: then it was chosen among all. If another one is, as when the plan was written.
    leads = (now := study.best()) is not None and now.record["subset_hash"] == plan["entries"][0]["subset_hash"]
    before = math.inf if leads else plan["seq"]
    trials = {trial.id: trial for trial in study.subsets(before) if trial.score is not None}
    best = trials[plan["winner"]]
    name = plan["entries"][0]["name"]
    dev, test = float(best.score or 0.0), mean_score(results[name])
    found: dict[str, Any] = {"dev": dev, "test": test, "trials": len(trials), "leads": {}, "bias": None}
    sentences = [f"{name} scored {dev:.4f} on dev, which chose it, and {test:.4f} on test (two sets of items)."]
    by_hash = {trial.record["subset_hash"]: trial for trial in trials.values()}
    for entry in plan["entries"][1:]:
        known = by_hash.get(entry["subset_hash"])
        scored = results[entry["name"]]
        if known is not None and scored and not any(result.failure for result in scored):
            lead = dev - float(known.score or 0.0), test - mean_score(scored)
            found["leads"][entry["name"]] = {"dev": lead[0], "test": lead[1]}
            sentences.append(f"Its lead over {entry['name']} is {lead[0]:+.4f} on dev and {lead[1]:+.4f} on test.")
    bias = _bias(study, study.contenders(before), results)
    if bias is not None:
        found["bias"] = bias
        doubt = "" if bias["seeds_known"] else ", chance in training not counted: one seed everywhere"
        if bias["seeds_known"] and bias["alike"] is None:
            doubt = ", as if no two trials shared rows: those of a trial cannot be read"
        sentences.append(
            f"Being the best of {bias['candidates']} trials is expected to flatter its dev score by "
            f"{bias['expected']:.4f} (noise of a trial {bias['noise']:.4f}{doubt}; "
            f"{bias['if_equal']:.4f} if all trials were equally good)."
        )
    return {**found, "sentences": sentences}


def _bias(
    study: Study, trials: Sequence[Trial], results: Mapping[str, Sequence[EvaluationResult]]
) -> dict[str, Any] | None:
    known = [table for table in counted_tables(trials, study.config.tasks) if table is not None]
    if len(known) < 2 or len(known) < len(trials):
        return None
    try:
        chance = study_chance(study)
    except StudyError:  # the rows of a trial cannot be read: as if no two shared any
        chance = None
    noise = _noise(study, trials) if chance is None else chance.noise
    if not noise.known:  # the final table's seeds stand in for those that dev did not have
        scored = [found for found in results.values() if not any(result.failure for result in found)]
        noise = pooled_noise([{seed: result.score for seed, result in enumerate(found)} for found in scored])
    alike: float | None = 0.0
    if noise.known:
        alike = None if chance is None else _alike(chance, trials)
    spread = math.sqrt(noise.variance) if noise.known else None
    among = trial_noise(known, spread, alike=alike or 0.0)
    bias = selection_bias([float(trial.score or 0.0) for trial in trials], among)
    return {**vars(bias), "seeds_known": noise.known, "alike": alike}


def _noise(study: Study, trials: Sequence[Trial]) -> SeedNoise:
    """Chance in training where overlaps are not known."""
    found = [dev_results(study, trial.record["subset_hash"]) for trial in trials]
    return pooled_noise([{seed: one.score for seed, one in own.items() if not one.failure} for own in found])


def _alike(chance: Chance, trials: Sequence[Trial]) -> float:
    """Mean correlation of chance in training between two trials."""
    seeds = [list(trial.results) for trial in trials]
    correlation = chance_correlation(
        seeds, chance.among([trial.record["subset_hash"] for trial in trials]), chance.shared
    )
    count = len(trials)
    return float((correlation.sum() - np.trace(correlation)) / (count * (count - 1)))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
