"""Findings: what the trials so far say, as sentences that each name their numbers and the trials behind them.

Rule-written, from three scored trials on, the strongest first. They inform people (and a language model in the
proposer's role); the rule-based search itself works from scores and credit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.stats import spearmanr

from autoselection.operators import OperatorRegistry, in_role
from autoselection.recipes import Step
from autoselection.search.credit import Credit
from autoselection.search.history import SearchHistory
from autoselection.search.records import EvaluatedCandidate, Finding
from autoselection.statistics import all_alike, without_rounding
from autoselection.tasks import missed_by

MIN_TRIALS = 3
MIN_TRIALS_FOR_CORRELATION = 5
STRONG_CORRELATION = 0.5


def summarise(history: SearchHistory, registry: OperatorRegistry) -> tuple[Finding, ...]:
    """Findings of all told trials, in a fixed order of kinds, the strongest of a kind first."""
    trials, credit = history.standing, history.credit
    scored = [trial for trial in trials if trial.score is not None]
    failed = [trial for trial in trials if trial.score is None]
    findings: list[Finding] = []
    if failed:
        text = f"{len(failed)} of {len(trials)} evaluations failed: " + "; ".join(
            f"{trial.id} ({trial.observation.reason or 'no reason given'})" for trial in failed
        )
        findings.append(Finding("failures", text + ".", tuple(trial.id for trial in failed), float(len(failed))))
    if len(scored) < MIN_TRIALS:
        return tuple(findings)
    scores = np.array([trial.score for trial in scored], np.float64)
    findings += _floors(scored, history)
    findings += _leader(history.ordered(scored))
    findings += sorted(_operators(scored, scores, registry), key=_strength)[:4]
    findings += _credit(credit)
    findings += sorted(_correlations(scored, scores), key=_strength)[:3]
    findings += _tasks(scored, history)
    return tuple(findings)


def _strength(finding: Finding) -> tuple[float, str]:
    return -abs(finding.value), finding.text


def _floors(scored: Sequence[EvaluatedCandidate], history: SearchHistory) -> Iterator[Finding]:
    """How many full evaluations meet the floors, and what the best score that does not would be."""
    full = [trial for trial in scored if trial.full]
    best = history.leading(full)
    if not history.floors or best is None:
        return
    met = [trial for trial in full if history.meets(trial)]
    top = max(full, key=lambda trial: (trial.score or 0.0, trial.candidate.number))
    kind = "trials" if len(full) == len(scored) else "full evaluations"
    text = f"{len(met)} of {len(full)} {kind} meet every floor"
    if top.id != best.id:
        missed = [
            f"{task} {top.observation.tasks[task]:.4f} below {floor:.4f}"
            for task, floor in history.floors.items()
            if missed_by(top.observation.tasks[task], floor)
        ]
        text += f"; {top.id} scores higher than the leader, {top.score:.4f}, and does not ({', '.join(missed)})"
    yield Finding("floors", f"{text}.", tuple(trial.id for trial in met), float(len(met)))


def _leader(ordered: Sequence[EvaluatedCandidate]) -> Iterator[Finding]:
    best, second = ordered[:2]
    assert best.score is not None and second.score is not None
    gap = float(best.score - second.score)
    lead = f", {gap:.4f} above {second.id}" if gap >= 0 else ""  # below it, if that one misses a floor
    yield Finding(
        "leader",
        f"{best.id} leads with {best.score:.4f}{lead}: "
        f"{best.candidate.recipe.describe()} ({len(best.candidate.rows)} rows).",
        (best.id, second.id),
        gap,
    )


def _operators(
    scored: Sequence[EvaluatedCandidate], scores: np.ndarray, registry: OperatorRegistry
) -> Iterator[Finding]:
    """Mean score with and without each operator (filters by the end they keep), where both sides have two trials."""
    labels = [{_label(step, registry) for step in trial.candidate.recipe.steps} for trial in scored]
    for label in sorted(set().union(*labels)):
        has = np.array([label in present for present in labels])
        if has.sum() < 2 or (~has).sum() < 2:
            continue
        gain = float(scores[has].mean() - scores[~has].mean())
        yield Finding(
            "operator",
            f"Recipes with {label} average {scores[has].mean():.4f} ({has.sum()} trials), the others "
            f"{scores[~has].mean():.4f} ({(~has).sum()}): {gain:+.4f}.",
            tuple(trial.id for trial, present in zip(scored, has, strict=True) if present),
            gain,
        )


def _label(step: Step, registry: OperatorRegistry) -> str:
    end = in_role(registry.get(step.operator).params, "end")
    kept = None if end is None else step.params.get(end.name)
    return f"{step.operator} ({kept})" if kept else step.operator


def _credit(credit: Credit) -> Iterator[Finding]:
    ranked = sorted(credit.operators.items(), key=lambda item: (-item[1].total, item[0]))
    if not ranked:
        return
    name, share = ranked[0]
    if share.total > 0:
        yield Finding(
            "credit", f"Edits credit {name} most: {share.total:+.4f} over {share.count} changes.", (), share.total
        )
    name, share = ranked[-1]
    if share.total < 0:
        yield Finding(
            "credit", f"Edits blame {name} most: {share.total:+.4f} over {share.count} changes.", (), share.total
        )


def _correlations(scored: Sequence[EvaluatedCandidate], scores: np.ndarray) -> Iterator[Finding]:
    """State fields whose rank correlation with the score is strong."""
    if len(scored) < MIN_TRIALS_FOR_CORRELATION or all_alike(scores):
        return
    fields: dict[str, Callable[[EvaluatedCandidate], float | None]] = {
        "retain_ratio": lambda trial: trial.candidate.state.retain_ratio,
        "token_ratio": lambda trial: trial.candidate.state.token_ratio,
        "distribution_drift": lambda trial: trial.candidate.state.distribution_drift,
        "score_mean": lambda trial: trial.candidate.state.score_mean,
        "mean_ifd": lambda trial: trial.candidate.state.mean_ifd,
        "mean_varentropy": lambda trial: trial.candidate.state.mean_varentropy,
    }
    for name, get in fields.items():
        values = [get(trial) for trial in scored]
        known = np.array([np.nan if value is None else value for value in values], np.float64)
        if not np.isfinite(known).all() or all_alike(known):
            continue
        rho = float(spearmanr(without_rounding(known), without_rounding(scores)).statistic)
        if abs(rho) >= STRONG_CORRELATION:
            top = known[np.argmax(scores)]
            yield Finding(
                "state",
                f"Score {'rises' if rho > 0 else 'falls'} with {name} (rank correlation {rho:+.2f} over "
                f"{len(scored)} trials; the best recipe has {top:.3f}).",
                tuple(trial.id for trial in scored),
                rho,
            )


def _tasks(scored: Sequence[EvaluatedCandidate], history: SearchHistory) -> Iterator[Finding]:
    """Tasks on which the leader is far from the best that any trial reached."""
    leader = history.leading(scored)
    assert leader is not None
    for task in sorted(leader.observation.tasks):
        having = [trial for trial in scored if task in trial.observation.tasks]
        best = max(having, key=lambda trial: (trial.observation.tasks[task], trial.candidate.number))
        gap = best.observation.tasks[task] - leader.observation.tasks[task]
        if gap > 0:
            yield Finding(
                "task",
                f"On {task} the leader {leader.id} scores {leader.observation.tasks[task]:.4f}, {gap:.4f} below "
                f"{best.id} ({best.candidate.recipe.describe()}).",
                (leader.id, best.id),
                gap,
            )
