"""Pages in a real Chromium: drawn, searched, sorted, read aloud, and left alone with hostile text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accessibility import faults
from sample_page import page

from autoselection.report.figures import Interval, Link, flow, intervals
from autoselection.report.page import Page, Section, write_page
from autoselection.report.sheet import Sheet


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("plotly")
    return write_page(page(), tmp_path_factory.mktemp("page") / "page.html")


def test_every_plot_is_drawn_without_a_complaint_or_a_request(opened: Callable[..., Any], file: Path) -> None:
    found = opened(file)
    assert found.page.locator(".plot:visible").count() == 2
    for name in found.page.locator(".choices option").evaluate_all("all => all.map(option => option.value)"):
        found.page.select_option(".choices > select", name)
        found.page.wait_for_selector(f"#{name}-plot[data-drawn=yes] .main-svg")
        assert found.page.locator(".choice:visible").count() == 1
    assert found.page.locator(".plot[data-drawn=yes] .main-svg").count() >= 4
    assert (found.problems, found.requests) == ([], [])


def test_hostile_text_runs_nothing(opened: Callable[..., Any], file: Path) -> None:
    found = opened(file)
    found.page.locator("ol.rows summary").first.click()
    found.page.locator(".plot").first.hover()
    assert found.page.evaluate("window.harmed") is None
    assert found.page.locator("main a, main img").count() == 0
    assert "<script>window.harmed = 1</script>" in found.page.locator(".legendtext").first.text_content()
    # The second wall: what would come in all the same is not run, and nothing is loaded.
    found.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.harmed = 5\">')")
    found.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.harmed = 6'}))"
    )
    found.page.wait_for_timeout(200)
    assert found.page.evaluate("window.harmed") is None
    assert len(found.problems) >= 2 and all("Content Security Policy" in said for said in found.problems)


def test_rows_are_searched_and_filtered(opened: Callable[..., Any], file: Path) -> None:
    found = opened(file).page
    shown = found.locator("ol.rows > li:visible")
    assert shown.count() == 12
    found.get_by_label("Search in Rows of step 1").fill("ANSWER 7")
    assert shown.count() == 1 and "id-7" in shown.first.text_content()
    found.get_by_label("Search in Rows of step 1").fill("")
    found.get_by_label("Rows by mark: Rows of step 1").select_option("kept")
    assert shown.count() == 4
    found.get_by_label("Rows by source: Rows of step 1").select_option("<forum>")
    assert shown.count() == 2
    assert found.locator("h3:has-text('Rows of step 1') ~ .tools output").first.text_content() == "2 of 12 shown"


def test_tables_are_sorted_by_keyboard_and_searched(opened: Callable[..., Any], file: Path) -> None:
    found = opened(file).page
    value = found.get_by_role("button", name="value", exact=True)
    value.focus()
    found.keyboard.press("Enter")
    found.keyboard.press("Enter")
    table = found.get_by_role("region", name="Names").locator("tbody tr")
    assert [row.split("\t")[0] for row in table.all_inner_texts()][:3] == ["eight", "nine", "ten"]
    assert found.locator("th[aria-sort=descending]").count() == 1
    found.get_by_label("Search in Names").fill("nine")
    assert found.get_by_role("region", name="Names").locator("tbody tr:visible").count() == 1


def test_numbers_are_sorted_by_size_also_beside_words(opened: Callable[..., Any], tmp_path: Path) -> None:
    rows = [
        ("t1000", "-2.5000", "p = 0.060", "1,234"),
        ("t999", "failed", "", "10"),
        ("t002", "-0.9120", "p < 0.001", ""),
        ("t101", "pending", "p = 0.500", "9"),
        ("t020", "-1.2031", "p = 0.049", "123,456"),
    ]
    sheet = Sheet.of("Trials", ("trial", "dev score", "p", "rows"), rows)
    found = opened(write_page(Page("A page", (Section("One", (sheet,)),)), tmp_path / "page.html")).page

    def sorted_by(place: int) -> list[str]:
        found.locator(f"thead th:nth-child({place + 1}) button").click()
        cells = found.get_by_role("region", name="Trials").locator(f"tbody tr > :nth-child({place + 1})")
        return list(cells.all_inner_texts())

    assert sorted_by(1) == ["-2.5000", "-1.2031", "-0.9120", "failed", "pending"]
    assert sorted_by(1) == ["-0.9120", "-1.2031", "-2.5000", "pending", "failed"]
    assert sorted_by(0) == ["t002", "t020", "t101", "t999", "t1000"]
    assert sorted_by(2) == ["p < 0.001", "p = 0.049", "p = 0.060", "p = 0.500", ""]
    assert sorted_by(3) == ["9", "10", "1,234", "123,456", ""]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_shut_out(opened: Callable[..., Any], file: Path, scheme: str) -> None:
    assert faults(opened(file, scheme=scheme).page) == []


def test_light_and_dark(opened: Callable[..., Any], file: Path) -> None:
    found = opened(file, scheme="dark").page
    ground = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('.xtick text')).fill"
    assert (found.evaluate(ground), found.evaluate(ink)) == ("rgb(20, 24, 29)", "rgb(230, 233, 237)")
    found.get_by_role("button", name="Show the page light").click()
    found.wait_for_function(f"{ink} === 'rgb(27, 31, 36)'")
    assert found.evaluate(ground) == "rgb(255, 255, 255)"


def test_on_a_narrow_screen_nothing_is_wider_than_the_page(opened: Callable[..., Any], file: Path) -> None:
    found = opened(file, width=360).page
    assert found.evaluate("document.documentElement.scrollWidth") <= 360
    assert found.locator(".plot .main-svg").first.bounding_box()["width"] <= 330


def test_printed_on_light_ground_and_within_the_paper(opened: Callable[..., Any], file: Path) -> None:
    found = opened(file, scheme="dark").page
    found.emulate_media(media="print")
    found.evaluate("dispatchEvent(new Event('beforeprint'))")
    found.wait_for_function("getComputedStyle(document.querySelector('.xtick text')).fill === 'rgb(0, 0, 0)'")
    assert found.locator(".plot .main-svg").first.bounding_box()["width"] == 680
    assert found.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_without_scripts_all_is_there_as_text(opened: Callable[..., Any], file: Path) -> None:
    found = opened(file, script=False).page
    assert found.locator("ol.rows > li:visible").count() == 12
    found.get_by_text("The numbers: Scores").click()
    assert found.get_by_role("region", name="Scores, as numbers").is_visible()


def test_a_flow_is_whole_when_it_is_printed_and_long_names_leave_room(
    opened: Callable[..., Any], tmp_path: Path
) -> None:
    name = "a source of a very long name " * 4 + "(the second)"
    links = [
        Link(name, "1 first", 300, name),
        Link("b & c", "1 first", 200, "b & c"),
        Link("1 first", "subset", 500, name),
    ]
    shown = [Interval(name, 0.2, 0.1, 0.3), Interval("short", 0.1, 0.0, 0.2)]
    parts = (
        flow("Flow", "Rows.", links),
        intervals("Gains", "Gains.", shown, x="difference of scores, higher is better"),
    )
    file = write_page(Page("Long names", (Section("All", parts),)), tmp_path / "page.html")
    found = opened(file, width=390).page
    labels = found.locator(".ytick text").all_text_contents()
    assert len(labels) == 2 and "short" in labels and all(len(label) <= 20 for label in labels)
    assert "…" in next(label for label in labels if label != "short")
    assert any("…" in label for label in found.locator(".node-label").all_text_contents())
    # The moment in which paper is made: nothing may still be on its way.
    drawn = "[...document.querySelectorAll('.sankey-link, .sankey-node')].map((one) => getComputedStyle(one).opacity)"
    assert found.evaluate(f"(() => {{ dispatchEvent(new Event('beforeprint')); return {drawn}; }})()") == ["1"] * 7
    wide = found.locator(".sankey-node rect.node-rect").evaluate_all(
        "all => Math.max(...all.map(x => x.getBoundingClientRect().right))"
    )
    assert wide > 500  # as wide as the paper, not as the screen
