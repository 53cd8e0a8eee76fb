"""What a recipe did to a pool, as data and as a page."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accessibility import faults
from sample_page import HOSTILE
from tests.report.drawn import figures_of

from autoselection.pool import Pool, ingest
from autoselection.recipes import Recipe, materialize, rows_by_step, why
from autoselection.report import view_selection, write_selection_page
from autoselection.report.selection import print_selection
from autoselection.report.selection_page import selection_page
from autoselection.report.selection_view import BACK, ROW_TEXT, SHOWN_ROWS, SelectionView, view_signal
from autoselection.report.sheet import Sheet
from autoselection.signals import SignalTable, load_table, score_pool
from autoselection.terminal import Terminal


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """Ninety rows of three sources; the first ones, ids and a source are hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    lines = []
    for number in range(90):
        text = HOSTILE[number] if number < len(HOSTILE) else f"question {number}"
        text = text.encode("utf-8", "ignore").decode()
        messages = [
            {"role": "user", "content": text},
            {"role": "assistant", "content": " ".join(["word"] * (number % 9 + 1))},
        ]
        source = ("letters", "<script>window.harmed = 7</script>", "notes")[number % 3]
        lines.append(json.dumps({"id": f"{HOSTILE[number % 6]} {number}", "source": source, "messages": messages}))
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    ingest([folder / "rows.jsonl"], folder / "pool")
    made = Pool.open(folder / "pool")
    score_pool(made, signals=["lengths", "text_hash"])
    return made


def _recipe(*steps: dict[str, Any], **more: Any) -> Recipe:
    return Recipe.from_dict({"version": 1, "steps": list(steps), **more})


def _view(pool: Pool, recipe: Recipe) -> tuple[SelectionView, SignalTable]:
    table = load_table(pool)
    return view_selection(materialize(recipe, table), rows_by_step(recipe, table), table, pool), table


HALF = {"operator": "score_filter", "params": {"signal": "n_response_words", "fraction": 0.5, "direction": "high"}}
SAMPLE = {"operator": "truncate_samples", "params": {"fraction": 0.5}}


def test_rows_flow_from_the_pool_to_the_subset(pool: Pool) -> None:
    view, _ = _view(pool, _recipe(HALF, SAMPLE))
    flow = view.flow
    assert (flow.kept + flow.back).sum(axis=1).tolist() == [step.rows_out for step in view.steps]
    assert flow.dropped.sum(axis=1).tolist() == [step.dropped for step in view.steps]
    assert flow.start.sum() == 90 and flow.end.sum() == view.rows == view.steps[-1].rows_out
    assert np.array_equal(flow.start, flow.kept[0] + flow.dropped[0])


def test_rows_that_may_not_be_selected_are_counted_alike_in_terminal_and_page(pool: Pool) -> None:
    table = load_table(pool)
    excluded = np.zeros(table.n, bool)
    excluded[:7] = True
    table = replace(table, excluded=excluded)
    recipe = _recipe(HALF)
    result, steps = materialize(recipe, table), rows_by_step(recipe, table)
    page = selection_page(view_selection(result, steps, table, pool), "page")
    (sheet,) = (
        part
        for section in page.sections
        for part in section.parts
        if isinstance(part, Sheet) and part.title.startswith("Rows by source")
    )
    assert "(7 rows of the pool, which no recipe may select, are not counted)" in sheet.title
    assert sum(int(row[2].replace(",", "")) for row in sheet.rows) == table.n - 7
    printed = Terminal(width=400, file=StringIO())
    print_selection(result, pool, table, printed, title="it", steps=steps)
    text = printed.file.getvalue()
    assert sheet.title in " ".join(text.split())
    told = [line.replace("│", " ").split()[-3:] for line in text.splitlines()]
    assert all(list(row[1:]) in told for row in sheet.rows)


def test_a_union_brings_rows_back(pool: Pool) -> None:
    union = {"operator": "union", "params": {"source_recipe": "low"}}
    low = {
        "name": "low",
        "steps": [{**HALF, "params": {**HALF["params"], "direction": "low", "fraction": 0.2}}],
    }
    view, _ = _view(pool, _recipe(HALF, union, recipes={"low": low}))
    assert view.flow.back[1].sum() > 0
    assert [row.mark for row in view.steps[1].rows].count(BACK) == min(SHOWN_ROWS, view.flow.back[1].sum())
    assert view.flow.end.sum() == view.rows


def test_a_step_shows_rows_of_both_kinds_by_their_score_and_always_the_same(pool: Pool) -> None:
    view, _ = _view(pool, _recipe(HALF))
    step = view.steps[0]
    marks = [row.mark for row in step.rows]
    assert marks == ["kept"] * SHOWN_ROWS + ["dropped"] * SHOWN_ROWS
    words = [len(row.turns[1][1].split()) for row in step.rows]
    assert words[:20] == sorted(words[:20]) and min(words[:20]) >= max(words[20:])
    assert step.scores == (min(words[:20]), 9.0)
    assert [row.note for row in step.rows[:20]] == [f"n_response_words {count}" for count in words[:20]]
    assert _view(pool, _recipe(HALF))[0].steps[0].rows == step.rows


def test_a_dropped_row_says_why_in_the_words_of_explain(pool: Pool) -> None:
    recipe = _recipe(HALF, SAMPLE)
    table = load_table(pool)
    view = view_selection(materialize(recipe, table, seed=4), rows_by_step(recipe, table, seed=4), table, pool, seed=4)
    for step in view.steps:
        dropped = [row for row in step.rows if row.mark == "dropped"]
        fates = why(recipe, table, pool.row_of([row.id for row in dropped]), seed=4)
        removals = [fate.removal for fate in fates]
        assert [row.note for row in dropped] == [
            found.judgement.sentence for found in removals if found and found.judgement
        ]
        assert len(dropped) == SHOWN_ROWS and all(row.note for row in dropped)


def test_a_duplicate_names_the_row_that_stays_by_its_id(tmp_path: Path) -> None:
    rows = [{"id": f"r{n}", "prompt": f"p{n // 2}", "response": f"x{n // 2}"} for n in range(20)]
    ingest(rows, tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    score_pool(pool, signals=["text_hash"])
    view, _ = _view(pool, _recipe({"operator": "semantic_dedup", "params": {"strategy": "exact"}}))
    dropped = {row.id: row.note for row in view.steps[0].rows if row.mark == "dropped"}
    assert dropped == {
        f"r{n}": f"an earlier row, {n - 1}, has the same text (row {n - 1} is r{n - 1})" for n in range(1, 20, 2)
    }


def test_a_row_that_a_union_brings_back_still_says_why_it_was_dropped_before(pool: Pool) -> None:
    union = {"operator": "union", "params": {"source_recipe": "all"}}
    view, _ = _view(pool, _recipe(HALF, union, recipes={"all": {"name": "all", "steps": []}}))
    dropped = [row.note for row in view.steps[0].rows if row.mark == "dropped"]
    assert len(dropped) == SHOWN_ROWS and all("n_response_words" in note and " " in note for note in dropped)


def test_a_whole_pool_has_neither_steps_nor_a_flow(pool: Pool) -> None:
    page = selection_page(_view(pool, _recipe())[0], "whole")
    assert all(figure.traces[0]["type"] != "sankey" for figure in figures_of(page))


def test_a_signal_is_told_apart_by_kept_and_dropped() -> None:
    values = np.array([0, 0, 1, 1, np.nan, 5], np.float32)
    kept = np.array([1, 1, 0, 0, 0, 1], bool)
    found = view_signal("x", values, kept, ~kept)
    assert (found.mean_kept, found.mean_dropped) == (pytest.approx(5 / 3), 1.0)
    assert (found.missing_kept, found.missing_dropped) == (0, 1)
    assert found.kept.sum() == pytest.approx(1) and found.dropped.sum() == pytest.approx(1)
    assert found.shift == pytest.approx((5 / 3 - 1) / np.std([0, 0, 1, 1, 5]))


def test_constant_and_missing_signals_have_no_distribution() -> None:
    kept = np.array([1, 0], bool)
    for values in ([1, 1], [np.nan, np.nan]):
        found = view_signal("x", np.array(values, np.float32), kept, ~kept)
        assert len(found.edges) == 0 and found.shift is None


def test_every_figure_is_one_that_plotly_knows(pool: Pool) -> None:
    go = pytest.importorskip("plotly.graph_objects")
    for figure in figures_of(selection_page(_view(pool, _recipe(HALF, SAMPLE))[0], "page")):
        go.Figure(list(figure.traces), dict(figure.layout))
        assert figure.told and figure.numbers.rows


def test_long_conversations_stay_within_the_page(tmp_path: Path) -> None:
    turns = [{"role": ("user", "assistant")[n % 2], "content": "漢" * 2000} for n in range(20)]
    lines = [json.dumps({"id": str(n), "messages": turns}) for n in range(60)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    ingest([tmp_path / "rows.jsonl"], tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    score_pool(pool, signals=["text_hash"])
    fractions = [{"operator": "truncate_samples", "params": {"fraction": 0.9 - n / 50}} for n in range(6)]
    view, _ = _view(pool, _recipe(*fractions))
    row = view.steps[0].rows[0]
    assert sum(len(said) for _, said in row.turns) < ROW_TEXT + 200
    assert row.turns[0][1].startswith("漢") and "more characters" in row.turns[0][1]
    assert row.turns[-1] == ("…", "18 more turns")
    path = write_selection_page(view, "long", tmp_path / "page.html")
    assert path.stat().st_size < 5_000_000


def test_a_page_of_hostile_rows(opened: Callable[..., Any], pool: Pool, tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    view, _ = _view(pool, _recipe(HALF, SAMPLE))
    found = opened(write_selection_page(view, HOSTILE[0], tmp_path / "page.html"))
    page = found.page
    page.locator("ol.rows summary").first.click()
    assert page.evaluate("window.harmed") is None
    assert (found.problems, found.requests) == ([], [])
    assert page.locator(".plot[data-drawn=yes] .main-svg").count() >= 2
    lists = page.locator("ol.rows")
    assert lists.count() == 2
    page.get_by_label("Search in Step 1").fill("<script>")
    assert 0 < lists.first.locator("li:visible").count() < 40
    assert faults(page) == []
