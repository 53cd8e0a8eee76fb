from __future__ import annotations

import numpy as np
import pytest
from benchmarks.worlds.base import BudgetSpent, Evaluated, Session, incumbents
from benchmarks.worlds.climb import climb
from benchmarks.worlds.synthetic import TASKS, SyntheticWorld, world_seed
from hypothesis import given, settings
from hypothesis import strategies as st

from autoselection.recipes import materialize
from autoselection.search import latin_hypercube_recipes, random_recipes, single_operator_recipes

SMALL = 500


@pytest.fixture(scope="module")
def world():
    return SyntheticWorld(3, n=SMALL)


@pytest.mark.parametrize("seed", [0, 1, world_seed("heldout", 0)])
def test_a_world_is_its_seed(seed):
    one, two = SyntheticWorld(seed, n=SMALL), SyntheticWorld(seed, n=SMALL)
    assert one.table.fingerprint == two.table.fingerprint
    assert one.table.fingerprint != SyntheticWorld(seed + 1, n=SMALL).table.fingerprint
    rows = np.arange(0, SMALL, 3)
    assert one.truth(rows) == two.truth(rows)
    assert one.observe(rows, 5) == two.observe(rows[::-1], 5)
    assert one.observe(rows, 5) != one.observe(rows, 6)


@pytest.mark.parametrize("seed", range(6))
def test_the_optimum_is_reached_and_the_whole_pool_scores_nothing(seed):
    world = SyntheticWorld(seed, n=SMALL)
    assert world.truth(world.best_rows) == pytest.approx(world.optimum)
    assert set(world.truth_of_tasks(world.best_rows)) == set(TASKS)
    assert world.truth(np.arange(SMALL)) == pytest.approx(0.0)
    rng = np.random.default_rng(0)
    halves = [world.truth(rng.choice(SMALL, SMALL // 2, replace=False)) for _ in range(30)]
    assert np.mean(halves) < 0.02
    assert world.min_rows <= len(world.best_rows) < SMALL


def test_thousands_of_recipes_stay_below_the_optimum():
    worlds = [SyntheticWorld(seed, n=SMALL) for seed in range(4)]
    scores = []
    for world in worlds:
        table = world.table
        recipes = [*single_operator_recipes(table), *random_recipes(table, 250), *latin_hypercube_recipes(table, 250)]
        scores += [world.truth(materialize(recipe, table).rows) for recipe in recipes]
    assert len(scores) > 2000
    assert max(scores) < 1.0
    assert max(scores) > 0.2  # the whole pool can be beaten by recipes


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0.02, 1.0), damage=st.integers(0, 40))
def test_no_subset_exceeds_the_optimum(world, seed, share, damage):
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(rng.random(SMALL) < share)
    assert rows.size == 0 or world.truth(rows) <= 1.0 + 1e-12
    # neither do neighbours of the best one
    near = np.setxor1d(world.best_rows, rng.choice(SMALL, damage, replace=False))
    assert world.truth(near) <= 1.0 + 1e-12


def test_copies_and_wrong_rows_cost(world):
    best = world.best_rows
    hidden = world.hidden
    wrong = np.flatnonzero(hidden.harm > 0)[:20]
    assert world.truth(np.union1d(best, wrong)) < 1.0
    copies = np.setdiff1d(np.flatnonzero(np.isin(hidden.group, hidden.group[best]) & (hidden.harm == 0)), best)
    if len(copies):
        assert world.truth(np.union1d(best, copies)) < 1.0
    lost = best[hidden.task[best] != hidden.task[best][0]]
    assert world.truth(lost) < 0.9


def test_noise_has_the_stated_size_and_cheap_runs_are_noisier(world):
    rows = world.best_rows

    def spread(fidelity):
        means = [np.mean(list(world.observe(rows, seed, fidelity).values())) for seed in range(400)]
        return np.mean(means), np.std(means)

    mean, full = spread(1.0)
    assert mean == pytest.approx(1.0, abs=0.01)
    assert full == pytest.approx(0.03, rel=0.15)
    assert spread(1 / 9)[1] > 2 * full


def test_a_session_pays_and_hides_the_truth(world):
    session = Session(world, 2, seed=0)
    assert not hasattr(session, "truth") and not hasattr(session, "optimum")
    rows = np.arange(0, SMALL, 2)
    first = session.observe(rows)
    again = session.observe(rows[::-1])
    assert first != again  # another run of the same rows
    assert abs(first - world.truth(rows)) < 0.3
    assert Session(world, 2, seed=0).observe(rows) == first
    with pytest.raises(BudgetSpent):
        session.observe(rows)
    with pytest.raises(ValueError, match="below the least"):
        Session(world, 1, seed=0).observe(rows[:3])
    assert session.spent == 2 and session.left == 0


def test_cheap_runs_cost_their_share(world):
    session = Session(world, 1, seed=0)
    for _ in range(9):
        session.observe(np.arange(SMALL), session.fidelities[0])
    assert not session.can_pay(session.fidelities[0])


def test_the_incumbent_is_the_best_mean_of_the_highest_fidelity():
    a, b, c = np.arange(40), np.arange(40, 80), np.arange(80, 120)

    def log(*items):
        spent, out = 0.0, []
        for rows, score, fidelity in items:
            spent += fidelity
            out.append(Evaluated(rows, score, {}, fidelity, spent))
        return out

    cheap_first = log((a, 9.0, 1 / 3), (b, 1.0, 1 / 3), (b, 0.5, 1 / 3), (c, 0.2, 1.0))
    picks = incumbents(cheap_first, 3)
    assert (picks[0] == a).all() and (picks[1] == c).all() and (picks[2] == c).all()
    repeated = incumbents(log((a, 1.0, 1.0), (b, 2.0, 1.0), (b, -2.0, 1.0)), 3)
    assert [pick[0] for pick in repeated] == [0, 40, 0]
    assert incumbents([], 1) == [None]


def test_a_climb_finds_more_than_it_starts_from(world):
    def truths(subsets):
        return np.array([world.truth(rows) for rows in subsets])

    small = {"starts": 20, "parents": 3, "edits": 8}
    start, _, _ = climb(world.table, truths, world.min_rows, generations=0, **small)
    score, recipe, rows = climb(world.table, truths, world.min_rows, generations=4, **small)
    assert start < score <= 1.0
    assert (np.sort(materialize(recipe, world.table).rows) == np.sort(rows)).all()
