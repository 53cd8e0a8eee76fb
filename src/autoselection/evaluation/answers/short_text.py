"""Answers that are words: the marked one, or the last lines."""

from __future__ import annotations

from collections.abc import Callable

from autoselection.evaluation.answers.marks import bold, boxed, clauses, tagged, unwrapped
from autoselection.evaluation.answers.plain import lines_of, normalised, plain, visible


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
    return [normalised(line) for line in lines_of(generated)[-len(wanted) :]] == [normalised(line) for line in wanted]


def _marked(text: str) -> str | None:
    text = plain(text)
    sources: tuple[Callable[[str], list[str]], ...] = (boxed, tagged, clauses, bold)
    for source in sources:
        found = [fragment for fragment in source(text) if fragment]
        if found:
            return unwrapped(found[0]).strip("\"'`$ ")
    return None
