"""Yes and no: said, or claimed by the last sentence."""

from __future__ import annotations

import re

from autoselection.evaluation.answers.marks import bold, boxed, clauses, refuses, tagged
from autoselection.evaluation.answers.plain import lines_of, normalised, plain, visible

YES_NO = {"yes": "yes", "true": "yes", "y": "yes", "no": "no", "false": "no", "n": "no"}
_WORD = re.compile(r"\b(not\s+|isn't\s+)?(yes|no|true|false)\b", re.IGNORECASE)
_OPENING = re.compile(r"^\W*(yes|no|true|false)\b(?!\s+(?:matter|one|doubt|more|longer|less)\b)", re.IGNORECASE)
_CLOSING = re.compile(r"\b(not\s+|isn't\s+)?(yes|no|true|false)\W*$", re.IGNORECASE)
_NEGATION = re.compile(
    r"\b(?:not|no|never|without|neither|nor|none|cannot|impossible|disconnected)\b|n't\b", re.IGNORECASE
)
_AFFIRMATION = re.compile(
    r"\b(?:there (?:is|are|exists?|does exist|must be)|exists?|is (?:indeed )?(?:possible|connected|reachable|bipartite)"
    r"|are (?:indeed )?connected|can (?:reach|be)|contains?|has an?)\b",
    re.IGNORECASE,
)


def extract_yes_no(text: str) -> str | None:
    """``yes``, ``no`` or None; true and false count as well, and the last sentence's claim if it says neither."""
    text = plain(visible(text))
    bare = YES_NO.get(normalised(lines_of(text)[-1].strip(" .!*'\"`$"))) if lines_of(text) else None
    if bare and not (boxed(text) or tagged(text)):
        return bare
    for fragment in [*boxed(text), *tagged(text), *clauses(text), *bold(text)]:
        words = _WORD.findall(fragment)
        if words:
            said = {_polarity(*word) for word in words}
            return said.pop() if len(said) == 1 else None
    sentences = [part for part in re.split(r"(?<=[.!?])\s+|\n", text) if part.strip()]
    for sentence in reversed(sentences):
        if refuses(sentence):
            return None
        if re.search(r"\byes\s*(?:and|or|/)\s*no\b|\bno\s*(?:and|or|/)\s*yes\b", sentence, re.IGNORECASE):
            return None
        closing = _CLOSING.search(sentence)
        if closing:
            return _polarity(*closing.groups())
        opening = _OPENING.search(sentence)
        if opening:
            return YES_NO[opening.group(1).lower()]
    if sentences and _AFFIRMATION.search(sentences[-1]):
        return "no" if _NEGATION.search(sentences[-1]) else "yes"
    if sentences and _NEGATION.search(sentences[-1]):
        return "no"
    return None


def _polarity(negated: str | None, word: str) -> str:
    plain = YES_NO[word.lower()]
    return {"yes": "no", "no": "yes"}[plain] if negated else plain
