"""What is wrong with benchmarks is found, named, and refused or accepted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

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


def test_many_are_counted_and_some_are_named(tmp_path: Path) -> None:
    items = [(f"i{n}", f"question {n}", str(n)) for n in range(30)]
    (found,) = check_benchmarks([task(tmp_path, dev=items, test=[(f"x{i}", p, a) for i, p, a in items])])
    assert len(found.items) == 30 and "share 30 items" in found.sentence and found.sentence.endswith("and 20 more).")
