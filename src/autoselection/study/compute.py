"""How much training compute the found subset saves: the same model trained at several token budgets, measured.

Three arms (the winner's rows, all rows, random rows of the winner's number) are trained again at every budget and seed; a
budget's learning-rate schedule is its own, so that every point is a finished training. Results are journalled in
``STUDY_DIR/compute/journal.jsonl`` as they come: more budgets or seeds later add to them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autoselection import files
from autoselection.errors import ConfigError, StudyError
from autoselection.evaluation import EvaluationResult
from autoselection.executors import make_executor
from autoselection.ledger import Journal, Ledger, Wanted
from autoselection.search import random_subset
from autoselection.statistics import Curve, Multiplier, compute_multiplier, payback
from autoselection.study.accounts import curve_account
from autoselection.study.identity import check_identity, study_identity
from autoselection.study.opening import check_opening
from autoselection.study.prepare import Prepared, prepare
from autoselection.study.study import Study

ARMS = ("winner", "full", "random")
FOLDER = "compute"
PURPOSE = "compute curves"
FEW_SEEDS = 10
"""Below so many seeds percentiles of a bootstrap are too narrow: by 18% of the width at ten, by 37% at five."""


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
        The document written to ``compute/compute.json``, see :func:`compute_document`.

    Raises:
        ConfigError: the budgets or seeds are of no use, or test was asked for without a reason.
        StudyError: the study found nothing yet, changed, or is in use.
    """
    if len(set(budgets)) < 2 or any(not (math.isfinite(budget) and budget > 0) for budget in budgets):
        raise ConfigError(f"A curve needs at least two positive budgets, not {', '.join(map(str, budgets)) or 'none'}.")
    if split == "test" and rescore is None:
        raise ConfigError("Scoring the curves on test touches it once more: say why with --rescore-test REASON.")
    study = Study(study_dir.resolve())
    seeds = tuple(dict.fromkeys(study.config.evaluation.seeds if seeds is None else seeds))
    if not seeds:
        raise ConfigError("A curve needs at least one training seed.")
    with study.journal as journal, closing(make_executor(study.config.executor)) as executor:
        best = study.best()
        if best is None or not study.finished:
            raise StudyError(f"{study.path}: the search has not ended; run 'autoselection search' to its end first.")
        check_identity(journal, study_identity(study.config))
        prepared = prepare(study.config, study.path, journal.of("study")[0])
        check_opening(journal, prepared)
        unit = float(np.mean([result.train_tokens for result in best.results.values()]))
        tokens = sorted({max(1, round(unit * budget)) for budget in budgets})
        with Journal(study.path / FOLDER / "journal.jsonl") as curves:
            ledger = Ledger(study.config, prepared.pool.path, curves, executor, curve_account(study, curves, split))
            rows = {(arm, seed): _rows(arm, study, prepared, best.id, seed) for arm in ARMS for seed in seeds}
            wanted = [
                Wanted(rows[arm, seed], seed, split, tokens=budget, name=f"{arm}/{budget}")
                for budget in tokens
                for arm in ARMS
                for seed in seeds
            ]
            given = [event["reason"] for event in journal.of("test_access") if event["what"] == PURPOSE]
            # The same reason: a pass that was cut off goes on.
            if split == "test" and ledger.missing(wanted) and rescore not in given:
                journal.append("test_access", what=PURPOSE, reason=rescore)
            ledger.evaluate(wanted, title="Compute curves")
            document = compute_document(study, curves.of("run"), tokens, seeds, split)
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    files.write_text(study.path / FOLDER / "compute.json", text + "\n")
    return document


def compute_document(
    study: Study, runs: Sequence[Mapping[str, Any]], tokens: Sequence[int], seeds: Sequence[int], split: str
) -> dict[str, Any]:
    """Curves and multipliers as plain data.

    Keys: ``split``, ``seeds``, ``budgets`` (tokens asked for), ``curves`` (by arm: ``tokens`` trained on, ``scores`` by
    seed), ``costs`` (seconds: signals, search, one token), ``multipliers`` (by baseline: quality, gross multiplier with
    bounds, interval over seeds, payback), ``failed`` and ``sentences``. Open ends are null.

    Raises:
        StudyError: an arm has fewer than two budgets without a failed training.
    """
    results = {
        (run["arm"], run["tokens"], run["seed"]): EvaluationResult.from_dict(run["result"])
        for run in runs
        if run["split"] == split
    }
    failed = [f"{arm}, {budget:,} tokens, seed {seed}: {found.failure}" for (arm, budget, seed), found in results.items()
              if found.failure]  # fmt: skip
    curves = {arm: _curve(arm, results, tokens, seeds, study) for arm in ARMS}
    scored = [found for found in results.values() if found.failure is None]
    seconds = float(np.median([found.seconds["train"] / max(1, found.train_tokens) for found in scored]))
    opening = study.journal.of("study")[0]
    signals = float(opening["signal_report"]["seconds"])
    search = float(sum(trial.seconds for trial in study.all_trials()))
    sentences = []
    multipliers = {}
    for name in ARMS[1:]:
        found = compute_multiplier(curves["winner"], curves[name], seed=study.config.search.seed)
        multipliers[name], said = _described(found, signals + search, seconds)
        sentences += said
    if split == "dev":
        sentences.append("The curves were scored on dev, which chose the winner: they favour it.")
    if len(seeds) == 1:
        sentences.append("One training seed: no interval.")
    elif len(seeds) < FEW_SEEDS:
        sentences.append(
            f"{len(seeds)} training seeds: the intervals, percentiles of a bootstrap over them, are too narrow (docs/statistics.md)."
        )
    if opening["signal_report"].get("cached") or any(
        signal["cached"] for signal in opening["signal_report"].get("signals", {}).values()
    ):
        sentences.append("Some signals came from the cache: what computing them once cost is not in the net figures.")
    return {
        "split": split,
        "seeds": list(seeds),
        "budgets": list(tokens),
        "curves": {
            arm: {"tokens": curve.tokens.tolist(), "scores": curve.scores.tolist()} for arm, curve in curves.items()
        },
        "costs": {"signals_s": signals, "search_s": search, "token_s": seconds},
        "multipliers": multipliers,
        "failed": failed,
        "sentences": sentences,
    }


def _described(found: Multiplier, overhead: float, token: float) -> tuple[dict[str, Any], list[str]]:
    record: dict[str, Any] = {
        "quality": found.quality,
        "value": found.value,
        "low": found.low,
        "high": _finite(found.high),
        "interval": None if found.interval is None else [found.interval[0], _finite(found.interval[1])],
        "reached": found.reached,
        "subset_tokens": [found.subset.low, _finite(found.subset.high)],
        "reference_tokens": [found.reference.low, _finite(found.reference.high)],
        "payback": None,
        "sentence": found.sentence,
    }
    said = [found.sentence]
    if found.interval is not None:
        high = "no measured end" if math.isinf(found.interval[1]) else f"{found.interval[1]:.3g}"
        said.append(
            f"Over training seeds (95%): {found.interval[0]:.3g} to {high}; in {found.reached or 0:.0%} of the draws "
            f"the subset reaches the quality of {found.against} within the measured budgets."
        )
    if not math.isinf(found.subset.high) and found.reference.low > 0:
        # The subset's upper bound and the reference's lower one: the saving is at least this.
        back = payback(found.subset.high * token, found.reference.low * token, overhead)
        record["payback"] = {
            "overhead_s": back.overhead,
            "saving_s": back.saving,
            "trainings": back.trainings,
            "net": {str(count): value for count, value in back.net.items()},
        }
        about = "" if found.value is not None else " at most" if back.trainings else ""
        said.append(
            f"Signals and search cost {overhead:.0f} s, a training saves {back.saving:.1f} s against {found.against}: "
            + (f"paid back after{about} {back.trainings:,} trainings" if back.trainings else "never paid back")
            + f"; net multiplier {back.net[1]:.2g} for one training, {back.net[10]:.2g} for 10, {back.net[100]:.2g} for 100."
        )
    return record, said


def _curve(
    arm: str,
    results: Mapping[tuple[str, int, int], EvaluationResult],
    tokens: Sequence[int],
    seeds: Sequence[int],
    study: Study,
) -> Curve:
    """One arm's curve at the budgets where every seed was trained; tokens are those really trained on."""
    found = [[results.get((arm, budget, seed)) for seed in seeds] for budget in tokens]
    whole = [[r for r in column if r is not None and r.failure is None] for column in found]
    columns = [column for column in whole if len(column) == len(seeds)]
    if len(columns) < 2:
        raise StudyError(
            f"{study.path}: the curve of '{arm}' has fewer than two budgets at which all trainings succeeded; see "
            f"{FOLDER}/journal.jsonl, and lower the learning rate or add budgets."
        )
    used = [float(np.mean([result.train_tokens for result in column])) for column in columns]
    return Curve(arm, np.array(used), np.array([[result.score for result in column] for column in columns]).T)


def _rows(arm: str, study: Study, prepared: Prepared, winner: str, seed: int) -> NDArray[np.int64]:
    selectable = prepared.table.selectable
    rows = study.rows(winner)
    if arm == "winner":
        return rows
    if arm == "full":
        return selectable
    return selectable[random_subset(len(selectable), len(rows), seed=study.config.search.seed + seed)]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
