"""Answers that are words: the marked one, or the last lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from autoselection.tasks.answers.latex import compact_formula
from autoselection.tasks.answers.marks import bold, boxed, clause_endings, tagged, unwrapped, without_bold
from autoselection.tasks.answers.plain import lines_of, normalised, plain, visible

_QUOTES = "\"'`$ "
#: "not Paris but Lyon" answers Lyon.
_NOT_BUT = re.compile(
    r"not\s+(?!only\b|just\b|merely\b)[^.;]+?,?\s+but\s+(?:rather\s+)?(.+)", re.IGNORECASE | re.DOTALL
)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[\w+-]*[ \t]*$", re.MULTILINE)
_WORD = r"[^\W\d_]{2}"
#: What stands around a word and is no part of it: a bullet or a hash, stars of emphasis, brackets, a sign at the end.
_DRESS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?:[-*•–]|#+)\s+(.*{_WORD}.*)",
        r"([*_]{1,3})(?=\S)(.+)(?<=\S)\1",
        rf"[(\[]((?=.*{_WORD})[^()\[\],;:=+*/<>\d]+)[)\]]",
        rf"(.*(?:{_WORD}|[^\x00-\x7f]))[!?…]+",
        r"(.*\S)\s*[।॥۔።]+",
    )
)
#: More of it is no answer's, and would take long to peel off one by one (count).
_MOST_DRESSES = 10
_ARTICLE = re.compile(rf"(?:the|an?) (?={_WORD}|[^\W\d_]\.[^\W\d_])")


def extract_text(text: str, lines: int = 1) -> str:
    """The marked answer of ``text`` or, without a mark, its last ``lines`` lines, normalised (may be empty)."""
    text = visible(text)
    marked = _marked(text)
    if marked:
        return normalised(marked[0])
    return "\n".join(normalised(line) for line in lines_of(text)[-lines:])


def text_matches(generated: str, gold: str) -> bool:
    """Whether the marked answer of ``generated``, or its last lines, are ``gold``.

    A clause that marks the answer may end at any sign that can end one, for ". " stands inside of names as well ("E. coli").
    """
    generated = visible(generated)
    if not _FENCE.search(gold):
        generated = _FENCE.sub("", generated)
    wanted = lines_of(gold)
    if len(wanted) == 1:
        ours = {_comparable(form) for form in _gold_forms(gold, generated)}
        theirs = _marked(generated) or lines_of(generated)[-1:]
        return any(_comparable(form) in ours for fragment in theirs for form in _forms(fragment))
    last = lines_of(generated)[-len(wanted) :]
    return [normalised(line) for line in last] == [normalised(line) for line in wanted]


def _gold_forms(gold: str, generated: str) -> Iterator[str]:
    """A gold answer, and what reading leaves of it where a text holds it: of ``__init__`` the signs of bold are gone."""
    yield normalised(gold)
    yield normalised(gold).strip(_QUOTES)
    if ended := _DRESS[3].fullmatch(normalised(gold)):
        yield ended.group(1)
    if gold in generated:
        yield normalised(without_bold(plain(gold)).strip(_QUOTES + "*"))


def _forms(fragment: str) -> Iterator[str]:
    """An answer, and what is left of it without quotes, emphasis, brackets and the sign at its end."""
    shown = normalised(unwrapped(fragment))
    yield shown
    for _ in range(_MOST_DRESSES):
        bare = next((match.groups()[-1] for dress in _DRESS if (match := dress.fullmatch(shown))), shown)
        bare = normalised(bare.strip(_QUOTES))
        if bare == shown:
            return
        shown = bare
        yield shown


def _comparable(form: str) -> str:
    """A form without its article; mathematics without blanks."""
    return compact_formula(form) or (_ARTICLE.sub("", form, count=1) if _ARTICLE.match(form) else form)


def _marked(text: str) -> list[str]:
    """The marked answer; one behind a cue up to each sign that may end it, the shortest first; a bold one and its line."""
    text = plain(text)
    sources: tuple[Callable[[str], list[str]], ...] = (_last_of(boxed), _last_of(tagged), clause_endings, _last_bold)
    found = next((fragments for source in sources if (fragments := source(text))), [])
    shown = [unwrapped(fragment).strip(_QUOTES) for fragment in found]
    return [corrected.group(1) if (corrected := _NOT_BUT.fullmatch(answer)) else answer for answer in shown]


def _last_of(source: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    return lambda text: [fragment for fragment in source(text) if fragment][:1]


def _last_bold(text: str) -> list[str]:
    spans = _last_of(bold)(text)
    return [*spans, without_bold(lines_of(text)[-1])] if spans else []
