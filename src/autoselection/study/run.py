"""Run a study from wherever its journal stands to its end: search on dev, one pass over test, exports."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autoselection.config import StudyConfig
from autoselection.errors import StudyError
from autoselection.evaluation import EvaluationConfig, EvaluationJob, EvaluationResult
from autoselection.evaluation.runtime import MACHINE_ERRNOS
from autoselection.executors import Executor, make_executor
from autoselection.llm import build_roles, check_settings
from autoselection.llm.exchanges import FILE as EXCHANGES
from autoselection.progress import Advance, console, progress
from autoselection.recipes import lineage_remarks, shortfalls
from autoselection.search import Candidate, Observation, SearchController
from autoselection.study.budget import budgets, change_budget
from autoselection.study.checkpoints import prune_checkpoints, work_folder
from autoselection.study.evidence import final_evidence, other_winner
from autoselection.study.final import changed_request, final_entries, final_request, rows_of_entry
from autoselection.study.identity import study_identity
from autoselection.study.incumbent import (
    Incumbent,
    current_verdict,
    dev_label,
    is_planned,
    missing,
    open_incumbent,
    verdict,
    verdict_plan,
    went_on,
)
from autoselection.study.journal import Journal
from autoselection.study.outputs import write_outputs
from autoselection.study.phase import study_phase
from autoselection.study.prepare import Contamination, Prepared, prepare
from autoselection.study.reuse import warm_recipes, warm_start
from autoselection.study.study import JOURNAL, Study, Trial, check_folder
from autoselection.system import told
from autoselection.terminal import Text, styled

#: A search of which so many evaluations fail at its beginning, and all, is not gone on with.
_FIRST = 2


@dataclass(frozen=True)
class Work:
    """One training and scoring the study still needs: whose, with which seed, and the job itself."""

    name: str
    seed: int
    job: EvaluationJob


def run_study(config: StudyConfig, out: Path) -> Study:
    """Run, or go on with, the study of ``config`` in the folder ``out``.

    Everything finished stays finished: evaluations in the journal are not repeated, signals come from the cache,
    and the controller repeats its decisions from what it is told.

    Raises:
        StudyError: the folder belongs to another study or is in use, or the infrastructure failed for good.
    """
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
    with Journal(out / JOURNAL) as journal, closing(make_executor(config.executor)) as executor:
        check_kind(journal, "study")
        if journal.events and journal.undecided:
            journal.start_again()  # settings, pool and files may have been mended since
        identity = study_identity(config)
        study = Study.create_or_open(config, out, journal, identity)
        started = time.monotonic()
        if journal.cut_bytes:
            console.say(f"The journal's torn last line ({journal.cut_bytes} bytes) was cut off.", style="yellow")
        change_budget(study)
        prune_checkpoints(study)  # what an interrupted run left
        prepared = prepare_journalled(config, study.path, journal, "study", identity)
        if prepared.benchmarks and not journal.of("benchmarks"):
            journal.append("benchmarks", findings=[finding.to_dict() for finding in prepared.benchmarks])
        incumbent = open_incumbent(config, prepared)  # a recipe that cannot be run here stops before the search
        if incumbent is not None:
            for said in lineage_remarks(incumbent.selected.lineage):
                console.say(styled(f"Incumbent, {incumbent.name}", "yellow"), f": {said}")
        _search(study, prepared, executor)
        if incumbent is not None:
            _judge(study, prepared, executor, incumbent)
        if study.best() is None:
            write_outputs(study, prepared)
        if config.final.enabled:
            _score_test(study, prepared, executor)
        if not study.finished:
            best = study.best()
            journal.append("finished", best=best.id if best else None, seconds=round(time.monotonic() - started, 1))
        write_outputs(study, prepared)
    return study


def prepare_journalled(
    config: StudyConfig, folder: Path, journal: Journal, kind: str, identity: Mapping[str, str] | None = None
) -> Prepared:
    """Pool and signals in ``folder``, as the journal opened with them, or newly opened; contamination told once.

    Args:
        kind: what the journal is of, see :func:`check_kind`.
        identity: what the opening event notes of model and tasks, see :mod:`autoselection.study.identity`.

    Raises:
        StudyError: the pool or its signals are not those that the journal opened with.
    """
    opening = journal.of("study")
    prepared = prepare(config, folder, opening[0] if opening else None)
    _open_journal(journal, prepared, config.search.evaluations, kind, identity)
    if not journal.of("contamination"):
        journal.append("contamination", **prepared.contamination.to_dict())
    return prepared


def check_kind(journal: Journal, kind: str) -> None:
    """Refuse the journal of something else, whose events would be taken for one's own.

    Args:
        kind: study, comparison or reproduction.

    Raises:
        StudyError: it is of another kind.
    """
    if not journal.events:
        return
    found = (journal.of("study") or [{}])[0].get("kind")
    if found is None:  # of an older version: a study has trials, the others note settings
        found = (
            kind if (kind == "study") == (not journal.of("settings")) else "comparison" if kind == "study" else "study"
        )
    if found != kind:
        raise StudyError(f"{journal.path.parent} holds a {found}, no {kind}: choose another --out.")


def _open_journal(
    journal: Journal, prepared: Prepared, evaluations: int, kind: str, about: Mapping[str, str] | None
) -> None:
    """Write the opening event, or check that the pool and its signals are still those of the study."""
    identity = {"pool": prepared.pool.fingerprint, "signals": prepared.table.fingerprint}
    opening = journal.of("study")
    if not opening:
        journal.append(
            "study",
            kind=kind,
            **identity,
            **({} if about is None else {"identity": dict(about)}),
            rows=len(prepared.pool),
            evaluations=evaluations,
            ingest_report=prepared.ingest.to_dict() if prepared.ingest else None,
            signal_report=prepared.score.to_dict(),
        )
        return
    for key, value in identity.items():
        if opening[0][key] != value:
            raise StudyError(
                f"The {key} of the study changed since it was started (was {opening[0][key][:12]}, is {value[:12]}): "
                "restore it, or start a new study in another folder."
            )


def _search(study: Study, prepared: Prepared, executor: Executor) -> None:
    settings = study.config.search
    if settings.warm_start and not study.journal.of("warm_start"):
        study.journal.append("warm_start", **warm_start(prepared.table, settings))
    chosen = study.journal.of("warm_start")
    roles = build_roles(settings.llm, prepared.table, study.path / EXCHANGES)
    first, *later = budgets(study)
    controller = SearchController(
        prepared.table,
        settings.model_copy(update={"evaluations": first.evaluations}),
        initial=warm_recipes(chosen[0]) if chosen else (),
        roles=roles,
    )
    with progress("Search", settings.evaluations) as advance:
        paid = 0
        while True:
            while later and later[0].reached_by(controller):
                controller.set_budget(later.pop(0).evaluations)
            candidates = controller.ask(settings.batch)
            if candidates:
                evaluated = _evaluate_round(study, prepared, executor, controller, candidates)
                _stop_if_none_trains(study)
                advance(int(controller.spent) - paid, found=not evaluated)
                paid = int(controller.spent)
            elif later:
                controller.set_budget(later.pop(0).evaluations)
            else:
                break
    _journal_rounds(controller, study.journal)  # one without candidates says why the search ended early


def _evaluate_round(
    study: Study,
    prepared: Prepared,
    executor: Executor,
    controller: SearchController,
    candidates: Sequence[Candidate],
) -> int:
    """Evaluate what the journal lacks of a round, tell the controller, and return how many trainings that took."""
    config, journal = study.config, study.journal
    known = {trial.id: trial for trial in study.all_trials()}
    _tell_of_missing(candidates, known)
    for candidate in candidates:
        _record(study, candidate, known)
    _journal_rounds(controller, journal)
    work = [
        Work(candidate.id, seed, _trial_job(study, prepared, candidate, seed))
        for candidate in candidates
        for seed in training_seeds(config.evaluation, candidate.replicate)
        if seed not in known[candidate.id].results
    ]
    for item, result in run_work(work, executor, journal):
        fidelity = known[item.name].fidelity
        journal.append("evaluation", trial=item.name, seed=item.seed, fidelity=fidelity, result=result.to_dict())
        prune_checkpoints(study)
    known = {trial.id: trial for trial in study.all_trials()}
    for candidate in candidates:
        trial = known[candidate.id]
        controller.tell(Observation(trial.id, trial.score, trial.tasks, trial.failure))
        if work:
            _announce(trial, study, controller)
    return len(work)


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
            f"{study.path}: none of the first {len(tried)} evaluations could be trained and scored ({why}) Mend that "
            "(autoselection doctor CONFIG looks at it) and start a new study in another folder: other settings make another "
            "study."
        )


def training_seeds(evaluation: EvaluationConfig, replicate: int) -> tuple[int, ...]:
    """Seeds of the ``replicate``-th repeat of a subset: none is used twice."""
    return tuple(seed + replicate * (max(evaluation.seeds) + 1) for seed in evaluation.seeds)


def _trial_job(study: Study, prepared: Prepared, candidate: Candidate, seed: int) -> EvaluationJob:
    settings = study.config.evaluation
    if candidate.fidelity < 1.0:
        # A short training's model is of no use later: promotion trains anew.
        short = {"sft": settings.sft.shortened(candidate.fidelity), "keep_model": False}
        settings = settings.model_copy(update=short)
    return evaluation_job(study, prepared, candidate.rows, "dev", seed, candidate.id, settings)


def _journal_rounds(controller: SearchController, journal: Journal) -> None:
    for record in controller.rounds[len(journal.of("round")) :]:
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
        console.say(f"{str(error).partition(': ')[0]}: it is written anew.", style="yellow")
        study.save_rows(candidate.id, candidate.rows)


def evaluation_job(
    study: Study,
    prepared: Prepared,
    rows: NDArray[np.int64] | None,
    split: Literal["dev", "test"],
    seed: int,
    label: str,
    evaluation: EvaluationConfig | None = None,
) -> EvaluationJob:
    """The job that trains on ``rows`` as the study does, or as ``evaluation`` says."""
    model = study.config.model
    return EvaluationJob(
        model=model.path,
        chat_template=model.chat_options(),
        trust_remote_code=model.trust_remote_code,
        pool_dir=prepared.pool.path,
        rows=rows,
        tasks=study.config.tasks,
        split=split,
        seed=seed,
        config=evaluation or study.config.evaluation,
        work_dir=work_folder(study.path, label, seed),
        full_metrics=split == "test",
    )


def run_work(work: Sequence[Work], executor: Executor, journal: Journal) -> Iterator[tuple[Work, EvaluationResult]]:
    """Yield results as they come; an evaluation lost for good stops the study, with everything else kept."""
    lost: list[str] = []
    for index, result in executor.run([item.job for item in work]):
        if result.failure_kind == "infrastructure":
            lost.append(f"{work[index].name} (seed {work[index].seed}): {result.failure}")
            journal.append("interruption", name=work[index].name, seed=work[index].seed, reason=result.failure)
        else:
            for remark in result.remarks:
                console.say(styled(work[index].name, "yellow"), f": {remark}")
            yield work[index], result
    if lost:
        raise StudyError(
            f"{len(lost)} evaluation(s) were lost to the machine, not to the recipe: {'; '.join(lost)}. "
            "Mend that and run the same command again; finished evaluations are kept."
        )


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
    labels = {dev_label(study, subset): subset for subset in rows}
    hashes = {subset: label for label, subset in labels.items()}
    # Models of these trainings are of no use later: the policy keeps those of trials and of the final winner.
    settings = study.config.evaluation.model_copy(update={"keep_model": False})
    work = [
        Work(hashes[subset], seed, evaluation_job(study, prepared, rows[subset], "dev", seed, hashes[subset], settings))
        for subset, seed in missing(study)
    ]
    with progress("Incumbent", len(work)) as advance:
        for item, result in run_work(work, executor, journal):
            advance()
            journal.append(
                "incumbent_evaluation",
                label=item.name,
                subset_hash=labels[item.name],
                seed=item.seed,
                result=result.to_dict(),
            )
            prune_checkpoints(study)
            console.say(f"dev  {item.name}, seed {item.seed}  ", *_shown(result))
    found = journal.append("verdict", **verdict(study))
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
        journal.append(
            "final_plan",
            rule="the trial with the best mean dev score is the winner; baselines are those of the configuration",
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
    work = []
    for number, entry in enumerate(plan["entries"]):
        rows = rows_of_entry(entry, study, prepared)
        # Without training there is nothing for a seed to change.
        seeds = (() if done[entry["name"]] else plan["seeds"][:1]) if rows is None else plan["seeds"]
        for seed in seeds:
            if seed not in done[entry["name"]]:
                work.append(
                    Work(entry["name"], seed, evaluation_job(study, prepared, rows, "test", seed, f"test{number:02d}"))
                )
    with progress("Final table", len(work)) as advance:
        _score_entries(study, work, executor, advance)


def _score_entries(study: Study, work: Sequence[Work], executor: Executor, advance: Advance) -> None:
    journal = study.journal
    for item, result in run_work(work, executor, journal):
        advance()
        number = len(journal.of("final_plan"))
        journal.append("test", name=item.name, seed=item.seed, plan=number, result=result.to_dict())
        prune_checkpoints(study)
        console.say(f"test  {item.name}  ", *_shown(result), f"  {result.seconds['total']:.1f} s")


def _shown(result: EvaluationResult) -> tuple[str | Text, ...]:
    return (
        (f"score {result.score:.4f}",) if result.failure is None else (styled("failed", "red"), f": {result.failure}")
    )


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
