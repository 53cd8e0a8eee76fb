"""Pages keep to the words of CONTRIBUTING: the usual order, one word for one thing."""

import re

import pytest
from pages import PAGES, ROOT, prose

#: Inverted or archaic turns that readers stumbled over, and what to write in their place.
RIDDLES = {
    r"\bforetold\b|\bforetells?\b": "predicted",
    r"\b(?:is|are|was|were) told (?:by|apart by|from)\b": "recognized by",
    r"\banew\b": "again",
    r"\b(?:is|are) said (?:on|in|where|of)\b": "a note says so",
    r"\bwhat is there\b": "what exists",
    r"\bit is told\b|\bthat is told\b": "shown",
}


def written_by_hand():
    """Pages whose words are ours to keep; results and the changelog keep theirs, and CONTRIBUTING names the riddles."""
    skipped = {"CHANGELOG.md", "CONTRIBUTING.md"}
    return [page for page in PAGES if page.name not in skipped and "results" not in page.parts]


@pytest.mark.parametrize("page", written_by_hand(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_none_of_the_riddles(page):
    text = prose(page.read_text(encoding="utf-8"))
    assert not {found[0]: better for riddle, better in RIDDLES.items() for found in re.finditer(riddle, text)}
