"""Which dev metric leads to right answers on test: planted trainings of which it is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.metrics import chosen, guides, report
from benchmarks.recipebench.interpolate import SHIPPED


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Twelve subsets: accuracy on dev is that on test, and the loss ranks the better half the other way round."""
    lines: list[dict[str, Any]] = []
    for place in range(12):
        right = 0.5 + place / 40
        loss = 2.0 - place / 10 if place < 6 else 1.0 + place / 20
        dev = {
            "nll": loss,
            "accuracy": right,
            "option_likelihood": right,
            "option_nll": -float(np.log(right)),
            "greedy_match": 0.0,
        }
        lines.append({"cell": "pool/model", "dev": {"quiz": dev}, "test": {"quiz": {"accuracy": right}}})
    lines.append({"cell": "pool/model", "failure": "it diverged"})
    path = tmp_path / "runs.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_metric_that_is_right_loses_nothing_and_another_does(runs: Path) -> None:
    (guide,) = guides([json.loads(line) for line in runs.read_text().splitlines()])
    accuracy, loss = guide.rank("accuracy"), guide.rank("nll")
    assert accuracy is not None and loss is not None and accuracy.value == pytest.approx(1.0) and loss.value < 0.7
    assert guide.lost("accuracy") == 0.0 and guide.lost("nll") > 0.05
    assert guide.metrics["blend"] == pytest.approx((guide.metrics["nll"] + guide.metrics["option_nll"]) / 2)
    assert guide.rank("greedy_match") is None


def test_the_tables_have_a_line_for_every_metric(runs: Path) -> None:
    text = list(report(runs))
    assert [line.split(" | ")[3] for line in text if line.startswith("| pool/model")] == [
        *("nll", "greedy_match", "accuracy", "option_likelihood", "blend"),
    ]
    (gain,) = [line for line in text if line.startswith("| accuracy |")]
    assert float(gain.split(" | ")[1]) > 0.25


def test_subsets_are_chosen_evenly_over_the_losses_of_a_shipped_table() -> None:
    found = chosen(SHIPPED, 5)
    assert len({entry["key"] for entry in found}) == 5 and all(entry["mask"] for entry in found)
