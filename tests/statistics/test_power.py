"""Power against simulation, and the numbers of replicates of the recorded reproduction."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from autoselection.statistics import (
    Spread,
    detectable_by_design,
    detectable_difference,
    power,
    replicates_needed,
)

TINY = Path(__file__).parents[2] / "docs" / "results" / "paper-tiny.json"


def test_power_is_what_a_simulation_finds() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(0.06, 0.05, (20_000, 6)), rng.normal(0, 0.05, (20_000, 6))
    found = np.mean(stats.ttest_ind(one, other, axis=1).pvalue <= 0.05)
    assert power(0.06, 0.05 * np.sqrt(2 / 6), 10) == pytest.approx(found, abs=0.012)
    assert power(0.0, 1.0, 5) == pytest.approx(0.05, abs=1e-5) and power(100.0, 1.0, 1.5) == 1.0
    assert power(0.5, 0.0, np.inf) == 1.0 and power(2.8, 1.0, np.inf) == pytest.approx(0.8, abs=0.003)


@pytest.mark.parametrize("freedom", [1, 4, 30, np.inf])
def test_what_is_detectable_has_the_power_it_is_said_to_have(freedom: float) -> None:
    found = detectable_difference(0.2, freedom)
    assert power(found, 0.2, freedom) == pytest.approx(0.8, abs=1e-4)
    assert detectable_difference(0.2, freedom, at=0.9) > found and detectable_difference(0.0, freedom) == 0


def test_the_fewest_replicates_have_the_power_and_one_less_has_not() -> None:
    spread = Spread((0.05**2, 0.03**2), 0.005**2)
    needed = replicates_needed(0.04, spread)
    assert needed is not None
    assert power(0.04, *spread.error(needed)) >= 0.8 > power(0.04, *spread.error(needed - 1))
    assert replicates_needed(5.0, spread) == 2
    assert replicates_needed(0.01, spread) is None, "the items leave an error of .005: any number finds 52%"
    with pytest.raises(ValueError, match="difference of zero"):
        replicates_needed(0.0, spread)


def test_the_recorded_reproduction_takes_17_replicates_to_find_its_difference_to_random_search() -> None:
    rows = json.loads(TINY.read_text())["rows"]
    scores = {
        name: np.mean(
            [
                [row["value"] for row in sorted(rows, key=lambda row: row["seed"]) if wanted(row, name, task)]
                for task in ("addition", "boolean", "counting", "sorting")
            ],
            axis=0,
        )
        for name in ("AutoSelection", "random recipe search")
    }
    ours, theirs = scores.values()
    assert len(ours) == len(theirs) == 5
    spread = Spread((float(ours.var(ddof=1)), float(theirs.var(ddof=1))))
    assert replicates_needed(0.05, spread) == 17 and power(0.05, *spread.error(16)) == pytest.approx(0.79, abs=0.005)
    pairs = Spread((float((ours - theirs).var(ddof=1)),))
    assert replicates_needed(0.05, pairs) == 23, "pairing by number costs six more"


def wanted(row: dict[str, object], name: str, task: str) -> bool:
    return (row["section"], row["split"], row["metric"], row["method"], row["task"]) == (
        "main",
        "test",
        "score",
        name,
        task,
    )


def test_what_a_design_finds_is_told_in_standard_deviations() -> None:
    found = detectable_by_design(5, paired=False)
    assert found is not None and power(found, np.sqrt(2 / 5), 8) == pytest.approx(0.8, abs=1e-4)
    paired = detectable_by_design(5, paired=True)
    assert paired is not None and power(paired, np.sqrt(1 / 5), 4) == pytest.approx(0.8, abs=1e-4)
    assert detectable_by_design(1, paired=False) is None
