"""Run a study from wherever its journal stands to its end: search on dev, one pass over test, exports."""

from __future__ import annotations

import math
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from autoselection.activity import FILE as ACTIVITY
from autoselection.activity import activity, tell_stage
from autoselection.config import StudyConfig, load_config
from autoselection.errors import ConfigError, StudyError
from autoselection.evaluation.job import mean_score
from autoselection.evaluation.memory import held_memory
from autoselection.executors import Executor, make_executor
from autoselection.executors.local import check_guarded
from autoselection.ledger import Journal, Wanted
from autoselection.llm import check_settings
from autoselection.progress import console, progress
from autoselection.recipes import shortfalls
from autoselection.study.accounts import final_account, verdict_account
from autoselection.study.beginning import begin
from autoselection.study.dev_results import dev_label
from autoselection.study.evidence import asks_for_another_winner, final_evidence, other_winner, unscored_best
from autoselection.study.final import changed_request, final_entries, final_request, rows_of_entry
from autoselection.study.incumbent import (
    Incumbent,
    current_verdict,
    is_planned,
    verdict,
    verdict_plan,
    verdict_trainings,
    went_on,
)
from autoselection.study.kind import JOURNAL
from autoselection.study.levels import told_by_levels
from autoselection.study.outputs import write_outputs
from autoselection.study.phase import study_phase
from autoselection.study.prepare import Contamination, Prepared
from autoselection.study.references import watched_tasks
from autoselection.study.rounds import open_search, study_ledger, trial_ledger
from autoselection.study.settings import SPEED
from autoselection.study.study import Study, check_folder
from autoselection.study.tracked import Tracking, check_installed, tracking
from autoselection.study.trials import Trial
from autoselection.system import MACHINE_ERRNOS, told, unmasked

#: A search of which so many evaluations fail at its beginning, and all, is not gone on with.
_FIRST = 2


def run_study(config: StudyConfig | Path | str, out: Path | str) -> Study:
    """Run, or go on with, the study of ``config`` (or of a configuration file) in the folder ``out``.

    Everything finished stays finished: evaluations in the journal are not repeated, signals come from the cache,
    and finished rounds stand as they were decided.

    Raises:
        ConfigError: the configuration file cannot be used, or a script runs the study and has no ``__main__`` guard.
        MissingExtraError: what it tracks the study by is not installed.
        StudyError: the folder belongs to another study or is in use, or the infrastructure failed for good.
    """
    out = Path(out)
    if isinstance(config, (str, Path)):
        config = load_config(Path(config))
    if not isinstance(config, StudyConfig):
        raise ConfigError(
            f"run_study takes a configuration file or a StudyConfig, not {type(config).__name__}: StudyConfig(**settings) makes one."
        )
    check_guarded()  # before a worker process begins a study of its own
    check_settings(config.search.llm)  # not after hours of signals
    if config.tracking.to is not None:
        check_installed(config.tracking.to)
    try:
        return _run_study(config, out.resolve())
    except (OSError, RuntimeError, ImportError) as error:
        system = error if isinstance(error, OSError) else unmasked(error)
        if system is None or system.errno not in MACHINE_ERRNOS:
            raise
        what, help_ = told(system, str(out))
        raise StudyError(f"{what}. {help_}; finished evaluations are kept, and the same command goes on.") from error


def _run_study(config: StudyConfig, out: Path) -> Study:
    check_folder(out, "study")
    with (
        Journal(out / JOURNAL) as journal,
        closing(make_executor(config.executor)) as executor,
        activity(out / ACTIVITY, held_memory),
    ):
        started = time.monotonic()
        study, prepared, incumbent = begin(config, out, journal, executor)
        with tracking(study) as tracker:
            tell_stage("searching")
            _search(study, prepared, executor, tracker)
            if incumbent is not None:
                tell_stage("comparing with today's data")
                _judge(study, prepared, executor, incumbent)
            if study.best() is None:
                write_outputs(study, prepared)
            if config.final.enabled:
                tell_stage("scoring on test")
                _score_test(study, prepared, executor)
            tell_stage("writing exports")
            write_outputs(study, prepared)
            if not study.finished:
                best = study.best()
                journal.append("finished", best=best.id if best else None, seconds=round(time.monotonic() - started, 1))
    return study


def _search(study: Study, prepared: Prepared, executor: Executor, tracker: Tracking) -> None:
    settings = study.config.search
    search = open_search(study, prepared.table)
    ledger = trial_ledger(study, prepared.pool, executor)
    controller = search.controller
    with progress("Search", settings.evaluations) as advance:
        paid = 0
        while True:
            search.spend_as_given()
            candidates = controller.ask(settings.batch)
            if candidates:
                evaluated = search.evaluate(ledger, candidates)
                _stop_if_none_trains(study)
                tracker.look()
                advance(int(controller.spent) - paid, found=not evaluated)
                paid = int(controller.spent)
            elif controller.replaying:
                continue  # a recorded round without candidates: rounds that somebody brought may follow it
            elif not search.spend_more():
                break
    search.journal_rounds()  # one without candidates says why the search ended early


def _stop_if_none_trains(study: Study) -> None:
    """Stop a study of which not one of two evaluations and more could be trained and scored.

    A study whose settings of time and memory changed since then goes on, until two more have failed with these.

    Raises:
        StudyError: that is so; their results are kept.
    """
    tried = _tried(study)
    changes = study.journal.of(SPEED)
    since = len(tried) - (len(_tried(study, changes[-1]["seq"])) if changes else 0)
    if since >= _FIRST and all(trial.failure for trial in tried):
        why = "; ".join(f"{trial.id}: {trial.failure}" for trial in tried[-since:][:_FIRST])
        raise StudyError(
            f"{study.path}: none of the first {len(tried)} evaluations could be trained and scored ({why}) Fix that "
            "(autoselection doctor CONFIG checks it) and start a new study in another folder, as other settings make another "
            "study; with other settings of time and memory (evaluation.sft.micro_batch_tokens, gradient_checkpointing) the same "
            "command goes on, and these evaluations stay counted."
        )


def _tried(study: Study, before: float = math.inf) -> list[Trial]:
    """The trials that have results, by the journal or by its events before this number."""
    return [trial for trial in study.all_trials(before) if trial.results]


def _judge(study: Study, prepared: Prepared, executor: Executor, incumbent: Incumbent) -> None:
    """Train what the comparison of winner and incumbent lacks, and journal the verdict."""
    journal = study.journal
    plan = verdict_plan(study, incumbent)
    if not is_planned(study, plan):
        journal.append("incumbent_plan", **plan)
    if current_verdict(study) is not None and not went_on(study):
        return
    rows = {plan["incumbent_hash"]: incumbent.selected.rows}
    if plan["winner"] is not None:
        rows[plan["winner_hash"]] = study.rows(plan["winner"])
    wanted = [
        Wanted(rows[subset], seed, "dev", name=dev_label(study, subset)) for subset, seed in verdict_trainings(study)
    ]
    study_ledger(study, prepared.pool, executor, verdict_account(study)).evaluate(wanted, title="Incumbent")
    found = journal.append("verdict", **verdict(study, incumbent.selected.rows))
    console.say(found["sentences"][0])


def _score_test(study: Study, prepared: Prepared, executor: Executor) -> None:
    """Score the winner and the baselines on test: the plan is journalled before the first test item is read."""
    journal, config = study.journal, study.config
    best = study.best()
    if best is None:
        raise StudyError(f"{study.path}: every evaluation of the search failed; see the reasons in the journal.")
    plans = journal.of("final_plan")
    changed = changed_request(plans[-1], config) if plans else []
    if changed and config.final.rescore is None:
        raise StudyError(
            f"{study.path}: test was scored by a plan that was fixed before it was touched, and the configuration now "
            f"asks for another one ({', '.join(changed)}): restore it, or say why test is "
            "scored again with final.rescore or --rescore-test REASON, which is recorded and reported."
        )
    newer = unscored_best(study) is not None
    if not plans or changed or (newer and asks_for_another_winner(study, config)):
        entries = final_entries(study, prepared, best)
        floors = " of those that meet the floors" if study.floors else ""
        journal.append(
            "final_plan",
            rule=f"the trial with the best mean dev score{floors} is the winner; baselines are those of the configuration",
            winner=best.id,
            seeds=list(config.final.seeds),
            entries=[entry.to_dict() for entry in entries],
            request=final_request(config),
            **({"reason": config.final.rescore} if plans else {}),
        )
    elif newer:
        console.say(other_winner(study))
    plan = journal.of("final_plan")[-1]
    done = study.final_results()
    wanted = []
    for entry in plan["entries"]:
        name, rows = entry["name"], rows_of_entry(entry, study, prepared)
        # Without training there is nothing for a seed to change.
        seeds = plan["seeds"] if rows is not None else [*done[name], *plan["seeds"]][:1]
        wanted += [Wanted(rows, seed, "test", name=name) for seed in seeds]
    study_ledger(study, prepared.pool, executor, final_account(study)).evaluate(wanted, title="Final table")


def summary(study: Study) -> dict[str, Any]:
    """What a study found, as plain data: the document ``autoselection search --json`` prints."""
    best = study.best()
    final = {
        name: {
            "score": mean_score(results.values()),
            "seeds": sorted(results),
            "metrics": {str(seed): result.metrics for seed, result in sorted(results.items())},
        }
        for name, results in study.final_results().items()
        if results and not any(result.failure for result in results.values())
    }
    trials = study.all_trials()
    guard = study.journal.of("contamination")
    return {
        "study": str(study.path),
        "evaluations": sum(1 for trial in trials if trial.results and trial.fidelity == 1.0),
        "short_evaluations": sum(1 for trial in trials if trial.results and trial.fidelity < 1.0),
        "levels": [found.to_dict() for found in told_by_levels(study)],
        "failed": sum(1 for trial in trials if trial.failure),
        "best": None
        if best is None
        else {
            "trial": best.id,
            "score": best.score,
            "tasks": best.tasks,
            "rows": best.record["rows"],
            "subset_hash": best.record["subset_hash"],
            "recipe": best.record["recipe"],
        },
        "incumbent": current_verdict(study),
        "watched": [found.to_dict() for found in watched_tasks(study)],
        "test": final,
        "statistics": final_evidence(study),
        "contamination": Contamination.of(guard[0]).to_dict() if guard else None,
        "benchmarks": [found["sentence"] for event in study.journal.of("benchmarks") for found in event["findings"]],
        "missing_scores": {
            trial.id: [found.sentence() for found in shortfalls(trial.record["lineage"])]
            for trial in trials
            if shortfalls(trial.record["lineage"])
        },
        "outputs": str(study.path / "best"),
        "finished": study.finished,
        "phase": None if (phase := study_phase(study)) is None else phase.to_dict(),
    }
