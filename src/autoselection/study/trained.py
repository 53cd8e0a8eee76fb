"""Everything that a study trained and scored, each evaluation once: what its costs are told from."""

from __future__ import annotations

from autoselection.evaluation import EvaluationResult
from autoselection.ledger.wanted import UNTRAINED
from autoselection.study.study import REFERENCE, Study

SEARCH = "search"
_STAGES = {REFERENCE: "references", "incumbent_evaluation": "comparison with today's data", "test": "final table"}


def trained_results(study: Study) -> dict[str, list[EvaluationResult]]:
    """Results by stage, in the order of the stages; the search with another model than the target is one of its own.

    The journal notes a result under every name that asked for it, such as two trials of the same rows: it is here once, in
    the stage that made it. One evaluation that was made twice, as where models are kept, took its time twice: so of the same
    content only those with the same measured times are copies.
    """
    trials = {event["trial"]["id"]: event["trial"] for event in study.journal.of("trial")}
    plans = study.journal.of("final_plan")
    planned = [{entry["name"]: entry["subset_hash"] for entry in plan["entries"]} for plan in plans]
    models = dict.fromkeys(str(trial.get("model", "")) for trial in trials.values())
    searches = dict.fromkeys(_search(model) for model in ("", *models))
    found: dict[str, list[EvaluationResult]] = {
        stage: []
        for stage in (_STAGES[REFERENCE], *searches, *(name for kind, name in _STAGES.items() if kind != REFERENCE))
    }
    seen = set()
    for event in study.journal.events:
        kind = event["event"]
        if kind == "evaluation":
            trial = trials[event["trial"]]
            model, subset = str(trial.get("model", "")), trial["subset_hash"]
            stage = _search(model)
        elif kind in _STAGES:
            model, stage = "", _STAGES[kind]
            subset = planned[event.get("plan", 1) - 1][event["name"]] if kind == "test" else event["subset_hash"]
        else:
            continue
        result = EvaluationResult.from_dict(event["result"])
        content = subset or UNTRAINED, result.split, result.seed, model
        short = event.get("fidelity", 1.0), event.get("items", 1.0)
        made = (*content, *short, tuple(sorted(result.seconds.items())))
        if made not in seen:
            seen.add(made)
            found[stage].append(result)
    return found


def _search(model: str) -> str:
    return f"{SEARCH} with {model}" if model else SEARCH
