from __future__ import annotations

import importlib.util
import math
import warnings
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from benchmarks.worlds.synthetic import SyntheticWorld
from hypothesis import given, settings
from hypothesis import strategies as st

from autoselection.compare import (
    DEFAULT,
    METHODS,
    BudgetSpent,
    EvaluationFailed,
    Rows,
    Session,
    Standing,
    choose_methods,
    incumbents,
    standings,
)
from autoselection.compare import methods as known_methods
from autoselection.compare.method import Method
from autoselection.compare.scorer import StudyScorer
from autoselection.compare.session import FIDELITIES, Evaluated, standing
from autoselection.errors import ConfigError, MissingExtraError
from autoselection.recipes import subset_hash
from autoselection.search import SearchConfig
from autoselection.tasks import merit

BUDGET = 7


class Failing:
    """A pool on which every third subset, by its hash, cannot be trained."""

    def __init__(self, share: int = 3) -> None:
        world = SyntheticWorld(2, n=400)
        self.table, self.min_rows = world.table, world.min_rows
        self._observe = world.observe
        self._share = share

    def observe(self, rows: Rows, seed: int, fidelity: float = 1.0) -> dict[str, float]:
        if int(subset_hash(rows), 16) % self._share == 0:
            raise EvaluationFailed("the loss is not a number")
        return self._observe(rows, seed, fidelity)


@pytest.fixture(scope="module")
def failing() -> Failing:
    return Failing()


def _need(name: str) -> None:
    required = METHODS[name].requires
    if required and importlib.util.find_spec(required) is None:
        pytest.skip(f"{required} is not installed")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_lives_with_failed_evaluations(failing: Failing, name: str) -> None:
    _need(name)
    session = Session(failing, METHODS[name].budget(BUDGET, failing.table, SearchConfig()), 0)
    METHODS[name].run(session, 3)
    if METHODS[name].evaluations is None:
        assert BUDGET - FIDELITIES[0] < session.spent < BUDGET + 1e-9
    failed = [item for item in session.log if item.failure]
    assert all(math.isnan(item.observed) and not item.tasks for item in failed)
    assert len(failed) < len(session.log)
    for pick in standings(session.log, BUDGET):
        assert pick is None or math.isfinite(pick.seen)


def test_optuna_leaves_threads_and_warnings_as_they_are() -> None:
    _need("optuna-tpe")
    torch = pytest.importorskip("torch")
    threads, before, seen = torch.get_num_threads(), list(warnings.filters), []

    class Watched(Failing):
        def observe(self, rows: Rows, seed: int, fidelity: float = 1.0) -> dict[str, float]:
            seen.append((torch.get_num_threads(), list(warnings.filters)))
            return super().observe(rows, seed, fidelity)

    try:
        torch.set_num_threads(3)
        METHODS["optuna-tpe"].run(Session(Watched(), 3, 0), 0)
        assert seen == [(3, before)] * 3 and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_a_pool_where_nothing_can_be_trained_has_no_incumbent() -> None:
    for name in DEFAULT:
        session = Session(Failing(share=1), 3, 0)
        METHODS[name].run(session, 0)
        assert 3 - FIDELITIES[0] < session.spent < 3 + 1e-9 and session.worst is None
        assert incumbents(session.log, 3) == [None, None, None]


def test_standings_are_means_of_repeats() -> None:
    scores = iter([0.4, 0.5, 0.1, 0.2])

    class Listed(Failing):
        def observe(self, rows: Rows, seed: int, fidelity: float = 1.0) -> dict[str, float]:
            return {"task": next(scores)}

    session = Session(Listed(), 4, 0)
    a, b = np.arange(60), np.arange(60, 140)
    for rows in (a, b, b, a):
        session.observe(rows[::-1])
    seen = [pick.seen if pick else None for pick in standings(session.log, 4)]
    assert seen == pytest.approx([0.4, 0.5, 0.4, 0.3])
    assert [len(rows) for rows in incumbents(session.log, 4) if rows is not None] == [60, 80, 60, 60]


@settings(max_examples=60, deadline=None)
@given(
    drawn=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([1 / 9, 1 / 3, 1.0]), st.booleans(), st.integers(0, 3)),
        max_size=12,
    ),
    floor=st.none() | st.integers(0, 3),
)
def test_standings_follow_their_definition(drawn: list[tuple[int, float, bool, int]], floor: int | None) -> None:
    floors = {} if floor is None else {"task": float(floor)}
    log: list[Evaluated] = []
    for which, fidelity, failed, score in drawn:
        spent = fidelity + (log[-1].spent if log else 0.0)
        tasks = {} if failed else {"task": float(score)}
        observed = math.nan if failed else score + which / 10
        log.append(Evaluated(np.arange(which, which + 9), observed, tasks, fidelity, spent, "x" if failed else None))

    def defined(past: list[Evaluated]) -> tuple[list[int], float] | None:
        scored = [item for item in past if item.failure is None]
        highest = [item for item in scored if item.fidelity == max(other.fidelity for other in scored)]
        same = [[item for item in highest if (item.rows == first.rows).all()] for first in highest]
        means = [float(np.mean([item.observed for item in items])) for items in same]
        kept = [{name: float(np.mean([item.tasks[name] for item in items])) for name in floors} for items in same]
        if not means:
            return None
        best = max(range(len(means)), key=lambda place: merit(means[place], kept[place], floors))
        return highest[best].rows.tolist(), means[best]

    def told(pick: Standing | None) -> tuple[list[int], float] | None:
        return None if pick is None else (pick.rows.tolist(), pick.seen)

    with pytest.MonkeyPatch.context() as patched:  # hashing the rows of large subsets takes long
        patched.setattr("autoselection.compare.session.subset_hash", None)
        found = standings(log, 6, floors)
        last = standing(log, floors)
    assert [told(pick) for pick in found] == [
        defined([e for e in log if e.spent <= cost + 1e-9]) for cost in range(1, 7)
    ]
    assert told(last) == defined(log)
    assert last is None or last.subset == subset_hash(last.rows)


def test_what_is_picked_keeps_the_floors_as_soon_as_anything_does() -> None:
    scores = iter([(0.9, 0.1), (0.8, 0.3), (0.2, 0.6), (0.3, 0.5), (0.7, 0.4)])

    class Listed(Failing):
        def observe(self, rows: Rows, seed: int, fidelity: float = 1.0) -> dict[str, float]:
            return dict(zip(("wanted", "kept"), next(scores), strict=True))

    session = Session(Listed(), 5, 0, overall=lambda tasks: tasks["wanted"], floors={"kept": 0.5})
    subsets = [np.arange(60 + place) for place in range(4)]
    for rows in (*subsets, subsets[3]):
        session.observe(rows)
    # First the one that misses least, then the best of those that keep it; the last one's mean is 0.45 after its repeat.
    picks = [None if pick is None else len(pick.rows) for pick in standings(session.log, 5, session.floors)]
    assert picks == [60, 61, 62, 63, 62]
    assert [len(pick.rows) for pick in standings(session.log, 5) if pick is not None] == [60] * 5


def test_our_search_is_told_of_floors() -> None:
    world = SyntheticWorld(2, n=400)
    task = next(iter(world.observe(world.table.selectable, 0)))
    floors = {task: world.observe(world.table.selectable, 0)[task] - 0.05}
    picked = []
    for wanted in ({}, floors):
        session = Session(world, 9, 0, floors=wanted)
        METHODS["ours"].run(session, 0)
        picked.append(subset_hash(session.log[-1].rows))
    assert picked[0] != picked[1]


class Recording(Failing):
    """Says what it was asked: (rows, seed, fidelity), and scores from a list."""

    def __init__(self, *scores: float) -> None:
        super().__init__()
        self.asked: list[tuple[int, int, float]] = []
        self._scores = list(scores)

    def observe(self, rows: Rows, seed: int, fidelity: float = 1.0) -> dict[str, float]:
        self.asked.append((len(rows), seed, fidelity))
        score = self._scores.pop(0)
        if math.isnan(score):
            raise EvaluationFailed("the loss is not a number")
        return {"one": score, "other": score}


def test_short_evaluations_cost_their_share_and_never_beat_full_ones() -> None:
    scorer = Recording(0.9, 0.8, math.nan, 0.3, 0.2)
    session = Session(scorer, 3, 0)
    a, b = np.arange(60), np.arange(60, 140)
    for rows, fidelity in ((a, 1 / 3), (b, 1 / 3), (b, 1 / 3), (a, 1.0), (b, 1.0)):
        session.observe(rows, fidelity)
    assert [item.spent for item in session.log] == pytest.approx([1 / 3, 2 / 3, 1.0, 2.0, 3.0])
    assert session.left == pytest.approx(0.0) and session.worst == 0.2
    assert not session.can_pay(1 / 9)
    with pytest.raises(BudgetSpent, match=r"cost 0\.111"):
        session.observe(a, 1 / 9)
    # Of the short ones a was best, and as soon as there is a full one, the full ones alone count.
    seen = [(len(pick.rows), pick.seen) for pick in standings(session.log, 3) if pick is not None]
    assert seen == [(60, 0.9), (60, 0.3), (60, 0.3)]


def test_a_repeat_is_another_training_and_all_methods_get_the_same_one() -> None:
    a, b = np.arange(60), np.arange(60, 140)
    scorer = Recording(*[0.5] * 8)
    first, second = Session(scorer, 4, 5), Session(scorer, 4, 5)
    for rows in (a, b, a, a):
        first.observe(rows)
    for rows in (a[::-1], a):
        second.observe(rows)
    second.observe(a, 1 / 9)
    seeds = [seed for _, seed, _ in scorer.asked]
    assert seeds[0] == seeds[1] == 5 and len({seeds[0], seeds[2], seeds[3]}) == 3, "a repeat of a is not the first of a"
    assert seeds[4:6] == [seeds[0], seeds[2]], "another method sees the same trainings, whatever it asked before"
    assert seeds[6] == 5, "the first short training is the first"


@pytest.mark.parametrize("name", METHODS)
def test_rows_that_none_may_select_stay_out(name: str) -> None:
    _need(name)
    scorer = Failing(share=10**9)
    scorer.table = replace(scorer.table, excluded=np.arange(scorer.table.n) % 2 == 0)
    session = Session(scorer, 4, 0)
    METHODS[name].run(session, 1)
    assert all((item.rows % 2 == 1).all() for item in session.log) and session.log


def test_the_least_rows_of_a_study_s_pool_are_of_those_to_select_from() -> None:
    table = SyntheticWorld(2, n=4000).table
    table = replace(table, excluded=np.arange(table.n) >= 2000)
    ledger: Any = SimpleNamespace(config=SimpleNamespace(search=SearchConfig()))
    rounds: Any = None
    assert StudyScorer(table, ledger, rounds).min_rows == 40


def test_methods_draw_from_the_search_space_of_the_study(failing: Failing) -> None:
    only = SearchConfig(operators=("truncate_samples",))
    for name in ("random", "latin-hypercube", "single-operators"):
        whole, narrow = Session(failing, 4, 0), Session(failing, 4, 0, only)
        METHODS[name].run(whole, 0)
        METHODS[name].run(narrow, 0)
        assert {subset_hash(item.rows) for item in whole.log} != {subset_hash(item.rows) for item in narrow.log}


def test_an_unknown_method_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"There is no method 'randm'; did you mean 'random'\?"):
        choose_methods(["ours", "randm"])
    with pytest.raises(ConfigError, match="named twice"):
        choose_methods(["ours", "ours"])
    with pytest.raises(ConfigError, match="at least one"):
        choose_methods([])


def test_a_method_whose_package_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Method("absent", lambda session, seed: None, requires="surely_not_installed")
    monkeypatch.setitem(known_methods.METHODS, "absent", absent)
    with pytest.raises(MissingExtraError, match=r"surely_not_installed.*autoselection\[compare\]"):
        choose_methods(["random", "absent"])
