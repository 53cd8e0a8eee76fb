r"""The answer inside generated text, by rules that can be read, so that exact match does not hang on formatting.

Where a text marks its answer, the mark decides, in this order: the last ``\boxed{…}``; a last line that is nothing but
a number, a letter, yes or no; the last clause behind "the
answer is", "Answer:" or "####" that holds an answer (a later one corrects an earlier one; "not A" takes A back); bold
text of the last line. Without a mark it is the last number, the last line that opens with a letter, the last sentence
that says yes or no, or the last lines. Two answers at once ("A or B") are none, and so is a refusal. Letters are read
from English; digits and signs of other scripts are read as what they mean.

Everything here is pure: text in, answer out, no state, no random choice.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

AnswerKind = Literal["auto", "choice", "number", "yes_no", "text"]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

#: Longer runs of digits are not numbers a task asks for, and would take long to compare (characters).
_LONGEST_NUMBER = 200
_LARGEST_EXPONENT = 300
#: An answer stands at the end; what is before is not read (characters, boxes and clauses), so that no text takes long.
_LONGEST_TEXT = 20_000
_MOST_MARKS = 20


@dataclass(frozen=True)
class Number:
    """A number as written: its exact value, and whether a percent sign stood behind it (not divided by 100)."""

    value: Fraction
    percent: bool = False

    def same(self, other: Number) -> bool:
        """Equal, or equal once the one percentage of the two is divided by 100 ("50%" is "0.5" and is "50")."""
        if self.value == other.value:
            return True
        if self.percent == other.percent:
            return False
        ours = self.value / 100 if self.percent else self.value
        return ours == (other.value / 100 if other.percent else other.value)


def answers_match(
    generated: str, gold: str, letters: str = "", *, choices: Sequence[str] = (), kind: AnswerKind = "auto"
) -> bool:
    """Return whether ``generated`` gives the answer ``gold``.

    Args:
        letters: the option letters of a multiple-choice item; empty for other items.
        choices: the texts of the options, so that a text that names an option by its words is understood.
        kind: how to read the answer. ``auto``: a letter if there are ``letters`` or the gold answer is one in brackets
            (``(B)``), a number if it is one, yes or no if it is that, else text.
    """
    kind = kind_of(gold, letters) if kind == "auto" else kind
    if kind == "choice":
        return extract_letter(generated, letters or LETTERS, choices) == gold.strip("() ")
    if kind == "number":
        found, wanted = _number(generated), _number_in(_plain(gold))
        return isinstance(found, Number) and isinstance(wanted, Number) and found.same(wanted)
    if kind == "yes_no":
        return extract_yes_no(generated) == _YES_NO.get(_normalise(gold))
    return _text_matches(generated, gold)


def kind_of(gold: str, letters: str = "") -> AnswerKind:
    """How an answer is read that is marked ``auto``; true and false are text unless the task says ``yes_no``."""
    if letters or re.fullmatch(r"\([A-Z]\)", gold.strip()):
        return "choice"
    if _NUMBER.fullmatch(_plain(gold).strip()):
        return "number"
    return "yes_no" if _normalise(gold) in ("yes", "no") else "text"


# --- plain characters -------------------------------------------------------------------------------------------------

_MINUS = dict.fromkeys(map(ord, "−‒–﹣－"), "-")
_OTHERS = {"’": "'", "‘": "'", "“": '"', "”": '"', "×": "x", "⁄": "/", "，": ",", "．": ".", "\u200b": "", "\ufeff": ""}
_BLANKS = re.compile(r"[ \t\r\n]{3,}")
_DATE = re.compile(r"(?<=\d)/(\d+)/(?=\d)")
_GROUP_MARKS = re.compile(r"(?<=\d)(?:[\u00a0\u202f\u2009'_]|\{,\}|,\\!)(?=\d{3}(?!\d))")


def _plain(text: str) -> str:
    """Digits, signs, brackets and blanks of other scripts as their ASCII twins, without long runs of blanks,
    separators in numbers and slashes in dates.
    """
    text = _BLANKS.sub(lambda run: "\n\n" if "\n" in run.group() else " ", text[-_LONGEST_TEXT:])
    if text.isascii():
        return _DATE.sub(r" \1 ", _GROUP_MARKS.sub("", text))
    text = text.translate({**_MINUS, **{ord(key): value for key, value in _OTHERS.items()}})
    text = "".join(map(_plain_character, text))
    text = re.sub(r"[\u00a0\u2000-\u200a\u202f\u3000]", " ", _GROUP_MARKS.sub("", text))
    return _DATE.sub(r" \1 ", text)


def _plain_character(character: str) -> str:
    if character.isascii():
        return character
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    if "\uff01" <= character <= "\uff5e":  # full-width forms
        return chr(ord(character) - 0xFEE0)
    decomposed = unicodedata.normalize("NFKD", character)
    if len(decomposed) > 1 and "⁄" in decomposed:  # ½ is 1⁄2
        return " " + decomposed.replace("⁄", "/")
    return character


# --- where a text marks its answer ------------------------------------------------------------------------------------

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_CUE = re.compile(
    r"(?:\b(?:answer|(?:correct|right|best)\s+(?:option|choice))\b[\"'`]?\s*"
    r"(?:(?:is|are|was|would\s+be|will\s+be|should\s+be|must\s+be)\b\s*:?|:|=)|^\s*#{2,}(?=\s))",
    re.IGNORECASE | re.MULTILINE,
)
_CLAUSE_END = re.compile(r"[.!?;](?=[\s\"'*)\]]|$)|\n")
_BOLD = re.compile(r"\*\*([^*\n]+?)\*\*|__([^_\n]+?)__|<b>([^<\n]+?)</b>", re.IGNORECASE)
_WRAPPER = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}")
_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:not sure|unable|sorry)|i (?:cannot|can't|can not|do not know|don't know|could not|couldn't)"
    r"|as an ai\b|(?:cannot|can't|can not) be (?:determined|answered)|not enough information|insufficient information"
    r"|unable to (?:answer|determine|say)|(?:impossible|hard) to (?:say|tell|determine))",
    re.IGNORECASE,
)


def _boxed(text: str) -> list[str]:
    """Contents of the boxes, last first; a box that is never closed ends with the text."""
    contents = []
    for match in list(_BOX.finditer(text))[-_MOST_MARKS:]:
        depth, end = 1, match.end()
        while end < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        contents.append(_WRAPPER.sub(r"\1", text[match.end() : end - (depth == 0)]).strip(" $"))
    return contents[::-1]


def _clauses(text: str) -> list[str]:
    """The clauses behind the cues, last first."""
    text = re.sub(r"\*\*|__", "", text)
    found = []
    for match in list(_CUE.finditer(text))[-_MOST_MARKS:]:
        rest = _WRAPPER.sub(r"\1", text[match.end() : match.end() + 400]).lstrip(" \t:*\"'`$")
        rest = rest.lstrip()  # the answer may stand in the next line
        found.append(_CLAUSE_END.split(rest, maxsplit=1)[0].strip())
    return found[::-1]


def _bold(text: str) -> list[str]:
    lines = _lines(text)
    spans = [next(filter(None, groups)) for groups in _BOLD.findall(lines[-1])] if lines else []
    return [span.strip() for span in spans if not span.strip().endswith(":")][::-1]


def _lines(text: str) -> list[str]:
    return [line for line in text.strip().split("\n") if line.strip()]


def _refuses(text: str) -> bool:
    lines = _lines(text)
    return bool(lines and _REFUSAL.search(lines[-1]))


class _Several:
    """Two answers at once."""


_SEVERAL = _Several()


# --- letters ----------------------------------------------------------------------------------------------------------


def extract_letter(text: str, letters: str, choices: Sequence[str] = ()) -> str | None:
    """The option letter that ``text`` names, or None.

    Args:
        letters: the letters there are, such as ``ABCD``.
        choices: texts of the options, in order.
    """
    text = _plain(text)
    rejected: set[str] = set()
    bare = re.fullmatch(rf"[(\[]?([{letters}])[)\]]?", _lines(text)[-1].strip(" .*")) if _lines(text) else None
    if bare and not _boxed(text):
        return bare.group(1)
    for fragment in [*_boxed(text), *_clauses(text), *_bold(text)]:
        found = _letter_in(fragment, letters, choices)
        if isinstance(found, _Several):
            return None
        if found is not None and found not in rejected:
            return found
        rejected.update(_negated_letters(fragment, letters))
    # "A" and "I" are words too: in front of others they are a letter only if these are the option's own.
    plain = letters.replace("A", "").replace("I", "")
    opening = re.compile(
        rf"[^\w(\[]*[(\[]?(?:([{letters}])(?:[)\]]|(?=\s*$)|(?=\s*(?:[.:,=\-]|\*\*)(?:\s|$)))|([{plain or letters}])(?=\s))"
    )
    for line in reversed(_lines(text)):
        first = opening.match(line)
        if first and not _joined(line[first.end() :], letters):
            return first.group(1) or first.group(2)
        if own := _letter_and_text(line, letters, choices):
            return own
        if _REFUSAL.search(line):
            return None
        named = set(_mentions(_without_negated(line, letters), letters)) - rejected
        if named:
            return named.pop() if len(named) == 1 else None
    return _by_text(_lines(text)[-1], letters, choices) if _lines(text) else None


def _letter_in(fragment: str, letters: str, choices: Sequence[str]) -> str | _Several | None:
    """The letter a marked fragment opens its answer with."""
    fragment = _without_negated(fragment, letters).strip(" \"'`$.*")
    if re.fullmatch(rf"[(\[]?[{letters.lower()}][)\]]?", fragment):
        return fragment.strip("()[]").upper()
    pattern = (
        rf"[(\[]([{letters}{letters.lower()}])[)\]]|(?<![\w'-])([{letters.replace('I', '') or letters}])(?![\w'-])"
    )
    first = re.search(pattern, fragment)
    if first is None:
        return _by_text(fragment, letters, choices)
    if _joined(fragment[first.end() :], letters):
        return _SEVERAL
    return (first.group(1) or first.group(2)).upper()


def _letter_and_text(line: str, letters: str, choices: Sequence[str]) -> str | None:
    """The letter of a line that is a letter and its option's text ("A yes")."""
    words = _normalise(line)
    pairs = zip(letters, choices)  # noqa: B905 - options may be unknown
    return next((letter for letter, text in pairs if words == f"{letter.casefold()} {_normalise(text)}"), None)


def _joined(rest: str, letters: str) -> bool:
    """Whether ``rest``, the text behind a letter, names another one at once."""
    another = rf"[(\[]?[{letters}](?![\w'])(?=[)\]]|\s*(?:$|[,.;!?/&]|and\b|or\b|are\b))"
    return re.match(rf"\s*(?:,|/|&|\band\b|\bor\b|,\s*(?:and|or)\b)\s*{another}", rest) is not None


def _negation(letters: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:not|nor|neither)\s+(?:option\s+)?[(\[]?([{letters}])(?![\w'])[)\]]?", re.IGNORECASE)


def _without_negated(text: str, letters: str) -> str:
    return _negation(letters).sub(" ", text)


def _negated_letters(text: str, letters: str) -> set[str]:
    return {letter.upper() for letter in _negation(letters).findall(text)}


def _mentions(line: str, letters: str) -> list[str]:
    """Letters in brackets, and those called an option, a choice or an answer."""
    return [
        bracketed or named
        for bracketed, named in re.findall(
            rf"[(\[]([{letters}])[)\]]|\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\s+([{letters}])(?![\w'])", line
        )
    ]


def _by_text(text: str, letters: str, choices: Sequence[str]) -> str | None:
    """The letter of the one option whose words stand in ``text``; an option inside a longer one found does not count."""
    found = {
        index: re.escape(_normalise(choice))
        for index, choice in enumerate(choices[: len(letters)])
        if _normalise(choice) and re.search(rf"(?<!\w){re.escape(_normalise(choice))}(?!\w)", _normalise(text))
    }
    longest = [
        index for index, own in found.items() if not any(own != other and own in other for other in found.values())
    ]
    return letters[longest[0]] if len(longest) == 1 else None


# --- numbers ----------------------------------------------------------------------------------------------------------

_DIGITS = r"(?:\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
_POWER = r"(?:\s*(?:x|\\times|\\cdot)\s*10\s*\^\s*\{?\s*-?\d+\s*\}?|[eE][+-]?\d+(?!\w))"
#: Groups: sign, LaTeX numerator and denominator, whole part of a mixed number, number, power of ten, denominator, percent.
_NUMBER = re.compile(
    # a minus counts only where no word or digit stands in front of it ("5-3" ends in 3)
    r"(?P<sign>(?<![\w.])-)?(?:[$€£¥₹]\s?)?(?P<sign2>(?<![\w.\s])-)?"
    r"(?:(?P<mixed>\d+)?\s?\\[dt]?frac\s*\{\s*(?P<over>-?\d+)\s*\}\s*\{\s*(?P<under>\d+)\s*\}"
    rf"|(?:(?<![\d./])(?P<whole>\d+)\s+(?=\d+/\d))?(?P<digits>(?<![\d.])(?:{_DIGITS})|(?<!\d)\d+)(?P<power>{_POWER})?"
    r"(?:/(?P<divisor>\d+)(?![\d/]))?)(?P<percent>\s?\\?%|\s+per\s?cent\b)?"
)
_NEGATED_NUMBER = re.compile(r"\bnot\s+" + _NUMBER.pattern, re.IGNORECASE)


def extract_number(text: str) -> Fraction | None:
    """The number ``text`` gives as its answer, exactly, or None; a percentage is the number before the sign."""
    found = _number(text)
    return found.value if isinstance(found, Number) else None


def _number(text: str) -> Number | _Several | None:
    text = _plain(text)
    lines = _lines(text)
    bare = _NUMBER.fullmatch(lines[-1].strip(" .*$")) if lines else None
    if bare and not _boxed(text):
        return _value(bare)
    for fragment in [*_boxed(text), *_clauses(text)]:
        found = _number_in(fragment)
        if found is not None:
            return found
    for span in _bold(text):
        whole = re.fullmatch(rf"(?:{_NUMBER.pattern})[\s\w./$]{{0,20}}", span)
        if whole:
            return _value(whole)
    if _refuses(text):
        return None
    last = None
    for last in _NUMBER.finditer(text):  # noqa: B007 - the last one is wanted
        pass
    return _value(last) if last else None


def _number_in(fragment: str) -> Number | _Several | None:
    """The number of a marked fragment: behind its last equals sign, or its first."""
    fragment = _NEGATED_NUMBER.sub(" ", fragment)
    _, equals, right = fragment.rpartition("=")
    matches = list(_NUMBER.finditer(right if equals else fragment))
    source = right
    if not matches:
        return None
    if len(matches) > 1:
        between = source[matches[0].end() : matches[1].start()]
        if re.fullmatch(r"\s*(?:,|/|,?\s*\b(?:or|and)\b)\s*", between):
            return _SEVERAL
    return _value(matches[0])


def _value(match: re.Match[str]) -> Number | None:
    if len(match.group()) > _LONGEST_NUMBER:
        return None
    part = match.groupdict()
    if part["over"] is not None:
        value = Fraction(int(part["mixed"] or 0)) + _ratio(part["over"], part["under"])
    else:
        digits = part["digits"]
        if re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+", digits):  # 1.234,50
            digits = digits.replace(".", "").replace(",", ".")
        value = Fraction(digits.replace(",", "")) if part["digits"] else Fraction(0)
        if part["power"]:
            exponent = int(re.findall(r"-?\d+", part["power"].replace("+", ""))[-1])
            if abs(exponent) > _LARGEST_EXPONENT:
                return None
            value *= Fraction(10) ** exponent
        if part["divisor"]:
            value = _ratio(value, part["divisor"])
        value += Fraction(int(part["whole"] or 0))
    negative = part["sign"] or part["sign2"]
    return Number(-value if negative else value, part["percent"] is not None)


def _ratio(over: str | Fraction, under: str) -> Fraction:
    """A quotient; over zero it is the numerator alone, since text that divides by zero gives no number."""
    return Fraction(over) / (int(under) or 1)


# --- yes and no -------------------------------------------------------------------------------------------------------

_YES_NO = {"yes": "yes", "true": "yes", "y": "yes", "no": "no", "false": "no", "n": "no"}
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
    text = _plain(text)
    bare = _YES_NO.get(_normalise(_lines(text)[-1].strip(" .!*"))) if _lines(text) else None
    if bare and not _boxed(text):
        return bare
    for fragment in [*_boxed(text), *_clauses(text), *_bold(text)]:
        words = _WORD.findall(fragment)
        if words:
            said = {_polarity(*word) for word in words}
            return said.pop() if len(said) == 1 else None
    sentences = [part for part in re.split(r"(?<=[.!?])\s+|\n", text) if part.strip()]
    for sentence in reversed(sentences):
        if _REFUSAL.search(sentence):
            return None
        if re.search(r"\byes\s*(?:and|or|/)\s*no\b|\bno\s*(?:and|or|/)\s*yes\b", sentence, re.IGNORECASE):
            return None
        closing = _CLOSING.search(sentence)
        if closing:
            return _polarity(*closing.groups())
        opening = _OPENING.search(sentence)
        if opening:
            return _YES_NO[opening.group(1).lower()]
    if sentences and _AFFIRMATION.search(sentences[-1]):
        return "no" if _NEGATION.search(sentences[-1]) else "yes"
    if sentences and _NEGATION.search(sentences[-1]):
        return "no"
    return None


def _polarity(negated: str | None, word: str) -> str:
    plain = _YES_NO[word.lower()]
    return {"yes": "no", "no": "yes"}[plain] if negated else plain


# --- short text -------------------------------------------------------------------------------------------------------

_SPACES = re.compile(r"\s+")


def extract_text(text: str, lines: int = 1) -> str:
    """The marked answer of ``text`` or, without a mark, its last ``lines`` lines, normalised (may be empty)."""
    marked = _marked_text(text)
    if marked is not None:
        return _normalise(marked)
    return "\n".join(_normalise(line) for line in _lines(text)[-lines:])


def _text_matches(generated: str, gold: str) -> bool:
    wanted = _lines(gold)
    marked = _marked_text(generated)
    if marked is not None and len(wanted) == 1:
        return _normalise(marked) == _normalise(gold)
    return [_normalise(line) for line in _lines(generated)[-len(wanted) :]] == [_normalise(line) for line in wanted]


def _marked_text(text: str) -> str | None:
    text = _plain(text)
    sources: tuple[Callable[[str], list[str]], ...] = (_boxed, _clauses, _bold)
    for source in sources:
        found = [fragment for fragment in source(text) if fragment]
        if found:
            return found[0].strip("\"'`$ ")
    return None


def _normalise(line: str) -> str:
    return _SPACES.sub(" ", _plain(line).strip()).rstrip(".").casefold()
