"""What an agent's calls answer, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np

from autoselection.agents.dev_only import check_columns, check_condition, check_recipe, hidden_signals, visible_rows
from autoselection.agents.session import AgentSession, read_recipe
from autoselection.agents.tools import (
    ExplainArguments,
    NoArguments,
    RecipeArguments,
    RowsArguments,
    StatisticsArguments,
)
from autoselection.agents.untrusted import ANSWER, NOTE, length
from autoselection.diagnose import MIN_TRIALS, diagnose_study
from autoselection.inspection import dropped_examples, explain, show_rows
from autoselection.markup import bullets, inline
from autoselection.operators import Operator, default_registry
from autoselection.recipes import MAX_STEPS, lineage_remarks, state_vector
from autoselection.recipes.ready import ready_recipes
from autoselection.recipes.state import shown_states
from autoselection.report.answer import study_answer
from autoselection.report.tables import diagnosis_sheet, study_notes, study_sheets
from autoselection.signals import SignalTable
from autoselection.study import Trial
from autoselection.study.named_subsets import present_targets
from autoselection.study.study import AGENT
from autoselection.wording import clipped

#: Most trials that are told, the last, and decimals of their scores by task.
_TRIALS, _DECIMALS = 50, 4
#: Characters of an answer that are kept for what is written between its parts.
_RESERVE = 200
#: Sources that are told, the largest, and characters of their names; and of a recipe or a failure in one line.
_SOURCES, _NAMES, _LINE = 50, 8_000, 500

Answer = dict[str, Any]


def overview(session: AgentSession, _: NoArguments) -> Answer:
    """What the study is about and how far it is."""
    study = session.study
    settings = study.config.search
    best = study.best()
    trials = study.all_trials()
    begun = session.begun
    opening = study.journal.of("study")
    found: Answer = {
        "study": study.config.name,
        "goal": "find the recipe whose subset, trained on, scores highest on dev; test is locked and decides later, by people",
        "status": session.status().to_dict(),
        "pool_rows": opening[0]["rows"] if opening else None,
        "tasks": [
            {
                "name": task.name,
                "metric": task.metric,
                "weight": task.weight,
                **({} if task.name not in study.floors else {"lowest_score": study.floors[task.name]}),
            }
            for task in study.config.tasks
        ],
        "budget": {
            "evaluations": settings.evaluations,
            "spent": study.asked,
            "left_for_you": session.left,
        },
        "fewest_rows": settings.least_rows(session.table) if begun else settings.min_rows,
        "trainings_of_an_evaluation": len(study.config.evaluation.seeds),
        "best": None
        if best is None
        else {"trial": best.id, "score": best.score, "tasks": best.tasks, "rows": best.size},
    }
    shown: list[Answer] = []
    room = ANSWER - _RESERVE - length(found)
    for trial in reversed(trials[-_TRIALS:]):
        told = trial_answer(trial, brief=True)
        room -= length(told) + len(", ")
        if room < 0:
            break
        shown.insert(0, told)
    left_out = len(trials) - len(shown)
    return {**found, "trials": shown, **({"trials_left_out": left_out} if left_out else {})}


def trial_answer(trial: Trial, *, brief: bool = False) -> Answer:
    """A trial as an agent sees it: dev scores only.

    Args:
        brief: as one of many: scores of tasks rounded, recipe in words and failure cut.
    """
    found: Answer = {
        "trial": trial.id,
        "score": trial.score,
        "tasks": {name: round(score, _DECIMALS) for name, score in trial.tasks.items()} if brief else trial.tasks,
        "rows": trial.size,
        "recipe": clipped(trial.recipe.describe(), _LINE) if brief else trial.recipe.to_dict(),
        "origin": trial.record["origin"],
        "parent": trial.record["parent"],
        "failure": clipped(trial.failure, _LINE) if brief and trial.failure else trial.failure,
    }
    if trial.fidelity < 1.0:
        found["share_of_a_training"] = trial.fidelity
    if not brief and len(trial.results) > 1:
        found["scores_by_seed"] = {str(seed): result.score for seed, result in trial.results.items()}
    return {key: value for key, value in found.items() if value is not None}


def operators(session: AgentSession, _: NoArguments) -> Answer:
    """The steps that a recipe can have on this pool."""
    table, hidden = session.table, hidden_signals()
    shown = _fitting(table.largest_sources(_SOURCES))
    usable = [operator for operator in default_registry().operators() if _usable(operator, table)]
    read_hidden = [operator for operator in usable if hidden & set(operator.needs({}))]
    return {
        "operators": [_operator(operator, session) for operator in usable if operator not in read_hidden],
        "signals": sorted(table.columns),
        "sources": [name for name in table.source_names if name in shown],
        **_left_out(len(table.source_names) - len(shown)),
        "ready_recipes": {name: entry.purpose for name, entry in ready_recipes().items()},
        "order": f"steps run in order, each on what the step before left; a recipe has at most {MAX_STEPS} steps",
        "example": {
            "steps": [
                {"operator": "truncate_samples", "params": {"fraction": 0.5}},
            ]
        },
    }


def _fitting(names: Iterable[str]) -> set[str]:
    """The first names that an answer has room for, as they are written in it."""
    listed = list(names)
    return {name for name, total in zip(listed, accumulate(map(length, listed)), strict=True) if total <= _NAMES}


def _left_out(count: int) -> Answer:
    return {"smaller_sources_left_out": count} if count > 0 else {}


def _of_largest(found: Mapping[str, Any], size: Callable[[Any], float]) -> Answer:
    """The entries of the largest sources, in their order; how many are left out is told by the caller."""
    names = sorted(found, key=lambda name: -size(found[name]))[:_SOURCES]
    shown = _fitting(names)
    return {name: entry for name, entry in found.items() if name in shown}


def _usable(operator: Operator, table: SignalTable) -> bool:
    """Whether a recipe may have the step on this pool: it has what the step needs, or the step names the signal."""
    return operator.available(table) or any(param.kind == "signal" for param in operator.params)


def _operator(operator: Operator, session: AgentSession) -> Answer:
    params = []
    for own, narrowed in zip(operator.params, operator.space(session.table), strict=True):
        # The pool bounds what makes sense from above; the search's own low end binds nobody.
        param = replace(narrowed, low=own.low)
        default = None if param.default is None else {"default": param.default}
        params.append({"name": param.name, "is": param.domain, "about": param.help, **(default or {})})
    return {
        "name": operator.name,
        "family": operator.family,
        "about": operator.summary,
        "order_of_rows": operator.order,
        "params": params,
    }


def statistics(session: AgentSession, asked: StatisticsArguments) -> Answer:
    """What is in the pool."""
    names = asked.signals or ()
    check_columns(tuple(names))
    found = session.stats.to_dict()
    known = found["signals"]
    for name in names:
        if name not in known:
            session.table.column(name)  # says what is wrong
    told = {name: dict(known[name]) for name in (names or known) if name in known}
    for entry in told.values():
        sources = entry.pop("sources", {})
        if asked.by_source:
            entry["sources"] = _of_largest(sources, lambda each: each["rows"])
    sources = _of_largest(found["sources"], lambda each: each["rows"])
    left_out = _left_out(len(found["sources"]) - len(sources))
    return {"note": NOTE, **found, "sources": sources, **left_out, "signals": told}


def rows(session: AgentSession, asked: RowsArguments) -> Answer:
    """Rows of the pool."""
    if asked.where is not None:
        check_condition(asked.where)
    check_columns(tuple(asked.signals or ()))
    shown = show_rows(
        session.pool,
        visible_rows(session.pool, session.table, session.meant(asked.ids)),
        where=session.meant(asked.where),
        source=session.meant(asked.source),
        sample=asked.sample,
        limit=asked.limit,
        seed=asked.seed,
        signals=session.table,
        columns=asked.signals,
    )
    told = [each.to_dict() for each in shown]
    for each in told:
        del each["file"], each["line"]
    return {"note": NOTE, "matching": shown.matching, "of": len(session.pool), "rows": told}


def tried(session: AgentSession, asked: RecipeArguments) -> Answer:
    """What a recipe selects, without training."""
    study = session.study
    recipe = read_recipe(session.meant(asked.recipe), study)
    result = session.materialize(recipe)
    seed, table = study.config.search.seed, session.table
    same = [trial for trial in study.all_trials() if trial.record["subset_hash"] == result.subset_hash]
    least = study.config.search.least_rows(table)
    found: Answer = {
        "recipe": result.recipe.to_dict(),
        "in_words": result.recipe.describe(),
        "rows": len(result.rows),
        "different_rows": result.distinct,
        "of": table.n,
        "steps": [
            {"step": told, "rows_in": step.rows_in, "rows_out": step.rows_out, "without_a_score": step.missing}
            for told, step in zip(result.recipe.describe_steps(), result.lineage, strict=True)
        ],
        "subset": shown_states([state_vector(result.rows, table).to_dict()])[0],
        "warnings": lineage_remarks(result.lineage),
    }
    if same:
        found["evaluated_as"] = trial_answer(same[0], brief=True)
    if result.distinct < least:
        found["too_small"] = f"a subset has {least:,} different rows or more"
    if asked.examples:
        drawn = np.random.default_rng(seed).permutation(np.unique(result.rows))[: asked.examples]
        found["kept_examples"] = _excerpts(session, np.sort(drawn))
        dropped = dropped_examples(recipe, table, seed=seed, count=asked.examples)
        found["dropped_examples"] = [each.to_dict() for each in dropped if each.step]  # 0: by the study itself
        found["note"] = NOTE
    return found


def _excerpts(session: AgentSession, numbers: Any) -> list[Answer]:
    shown = show_rows(session.pool, numbers, signals=session.table, limit=None)
    return [{"id": each.row.id, "source": each.row.source, "text": each.row.text} for each in shown]


def explained(session: AgentSession, asked: ExplainArguments) -> Answer:
    """Why a recipe kept or dropped rows."""
    study = session.study
    recipe = read_recipe(session.meant(asked.recipe), study)
    check_recipe(recipe)
    targets, missing = present_targets(study.config)
    wanted = visible_rows(session.pool, session.table, session.meant(asked.rows))
    assert wanted is not None
    told = explain(recipe, session.table, wanted, seed=study.config.search.seed, targets=targets, most=3).to_dict()
    for each in told["rows"]:
        del each["file"], each["line"]
    return {"note": NOTE, **told, **({"warnings": list(missing)} if missing else {})}


def report(session: AgentSession, _: NoArguments) -> Answer:
    """The report so far, without test."""
    study = session.study
    answer, notes = study_answer(study), study_notes(study)
    parts = [f"# {inline(study.config.name)} (dev)", "", *bullets(answer.sentences()), ""]
    sheets = list(study_sheets(study).values())
    if len([trial for trial in study.subsets() if trial.score is not None]) >= MIN_TRIALS:
        found = diagnose_study(study)
        sheets.append(diagnosis_sheet(found))
        notes += found.findings()
    for sheet in sheets:
        parts += [f"## {inline(sheet.title)}", "", *sheet.markdown(), ""]
    if notes:
        parts += ["## Notes", "", *bullets(notes), ""]
    return {
        "markdown": "\n".join(parts),
        "note": "Dev scores only. 'autoselection report' writes the page with everything, for people.",
        "asked_by_agents": len(study.journal.of(AGENT)),
    }


def evaluated(session: AgentSession, trial: str | None) -> Answer:
    """A trial with what its evaluation is at, or gave."""
    status = session.status(trial)
    study = session.study
    found: Answer = {"status": status.to_dict(), "budget_left": session.left}
    if status.trial is not None:
        found["trial"] = trial_answer(study.all_trials()[status.trial])
        best = study.best()
        if status.state == "done" and best is not None:
            found["best_so_far"] = {"trial": best.id, "score": best.score}
    if status.waits:
        found["next"] = "call wait_for_evaluation again; the evaluation goes on whether you wait or not"
    elif status.state == "stopped" and status.trial is None:
        found["next"] = "the study could not be prepared: tell the user why; the server has to be started again then"
    elif status.state == "stopped":
        found["next"] = "call evaluate_recipe with the same recipe: it goes on where it was, and is not paid twice"
    return found


#: By the name of the tool; the two that wait are the server's.
ANSWERS: Mapping[str, Callable[[AgentSession, Any], Answer]] = {
    "study_overview": overview,
    "list_operators": operators,
    "pool_statistics": statistics,
    "show_rows": rows,
    "materialize_recipe": tried,
    "explain_rows": explained,
    "study_report": report,
}
