"""Floors: the best score among what keeps them is looked for, and what misses them is never the best."""

from __future__ import annotations

import numpy as np
import pytest

from autoselection.errors import ConfigError, StudyError
from autoselection.search import Observation, SearchConfig, SearchController
from autoselection.search.history import SearchHistory

FLOORS = {"kept": 0.5}


def observed(small, candidate):
    """``kept`` is a skill that a subset forgets as it leaves out the rows of no task, which are worth nothing to the score."""
    off = np.flatnonzero(small.task == 3)
    tasks = {"wanted": small.score(candidate.rows), "kept": float(np.isin(off, candidate.rows).mean())}
    return Observation(candidate.id, tasks["wanted"], tasks)


def searched(small, floors, **changes):
    config = SearchConfig(**{"evaluations": 11, "seed": 1, "proposals": 40, "min_rows": 10, **changes})
    controller = SearchController(small.signals, config, floors=floors)
    while candidates := controller.ask():
        for candidate in candidates:
            controller.tell(observed(small, candidate))
    return controller


def keeping(trials):
    return [trial for trial in trials if trial.observation.tasks["kept"] >= FLOORS["kept"]]


def test_the_search_finds_the_best_of_what_keeps_the_floor(small):
    free, bound = searched(small, None), searched(small, FLOORS)
    assert [c.to_dict() for c in free.candidates[:2]] == [c.to_dict() for c in bound.candidates[:2]]
    assert free.best.observation.tasks["kept"] < FLOORS["kept"], "unbound it forgets"
    assert len(keeping(bound.history)) > len(keeping(free.history))
    assert bound.best.score == max(trial.score for trial in keeping(bound.history))
    assert bound.best.score < max(trial.score for trial in bound.history), (
        "what misses the floor scores higher, and is not it"
    )
    assert bound.best.score > max((trial.score for trial in keeping(free.history)), default=-np.inf)

    again = SearchController(small.signals, bound.config, floors=FLOORS)
    again.replay(trial.observation for trial in bound.history)
    assert [c.to_dict() for c in again.candidates] == [c.to_dict() for c in bound.candidates]
    later = bound.candidates[2:]
    assert all(0 <= c.prediction.meets <= 1 for c in later if c.origin in ("edit", "fresh"))
    assert "within the floors" in bound.rounds[4].decisions[0].reason
    (said,) = [finding.text for finding in bound.findings if finding.kind == "floors"]
    assert said.startswith(f"{len(keeping(bound.standing))} of 11 trials meet every floor; ") and "kept " in said
    assert not any(finding.kind == "floors" for finding in free.findings)


def test_candidates_of_a_round_and_short_trainings_and_repeats_come_with_floors_too(small):
    done = searched(
        small,
        FLOORS,
        evaluations=8,
        batch=2,
        proposals=12,
        fidelity={"level": 0.25, "warmup": 6},
        repeats={"enabled": True, "after": 2},
        surrogate={"acquisition": "ucb"},
    )
    assert done.best.full and any(not trial.full for trial in done.history)
    best = [trial for trial in done.standing if trial.full]
    assert done.best.id == max(best, key=lambda t: (min(t.observation.tasks["kept"], FLOORS["kept"]), t.score)).id


def test_while_nothing_keeps_the_floors_the_best_misses_them_least(small):
    controller = SearchController(small.signals, SearchConfig(evaluations=4, min_rows=10), floors={"a": 0.5, "b": 0.5})
    scores = [(9.0, 0.1, 0.9), (5.0, 0.4, 0.45), (6.0, 0.5, 0.2), (1.0, 0.6, 0.5)]
    for number, (score, a, b) in enumerate(scores):
        (candidate,) = controller.ask(1)
        controller.tell(Observation(candidate.id, score, {"a": a, "b": b}))
        assert controller.best.id == ("t001", "t002", "t002", "t004")[number]
    assert controller.stagnation == 0


def test_short_trainings_do_not_count_as_keeping_the_floors(small):
    """They forget little: every one is above the floor, and no full training is."""
    config = SearchConfig(evaluations=8, min_rows=10, seed=1, proposals=12, fidelity={"level": 0.25, "warmup": 6})
    controller = SearchController(small.signals, config, floors=FLOORS)
    while candidates := controller.ask():
        for candidate in candidates:
            score, full = small.score(candidate.rows), candidate.fidelity == 1.0
            kept = 0.08 * np.cos(3 * candidate.number) + (0.4 if full else 0.9)
            controller.tell(Observation(candidate.id, score, {"wanted": score, "kept": kept}))
    decided = [c for c in controller.candidates if c.prediction is not None and c.prediction.meets is not None]
    assert max(candidate.prediction.meets for candidate in decided) > 0.01
    for candidate in decided:
        assert np.exp(candidate.prediction.log_ei) == pytest.approx(candidate.prediction.meets), "the probability alone"
    (said,) = [finding.text for finding in controller.findings if finding.kind == "floors"]
    full = sum(trial.full for trial in controller.standing)
    assert said.startswith(f"0 of {full} full evaluations meet every floor")
    short = [trial for trial in controller.standing if not trial.full]
    assert short and all(trial.observation.tasks["kept"] < FLOORS["kept"] for trial in short), "on the full scale"
    assert all(trial.observation.tasks["kept"] > 0.8 for trial in controller.history if not trial.full), "as told"


def test_a_score_without_the_task_that_has_a_floor_is_refused(small):
    controller = SearchController(small.signals, SearchConfig(evaluations=4, min_rows=10), floors=FLOORS)
    (candidate,) = controller.ask(1)
    with pytest.raises(StudyError, match="Trial t001: task 'kept' has a floor and no score: tell an Observation with"):
        controller.tell(Observation(candidate.id, 1.0))
    controller.tell(Observation(candidate.id, None, reason="diverged"))
    assert controller.best is None


def test_new_bests_that_only_keep_the_floor_count_against_stagnation(small):
    history = SearchHistory(SearchConfig(), FLOORS)
    asked = searched(small, None, evaluations=6).candidates
    for number, candidate in enumerate(asked):
        history.ask(candidate)
        history.tell(Observation(candidate.id, 10.0 - number, {"kept": 0.1 if number < 5 else 0.9}))
    assert history.best.id == asked[5].id and history.stagnation == 0


def test_a_floor_is_a_finite_number(small):
    with pytest.raises(ConfigError, match="The floor of the task 'kept' is nan"):
        SearchController(small.signals, SearchConfig(min_rows=10), floors={"kept": float("nan")})
