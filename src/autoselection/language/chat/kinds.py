"""Kinds of what a model writes: its answer, the reasoning before it, and calls of tools."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from autoselection.marks import CALL_TAGS, CLOSINGS, GLAIVE_CALL, MISTRAL_CALLS, OPENINGS
from autoselection.marks import REASONING as REASONING_MARKS

#: Kinds of tokens, see ``Encoded.kinds``.
NOT_TRAINED, ANSWER, REASONING, CALL = range(4)

#: What rows have that a template may not write: see ``Encoded.left_out``.
LEFT_OUT: Mapping[str, str] = MappingProxyType(
    {
        "tools": "declare tools that the chat template does not write: the model never sees them",
        "reasoning": "hold reasoning that the chat template does not write: it is neither learnt nor scored",
        "text": "hold text that the chat template cuts or changes: it is neither learnt nor scored as it stands there",
    }
)

_OPENING = re.compile(rf"\s*({OPENINGS})", re.IGNORECASE)
_OPENED = re.compile(rf"(?:{OPENINGS})\s*\Z", re.IGNORECASE)
_CLOSED = re.compile(rf"(.*?)(?:{CLOSINGS})\s*", re.DOTALL | re.IGNORECASE)
_CLOSED_BY = {
    opening.lower(): re.compile(rf"(.*?){re.escape(closing)}\s*", re.DOTALL | re.IGNORECASE)
    for opening, closing in REASONING_MARKS.items()
}
_BEHIND = re.compile(rf"\s*(?:{CLOSINGS}|</\w+>|\[/\w+\]|<\|[^|<>]*\|>)?\s*", re.IGNORECASE)
_CALL = re.compile(
    "|".join(re.escape(mark) for mark in (*(f"<{tag}>" for tag in CALL_TAGS), MISTRAL_CALLS, GLAIVE_CALL))
)


def content_of(message: Mapping[str, Any], text: str, start: int, behind: int) -> tuple[int, int]:
    """Where the content of an assistant's message stands in what it writes; an empty place if it says nothing.

    A template may write less than the whole content (without its reasoning): then the end of it that it does write.

    Args:
        start: where the message begins to be written.
        behind: where what stands behind it begins.
    """
    content = message["content"].strip()
    while content:
        place = text.rfind(content, start, behind)
        if place >= 0:
            return place, place + len(content)
        thought = _CLOSED.match(content)
        if thought is None:
            break
        content = content[thought.end() :]
    return (start, start) if not content else (start, behind)


def left_out_of(message: Mapping[str, Any], written: str) -> frozenset[str]:
    """What a message says and ``written`` does not hold: its ``reasoning`` (in a field or between tags), other ``text``.

    Blanks do not count, nor what marks reasoning: templates write both in their own way.
    """
    found = set()
    content = message["content"]
    thoughts = [message.get("reasoning_content", "")]
    if not _holds(written, content):
        between_tags, content = _split(content)
        thoughts += between_tags
    if not all(_holds(written, thought) for thought in thoughts):
        found.add("reasoning")
    if not _holds(written, content):
        found.add("text")
    return frozenset(found)


def has_answer(written: str, message: Mapping[str, Any]) -> bool:
    """Whether ``written`` holds what a message says, blanks and reasoning aside."""
    content: str = message["content"]
    return content.strip() in written or _holds(written, _split(content)[1])


def _split(content: str) -> tuple[list[str], str]:
    """What a content has in front of tags that close reasoning, and the rest; without the tags around both."""
    thoughts = []
    while (thought := _CLOSED.match(content)) is not None:
        thoughts.append(_unopened(thought[1]))
        content = content[thought.end() :]
    return thoughts, _unopened(content)


def _unopened(text: str) -> str:
    """A text without the mark of reasoning that it begins with."""
    opening = _OPENING.match(text)
    return text if opening is None else text[opening.end() :]


def _holds(written: str, text: str) -> bool:
    """Whether a text stands in another, blanks aside."""
    return text.strip() in written or "".join(text.split()) in "".join(written.split())


def kinds_of(
    message: Mapping[str, Any], text: str, start: int, content: int, content_end: int, end: int
) -> tuple[tuple[int, int], ...]:
    """What an assistant's message writes from ``start`` to ``end``, in pieces: (end of the piece, kind), in order.

    What is thought before the content or the first call is reasoning, with its tags; a block without a thought in it is
    none. What stands behind the content where there are calls are calls. The end mark belongs to the last piece.
    """
    said = content_end > content
    first = _reasoning_end(message, text, start, content if said else end, content_end)
    pieces = [(first, REASONING)] if first > start else []
    if message.get("tool_calls"):
        if said and content_end > first:
            pieces.append((content_end, ANSWER))
        return (*pieces, (end, CALL))
    position, last = first, ANSWER
    for called, behind in calls_in(text, first, max(first, content_end)):
        if called > position:
            pieces.append((called, ANSWER))
        pieces.append((behind, CALL))
        position = behind
        last = CALL if not text[position:content_end].strip() else ANSWER
    return (*pieces, (end, last)) if position < end else tuple(pieces)


def calls_in(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where calls stand in a part of a text, with the blanks in front of them; in time that grows with its length alone.

    A tag that is not closed opens no call. What Glaive's mark opens ends where it is closed before it is opened again, else with its
    line, as what Mistral's opens always does.
    """
    position, behind = start, start  # what was looked at, and where the last call ends
    closings: set[str] = set()  # of which there is no other
    while opening := _CALL.search(text, position, end):
        mark, position = opening[0], opening.end()
        closing = mark.replace("<", "</")
        limit = text.find(mark, position, end) if mark == GLAIVE_CALL else -1
        found = -1
        if mark != MISTRAL_CALLS and closing not in closings:
            found = text.find(closing, position, end if limit < 0 else limit)
        if found >= 0:
            position = found + len(closing)
        elif mark in (MISTRAL_CALLS, GLAIVE_CALL):
            line = text.find("\n", position, end)
            position = end if line < 0 else line
        else:
            closings.add(closing)
            continue
        yield behind + len(text[behind : opening.start()].rstrip()), position
        behind = position


def _reasoning_end(message: Mapping[str, Any], text: str, start: int, first: int, content_end: int) -> int:
    """Where what is thought ends; ``start`` if nothing is.

    Args:
        first: where the content begins, or where the message ends if it has none.
    """
    reasoning = message.get("reasoning_content", "").strip()
    if reasoning:
        place = text.find(reasoning, start, first)
        if place < 0:  # the template leaves it out
            return start
        behind = _BEHIND.match(text, place + len(reasoning))
        assert behind is not None
        return first if message["content"].strip() else min(behind.end(), first)
    pattern, place = _CLOSED, start
    if not _OPENED.search(text, max(0, start - 40), start):
        opening = _OPENING.match(text, start, max(first, content_end))
        if opening is None:
            return start
        pattern, place = _CLOSED_BY[opening[1].lower()], opening.end()
    thought = pattern.match(text, place, max(first, content_end))
    return start if thought is None or not thought[1].strip() else thought.end()
