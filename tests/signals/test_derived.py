"""What is built once for a pool: held in memory within a limit, stored beside the signals, mended if damaged."""

from __future__ import annotations

import gc
import logging
from dataclasses import replace

import numpy as np
import pytest

from autoselection.signals.derived import memory as memory_module
from autoselection.signals.derived.contract import DerivedSignal
from autoselection.signals.derived.memory import kept_with
from autoselection.testing.tables import signal_table as make_table


@pytest.fixture
def memory(monkeypatch):
    """An empty memory of its own."""
    fresh = memory_module._Memory()
    monkeypatch.setattr(memory_module, "_MEMORY", fresh)
    return fresh


def stored_table(folder, sae_key="1"):
    return replace(make_table(0), folder=folder, keys={"pool": "p", "sae": sae_key, "minhash": "m"})


class Builder:
    def __init__(self, values=(1, 2, 3)):
        self.calls = 0
        self.values = values

    def __call__(self):
        self.calls += 1
        return {"values": np.array(self.values), "empty": np.zeros(0, np.float32)}


class Things(DerivedSignal):
    name = "things"
    uses = ("sae",)

    def __init__(self, make, version, params):
        super().__init__(**params)
        self.make, self.version = make, version

    def build(self, table):
        return self.make()


def fetch(table, build, version=1, **params):
    return Things(build, version, params).of(table)


def test_artefacts_are_built_once_for_a_table_and_vanish_with_it(memory):
    calls = []
    first, second = make_table(0), make_table(0)
    for table in (first, first, second):
        kept_with(table, "x", lambda: calls.append(1) or np.zeros(10))
    assert len(calls) == 2 and memory.held == 160
    del first, second, table
    gc.collect()
    assert memory.held == 0


def test_the_least_recently_used_go_first(memory, monkeypatch):
    monkeypatch.setattr(memory_module, "MEMORY_LIMIT", 250)
    monkeypatch.setattr(memory_module, "MEMORY_PER_ROW", 0)
    table, built = make_table(0), []

    def get(name, size):
        kept_with(table, name, lambda: built.append(name) or {"a": np.zeros(size, np.uint8)})

    for name, size in [("a", 100), ("b", 100), ("a", 100), ("c", 100), ("a", 100), ("b", 100)]:
        get(name, size)
    assert built == ["a", "b", "c", "b"] and memory.held == 200
    get("large", 1000)
    get("large", 1000)
    assert built[-1] == "large" and memory.held == 1000


def test_arrays_are_read_again_by_the_next_process(memory, tmp_path, monkeypatch):
    build = Builder()
    first = fetch(stored_table(tmp_path), build, threshold=0.5)
    monkeypatch.setattr(memory_module, "_MEMORY", memory_module._Memory())
    again = fetch(stored_table(tmp_path), build, threshold=0.5)
    assert build.calls == 1
    assert again["values"].tolist() == first["values"].tolist() == [1, 2, 3]
    assert isinstance(again["values"], np.memmap) and again["empty"].dtype == np.float32
    for table, version, threshold in (
        (stored_table(tmp_path), 1, 0.6),
        (stored_table(tmp_path), 2, 0.5),
        (stored_table(tmp_path, sae_key="2"), 1, 0.5),
    ):
        fetch(table, build, version=version, threshold=threshold)
    assert build.calls == 4
    other = replace(stored_table(tmp_path), keys={"pool": "p", "sae": "1", "minhash": "another"})
    fetch(other, build, threshold=0.5)
    assert build.calls == 4, "it does not depend on the other signal"


@pytest.mark.parametrize("harm", ["changed", "cut", "lost", "no meta", "garbled meta"])
def test_what_is_damaged_is_built_again_and_logged(memory, tmp_path, monkeypatch, caplog, harm):
    fetch(stored_table(tmp_path), Builder())
    (path,) = tmp_path.glob("artefacts/things/*/values.npy")
    meta = path.with_name("meta.json")
    if harm == "changed":
        path.write_bytes(path.read_bytes()[:-1] + b"\x09")
    elif harm == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    elif harm == "lost":
        path.unlink()
    elif harm == "no meta":
        meta.unlink()
    else:
        meta.write_text("[1]")
    monkeypatch.setattr(memory_module, "_MEMORY", memory_module._Memory())
    build = Builder()
    with caplog.at_level(logging.WARNING):
        assert fetch(stored_table(tmp_path), build)["values"].tolist() == [1, 2, 3]
    assert build.calls == 1 and "built again" in caplog.text
    monkeypatch.setattr(memory_module, "_MEMORY", memory_module._Memory())
    fetch(stored_table(tmp_path), build)
    assert build.calls == 1, "it was mended on disk"


def test_two_processes_may_build_the_same(memory, tmp_path):
    outer = Builder()

    def slow():
        memory_module._MEMORY = memory_module._Memory()  # a second process begins and ends meanwhile
        fetch(stored_table(tmp_path), outer)
        return {"values": np.array([1, 2, 3]), "empty": np.zeros(0, np.float32)}

    assert fetch(stored_table(tmp_path), slow)["values"].tolist() == [1, 2, 3]
    assert outer.calls == 1
    (folder,) = (tmp_path / "artefacts" / "things").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["empty.npy", "meta.json", "values.npy"]


def test_without_a_folder_nothing_is_written(memory, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build, table = Builder(), make_table(0)
    fetch(table, build)
    fetch(table, build)
    assert build.calls == 1 and not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_logged(memory, tmp_path, caplog):
    (tmp_path / "artefacts").write_text("a file in the way")
    with caplog.at_level(logging.WARNING):
        assert fetch(stored_table(tmp_path), Builder())["values"].tolist() == [1, 2, 3]
    assert "cannot be written" in caplog.text
