"""Pages of the repository, copied to where the site builder finds them, with their links rewritten.

In the repository a page may link to any file. The site has the pages of ``docs/`` and those of ``ELSEWHERE``; other files of
the repository that a page links to are copied beside them.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]

#: Pages outside of ``docs/``, and what they are called on the site.
ELSEWHERE = {
    "CONTRIBUTING.md": "code/contributing.md",
    "CHANGELOG.md": "code/changelog.md",
    "examples/plugin/README.md": "examples/plugin.md",
    "examples/smollm2/README.md": "examples/smollm2.md",
    "benchmarks/README.md": "code/benchmarks.md",
    "testbed/README.md": "code/testbed.md",
}

_CODE = re.compile(r"^(```+).*?^\1[^\n]*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(\]\()([^)\s]+)(\))")


class SiteError(Exception):
    """Why the site cannot be built, in a sentence."""


def stage(out: Path) -> Path:
    """Write all pages into ``out/pages`` and the builder's configuration into ``out``; returns the folder of the pages.

    Raises:
        SiteError: a link leads to a file that does not exist.
    """
    pages = out / "pages"
    shutil.rmtree(pages, ignore_errors=True)
    places = _places()
    linked: dict[str, str] = {}
    for source, target in places.items():
        path = pages / target
        path.parent.mkdir(parents=True, exist_ok=True)
        if source.endswith(".md"):
            path.write_text(_rewritten(source, target, places, linked), encoding="utf-8")
        else:
            shutil.copyfile(ROOT / source, path)
    for source, target in linked.items():
        (pages / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / source, pages / target)
    here = Path(__file__).parent
    for asset in ("site.css", "site.js"):
        shutil.copyfile(here / asset, pages / asset)
    shutil.copyfile(here / "mkdocs.yml", out / "mkdocs.yml")
    return pages


def missing_from_navigation(out: Path) -> list[str]:
    """Pages that no entry of the navigation names, and entries that name no page."""
    named = set(_entries(yaml.safe_load((out / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))
    found = {path.relative_to(out / "pages").as_posix() for path in (out / "pages").rglob("*.md")}
    return sorted(found ^ named)


def _entries(nav: Any) -> Iterator[str]:
    for entry in nav:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        yield from [value] if isinstance(value, str) else _entries(value)


def _places() -> dict[str, str]:
    """Files of the repository that the site has, and where: paths from the root to paths from the site's."""
    docs = {
        path.relative_to(ROOT).as_posix(): path.relative_to(ROOT / "docs").as_posix()
        for path in sorted((ROOT / "docs").rglob("*"))
        if path.is_file()
    }
    index = {source: re.sub(r"(^|/)README\.md$", r"\1index.md", target) for source, target in docs.items()}
    return index | ELSEWHERE


def _rewritten(source: str, target: str, places: dict[str, str], linked: dict[str, str]) -> str:
    """The text of a page with links for its new place; files that only links name are added to ``linked``."""
    text = (ROOT / source).read_text(encoding="utf-8")

    def link(found: re.Match[str]) -> str:
        return found[1] + _destination(found[2], source, target, places, linked) + found[3]

    return _outside_code(text, lambda prose: _LINK.sub(link, prose))


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    parts, end = [], 0
    for code in _CODE.finditer(text):
        parts += [change(text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, change(text[end:])])


def _destination(link: str, source: str, target: str, places: dict[str, str], linked: dict[str, str]) -> str:
    path, _, anchor = link.partition("#")
    if not path or "://" in link or link.startswith("mailto:"):
        return link
    file = os.path.normpath(PurePosixPath(source).parent / path)
    if (ROOT / file).is_dir():
        file = f"{file}/README.md"
    if not (ROOT / file).is_file():
        raise SiteError(f"{source} links to {path}, which does not exist.")
    place = places.get(file) or linked.setdefault(file, f"files/{file}")
    return os.path.relpath(place, PurePosixPath(target).parent) + (f"#{anchor}" if anchor else "")
