"""Mixtures that the scores of a search point to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoselection.operators.sampling import known_mixtures
from autoselection.search import Observation, SearchController
from autoselection.search.config import SearchConfig
from autoselection.search.learnt_mixtures import (
    BOOSTED,
    BY_LAW,
    EXCESS,
    described,
    learnt_mixtures,
    simulated,
    source_excess,
    task_excess,
)
from autoselection.search.proposer import EditProposer
from autoselection.signals.table import SignalTable

SIZES = {"a": 300, "b": 200, "c": 100}
NAMES = [name for name, size in SIZES.items() for _ in range(size)]


def pool(**columns) -> SignalTable:
    rng = np.random.default_rng(0)
    found = {"n_tokens": rng.integers(20, 60, len(NAMES)).astype(float), "ifd": rng.random(len(NAMES)), **columns}
    return SignalTable.from_arrays(found, source=NAMES)


def near_tasks() -> SignalTable:
    """Source a is near task x, c near y, b near both alike (x first by name)."""
    place = np.array([{"a": 0.9, "b": 0.5, "c": 0.1}[name] for name in NAMES])
    return pool(**{"mona/x": place, "mona/y": 1 - place})


def searched(table: SignalTable, score, evaluations: int = 9, seed: int = 0) -> SearchController:
    """A search whose score of two tasks depends on the shares of sources alone."""
    config = SearchConfig(evaluations=evaluations, also=("source_mix",), seed=seed, min_rows=60, proposals=40)
    controller = SearchController(table, config)
    while candidates := controller.ask():
        for candidate in candidates:
            shares = described(candidate.rows, table)[:-1]
            tasks = score(shares)
            controller.tell(Observation(candidate.id, float(np.mean(list(tasks.values()))), tasks))
    return controller


def test_a_subset_is_described_by_shares_and_size():
    rows = np.r_[0:60, 300:340, 340:360]
    assert described(rows, pool()) == pytest.approx([0.5, 0.5, 0.0, np.log(120 / 600)])


def test_regressions_point_to_the_better_source():
    table = near_tasks()
    controller = searched(table, lambda shares: {"x": -abs(shares[2] - 0.6), "y": -abs(shares[2] - 0.6)})
    scored = controller.history
    found = {each.method: each for each in learnt_mixtures(scored, table, np.random.default_rng(0))}
    assert set(found) == {BOOSTED, BY_LAW}
    for each in found.values():
        assert each.shares.sum() == pytest.approx(1.0) and each.shares[2] > 1 / 3
        sizes = [len(trial.candidate.rows) / len(NAMES) for trial in scored]
        assert min(sizes) * 0.99 <= each.kept <= max(sizes) * 1.01
    assert learnt_mixtures(scored[:3], table, np.random.default_rng(0)) == []


def test_a_training_that_diverged_says_no_more_than_the_worst():
    table = near_tasks()
    scored = list(searched(table, lambda shares: {"x": -abs(shares[2] - 0.6)}).history)
    others = [trial.score for trial in scored[:2] + scored[3:]]

    def proposed(score):
        told = [*scored[:2], replace(scored[2], observation=replace(scored[2].observation, score=score)), *scored[3:]]
        return {each.method: each.shares for each in learnt_mixtures(told, table, np.random.default_rng(0))}

    wild, worst = proposed(-1000.0), proposed(min(others))
    assert wild.keys() == worst.keys() == {BOOSTED, BY_LAW}
    for method in wild:
        assert wild[method] == pytest.approx(worst[method])


def test_excess_losses_of_tasks_are_those_of_the_sources_near_them():
    table = near_tasks()
    assert source_excess({"x": 0.2, "y": 1.0}, table) == pytest.approx([0.2, 0.2, 1.0])
    assert source_excess({"x": 0.2, "y": 1.0}, pool()) == pytest.approx([0.6, 0.6, 0.6])
    controller = searched(table, lambda shares: {"x": 1.5 * shares[0], "y": shares[2]})
    scored = controller.history
    best = int(np.argmax([trial.score for trial in scored]))
    worse = task_excess(scored, best)
    assert worse == pytest.approx(
        {
            task: max(trial.observation.tasks[task] for trial in scored) - scored[best].observation.tasks[task]
            for task in ("x", "y")
        }
    )
    mixture = {each.method: each for each in learnt_mixtures(scored, table, np.random.default_rng(0))}[EXCESS]
    before = described(scored[best].candidate.rows, table)
    assert mixture.kept == pytest.approx(np.exp(before[-1]))
    more = 2 if worse["y"] > worse["x"] else 0
    assert mixture.shares[more] > before[more] - 1e-3


def test_simulated_mixtures_stay_on_the_simplex_and_within_sizes():
    runs = np.array([[0.5, 0.5, 0.0, -1.0], [0.1, 0.2, 0.7, -2.0]])
    found = simulated(runs, np.random.default_rng(0), 200)
    assert found.shape == (200, 4)
    assert found[:, :3].sum(axis=1) == pytest.approx(1.0)
    assert found[:, 3].min() >= -2 and found[:, 3].max() <= -1


class Listening(EditProposer):
    """Notes how proposals were made."""

    def __init__(self, config: SearchConfig) -> None:
        super().__init__(config)
        self.made: list[str] = []

    def propose(self, request):
        found = super().propose(request)
        self.made += [each.made for each in found.recipes]
        return found


@pytest.mark.parametrize("also", [(), ("source_mix",)])
def test_only_a_search_that_mixes_is_proposed_mixtures(also):
    table = near_tasks()
    config = SearchConfig(evaluations=8, also=also, min_rows=60, proposals=40)
    proposer = Listening(config)
    controller = SearchController(table, config, proposer=proposer)
    while candidates := controller.ask():
        for candidate in candidates:
            shares = described(candidate.rows, table)[:-1]
            tasks = {"x": -abs(shares[2] - 0.6), "y": -abs(shares[0] - 0.1)}
            controller.tell(Observation(candidate.id, float(np.mean(list(tasks.values()))), tasks))
    said = {made.partition(";")[0] for made in proposer.made if "the mixture that" in made}
    assert said == {
        f"fresh recipe with the mixture that {method} proposes" for method in (BOOSTED, BY_LAW, EXCESS) if also
    }


def test_known_mixtures_follow_rules_and_falling_losses():
    found = known_mixtures(pool(loss_drop=np.array([{"a": 0.0, "b": np.log(2), "c": -3.0}[name] for name in NAMES])))
    assert list(found) == ["size", "equal", "tempered", "unimax", "excess loss"]
    assert found["excess loss"] == pytest.approx([0.25, 0.5, 0.25], abs=1e-3)
    assert found["unimax"] == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    powers = np.array([300, 200, 100]) ** 0.3
    assert found["tempered"] == pytest.approx(powers / powers.sum())
