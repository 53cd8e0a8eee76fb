from __future__ import annotations

import time

import numpy as np
import pytest
from benchmarks.methods import DEFAULT, METHODS
from benchmarks.worlds.base import Session
from benchmarks.worlds.synthetic import SyntheticWorld

from autoselection.compare.autocurate_search import columns_of
from autoselection.compare.multifidelity import Ladder
from autoselection.compare.spaces import Slots
from autoselection.search import SearchConfig, latin_hypercube_recipes
from autoselection.search.baselines import Cube

NEEDS = {"optuna": "optuna", "bohb": "optuna", "botorch": "botorch", "autocurate": "autocurate"}
BUDGET = 7  # beyond the starting points of the models


class Sealed:
    """A world whose truth nobody may look at."""

    def __init__(self, world):
        self._inner = world
        self.table, self.min_rows = world.table, world.min_rows

    def observe(self, rows, seed, fidelity=1.0):
        return self._inner.observe(rows, seed, fidelity)

    def __getattr__(self, name):
        raise AssertionError(f"a method looked at world.{name}")


@pytest.fixture(scope="module")
def sealed():
    return Sealed(SyntheticWorld(2, n=400))


@pytest.mark.parametrize("name", DEFAULT)
def test_every_method_spends_the_budget_without_the_truth_and_repeats_itself(sealed, name):
    for prefix, package in NEEDS.items():
        if name.startswith(prefix):
            pytest.importorskip(package)
    runs = []
    for _ in range(2):
        session = Session(sealed, METHODS[name].budget(BUDGET, sealed.table, SearchConfig()), seed=4)
        METHODS[name].run(session, 4)
        # Of all single operators a few select the same rows: none is paid for twice. autocurate stops after so many
        # recipes that are too small for a training (four times the budget).
        unused = 10 if name.endswith(":all") else 2 if name.startswith("autocurate") else 1
        assert session.budget - unused < session.spent <= session.budget
        for item in session.log:
            assert len(item.rows) >= sealed.min_rows
            assert (np.diff(item.rows) > 0).all() and item.rows.max() < sealed.table.n
        runs.append([(item.observed, item.rows.tolist()) for item in session.log])
    assert runs[0] == runs[1]


def test_a_method_pays_for_its_own_time_and_not_for_that_of_evaluations(sealed):
    class Slow(Sealed):
        def observe(self, rows, seed, fidelity=1.0):
            time.sleep(0.2)
            return super().observe(rows, seed, fidelity)

    session = Session(Slow(SyntheticWorld(2, n=400)), 2, seed=4)
    started = time.perf_counter()
    session.begin()
    time.sleep(0.1)
    session.observe(np.arange(300))
    session.observe(np.arange(200))
    taken = session.controller_seconds
    assert 0.1 <= taken <= time.perf_counter() - started - 0.4


@pytest.mark.parametrize("name", ["random", "single-operators", "ours"])
def test_another_seed_tries_other_subsets(sealed, name):
    tried = []
    for seed in (1, 2):
        session = Session(sealed, 4, seed)
        METHODS[name].run(session, seed)
        tried.append({tuple(item.rows) for item in session.log})
    assert tried[0] != tried[1]


def test_the_cube_is_the_space_of_the_latin_hypercube(sealed):
    from scipy.stats.qmc import LatinHypercube

    cube = Cube(sealed.table, SearchConfig())
    points = LatinHypercube(d=len(cube.names), rng=np.random.default_rng([5, 2])).random(12)
    assert [cube.recipe(point) for point in points] == latin_hypercube_recipes(sealed.table, 12, seed=5)


def test_slots_reach_every_operator_end_and_strength(sealed):
    slots = Slots(sealed.table, SearchConfig())
    assert slots.ends == ("high whole", "high source", "low whole", "low source")
    assert slots.recipe([("none", 0.5, slots.ends[0])]) is None
    for name in slots.operators[1:]:
        for end in slots.ends:
            recipe = slots.recipe([(name, 0.3, end), ("none", 0.1, end), (name, 0.9, end)])
            assert [step.operator for step in recipe.steps] == [name]
    (step,) = slots.recipe([("ifd_filter", 0.0, "low source")]).steps
    assert (step.params["direction"], step.params["scope"]) == ("low", "source")
    (strong,) = slots.recipe([("ifd_filter", 1.0, "low source")]).steps
    assert strong.params["fraction"] > step.params["fraction"]


def test_successive_halving_promotes_the_best_third_once():
    ladder = Ladder(3)
    for key, score in enumerate([0.1, 0.9, 0.5]):
        assert ladder.promotable() is None
        ladder.add(key, 0, score)
    assert ladder.promotable() == (1, 1)
    ladder.add(1, 1, 0.2)
    assert ladder.promotable() is None
    for key in (3, 4, 5):
        ladder.add(key, 0, 0.6 + key / 100)
    assert ladder.promotable() == (5, 1)  # the best third is now 1 and 5; 1 went up before
    ladder.add(5, 1, 0.7)
    ladder.add(2, 1, 0.1)
    assert ladder.promotable() == (5, 2)


def test_their_columns_are_ours(sealed):
    columns = columns_of(sealed.table, SearchConfig())
    assert set(columns) >= {"ifd", "mona_amber", "source", "exact_group", "near_group"}
    group = sealed._inner.hidden.group
    for name in ("exact_group", "near_group"):  # their groups never join rows that are not copies
        for code in np.unique(columns[name]):
            assert len(np.unique(group[columns[name] == code])) == 1
    assert len(np.unique(columns["near_group"])) < sealed.table.n
