"""What a study's journal says about its proxies."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.diagnose.agreement import agreements
from autoselection.diagnose.correlation import MIN_TRIALS, RESAMPLES, Array
from autoselection.diagnose.diagnosis import Diagnosis, Predicted, Proxy, diagnose, state_proxies, token_counts
from autoselection.errors import PoolError, SignalError, StudyError
from autoselection.search import SearchController
from autoselection.signals import SignalTable
from autoselection.study import Study, Trial
from autoselection.study.named_pools import open_scored_pool

LEFT_OUT = "surrogate, trial left out"


def diagnose_study(study: Study, *, seed: int = 0, resamples: int = RESAMPLES) -> Diagnosis:
    """Correlate every cheap proxy of a study with the dev score of the full evaluation, and the score with right answers.

    State fields, numbers of rows and tokens, predictions as journalled before the evaluation, predictions of the
    surrogate without the trial (recomputed), cheaper evaluations and test scores where the journal has them. Failed
    trials have no score and are left out. Without the pool (moved, deleted) what needs it is left out with a note.

    Args:
        seed: of the bootstrap.
        resamples: of the bootstrap (count).
    """
    trials = [trial for trial in study.subsets() if trial.score is not None]
    truth = np.array([trial.score for trial in trials], np.float64)
    notes = []
    failed = sum(1 for trial in study.subsets() if trial.failure)
    if failed:
        notes.append(f"{failed} failed trial(s) have no score and are left out.")
    proxies = state_proxies([trial.record["state"] for trial in trials])
    proxies.append(Proxy("rows", "size", np.array([trial.record["rows"] for trial in trials], np.float64)))
    before = _journalled(trials)
    proxies += [Proxy(f"{before.name}: mu", "prediction", before.mu)]
    proxies += [Proxy(f"{before.name}: ucb", "prediction", _recorded(trials, "ucb"))]
    predicted = [before]
    table = study_table(study, notes)
    if table is not None:
        rows = [study.rows(trial.id) for trial in trials]
        proxies += token_counts(table, rows)
        if len(trials) >= MIN_TRIALS:
            left_out = _left_out(study, table, trials, rows, truth)
            predicted.append(left_out)
            proxies.append(Proxy(f"{left_out.name}: mu", "left out", left_out.mu))
    proxies += _cheaper(study, trials)
    proxies.append(Proxy("test score", "test", _test_scores(study, trials)))
    return diagnose(
        f"Study {study.config.name}",
        "dev score",
        proxies,
        truth,
        predicted,
        notes=notes,
        agreements=agreements(study),
        seed=seed,
        resamples=resamples,
    )


def _recorded(trials: list[Trial], field: str) -> Array:
    predictions = [trial.record.get("prediction") or {} for trial in trials]
    return np.array([found.get(field, np.nan) for found in predictions], np.float64)


def _journalled(trials: list[Trial]) -> Predicted:
    return Predicted("surrogate before the evaluation", _recorded(trials, "mu"), _recorded(trials, "sigma"))


def study_table(study: Study, notes: list[str]) -> SignalTable | None:
    """The signals as the study had them; None, with a note, if they are gone."""
    if not study.journal.of("study"):
        return None
    try:
        return open_scored_pool(study.path).table
    except (PoolError, SignalError, StudyError) as error:
        notes.append(f"Numbers of tokens and left-out predictions need the study's pool, which cannot be read: {error}")
        return None


def _left_out(
    study: Study, table: SignalTable, trials: list[Trial], rows: list[NDArray[np.int64]], truth: Array
) -> Predicted:
    """Predict each trial by the study's own surrogate from all others."""
    settings = study.config.search.model_copy(update={"initial": (), "include_full": False, "min_rows": 1})
    recipes = [trial.recipe for trial in trials]
    predictions = SearchController(table, settings).predictions
    points = predictions.inputs.points(recipes, rows)
    found = []
    for place, point in enumerate(points):
        others = [*points[:place], *points[place + 1 :]]
        found += predictions.elsewhere(others, np.delete(truth, place), [point])
    mu = np.array([prediction.mu for prediction in found], np.float64)
    sigma = np.array([prediction.sigma for prediction in found], np.float64)
    return Predicted(LEFT_OUT, mu, sigma)


def _cheaper(study: Study, trials: list[Trial]) -> list[Proxy]:
    """Score of the cheaper evaluation of the same subset, at each level."""
    short: dict[tuple[float, str], dict[str, float]] = {}
    for trial in study.all_trials():
        if trial.fidelity < 1.0 and trial.score is not None:
            short.setdefault((trial.fidelity, trial.model), {})[trial.record["subset_hash"]] = trial.score
    return [
        Proxy(
            f"dev score of model {model}" if model else f"dev score at fidelity {fidelity:.3g}",
            "fidelity",
            np.array([scores.get(trial.record["subset_hash"], np.nan) for trial in trials], np.float64),
        )
        for (fidelity, model), scores in sorted(short.items())
    ]


def _test_scores(study: Study, trials: list[Trial]) -> Array:
    """Mean test score over seeds of every trial whose subset stands in the final table."""
    by_subset: dict[Any, list[float]] = {}
    plan = study.journal.of("final_plan")
    entries = {entry["name"]: entry["subset_hash"] for entry in plan[-1]["entries"]} if plan else {}
    for name, results in study.final_results().items():
        if results and not any(result.failure for result in results.values()):
            by_subset[entries[name]] = [result.score for result in results.values()]
    return _by_id(
        trials,
        {trial.id: by_subset[h] for trial in trials if (h := trial.record["subset_hash"]) in by_subset},
    )


def _by_id(trials: list[Trial], scores: dict[str, list[float]]) -> Array:
    return np.array([np.mean(scores[trial.id]) if trial.id in scores else np.nan for trial in trials], np.float64)
