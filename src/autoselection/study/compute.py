"""How much training compute the found subset saves: the same model trained at several token budgets, measured.

Three arms (the winner's rows, all rows, random rows of the winner's number) are trained again at every budget and seed; a
budget's learning-rate schedule is its own, so that every point is a finished training. Results are journalled in
``STUDY_DIR/compute/journal.jsonl`` as they come: more budgets or seeds later add to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import StudyError
from autoselection.executors import make_executor
from autoselection.ledger import Journal, Ledger, Wanted
from autoselection.recipes import subset_hash
from autoselection.search import random_subset
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
from autoselection.study.identity import check_identity, study_identity
from autoselection.study.kind import JOURNAL
from autoselection.study.opening import check_opening
from autoselection.study.prepare import Prepared, prepare
from autoselection.study.study import Study
from autoselection.study.trained import SEARCH, trained_results


def measure_compute(
    study_dir: Path,
    budgets: Sequence[float],
    seeds: Sequence[int] | None = None,
    split: Literal["dev", "test"] = "dev",
    rescore: str | None = None,
) -> dict[str, Any]:
    """Train what is missing of the curves of a study and read the compute multiplier off them.

    Args:
        budgets: multiples of the tokens that one training of the search's winner took; at least two.
        seeds: training seeds (default: those of the study's evaluations); random rows are drawn again for each.
        split: where the curves are scored; dev chose the winner and so favours it.
        rescore: why test is scored; needed for ``split="test"``, and recorded in the study's journal.

    Returns:
        The document written to ``compute/compute.json``, see :func:`~autoselection.study.curves.compute_document`.

    Raises:
        ConfigError: the budgets or seeds are of no use, or test was asked for without a reason.
        StudyError: the study found nothing yet, changed, or is in use.
    """
    check_curves(budgets, split, rescore)
    study = Study(study_dir.resolve())
    seeds = distinct_seeds(study.config.evaluation.seeds if seeds is None else seeds)
    with study.journal as journal, closing(make_executor(study.config.executor)) as executor:
        best = study.best()
        if best is None or not study.finished:
            raise StudyError(f"{study.path}: the search has not ended; run 'autoselection search' to its end first.")
        check_identity(journal, study_identity(study.config))
        prepared = prepare(study.config, study.path, journal.of("study")[0])
        check_opening(journal, prepared)
        tokens = budget_tokens(best.results.values(), budgets)
        with Journal(study.path / FOLDER / JOURNAL) as curves:
            ledger = Ledger(
                study.config, prepared.pool.path, curves, executor, curve_account(study.path, curves, split)
            )
            rows = {(arm, seed): _rows(arm, study, prepared, best.id, seed) for arm in ARMS for seed in seeds}
            named = {key: subset_hash(own) for key, own in rows.items()}
            asked = [(arm, budget, seed) for budget in tokens for arm in ARMS for seed in seeds]
            wanted = [
                Wanted(rows[arm, seed], seed, split, tokens=budget, name=curve_name(arm, budget, named[arm, seed]))
                for arm, budget, seed in asked
            ]
            found = evaluate_curves(ledger, wanted, journal, rescore)
            results = {point: [result] for point, result in zip(asked, found, strict=True)}
    stages = trained_results(study).items()
    search = sum(found.seconds["total"] for name, results in stages if name.startswith(SEARCH) for found in results)
    setting = Setting(
        study.path,
        seeds,
        1,
        ("training seed", "training seeds"),
        split,
        study.config.search.seed,
        journal.of("study")[0],
        search,
    )
    return write_curves(setting, {**compute_document(setting, results, tokens), "seeds": list(seeds)})


def _rows(arm: str, study: Study, prepared: Prepared, winner: str, seed: int) -> NDArray[np.int64]:
    selectable = prepared.table.selectable
    rows = study.rows(winner)
    if arm == "winner":
        return rows
    if arm == "full":
        return selectable
    return selectable[random_subset(len(selectable), len(rows), seed=study.config.search.seed + seed)]
