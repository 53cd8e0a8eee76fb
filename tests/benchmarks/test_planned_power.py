"""Planning a comparison: differences are paired by seed, subsets are those that were named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.power import comparison, named_rows

from autoselection import ingest
from autoselection.statistics import Spread, power


def _scores(values: dict[int, float]) -> dict[int, dict[str, float]]:
    return {seed: {"mean": value, "seconds": 90.0} for seed, value in values.items()}


def test_differences_are_paired_by_seed() -> None:
    first, second = {3: 0.1, 1: 0.5, 2: 0.9}, {1: 0.61, 2: 1.0, 3: 0.19, 7: 5.0}
    found = comparison(_scores(first), _scores(second), "mean", 0.95)
    apart = np.array([second[seed] - first[seed] for seed in (1, 2, 3)])
    assert (found["seeds"], found["difference"]) == (3, pytest.approx(0.1, abs=1e-5))
    assert found["spread"] == pytest.approx(apart.std(ddof=1), abs=1e-5) and found["correlation"] > 0.99
    needed = found["seeds_for_half"]
    freely = [power(0.05, *Spread((found["spread"] ** 2,)).error(count)) >= 0.8 for count in (needed - 1, needed)]
    assert freely == [False, True]
    assert found["hours_for_half"] == pytest.approx(2 * needed * 90 / 3600, abs=1e-4)


def test_subsets_are_those_of_the_command_line(tmp_path: Path) -> None:
    rows = [{"id": f"r{n}", "prompt": f"p{n}", "response": "x", "source": "abc"[n % 3]} for n in range(30)]
    pool = ingest(rows, tmp_path / "pool").pool
    ids = tmp_path / "ids.json"
    ids.write_text(json.dumps(["r7", "r2"]))
    assert named_rows("all", pool)[1].tolist() == list(range(30))
    name, own = named_rows("own=sources:a,c", pool)
    assert name == "own" and own.tolist() == [n for n in range(30) if n % 3 != 1]
    assert named_rows(f"file={ids}", pool)[1].tolist() == [2, 7]
    drawn = named_rows("half=random:0.5", pool)[1]
    assert len(set(drawn.tolist())) == 15 and drawn.tolist() == sorted(drawn.tolist())
