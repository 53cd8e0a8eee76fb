"""A real Chromium for tests of pages: the one that is installed, driven by Playwright, with nothing but the file to read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from accessibility import faults

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@dataclass
class Opened:
    """A page in the browser, and what it complained of.

    Attributes:
        problems: errors and warnings of the console, and uncaught ones.
        requests: everything that it asked for besides its own file.
    """

    page: Any
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")  # not longer: its event loop would stand in the way of tests that run one of their own
def chromium() -> Iterator[Any]:
    """The browser; tests that need it are skipped where no Chromium can be had."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed (the extra 'dev' has it)."
    )
    binary = next(filter(None, map(shutil.which, _NAMES)), None)
    if binary is None:
        pytest.skip("There is no Chromium on this machine: install it (apt install chromium) to test pages in it.")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=binary, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Any) -> Iterator[Callable[..., Opened]]:
    """``opened(path)``: the page, once every plot in it is drawn."""
    contexts = []

    def open_page(path: Path, *, scheme: str = "light", width: int = 1200, script: bool = True) -> Opened:
        context = chromium.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 900}, java_script_enabled=script
        )
        contexts.append(context)
        found = Opened(context.new_page())
        page = found.page
        page.on("console", lambda said: found.problems.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: found.problems.append(str(error)))
        page.on("request", lambda asked: found.requests.append(asked.url))
        page.goto(path.as_uri())
        if script:
            page.wait_for_selector("html[data-drawn=yes]", timeout=60_000)
        found.requests = [
            asked for asked in found.requests if asked != path.as_uri() and not asked.startswith(("blob:", "data:"))
        ]
        return found

    yield open_page
    for context in contexts:
        context.close()


def assert_sound(opened: Callable[..., Opened], path: Path) -> None:
    """A page stands in a wide light and in a narrow dark window: every plot that shows is drawn, nothing complains, nothing
    is asked of anybody, nothing is wider than the window, and axe-core finds no serious fault."""
    for scheme, width in (("light", 1200), ("dark", 400)):
        found = opened(path, scheme=scheme, width=width)
        page = found.page
        assert page.locator(".plot:visible").count() > 0
        hidden = page.locator(".choice:not(:visible) .plot").count()
        assert page.locator(".plot[data-drawn=yes]").count() >= page.locator(".plot").count() - hidden, path.name
        assert page.locator(".problem").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert faults(page) == []
        assert (found.problems, found.requests) == ([], [])
