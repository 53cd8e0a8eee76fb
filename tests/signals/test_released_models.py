"""What signals load goes when no signal needs it any more: the next model, or a training, has its memory."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from autoselection.demo import model_dir, sae_dir, task_file
from autoselection.pool import Pool, ingest
from autoselection.signals import Need, Rows, Shard, Signal, SignalRegistry, SignalsConfig, score_pool
from autoselection.signals.inputs import Inputs
from autoselection.tasks import TaskConfig


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return ingest([{"prompt": f"Add {i}", "response": str(i)} for i in range(4)], tmp_path / "pool").pool


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Without automatic collection: what is part of a cycle lives on until somebody collects."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Model:
    """Part of a cycle, as models are."""

    def __init__(self) -> None:
        self.own = self


FIRST = Need("no first model", "give a first model", lambda inputs: True)
SECOND = Need("no second model", "give a second model", lambda inputs: True)


class Reader(Signal):
    """Loads a model and says which ones are alive when it is done."""

    loaded: ClassVar[dict[Need, weakref.ref[Model]]] = {}
    alive: ClassVar[dict[str, list[Need]]] = {}

    def compute(self, rows: Rows) -> Shard:
        (need,) = self.needs
        model = rows.inputs.keep(need.absent, Model, need)
        self.loaded.setdefault(need, weakref.ref(model))
        self.alive[self.name] = [of for of, found in self.loaded.items() if found() is not None]
        return Shard({self.columns[0]: np.zeros(len(rows))})


class One(Reader):
    name, columns, needs, cost = "one", ("one",), (FIRST,), 1


class Two(Reader):
    name, columns, needs, cost = "two", ("two",), (FIRST,), 2


class Three(Reader):
    name, columns, needs, cost = "three", ("three",), (SECOND,), 3


def test_a_model_goes_before_the_next_one_is_loaded(
    pool: Pool, uncollected: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    Reader.loaded, Reader.alive, emptied = {}, {}, []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    registry = SignalRegistry([One, Two, Three])
    config = SignalsConfig().model_copy(update={"options": {}})
    score_pool(pool, config, signals=["one", "two", "three"], registry=registry)
    assert Reader.alive == {"one": [FIRST], "two": [FIRST], "three": [SECOND]}
    assert [found() for found in Reader.loaded.values()] == [None, None]
    assert len(emptied) >= 2


def test_no_model_is_left_when_a_pool_is_scored(pool: Pool, uncollected: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base model with an SAE's, which several signals share, and checkpoints behind them."""
    alive: list[list[bool]] = []
    loaded: list[weakref.ref[Any]] = []
    load = Inputs.load

    def counting(self: Inputs, path: Any) -> Any:
        alive.append([found() is not None for found in loaded])
        model = load(self, path)
        loaded.append(weakref.ref(model))
        return model

    monkeypatch.setattr(Inputs, "load", counting)
    task = TaskConfig(name="addition", dev=task_file("addition", "dev"), target=task_file("addition", "target"))
    config = SignalsConfig(device="cpu", trajectory_models=(str(model_dir()), str(model_dir())))
    options: dict[str, Any] = {"model": model_dir(), "sae": sae_dir(), "tasks": [task]}
    report = score_pool(pool, config, signals=["ifd", "sae", "mona", "trajectory"], **options)
    assert not report.cached and len(loaded) == 2, "the base model, and a checkpoint"
    assert alive == [[], [False]]
    assert [found() for found in loaded] == [None, None]
