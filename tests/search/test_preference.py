"""Which of two recipes is better: right as often as it says, and silent where it does not know."""

from __future__ import annotations

import numpy as np
import pytest

from autoselection.search import SearchConfig
from autoselection.search.preference import FEWEST, SURE, Evidence, Preference
from autoselection.search.ranker import Point

CONFIG = SearchConfig.model_validate({"surrogate": {"prior": False, "features": "state"}})


def made(count, seed, model="", states=None):
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(count, 2)) if states is None else states
    rows = [np.sort(rng.choice(300, 80, replace=False)) for _ in range(count)]
    fidelity = 0.3 if model else 1.0
    return [Point(r, s, np.zeros(0), fidelity, model=model) for r, s in zip(rows, states, strict=True)]


def evidence(points, scores):
    return Evidence(points, np.asarray(scores, float), [str(n) for n in range(len(points))], np.ones(300), ())


def world(seed):
    """A smooth score of two features, and its noise."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.normal(size=3)
    return lambda states: a * states[:, 0] + b * states[:, 1] + c * np.tanh(states[:, 0] * states[:, 1])


def test_answers_are_right_as_often_as_they_say():
    """Over simulated searches: of the answers given at 90%, at least 90% are right, of new recipes and of left-out ones."""
    new, tested, answered = [], [], []
    for seed in range(25):
        rng = np.random.default_rng([seed, 1])
        points = made(14, [seed, 2])
        states = np.array([point.state for point in points])
        truth = world(seed)
        judge = Preference(CONFIG, evidence(points, truth(states) + 0.1 * rng.normal(size=14)))
        one, other = made(40, [seed, 3]), made(40, [seed, 4])
        chance = judge.better(one, other)
        sure = np.maximum(chance, 1 - chance) >= SURE
        better = truth(np.array([p.state for p in one])) > truth(np.array([p.state for p in other]))
        new += list((chance > 0.5)[sure] == better[sure])
        answered.append(sure.mean())
        found = judge.tested()
        tested += list(found.right_answers())
    assert np.mean(new) >= 0.9 and np.mean(answered) >= 0.4
    assert np.mean(tested) >= 0.9


def test_one_side_is_the_complement_of_the_other():
    points = made(8, 0)
    judge = Preference(CONFIG, evidence(points, [point.state[0] for point in points]))
    one, other = made(6, 1), made(6, 2)
    assert judge.better(one, other) == pytest.approx(1.0 - judge.better(other, one))
    assert judge.better(one[:1], one[:1]) == pytest.approx([0.5], abs=1e-3)


def test_where_scores_are_luck_it_abstains():
    shares = []
    for seed in range(8):
        luck = np.random.default_rng(seed).normal(size=14)
        found = Preference(CONFIG, evidence(made(14, [seed, 7]), luck)).tested()
        shares.append(found.answered().mean())
    assert np.mean(shares) < 0.15


def test_scores_of_a_smaller_model_tell_pairs_apart_that_full_ones_do_not():
    """Left-out pairs keep what the smaller model said of them."""
    rng = np.random.default_rng(0)
    states = rng.normal(size=(14, 2))
    full, below = made(14, 1, states=states), made(14, 1, "small", states)
    luck = rng.normal(size=14)  # of the subsets, and nothing of it is in the features
    alone = Preference(CONFIG, evidence(full, luck)).tested()
    subsets = [str(n) for n in range(14)]
    both = Evidence([*full, *below], np.r_[luck, 0.8 * luck - 2.0], [*subsets, *subsets], np.ones(300), ())
    realized = SearchConfig.model_validate({"surrogate": {"prior": False, "features": "realized"}})
    found = Preference(realized, both).tested()
    assert found.answered().mean() > alone.answered().mean() + 0.2
    assert found.right_answers().mean() > 0.9


def test_scores_of_few_items_tell_less():
    """The same scores of a smaller model, as means over all items and over one of ten thousand."""
    full, below = made(3, 1), made(10, 2, "small")
    scores = np.r_[0.1, 0.0, -0.1, np.ones(5), -np.ones(5)]
    subsets, settings = [str(n) for n in range(13)], {"surrogate": {"prior": False, "features": "subset"}}
    config = SearchConfig.model_validate(settings)
    answers = []
    for share in (1.0, 1e-4):
        told = Evidence([*full, *below], scores, subsets, np.ones(300), (), [1.0] * 3 + [share] * 10)
        answers.append(Preference(config, told).better(below[:5], below[5:]))
    assert (answers[1] > 0.5).all() and (answers[1] < 0.65).all() and (answers[0] > 0.75).all()


def test_too_few_recipes_cannot_be_tested_and_answers_are_given_all_the_same():
    points = made(FEWEST - 1, 0)
    judge = Preference(CONFIG, evidence(points, range(FEWEST - 1)))
    assert judge.tested() is None
    assert 0.0 < judge.better(points[:1], points[2:3])[0] < 0.5


def test_beliefs_that_were_too_sure_are_widened():
    """A few scores jump by luck, far more than the others' noise: differences are further off than the surrogate thinks."""
    points = made(20, 5)
    smooth = np.array([point.state[0] for point in points])
    honest = Preference(CONFIG, evidence(points, smooth + 0.05 * np.random.default_rng(1).normal(size=20))).tested()
    jumping = smooth.copy()
    jumping[[3, 11]] += 30.0
    rough = Preference(CONFIG, evidence(points, jumping)).tested()
    assert honest.widening < 1.6 < rough.widening
