"""Training and scoring at speed give what a plain loop gives."""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.stand_ins import SHAPES, random_model
from benchmarks.throughput import dispatch, scoring, signals
from benchmarks.throughput.__main__ import main
from benchmarks.throughput.by_hand import pass_tokens, pieces
from benchmarks.throughput.dispatch import counted_events
from benchmarks.throughput.names import OURS, PACKED, PLAIN
from benchmarks.throughput.operations import counted_weights, training_operations
from benchmarks.throughput.prepare import prepare
from benchmarks.throughput.timing import grown
from benchmarks.throughput.trainers import TRAINERS
from benchmarks.throughput.training import training, training_for
from benchmarks.throughput.work import Ran, Row, Work

from autoselection import demo


def test_the_packed_way_and_the_plain_loop_agree(capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["--tokens", "600", "--questions", "6", "--rows", "20", "--repeats", "1", "--dtype", "float32", "--json"]
    assert main([*settings, "--methods", OURS, PLAIN, "--parts", "training", "scoring", "signals", "dispatch"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    found = {(line["part"], line["method"]): line for line in lines}
    assert found["training", OURS]["steps"] > 1
    assert found["training", OURS]["difference"] < 1e-5
    assert found["scoring", OURS]["difference"] < 1e-5
    assert found["signals", OURS]["difference"] < 1e-4
    assert found["signals", OURS]["tokens"] == found["signals", PLAIN]["tokens"] > 0
    assert found["dispatch", OURS]["operators"] > 0


def test_passes_are_counted_and_not_what_is_around_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    monkeypatch.setattr(dispatch, "counted_events", lambda events: seen.append(set(events)) or counted_events(events))
    rows = ["--tokens", "600", "--batch-size", "100"]  # fewer rows than a batch may have
    main([*rows, "--dtype", "float32", "--methods", OURS, PLAIN, PACKED, "--parts", "dispatch", "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [line["method"] for line in lines] == [OURS, PLAIN, PACKED]
    assert [line["passes"] for line in lines] == [1, 1, 1]
    for names in seen:
        assert "aten::embedding" in names and any("Backward" in name for name in names)
        assert not any("adam" in name.lower() or "clip" in name or name == "aten::uniform_" for name in names)


def test_kernels_are_counted_however_they_are_launched() -> None:
    events = {
        "aten::mm": 4,
        "cudaLaunchKernel": 3,
        "cudaLaunchKernelExC": 5,
        "cuLaunchKernel": 7,
        "cuLaunchKernelEx": 11,
    }
    events |= {
        "cudaMemcpyAsync": 2,
        "cudaStreamSynchronize": 1,
        "cudaEventSynchronize": 3,
        "Memcpy HtoD (Pageable -> Device)": 2,
        "other": 9,
    }
    found = counted_events(events)
    assert (found["operators"], found["kernels"]) == (4, 26)
    assert found["copies"] == {"cudaMemcpyAsync": 2, "Memcpy HtoD (Pageable -> Device)": 2}
    assert found["host_syncs"] == {"cudaStreamSynchronize": 1, "cudaEventSynchronize": 3}


def test_the_head_works_on_response_tokens_alone() -> None:
    weights = counted_weights(random_model(SHAPES["smollm2-135m"], "meta"))
    head = 49152 * 576
    assert weights == {"parameters": 134_515_008, "head": head, "looked_up": 0}
    assert training_operations(**weights, tokens=100, responses=100) == 6 * 134_515_008 * 100
    assert training_operations(**weights, tokens=100, responses=25) == 6 * (134_515_008 - 0.75 * head) * 100
    assert training_operations(100, 20, 20, tokens=10, responses=5, frozen=True) == 6 * 60 * 10 + 4 * 20 * 5


def test_loops_by_hand_cut_batches_by_padded_tokens() -> None:
    rows = [Row(np.zeros(length, np.int32), np.zeros(length, np.int32)) for length in (50, 30, 30, 30, 10)]
    cut = [[len(row.ids) for row in piece] for piece in pieces(rows, 60)]
    assert cut == [[50], [30, 30], [30, 10]]
    assert [len(piece) for piece in pieces(rows, None)] == [5]
    small, large = (pass_tokens(SHAPES[name].config(), 80_000_000_000) for name in ("smollm2-135m", "qwen2.5-1.5b"))
    assert 3000 < large < 5000 < 10_000 < small < 20_000


@pytest.mark.parametrize("seconds", [1.0, 20.0, 100.0])
def test_runs_grow_into_the_time_there_is(seconds: float) -> None:
    now = [0.0]
    sizes: list[int] = []

    def make(size: int) -> Callable[[], int]:
        now[0] += 1.0

        def work() -> int:
            sizes.append(size)
            now[0] += 2.0 + 0.25 * size
            return size

        return work

    found = grown(make, seconds, 1000, lambda: (now[0], now[0] / 2))
    assert found.size == found.result == sizes[-1]
    assert found.seconds == (2.0 + 0.25 * found.size, 1.0 + 0.125 * found.size)
    if seconds > 10:
        assert found.unit == pytest.approx(0.25)
        assert seconds / 2 < now[0] <= seconds
    else:
        assert sizes == [1, 1] and found.unit is None
    ticks = itertools.count()
    assert grown(lambda size: lambda: size, 100.0, 5, lambda: (0.01 * next(ticks), 0.0)).size == 5


class Held:
    """The memory of a GPU that is none, in GB: ``torch.cuda``'s functions tell and reset its peak."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.peak = 0.0
        stand_ins: dict[str, Callable[[], Any]] = {
            "max_memory_allocated": lambda: int(self.peak * 1e9),
            "reset_peak_memory_stats": self.reset,
            "empty_cache": lambda: None,
            "synchronize": lambda: None,
        }
        for name, stand_in in stand_ins.items():
            monkeypatch.setattr(torch.cuda, name, stand_in)

    def reset(self) -> None:
        self.peak = 0.0

    def hold(self, amount: float) -> None:
        self.peak = max(self.peak, amount)


def test_memory_is_that_of_the_method_that_held_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    held = Held(monkeypatch)

    def trains(amount: float) -> Callable[[Work, Any], Ran]:
        def train(work: Work, _model: Any) -> Ran:
            held.hold(amount)
            return Ran([1.0] * len(work.batches), 1)

        return train

    needs = {OURS: 3.0, PLAIN: 7.0, PACKED: 5.0}
    for name, amount in needs.items():
        monkeypatch.setitem(TRAINERS, name, trains(amount))  # type: ignore[misc]
    row = Row(np.arange(4, dtype=np.int32), np.arange(4, dtype=np.int32))
    model = random_model(SHAPES["smollm2-135m"], "meta")
    work = Work(tmp_path, "", None, [row] * 4, [], lambda: model, "cuda", torch.bfloat16, 2, 8)
    held.hold(50.0)  # of what ran before, such as a profiled step
    once = {line["method"]: line["memory_gb"] for line in training(work, 2, list(needs))}
    assert once == needs
    held.hold(50.0)
    timed = {name: next(training_for(work, 0.0, name, {}))["memory_gb"] for name in needs}
    assert timed == needs


@pytest.mark.parametrize(("fails", "other"), [(PLAIN, OURS), (OURS, PLAIN)])
@pytest.mark.parametrize("part", ["signals", "scoring"])
def test_a_method_that_fails_costs_the_other_nothing(
    part: str, fails: str, other: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a time to keep, as on a GPU whose memory the plain loop's logits exceed."""
    module, making = {"signals": (signals, "_methods"), "scoring": (scoring, "_scorers")}[part]
    make = getattr(module, making)

    def out_of_memory(*_: Any) -> Any:
        raise torch.OutOfMemoryError("not enough memory")

    monkeypatch.setattr(module, making, lambda *given: {**make(*given), fails: out_of_memory})
    options = argparse.Namespace(
        device="cpu", dtype="float32", model=demo.model_dir(), shape=None, chat_template=None, pool=None, drawn=10,
        batch_size=2, max_length=128, tokens=0, seconds=0.0,
    )  # fmt: skip
    work = prepare(options, tmp_path)
    lines = {line["method"]: line for line in getattr(module, part)(work, 1, 0, 0.0)}
    assert lines[fails] == {"part": part, "method": fails, "failure": "OutOfMemoryError: not enough memory"}
    assert lines[other]["tokens_per_s"] > 0
    assert not {"difference", f"ratio_to_{PLAIN}"} & lines[other].keys()
