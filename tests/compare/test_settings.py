"""What makes two evaluations the same: contents, not places."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from autoselection.compare.evaluations import settings_digest
from autoselection.config import parse_config
from autoselection.demo import model_dir, task_file


def place(folder: Path) -> Path:
    """The demo's model and a task in a folder of their own."""
    shutil.copytree(model_dir(), folder / "model")
    for split in ("dev", "test", "target"):
        shutil.copyfile(task_file("counting", split), folder / f"{split}.jsonl")
    (folder / "template.jinja").write_text("{{ messages }}")
    return folder


def digest(folder: Path, pool: str = "f", **changes: Any) -> str:
    task = {"name": "counting", **{split: f"{split}.jsonl" for split in ("dev", "test", "target")}}
    document: dict[str, Any] = {
        "pool": {"path": "pool"},
        "model": {"path": str(folder / "model"), "chat_template": str(folder / "template.jinja")},
        "tasks": [task],
        **changes,
    }
    return settings_digest(parse_config(document, folder), pool)


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


def test_a_model_that_is_not_there_counts_by_its_name(tmp_path: Path) -> None:
    here = place(tmp_path / "here")
    missing = [digest(here, model={"path": str(tmp_path / name)}) for name in ("one", "other", "one")]
    assert missing[0] == missing[2] != missing[1]
