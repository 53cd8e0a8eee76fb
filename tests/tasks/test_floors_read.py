"""How floors are written, read and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from autoselection.config import load_config
from autoselection.errors import ConfigError
from autoselection.tasks import Floor, TaskConfig, shortfall

BASE, TODAY = 0.5, 0.75


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("incumbent - 0.01", 0.74),
        ("incumbent", 0.75),
        (" base+.25 ", 0.75),
        ("base - 1e-1", 0.4),
        ("0.3", 0.3),
        (0.3, 0.3),
        (-2, -2.0),
        ("- 0.3", -0.3),
    ],
)
def test_floors_are_numbers_or_measured_from_a_reference(text, value):
    task = TaskConfig(name="a", dev=Path("dev.jsonl"), floor=text)
    assert task.lowest.value({"base": BASE, "incumbent": TODAY}) == pytest.approx(value)
    assert TaskConfig.model_validate(task.model_dump(mode="json")) == task


@pytest.mark.parametrize(
    "text",
    [
        "",
        "today - 0.1",
        "base * 0.9",
        "base -",
        "base - base",
        "0.1 - 0.2",
        "1e999",
        "nan",
        "__import__('os')",
        True,
        [],
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ValidationError):
        TaskConfig(name="a", dev=Path("dev.jsonl"), floor=text)


def config_with(tmp_path, floor, more=""):
    path = tmp_path / "study.yaml"
    path.write_text(
        f"pool: {{path: pool}}\nmodel: {{path: model}}\ntasks:\n  - {{name: a, dev: a.jsonl}}\n"
        f"  - name: b\n    dev: b.jsonl\n    floor: {floor}\n{more}"
    )
    return path


def test_a_wrong_floor_is_one_sentence_with_its_line(tmp_path):
    assert load_config(config_with(tmp_path, "base - 0.02")).tasks[1].lowest == Floor("base", -0.02)
    path = config_with(tmp_path, "base * 0.9")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == (
        f"{path}:7: tasks.1.floor: expected a number, base or incumbent, the last two with + or - and a number behind if need be, "
        "such as 'incumbent - 0.01' (got 'base * 0.9')."
    )
    for value in ("true", "[1]"):  # no text and no number either
        with pytest.raises(ConfigError, match=r"study\.yaml:7: tasks\.1\.floor: expected a number, base or incumbent"):
            load_config(config_with(tmp_path, value))
    path = config_with(tmp_path, "incumbent - 0.01", "incumbent: {recipe: none}\n")
    with pytest.raises(
        ConfigError, match=r"study\.yaml:7: tasks\.1\.floor: it is measured from the incumbent, and incumbent"
    ):
        load_config(path)
    assert load_config(config_with(tmp_path, "base", "incumbent: {recipe: none}\n")).tasks[1].lowest == Floor(
        "base", 0.0
    )


def test_what_is_missed_is_summed_over_floors():
    floors = {"a": 0.5, "b": -1.0}
    assert shortfall({"a": 0.5, "b": 0.0, "c": -9.0}, floors) == 0
    assert shortfall({"a": 0.25, "b": -1.5}, floors) == pytest.approx(0.75)
    assert shortfall({"a": -np.inf, "b": 0.0}, floors) == np.inf


def test_a_floor_is_not_missed_by_rounding() -> None:
    floor = Floor.parse("base - 0.1").value({"base": 0.8})
    assert floor > 0.7 and shortfall({"a": 0.7}, {"a": floor}) == 0
    low, high = np.mean([0.58, 0.6, 0.66]), np.mean([0.48, 0.62, 0.74])
    assert low < high and shortfall({"a": low}, {"a": high}) == 0  # 92 of 150 right by both
    assert shortfall({"a": 0.7 - 1e-11}, {"a": 0.7}) > 0
