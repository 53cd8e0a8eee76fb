"""Compute curves of a study or of a reproduction: scores over training tokens by arm, and the multipliers read off them.

What is here does not depend on whose winner it is; :mod:`autoselection.study.compute` and :mod:`autoselection.reproduce.compute`
say which rows are trained on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoselection import files
from autoselection.errors import ConfigError, StudyError
from autoselection.evaluation import EvaluationResult
from autoselection.ledger import Journal, Ledger, Wanted
from autoselection.seeds import check_seeds
from autoselection.statistics import Curve, Multiplier, compute_multiplier, payback
from autoselection.study.kind import JOURNAL

Results = Mapping[tuple[str, int, int], Sequence[EvaluationResult]]
"""By arm, tokens asked for, and unit: the training seed of a study, the replicate of a reproduction."""

ARMS = ("winner", "full", "random")
FOLDER = "compute"
_PURPOSE = "compute curves"
_FEW = 10
"""Below so many units percentiles of a bootstrap are too narrow: by 18% of the width at ten, by 37% at five."""


@dataclass(frozen=True)
class Setting:
    """What curves are of.

    Attributes:
        folder: of the study, or of a model of a reproduction.
        units: what an interval is over, a curve each: training seeds, or searches.
        seeds: trainings of each unit at every point (count).
        named: what one unit is called, and several.
        split: where the curves are scored.
        seed: of the bootstrap.
        opening: the journal's first event.
        search_seconds: what one search cost (s).
    """

    folder: Path
    units: tuple[int, ...]
    seeds: int
    named: tuple[str, str]
    split: str
    seed: int
    opening: Mapping[str, Any]
    search_seconds: float


def check_curves(budgets: Sequence[float], split: str, rescore: str | None) -> None:
    """See that curves can be made.

    Raises:
        ConfigError: the budgets are of no use, or test was asked for without a reason.
    """
    if len(set(budgets)) < 2 or any(not (math.isfinite(budget) and budget > 0) for budget in budgets):
        raise ConfigError(f"A curve needs at least two positive budgets, not {', '.join(map(str, budgets)) or 'none'}.")
    if split == "test" and not (rescore or "").strip():
        raise ConfigError("Scoring the curves on test touches it once more: say why with --rescore-test REASON.")


def distinct_seeds(seeds: Iterable[int]) -> tuple[int, ...]:
    """Training seeds, each once.

    Raises:
        ConfigError: there is none, or one is no seed.
    """
    found = tuple(dict.fromkeys(seeds))
    if not found:
        raise ConfigError("A curve needs at least one training seed.")
    try:
        check_seeds(found)
    except ValueError as error:
        raise ConfigError(f"The training seeds of a curve: {error}.") from None
    return found


def budget_tokens(results: Iterable[EvaluationResult], budgets: Sequence[float]) -> list[int]:
    """Tokens to train on, ascending: the budgets times what a training of the winner took (count).

    Raises:
        ConfigError: all budgets come to one number of tokens.
    """
    unit = float(np.mean([result.train_tokens for result in results]))
    found = sorted({max(1, round(unit * budget)) for budget in budgets})
    if len(found) < 2:
        raise ConfigError(
            f"The budgets {', '.join(f'{budget:g}' for budget in budgets)} all come to {found[0]:,} token(s), as a training of the "
            f"winner took {unit:,.0f}: a curve needs two that differ."
        )
    return found


def evaluate_curves(
    ledger: Ledger, wanted: Sequence[Wanted], journal: Journal, rescore: str | None
) -> list[EvaluationResult]:
    """Results in the order of what is wanted; what is missing is trained and scored. Why test is scored is noted in the journal
    first, each time that something else is asked of it."""
    if any(item.split == "test" for item in wanted) and ledger.missing(wanted):
        asked = {
            "what": _PURPOSE,
            "reason": rescore,
            "tokens": sorted({item.tokens or 0 for item in wanted}),
            "seeds": sorted({item.seed for item in wanted}),
        }
        noted = [{key: event.get(key) for key in asked} for event in journal.of("test_access")]
        if asked not in noted:  # else a pass that was cut off goes on
            journal.append("test_access", **asked)
    return ledger.evaluate(wanted, title="Compute curves")


def write_curves(setting: Setting, document: dict[str, Any]) -> dict[str, Any]:
    """Write ``compute/compute.json``."""
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    files.write_text(setting.folder / FOLDER / "compute.json", text + "\n")
    return document


def compute_document(setting: Setting, results: Results, tokens: Sequence[int]) -> dict[str, Any]:
    """Curves and multipliers as plain data.

    Keys: ``split``, ``units`` (what the rows of scores and the intervals are over), ``budgets`` (tokens asked for), ``curves`` (by
    arm: ``tokens`` trained on, ``scores`` by unit), ``costs`` (seconds: signals, one search, one token), ``multipliers`` (by
    baseline: quality, gross multiplier with bounds, interval over the units, payback), ``failed`` and ``sentences``. Open ends are
    null.

    Raises:
        StudyError: an arm has fewer than two budgets that differ in what was trained on, without a failed training.
    """
    curves = {arm: _curve(arm, results, tokens, setting) for arm in ARMS}
    every = [(key, found) for key, several in results.items() for found in several]
    failed = [f"{arm}, {budget:,} tokens, seed {found.seed}: {found.failure}" for (arm, budget, _), found in every
              if found.failure]  # fmt: skip
    scored = [found for _, found in every if found.failure is None]
    seconds = float(np.median([found.seconds["train"] / max(1, found.train_tokens) for found in scored]))
    report = setting.opening["signal_report"]
    signals = float(report["seconds"])
    sentences = []
    multipliers = {}
    for name in ARMS[1:]:
        found = compute_multiplier(curves["winner"], curves[name], seed=setting.seed)
        multipliers[name], said = _described(found, signals + setting.search_seconds, seconds, setting.named[1])
        sentences += said
    if setting.split == "dev":
        sentences.append("The curves were scored on dev, which chose the winner: they favour it.")
    many = len(setting.units)
    if many == 1:
        sentences.append(f"One {setting.named[0]}: no interval.")
    elif many < _FEW:
        sentences.append(
            f"{many} {setting.named[1]}: the intervals, percentiles of a bootstrap over them, are too narrow (docs/statistics.md)."
        )
    if report.get("cached") or any(signal["cached"] for signal in report.get("signals", {}).values()):
        sentences.append("Some signals came from the cache: what computing them once cost is not in the net figures.")
    return {
        "split": setting.split,
        "units": setting.named[1],
        "budgets": list(tokens),
        "curves": {
            arm: {"tokens": curve.tokens.tolist(), "scores": curve.scores.tolist()} for arm, curve in curves.items()
        },
        "costs": {"signals_s": signals, "search_s": setting.search_seconds, "token_s": seconds},
        "multipliers": multipliers,
        "failed": failed,
        "sentences": sentences,
    }


def _described(found: Multiplier, overhead: float, token: float, units: str) -> tuple[dict[str, Any], list[str]]:
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
            f"Over {units} (95%): {found.interval[0]:.3g} to {high}; in {found.reached or 0:.0%} of the draws "
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


def _curve(arm: str, results: Results, tokens: Sequence[int], setting: Setting) -> Curve:
    """One arm's curve at the budgets where every unit has all its trainings, each with their mean; tokens are those really trained
    on."""
    found = [[results.get((arm, budget, unit), ()) for unit in setting.units] for budget in tokens]
    columns = [
        column
        for column in found
        if all(len(several) == setting.seeds and not any(r.failure for r in several) for several in column)
    ]
    if len(columns) < 2:
        raise StudyError(
            f"{setting.folder}: the curve of '{arm}' has fewer than two budgets at which all trainings succeeded; see "
            f"{FOLDER}/{JOURNAL}, and lower the learning rate or add budgets."
        )
    used = np.array([np.mean([r.train_tokens for several in column for r in several]) for column in columns])
    scores = np.array([[np.mean([r.score for r in several]) for several in column] for column in columns])
    # A training sees whole rows: small budgets may come to the same ones.
    used, first = np.unique(used, return_index=True)
    if len(used) < 2:
        raise StudyError(
            f"{setting.folder}: all budgets of '{arm}' that trained ended with the same rows ({used[0]:,.0f} tokens), as a training "
            "sees whole rows: name larger budgets."
        )
    return Curve(arm, used, scores[first].T)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
