"""Answers that are words: the marked one, or the last lines."""

from __future__ import annotations

import re
from collections.abc import Callable

from autoselection.tasks.answers.marks import bold, boxed, clauses, tagged, unwrapped
from autoselection.tasks.answers.plain import lines_of, normalised, plain, visible

_QUOTES = "\"'`$ "
#: "not Paris but Lyon" answers Lyon.
_NOT_BUT = re.compile(
    r"not\s+(?!only\b|just\b|merely\b)[^.;]+?,?\s+but\s+(?:rather\s+)?(.+)", re.IGNORECASE | re.DOTALL
)


def extract_text(text: str, lines: int = 1) -> str:
    """The marked answer of ``text`` or, without a mark, its last ``lines`` lines, normalised (may be empty)."""
    text = visible(text)
    marked = _marked(text)
    if marked is not None:
        return normalised(marked)
    return "\n".join(normalised(line) for line in lines_of(text)[-lines:])


def text_matches(generated: str, gold: str) -> bool:
    """Whether the marked answer of ``generated``, or its last lines, are ``gold``."""
    generated = visible(generated)
    wanted = lines_of(gold)
    marked = _marked(generated)
    if marked is not None and len(wanted) == 1:
        return normalised(marked) == normalised(gold)
    last = lines_of(generated)[-len(wanted) :]
    if len(wanted) == 1 == len(last) and normalised(last[0]).strip(_QUOTES) == normalised(gold).strip(_QUOTES):
        return True
    return [normalised(line) for line in last] == [normalised(line) for line in wanted]


def _marked(text: str) -> str | None:
    text = plain(text)
    sources: tuple[Callable[[str], list[str]], ...] = (boxed, tagged, clauses, bold)
    for source in sources:
        found = [fragment for fragment in source(text) if fragment]
        if found:
            marked = unwrapped(found[0]).strip(_QUOTES)
            corrected = _NOT_BUT.fullmatch(marked)
            return corrected.group(1) if corrected else marked
    return None
