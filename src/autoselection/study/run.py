"""Run a study from wherever its journal stands to its end: search on dev, one pass over test, exports."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from autoselection.activity import FILE as ACTIVITY
from autoselection.activity import activity, tell_stage
from autoselection.config import StudyConfig, load_config
from autoselection.errors import StudyError
from autoselection.evaluation import EvaluationConfig
from autoselection.evaluation.memory import held_memory
from autoselection.evaluation.runtime import MACHINE_ERRNOS
from autoselection.executors import Executor, make_executor
from autoselection.ledger import Account, Journal, Ledger, Wanted
from autoselection.llm import build_roles, check_settings
from autoselection.llm.exchanges import FILE as EXCHANGES
from autoselection.progress import console, progress
from autoselection.recipes import lineage_remarks, shortfalls
from autoselection.search import Candidate, Observation, SearchController
from autoselection.search.surrogate import GaussianProcess
from autoselection.study.accounts import final_account, reference_account, trial_account, verdict_account
from autoselection.study.budget import budgets, change_budget
from autoselection.study.checkpoints import prune_checkpoints
from autoselection.study.earlier_scores import warm_effects, warm_scores, warm_start_scores
from autoselection.study.evidence import final_evidence, other_winner
from autoselection.study.final import changed_request, final_entries, final_request, rows_of_entry
from autoselection.study.identity import study_identity
from autoselection.study.incumbent import (
    Incumbent,
    current_verdict,
    dev_label,
    is_planned,
    open_incumbent,
    verdict,
    verdict_plan,
    verdict_trainings,
    went_on,
)
from autoselection.study.opening import check_kind, prepare_journalled
from autoselection.study.outputs import write_outputs
from autoselection.study.phase import study_phase
from autoselection.study.prepare import Contamination, Prepared
from autoselection.study.recorded import recorded_rounds
from autoselection.study.references import measured_floors, reference_trainings, watched_tasks
from autoselection.study.reuse import NOTHING, warm_recipes, warm_start
from autoselection.study.study import FLOORS, JOURNAL, Study, check_folder
from autoselection.study.trials import Trial
from autoselection.system import told
from autoselection.terminal import Text, styled

#: A search of which so many evaluations fail at its beginning, and all, is not gone on with.
_FIRST = 2


def run_study(config: StudyConfig | Path | str, out: Path | str) -> Study:
    """Run, or go on with, the study of ``config`` (or of a configuration file) in the folder ``out``.

    Everything finished stays finished: evaluations in the journal are not repeated, signals come from the cache,
    and finished rounds stand as they were decided.

    Raises:
        ConfigError: the configuration file cannot be used.
        StudyError: the folder belongs to another study or is in use, or the infrastructure failed for good.
    """
    out = Path(out)
    if isinstance(config, (str, Path)):
        config = load_config(Path(config))
    check_settings(config.search.llm)  # not after hours of signals
    try:
        return _run_study(config, out.resolve())
    except OSError as error:
        if error.errno not in MACHINE_ERRNOS:
            raise
        what, help_ = told(error, str(out))
        raise StudyError(f"{what}. {help_}; finished evaluations are kept, and the same command goes on.") from error


def _run_study(config: StudyConfig, out: Path) -> Study:
    check_folder(out, "study")
    with (
        Journal(out / JOURNAL) as journal,
        closing(make_executor(config.executor)) as executor,
        activity(out / ACTIVITY, held_memory),
    ):
        check_kind(journal, "study")
        if journal.events and journal.undecided:
            journal.start_again()  # settings, pool and files may have been mended since
        identity = study_identity(config)
        study = Study.create_or_open(config, out, journal, identity)
        started = time.monotonic()
        if journal.cut_bytes:
            console.say(f"The journal's torn last line ({journal.cut_bytes} bytes) was cut off.", style="yellow")
        tell_stage("preparing pool and signals")
        change_budget(study)
        prune_checkpoints(study)  # what an interrupted run left
        prepared = prepare_journalled(config, study.path, journal, "study", identity)
        if prepared.benchmarks and not journal.of("benchmarks"):
            journal.append("benchmarks", findings=[finding.to_dict() for finding in prepared.benchmarks])
        incumbent = open_incumbent(config, prepared)  # a recipe that cannot be run here stops before the search
        if incumbent is not None:
            for said in lineage_remarks(incumbent.selected.lineage):
                console.say(styled(f"Incumbent, {incumbent.name}", "yellow"), f": {said}")
        _measure_floors(study, prepared, executor, incumbent)
        tell_stage("searching")
        _search(study, prepared, executor)
        if incumbent is not None:
            tell_stage("comparing with today's data")
            _judge(study, prepared, executor, incumbent)
        if study.best() is None:
            write_outputs(study, prepared)
        if config.final.enabled:
            tell_stage("scoring on test")
            _score_test(study, prepared, executor)
        tell_stage("writing exports")
        if not study.finished:
            best = study.best()
            journal.append("finished", best=best.id if best else None, seconds=round(time.monotonic() - started, 1))
        write_outputs(study, prepared)
    return study


def _ledger(study: Study, prepared: Prepared, executor: Executor, account: Account) -> Ledger:
    pool = prepared.pool.path
    return Ledger(study.config, pool, study.journal, executor, account, lambda: prune_checkpoints(study))


def _measure_floors(study: Study, prepared: Prepared, executor: Executor, incumbent: Incumbent | None) -> None:
    """Score what floors and guards are measured from, and journal what the floors come to."""
    selected = None if incumbent is None else incumbent.selected
    wanted = reference_trainings(study, selected)
    if not wanted or study.journal.of(FLOORS):
        return
    tell_stage("scoring what guards and floors are measured from")
    _ledger(study, prepared, executor, reference_account(study)).evaluate(wanted, title="References", quiet=True)
    found = study.journal.append(FLOORS, **measured_floors(study, selected))
    if found["values"]:
        told_floors = ", ".join(f"{task} {value:.4f}" for task, value in found["values"].items())
        console.say(f"Floors of this search, on dev: {told_floors}.")


def _search(study: Study, prepared: Prepared, executor: Executor) -> None:
    settings = study.config.search
    if settings.warm_start and not study.journal.of("warm_start"):
        learnt = warm_start_scores(prepared.table, settings, prepared.pool.fingerprint)
        study.journal.append("warm_start", **warm_start(prepared.table, settings), **learnt)
    begun = (study.journal.of("warm_start") or [NOTHING])[0]
    roles = build_roles(settings.llm, prepared.table, study.path / EXCHANGES)
    ledger = _ledger(study, prepared, executor, trial_account(study))
    first, *later = budgets(study)
    controller = SearchController(
        prepared.table,
        settings.model_copy(update={"evaluations": first.evaluations}),
        initial=warm_recipes(begun),
        earlier=warm_scores(begun, prepared.table),
        recorded=recorded_rounds(study, prepared.table),
        roles=roles,
        ranker=GaussianProcess(settings, warm_effects(begun)),
        floors=study.floors,
    )
    if not study.journal.of("round"):
        for study_path, why in begun.get("unused", {}).items():
            console.say(styled("Warm start", "yellow"), f": no score was learnt from {study_path}: {why}")
        for said in controller.predictions.inputs.unseen:
            console.say(styled("Surrogate", "yellow"), f": {said}")
    with progress("Search", settings.evaluations) as advance:
        paid = 0
        while True:
            while later and later[0].reached_by(controller):
                controller.set_budget(later.pop(0).evaluations)
            candidates = controller.ask(settings.batch)
            if candidates:
                evaluated = _evaluate_round(study, ledger, controller, candidates)
                _stop_if_none_trains(study)
                advance(int(controller.spent) - paid, found=not evaluated)
                paid = int(controller.spent)
            elif later:
                controller.set_budget(later.pop(0).evaluations)
            else:
                break
    _journal_rounds(controller, study.journal)  # one without candidates says why the search ended early


def _evaluate_round(study: Study, ledger: Ledger, controller: SearchController, candidates: Sequence[Candidate]) -> int:
    """Evaluate what the journal lacks of a round, tell the controller, and return how many trainings that took."""
    known = {trial.id: trial for trial in study.all_trials()}
    _tell_of_missing(candidates, known)
    for candidate in candidates:
        _record(study, candidate, known)
    _journal_rounds(controller, study.journal)
    made = ledger.made
    wanted = [
        Wanted(candidate.rows, seed, "dev", candidate.fidelity, name=candidate.id)
        for candidate in candidates
        for seed in training_seeds(study.config.evaluation, candidate.replicate)
    ]
    ledger.evaluate(wanted, quiet=True)
    made = ledger.made - made
    known = {trial.id: trial for trial in study.all_trials()}
    for candidate in candidates:
        trial = known[candidate.id]
        controller.tell(Observation(trial.id, trial.score, trial.tasks, trial.failure))
        if made:
            _announce(trial, study, controller)
    return made


def _tell_of_missing(candidates: Sequence[Candidate], known: Mapping[str, Trial]) -> None:
    """Say once an operator that it was given many rows without the score it cuts by; the report has all of them."""
    told = {found.operator for trial in known.values() for found in shortfalls(trial.record["lineage"])}
    for candidate in candidates:
        for found in shortfalls(candidate.lineage):
            if candidate.id not in known and found.operator not in told:
                told.add(found.operator)
                console.say(styled(candidate.id, "yellow"), f"  {found.sentence()}")


def _stop_if_none_trains(study: Study) -> None:
    """Stop a study of which not one of two evaluations and more could be trained and scored.

    Raises:
        StudyError: that is so; their results are kept.
    """
    tried = [trial for trial in study.all_trials() if trial.results]
    if len(tried) >= _FIRST and all(trial.failure for trial in tried):
        why = "; ".join(f"{trial.id}: {trial.failure}" for trial in tried[:_FIRST])
        raise StudyError(
            f"{study.path}: none of the first {len(tried)} evaluations could be trained and scored ({why}) Fix that "
            "(autoselection doctor CONFIG checks it) and start a new study in another folder: other settings make another "
            "study."
        )


def training_seeds(evaluation: EvaluationConfig, replicate: int) -> tuple[int, ...]:
    """Seeds of the ``replicate``-th repeat of a subset: none is used twice."""
    return tuple(seed + replicate * (max(evaluation.seeds) + 1) for seed in evaluation.seeds)


def _journal_rounds(controller: SearchController, journal: Journal) -> None:
    for record in controller.rounds[len(journal.of("round")) - controller.recorded_rounds :]:
        journal.append("round", round=record.to_dict())


def _record(study: Study, candidate: Candidate, known: dict[str, Trial]) -> None:
    """Journal a new trial; a known one must be the one the journal holds."""
    stored = known.get(candidate.id)
    if stored is None:
        study.save_rows(candidate.id, candidate.rows)
        study.journal.append("trial", trial=candidate.to_dict())
        known[candidate.id] = Trial(candidate.id, candidate.to_dict())
        return
    if stored.record["ordered_hash"] != candidate.ordered_hash:
        raise StudyError(
            f"{study.path}: replaying the journal gives another subset for {candidate.id} than the one evaluated; "
            "the study was run by another version of the package: go on with that version, or start a new study."
        )
    try:
        study.rows(candidate.id)
    except StudyError as error:
        console.say(f"{str(error).partition(': ')[0]}: it is written again.", style="yellow")
        study.save_rows(candidate.id, candidate.rows)


def _announce(trial: Trial, study: Study, controller: SearchController) -> None:
    best = study.best()
    if trial.failure:
        console.say(f"{trial.id}  ", styled("failed", "red"), f": {trial.failure}")
        return
    mark: str | Text = f"best {best.score:.4f}" if best else ""
    if best and best.id == trial.id:
        mark = styled("best", "green")
    if trial.fidelity < 1.0:
        mark = f"{trial.fidelity:.0%} of a training"
    budget = study.config.search.evaluations
    of = f" of {budget}"
    if study.config.search.fidelity.level is not None:
        of = f" ({controller.spent:.1f} of {budget} paid)"
    console.say(
        f"{trial.id}{of}  score {trial.score:.4f}  (",
        mark,
        f")  {trial.record['rows']:,} rows  {trial.record['origin']}: {trial.record['edit']}  {trial.seconds:.1f} s",
    )


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
    _ledger(study, prepared, executor, verdict_account(study)).evaluate(wanted, title="Incumbent")
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
    newer = bool(plans) and plans[-1]["entries"][0]["subset_hash"] != best.record["subset_hash"]
    # A reason that was given for an earlier plan does not speak for another winner.
    again = newer and config.final.rescore not in (None, *(plan.get("reason") for plan in plans))
    if not plans or changed or again:
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
    _ledger(study, prepared, executor, final_account(study)).evaluate(wanted, title="Final table")


def summary(study: Study) -> dict[str, Any]:
    """What a study found, as plain data: the document ``autoselection search --json`` prints."""
    best = study.best()
    final = {
        name: {
            "score": float(np.mean([result.score for result in results.values()])),
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
