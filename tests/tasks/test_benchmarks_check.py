"""What is wrong with benchmarks is found, named, and refused or accepted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoselection.demo import TASKS, task_file
from autoselection.errors import ConfigError
from autoselection.tasks import TaskConfig
from autoselection.tasks.check import check_benchmarks


def task(folder: Path, name: str = "quiz", **splits: list[tuple[Any, ...]]) -> TaskConfig:
    """A task of items (id, prompt, answer[, choices])."""
    paths = {}
    for split, items in splits.items():
        paths[split] = folder / f"{name}-{split}.jsonl"
        keys = ("id", "prompt", "answer", "choices")
        paths[split].write_text("\n".join(json.dumps(dict(zip(keys, item, strict=False))) for item in items) + "\n")
    return TaskConfig(name=name, **paths)


def test_the_demo_is_clean() -> None:
    tasks = [TaskConfig(name=n, **{s: task_file(n, s) for s in ("target", "dev", "test")}) for n in TASKS]
    assert check_benchmarks(tasks) == []


def test_repeated_items_are_named_whatever_their_case_spaces_and_order_of_options(tmp_path: Path) -> None:
    dev = [
        ("a", "Which is red?", "A", ["rose", "sky"]),
        ("b", "which  is RED?", "B", ["sky", "Rose"]),
        ("c", "Which is red?", "A", ["rose", "sea"]),
    ]
    (found,) = check_benchmarks([task(tmp_path, dev=dev)])
    assert (found.kind, found.where, found.items) == ("repeated", ("quiz/dev",), ("b = a",))
    assert found.sentence == "quiz/dev: 1 of 3 items repeat an earlier one (b = a)."


def test_items_shared_by_splits_are_found_across_tasks_too(tmp_path: Path) -> None:
    one = task(tmp_path, "one", target=[("t", "p1", "1")], dev=[("d", "p2", "2")], test=[("x", "P1", "1")])
    two = task(tmp_path, "two", dev=[("e", "p3", "3")], test=[("y", "p2", "2"), ("z", "p4", "4")])
    found = check_benchmarks([one, two])
    assert [(f.kind, f.where, f.items) for f in found] == [
        ("shared", ("one/target", "one/test"), ("x = t",)),
        ("shared", ("one/dev", "two/test"), ("y = d",)),
    ]
    assert check_benchmarks([one, two], test=False) == []


def test_one_answer_for_all_items(tmp_path: Path) -> None:
    same = [(f"i{n}", f"question {n}", "yes") for n in range(5)]
    (found,) = check_benchmarks([task(tmp_path, dev=same, target=[(f"t{n}", f"target {n}", "no") for n in range(9)])])
    assert found.kind == "one answer" and found.sentence == "quiz/dev: all 5 items have the answer 'yes'."
    assert check_benchmarks([task(tmp_path, dev=[*same[:4], ("i9", "question 9", "no")])]) == []


def test_ids_used_for_two_items_are_found_and_a_shared_item_with_its_id_is_one_finding(tmp_path: Path) -> None:
    config = task(tmp_path, dev=[("1", "p", "x"), ("2", "q", "y")], test=[("1", "other", "z"), ("2", "q", "y")])
    assert [(f.kind, f.items) for f in check_benchmarks([config])] == [("shared", ("2",)), ("ids", ("1",))]
    with pytest.raises(ConfigError, match="'1' is used twice"):
        check_benchmarks([task(tmp_path, dev=[("1", "p", "x"), ("1", "q", "y")])])


@pytest.fixture
def harness_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., TaskConfig]:
    """``harness_task(validation_split, test_split, **fields)``: a task file of lm-evaluation-harness over three splits of its own."""
    pytest.importorskip("lm_eval")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_OFFLINE", True)
    files = {}
    for split, numbers in {"train": [9, 0], "validation": [0, 1, 1, 2], "test": [2, 3]}.items():
        files[split] = str(tmp_path / f"{split}.jsonl")
        lines = (json.dumps({"q": f"question {number}?", "a": str(number)}) for number in numbers)
        Path(files[split]).write_text("\n".join(lines) + "\n")

    def write(name: str, validation: str, test: str, **fields: Any) -> TaskConfig:
        folder = tmp_path / name
        folder.mkdir()
        document = {
            "task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": files}, "training_split": "train",
            "validation_split": validation, "test_split": test, "output_type": "generate_until", "doc_to_text": "{{q}}",
            "doc_to_target": "{{a}}", "metric_list": [{"metric": "exact_match"}],
        }  # fmt: skip
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(document))
        return TaskConfig(name=name, lm_eval=name, lm_eval_path=folder, **fields)

    return write


def test_tasks_of_the_harness_are_checked_like_files(harness_task: Callable[..., TaskConfig], tmp_path: Path) -> None:
    named = harness_task("check_splits", "validation", "test")
    other = task(tmp_path, "other", dev=[("x", "Question 3?", "3")])
    assert [(f.kind, f.where, f.items) for f in check_benchmarks([named, other])] == [
        ("repeated", ("check_splits/dev",), ("check_splits-validation-00002 = check_splits-validation-00001",)),
        (
            "shared",
            ("check_splits/dev", "check_splits/test"),
            ("check_splits-test-00000 = check_splits-validation-00003",),
        ),
        ("shared", ("check_splits/test", "other/dev"), ("x = check_splits-test-00001",)),
    ]
    assert {f.kind for f in check_benchmarks([named, other], test=False)} == {"repeated"}
    (shown,) = check_benchmarks([named.model_copy(update={"fewshot": 1})], test=False)[1:]  # few-shot examples
    assert shown.where == ("check_splits/target", "check_splits/dev")


def test_one_split_for_dev_and_test_is_found(harness_task: Callable[..., TaskConfig]) -> None:
    (found,) = check_benchmarks([harness_task("check_same", "test", "test")])
    assert (found.kind, len(found.items)) == ("shared", 2)


def test_many_are_counted_and_some_are_named(tmp_path: Path) -> None:
    items = [(f"i{n}", f"question {n}", str(n)) for n in range(30)]
    (found,) = check_benchmarks([task(tmp_path, dev=items, test=[(f"x{i}", p, a) for i, p, a in items])])
    assert len(found.items) == 30 and "share 30 items" in found.sentence and found.sentence.endswith("and 20 more).")
