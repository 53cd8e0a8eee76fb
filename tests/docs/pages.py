"""The Markdown pages that ship with the repository, and what stands in them."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "benchmarks/**/*.md", "testbed/**/*.md")
    for path in ROOT.glob(pattern)
)

_FENCE = re.compile(r"^(```+)(\w*)[^\n]*\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^|(?<=\n\n))((?: {4}[^\n]*\n)+)", re.MULTILINE)


def code_blocks(text: str) -> list[tuple[str, str]]:
    """Language (often empty) and text of every fenced block, then of blocks set off by four spaces."""
    fenced = [(found[2], found[3]) for found in _FENCE.finditer(text)]
    rest = _FENCE.sub("", text)
    return fenced + [("", re.sub(r"(?m)^ {4}", "", block)) for block in _INDENTED.findall(rest)]


def prose(text: str) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", text)


def anchors(text: str) -> set[str]:
    """What ``#anchor`` may name on a page: its headings, as GitHub spells them."""
    found: set[str] = set()
    for heading in re.findall(r"(?m)^#+ (.*)$", prose(text)):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        number = 0
        while (unique := f"{name}-{number}" if number else name) in found:
            number += 1
        found.add(unique)
    return found | set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))


def links(text: str) -> list[str]:
    """Targets of Markdown links and images outside code."""
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(text)))
