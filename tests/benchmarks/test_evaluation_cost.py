"""The benchmark of an evaluation's cost: time is counted once, functions are put back, the line adds up."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest
import torch
from benchmarks import evaluation

from autoselection.demo import config_path


def test_nested_calls_count_once_and_everything_is_put_back():
    def inner():
        time.sleep(0.02)

    owner = SimpleNamespace(inner=inner)
    owner.outer = outer = lambda: (time.sleep(0.02), owner.inner())
    watch = evaluation.Stopwatch()
    with watch.around(owner, "inner"), watch.around(owner, "outer"):
        started = time.perf_counter()
        owner.outer()
        whole = time.perf_counter() - started
    assert 0.04 <= watch.seconds <= whole
    assert (owner.inner, owner.outer) == (inner, outer)


def test_the_line_adds_up_and_evaluations_are_real(capsys):
    small = ["evaluation.sft.max_steps=3", *(f"tasks.{task}.dev_limit=4" for task in range(4))]
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # torch wraps the class's step when it is first used
    plain = [getattr(owner, name) for owner, name in evaluation.model_steps()]
    options = [part for setting in small for part in ("--set", setting)]
    evaluation.main(["--config", str(config_path()), "--rows", "24", "--repeats", "1", "--json", *options])
    (line,) = (json.loads(text) for text in capsys.readouterr().out.splitlines())
    assert line["items"] == {"addition": 4, "boolean": 4, "counting": 4, "sorting": 4}
    assert line["train_tokens"] > 0
    assert 0 < line["model_seconds"] < line["seconds"]
    assert line["overhead_seconds"] == pytest.approx(line["seconds"] - line["model_seconds"], abs=0.002)
    # Times are rounded to a millisecond, so the share of a short run is known only to so much.
    assert line["overhead_share"] == pytest.approx(
        1 - line["model_seconds"] / line["seconds"], abs=2e-3 / line["seconds"] + 1e-4
    )
    assert [getattr(owner, name) for owner, name in evaluation.model_steps()] == plain
