"""The demo's guards, and the benchmark of what floors keep of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.demo_study import demo_study
from benchmarks.floors import interval, study_config, summary

from autoselection.config import load_config
from autoselection.demo import config_path, pool_file
from autoselection.tasks import load_items


def test_the_demos_guards_have_items_of_their_own() -> None:
    config = load_config(config_path())
    guards = [task for task in config.tasks if task.weight == 0]
    assert [task.name for task in guards] == ["reversing", "shouting"] and all(task.target is None for task in guards)
    asked = {json.loads(line)["messages"][0]["content"] for line in pool_file().read_text().splitlines()}
    for task in guards:
        dev, test = ({item.prompt for item in load_items(task, split)} for split in ("dev", "test"))
        assert (len(dev), len(test)) == (60, 100)
        assert dev.isdisjoint(test) and asked.isdisjoint(dev | test)


def test_benchmarks_measure_the_demo_without_them() -> None:
    assert [task.name for task in demo_study().tasks] == ["addition", "boolean", "counting", "sorting"]


def test_an_arm_has_floors_and_the_other_has_none(tmp_path: Path) -> None:
    bound, free = (study_config(arm, 3, tmp_path / "pool", "base - 0.1", ["source_mix"]) for arm in ("floors", "free"))
    assert [task.floor for task in bound.tasks] == [None] * 4 + ["base - 0.1"] * 2
    assert {task.floor for task in free.tasks} == {None}
    for config in (bound, free):
        assert [task.metric for task in config.tasks[4:]] == ["exact_match"] * 2
        assert (config.search.seed, config.evaluation.seeds, config.final.seeds) == (3, (3,), (3,))
        assert config.search.also == ("source_mix",) and config.incumbent.recipe == "none"


def test_arms_are_compared_seed_by_seed() -> None:
    lines = [
        {"arm": arm, "seed": seed, "test": -0.5 + 0.1 * seed - lost, "kept": kept, "dev": 0.0}
        for arm, lost, kept in (("floors", 0.02, 0.95), ("free", 0.0, 0.3))
        for seed in range(2 + (arm == "free"))
    ]
    floors, free, change = summary(lines)
    assert (floors["test"]["seeds"], free["test"]["seeds"], change["test"]["seeds"]) == (2, 3, 2)
    assert change["test"]["mean"] == pytest.approx(-0.02) and change["kept"]["mean"] == pytest.approx(0.65)
    assert change["test"]["ci95"] == pytest.approx([-0.02, -0.02], abs=1e-9)
    assert interval([1.0])["ci95"] is None
    assert interval([0.0, 1.0])["ci95"] == pytest.approx([0.5 - 12.7062 * 0.5, 0.5 + 12.7062 * 0.5], rel=1e-4)
