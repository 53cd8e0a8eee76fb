"""Yes and no: said, or claimed by the last sentence."""

from __future__ import annotations

import re

from autoselection.tasks.answers.marks import bold, boxed, clauses, gold_words, refuses, tagged
from autoselection.tasks.answers.plain import lines_of, normalised, plain, visible

YES_NO = {"yes": "yes", "true": "yes", "y": "yes", "no": "no", "false": "no", "n": "no"}
#: Other words for yes and no: read where they stand alone, or open a sentence.
_OTHERS = {
    **dict.fromkeys(
        (
            "yeah",
            "yep",
            "yup",
            "ja",
            "oui",
            "sí",
            "si",
            "sì",
            "sim",
            "да",
            "tak",
            "ano",
            "evet",
            "ya",
            "có",
            "vâng",
            "はい",
            "是",
            "是的",
            "对",
            "對",
        ),
        "yes",
    ),
    **dict.fromkeys(("예", "네", "हाँ", "हां", "نعم", "כן", "ใช่", "ναι"), "yes"),
    **dict.fromkeys(
        (
            "nope",
            "nah",
            "nein",
            "non",
            "não",
            "nee",
            "нет",
            "nie",
            "ne",
            "hayır",
            "tidak",
            "không",
            "いいえ",
            "否",
            "不",
            "不是",
            "不对",
            "不對",
        ),
        "no",
    ),
    **dict.fromkeys(("아니요", "아니오", "아니", "नहीं", "لا", "לא", "ไม่ใช่", "όχι"), "no"),
}
_WORD = re.compile(r"\b(not\s+|isn't\s+)?(yes|no|true|false)\b", re.IGNORECASE)
_OPENING = re.compile(r"^\W*(yes|no|true|false)\b(?!\s+(?:matter|one|doubt|more|longer|less)\b)", re.IGNORECASE)
_CLOSING = re.compile(r"\b(not\s+|isn't\s+)?(yes|no|true|false)\W*$", re.IGNORECASE)
_FIRST = re.compile(r"[\W_]*([^\W\d_][^,.!;:，。！、\s]*)[,.!;:，。！、]")
_NEGATION = re.compile(
    r"\b(?:not|no|never|without|neither|nor|none|cannot|impossible|disconnected)\b|n't\b", re.IGNORECASE
)
_AFFIRMATION = re.compile(
    r"\b(?:there (?:is|are|exists?|does exist|must be)|exists?|is (?:indeed )?(?:possible|connected|reachable|bipartite)"
    r"|are (?:indeed )?connected|can (?:reach|be)|contains?|has an?)\b",
    re.IGNORECASE,
)


#: What is neither yes nor no where it stands alone, though it holds a word of negation.
_NEITHER = re.compile(
    r"\W*(?:(?:cannot|can't|can not) (?:say|tell|know)|neither|none|no (?:answer|information)"
    r"|not (?:given|known|stated|mentioned|applicable|sure|enough info(?:rmation)?))\W*",
    re.IGNORECASE,
)


def _words(meaning: str) -> str:
    """The words of a meaning in all languages, as an expression; "y" and "n" are none in front of more ("N.A.")."""
    return "|".join(
        re.escape(word) for word, said in (YES_NO | _OTHERS).items() if said == meaning and word not in ("y", "n")
    )


#: A gold answer that opens with its word: "Yes, there is a path", "Ja - das geht", "No there is none". Behind the word stands
#: a sign or a clause of its own; "No answer", "True or false", "yes/no" and "No. 5" say neither.
_OPENED = re.compile(
    rf"[\W_]*(?:(?P<yes>{_words('yes')})|(?P<no>{_words('no')}))"
    r"(?:\s*(?![\w\s/\\&|?+=<>]|[-']\w|\.\s?\d)\S"
    r"|\s+(?:because|since|as|there|it|he|she|they|we|you|i|this|that|these|those|the)\b)",
    re.IGNORECASE,
)


def gold_yes_no(text: str) -> str | None:
    """``yes`` or ``no`` where a gold answer says it: alone, in its first or last line, behind a mark, or in front; else None.

    What a sentence claims is not read, as it is of generated text: "Cannot say" and "Not given" are answers of their own.
    """
    text = gold_words(plain(visible(text)))
    said = next(iter([*boxed(text), *tagged(text), *clauses(text)]), text)
    lines = lines_of(said)
    if alone := next(filter(None, map(_alone, [*lines[-1:], *lines[:1]])), None):
        return alone
    opened = _OPENED.match(said)
    return opened.lastgroup if opened else None


def extract_yes_no(text: str) -> str | None:
    """``yes``, ``no`` or None; true and false count as well, and the last sentence's claim if it says neither."""
    text = plain(visible(text))
    bare = _alone(lines_of(text)[-1]) if lines_of(text) else None
    if bare and not (boxed(text) or tagged(text)):
        return bare
    for fragment in [*boxed(text), *tagged(text), *clauses(text), *bold(text)]:
        if _NEITHER.fullmatch(fragment):
            return None
        words = _WORD.findall(fragment)
        if not words and (alone := _alone(fragment)):
            return alone
        if words:
            said = {_polarity(*word) for word in words}
            return said.pop() if len(said) == 1 else None
    sentences = [part for part in re.split(r"(?<=[.!?])\s+|\n", text) if part.strip()]
    for sentence in reversed(sentences):
        if refuses(sentence) or _NEITHER.fullmatch(sentence):
            return None
        if re.search(r"\byes\s*(?:and|or|/)\s*no\b|\bno\s*(?:and|or|/)\s*yes\b", sentence, re.IGNORECASE):
            return None
        closing = _CLOSING.search(sentence)
        if closing:
            return _polarity(*closing.groups())
        opening = _OPENING.search(sentence)
        if opening:
            return YES_NO[opening.group(1).lower()]
        first = _FIRST.match(sentence)
        if first and (said_so := _OTHERS.get(normalised(first.group(1)))):
            return said_so
    if sentences and _AFFIRMATION.search(sentences[-1]):
        return "no" if _NEGATION.search(sentences[-1]) else "yes"
    if sentences and _NEGATION.search(sentences[-1]):
        return "no"
    return None


def _alone(line: str) -> str | None:
    """What a line says that is one word for yes or no, in any of the languages that are known."""
    word = normalised(line.strip(" .!*'\"`$。:"))
    return YES_NO.get(word) or _OTHERS.get(word)


def _polarity(negated: str | None, word: str) -> str:
    plain = YES_NO[word.lower()]
    return {"yes": "no", "no": "yes"}[plain] if negated else plain
