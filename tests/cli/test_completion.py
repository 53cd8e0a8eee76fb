"""What the shell is offered: by the program itself, as a shell asks it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autoselection.cli import _completion


def offered(line: str, folder: Path) -> list[str]:
    """What bash is offered for the last word of a line."""
    words = line.split(" ")
    asked = {"_AUTOSELECTION_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "autoselection"], env={**os.environ, **asked}, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.split()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one-study").mkdir()
    (tmp_path / "one-study" / "journal.jsonl").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "mine.yaml").touch()
    (tmp_path / "mine.txt").touch()
    (tmp_path / ".hidden.yaml").touch()
    return tmp_path


def test_the_program_answers_the_shell(folder: Path):
    assert offered("autoselection mat", folder) == ["materialize"]
    assert offered("autoselection materialize high", folder) == ["high-ifd"]


@pytest.mark.parametrize(
    ("offers", "typed", "expected"),
    [
        (_completion.recipe, "high", ["high-ifd"]),
        (_completion.recipe, "mine", ["mine.yaml"]),
        (_completion.config, "", ["mine.yaml", "one-study/", "other/"]),
        (_completion.study, "o", ["one-study", "other/"]),
        (_completion.study, "./o", ["./one-study", "./other/"]),
        (_completion.study_or_config, "", ["one-study", "other/", "mine.yaml", "one-study/"]),
        (_completion.recipe_or_study, "one", ["one-study/", "one-study"]),
        (_completion.study, "nowhere/", []),
        (_completion.signals, "ifd", ["ifd"]),
        (_completion.signals, "tokens,minh", ["tokens,minhash"]),
        (_completion.benchmark, "gsm", ["gsm8k"]),
        (_completion.benchmark, "li", ["list"]),
        (_completion.tracker, "t", ["tensorboard", "trackio"]),
        (_completion.key, "search.eval", ["search.evaluations="]),
        (_completion.key, "evaluation.sft.max_st", ["evaluation.sft.max_steps="]),
    ],
)
def test_names_and_files_are_offered(offers, typed, expected, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    assert offers(typed) == expected
