"""A model with several chat templates: each can be named in every command that renders rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from autoselection.cli import app
from autoselection.demo import model_dir, task_file
from autoselection.errors import ConfigError, EvaluationError
from autoselection.pool import Pool
from autoselection.signals import load_table

OWN = (model_dir() / "chat_template.jinja").read_text()
ROWS = [
    {"id": f"r{i}", "messages": [{"role": "user", "content": f"Add {i} and 2."}, {"role": "assistant", "content": str(i + 2)}]}
    for i in range(6)
]  # fmt: skip
TOOLS = [{"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object"}}}]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's model, with a template for rows with tools (ten characters more a row) and another (twenty)."""
    folder = tmp_path_factory.mktemp("named") / "model"
    shutil.copytree(model_dir(), folder)
    (folder / "additional_chat_templates").mkdir()
    for name, more in (("tool_use", 10), ("rag", 20)):
        (folder / "additional_chat_templates" / f"{name}.jinja").write_text("x" * more + OWN)
    return folder


def invoke(*arguments: Any) -> Any:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*arguments: Any) -> None:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exception is not None
    raise result.exception


def lengths(folder: Path, model: Path, *options: str) -> np.ndarray[Any, Any]:
    rows = [*ROWS[:3], *({**row, "tools": TOOLS} for row in ROWS[3:])]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if not (folder / "pool").exists():
        invoke("ingest", folder / "rows.jsonl", "--out", folder / "pool")
    invoke("score", folder / "pool", "--model", model, "--signals", "tokens,ifd", *options)
    table = load_table(Pool.open(folder / "pool"))
    assert np.isfinite(table.column("ifd")).all()
    return np.asarray(table.column("n_tokens"))


def test_score_takes_a_named_template(model: Path, tmp_path: Path) -> None:
    plain = lengths(tmp_path, model, "--chat-template", "default")
    assert (lengths(tmp_path, model, "--chat-template", "rag") - plain).tolist() == [20] * 6
    own = lengths(tmp_path, model) - plain
    assert own.tolist() == [0] * 3 + [10] * 3  # as transformers: tool_use where there are tools
    with pytest.raises(EvaluationError, match="did you mean 'rag'"):
        refused("score", tmp_path / "pool", "--model", model, "--chat-template", "ragg")


def test_a_template_that_nothing_reads_is_told(model: Path, tmp_path: Path) -> None:
    lengths(tmp_path, model)
    with pytest.raises(ConfigError, match="--chat-template has no effect"):
        refused("score", tmp_path / "pool", "--signals", "lengths", "--chat-template", "rag")


@pytest.mark.parametrize("named", ["rag", "tool_use", "default", None])
def test_evaluate_and_doctor_take_a_named_template(model: Path, tmp_path: Path, named: str | None) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "ids.json").write_text(json.dumps([row["id"] for row in ROWS]))
    task = {
        "name": "counting",
        "dev": str(task_file("counting", "dev")),
        "test": str(task_file("counting", "test")),
        "dev_limit": 4,
    }
    study = {
        "name": "named",
        "pool": {"files": [str(tmp_path / "rows.jsonl")]},
        "model": {"path": str(model), "chat_template": named},
        "tasks": [task],
        "evaluation": {"threads": 1, "device": "cpu", "sft": {"max_steps": 1, "batch_size": 4, "max_length": 200}},
    }  # fmt: skip
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    found = invoke(
        "evaluate", tmp_path / "study.yaml", "--subset", tmp_path / "ids.json", "--work-dir", tmp_path / "work"
    )
    lost = {"rag": 20, "tool_use": 10}.get(named or "", 0)
    plain = sum(len(f"<{row['messages'][0]['content']}{row['messages'][1]['content']}>") + 2 for row in ROWS[:4])
    assert found["train_tokens"] == pytest.approx(plain + 4 * lost, abs=8)
