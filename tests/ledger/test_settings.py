"""What makes two evaluations the same: contents, not places."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoselection.config import StudyConfig, parse_config
from autoselection.demo import model_dir, task_file
from autoselection.ledger.settings import arithmetics, mixed, settings_digest, settings_record, stored_digest


def place(folder: Path) -> Path:
    """The demo's model and a task in a folder of their own."""
    shutil.copytree(model_dir(), folder / "model")
    for split in ("dev", "test", "target"):
        shutil.copyfile(task_file("counting", split), folder / f"{split}.jsonl")
    (folder / "template.jinja").write_text("{{ messages }}")
    return folder


def study(folder: Path, **changes: Any) -> StudyConfig:
    task = {"name": "counting", **{split: f"{split}.jsonl" for split in ("dev", "test", "target")}}
    document: dict[str, Any] = {
        "pool": {"path": "pool"},
        "model": {"path": str(folder / "model"), "chat_template": str(folder / "template.jinja")},
        "tasks": [task],
        **changes,
    }
    return parse_config(document, folder)


def digest(folder: Path, pool: str = "f", **changes: Any) -> str:
    return settings_digest(study(folder, **changes), pool)


def test_the_same_files_elsewhere_are_the_same(tmp_path: Path) -> None:
    here, there = place(tmp_path / "here"), place(tmp_path / "there")
    assert digest(here) == digest(there)
    indifferent = {"evaluation": {"threads": 3, "cache_dir": str(tmp_path), "keep_model": True, "keep_best": 2}}
    assert digest(here, **indifferent) == digest(here)


def test_whatever_decides_a_score_makes_another(tmp_path: Path) -> None:
    here = place(tmp_path / "here")
    found = {digest(here), digest(here, pool="g"), digest(here, evaluation={"sft": {"learning_rate": 3e-4}})}
    for name in ("dev.jsonl", "template.jinja", "model/config.json"):
        path = here / name
        kept = path.read_text()
        path.write_text(kept + "\n")
        found.add(digest(here))
        path.write_text(kept)
    assert len(found) == 6


def test_every_setting_of_an_evaluation_counts_but_those_of_speed_and_memory(tmp_path: Path) -> None:
    here = place(tmp_path / "here")
    decisive: list[dict[str, Any]] = [
        {"dtype": "bfloat16"},
        {"device": "cpu"},
        {"max_new_tokens": 7},
        {"engine": "vllm"},
        {"sft": {"method": "lora"}},
        {"sft": {"epochs": 3}},
        {"sft": {"batch_size": 3}},
        {"sft": {"max_length": 99}},
        {"sft": {"weight_decay": 0.2}},
        {"sft": {"warmup_ratio": 0.2}},
        {"sft": {"turns": "last"}},
        {"sft": {"completion_only": False}},
    ]
    found = {digest(here), *(digest(here, evaluation=changed) for changed in decisive)}
    assert len(found) == 1 + len(decisive)
    same_scores: list[dict[str, Any]] = [
        *({"threads": 2}, {"batch_size": 2}, {"batch_tokens": 99}, {"seeds": [4]}, {"keep_model": True}),
        {"exact_match": True},
    ]
    for same in same_scores:
        assert digest(here, evaluation=same) == digest(here), same


def test_everything_in_a_folder_of_task_files_counts(tmp_path: Path) -> None:
    here = place(tmp_path / "here")
    (here / "tasks" / "__pycache__").mkdir(parents=True)
    files = {"a.yaml": "task: a", "utils.py": "x = 1", "__pycache__/utils.pyc": "1"}
    for name, text in files.items():
        (here / "tasks" / name).write_text(text)
    task = {"tasks": [{"name": "a", "lm_eval": "a", "lm_eval_path": str(here / "tasks")}]}
    first = digest(here, **task)
    (here / "tasks" / "__pycache__" / "utils.pyc").write_text("2")
    assert digest(here, **task) == first
    (here / "tasks" / "utils.py").write_text("x = 2")
    assert digest(here, **task) != first


def test_items_of_an_installed_task_count_and_so_does_how_it_judges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the data of a task, or the harness, was brought up to date: the configuration is the same."""
    pytest.importorskip("lm_eval")
    from lm_eval.tasks import TaskManager

    from autoselection.tasks import harness

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_OFFLINE", True)

    def with_tasks(name: str, **changed: Any) -> str:
        """The digest of a study whose task lies in a folder that stands for the harness's own."""
        folder = tmp_path / name
        folder.mkdir()
        for split in ("train", "validation", "test"):
            answer = changed.get(split, "4")
            (folder / f"{split}.jsonl").write_text(f'{{"q": "2 + 2, in {split}?", "a": "{answer}"}}\n')
        files = {split: str(folder / f"{split}.jsonl") for split in ("train", "validation", "test")}
        document = {
            "task": "settings_sums", "dataset_path": "json", "dataset_kwargs": {"data_files": files},
            **{f"{part}_split": split for part, split in zip(("training", "validation", "test"), files, strict=True)},
            "output_type": "generate_until", "doc_to_text": "{{q}}", "doc_to_target": "{{a}}",
            "metric_list": [{"metric": "exact_match", "ignore_case": changed.get("ignore_case", False)}],
        }  # fmt: skip
        (folder / "sums.yaml").write_text(yaml.safe_dump(document))
        harness._load.cache_clear()
        manager = TaskManager(include_path=str(folder), include_defaults=False)
        monkeypatch.setattr(harness, "_manager", lambda *_: manager)
        task = {"name": "sums", "lm_eval": "settings_sums", "fewshot": changed.get("fewshot", 0)}
        return digest(tmp_path, tasks=[task], model={"path": "owner/name"})

    first = with_tasks("a")
    assert with_tasks("same") == with_tasks("examples", train="5") == first
    other = [
        with_tasks("b", validation="5"),
        with_tasks("c", test="5"),
        with_tasks("d", ignore_case=True),
        with_tasks("e", fewshot=1),
        with_tasks("f", fewshot=1, train="5"),
    ]
    assert len({first, *other}) == 6
    harness._load.cache_clear()


def test_code_of_a_model_counts_where_it_is_trusted(tmp_path: Path) -> None:
    here = place(tmp_path / "here")

    def with_code(trusted: bool, code: str) -> str:
        (here / "model" / "modeling_own.py").write_text(code)
        return digest(here, model={"path": str(here / "model"), "trust_remote_code": trusted})

    assert with_code(True, "x = 1") != with_code(True, "x = 2")
    assert with_code(False, "x = 1") == with_code(False, "x = 2")


def test_what_is_not_there_counts_by_its_name(tmp_path: Path) -> None:
    here = place(tmp_path / "here")
    missing = [digest(here, model={"path": str(tmp_path / name)}) for name in ("one", "other", "one")]
    assert missing[0] == missing[2] != missing[1]
    assert digest(here, model={"path": "owner/name"}) != digest(here, model={"path": "owner/other"})


def test_a_journal_is_read_after_the_model_is_gone(tmp_path: Path) -> None:
    here = place(tmp_path / "here")
    made = settings_record(study(here), "f")
    events = [{"event": "settings", **made}]
    shutil.rmtree(here / "model")
    assert stored_digest(study(here), "f", events) == made["digest"] != digest(here)
    assert stored_digest(study(here), "g", events) == digest(here, "g")


def test_different_arithmetics_are_told() -> None:
    made = [
        {"device": "cuda:1", "dtype": "bfloat16"},
        {"device": "cpu", "dtype": "float32"},
        {},
        {"device": "cuda:0", "dtype": "bfloat16"},
    ]
    assert arithmetics(made) == ["cpu float32", "cuda bfloat16"]
    assert "cpu float32, cuda bfloat16" in mixed(arithmetics(made))


def test_keys_of_tasks_in_files_stay_what_they_were(tmp_path: Path) -> None:
    """A reproduction that runs finds its results again: the figure is of the version before items of lm_eval counted."""
    for split in ("dev", "test", "target"):
        item = {"id": split, "prompt": "2 + 2?", "answer": "4", "subtask": "sums"}
        (tmp_path / f"{split}.jsonl").write_text(json.dumps(item) + "\n")
    task = {"name": "quiz", **{split: f"{split}.jsonl" for split in ("dev", "test", "target")}, "fewshot": 1}
    document = {"pool": {"path": "pool"}, "model": {"path": "owner/name"}, "tasks": [task]}
    assert settings_digest(parse_config(document, tmp_path), "f") == "2748735ce40b"
