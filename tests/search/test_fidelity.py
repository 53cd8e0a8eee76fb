"""Short trainings first: what they cost, who is promoted, and that they never win."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoselection.evaluation.config import SFTConfig
from autoselection.search import Observation, SearchConfig, SearchController
from autoselection.search.ranker import Known, Point
from autoselection.search.series import aligned
from autoselection.search.surrogate import GaussianProcess

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


def test_the_first_short_trainings_are_the_halves_of_scores(done, small):
    """Ends of a score stand side by side, at the same size; what was evaluated otherwise is passed over."""
    first = [c.recipe.steps[0] for c in done.candidates[:4]]
    assert all(len(c.recipe.steps) == 1 for c in done.candidates[:5])
    assert first[0].operator == first[1].operator and first[2].operator == first[3].operator
    assert (
        {step.params["direction"] for step in first[:2]}
        == {"low", "high"}
        == {s.params["direction"] for s in first[2:]}
    )
    halves = [c for c in done.candidates if c.origin == "warmup"]
    pairs = Counter(c.recipe.steps[0].operator for c in halves)
    assert len(halves) == 6 and set(pairs.values()) == {2}, (
        "five are asked for, and the third score's other end comes too"
    )
    n = len(small.signals.selectable)
    assert all(abs(len(c.rows) / n - 0.5) <= 0.05 for c in halves), [len(c.rows) for c in halves]
    again = SearchController(
        small.signals,
        SearchConfig(evaluations=6, seed=2, proposals=12, min_rows=10, fidelity={**SHORT, "warmup": 40}),
        initial=[done.candidates[0].recipe],
    )
    asked = []
    while len(asked) < 30 and (candidates := again.ask()):
        asked += candidates
        for candidate in candidates:
            again.tell(Observation(candidate.id, small.score(candidate.rows)))
    halves = [c for c in asked if c.edit.startswith("half of a score")]
    assert asked[0].fidelity == 1.0 and asked[0].recipe.steps[0] not in [c.recipe.steps[0] for c in halves]
    assert len({c.subset_hash for c in halves}) == len(halves) >= 7
    assert {c.origin for c in asked[1:]} == {"warmup"}
    assert len(halves) < len(asked) - 1, "then come probes"


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


SHORTLY, FULLY = (0, "", 0.9), (0, "", 0.0)


def test_short_scores_move_to_the_line_of_those_that_have_both():
    scores = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 10.0, 12.0])
    moved = aligned(scores, [SHORTLY] * 5 + [FULLY] * 2, ["a", "b", "c", "d", "e", "b", "d"])
    assert np.array_equal(moved[5:], scores[5:])
    assert moved[1] + moved[3] == pytest.approx(22.0), "through the mean of both"
    assert np.allclose(np.diff(moved[:5]), np.diff(moved[:5])[0]) and (np.diff(moved[:5]) == 1.0).all()
    steep = aligned(
        np.r_[np.arange(40.0), 3 * np.arange(40.0)], [SHORTLY] * 40 + [FULLY] * 40, [*map(str, range(40))] * 2
    )
    assert 2.5 < steep[1] - steep[0] < 3.0, "with many pairs the slope is that of the data, nearly"


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8))
def test_scores_of_one_kind_stay(scores):
    names = [str(place) for place in range(len(scores))]
    for series in (SHORTLY, FULLY, (1, "", 0.0)):
        assert np.array_equal(aligned(np.array(scores), [series] * len(scores), names), scores)


def test_without_pairs_short_scores_have_the_mean_of_full_ones():
    moved = aligned(np.array([1.0, 2.0, 3.0, -7.0]), [SHORTLY] * 3 + [FULLY], ["a", "b", "c", "d"])
    assert moved.tolist() == [-8.0, -7.0, -6.0, -7.0]


def test_a_short_training_that_diverged_moves_no_other_score():
    short, full = np.array([0.0, 0.1, 0.2, 0.3, 0.4]), np.array([10.1, 10.3])
    where = ([SHORTLY] * 5 + [FULLY] * 2, ["a", "b", "c", "d", "e", "b", "d"])
    calm = aligned(np.r_[short, full], *where)
    for place in (0, 1):  # one that was trained fully, too, and one that was not
        wild = short.copy()
        wild[place] = -100.0
        moved = aligned(np.r_[wild, full], *where)
        others = [other for other in range(5) if other != place]
        assert moved[place] == moved[others].min()
        assert np.ptp(moved[others]) == pytest.approx(np.ptp(calm[others]), rel=0.2)
        assert abs(moved[:5] - calm[:5]).max() < 0.2


def test_scores_of_another_measure_are_brought_to_a_like_spread():
    """A share of right answers beside a loss a hundredth as wide: no step of the one is a step of the other."""
    loss = np.array([-0.51, -0.50, -0.49])
    moved = aligned(np.r_[loss, [20.0, 50.0, 80.0]], [FULLY] * 3 + [(1, "", 0.0)] * 3, [*"abcdef"])
    assert moved[3:].mean() == pytest.approx(-0.5) and moved[3:].std() == pytest.approx(2 * loss.std())


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


def test_the_slope_of_two_pairs_is_shrunk_to_one_and_never_flat():
    series, subsets = [SHORTLY] * 5 + [FULLY] * 2, ["a", "b", "c", "d", "e", "b", "d"]
    short = [0.0, 1.0, 2.0, 3.0, 4.0]  # variance 2: the belief weighs 3 * 2, the two pairs 1 + 1
    moved = aligned(np.array([*short, 10.0, 14.0]), series, subsets)
    assert moved[:5] == pytest.approx(12.0 + (1 * 6 + 2 * 2) / (6 + 2) * (np.array(short) - 2.0))
    moved = aligned(np.array([*short, 90.0, 10.0]), series, subsets)
    assert moved[:5] == pytest.approx(50.0 + 0.25 * (np.array(short) - 2.0))


def _line(short, full, ask=(), seed=0, offset=-3.0, factor=1.0):
    """Subsets on a line whose score is twice their feature: predictions of full scores at ``ask``."""
    made = [Point(np.arange(1), np.array([x]), np.zeros(0), 0.2) for x in short]
    made += [Point(np.arange(1), np.array([x]), np.zeros(0)) for x in full]
    scores = np.r_[factor * 2.0 * np.array(short) + offset, 2.0 * np.array(full)]
    subsets = [f"{x:.3f}" for x in (*short, *full)]
    moved = aligned(scores, [point.series for point in made], subsets)
    known = Known(made, moved, np.ones(1))
    asked = [Point(np.arange(1), np.array([x]), np.zeros(0)) for x in ask]
    ranker = GaussianProcess(SearchConfig(surrogate={"features": "state", "prior": False, "robust": False}))
    return ranker.predict(known, asked, 0.0, seed)[len(made) :]


SPREAD = np.linspace(-2.0, 2.0, 9)


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_short_scores_rank_recipes_before_any_has_both(factor):
    """One full score, of a recipe that was never trained shortly."""
    found = _line(SPREAD, [0.1], SPREAD, factor=factor)
    mu = [prediction.mu for prediction in found]
    assert (np.diff(mu) > 0).all() and abs(np.mean(mu) - 0.2) < 1.0, "around the full score, not the short ones"
    alone = _line((), [0.1], SPREAD)
    assert np.ptp([prediction.mu for prediction in alone]) < 0.5 * np.ptp(mu)


def test_an_intercept_is_learnt_from_pairs():
    """Full scores of the best three only, 2 to 4; those of the others are -4 to 0 (2 below 0 on average)."""
    errors = []
    for pairs in ([], [2.0], [1.0, 1.5, 2.0]):
        found = _line(SPREAD, pairs or [1.7, 1.9], [-2.0, -1.0, 0.0])
        errors.append(np.mean([abs(p.mu - 2.0 * x) for p, x in zip(found, (-2.0, -1.0, 0.0), strict=True)]))
        assert all(p.sigma > 0.02 for p in found)
    assert errors[2] < 0.5 < min(errors[:2]) and max(errors) < 2.0, errors


def test_short_scores_of_nothing_are_told_from_full_ones():
    """Where short scores are luck, full scores decide: predictions follow them."""
    made = [Point(np.arange(1), np.array([x]), np.zeros(0), 0.2) for x in SPREAD]
    made += [Point(np.arange(1), np.array([x]), np.zeros(0)) for x in SPREAD[::2]]
    luck = np.random.default_rng(3).permutation(2.0 * SPREAD)
    subsets = [f"{x:.3f}" for x in (*SPREAD, *SPREAD[::2])]
    moved = aligned(np.r_[luck, 2.0 * SPREAD[::2]], [point.series for point in made], subsets)
    ranker = GaussianProcess(SearchConfig(surrogate={"features": "state", "prior": False}))
    asked = [Point(np.arange(1), np.array([x]), np.zeros(0)) for x in SPREAD[1::2]]
    found = ranker.predict(Known(made, moved, np.ones(1)), asked, 0.0, 0)[len(made) :]
    assert [p.mu for p in found] == pytest.approx(2.0 * SPREAD[1::2], abs=1.0)
