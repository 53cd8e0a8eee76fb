"""The one place where text enters Markdown or HTML: names of sources, recipes and tasks come from data, and stay text.

:func:`inline` is for reports that people read as files too: it escapes what would be markup where it stands, and leaves
``ngram_entropy`` and ``[0.1, 0.2]`` alone. :func:`escape` is for dataset cards, where everything is a stranger's: it escapes
all punctuation that could mean something anywhere.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from autoselection.terminal import visible

_ACTIVE = re.compile(r"([\\`*_{}\[\]<>#|~!&$@:])")
# Spaces, controls and what is not seen: the characters that ``terminal`` escapes.
_BREAKS_AND_CONTROLS = re.compile(
    r"[\x00-\x20\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    r"\ufff9-\ufffb\U000e0000-\U000e007f]+"
)

#: What is markup in the middle of a line, and what it is replaced by; in this order.
_MARKUP: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\\(?=[!-/:-@\[-`{-~]|$)"), r"\\\\"),  # a backslash that would escape
    (re.compile(r"&(?=#?\w+;)"), "&amp;"),
    (re.compile(r"<(?=[A-Za-z/!?])"), "&lt;"),
    (re.compile(r"([`|$])"), r"\\\1"),
    (re.compile(r"\*(?! |$)|(?<! )\*"), r"\\*"),
    (re.compile(r"(?<![^\W_])_|_(?![^\W_])"), r"\\_"),
    (re.compile(r"~(?=~)|(?<=~)~"), r"\\~"),
    (re.compile(r"\](?=[(\[:])"), r"\\]"),  # links and definitions of links
    (re.compile(r"\[(?=\^)|(?<=!)\["), r"\\["),  # footnotes, pictures
    (re.compile(r":(?=//)"), r"\\:"),
    (re.compile(r"@(?=\w)"), r"\\@"),
    (re.compile(r"(?i)\b(www)\."), r"\1\\."),
)
#: What is markup at the beginning of a line or a list entry.
_LEADING = re.compile(r"^(\d*)([-+=.)#>])(?=[-+=.)#>\s]|$)|^()(>)")


class Markup(str):
    """Markdown of our own, which :func:`inline` leaves as it is."""


def inline(text: object) -> str:
    """Text as inert Markdown on one line, changed as little as that takes."""
    if isinstance(text, Markup):
        return text
    shown = visible(text)
    for pattern, replacement in _MARKUP:
        shown = pattern.sub(replacement, shown)
    return _LEADING.sub(lambda found: f"{found[1] or ''}\\{found[2] or found[4]}", shown)


def escape(text: object, limit: int = 200) -> str:
    """Text as inert Markdown on one line: control characters become spaces, active punctuation is escaped."""
    shown = one_line(text)
    if len(shown) > limit:
        shown = shown[: limit - 1] + "…"
    shown = _ACTIVE.sub(r"\\\1", shown)
    shown = re.sub(r"(?i)\bwww\.", lambda match: match.group()[:-1] + "\\.", shown)  # GitHub links bare www. names
    return re.sub(r"^(\d*)([-+=.)])(?=[-+=\s]|$)", r"\1\\\2", shown)  # list items, rules, underlined headings


def one_line(text: object) -> str:
    """Text with runs of line breaks and control characters as one space."""
    return _BREAKS_AND_CONTROLS.sub(" ", str(text)).strip()


def table(headings: Sequence[object], rows: Iterable[Sequence[object]], *, numbers: bool = False) -> list[str]:
    """The lines of a table; ``numbers`` sets all columns but the first to the right."""
    rule = ["---", *(["---:" if numbers else "---"] * (len(headings) - 1))]
    return [_row(map(inline, headings)), _row(rule), *(_row(map(inline, row)) for row in rows)]


def bullets(sentences: Iterable[object]) -> list[str]:
    """The lines of a list."""
    return [f"- {inline(sentence)}" for sentence in sentences]


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def label(text: object) -> str:
    """Text for a plot, which would read tags in it."""
    return html.escape(visible(text), quote=False)
