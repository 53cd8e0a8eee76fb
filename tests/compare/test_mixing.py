"""Ways to mix sources of the literature, as methods of a comparison."""

from __future__ import annotations

import numpy as np
import pytest

from autoselection.compare import DEFAULT, METHODS, Rows, Session
from autoselection.compare.mixing import MIXING
from autoselection.signals.table import SignalTable

SIZES = {"a": 600, "b": 300, "c": 100}
NAMES = [name for name, size in SIZES.items() for _ in range(size)]


class Shares:
    """A pool whose tasks depend on the shares of sources: x likes a, y likes c."""

    def __init__(self, best: float = 0.6, one_source: bool = False) -> None:
        place = np.array([{"a": 0.9, "b": 0.5, "c": 0.1}[name] for name in NAMES])
        columns = {"mona/x": place, "mona/y": 1 - place}
        self.table = SignalTable.from_arrays(columns, source=["a"] * 1000 if one_source else NAMES)
        self.min_rows = 50
        self.best = best

    def observe(self, rows: Rows, seed: int, fidelity: float = 1.0) -> dict[str, float]:
        shares = np.bincount(self.table.source[rows], minlength=3) / len(rows)
        off = -4 * (shares[2] - self.best) ** 2 - 0.1 * abs(np.log(len(rows) / 300))
        return {"x": shares[0] + off, "y": off}


def run(name: str, world: Shares, budget: int = 9, seed: int = 0) -> Session:
    session = Session(world, budget, seed)
    METHODS[name].run(session, seed)
    return session


def shares_of(rows: Rows) -> list[float]:
    return (np.bincount(np.searchsorted([600, 900], rows, side="right"), minlength=3) / len(rows)).round(3).tolist()


def test_they_are_known_and_asked_for_by_name():
    assert {method.name for method in MIXING} <= set(METHODS)
    assert not {method.name for method in MIXING} & set(DEFAULT)


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        ("mix:proportional", [0.6, 0.3, 0.1]),
        ("mix:equal", [1 / 3, 1 / 3, 1 / 3]),
        # 600^0.3 : 300^0.3 : 100^0.3 = 6.815 : 5.536 : 3.981
        ("mix:tempered", [0.417, 0.339, 0.244]),
    ],
)
def test_rules_keep_their_shares_at_every_size_that_sources_can_serve(name, shares):
    log = run(name, Shares()).log
    sizes = [len(item.rows) for item in log]
    assert sizes[:3] == [1000, 224, 473] and min(sizes) >= 50 and len(log) == 9
    for item in log:
        if len(item.rows) <= 250:
            assert shares_of(item.rows) == pytest.approx(shares, abs=0.01)


def test_unimax_repeats_rows_four_times_at_most():
    log = run("mix:unimax", Shares()).log
    counts = np.unique(log[0].rows, return_counts=True)[1]
    assert len(log[0].rows) == 1000 and shares_of(log[0].rows) == pytest.approx([1 / 3] * 3, abs=0.01)
    assert counts.max() == 4


def test_doremi_gives_more_to_the_task_that_lags_behind():
    # The reference, the pool's own mixture, has more of a: from equal shares on x lags behind it, y does not.
    log = run("mix:doremi", Shares(best=0.2), budget=9).log
    moved = [shares_of(item.rows) for item in log[:6]]
    assert moved[0] == [0.6, 0.3, 0.1] and moved[1] == pytest.approx([1 / 3] * 3, abs=0.01)
    first = [item.tasks for item in log[:2]]
    lag = {task: max(0.0, first[0][task] - first[1][task]) for task in ("x", "y")}
    # One step by hand: b is near x, the first by name.
    weights = np.exp([lag["x"], lag["x"], lag["y"]])
    assert moved[2] == pytest.approx((weights / weights.sum()).round(3), abs=0.01)
    assert len({len(item.rows) for item in log[:6]}) == 1 < len({len(item.rows) for item in log})


@pytest.mark.parametrize("name", ["mix:regmix", "mix:law"])
def test_regressions_end_nearer_to_the_best_mixture_than_they_began(name):
    world = Shares()
    ends, begins = [], []
    for seed in range(3):
        log = run(name, world, budget=14, seed=seed).log
        off = [abs(shares_of(item.rows)[2] - world.best) for item in log]
        begins.append(np.mean(off[:7]))
        ends.append(np.mean(off[-3:]))
    assert np.mean(ends) < 0.8 * np.mean(begins), (begins, ends)


@pytest.mark.parametrize("name", [method.name for method in MIXING])
def test_a_pool_of_one_source_has_nothing_but_its_size(name):
    log = run(name, Shares(one_source=True), budget=4).log
    assert log and len({len(item.rows) for item in log}) == len(log)
