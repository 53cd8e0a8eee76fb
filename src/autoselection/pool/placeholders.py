"""Prompts that only stand for a question: data sets that may not give their questions away have a mark in their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoselection import notebook
from autoselection.conversation import Message

#: Longest prompt that may be a mark (characters), and rows from which on one is told.
_LONGEST, _ROWS = 10, 5
#: Different short prompts that are counted: a mark comes again and again, so it is among the first.
_PROMPTS = 1000


@dataclass
class _Asked:
    """How often a prompt was asked (rows), the first answer to it, and whether there were others."""

    rows: int
    answer: str
    others: bool = False


class ShortPrompts:
    """The short prompts of a file, each with the system prompt before it."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, ...], _Asked] = {}

    def add(self, messages: Sequence[Message]) -> None:
        """Count a row, if it is a short question and an answer."""
        *before, answer = messages
        if len(before) > 2 or before[-1]["role"] != "user" or len(before[-1]["content"]) > _LONGEST:
            return
        asked = tuple(turn["content"] for turn in before)
        found = self._asked.get(asked)
        if found is not None:
            found.rows += 1
            found.others = found.others or answer["content"] != found.answer
        elif len(self._asked) < _PROMPTS:
            self._asked[asked] = _Asked(1, answer["content"])

    def remark(self, rows: int) -> str | None:
        """What to say where most of ``rows`` have one short prompt and different answers."""
        for asked, found in self._asked.items():
            if found.others and found.rows >= _ROWS and 2 * found.rows > rows:
                return (
                    f"{found.rows:,} of its {notebook.counted(rows, 'row')} have the same prompt, {asked[-1]!r}, and different answers, so "
                    "it may only stand for questions that have to be fetched elsewhere (as in OpenCodeReasoning): put them in, or "
                    "leave these rows out"
                )
        return None
