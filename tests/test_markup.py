"""Text in Markdown stays text: no tags, links, tables, headings or emphasis, and it reads as before."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoselection.markup import Markup, bullets, escape, inline, label, table

PLAIN = [
    "ngram_entropy",
    "t003 *",
    "+0.125 [0.101, 0.148]",
    "ifd_filter(lowest 50%, within source) → union(a_b)",
    "p < 0.05 and 3 > 2",
    "-0.3633",
    "a\\b",
    "Signals: 3 rows (why?)",
    "数据 हिन्दी 😀",
    "mean ± 0.1, 5-grams",
]
HOSTILE = [
    "<script>alert(1)</script>",
    "</td><img src=x onerror=alert(1)>",
    "<!-- a comment",
    "<https://evil.example>",
    "[click](javascript:alert(1))",
    "![x](http://evil.example/x.png)",
    "[a]: http://evil.example",
    "[a][b]",
    "[^1]",
    "see http://evil.example and www.evil.example, WWW.evil.example",
    "mail me@evil.example, @everyone",
    "a | b | c",
    "`code` ``more``",
    "**bold** *it* __bold__ _it_ ~~no~~",
    "\x1b[31mred \u202etxt \x9b",
    "line\n## heading\r\nmore",
    "&lt;script&gt; &#60;",
    "\\<b> \\[x](y) \\| end\\",
    "# heading",
    "> quote",
    "- item",
    "1. item",
    "---",
    "===",
    "+ x",
    "$math$",
]


@pytest.mark.parametrize("text", PLAIN)
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert inline(text) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_markup_is_made_inert(text: str) -> None:
    shown = inline(text)
    bare = re.sub(r"\\[!-/:-@\[-`{-~]", "¬", shown)  # what is left when escaped characters are text
    assert "<script" not in shown and not re.search(r"<[A-Za-z/!?]", bare)
    assert not re.search(r"\]\(|\]\[|\]:|!\[|\[\^|://|www\.|@\w|[`|$]|~~", bare, re.IGNORECASE)
    assert not re.search(r"(?<!\w)[*_]\w|\w[*_](?!\w)|\*\*|__", bare)
    assert not re.match(r"(\d*[.)]|[-+=#>]+)(\s|$)", bare)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e]", shown)
    assert "&lt;script" not in text or "&amp;lt;script" in shown


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_a_table_keeps_its_cells_and_a_list_its_lines(cells: list[str]) -> None:
    lines = table(cells, [cells])
    for line in lines:
        assert len(line.splitlines()) == 1
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == len(cells) + 1
    assert len("\n".join(bullets(cells)).splitlines()) == len(cells)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)


@given(st.text(st.sampled_from("<>&;!/?abscript =\"'\\`#x")))
def test_no_text_becomes_a_tag(text: str) -> None:
    for shown in (inline(text), label(text)):
        parser = _Tags()
        parser.feed(shown)
        assert parser.tags == []


def test_our_own_markup_passes() -> None:
    assert table(("a", "b"), [(Markup("**x**"), "**y**")])[2] == "| **x** | \\*\\*y\\*\\* |"


def test_no_card_holds_what_is_not_seen() -> None:
    from autoselection.terminal import obeyed

    for code in (0x1B, 0x9B, 0xAD, 0x61C, 0x200B, 0x200E, 0x202E, 0x2060, 0x2066, 0xFEFF, 0xFFF9, 0xE0041):
        assert obeyed(chr(code)) and escape(f"a{chr(code)}b") == "a b"
    assert escape("a\u200cb\u200dc") == "a\u200cb\u200dc"  # joiners: Persian, Hindi and emoji are written with them
