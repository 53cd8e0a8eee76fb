"""The documentation builds as a site without a fault, and every page of it can be read by everyone, from one host."""

from __future__ import annotations

import functools
import http.server
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from accessibility import faults
from pages import ROOT
from website.__main__ import build
from website.staging import SiteError, missing_from_navigation, stage


@pytest.fixture(scope="module", autouse=True)
def builder() -> None:
    """Tests of the site are skipped where its builder is not installed."""
    for module, name in (("zensical", "Zensical"), ("mkdocstrings_handlers.python", "mkdocstrings")):
        pytest.importorskip(module, reason=f"{name} is not installed (the extra 'docs' has it).")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site, with the staged pages."""
    folder = tmp_path_factory.mktemp("website")
    build(folder)  # raises where a link, an anchor or a place in the navigation is missing
    return folder


@pytest.fixture(scope="module")
def address(out: Path) -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(out / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def text_of(out: Path, page: str) -> str:
    return (out / "site" / page / "index.html").read_text(encoding="utf-8")


def test_every_page_of_the_repository_is_on_the_site(out: Path):
    for page in (ROOT / "docs").rglob("*.md"):
        place = page.relative_to(ROOT / "docs").with_suffix("").as_posix()
        place = place.removesuffix("README")
        assert (out / "site" / place / "index.html").is_file(), page


def test_the_references_have_every_command_signal_and_name(out: Path):
    assert "--assistant-opens" in text_of(out, "reference/commands")
    assert "near_duplicates" in text_of(out, "reference/signals")
    python = text_of(out, "reference/python")
    assert "A step that would leave nothing keeps the best row" in python  # of au.materialize
    assert "check_operator" in text_of(out, "reference/python-modules")
    assert "Examples:" in python and "&gt;&gt;&gt;" in python  # of docstrings: code, not Markdown


@pytest.mark.parametrize("link", ["second.md#no-such-heading", "third.md", "second.md#a-heading"])
def test_a_broken_link_or_anchor_fails_the_build(tmp_path: Path, link: str):
    settings = yaml.safe_load((ROOT / "website" / "mkdocs.yml").read_text(encoding="utf-8"))
    settings |= {"nav": ["index.md", "second.md"], "plugins": [], "extra_css": [], "extra_javascript": []}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(settings))
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.md").write_text(f"# First\n\n[there]({link})\n")
    (tmp_path / "pages" / "second.md").write_text("# Second\n\n## A heading\n")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "-f", str(tmp_path / "mkdocs.yml")]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (ended.returncode == 0) == (link == "second.md#a-heading"), ended.stdout


def test_a_page_without_a_place_in_the_navigation_is_named(tmp_path: Path):
    pages = stage(tmp_path)
    before = set(missing_from_navigation(tmp_path))
    (pages / "forgotten.md").write_text("# Forgotten\n")
    assert set(missing_from_navigation(tmp_path)) - before == {"forgotten.md"}


def test_a_link_to_a_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = tmp_path / "copy"
    shutil.copytree(ROOT / "docs", root / "docs")
    (root / "docs" / "search.md").write_text("[gone](../src/gone.py)")
    monkeypatch.setattr("website.staging.ROOT", root)
    monkeypatch.setattr("website.staging.ELSEWHERE", {})
    with pytest.raises(SiteError, match=r"docs/\S+ links to \S+, which does not exist"):
        stage(tmp_path / "out")


@pytest.mark.parametrize(
    ("page", "scheme", "width"),
    [("", "light", 1280), ("", "dark", 390), ("operators/", "dark", 1280), ("results/mixtures/", "light", 390)],
)
def test_a_page_is_readable_by_everyone_and_asks_no_other_host(
    address: str, chromium, page: str, scheme: str, width: int
):
    context = chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    opened, problems, asked = context.new_page(), [], []
    opened.on("console", lambda said: problems.append(said.text) if said.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(address + page, wait_until="load")
    opened.wait_for_selector("h1")
    assert not problems
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert not opened.evaluate("document.documentElement.scrollWidth > innerWidth + 1")
    assert not faults(opened)
    context.close()


def test_the_search_of_the_site_finds_a_word(address: str, chromium):
    context = chromium.new_context()
    opened = context.new_page()
    opened.goto(address, wait_until="networkidle")  # the index of the search is fetched last
    opened.keyboard.press("Control+k")
    opened.get_by_role("combobox", name="Search").fill("varentropy")
    opened.get_by_role("option").filter(has_text="varentropy_filter").first.wait_for(timeout=20_000)
    context.close()
