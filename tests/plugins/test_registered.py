"""Trainers, engines and executors of another package: named in a configuration, with options in a section of their own."""

from __future__ import annotations

import json
import re
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from autoselection.config import config_schema, load_config, parse_config, to_yaml
from autoselection.config_text import commented_yaml
from autoselection.demo import model_dir, pool_file, task_file
from autoselection.errors import ConfigError
from autoselection.evaluation import EvaluationJob
from autoselection.executors import make_executor
from autoselection.pool import ingest
from autoselection.tasks import TaskConfig

PLUGIN = Path(__file__).parents[2] / "examples" / "plugin"
GROUPS = ("trainers", "engines", "executors")


def install(monkeypatch: pytest.MonkeyPatch, found: list[EntryPoint]) -> None:
    """Let these entry points be all that are installed."""
    monkeypatch.setattr(
        "autoselection.plugins.entry_points", lambda group: [point for point in found if point.group == group]
    )


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """The example's entry points as its ``pyproject.toml`` has them, as if it were installed."""
    text = (PLUGIN / "pyproject.toml").read_text(encoding="utf-8")
    found = [
        EntryPoint(name, value, group)
        for group, block in re.findall(r'entry-points\."([\w.]+)"\]\n((?:\w+ = ".*"\n)+)', text)
        for name, value in re.findall(r'(\w+) = "(.*)"', block)
        if group.rpartition(".")[2] in GROUPS
    ]
    assert len(found) == len(GROUPS)
    monkeypatch.syspath_prepend(str(PLUGIN / "src"))
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN / "src"), prepend=":")
    install(monkeypatch, found)
    return found


def document(**sections: Any) -> dict[str, Any]:
    return {
        "pool": {"path": "p"},
        "model": {"path": str(model_dir())},
        "tasks": [{"name": "addition", "dev": str(task_file("addition", "dev")), "dev_limit": 4}],
        **sections,
    }


CHOSEN = {
    "evaluation": {
        "engine": "logged",
        "logged": {"file": "said.jsonl"},
        "threads": 1,
        "sft": {"trainer": "partial", "partial": {"weights": ["norm", "embed"]}, "max_steps": 2, "batch_size": 4},
    },
    "executor": {"kind": "folders", "folders": {"prefix": ["env"]}, "workers": 2},
}


def test_a_configuration_names_them_and_everything_is_done_by_them(
    points: list[EntryPoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(pool_file().read_text(encoding="utf-8").splitlines(keepends=True)[:12]))
    ingest([source], tmp_path / "pool")
    # The commands of this executor are processes of their own: they find the entry points of what is installed there.
    folder = tmp_path / "site" / "autoselection_plugin_example-0.1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: autoselection-plugin-example\nVersion: 0.1.0\n")
    (folder / "entry_points.txt").write_text(
        "".join(f"[{point.group}]\n{point.name} = {point.value}\n" for point in points)
    )
    monkeypatch.setenv("PYTHONPATH", str(folder.parent), prepend=":")
    config = parse_config(document(**CHOSEN), tmp_path)
    task = TaskConfig(name="addition", dev=task_file("addition", "dev"), dev_limit=4, metric="exact_match")
    job = EvaluationJob(
        str(model_dir()), tmp_path / "pool", np.arange(12), (task,), "dev", 0, config.evaluation, tmp_path / "work"
    )
    executor = make_executor(config.executor)
    ((index, result),) = executor.run([job])
    executor.close()
    assert (index, result.failure) == (0, None)
    assert result.steps == 2 and len(result.train_loss) == 2
    assert 0 < result.settings["trainable_parameters"] < 100_000, "only norms and embeddings"
    lines = [json.loads(line) for line in (tmp_path / "work" / "said.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 4 and all(set(line) == {"messages", "answer", "cut_off"} for line in lines)


def test_options_are_checked_where_they_stand(points: list[EntryPoint], tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    wrong = {
        "evaluation.sft.partial": ({"weigths": ["norm"]}, "unknown key 'evaluation.sft.partial.weigths'; did you mean 'weights'?"),
        "evaluation.sft.partail": ({}, "unknown key 'evaluation.sft.partail'; did you mean 'partial'?"),
        "evaluation.logged": ({"file": "a/b"}, "evaluation.logged.file: expected text of the form"),
        "evaluation.openai": ({}, "unknown key 'evaluation.openai'"),
        "evaluation.transformers": ({}, "unknown key 'evaluation.transformers'"),
        "executor.folders": ([], "executor.folders: expected keys and values, found a list"),
        "executor.kind": ("folder", "executor.kind: there is no executor 'folder'; did you mean 'folders'?"),
        "evaluation.sft": ({"trainer": "partial", "method": "lora"}, "evaluation.sft: trainer partial trains weights"),
    }  # fmt: skip
    for key, (value, told) in wrong.items():
        given: Any = value
        for name in reversed(key.split(".")):
            given = {name: given}
        path.write_text(yaml.safe_dump(document(**given), sort_keys=False), encoding="utf-8")
        with pytest.raises(ConfigError) as error:
            load_config(path)
        assert told in str(error.value) and str(error.value).startswith(f"{path}:"), key


def test_a_configuration_is_written_and_read_with_its_sections(points: list[EntryPoint], tmp_path: Path) -> None:
    config = parse_config(document(**CHOSEN), tmp_path)
    path = tmp_path / "study.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert load_config(path) == config
    path.write_text(commented_yaml(document(**CHOSEN)), encoding="utf-8")
    assert "# Trainer partial: some of the weights" in path.read_text(encoding="utf-8")
    assert load_config(path).evaluation == config.evaluation
    sft = config_schema()["$defs"]["SFTConfig"]
    assert {"partial", "llamafactory", "epochs"} <= set(sft["properties"]) and sft["additionalProperties"] is False


def test_sections_are_in_a_configuration_only_where_they_are_given(points: list[EntryPoint], tmp_path: Path) -> None:
    """Digests of settings are made of all keys: what is installed beside must not change them."""
    plain = parse_config(document(), tmp_path).model_dump(mode="json")
    assert {"vllm", "endpoint"} <= set(plain["evaluation"]) and "logged" not in plain["evaluation"]
    assert "llamafactory" in plain["evaluation"]["sft"] and "partial" not in plain["evaluation"]["sft"]
    assert "folders" not in plain["executor"]


@pytest.mark.parametrize(
    ("point", "told"),
    [
        (EntryPoint("partial", "autoselection_plugin_example.nowhere:X", "autoselection.trainers"),
         r"The trainer 'partial' \(autoselection_plugin_example.nowhere:X\) cannot be imported"),
        (EntryPoint("partial", "builtins:dict", "autoselection.trainers"), "builtins:dict is no trainer: it must have"),
        (EntryPoint("trl", "builtins:dict", "autoselection.trainers"), "Two trainers are called 'trl'"),
    ],
)  # fmt: skip
def test_broken_packages_are_named(
    point: EntryPoint, told: str, points: list[EntryPoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, [point])
    with pytest.raises(ConfigError, match=told):
        parse_config(document(evaluation={"sft": {"trainer": "partial"}}), tmp_path)
