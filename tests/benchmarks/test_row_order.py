"""How far luck follows the rows is found again in scores that were made with it."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from benchmarks.half_pass import interval
from benchmarks.lines import Lines
from benchmarks.row_order import SHARES, Run, share_likelihood, spread

from autoselection.search.overlaps import overlap

ROWS, OVERLAPS = 300, (0.5, 0.7, 0.9, 0.97)


def scored(share: float, seeds: int) -> list[dict[str, float | str]]:
    """Runs of both orders, whose luck follows the rows in that of keys alone; larger subsets score better."""
    rng = np.random.default_rng(1)
    records = []
    for order, seed in product(("positions", "keys"), range(seeds)):
        runs = [Run(order, "max_steps=5", level, number, seed) for level in OVERLAPS for number in range(8)]
        similarity = overlap([run.rows(ROWS) for run in runs], np.ones(ROWS))
        common = share if order == "keys" else 0.0
        luck = rng.multivariate_normal(np.zeros(len(runs)), common * similarity + (1 - common) * np.eye(len(runs)))
        records += [{**vars(run), "mean": 5 * run.overlap + 0.01 * own} for run, own in zip(runs, luck, strict=True)]
    return records


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_the_share_is_found_again(share: float) -> None:
    found = share_likelihood(scored(share, 6), ROWS, ["mean"], "keys", 1)
    assert SHARES[found.argmax()] == pytest.approx(share, abs=0.15)
    inside = SHARES[found > found.max() - 1.92]
    assert inside.min() - 0.01 <= share <= inside.max() + 0.01


def test_a_spread_is_that_within_seeds() -> None:
    runs = [{"seed": seed, "mean": 10.0 * seed + own} for seed in (0, 1) for own in (-1.0, 0.0, 1.0)]
    deviation, low, high = spread(runs, "mean")
    assert deviation == pytest.approx(1.0) and low < 1.0 < high


def test_lines_outlive_a_torn_end_and_an_interval_is_students(tmp_path: Path) -> None:
    lines = Lines(tmp_path / "new" / "runs.jsonl")  # the folder is made
    lines.add({"key": "a", "score": 1.0})
    with lines.path.open("a") as file:
        file.write('{"key": "b", "sc')
    again = Lines(lines.path)
    assert again.known == {"a": {"key": "a", "score": 1.0}}
    again.add({"key": "b", "score": 2.0})
    assert set(Lines(lines.path).known) == {"a", "b"}
    assert interval([0.0, 2.0]) == pytest.approx((1.0, 1.0 - 12.706, 1.0 + 12.706), abs=1e-3)
