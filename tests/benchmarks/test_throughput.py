"""Training and scoring at speed give what a plain loop gives."""

from __future__ import annotations

import json

import pytest
from benchmarks.throughput import OURS, PLAIN, main


def test_the_packed_way_and_the_plain_loop_agree(capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["--tokens", "600", "--questions", "6", "--repeats", "1", "--dtype", "float32", "--json"]
    main([*settings, "--methods", OURS, PLAIN, "--parts", "training", "scoring", "dispatch"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    found = {(line["part"], line["method"]): line for line in lines}
    assert found["training", OURS]["steps"] > 1
    assert found["training", OURS]["difference"] < 1e-5
    assert found["scoring", OURS]["difference"] < 1e-5
    assert found["dispatch", OURS]["operators"] > 0
