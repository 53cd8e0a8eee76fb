"""The command line as the shell sees it: an exit code, standard output and standard error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from command_line import Outcome

from autoselection.cli import app
from autoselection.cli._outcome import run
from autoselection.demo import model_dir, task_file
from autoselection.pool import ingest


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs one command in this process."""

    def call(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        code = run(app, [str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty rows of three sources."""
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(60):
            messages = [
                {"role": "user", "content": f"question {number}"},
                {"role": "assistant", "content": f"answer {number} " + "word " * (number % 7)},
            ]
            file.write(json.dumps({"messages": messages, "source": "abc"[number % 3]}) + "\n")
    return path


@pytest.fixture(scope="session")
def pool(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same rows as a pool."""
    out = tmp_path_factory.mktemp("pools") / "pool"
    ingest([rows], out)
    return out


@pytest.fixture(scope="session")
def study_file(pool: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration whose pool, model and task are there."""
    path = tmp_path_factory.mktemp("config") / "study.yaml"
    document = {
        "pool": {"path": str(pool)},
        "model": {"path": str(model_dir())},
        "tasks": [{"name": "addition", "dev": str(task_file("addition", "dev")), "dev_limit": 5}],
        "signals": {"signals": ["lengths", "ngram_entropy", "text_hash"]},
        "evaluation": {"threads": 1, "sft": {"max_steps": 1}},
        "final": {"enabled": False},
        "incumbent": {"recipe": "none"},
    }
    path.write_text(yaml.safe_dump(document))
    return path
