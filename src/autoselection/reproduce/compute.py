"""How much training compute the winners of a reproduction save: the same curves as of a study, over its replicates' searches."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import numpy as np

from autoselection.errors import StudyError
from autoselection.evaluation import EvaluationResult
from autoselection.executors import make_executor
from autoselection.ledger import Journal, Ledger, Wanted
from autoselection.ledger.settings import settings_digest
from autoselection.recipes import subset_hash
from autoselection.reproduce.folder import COMMAND, Part, open_part
from autoselection.reproduce.results import Stored, check_plans
from autoselection.reproduce.rows import AUTOSELECTION, Entry, Rows, random_rows, stored_rows
from autoselection.signals import SignalTable
from autoselection.study.accounts import curve_account, curve_name
from autoselection.study.curves import (
    ARMS,
    FOLDER,
    Setting,
    budget_tokens,
    check_curves,
    compute_document,
    distinct_seeds,
    evaluate_curves,
    write_curves,
)
from autoselection.study.kind import JOURNAL
from autoselection.study.opening import prepare_journalled


def measure_reproduced_compute(
    path: Path,
    budgets: Sequence[float],
    seeds: Sequence[int] | None = None,
    split: Literal["dev", "test"] = "dev",
    rescore: str | None = None,
) -> dict[str, Any]:
    """Train what is missing of the curves of a reproduction's model and read the compute multiplier off them.

    Every replicate has a curve of its own: its AutoSelection winner, all rows, and its random rows of the winner's number, each
    point the mean over the training seeds. Intervals are over replicates: they hold for a search, not for one winner.

    Args:
        path: a model's folder in a reproduction, or that of a reproduction of one model.
        budgets: multiples of the tokens that one training of the winners took, on average; at least two.
        seeds: training seeds, each raised by the replicate's (default: ``final_seeds``, with which no winner was chosen).
        split: where the curves are scored; dev chose the winners and so favours them.
        rescore: why test is scored; needed for ``split="test"``, and recorded in the journal.

    Returns:
        The document written to ``compute/compute.json``, see :func:`~autoselection.study.curves.compute_document`; with
        ``replicates``, in the order of the scores.

    Raises:
        ConfigError: the budgets or seeds are of no use, or test was asked for without a reason.
        StudyError: the searches of the main table have not ended, something changed since, or the folder is in use.
    """
    check_curves(budgets, split, rescore)
    part = open_part(path)
    study, folder = part.stored.study, part.folder
    seeds = distinct_seeds(part.stored.config.final_seeds if seeds is None else seeds)
    winners, without = _winners(part)
    with part.journal as journal, closing(make_executor(study.executor)) as executor:
        prepared = prepare_journalled(study, folder, journal, "reproduction")
        searched = [result for winner in winners for result in part.stored.on_dev(winner)]
        if not searched or settings_digest(study, prepared.pool.fingerprint) != part.stored.digest(study):
            raise StudyError(
                f"{folder}: settings, model or tasks changed since the searches, so curves would be of something else: restore them."
            )
        tokens = budget_tokens(searched, budgets)
        with Journal(folder / FOLDER / JOURNAL) as curves:
            ledger = Ledger(study, prepared.pool.path, curves, executor, curve_account(folder, curves, split))
            rows = {
                (arm, winner.seed): _rows(arm, winner, folder, prepared.table) for arm in ARMS for winner in winners
            }
            named = {key: subset_hash(own) for key, own in rows.items()}
            asked = [(arm, budget, replicate, seed) for budget in tokens for arm, replicate in rows for seed in seeds]
            wanted = [
                Wanted(
                    rows[arm, replicate],
                    seed + replicate,
                    split,
                    tokens=budget,
                    name=curve_name(arm, budget, named[arm, replicate], replicate),
                )
                for arm, budget, replicate, seed in asked
            ]
            results: dict[tuple[str, int, int], list[EvaluationResult]] = {}
            for (arm, budget, replicate, _), result in zip(
                asked, evaluate_curves(ledger, wanted, journal, rescore), strict=True
            ):
                results.setdefault((arm, budget, replicate), []).append(result)
    replicates = tuple(winner.seed for winner in winners)
    opening, cost = journal.of("study")[0], _search_seconds(part.stored)
    setting = Setting(folder, replicates, len(seeds), ("search", "searches"), split, study.search.seed, opening, cost)
    document = compute_document(setting, results, tokens)
    if without:
        document["sentences"].append(
            f"Every training of the search failed in replicate {', '.join(map(str, without))}: the figures are of the others."
        )
    return write_curves(setting, {**document, "replicates": list(replicates), "seeds": list(seeds)})


def _winners(part: Part) -> tuple[list[Entry], list[int]]:
    """What AutoSelection found, by replicate, and the replicates in which it found nothing.

    Raises:
        StudyError: not all searches of the main table have ended, they were made by other settings, or none found anything.
    """
    check_plans(part.stored, part.folder)
    entries = part.stored.plan("main")
    if entries is None:
        raise StudyError(
            f"{part.folder}: the searches of the main table have not ended; run '{COMMAND} --out {part.folder.parent}' first."
        )
    ours = [entry for entry in entries if entry.row == AUTOSELECTION]
    found = [entry for entry in ours if entry.subset is not None]
    if not found:
        raise StudyError(
            f"{part.folder}: no search of {AUTOSELECTION} found anything, as every training failed: there is no winner to train."
        )
    return found, [entry.seed for entry in ours if entry.subset is None]


def _rows(arm: str, winner: Entry, folder: Path, table: SignalTable) -> Rows:
    if arm == "full":
        return np.asarray(table.selectable, np.int64)
    if arm == "random":
        return random_rows(table, winner.rows, winner.seed)
    rows = stored_rows(folder / "subsets", winner.subset or "")
    assert rows is not None, "a winner was trained"
    return rows


def _search_seconds(stored: Stored) -> float:
    """What one search takes: its evaluations, each as long as one on dev took on average (s)."""
    each = [event["result"]["seconds"]["total"] for event in stored.evaluations("dev", stored.digest(stored.study))]
    return float(np.mean(each)) * stored.config.budget * len(stored.study.evaluation.seeds)
