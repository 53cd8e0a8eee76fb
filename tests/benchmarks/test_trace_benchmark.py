"""The synthetic traces: planted faults are found, clean ones that look odd are not taken for faulty."""

from __future__ import annotations

import pytest
from benchmarks.traces.__main__ import measured, traces
from benchmarks.traces.make import odd_kinds
from benchmarks.traces.plant import PLANT
from benchmarks.traces.surfaces import USUAL


@pytest.mark.parametrize("held_out", [0, 1, 2, 3])
def test_planted_faults_are_found_and_odd_traces_are_left_alone(held_out: int) -> None:
    report, _ = measured(1_800 if held_out == 0 else 900, seed=5, held_out=held_out)
    assert set(report["kinds"]) == set(PLANT)
    assert min(found["found"] for found in report["kinds"].values()) >= 0.95
    assert report["false_alarms"] <= 0.02
    if held_out == 0:
        assert set(report["false_alarms_by_look"]) == {"plain", *odd_kinds(USUAL)}


def test_traces_depend_on_the_seed_alone() -> None:
    assert list(traces(40, 3)) == list(traces(40, 3)) != list(traces(40, 4))
