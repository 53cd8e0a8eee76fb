"""The pages of comparisons, pools, selections and mixtures in a real Chromium."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import assert_sound
from typer.testing import CliRunner

from autoselection.cli import app
from autoselection.compare.comparison import Run, compare_runs
from autoselection.demo import pool_file
from autoselection.report.comparison_page import write_comparison_page

pytestmark = pytest.mark.usefixtures("plotly")


@pytest.fixture(scope="module")
def plotly() -> None:
    pytest.importorskip("plotly")


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    raw = folder / "rows.jsonl"
    hostile = '{"id": "x<script>", "source": "<b>web</b>", "messages": [{"role": "user", "content": "<img src=x onerror=alert(1)>"}, {"role": "assistant", "content": "<script>alert(2)</script> a b c d"}]}'
    raw.write_text("\n".join([*pool_file().read_text("utf-8").splitlines()[:400], hostile]) + "\n", "utf-8")
    _run("ingest", raw, "--out", folder / "pool")
    _run("score", folder / "pool", "--signals", "lengths,ngram_entropy,text_hash")
    return folder / "pool"


def _run(*words: Any) -> None:
    shown = CliRunner().invoke(app, [str(word) for word in words])
    assert shown.exit_code == 0, shown.output


def test_a_comparison(opened: Callable[..., Any], tmp_path: Path) -> None:
    runs = [
        Run(method, seed, tuple(np.sort(np.random.default_rng([seed, place]).random(6))), "x", 10, 6, 0, 0.5, 0.4)
        for place, method in enumerate(("ours", "random", "published"))
        for seed in range(3)
    ]
    found = compare_runs("<b>study</b>", 6, runs, {}, 18)
    assert_sound(opened, write_comparison_page(found, tmp_path / "compare.html"))


def test_a_pool_and_a_selection(opened: Callable[..., Any], pool: Path, tmp_path: Path) -> None:
    stats, selection = tmp_path / "stats.html", tmp_path / "selection.html"
    _run("pool", "stats", pool, "--html", stats)
    _run("materialize", "text-only", "--pool", pool, "--html", selection)
    for page in (stats, selection):
        assert_sound(opened, page)


def test_a_mixture(opened: Callable[..., Any], tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    lines = ["share/web,share/<i>code</i>,share/maths,loss/web,loss/maths"]
    for web, code, maths in draw.dirichlet([2.0, 2.0, 2.0], 24):
        losses = (3.0 - web + 0.3 * maths, 2.5 - 0.8 * maths + 0.2 * code)
        lines.append(",".join(f"{value:.5f}" for value in (web, code, maths, *losses)))
    (tmp_path / "runs.csv").write_text("\n".join(lines) + "\n", "utf-8")
    page = tmp_path / "mixture.html"
    _run("mixture", tmp_path / "runs.csv", "--share", "share/*", "--score", "loss/*:min", "--html", page)
    assert_sound(opened, page)
