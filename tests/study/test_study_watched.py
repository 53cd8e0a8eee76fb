"""A real study, watched in a real browser from its first signal to its end, with real trainings in two workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.study.small_study import small_document
from tests.watch.watch_server import look, serving, wait_for

from autoselection.study import Study
from autoselection.watch import StudyFolder

pytest.importorskip("starlette", reason="The extra 'watch' is not installed.")
pytest.importorskip("uvicorn", reason="The extra 'watch' is not installed.")

WAIT = 600_000  # ms: two workers import PyTorch on a machine that does other things


@pytest.mark.slow
def test_a_study_is_watched_while_it_runs(scored_pool: Path, chromium: Any, tmp_path: Path) -> None:
    document = small_document({"path": str(scored_pool)})
    document["evaluation"]["sft"]["max_steps"] = 30  # some seconds: long enough to be seen
    document["search"]["evaluations"] = 3
    document |= {"incumbent": {"recipe": "none"}, "final": {"single_operators": 0, "full": False, "random": False}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(document))
    command = [
        sys.executable,
        "-m",
        "autoselection",
        "search",
        str(tmp_path / "study.yaml"),
        "--out",
        str(tmp_path / "s"),
    ]
    study = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        while not (tmp_path / "s" / "journal.jsonl").exists():
            assert study.poll() is None, study.communicate()
        with serving(tmp_path / "s") as server:
            opened = look(chromium, server.url)
            page = opened.page
            wait_for(page, "#workers", "training", timeout=WAIT)
            page.wait_for_selector("#losses svg path.line", timeout=WAIT)
            page.wait_for_selector("#scores svg circle", timeout=WAIT)
            assert "Best so far" in page.inner_text("#best")
            wait_for(page, "#headline", "Finished.", timeout=WAIT)
            _, problems = study.communicate(timeout=WAIT / 1000)
            assert study.returncode == 0, problems
            best = Study(tmp_path / "s").best()
            assert best is not None and best.id in page.inner_text("#best-facts")
            assert page.locator("#tests-table tbody tr").count() == len(Study(tmp_path / "s").final_results())
            assert opened.problems == [] and all(asked.startswith(server.url) for asked in opened.requests)
            assert server.interrupt() == (0, "")
    finally:
        study.kill()
        study.wait()
    found = StudyFolder(tmp_path / "s").look()
    assert found.state == "finished" and len(found.curves) == 4
    for curve in found.curves:
        told = json.loads((tmp_path / "s" / "activity.json").read_text())
        assert told["ended"] == "done" and curve.points[-1][0] == curve.steps == 30
