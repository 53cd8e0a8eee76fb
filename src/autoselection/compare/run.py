"""``autoselection compare``: methods on a study's own pool, signals and evaluator, under one budget."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from autoselection import files
from autoselection.compare.comparison import Comparison, Items, Run, compare_runs, item_scores
from autoselection.compare.floors import compared_floors
from autoselection.compare.method import check_levels
from autoselection.compare.methods import choose_methods
from autoselection.compare.outputs import write_comparison
from autoselection.compare.rounds import Rounds
from autoselection.compare.searches import open_sessions, run_sessions
from autoselection.compare.session import Session, standing, standings
from autoselection.config import StudyConfig, to_yaml
from autoselection.errors import ConfigError, StudyError
from autoselection.evaluation import EvaluationResult
from autoselection.evaluation.job import mean_score, mean_scores
from autoselection.executors import make_executor
from autoselection.ledger import Journal, Ledger, Wanted, keyed_account
from autoselection.pool import Pool
from autoselection.progress import console
from autoselection.seeds import check_seeds
from autoselection.study.kind import JOURNAL, check_kind
from autoselection.study.opening import prepare_journalled
from autoselection.study.study import CONFIG, check_folder
from autoselection.tasks import factors


def run_compare(config: StudyConfig, names: Sequence[str], budget: int, seeds: Sequence[int], out: Path) -> Comparison:
    """Compare methods, or go on with a comparison, in the folder ``out``. Where tasks have floors, what a method picks keeps them,
    if anything that it tried does.

    Every method spends ``budget`` evaluations with each seed. An evaluation (subset, training seed, settings) is made
    once, whoever asks for it, and kept as it ends: started again, the comparison repeats none. When all methods are
    done, the subset that each would pick by its dev scores is scored on test, once, with ``final.seeds``
    (``final.enabled: false`` leaves that out).

    Args:
        names: methods, see :data:`autoselection.compare.methods.METHODS`.
        budget: evaluations a method and seed; of methods that have no number of their own.
        seeds: of the methods; training seeds are those of ``evaluation.seeds``, for all methods alike.
        out: gets ``journal.jsonl``, ``comparison.json``, ``comparison.md``, ``incumbents/``.

    Raises:
        ConfigError: an unknown method, a budget below 1, no seed, a seed twice, or levels of evaluation that a comparison does not have.
        MissingExtraError: a method's package is not installed.
        StudyError: test was scored for another comparison in this folder, or evaluations were lost to the machine.
    """
    methods = choose_methods(names)
    check_levels(config.search)
    if budget < 1:
        raise ConfigError(f"--budget must be at least 1, not {budget}.")
    try:
        check_seeds(seeds)
    except ValueError as error:
        raise ConfigError(f"--seeds: {error}.") from None
    out = out.resolve()
    check_folder(out, "comparison")
    with Journal(out / JOURNAL) as journal, closing(make_executor(config.executor)) as executor:
        check_kind(journal, "comparison")
        prepared = prepare_journalled(config, out, journal, "comparison")
        account = keyed_account(config, prepared.pool.fingerprint, journal, out)
        ledger = Ledger(config, prepared.pool.path, journal, executor, account)
        plan = {"methods": sorted(names), "budget": budget, "seeds": sorted(seeds), "settings": account.settings}
        if floored := {task.name: task.floor for task in config.tasks if task.floor is not None}:
            plan["floors"] = floored
        _check_plan(journal, plan, out)
        files.write_text(out / CONFIG, to_yaml(config))
        rounds: Rounds[Wanted] = Rounds(ledger.attempt)
        # Sessions have one seed: all methods see the same score of a subset.
        floors = compared_floors(config, prepared.table, ledger, out)
        sessions = open_sessions(prepared.table, ledger, rounds, methods, budget, dict.fromkeys(seeds, 0), floors)
        for method in methods:
            if method.evaluations is not None:
                count = method.budget(budget, prepared.table, config.search)
                console.say(f"{method.name}: {count} evaluations with each seed, whatever the budget of the others.")
        seconds = run_sessions(ledger, rounds, sessions, methods)
        runs = {key: _run(*key, session, seconds[key], budget) for key, session in sessions.items()}
        items: dict[str, Items] = {}
        if config.final.enabled:
            runs, items = _score_test(ledger, journal, sessions, runs, plan)
        listed, made_with = list(runs.values()), ledger.arithmetics
        counted = factors(config.tasks)
        comparison = compare_runs(config.name, budget, listed, items, ledger.made, made_with, ledger.remarks, counted)
    write_comparison(comparison, out)
    _write_incumbents(out, sessions, prepared.pool)
    return comparison


def _check_plan(journal: Journal, plan: dict[str, Any], out: Path) -> None:
    """Test is scored for one comparison only, so that nobody chooses methods or budgets by it."""
    for event in journal.of("test_plan"):
        changed = [name for name in {**plan, **event["plan"]} if event["plan"].get(name) != plan.get(name)]
        if changed:
            raise StudyError(
                f"{out}: test was already scored for a comparison of other {', '.join(changed)}; "
                "restore them, or name another --out folder."
            )


def _run(method: str, seed: int, session: Session, seconds: float, budget: int) -> Run:
    picks = standings(session.log, max(budget, session.budget), session.floors)
    last = picks[-1]
    return Run(
        method=method,
        seed=seed,
        curve=tuple(float("nan") if pick is None else pick.seen for pick in picks),
        incumbent=None if last is None else last.subset,
        rows=0 if last is None else len(last.rows),
        evaluations=len(session.log),
        failed=sum(item.failure is not None for item in session.log),
        seconds=round(seconds, 3),
    )


def _score_test(
    ledger: Ledger,
    journal: Journal,
    sessions: dict[tuple[str, int], Session],
    runs: dict[tuple[str, int], Run],
    plan: dict[str, Any],
) -> tuple[dict[tuple[str, int], Run], dict[str, Items]]:
    """Score every incumbent on test; the plan is journalled before the first test item is read."""
    if not journal.of("test_plan"):
        chosen = {f"{name}/{seed}": run.incumbent for (name, seed), run in runs.items()}
        journal.append("test_plan", plan=plan, incumbents=chosen)
    subsets = {}
    for session in sessions.values():
        if (pick := standing(session.log, session.floors)) is not None:
            subsets[pick.subset] = pick.rows
    wanted = [Wanted(rows, seed, "test") for _, rows in sorted(subsets.items()) for seed in ledger.config.final.seeds]
    scored: dict[str, list[EvaluationResult]] = {}
    for item, result in zip(wanted, ledger.evaluate(wanted), strict=True):
        scored.setdefault(item.subset, []).append(result)
    scored = {key: results for key, results in scored.items() if not any(result.failure for result in results)}
    metrics: dict[str, str] = {task.name: task.metric for task in ledger.config.tasks}
    items = {key: found for key, results in scored.items() if (found := item_scores(results, metrics)) is not None}
    return {key: _with_test(run, scored.get(run.incumbent or "")) for key, run in runs.items()}, items


def _with_test(run: Run, results: Sequence[EvaluationResult] | None) -> Run:
    if not results:
        return run
    return Run(**{**vars(run), "test": mean_score(results), "test_tasks": mean_scores(results)})


def _write_incumbents(out: Path, sessions: dict[tuple[str, int], Session], pool: Pool) -> None:
    """The row ids of every incumbent, as ``autoselection evaluate --subset`` reads them."""
    folder = out / "incumbents"
    folder.mkdir(exist_ok=True)
    for (name, seed), session in sessions.items():
        pick = standing(session.log, session.floors)
        if pick is not None:
            # No file system of Windows has ':' in a name, which methods such as 'mix:equal' have.
            file = folder / f"{name.replace(':', '-')}-seed{seed}.json"
            files.write_text(file, json.dumps(pool.row_ids(pick.rows)) + "\n")
