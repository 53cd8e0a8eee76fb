"""A study as plain tables: trials, the final table on test, and everything that was dropped, failed or retried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autoselection.diagnose import HEADINGS, MIN_TRIALS, Agreement, Diagnosis, agreement_warnings, agreements
from autoselection.evaluation import EvaluationResult
from autoselection.evaluation.remarks import remark_notes
from autoselection.llm.exchanges import FILE as EXCHANGES
from autoselection.llm.exchanges import exchanges_note
from autoselection.recipes import Shortfall, shortfalls
from autoselection.recipes.lineage_warnings import why
from autoselection.report.answer import is_corrected, is_shown, right_share
from autoselection.report.sheet import Sheet
from autoselection.search.levels import level_of
from autoselection.search.pareto import ROWS, TOKENS
from autoselection.statistics.compare import p_cell
from autoselection.statistics.family import consistent
from autoselection.study.earlier_scores import warm_sentences
from autoselection.study.evidence import final_evidence, final_progress, touched_sentence, touches_of_test
from autoselection.study.incumbent import current_verdict, went_on
from autoselection.study.levels import level_sentences, settled_search
from autoselection.study.phase import study_phase
from autoselection.study.prepare import Contamination
from autoselection.study.references import reference_results, watched_tasks
from autoselection.study.study import AGENT, Study
from autoselection.study.tracked import tracking_notes
from autoselection.study.trade_offs import trade_offs
from autoselection.study.trials import Trial, journalled_recipe
from autoselection.tasks import labels, missed_by
from autoselection.terminal import Terminal


def study_sheets(study: Study) -> dict[str, Sheet]:
    """The tables of a study, as far as it has come, in their order: ``search``, ``agents``, ``front``, ``watched``, ``surrogate``,
    ``verdict``, ``final``, ``comparison``, ``variance``.
    """
    sheets: dict[str, Sheet] = {}
    if study.journal.of("trial"):
        sheets["search"] = _trial_sheet(study)
    if study.journal.of(AGENT):  # all of it may have been refused
        sheets["agents"] = _agents_sheet(study)
    if study.journal.of("trial"):
        if study.config.search.pareto:
            sheets["front"] = front_sheet(study)
        if watched_tasks(study):
            sheets["watched"] = watched_sheet(study)
    if rounds := _foretold(study):
        sheets["surrogate"] = _surrogate_sheet(rounds)
    judged = current_verdict(study)
    if judged is not None and "comparison" in judged:
        sheets["verdict"] = _incumbent_sheet(judged)
    if study.final_results():
        sheets["final"] = _final_sheet(study)
        evidence = final_evidence(study)
        if evidence is not None and evidence["comparisons"]:
            sheets["comparison"] = _comparison_sheet(evidence)
        if evidence is not None and any(part["seeds"] > 1 for part in evidence["variance"].values()):
            sheets["variance"] = _variance_sheet(evidence)
    return sheets


def _trial_sheet(study: Study) -> Sheet:
    names = [task.name for task in study.config.tasks]
    best, floors, fidelity = study.best(), study.floors, settled_search(study).fidelity
    rows = []
    for trial in study.all_trials():
        record = trial.record
        origin = str(record["origin"])
        if record.get("of"):
            origin += f" of {record['of']}"
        if trial.fidelity < 1.0:
            origin += f", {level_of(fidelity, trial.model, trial.fidelity).describe()}"
        rows.append(
            (
                trial.id + (" *" if best and trial.id == best.id else ""),
                origin,
                str(record["parent"] or ""),
                f"{record['rows']:,}",
                trial.outcome,
                *(_task_cell(trial, name, floors) for name in names),
                _cut(trial),
                f"{trial.seconds:.0f}",
                trial.recipe.describe(),
            )
        )
    shown = labels(study.config.tasks)
    headings = ("trial", "origin", "parent", "rows", "dev score", *shown, "cut", "s", "recipe")
    return Sheet(f"Search (dev; higher is better, * {study.best_rule})", headings, tuple(rows))


def _agents_sheet(study: Study) -> Sheet:
    """What agents asked to be evaluated, in order, taken or refused; looks are counted since the one before."""
    trials = {trial.id: trial for trial in study.all_trials()}
    rows = []
    for event in study.journal.of(AGENT):
        trial = trials.get(event["trial"] or "")
        rows.append(
            (
                event["trial"] or "refused",
                "" if trial is None else trial.outcome,
                str(event["client"]),
                str(sum(event["looked"].values())),
                str(event["reason"]),
                str(event["refused"] or journalled_recipe(event["recipe"], event["trial"]).describe()),
            )
        )
    headings = ("trial", "dev score", "client", "calls before", "its reason", "recipe, or why it was refused")
    return Sheet("What agents asked for", headings, tuple(rows))


def _task_cell(trial: Trial, task: str, floors: Mapping[str, float]) -> str:
    if task not in trial.tasks:
        return ""
    value = trial.tasks[task]
    return f"{value:.4f}" + (" < floor" if missed_by(value, floors.get(task, value)) else "")


def front_sheet(study: Study) -> Sheet:
    """The best trade-offs between the objectives of ``search.pareto``."""
    best = study.best()
    rows = [
        (
            found.trial.id + (" *" if best and found.trial.id == best.id else ""),
            *(f"{value:.4f}" for value in found.values),
            f"{found.trial.size:,}",
            found.trial.recipe.describe(),
        )
        for found in trade_offs(study)
        if found.leads
    ]
    headings = ("trial", *map(objective_label, study.config.search.pareto), "rows", "recipe")
    return Sheet("Trade-offs that no other trial beats (dev; * best score)", headings, tuple(rows))


def objective_label(name: str) -> str:
    """An objective in words."""
    return f"share of {name}" if name in (ROWS, TOKENS) else name


def watched_sheet(study: Study) -> Sheet:
    """Guards and tasks with a floor: before training, with today's data, with the winner's."""
    found, best = watched_tasks(study), study.best()
    today = next((entry.name for entry in found), "")
    rows = [
        (
            entry.task + (" (guard)" if entry.guard else ""),
            *("" if value is None else f"{value:.4f}" for value in (entry.base, entry.incumbent, entry.winner)),
            "" if entry.base is None or entry.winner is None else f"{entry.winner - entry.base:+.4f}",
            entry.floor or "",
            "" if entry.lowest is None else f"{entry.lowest:.4f}",
            "" if entry.kept is None else "met" if entry.kept else "missed",
        )
        for entry in found
    ]
    headings = (
        "task",
        "without training",
        f"{today} (today)" if today else "today",
        "winner" if best is None else best.id,
        "since training began",
        "floor",
        "lowest allowed",
        "the floor is",
    )
    floors = "; floors are measured with the search's seeds alone" if any(entry.floor for entry in found) else ""
    title = f"What is forgotten: guards and floors (dev, means over all trainings; higher is better{floors})"
    return Sheet(title, headings, tuple(rows)).filled()


def _foretold(study: Study) -> list[Mapping[str, Any]]:
    """Rounds that know how well the surrogate predicts; those of older studies do not."""
    rounds = [event["round"] for event in study.journal.of("round")]
    return [entry for entry in rounds if entry.get("calibration")]


def _surrogate_sheet(rounds: Sequence[Mapping[str, Any]]) -> Sheet:
    rows = [
        (
            str(entry["number"]),
            str(found["points"]),
            f"{found['correlation']:+.2f}",
            f"{found['within_80']:.0%}",
            f"{found['rms_error']:.2f}",
        )
        for entry in rounds
        for found in (entry["calibration"],)
    ]
    headings = ("round", "trials", "rank correlation", "in 80% intervals", "standardised error")
    return Sheet(
        "The surrogate: each trial predicted from the others (too certain: below 80%, above 1)", headings, tuple(rows)
    )


def _cut(trial: Trial) -> str:
    """Rows cut to the maximum length and tokens lost with that, for the seed that met most of them."""
    found = [(result.truncated_rows, result.truncated_tokens) for result in trial.results.values()]
    rows, tokens = max(found, default=(0, 0))
    return f"{rows:,} rows, {tokens:,} tokens" if rows else ""


def _final_sheet(study: Study) -> Sheet:
    names = [task.name for task in study.config.tasks]
    plan = {entry["name"]: entry for entry in study.journal.of("final_plan")[-1]["entries"]}
    rows = []
    for name, results in study.final_results().items():
        done = [result for result in results.values() if not result.failure]
        failures = [result.failure for result in results.values() if result.failure]
        cells = [name, f"{plan[name]['rows']:,}", str(len(results))]
        if failures or not done:
            cells += [f"failed: {failures[0]}" if failures else "pending", *[""] * (len(names) * 2)]
        else:
            cells.append(_mean_and_spread([result.score for result in done]))
            cells += [_mean_and_spread([result.scores[task] for result in done]) for task in names]
            cells += [_hit_rate(done, task) for task in names]
        rows.append(tuple(cells))
    shown = labels(study.config.tasks)
    headings = ("subset", "rows", "seeds", "test score", *shown, *(f"{task} right" for task in names))
    touched, progress = len(touches_of_test(study)), final_progress(study)
    how = "scored once" if touched == 1 else f"touched {touched} times, see the notes"
    if progress is not None and not progress.complete:
        how = f"being scored: {progress}"
    return Sheet(f"Final table (test, {how}; higher is better)", headings, tuple(rows))


def _incumbent_sheet(judged: Mapping[str, Any]) -> Sheet:
    """The winner against what is used today, on dev; the sentence is in the notes."""
    found, flattery = judged["comparison"], judged["flattery"]
    interval, wide, estimate = found["difference"], found["interval_seeds"], found["difference"]["estimate"]
    # As the verdict says; beside a wider one, that over items says what its own p-value does.
    shown = is_shown(judged)
    by_items = shown if wide is None else found["p_items"] <= 1 - interval["level"]
    low, high = consistent((interval["low"], interval["high"]), estimate, significant=by_items)
    wide = None if wide is None else consistent((wide[0], wide[1]), estimate, significant=shown)
    row = (
        judged["incumbent"],
        f"{judged['measured']:+.4f}",
        f"{flattery['mean']:.4f}" if is_corrected(judged) else "",
        f"{estimate:+.4f}",
        f"{low:+.4f} to {high:+.4f}",
        "" if wide is None else f"{wide[0]:+.4f} to {wide[1]:+.4f}",
        str(found["seeds"]),
        f"{found['p_items']:.4f}",
        "" if found["p_seeds"] is None else f"{found['p_seeds']:.4f}",
        "" if found.get("detectable") is None else f"{found['detectable']:.4f}",
        "no significant difference" if judged["outcome"] == "no difference" else judged["outcome"],
    )
    level = f"{interval['level']:.0%}"
    headings = (
        "incumbent",
        "measured",
        "flattery",
        "difference",
        f"{level} over items",
        "over seeds and items",
        "seeds",
        "p items",
        "p seeds",
        "found with 80% power",
        f"{judged['winner']} is",
    )
    return Sheet("The winner against what is used today (dev, paired by item and seed)", headings, (row,))


def _comparison_sheet(evidence: Mapping[str, Any]) -> Sheet:
    """The winner against each baseline; the sentences are in the notes."""
    rows = []
    for found in evidence["comparisons"]:
        interval = found["difference"]
        word = "better" if interval["estimate"] > 0 else "worse"
        wide = found["interval_seeds"]
        rows.append(
            (
                found["baseline"],
                f"{interval['estimate']:+.4f}",
                f"{interval['low']:+.4f} to {interval['high']:+.4f}",
                "" if wide is None else f"{wide[0]:+.4f} to {wide[1]:+.4f}",
                str(found["seeds"]),
                found["test"],
                f"{found['p_items']:.4f}",
                "" if found["p_seeds"] is None else f"{found['p_seeds']:.4f}",
                "" if found["interval_all"] is None else "{:+.4f} to {:+.4f}".format(*found["interval_all"]),
                "" if found["p_adjusted"] is None else p_cell(found["p_adjusted"]),
                {True: word, False: "no significant difference", None: "not known yet"}[found["significant"]],
            )
        )
    level = f"{evidence['level']:.0%}"
    headings = (
        "baseline",
        "difference",
        f"{level} over items",
        "over seeds and items",
        "seeds",
        "test",
        "p items",
        "p seeds",
        f"{level} together",
        "p together",
        "winner is",
    )
    state = "" if evidence["complete"] else "; not all is scored yet"
    title = f"{evidence['winner']} against each baseline (test, paired by item and seed{state})"
    return Sheet(title, headings, tuple(rows))


def _variance_sheet(evidence: Mapping[str, Any]) -> Sheet:
    rows = [
        (
            task,
            str(part["seeds"]),
            str(part["items"]),
            *("" if part[key] is None else f"{part[key] ** 0.5:.4f}" for key in ("seed", "item", "rest")),
            *("" if part[key] is None else f"{part[key]:.4f}" for key in ("seed_error", "item_error")),
        )
        for task, part in evidence["variance"].items()
    ]
    headings = ("task", "seeds", "items", "sd seed", "sd item", "sd rest", "one seed's score ±", "items drawn ±")
    return Sheet("What the winner's test scores vary by (standard deviations)", headings, tuple(rows))


def _mean_and_spread(values: Sequence[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{spread}"


def _hit_rate(results: Sequence[EvaluationResult], task: str) -> str:
    share = right_share(results, task)
    return "" if share is None else f"{share:.3f}"


def study_notes(study: Study) -> list[str]:
    """What a reader has to know besides the numbers: drops, truncations, failures, interruptions."""
    judged = current_verdict(study)
    notes: list[str] = list(judged["sentences"]) if judged is not None else []
    notes += agreement_warnings(agreements(study))
    if stale := went_on(study):
        notes.append(stale)
    if (best := study.best()) is not None:
        notes += [found.sentence(best.id) for found in watched_tasks(study) if found.kept is False]
    if (phase := study_phase(study)) is not None:
        notes.append(phase.sentence())
    opening = study.journal.of("study")
    if opening:
        ingest = opening[0].get("ingest_report")
        notes += [f"Reading the pool: {note}" for note in (ingest or {}).get("notes", [])]
        if ingest and ingest["skipped"]:
            notes.append(f"{ingest['skipped']:,} bad rows were skipped while reading the pool (pool/skipped.jsonl).")
        if ingest and ingest.get("special_tokens"):
            total = sum(ingest["special_tokens"].values())
            notes.append(f"{total:,} control words of models stood inside row text and were treated as configured.")
        notes += [f"Signals: {note}" for note in opening[0]["signal_report"].get("notes", [])]
    for event in study.journal.of("contamination"):
        if shared := Contamination.of(event).sentence(opening[0]["rows"]):
            notes.append(shared)
    notes += [
        f"Benchmarks: {found['sentence']}" for event in study.journal.of("benchmarks") for found in event["findings"]
    ]
    for event in study.journal.of("warm_start"):
        notes += warm_sentences(event)
    notes += level_sentences(study)
    stopped = [event["round"]["stopped"] for event in study.journal.of("round") if event["round"].get("stopped")]
    if stopped:
        notes.append(f"The search ended before its budget was spent: {stopped[-1]}")
    trials = study.all_trials()
    failed = [trial for trial in trials if trial.failure]
    notes += [f"{trial.id} failed and counts against the budget: {trial.failure}" for trial in failed]
    results = [result for trial in trials for result in trial.results.values()]
    truncated = max(results, key=lambda result: result.truncated_rows, default=None)
    if truncated is not None and truncated.truncated_rows:
        notes.append(
            f"Up to {truncated.truncated_rows:,} rows a training were cut to the maximum length "
            f"({truncated.truncated_tokens:,} tokens lost)."
        )
    notes += [said for event in study.journal.of("round")[:1] for said in event["round"].get("unseen", ())]
    notes += unscored_notes(trials)
    notes += remark_notes(_results(study))
    evidence = final_evidence(study)
    if evidence is not None:
        notes += evidence["sentences"]
    elif len(touches_of_test(study)) > 1:
        notes.append(touched_sentence(touches_of_test(study)))
    if said := exchanges_note(study.path / EXCHANGES):
        notes.append(said)
    lost = study.journal.of("interruption")
    if lost:
        notes.append(f"{len(lost)} evaluation(s) were lost to the machine and run again; none counts against a recipe.")
    return [*notes, *tracking_notes(study)]


def unscored_notes(trials: Sequence[Trial]) -> list[str]:
    """Operators that were given many rows without the score they cut by: one sentence each, with the worst trial."""
    found: dict[str, list[tuple[str, Shortfall]]] = {}
    for trial in trials:
        for shortfall in shortfalls(trial.record["lineage"]):
            found.setdefault(shortfall.operator, []).append((trial.id, shortfall))
    notes = []
    for operator, entries in found.items():
        worst_trial, worst = max(entries, key=lambda entry: entry[1].share)
        count = len({trial for trial, _ in entries})
        notes.append(
            f"{operator} was given more than a tenth of rows without a score in {count} trial(s), up to {worst.share:.0%} "
            f"({worst.missing:,} of {worst.rows_in:,} rows, in {worst_trial}). {why(worst.reasons)}"
        )
    return notes


def _results(study: Study) -> list[tuple[str, EvaluationResult]]:
    """Every evaluation with the name of what was trained: trials, those for the verdict, rows of the final table."""
    found = [(name, result) for name, by in reference_results(study).items() for result in by.values()]
    found += [(trial.id, result) for trial in study.all_trials() for result in trial.results.values()]
    found += [
        (event["label"], EvaluationResult.from_dict(event["result"]))
        for event in study.journal.of("incumbent_evaluation")
    ]
    return found + [(name, result) for name, by in study.final_results().items() for result in by.values()]


def print_study(study: Study, console: Terminal) -> None:
    """Print the tables of a study."""
    for sheet in study_sheets(study).values():
        sheet.print(console)
    for note in study_notes(study):
        console.say(f"- {note}")
    best = study.best()
    if best is not None and study.finished:
        judged = current_verdict(study)
        what = (
            f"The incumbent, {judged['incumbent']}" if judged and judged["exported"] == "incumbent" else "Best subset"
        )
        console.say(f"{what}: {study.path / 'best'}")


def diagnosis_sheet(diagnosis: Diagnosis) -> Sheet:
    """The proxies beside the full evaluation."""
    return Sheet(f"{diagnosis.subject}: proxies beside the {diagnosis.truth}", HEADINGS, tuple(diagnosis.rows()))


def agreement_sheet(found: Sequence[Agreement]) -> Sheet:
    """The search metric beside right answers; the sentences say what of it is shown."""
    rows = []
    for each in found:
        correlation, certain = each.correlation, each.reliability
        rows.append(
            (
                each.task if each.counts else f"{each.task} (guard)",
                each.metric,
                each.right,
                str(each.trials),
                "" if correlation is None else f"{correlation.value:+.2f}",
                "" if correlation is None else f"{correlation.low:+.2f} to {correlation.high:+.2f}",
                "" if certain is None else f"{certain.value:.0%}",
                {"unknown": "cannot be told", "weak": "hardly goes together"}.get(each.verdict, each.verdict),
            )
        )
    headings = (
        "task",
        "search metric",
        "right answers",
        "trials",
        "rank correlation",
        "95%",
        "more than chance",
        "finding",
    )
    return Sheet("The search metric beside right answers, over the trials", headings, tuple(rows))


def print_diagnosis(diagnosis: Diagnosis, console: Terminal) -> None:
    """Print the table of proxies and what may be said of it; without enough trials, only that."""
    if diagnosis.trials >= MIN_TRIALS:
        diagnosis_sheet(diagnosis).print(console)
        if diagnosis.agreements:
            agreement_sheet(diagnosis.agreements).print(console)
    for sentence in (*diagnosis.findings(), *diagnosis.right_answers(), *diagnosis.notes):
        console.say(f"- {sentence}")
