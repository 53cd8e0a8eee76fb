"""Short trainings first: what they cost, who is promoted, and that they never win."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoselection.evaluation.config import SFTConfig
from autoselection.search import Observation, SearchConfig, SearchController
from autoselection.search.fidelity import on_full_scale

SHORT = {"level": 0.2, "warmup": 5, "share": 0.4}


def search(small, config, bias=-0.5):
    """A whole search; short trainings score lower than full ones, but rank alike."""
    controller = SearchController(small.signals, config)
    while candidates := controller.ask():
        for candidate in candidates:
            score = small.score(candidate.rows)
            controller.tell(Observation(candidate.id, score if candidate.fidelity == 1.0 else 0.6 * score + bias))
    return controller


@pytest.fixture(scope="module")
def done(small):
    return search(small, SearchConfig(evaluations=6, seed=2, proposals=12, min_rows=10, fidelity=SHORT))


def test_the_budget_counts_costs_and_ends_with_a_full_evaluation_paid(done):
    assert 5.0 < done.spent <= 6.0 + 1e-9
    short = [c for c in done.candidates if c.fidelity < 1.0]
    assert {c.fidelity for c in short} == {0.2}
    assert [c.origin for c in done.candidates[:5]] == ["warmup"] * 5
    assert 0.2 * len(short) <= 0.4 * done.spent + 0.2, "no more than their share"
    assert done.candidates[-1].fidelity == 1.0, "a short training that nothing can follow is not paid for"


def test_every_full_evaluation_is_the_promotion_of_a_short_one(done):
    by_id = {c.id: c for c in done.candidates}
    promoted = [c for c in done.candidates if c.fidelity == 1.0]
    assert promoted and all(c.origin == "promotion" and c.prediction is not None for c in promoted)
    assert all(by_id[c.of].subset_hash == c.subset_hash and by_id[c.of].fidelity < 1.0 for c in promoted)
    assert len({c.subset_hash for c in promoted}) == len(promoted), "nothing is promoted twice"
    shorts = [c.subset_hash for c in done.candidates if c.fidelity < 1.0]
    assert len(set(shorts)) == len(shorts)


def test_the_first_promotion_is_the_best_of_the_short_trainings(done):
    first = next(c for c in done.candidates if c.fidelity == 1.0)
    before = [t for t in done.history if t.candidate.number < first.number]
    assert first.of == max(before, key=lambda trial: trial.score).id


def test_a_short_training_never_wins(small):
    """Even if its score is far above all full ones."""
    done = search(small, SearchConfig(evaluations=4, proposals=12, min_rows=10, fidelity=SHORT), bias=+50.0)
    assert done.best is not None and done.best.full and done.best.score < 10
    assert all(trial.score < 10 for trial in done.standing if trial.full)


def test_it_can_be_replayed(done, small):
    again = SearchController(small.signals, done.config)
    again.replay(trial.observation for trial in done.history)
    assert json.dumps([c.to_dict() for c in again.candidates]) == json.dumps([c.to_dict() for c in done.candidates])


def test_failed_short_trainings_are_not_promoted(small):
    controller = SearchController(small.signals, SearchConfig(evaluations=4, proposals=12, min_rows=10, fidelity=SHORT))
    while candidates := controller.ask():
        for candidate in candidates:
            fails = candidate.fidelity < 1.0 and candidate.number % 2 == 0
            controller.tell(Observation(candidate.id, None if fails else small.score(candidate.rows)))
    assert {int(c.of[1:]) % 2 for c in controller.candidates if c.of} == {1}


def test_short_scores_move_to_the_line_of_those_that_have_both():
    scores = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 10.0, 12.0])
    moved = on_full_scale(scores, [0.1] * 5 + [1.0] * 2, ["a", "b", "c", "d", "e", "b", "d"])
    assert np.array_equal(moved[5:], scores[5:])
    assert moved[1] + moved[3] == pytest.approx(22.0), "through the mean of both"
    assert np.allclose(np.diff(moved[:5]), np.diff(moved[:5])[0]) and (np.diff(moved[:5]) == 1.0).all()
    steep = on_full_scale(
        np.r_[np.arange(40.0), 3 * np.arange(40.0)], [0.1] * 40 + [1.0] * 40, [*map(str, range(40))] * 2
    )
    assert 2.5 < steep[1] - steep[0] < 3.0, "with many pairs the slope is that of the data, nearly"


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8))
def test_without_pairs_scores_stay(scores):
    names = [str(place) for place in range(len(scores))]
    assert np.array_equal(on_full_scale(np.array(scores), [0.1] * len(scores), names), scores)
    assert np.array_equal(on_full_scale(np.array(scores), [1.0] * len(scores), names), scores)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [({"max_steps": 200}, ("max_steps", 22)), ({"max_tokens": 900}, ("max_tokens", 100)), ({}, ("epochs", 1 / 3))],
)
def test_a_short_training_has_its_share_of_whichever_budget(budget, expected):
    short = SFTConfig(**budget).shortened(1 / 9)
    assert getattr(short, expected[0]) == pytest.approx(expected[1])
    assert SFTConfig.model_validate(short.model_dump()) == short
    with pytest.raises(ValueError, match="fidelity"):
        SFTConfig().shortened(0.0)


def test_the_slope_of_two_pairs_is_shrunk_to_one_and_never_falls():
    levels, subsets = [0.1] * 5 + [1.0] * 2, ["a", "b", "c", "d", "e", "b", "d"]
    short = [0.0, 1.0, 2.0, 3.0, 4.0]  # variance 2: the belief weighs 3 * 2, the two pairs 1 + 1
    moved = on_full_scale(np.array([*short, 10.0, 14.0]), levels, subsets)
    assert moved[:5] == pytest.approx(12.0 + (1 * 6 + 2 * 2) / (6 + 2) * (np.array(short) - 2.0))
    moved = on_full_scale(np.array([*short, 90.0, 10.0]), levels, subsets)
    assert moved[:5] == pytest.approx([50.0] * 5)
