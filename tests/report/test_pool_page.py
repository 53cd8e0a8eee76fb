"""The page of a pool: its tables are those of the terminal."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from tests.report.drawn import figures_of

from autoselection.pool import Pool, ingest
from autoselection.report import print_pool_stats
from autoselection.report.pool_page import pool_page
from autoselection.report.sheet import Sheet
from autoselection.signals import pool_stats, score_pool
from autoselection.terminal import Terminal


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    lines = [
        json.dumps(
            {"prompt": f"question {n}", "completion": "word " * (n % 5 + 1), "source": "<b>" if n % 3 else "other"}
        )
        for n in range(30)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    ingest([tmp_path / "rows.jsonl"], tmp_path / "pool")
    return Pool.open(tmp_path / "pool")


def test_the_page_has_the_terminals_tables_and_a_figure_for_each_signal(pool: Pool) -> None:
    go = pytest.importorskip("plotly.graph_objects")
    score_pool(pool, signals=["lengths"])
    stats = pool_stats(pool)
    page = pool_page(stats, "mine")
    sheets = [part for section in page.sections for part in section.parts if isinstance(part, Sheet)]
    printed = Terminal(width=400, file=StringIO())
    print_pool_stats(stats, Path("mine"), printed)
    text = printed.file.getvalue()
    assert [sheet.title for sheet in sheets][:3] == ["Pool mine", "Sources", "Lengths (a row)"]
    assert all(cell in text for sheet in sheets for row in sheet.rows for cell in row)
    titles = [figure.title for figure in figures_of(page)]
    assert "n_response_words by source" in titles and "n_turns by source" not in titles
    for figure in figures_of(page):
        go.Figure(list(figure.traces), dict(figure.layout))


def test_a_pool_without_signals_says_how_to_get_some(pool: Pool) -> None:
    page = pool_page(pool_stats(pool), "mine")
    assert [section.title for section in page.sections] == ["Overview", "Sources", "Lengths"]
    assert "autoselection score" in str(page.sections[0].parts[1])
