"""Trade-offs: what a proposal is expected to add to a front, and a search that looks for the front."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from autoselection.errors import SignalError, StudyError
from autoselection.search import Observation, SearchConfig, SearchController
from autoselection.search.pareto import expected_hypervolume_improvement, front, reference_point
from autoselection.signals.table import SignalTable


def hypervolume(values, reference):
    """Volume that points dominate above a reference point, by inclusion of boxes along the first objective."""
    values = values[(values > reference).all(axis=1)]
    if not len(values):
        return 0.0
    if values.shape[1] == 1:
        return float(values.max() - reference[0])
    edges = np.unique(np.append(reference[0], values[:, 0]))
    parts = [hypervolume(values[values[:, 0] >= high][:, 1:], reference[1:]) for high in edges[1:]]
    return float(np.diff(edges) @ parts)


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_the_expected_addition_is_that_of_simulated_points(objectives):
    rng = np.random.default_rng(objectives)
    known = rng.normal(size=(6, objectives)) * 10.0 ** np.arange(objectives)
    spread = np.ptp(known, axis=0)
    mean = known[:3] + 0.3 * spread * rng.normal(size=(3, objectives))
    deviation = spread * rng.uniform(0.1, 0.5, size=(3, objectives))
    deviation[0, 1] = 0.0
    reference, draws = reference_point(known), 600
    before = hypervolume(known, reference)
    for place, found in enumerate(expected_hypervolume_improvement(mean, deviation, known)):
        points = mean[place] + deviation[place] * rng.normal(size=(draws, objectives))
        added = (
            np.array([hypervolume(np.vstack([known, point]), reference) - before for point in points]) / spread.prod()
        )
        assert found == pytest.approx(added.mean(), abs=4 * added.std() / np.sqrt(draws) + 1e-4)


def test_what_is_certain_and_dominated_adds_nothing():
    known = np.array([[1.0, 0.0], [0.0, 1.0], [0.2, 0.2]])
    assert front(known).tolist() == [True, True, True]
    assert front(np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0]])).tolist() == [True, True, False]
    mean = np.array([[0.1, 0.1], [0.5, 0.5], [1.0, 1.0]])
    found = expected_hypervolume_improvement(mean, np.zeros_like(mean), known)
    assert found[0] == 0 and found[1] == pytest.approx(0.5**2 - 0.2**2) and found[2] > found[1]


def test_a_difference_by_rounding_is_none():
    low, high = 0.1 + 0.2, 0.3
    assert low > high
    assert front(np.array([[low, 0.1], [high, 0.2]])).tolist() == [False, True]
    known = np.array([[low, 0.0], [high, 1.0]])
    (found,) = expected_hypervolume_improvement(np.array([[high, 1.5]]), np.zeros((1, 2)), known)
    assert found == pytest.approx(
        0.5 * 0.1, rel=1e-6
    )  # in units of 1, the usual of what has no range, above the reference


def observed(small, candidate):
    off = np.flatnonzero(small.task == 3)
    tasks = {"wanted": small.score(candidate.rows), "kept": float(np.isin(off, candidate.rows).mean())}
    return Observation(candidate.id, tasks["wanted"], tasks)


def searched(small, pareto, **changes):
    floors = changes.pop("floors", None)
    config = SearchConfig(
        **{"evaluations": 12, "seed": 1, "proposals": 40, "min_rows": 10, "pareto": pareto, **changes}
    )
    controller = SearchController(small.signals, config, floors=floors)
    while candidates := controller.ask():
        for candidate in candidates:
            controller.tell(observed(small, candidate))
    return controller


def volume(search, names):
    seen = [{**t.observation.tasks, "tokens": -t.candidate.state.token_ratio} for t in search.history]
    return hypervolume(np.array([[values[name] for name in names] for values in seen]), np.array([-1.0] * len(names)))


@pytest.mark.parametrize("names", [("wanted", "kept"), ("score", "tokens")])
def test_a_search_for_a_front_finds_more_of_it(small, names):
    shown = ("wanted", *names[1:])
    alone, both = searched(small, ()), searched(small, names)
    assert volume(both, shown) > volume(alone, shown)
    assert both.best.score == max(trial.score for trial in both.history), (
        "the best is still the one with the best score"
    )
    assert "most expected to be added to the front of" in both.rounds[5].decisions[0].reason
    again = SearchController(small.signals, both.config)
    again.replay(trial.observation for trial in both.history)
    assert [c.to_dict() for c in again.candidates] == [c.to_dict() for c in both.candidates]


def test_tokens_are_traded_off_only_where_they_are_known(small):
    columns = {name: values for name, values in small.signals.columns.items() if name != "n_tokens"}
    signals = SignalTable.from_arrays(columns)
    with pytest.raises(SignalError, match=r"search\.pareto names 'tokens', and the signals have no column 'n_tokens'"):
        SearchController(signals, SearchConfig(min_rows=10, pareto=("score", "tokens")))
    SearchController(signals, SearchConfig(min_rows=10, pareto=("score", "rows")))


def test_with_floors_parents_are_the_front_of_what_keeps_them(small):
    config = SearchConfig(min_rows=10, pareto=("wanted", "other"), parents=2)
    controller = SearchController(small.signals, config, floors={"kept": 0.5})
    scores = [(10.0, 10.0, 0.1), (2.0, 1.0, 0.9), (1.0, 2.0, 0.9), (1.9, 0.5, 0.9)]
    for wanted, other, kept in scores:
        (candidate,) = controller.ask(1)
        controller.tell(Observation(candidate.id, wanted, {"wanted": wanted, "other": other, "kept": kept}))
    assert controller.best.id == "t002"
    parents = controller.predictions.most_promising(controller.best)
    assert [trial.id for trial in parents] == ["t002", "t003"], (
        "the first beats all and misses the floor, the fourth is beaten"
    )
    (candidate,) = controller.ask(1)
    assert "within the floors" in controller.rounds[-1].decisions[0].reason


def test_it_goes_with_rounds_of_several_short_trainings_and_another_acquisition(small):
    done = searched(
        small,
        ("wanted", "kept", "rows"),
        evaluations=8,
        batch=2,
        proposals=12,
        fidelity={"level": 0.25, "warmup": 6},
        surrogate={"acquisition": "ucb"},
    )
    assert done.best.full and done.spent == pytest.approx(8, abs=1)


def test_what_is_traded_off_must_be_told_and_named_once(small):
    with pytest.raises(ValidationError, match="between two objectives or more, each named once"):
        SearchConfig(pareto=("wanted",))
    with pytest.raises(ValidationError, match="each named once"):
        SearchConfig(pareto=("wanted", "wanted"))
    controller = SearchController(small.signals, SearchConfig(min_rows=10, pareto=("wanted", "tokens")))
    (candidate,) = controller.ask(1)
    with pytest.raises(StudyError, match="task 'wanted' is traded off and no score"):
        controller.tell(Observation(candidate.id, 1.0))
