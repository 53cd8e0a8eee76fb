"""A search over mixtures by ask and tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tables import SOURCES, losses, mixtures

from autoselection.errors import ConfigError, StudyError
from autoselection.mixture import Levels, MixtureController, MixtureSpace

TWO = Levels(("small", "large"), (1.0, 10.0))


def _true(shares: np.ndarray, level: int) -> np.ndarray:
    return np.asarray(-losses(shares[None], 1.0 - 0.4 * level, 3.0 - level)[0])


def _run(controller: MixtureController) -> list[tuple[int, int | None]]:
    controller.run(lambda candidate: _true(candidate.shares, candidate.level))
    return [(run.candidate.level, run.candidate.place) for run in controller.history]


def test_it_spends_its_budget_small_runs_first_and_finds_the_best() -> None:
    listed = mixtures(25)
    space = MixtureSpace(SOURCES, TWO, candidates=(mixtures(40, 3), listed))
    controller = MixtureController(space, [0.5, 0.5], budget=6, seed=1)
    made = _run(controller)
    assert 5.0 < controller.spent <= 6.0
    levels = [level for level, _ in made]
    assert levels == sorted(levels) and levels.count(0) == 15 and levels.count(1) == 4
    assert len(set(made)) == len(made)
    best = max(range(25), key=lambda place: _true(listed[place], 1).mean())
    assert controller.best is not None and controller.best.candidate.place == best


def test_the_same_seed_makes_the_same_decisions() -> None:
    space = MixtureSpace(SOURCES, TWO, candidates=(mixtures(20, 3), mixtures(12)))
    one, same = (_run(MixtureController(space, [0.5, 0.5], 4, seed)) for seed in (1, 1))
    other = MixtureController(space, [0.5, 0.5], 4, 2).ask()
    assert one == same
    assert [candidate.place for candidate in other] != [place for level, place in one if level == 0]


def test_any_mixture_within_bounds_where_none_is_listed() -> None:
    highest = np.array([0.5, 0.4, 0.6, 0.5])
    space = MixtureSpace(SOURCES, Levels(("all",), (1.0,)), highest)
    controller = MixtureController(space, [1.0, 0.0], budget=8)
    asked = controller.ask(2)
    assert len(asked) == 2 and asked == list(controller.pending)
    _run_all = controller.run(lambda candidate: _true(candidate.shares, 0))
    assert _run_all is not None and len(controller.history) == 8
    for run in controller.history:
        assert run.candidate.shares.sum() == pytest.approx(1.0)
        assert (run.candidate.shares <= highest + 1e-9).all()


def test_failed_and_partial_runs_go_on() -> None:
    space = MixtureSpace(SOURCES, Levels(("all",), (1.0,)), candidates=(mixtures(9),))
    controller = MixtureController(space, [0.5, 0.5], budget=7)
    for number, outcome in enumerate([None, [1.0, np.nan], None]):
        (candidate,) = controller.ask()
        assert candidate.number == number + 1
        controller.tell(candidate, outcome)
    assert controller.best is None
    assert controller.run(lambda candidate: _true(candidate.shares, 0)) is not None
    assert len(controller.history) == 7


def test_what_was_not_asked_cannot_be_told() -> None:
    space = MixtureSpace(SOURCES, Levels(("all",), (1.0,)), candidates=(mixtures(9),))
    controller, other = (MixtureController(space, [0.5, 0.5], 5) for _ in range(2))
    (candidate,) = controller.ask()
    with pytest.raises(StudyError, match="was not asked for"):
        other.tell(candidate, [1.0, 1.0])
    with pytest.raises(StudyError, match="1 scores in the shape"):
        controller.tell(candidate, [1.0])
    controller.tell(candidate, [1.0, 1.0])
    with pytest.raises(StudyError, match="has its scores already"):
        controller.tell(candidate, [1.0, 1.0])


def test_a_space_that_holds_no_mixture_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"sum to 0\.9"):
        MixtureSpace(SOURCES, TWO, np.array([0.2, 0.2, 0.2, 0.3]))
    with pytest.raises(ConfigError, match="two sources"):
        MixtureSpace(("web",), TWO)
    with pytest.raises(ConfigError, match="1 arrays, and there are 2 levels"):
        MixtureSpace(SOURCES, TWO, candidates=(mixtures(3),))


@pytest.mark.parametrize(
    ("names", "costs", "message"),
    [
        ((), (), "one name or more"),
        (("a", "a"), (1.0, 2.0), "each once"),
        (("a", "b"), (1.0,), "1 costs for 2 levels"),
        (("a",), (0.0,), "level 'a' costs 0.0"),
        (("a",), (float("nan"),), "level 'a' costs nan"),
    ],
)
def test_levels_that_are_none_are_refused(names: tuple[str, ...], costs: tuple[float, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Levels(names, costs)


def test_sources_bounds_and_listed_mixtures_are_checked() -> None:
    one = Levels(("all",), (1.0,))
    for refused, message in (
        (lambda: MixtureSpace(("a", "a"), one), "named twice"),
        (lambda: MixtureSpace(("a", "b"), one, highest=np.array([1.0])), "each of the 2 sources"),
        (lambda: MixtureSpace(("a", "b"), one, highest=np.array([np.nan, 1.0])), "from 0 on"),
        (lambda: MixtureSpace(("a", "b"), one, highest=["x", 1.0]), "from 0 on"),  # type: ignore[arg-type]
        (lambda: MixtureSpace(("a", "b"), one, candidates=(np.array([[0.5, 0.5], [0.5, 0.7]]),)), "Mixture 1 of"),
        (lambda: MixtureSpace(("a", "b"), one, candidates=(np.array([[1.5, -0.5]]),)), "Mixture 0 of"),
        (lambda: MixtureSpace(("a", "b"), one, candidates=(np.array([[1.0]]),)), "the shape"),
        (lambda: MixtureSpace(("a", "b"), one, candidates=([0.5, 0.5],)), "the shape"),  # type: ignore[arg-type]
        (lambda: MixtureSpace(("a", "b"), one, candidates=([["x", 1]],)), "an array of shares"),  # type: ignore[arg-type, list-item]
        (lambda: MixtureSpace(("a", "b"), one, candidates=(np.eye(2), np.eye(2))), "give one array a level"),
    ):
        with pytest.raises(ConfigError, match=message):
            refused()


@pytest.mark.parametrize(
    ("weights", "budget", "below", "message"),
    [
        ([], 8, None, "weights"),
        ([0.0, 0.0], 8, None, "weights"),
        ([float("nan")], 8, None, "weights"),
        ([-1.0, 2.0], 8, None, "weights"),
        ([1.0], 0, None, "budget"),
        ([1.0], float("nan"), None, "budget"),
        ([1.0], 8, 1.0, "below"),
    ],
)
def test_an_objective_and_a_budget_are_needed(
    weights: list[float], budget: float, below: float | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        MixtureController(MixtureSpace(SOURCES, TWO), weights, budget, below=below)


def test_scores_are_finite_numbers_or_missing() -> None:
    controller = MixtureController(MixtureSpace(SOURCES, Levels(("all",), (1.0,))), [1.0, 0.0], 4)
    (candidate,) = controller.ask()
    for wrong, message in (
        ([float("inf"), 1.0], "infinite"),
        (["x", 1.0], "no numbers"),
        ([1.0], "1 scores in the shape"),
        (1.0, "a single number: a list of 2 is needed"),
    ):
        with pytest.raises(StudyError, match=message):
            controller.tell(candidate, wrong)  # type: ignore[arg-type]
    controller.tell(candidate, [0.5, float("nan")])
    assert len(controller.history) == 1


def test_lists_are_mixtures_too_and_a_score_that_is_never_there_is_told() -> None:
    space = MixtureSpace(("a", "b"), Levels(("all",), (1.0,)), candidates=([[1, 0], [0.5, 0.5], [0, 1]],))  # type: ignore[arg-type]
    best = MixtureController(space, [1.0], 3).run(lambda run: [run.shares[0]])
    assert best is not None and best.candidate.shares.tolist() == [1, 0]
    with pytest.raises(StudyError, match="NaN in every run needs the weight 0"):
        MixtureController(space, [1.0, 1.0], 3).run(lambda run: [run.shares[0], float("nan")])
    assert MixtureController(space, [1.0], 3).run(lambda run: None) is None  # all failed


@pytest.mark.parametrize("unweighted", [np.nan, 0.0])
def test_a_score_of_weight_0_may_be_missing(unweighted: float) -> None:
    space = MixtureSpace(("web", "code", "maths"), Levels(("only",), (1.0,)))
    goal = np.array([0.2, 0.7, 0.1])

    def searched(other: float) -> MixtureController:
        controller = MixtureController(space, [1.0, 0.0], budget=8)
        controller.run(lambda run: [-float(((run.shares - goal) ** 2).sum()), other])
        return controller

    found = searched(unweighted)
    scores = [float(run.scores[0]) for run in found.history if run.scores is not None]
    assert found.best is not None and found.best.candidate.number == int(np.argmax(scores)) + 1 > 1
    asked = np.array([run.candidate.shares for run in found.history])
    assert np.array_equal(asked, [run.candidate.shares for run in searched(0.0).history])


@pytest.mark.parametrize("highest", [[0.7, 0.2, 0.1], np.array([0.7, 0.2, 0.1]), (0.5, 0.8, 0.9)])
def test_bounds_that_leave_one_mixture_and_lists_are_bounds(highest: Any) -> None:
    space = MixtureSpace(("web", "code", "maths"), Levels(("only",), (1.0,)), highest)  # 0.7 + 0.2 + 0.1 < 1 in float64
    drawn = space.draw(20, np.random.default_rng(0))
    assert drawn.sum(axis=1) == pytest.approx(np.ones(20)) and (drawn <= np.array(highest) + 1e-9).all()
