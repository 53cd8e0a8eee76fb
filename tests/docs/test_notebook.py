"""Every block of docs/python.md runs as it is written, from top to bottom, in one folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pages import ROOT, code_blocks

from autoselection.config import load_config
from autoselection.demo import TASKS, model_dir, pool_file, task_file
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.study import run_study

PAGE = ROOT / "docs" / "python.md"


class Stub:
    """Evaluates without training: the share of rows kept is the score."""

    def run(self, jobs: Sequence[EvaluationJob]) -> Iterator[tuple[int, EvaluationResult]]:
        for index, job in enumerate(jobs):
            score = 0.0 if job.rows is None else len(job.rows) / 1000
            yield index, EvaluationResult(job.split, job.seed, score, {TASKS[0]: score}, seconds={"total": 1.0})

    def close(self) -> None:
        """Nothing was started."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a study in it that was made without training."""
    (tmp_path / "few.jsonl").write_bytes(b"\n".join(pool_file().read_bytes().split(b"\n")[:200]) + b"\n")
    document = {
        "name": "small",
        "pool": {"files": [str(tmp_path / "few.jsonl")]},
        "model": {"path": str(model_dir())},
        "tasks": [{"name": TASKS[0], **{split: str(task_file(TASKS[0], split)) for split in ("dev", "test")}}],
        "signals": {"signals": ["tokens", "lengths", "ngram_entropy"]},
        "search": {"evaluations": 4, "min_rows": 10},
        "final": {"single_operators": 0},
    }
    (tmp_path / "study.yaml").write_text(json.dumps(document))
    monkeypatch.setattr("autoselection.study.run.make_executor", lambda _: Stub())
    run_study(load_config(tmp_path / "study.yaml"), tmp_path / "study")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_block_runs(folder: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("datasets")
    names: dict[str, object] = {}
    blocks = [block for language, block in code_blocks(PAGE.read_text(encoding="utf-8")) if language == "python"]
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"docs/python.md, block {number}", "exec"), names)
    printed = capsys.readouterr().out
    assert "300 " in printed and "{'level': 1}" in printed
    assert "IngestConfig(map={'prompt': 'Frage', 'response': 'Antwort'})" in printed
    assert (folder / "subset.jsonl").is_file() and (folder / "mine.yaml").is_file()
    assert "<Study study: finished" in printed
