"""The comparison of an accelerator with the CPU, with the CPU in both places."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.device import evaluations, signals

from autoselection.config import load_config
from autoselection.demo import config_path, pool_file


@pytest.mark.slow
def test_a_device_agrees_with_itself(tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    few.write_bytes(b"\n".join(pool_file().read_bytes().split(b"\n")[:120]) + b"\n")
    small = [f"pool.files=[{few}]", "evaluation.sft.max_steps=3", *(f"tasks.{i}.dev_limit=4" for i in range(4))]
    study = load_config(config_path(), small)
    exact, again, rounded = signals(study, "cpu", tmp_path / "signals")
    assert exact["ifd_largest_difference"] == again["ifd_largest_difference"] == 0.0
    assert 0.0 < rounded["ifd_largest_difference"] < 1.0 and rounded["ifd_rank_correlation"] > 0.99
    lines = list(evaluations(study, "cpu", tmp_path / "evaluations"))
    assert all(line["failure"] is None and line["steps"] == 3 for line in lines)
    same = [line["difference"] for line in lines if line["dtype"] == "float32"]
    assert same == pytest.approx([0.0] * len(same), abs=1e-9)
