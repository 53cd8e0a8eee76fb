"""Repeats of leaders: when they are worth their price, and what becomes of their scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoselection.errors import StudyError
from autoselection.recipes import Recipe, Step
from autoselection.search import Observation, SearchConfig, SearchController
from autoselection.search.history import SearchHistory
from autoselection.search.ranker import Prediction
from autoselection.search.repeats import gain, leader_to_repeat

REPEATS = {"enabled": True, "after": 4, "most": 3}


@settings(max_examples=20, deadline=None)
@given(
    st.floats(-2, 2), st.floats(0.05, 2), st.floats(-2, 2), st.floats(0.0, 2)
)  # a belief, a rival's mean, the noise of an evaluation
def test_the_gain_is_that_of_simulated_evaluations(mu, sigma, rival, noise):
    rng = np.random.default_rng(0)
    truth = mu + sigma * rng.normal(size=400_000)
    seen = truth + noise * rng.normal(size=truth.size)
    after = mu + (seen - mu) * sigma**2 / (sigma**2 + noise**2)
    simulated = np.maximum(after, rival).mean() - max(mu, rival)
    assert gain(np.array([mu]), np.array([sigma]), np.array([rival]), noise)[0] == pytest.approx(simulated, abs=0.01)


PLAIN = {"prior": False, "acquisition": "ucb"}
"""Without usual effects new recipes promise less, so that leaders are trained again in short searches."""


def belief(mu, sigma):
    return Prediction(mu, sigma, mu, 0.0)


def test_close_and_unsure_leaders_are_repeated_and_clear_ones_are_not():
    close = [belief(1.0, 0.3), belief(0.95, 0.3), belief(-1.0, 0.3)]
    assert leader_to_repeat(close, belief(0.0, 0.1), 0.3)[0] in (0, 1)
    assert leader_to_repeat(close, belief(0.9, 1.0), 0.3) is None, "a promising unknown is worth more"
    clear = [belief(5.0, 0.1), belief(0.0, 0.1)]
    assert leader_to_repeat(clear, belief(4.9, 0.5), 0.3) is None
    assert leader_to_repeat([belief(1.0, 1.0)], None, 0.3) is None, "nothing to choose from"
    settled = [belief(1.0, 0.0), belief(0.99, 0.0)]
    assert leader_to_repeat(settled, belief(0.5, 0.1), 0.3) is None


def test_a_leader_that_was_trained_often_enough_leaves_the_repeat_to_the_next():
    beliefs = [belief(1.0, 0.5), belief(0.95, 0.3), belief(-1.0, 0.3)]
    assert leader_to_repeat(beliefs, belief(0.0, 0.1), 0.3)[0] == 0
    place, rise, _ = leader_to_repeat(beliefs, belief(0.0, 0.1), 0.3, done=[0])
    assert place == 1, "its rival is the one that is not repeated"
    assert rise == gain(np.array([0.95]), np.array([0.3]), np.array([1.0]), 0.3)[0]
    assert leader_to_repeat(beliefs, None, 0.3, done=[0, 1, 2]) is None


@pytest.fixture
def history(small):
    """``history(config, (subset, origin, parent, score), ...)``: what was asked and told; trials are t001, t002, ..."""
    (template,) = SearchController(small.signals, SearchConfig(min_rows=10)).ask(1)
    cuts = {subset: Recipe((Step("truncate_samples", {"fraction": share}),)) for subset, share in SHARES.items()}

    def made(config, *trials):
        found = SearchHistory(SearchConfig(**config))
        for number, (subset, origin, parent, score) in enumerate(trials, 1):
            key = f"t{number:03d}"
            asked = replace(template, id=key, number=number, subset_hash=subset, origin=origin, parent=parent)
            found.ask(replace(asked, recipe=cuts[subset]))
            tasks = score if isinstance(score, dict) else {}
            found.tell(Observation(key, float(np.mean(list(tasks.values()))) if tasks else score, tasks))
        return found

    return made


SHARES = {"a": 0.9, "b": 0.5, "c": 0.3}


def test_stagnation_goes_by_the_means_that_the_best_goes_by(history):
    lucky = (("a", "initial", None, 2.0), ("b", "edit", "t001", 0.5), ("a", "repeat", None, 0.0))  # a is 1.0 by now
    found = history({}, *lucky)
    assert found.best.candidate.subset_hash == "a" and found.stagnation == 2
    assert history({}, *lucky, ("c", "edit", "t001", 1.5)).stagnation == 0, (
        "a new best, if no more than a's first score"
    )
    lower = history({}, *lucky, ("b", "repeat", "t001", 1.2))  # b is 0.85 by now
    assert lower.best.candidate.subset_hash == "a" and lower.stagnation == 3, "one good score is no new best"


def test_a_repeat_joins_the_front_by_its_mean(history):
    config = {"pareto": ("x", "y")}
    two = (("a", "initial", None, {"x": 1.0, "y": 0.0}), ("b", "edit", "t001", {"x": 0.0, "y": 1.0}))
    assert history(config, *two).stagnation == 0
    for x, stagnation in ((0.5, 1), (1.0, 1), (1.5, 0)):
        assert history(config, *two, ("a", "repeat", None, {"x": x, "y": 0.0})).stagnation == stagnation
    assert history(config, *two, ("c", "edit", "t001", {"x": 0.9, "y": 0.0})).stagnation == 1


def test_credit_is_of_means_and_once_a_child(history):
    once = history({}, ("a", "initial", None, 0.5), ("b", "edit", "t001", 1.0))
    parents = history({}, ("a", "initial", None, 0.0), ("a", "repeat", None, 1.0), ("b", "edit", "t001", 1.0))
    children = history(
        {},
        ("a", "initial", None, 0.5),
        ("b", "edit", "t001", 1.5),
        ("b", "repeat", "t001", 0.75),
        ("b", "repeat", "t001", 0.75),
    )
    assert once.credit.operators and parents.credit == once.credit == children.credit


def test_a_repeat_without_the_scores_of_tasks_is_refused_when_it_is_told(history):
    first = ("a", "initial", None, {"x": 1.0, "y": 0.5})
    with pytest.raises(StudyError, match=r"t002 is another evaluation of the subset of t001, which was told .* 'y'"):
        history({}, first, ("a", "repeat", None, {"x": 1.0}))
    assert history({}, first, ("a", "repeat", None, None)).best.observation.tasks == {"x": 1.0, "y": 0.5}
    more = history({}, ("a", "initial", None, 1.0), ("a", "repeat", None, {"x": 2.0}))
    assert (more.best.score, more.best.observation.tasks) == (1.5, {})


def noisy(small, config, noise):
    rng = np.random.default_rng(1)
    controller = SearchController(small.signals, config)
    while candidates := controller.ask():
        for candidate in candidates:
            controller.tell(Observation(candidate.id, small.score(candidate.rows) + noise * float(rng.normal())))
    return controller


def test_with_much_noise_leaders_are_trained_again_and_judged_by_their_mean(small):
    config = SearchConfig(evaluations=14, seed=2, proposals=12, min_rows=10, repeats=REPEATS, surrogate=PLAIN)
    done = noisy(small, config, noise=1.0)
    repeats = [c for c in done.candidates if c.origin == "repeat"]
    assert repeats, "scores are mostly noise here"
    by_id = {c.id: c for c in done.candidates}
    for candidate in repeats:
        assert candidate.number > REPEATS["after"]
        assert np.array_equal(candidate.rows, by_id[candidate.of].rows)
        assert 1 <= candidate.replicate < REPEATS["most"]
    times = [(c.subset_hash, c.replicate) for c in done.candidates]
    assert len(set(times)) == len(times), "every repeat of a subset has its own number"
    first = repeats[0]
    scores = [t.score for t in done.history if t.candidate.subset_hash == first.subset_hash]
    standing = [t for t in done.standing if t.candidate.subset_hash == first.subset_hash]
    assert [t.score for t in standing] == [pytest.approx(np.mean(scores))]
    assert done.best.score == max(t.score for t in done.standing)
    again = SearchController(small.signals, config)
    again.replay(trial.observation for trial in done.history)
    assert [c.to_dict() for c in again.candidates] == [c.to_dict() for c in done.candidates]


def test_it_is_off_unless_asked_for(small):
    done = noisy(small, SearchConfig(evaluations=10, seed=1, proposals=12, min_rows=10), noise=1.0)
    assert not any(c.origin == "repeat" for c in done.candidates)


@pytest.mark.parametrize("most", [2, 3])
def test_the_most_trainings_of_a_subset_bind(small, most):
    """Two subsets that are better by little more than the noise: without a limit one would be trained a third time."""
    rng = np.random.default_rng(3)
    config = SearchConfig(
        evaluations=20,
        seed=7,
        proposals=12,
        min_rows=10,
        reseed={"patience": 9},
        repeats={"enabled": True, "after": 3, "most": most},
        surrogate=PLAIN,
    )
    controller = SearchController(small.signals, config)
    while candidates := controller.ask():
        for candidate in candidates:
            good = candidate.number < 3 or candidate.of in ("t001", "t002")
            controller.tell(Observation(candidate.id, good + 0.8 * float(rng.normal())))
    subsets = [candidate.subset_hash for candidate in controller.candidates]
    assert max(subsets.count(one) for one in subsets) == most
