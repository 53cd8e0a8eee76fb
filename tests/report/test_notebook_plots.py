"""Plots of a notebook: the pages' own figures, as Plotly's, with a stranger's names as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import autoselection as au
from autoselection.errors import ConfigError, MissingExtraError, SignalError
from autoselection.report.plots import Plot
from autoselection.report.pool_page import signal_figure
from autoselection.signals import pool_stats

EVIL = "<script>alert(1)</script>\u202eevil"


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> au.Pool:
    rows = [
        {"prompt": f"Question {n}?", "response": "word " * (n % 7 + 1), "source": EVIL if n % 3 else "b", "flat": 1}
        for n in range(60)
    ]
    found = au.ingest(rows, tmp_path_factory.mktemp("plots") / "pool").pool
    au.score_pool(found, signals=["tokens", "ngram_entropy"])
    return found


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, inner in value.items() for text in (str(key), *strings(inner))]
    return [text for inner in value for text in strings(inner)] if isinstance(value, (list, tuple)) else []


def test_a_signal_is_drawn_over_the_pool(pool: au.Pool) -> None:
    plot = pool.plot("n_tokens")
    shares = plot.drawn.traces[0]["y"]
    assert abs(float(sum(shares)) / 2 - 1.0) < 1e-9 and "60 of 60 rows" in plot.drawn.told
    pytest.importorskip("plotly")
    assert plot.figure.data[0].type == "scatter" and plot.figure.layout.title.text == "n_tokens"


def test_a_signal_by_source_is_the_figure_of_the_pools_page(pool: au.Pool) -> None:
    plot = pool.plot("n_tokens", by="source")
    assert plot.drawn == signal_figure("n_tokens", pool_stats(pool).signals["n_tokens"])


def test_a_recipe_is_drawn_as_a_flow_of_rows(pool: au.Pool) -> None:
    recipe = au.Recipe((au.Step("ngram_entropy", {"fraction": 0.5}),))
    (trace,) = recipe.plot(pool).drawn.traces
    assert trace["type"] == "sankey" and sum(trace["link"]["value"]) == 60
    (bars,) = au.Recipe().plot(au.load_table(pool)).drawn.traces
    assert bars["type"] == "bar"


@pytest.mark.parametrize("by", [None, "source"])
def test_names_of_strangers_are_text_in_what_a_notebook_shows(pool: au.Pool, by: str | None) -> None:
    for plot in (pool.plot("n_tokens", by=by), au.Recipe().plot(pool)):
        shown = "".join(strings(plot._repr_mimebundle_()))
        assert "<script>alert" not in shown and "\u202e" not in shown
    pytest.importorskip("plotly")
    told = strings(pool.plot("n_tokens", by="source").figure.to_dict())
    assert any("&lt;script&gt;" in text for text in told) and not any("<script>" in text for text in told)


def test_without_plotly_the_numbers_are_shown(pool: au.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "plotly.graph_objects", None)
    plot = pool.plot("n_tokens", by="source")
    with pytest.raises(MissingExtraError, match=r"autoselection\[report\]"):
        plot.figure
    assert "<table>" in plot._repr_mimebundle_()["text/html"] and repr(plot).startswith("<Plot n_tokens by source: ")


def test_a_plot_is_saved_as_a_page_of_its_own(pool: au.Pool, tmp_path: Path) -> None:
    text = pool.plot("n_tokens").save(tmp_path / "plot.html").read_text("utf-8")
    assert text.startswith("<!DOCTYPE html>") and "n_tokens" in text


def test_what_cannot_be_drawn_is_one_sentence(pool: au.Pool) -> None:
    with pytest.raises(ConfigError, match="A pool is drawn as a whole, or by 'source', not by 'flat'"):
        pool.plot("n_tokens", by="flat")
    with pytest.raises(SignalError, match="There is no signal called 'n_tokenz'"):
        pool.plot("n_tokenz")
    assert isinstance(pool.plot("n_turns") if "n_turns" in au.load_table(pool) else pool.plot("n_tokens"), Plot)


def test_a_plot_is_saved_as_a_page_and_under_no_pictures_name(pool: au.Pool, tmp_path: Path) -> None:
    plot = pool.plot("n_tokens")
    for name in ("plot.png", "plot.svg", "plot"):
        with pytest.raises(ConfigError, match="a plot is saved as HTML"):
            plot.save(tmp_path / name)
    assert plot.save(tmp_path / "plot.HTML").read_text("utf-8").startswith("<!DOCTYPE html>")
    assert [path.name for path in tmp_path.iterdir()] == ["plot.HTML"]


def test_a_signal_that_is_computed_and_no_number_is_not_told_to_be_missing(pool: au.Pool) -> None:
    au.score_pool(pool, signals=["text_hash"])
    with pytest.raises(SignalError, match="'text_hash' is not one number a row; this pool has as such: n") as error:
        pool.plot("text_hash")
    assert "autoselection score" not in str(error.value)
