"""Pages as text: everything that is not ours is escaped, and the file allows itself nothing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from sample_page import HOSTILE, figure, page
from tests.report.drawn import figures_of

from autoselection.report import page as builder
from autoselection.report.page import Page, Section, page_html
from autoselection.report.palette import COLOURS, faint
from autoselection.report.sheet import Sheet


class _Elements(HTMLParser):
    """Every element with its attributes, and the text of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)


def _elements(text: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = _Elements()
    parser.feed(text)
    return parser.found


def test_hostile_text_makes_no_element() -> None:
    found = _elements(page_html(page()))
    tags = {tag for tag, _ in found}
    assert not tags & {"img", "iframe", "object", "form", "link", "base", "embed", "svg"}
    assert all((attributes.get("href") or "#").startswith("#") for _, attributes in found)
    assert not [name for _, attributes in found for name in attributes if name.startswith("on")]
    kinds = [attributes.get("type") for tag, attributes in found if tag == "script"]
    assert sorted(map(str, kinds)) == ["None", *["application/json"] * 4, "text/plain"]


def test_the_policy_names_what_may_run_by_its_hash() -> None:
    policy = next(
        str(attributes["content"]) for tag, attributes in _elements(page_html(page())) if "http-equiv" in attributes
    )
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect" not in policy and "unsafe-eval" not in policy
    assert "unsafe-inline" not in policy.partition("style-src")[0]


def test_words_of_plots_are_text_and_gaps_stay_gaps() -> None:
    data = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page_html(page()))
    drawn = json.loads(data[0])
    first = drawn["data"][0]
    assert first["name"] == "&lt;script&gt;window.harmed = 1&lt;/script&gt;"
    assert first["customdata"][0].startswith('"&gt;&lt;a href')
    assert first["hovertemplate"].startswith("<b>%{text}</b>")  # ours
    assert first["y"] == [0.25, None, 0.75]
    assert drawn["layout"]["height"] == 420


def test_nothing_of_a_plot_ends_its_element() -> None:
    numbers = Sheet.of("numbers", (), [("a", "1")])
    made = builder.Figure("t", "s", numbers, ({"type": "bar", "hovertemplate": "</script><b>%{x}</b>"},))
    tags = [tag for tag, _ in _elements(page_html(Page("p", (Section("s", (made,)),))))]
    assert "b" not in tags and tags.count("script") == 3


def test_the_same_page_is_the_same_text() -> None:
    assert page_html(page()) == page_html(page())


def test_without_plotly_the_numbers_stand_in_the_plots_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "plotly_bundle", lambda: None)
    text = page_html(page())
    assert "Scores, as numbers" in text and 'class="plot"' not in text
    assert len(text) < 60_000


def test_every_figure_of_a_page_is_found() -> None:
    assert [found.title for found in figures_of(page())] == ["Scores", *(f"Distribution {n}" for n in range(3))]


def test_what_a_figure_holds_may_be_of_numpy() -> None:
    numbers = Sheet.of("numbers", (), [("a", "1")])
    made = builder.Figure("t", "s", numbers, ({"type": "bar", "x": np.arange(2), "y": np.float32([1.5, np.inf])},))
    text = page_html(Page("p", (Section("s", (made,)),)))
    assert '"x":[0,1],"y":[1.5,null]' in text


def test_a_sheet_is_the_same_in_markdown() -> None:
    sheet = Sheet.of("t", ("name", "value"), [(HOSTILE[0], "1")], numbers=True)
    assert sheet.markdown()[2] == "| &lt;script>window.harmed = 1&lt;/script> | 1 |"


def test_figures_are_what_plotly_knows() -> None:
    go = pytest.importorskip("plotly.graph_objects")
    go.Figure(figure().traces, {**figure().layout})


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("ground", ["#ffffff", "#14181d"])
def test_colours_stand_out_on_light_and_dark(ground: str) -> None:
    def contrast(colour: str) -> float:
        low, high = sorted((_luminance(colour), _luminance(ground)))
        return (high + 0.05) / (low + 0.05)

    assert min(map(contrast, COLOURS)) >= 3.0
    assert faint("#2f7fc1") == "rgba(47,127,193,0.45)"
