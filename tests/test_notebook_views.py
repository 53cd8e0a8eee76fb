"""What notebooks are given: text stays text, long texts are cut, tags are closed."""

from __future__ import annotations

import time
from html.parser import HTMLParser

import pytest

from autoselection import notebook

EVIL = "</td></table><script>alert(1)</script>\x1b]0;x\x07\u202egnp.exe\u2028$\\href{javascript:x}{y}$ & &amp; \"'>"


class Tags(HTMLParser):
    """Sees that every tag is closed, in order, and gathers the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def text_of(page: str) -> str:
    tags = Tags()
    tags.feed(page)
    tags.close()
    assert not tags.open
    return tags.text


def everywhere(text: str) -> str:
    """A page with a text in every place that takes one."""
    table = notebook.table((text, "b"), [(text, 1), (None, 2.5)], total=9, what=text)
    return notebook.page(text, {text: text}, table, notebook.turns([(text, text)]), notebook.bullets([text]))


def test_a_text_is_text_wherever_it_stands():
    page = everywhere(EVIL)
    assert "<script" not in page and "\x1b" not in page and "\u202e" not in page and "\u2028" not in page
    shown = text_of(page)
    assert shown.count("<script>alert(1)</script>") == 9 and "&amp;" in shown
    assert 'class="tex2jax_ignore mathjax_ignore"' in page, "MathJax leaves it alone"


def test_a_line_is_one_line():
    line = notebook.line("Pool", EVIL, "", "behind\nit")
    assert line.isprintable() and line.startswith("<Pool ") and line.endswith("behind it>")
    assert notebook.line("Pool") == "<Pool>"


def test_a_text_of_megabytes_is_cut_at_once():
    started = time.process_time()
    page = everywhere("\x00 word" * 2_000_000)
    assert len(page) < 10_000 and time.process_time() - started < 2.0
    assert "…" in page


def test_a_conversation_keeps_its_lines():
    assert "one\ntwo\tthree" in text_of(notebook.turns([("user", "one\ntwo\tthree")]))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (float("nan"), ""),
        (3700, "3,700"),
        (0.123456, "0.1235"),
        (12345.6, "12,346"),
        (float("inf"), "inf"),
    ],
)
def test_numbers(value: float | None, shown: str):
    assert notebook.number(value) == shown


def test_long_tables_count_the_rest():
    page = notebook.table(("n",), ((n,) for n in range(1000)), what="numbers")
    assert page.count("<tr>") == 1 + notebook.ROWS and "… 990 more numbers" in text_of(page)
    assert "more" not in notebook.table(("n",), [(1,)])
