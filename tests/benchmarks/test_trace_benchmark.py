"""The synthetic traces: planted faults are found, clean ones that look odd are not taken for faulty."""

from __future__ import annotations

from benchmarks.traces.__main__ import measured, traces
from benchmarks.traces.make import ODD_KINDS
from benchmarks.traces.plant import PLANT


def test_planted_faults_are_found_and_odd_traces_are_left_alone() -> None:
    report, _ = measured(1_800, seed=5)
    assert set(report["kinds"]) == set(PLANT)
    assert min(found["found"] for found in report["kinds"].values()) >= 0.95
    assert report["false_alarms"] <= 0.02
    assert set(report["false_alarms_by_look"]) == {"plain", *ODD_KINDS}


def test_traces_depend_on_the_seed_alone() -> None:
    assert list(traces(40, 3)) == list(traces(40, 3)) != list(traces(40, 4))
