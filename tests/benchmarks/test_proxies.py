from __future__ import annotations

import numpy as np
import pytest
from benchmarks.recipebench.interpolate import Evaluations
from benchmarks.recipebench.proxies import DRAWS, TRAINED_ON, diagnose_table
from benchmarks.worlds.synthetic import SyntheticWorld

from autoselection.diagnose import Diagnosis
from autoselection.recipes import materialize
from autoselection.search import random_recipes

SUBSETS, NOISE = 60, 0.01


@pytest.fixture(scope="module")
def found() -> Diagnosis:
    """Losses that fall with the share of rows kept; every third subset has a second training."""
    world = SyntheticWorld(4, n=400)
    rng = np.random.default_rng(0)
    subsets, seeds, losses = [], [], []
    for number, recipe in enumerate(random_recipes(world.table, SUBSETS)):
        rows = np.sort(materialize(recipe, world.table).rows)
        for seed in range(2 if number % 3 == 0 else 1):
            loss = 2.0 - len(rows) / world.table.n + NOISE * rng.normal(size=2)
            subsets.append(rows)
            seeds.append(seed)
            losses.append([*loss, *(loss + 0.1)])
    outputs = ("dev/amber", "dev/basalt", "test/amber", "test/basalt")
    evaluations = Evaluations(tuple(subsets), np.array(seeds), np.array(losses), outputs)
    return diagnose_table(world.table, evaluations, draws=20, resamples=200)


def test_subsets_are_the_trials_and_all_kinds_are_there(found: Diagnosis) -> None:
    assert found.trials == SUBSETS and DRAWS > 20
    kinds = {line.kind for line in found.lines}
    assert kinds == {"state", "size", "signal", "left out", "test"}
    names = {line.name for line in found.lines}
    assert {"mean ifd", "mean mona/amber", "retain_ratio", "tokens"} <= names
    assert {f"surrogate fitted on {size} others: mu" for size in TRAINED_ON} <= names


def test_planted_relations_are_found(found: Diagnosis) -> None:
    by_name = {line.name: line.correlation for line in found.lines}
    for name in ("rows", "test score", "dev score with another seed", "surrogate fitted on 30 others: mu"):
        correlation = by_name[name]
        assert correlation.excludes_zero and correlation.spearman is not None and correlation.spearman.value > 0.8
    assert by_name["dev score with another seed"].trials == SUBSETS // 3
    few, many = (by_name[f"surrogate fitted on {size} others: mu"].spearman for size in (8, 30))
    assert few is not None and many is not None and few.value < many.value
    assert [item.name for item in found.calibrations] == [f"surrogate fitted on {size} others" for size in TRAINED_ON]
