"""What a reproduction says about its proxies: over every subset that was trained and scored on dev, whoever asked for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from autoselection.diagnose import (
    Diagnosis,
    Proxy,
    agreements_of,
    diagnose,
    signal_means,
    state_proxies,
    token_counts,
)
from autoselection.diagnose.correlation import RESAMPLES, Array
from autoselection.evaluation import EvaluationResult
from autoselection.ledger import UNTRAINED
from autoselection.recipes import state_vectors
from autoselection.reproduce.config import with_ood
from autoselection.reproduce.folder import open_part
from autoselection.reproduce.results import Stored
from autoselection.reproduce.rows import Rows
from autoselection.reproduce.searches import trained_rows
from autoselection.signals import SignalTable
from autoselection.study import Trial
from autoselection.study.named_pools import begun_table
from autoselection.tasks import overall


def diagnose_reproduction(path: Path, *, seed: int = 0, resamples: int = RESAMPLES) -> Diagnosis:
    """Correlate what is known of a subset without training it with its dev score, and the score with right answers.

    A trial is a subset that was trained in full, its score the mean over all its trainings, of whatever replicate. Proxies
    are the state fields, the mean of every signal, numbers of rows and tokens, and test scores where there are any.

    Args:
        path: a model's folder in a reproduction, or that of a reproduction of one model. It may be running.
        seed: of the bootstrap.
        resamples: of the bootstrap (count).

    Raises:
        PoolError, SignalError: the pool or its signals are gone.
        StudyError: there is no reproduction, or nothing was trained yet.
    """
    part = open_part(path)
    trials = _dev_trials(part.stored)
    scored = [trial for trial in trials if trial.score is not None]
    table = begun_table(part.folder, part.stored.study, part.journal.of("study")[0])
    rows = trained_rows(part, table)
    trainings = sum(len(trial.results) for trial in scored)
    notes = [
        f"{len(scored)} subsets with {trainings} trainings of {len(part.stored.config.seeds)} replicates; a subset's score is the "
        "mean over its trainings."
    ]
    if failed := len(trials) - len(scored):
        notes.append(f"{failed} subset(s) with a failed training have no score and are left out.")
    if unknown := sum(trial.id not in rows for trial in scored):
        notes.append(
            f"Of {unknown} subset(s) no search or recipe of the configuration asks for the rows: only their scores are known."
        )
    return diagnose(
        f"Reproduction {part.stored.config.name}, {part.folder.name}",
        "dev score",
        [*_proxies(scored, [rows.get(trial.id) for trial in scored], table), _on_test(part.stored, scored)],
        np.array([trial.score for trial in scored], np.float64),
        notes=notes,
        agreements=agreements_of(part.stored.study.tasks, scored),
        seed=seed,
        resamples=resamples,
    )


def _dev_trials(stored: Stored) -> list[Trial]:
    """Every subset that was trained in full by the study's settings, with its results on dev by training seed."""
    results: dict[str, dict[int, EvaluationResult]] = {}
    sizes: dict[str, int] = {}
    for event in stored.evaluations("dev", stored.digest(stored.study)):
        subset = event["subset_hash"]
        sizes[subset] = event["rows"]
        results.setdefault(subset, {})[event["seed"]] = EvaluationResult.from_dict(event["result"])
    return [Trial(subset, {"rows": sizes[subset]}, found) for subset, found in results.items() if subset != UNTRAINED]


def _proxies(trials: Sequence[Trial], subsets: Sequence[Rows | None], table: SignalTable) -> list[Proxy]:
    """What is known of subsets without training; NaN where their rows are not known."""
    known = np.array([rows is not None for rows in subsets], bool)
    found = [rows for rows in subsets if rows is not None]

    def spread(proxy: Proxy) -> Proxy:
        values = np.full(len(subsets), np.nan)
        values[known] = proxy.values
        return Proxy(proxy.name, proxy.kind, values)

    of_rows = [
        *state_proxies([state.to_dict() for state in state_vectors(found, table)]),
        *token_counts(table, found),
        *signal_means(table, found),
    ]
    return [
        Proxy("rows", "size", np.array([trial.size for trial in trials], np.float64)),
        *(spread(proxy) for proxy in of_rows),
    ]


def _on_test(stored: Stored, trials: Sequence[Trial]) -> Proxy:
    """Mean test score over the tasks of the study and all seeds, of subsets that were scored on test."""
    scores: dict[str, list[float]] = {}
    for event in stored.evaluations("test", stored.digest(with_ood(stored.study, stored.config))):
        result = EvaluationResult.from_dict(event["result"])
        if result.failure is None:
            scores.setdefault(event["subset_hash"], []).append(overall(_of(result.scores, stored), stored.study.tasks))
    values: Array = np.array([np.mean(scores.get(trial.id, [np.nan])) for trial in trials], np.float64)
    return Proxy("test score", "test", values)


def _of(scores: Mapping[str, float], stored: Stored) -> dict[str, float]:
    return {task.name: scores[task.name] for task in stored.study.tasks}
