"""What is printed is text: never markup, never a control sequence, and no encoding makes it fail."""

from __future__ import annotations

import io
import json
import re
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoselection.terminal import Terminal, document_written, prepare_streams, styled, visible, write_json

SOURCE = Path(__file__).parents[2] / "src" / "autoselection"
BAD = "\x1b]0;pwn\x07 [/data/x] [red]a[/] :smile: \u202etxt\u2066 \x9b31m \u200b\ufeff"


def printed(encoding: str = "utf-8", errors: str = "strict") -> tuple[Terminal, io.TextIOWrapper]:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)
    return Terminal(file=stream, width=200), stream


def text_of(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode(stream.encoding)


def test_text_is_never_markup_and_never_obeyed() -> None:
    console, stream = printed()
    console.say(BAD)
    console.say("failed", f": {BAD}", style="red")
    console.table(BAD, ("name", BAD), [(BAD, "1"), (styled(BAD, "red"), "2")])
    console.table(BAD, None, [("key", BAD)])
    console.print(BAD)
    shown = text_of(stream)
    assert shown.count("[/data/x] [red]a[/] :smile:") == 9
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202e\u2066\ufeff]", shown)
    assert "\\x1b]0;pwn\\x07" in shown and "\\u202etxt\\u2066 \\x9b31m" in shown


@given(st.text())
def test_visible_text_holds_nothing_that_a_terminal_obeys(text: str) -> None:
    allowed = {"\u200c", "\u200d"}  # joiners that Persian, Hindi and emoji are written with
    for character in visible(text):
        if character in allowed:
            continue
        assert unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp"), hex(ord(character))
        assert unicodedata.bidirectional(character) not in (
            "RLE",
            "LRE",
            "RLO",
            "LRO",
            "PDF",
            "RLI",
            "LRI",
            "FSI",
            "PDI",
        )
    assert "\n" not in visible(text) and visible(text, lines=True).count("\n") == text.count("\n")


def test_ordinary_text_of_any_script_is_left_alone() -> None:
    for text in ("数据 → 1", "हिन्दी क्‍ष", "می‌خواهم", "👩‍👩‍👧", "é e\u0301 ß", "a\\b [x] <y>"):
        assert visible(text) == text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_any_encoding_can_show_any_text(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    console, stream = printed(encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    prepare_streams()
    console.say("数据 👍 → … ± é \ud800")
    shown = text_of(stream)
    if encoding == "utf-8":
        assert shown == "数据 👍 → … ± é \\ud800\n"
    else:
        assert shown.startswith("\\u6570\\u636e \\U0001f44d -> ") and "\\ud800" in shown
        assert ("é" in shown) == (encoding != "ascii")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
@given(text=st.text(), key=st.text())
def test_json_is_one_document_in_any_encoding(encoding: str, text: str, key: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        patch.setattr(sys, "stdout", stream)
        prepare_streams()
        assert not document_written()
        write_json({key: text, "bad": BAD})
        shown = text_of(stream)
        assert document_written() and json.loads(shown) == {key: text, "bad": BAD}
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)


def test_rich_is_imported_where_text_meets_the_terminal_and_nowhere_else() -> None:
    found = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if re.search(r"^\s*(from|import) rich\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert found == {"terminal.py", "progress_bar.py", "watch/terminal.py"}
