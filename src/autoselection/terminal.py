"""The one place where text meets a terminal.

Names of sources, recipes, files and tasks, ids and row text are untrusted: they may hold control sequences, characters
that turn the direction of writing, or words in square brackets that Rich would read as markup. So nothing printed here is
ever read as markup, colours are given apart from the text (:func:`styled`), and what a terminal would obey is shown
as an escape (``\\x1b``). Only this module, ``progress`` and ``watch.terminal`` import Rich.
"""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoselection.system import naming

__all__ = [
    "PLAIN_WIDTH",
    "Terminal",
    "Text",
    "document_written",
    "obeyed",
    "output",
    "prepare_streams",
    "styled",
    "visible",
    "write_json",
    "write_text",
]

#: Width of tables in files and pipes, where there is no terminal to fit (characters).
PLAIN_WIDTH = 180

# Controls (C0, DEL, C1), soft hyphen and invisible format characters, bidirectional marks, line and paragraph
# separators, surrogates, tags. The joiners U+200C and U+200D stay: Persian, Hindi and emoji are written with them.
_CONTROLS = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f"
)
_OBEYED = re.compile(f"[{_CONTROLS}]")
_OBEYED_OR_SPACING = re.compile(f"[{_CONTROLS}\t\n]")
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

#: What our own sentences are written with, for terminals that cannot show it.
_PLAIN = {
    "→": "->",
    "…": "...",
    "–": "-",
    "—": "-",
    "−": "-",
    "±": "+/-",
    "×": "x",
    "·": "-",
    "≤": "<=",
    "≥": ">=",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
}
_ENCODING_ERRORS = "autoselection-plain"
_written: list[bool] = []
_STDOUT, _STDERR = Path("standard output"), Path("standard error")  # for messages


def visible(text: object, *, lines: bool = False) -> str:
    """Text on one line, with every character that a terminal would obey written as an escape.

    Args:
        lines: keep line feeds and tabs.
    """
    return (_OBEYED if lines else _OBEYED_OR_SPACING).sub(_escaped, str(text))


def obeyed(text: str) -> bool:
    """Whether a terminal would obey something in the text, line feeds and tabs aside."""
    return _OBEYED.search(text) is not None


def _escaped(found: re.Match[str]) -> str:
    character = found.group()
    if character in _NAMED:
        return _NAMED[character]
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def styled(text: object, style: str) -> Text:
    """Text in a style, such as ``red``, for :meth:`Terminal.say` and cells of tables."""
    return Text(visible(text), style)


class Terminal(Console):
    """A Rich console that takes text, never markup.

    Args:
        stderr: write to standard error.
        file: write here instead.
        width: of tables (characters); by default that of the terminal, or :data:`PLAIN_WIDTH` without one.
    """

    def __init__(self, *, stderr: bool = False, file: IO[str] | None = None, width: int | None = None) -> None:
        stream = file or (sys.stderr if stderr else sys.stdout)
        if width is None and (stream is None or not stream.isatty()):
            width = PLAIN_WIDTH
        super().__init__(stderr=stderr, file=file, width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Every string that Rich prints comes through here: titles, cells, headings."""
        return super().render_str(visible(text, lines=True), **{**options, "markup": False, "emoji": False})

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as Rich does; an error of the stream names it."""
        with naming(_STDERR if self.stderr else _STDOUT):
            super().print(*objects, **options)

    def on_broken_pipe(self) -> None:
        """Let the command line decide what a closed pipe means, not Rich."""
        raise BrokenPipeError

    def say(self, *parts: str | Text, style: str = "") -> None:
        """Print one line, however long, of text and :func:`styled` text."""
        line = Text(style=style)
        for part in parts:
            line.append_text(part if isinstance(part, Text) else Text(visible(part)))
        self.print(line, soft_wrap=True)

    def table(
        self,
        title: str,
        headings: Sequence[str] | None,
        rows: Iterable[Sequence[str | Text]],
        *,
        numbers: bool = False,
        fixed: int = 0,
        ruled: bool = False,
    ) -> None:
        """Print a table.

        Args:
            title: stands above it.
            headings: of the columns; None prints no heading.
            rows: cells, text or :func:`styled` text.
            numbers: all columns but the first are set to the right.
            fixed: so many columns, from the left, are never broken into lines (count).
            ruled: draw a line between the rows.
        """
        cells = [[cell if isinstance(cell, Text) else Text(visible(cell)) for cell in row] for row in rows]
        width = len(headings) if headings is not None else max(map(len, cells), default=0)
        table = Table(title=visible(title), title_justify="left", show_header=headings is not None, show_lines=ruled)
        for number in range(width):
            table.add_column(
                "" if headings is None else Text(visible(headings[number])),
                justify="right" if numbers and number else "left",
                overflow="fold",
                no_wrap=number < fixed,
            )
        for row in cells:
            table.add_row(*row)
        self.print(table)


#: Results; progress, notices and errors go to ``progress.console``.
output = Terminal()


def write_text(text: str) -> None:
    """Write a document of several lines (YAML, a schema) to standard output, as it is but for what a terminal obeys."""
    with naming(_STDOUT):
        _stdout().write(visible(text, lines=True))


def write_json(document: Mapping[str, Any]) -> None:
    """Write one JSON document to standard output, in what its encoding can hold."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    stream = _stdout()
    try:
        text.encode(stream.encoding or "utf-8", "strict")
        text = _OBEYED.sub(lambda found: json.dumps(found.group())[1:-1], text)  # inside strings only: it is JSON
    except UnicodeEncodeError:
        text = json.dumps(document, ensure_ascii=True, allow_nan=False)
    with naming(_STDOUT):
        stream.write(text + "\n")
    _written.append(True)


def document_written() -> bool:
    """Whether :func:`write_json` has written its one document."""
    return bool(_written)


def _stdout() -> TextIO:
    if sys.stdout is None:
        raise BrokenPipeError
    return sys.stdout


def prepare_streams() -> None:
    """Let standard output and error replace or escape what their encoding cannot hold, instead of failing."""
    _written.clear()
    codecs.register_error(_ENCODING_ERRORS, _replace)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=_ENCODING_ERRORS)


def _replace(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeEncodeError):
        character = error.object[error.start]
        if character in _PLAIN:
            return _PLAIN[character], error.start + 1
        first = UnicodeEncodeError(error.encoding, error.object, error.start, error.start + 1, error.reason)
        return codecs.backslashreplace_errors(first)
    return codecs.backslashreplace_errors(error)
