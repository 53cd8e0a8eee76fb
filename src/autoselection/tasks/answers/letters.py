"""The option letter a text names. "A" and "I" are words too: they count only where no other reading is left."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from autoselection.tasks.answers.marks import (
    LATIN,
    SEVERAL,
    Several,
    bold,
    boxed,
    clauses,
    refuses,
    tagged,
    unwrapped,
)
from autoselection.tasks.answers.numbers import Number, whole_number
from autoselection.tasks.answers.plain import lines_of, normalised, plain, visible

#: Nothing of a word stands in front of the letter, nothing behind it.
_FREE = rf"(?<![{LATIN}'-])"
_ENDS = rf"(?![{LATIN}]|['-]\w)"
#: Behind an "A" that is no article: the end, a sign, or a word that no noun begins with. Behind an "I": the end.
_CLOSED = {
    "A": r"(?=\s*(?:$|[.,;:!?)\]\"*=/&。、]|'(?!\w)|-\s|(?:because|since|as|due|which|and|or|is|was|denn|weil|car|porque)\b|[^\x00-\u024f]))",
    "I": r"(?=\s*(?:$|[.;:)\]\"*。]|'(?!\w)|[^\x00-\u024f]))",
}
_AND = r"(?:\s*(?:,|/|&|、|和|与|及|或|还是|および|または|と|や|か|또는|와|과|и\b|или\b|\b(?:and|or|nor|und|oder|et|ou|y|o)\b|,\s*(?:and|or|nor)\b)\s*)"
_PLURAL = r"(?=\s*(?:are|were|can|could|do|don't|have|aren't|both|all|sind|sont|son|都|均))"
_ADVERBS = r"(?:\s+(?:clearly|also|both|all|obviously|definitely|therefore|thus|simply|just|probably|likely|be))*"
_OUT = (
    rf"(?:[:-]\s*(?:wrong|incorrect|false|falsch|faux)\b|(?:is|are|was|were|seems?|looks?|would|can|could|must|does|do|has|have|ist|sind|est|sont|es|son){_ADVERBS}"
    r"(?:n't\b|\s+(?:not|never|incorrect|wrong|false|impossible|out|no|eliminated|excluded|ruled|discarded|rejected|implausible"
    r"|unlikely|irrelevant|falsch|nicht|faux|fausse|incorrecte?|incorrecta|falsa|pas)\b)|cannot\b|can't\b"
    r"|(?:选项|项|項)?\s*(?:不正确|不正確|错|錯|不对|不對|不符|是错|是不|不是|有误|排除|は誤|は間違|は正しくな|ではな))"
)
_RIGHT = (
    r"(?::\s*(?:correct|right|true|richtig)\b|(?:is|must\s+be|would\s+be|should\s+be|has\s+to\s+be|seems(?:\s+to\s+be)?|appears(?:\s+to\s+be)?|looks|ist|wäre|est|es"
    r"|è|é)\s+(?:(?:the|my|our|therefore|thus|hence|indeed|clearly|definitely|most|likely|probably|also|only|one|that|very|a|an"
    r"|die|der|das|la|le|el|il|o|bonne|richtige|korrekte|final)\s+){0,5}"
    r"(?:correct|right|best|true|answer|choice|option|accurate|appropriate|suitable|valid|plausible|logical|fits|matches|works"
    r"|richtig\w*|korrekt\w*|antwort|réponse|correcte?|correcta|juste|exacte?|respuesta|resposta|risposta|correto|correta"
    r"|corretta)\b|is(?=\s*[.!]?\s*$)"
    r"|(?:fits|matches|works|applies|holds|remains|is\s+left|makes\s+(?:the\s+most\s+)?sense|answers|satisfies|stimmt|passt|convient)\b"
    r"|(?:选项|项|項)?\s*(?:是|为|為)?\s*(?:正确|正確|对的|對的|符合|最佳|が正し|が正解|は正し|が適切|이 정답|가 정답|が答え))"
)
_CHOOSING = (
    r"(?:\b[Ii](?:'d|'ll|'m| would| will| am| have| must)?\s+(?:\w+ly\s+)?(?:choose|chose|chosen|pick|picked|select|selected"
    r"|selecting|choosing|picking|going\s+with|go\s+with|went\s+with|vote\s+for|say|guess|opt\s+for|answer|conclude|believe|think"
    r"|take|stick\s+with|settle\s+on)(?:\s+(?:that|it\s+is|it's|is|the|for|with|to\s+be|answer|option))*"
    r"|\b(?i:let's\s+(?:go\s+with|choose|pick|say|take)|maybe|perhaps|probably|definitely|certainly|surely|likely|sondern|sino)"
    r"|\b(?i:so|therefore|hence|thus|leaving|leaves|only|just|choose|pick|select|mark|but|instead)"
    r"(?:\s+(?:us|with|only|it\s+is|it's|it\s+must\s+be|the|answer|option|is|must\s+be))*"
    r"|\b(?i:it|this|that|which|one)(?:'s|\s+is|\s+must\s+be|\s+has\s+to\s+be|\s+should\s+be|\s+would\s+be|\s+will\s+be"
    r"|\s+can\s+only\s+be)(?:\s+(?:probably|likely|definitely|clearly|surely|obviously|therefore|thus|the|option|choice|answer"
    r"|most|only|going\s+to\s+be))*"
    r"|\b(?i:ich\s+(?:wähle|nehme)|je\s+(?:choisis|prends)|elijo|escojo|escolho|scelgo|also|donc|es\s+ist|es|c'est"
    r"|richtig\s+(?:ist|wäre))|而是|[,，]是|应为|應為|故为|就是|所以|综上(?:所述)?|因此|よって|したがって|따라서)(?:\s+(?:la|le|die|das))?\s*,?\s*:?\s*"
)


#: "I don't think it is".
_DENIED = re.compile(
    r"(?:n't|\b(?:not|cannot|never|nicht|pas|no))\s+(?:(?:really|actually)\s+)?(?:think|believe|say|see|know|agree|sure)\b[^.;\n]{0,30}$",
    re.I,
)


#: What a letter belongs to that is no option's: "Vitamin C", "type A".
_CATEGORY = re.compile(
    r"(?<![A-Za-z])(?:vitamins?|hepatitis|influenza|type|grade|plan|schedule|appendix|exhibit|figure|phase)\s+$", re.I
)
_SINGLE = re.compile(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])")
_NOT = re.compile(
    r"(?:\b(?:not|no|non|without|never|nor|neither|cannot|except|rather\s+than|instead\s+of|nicht|kein\w*|pas)|n't)\s+(?:be\s+)?(?:(?:the|an?)\s+)?$",
    re.I,
)

#: What stands in front is read back so far: more than any of the expressions that end there holds (characters).
_READ_BACK = 100


def _before(text: str, place: int) -> str:
    return text[max(0, place - _READ_BACK) : place]


class _Patterns:
    """The expressions for one set of letters."""

    def __init__(self, letters: str) -> None:
        lower = letters.lower()
        unmistakable = "".join(letter for letter in letters if letter not in _CLOSED)
        both = unmistakable + unmistakable.lower()  # "a" and "i" in small letters are words
        capitals = [f"{letter}{_CLOSED[letter]}" for letter in letters if letter in _CLOSED]
        capitals += [f"[{unmistakable}]"] if unmistakable else []
        bracketed = rf"[(\[]\s*[{letters}{lower}]\s*[)\]]|{_FREE}[{letters}{lower}](?=\))"
        bracketed += rf"|{_FREE}[{both.lower() or '_'}](?=[.!]?\s*$)"
        called = (
            rf"\b(?i:option|choice|letter)\s+[\"'(\[]?[{letters}{lower}]{_ENDS}|\b[Aa]nswer\s+[{both or '_'}]{_ENDS}"
        )
        #: A letter that is meant as one; it is the last single letter of what is matched.
        self.mention = re.compile(rf"{bracketed}|{called}|{_FREE}(?:{'|'.join(capitals)}){_ENDS}")
        self.bare = re.compile(rf"[(\[{{\"'$ ]*([{letters}{lower}])[)\]}}\"'$. :!]*(?:です|だ|である|입니다)?[.。]?")
        self.small = re.compile(rf"[(\[]?([{lower}])(?:[)\]]|\s*[.:](?=\s|$))|[{both.lower() or '_'}](?=,\s)")
        again = rf"(?:(?i:option|choice|answer)\s+)?[(\[]?[{letters}]{_ENDS}"
        #: Another letter at once ("A or B").
        self.another = re.compile(
            rf"[)\]\"']*{_AND}{again}(?=[)\]]|\s*(?:$|[,.;!?/&。、，都均两兩はがで]|(?:and|or|are|und|oder|et|ou)\b))"
        )
        #: "not A", "rule out A and C"; "A is wrong".
        self.negated = re.compile(
            r"(?:\b(?i:not|nor|neither|except|nicht|keine?|pas|never|eliminate|exclude|discard|rule\s+out|no\s+es(?:\s+la)?|non\s+è|não\s+é|nie|не|niet|inte|isn't|aren't|wasn't"
            rf"|can't\s+be|cannot\s+be)\s+(?:be\s+)?|(?:不是|不选|不能选|并非|而非|不選)\s*){again}[)\]]?(?:{_AND}{again}[)\]]?){{0,8}}"
        )
        option = rf"{_FREE}[(\[\"']?(?:[{letters}](?![{LATIN}']))[)\]\"']?"
        own_words = rf"(?:\s*[:.,]\s*(?:(?!{option})[^.;\n]){{0,60}}?)?"  # "B: London is wrong"
        self.wrong = re.compile(rf"{option}(?:(?:{_AND}{option}){{1,8}}{_PLURAL})?{own_words}\s*(?:{_OUT})")
        #: "A is the correct answer", "B fits".
        self.right = re.compile(
            rf"{_FREE}[(\[\"']?([{letters}{both.lower()}])(?![{LATIN}'])[)\]\"']?{own_words}\s*{_RIGHT}"
        )
        #: "I choose B", "so B".
        self.chosen = re.compile(_CHOOSING)
        self.opening = re.compile(
            rf"[^\w(\[]*(?:[(\[]\s*([{letters}{lower}])\s*[)\]]|([{letters}])(?:[)\]]|(?=\s*$|\s*[.:=](?:\s|$)|\s+-\s))"
            rf"|([{lower}])\)(?=\s|$)|([{unmistakable or '_'}])(?=\s|,\s))"
        )
        called_so = "option|choice|antwort|réponse|opción|opção|alternativa|respuesta|resposta|risposta|选项|選項"
        self.named = re.compile(
            rf"[(\[]([{letters}])[)\]]|(?<!\w)(?i:{called_so}|answer|letter)\s+([{letters}]){_ENDS}"
            rf"|\b(?i:option|choice)\s+[(\[]?([{lower}]){_ENDS}|(?<!\w)'([{letters}])'(?!\w)"
        )


_patterns = lru_cache(maxsize=64)(_Patterns)


def _letter(found: str, letters: str) -> str:
    """The letter of a mention such as ``(b)`` or ``option B``."""
    return str(re.findall(rf"[{letters}{letters.lower()}](?![A-Za-z])", found)[-1]).upper()


def extract_letter(text: str, letters: str, choices: Sequence[str] = ()) -> str | None:
    """The option letter that ``text`` names, or None.

    Args:
        letters: the letters there are, such as ``ABCD``.
        choices: texts of the options, in order.
    """
    text = plain(visible(text))
    lines = lines_of(text)
    if not lines:
        return None
    known = _patterns(letters)
    marked = [*boxed(text), *tagged(text)]
    bare = known.bare.fullmatch(unwrapped(lines[-1]).replace("*", "").strip(" _"))
    if bare and not marked:
        return bare.group(1).upper()
    rejected: set[str] = set()
    for fragment in [*marked, *clauses(text), *bold(text)]:
        found = _in_fragment(unwrapped(fragment), known, letters, choices)
        if isinstance(found, Several):
            return None
        if found is not None and found not in rejected:
            return found
        rejected.update(_out(fragment, known))
    for line in reversed(lines):
        found = _in_line(line.replace("*", ""), known, letters, choices, rejected)
        if isinstance(found, Several) or (found is None and refuses(line)):
            return None
        if found is not None:
            return found
    return _by_text(unwrapped(lines[-1]), letters, choices)


def _out(text: str, known: _Patterns) -> set[str]:
    """Letters that the text rejects."""
    spans = [match.group() for pattern in (known.negated, known.wrong) for match in pattern.finditer(text)]
    return {letter for span in spans for letter in re.findall(r"(?<![A-Za-z'])[A-Z](?![A-Za-z'])", span)}


def _without_rejected(text: str, known: _Patterns) -> str:
    return known.wrong.sub(" ", known.negated.sub(" ", text))


def _in_fragment(fragment: str, known: _Patterns, letters: str, choices: Sequence[str]) -> str | Several | None:
    """The letter a marked fragment opens its answer with."""
    fragment = _without_rejected(fragment, known).strip(" \"'`$.*,")
    if bare := known.bare.fullmatch(fragment):
        return bare.group(1).upper()
    if known.small.match(fragment):
        return fragment.strip("([")[0].upper()
    if own := _letter_and_text(fragment, letters, choices):
        return own
    said, fragment = fragment, _without_own_letters(fragment, choices)
    mentions = known.mention.finditer(fragment)
    first = next((match for match in mentions if not _CATEGORY.search(_before(fragment, match.start()))), None)
    if first is None:
        return _by_text(said, letters, choices)
    if known.another.match(fragment, first.end()):
        return SEVERAL
    return _letter(first.group(), letters)


def _in_line(
    line: str, known: _Patterns, letters: str, choices: Sequence[str], rejected: set[str]
) -> str | Several | None:
    """The letter that a line without a mark names: one it opens with, one it points to, or the only one it mentions."""
    gone = rejected | _out(line, known)
    line = _without_own_letters(_without_rejected(line, known), choices)
    pointers = [(match.end(1), match.group(1).upper()) for match in known.right.finditer(line)]
    for match in known.chosen.finditer(line):
        mention = known.mention.match(line, match.end())
        if mention and not _DENIED.search(_before(line, match.end())):
            pointers.append((mention.end(), _letter(mention.group(), letters)))
    pointers = [(end, letter) for end, letter in sorted(pointers) if letter not in gone]
    if pointers:
        end, letter = pointers[-1]
        return SEVERAL if known.another.match(line, end) else letter
    opening = known.opening.match(line)
    if opening:
        letter = next(filter(None, opening.groups())).upper()
        if letter == letters[0] and _lists(line, letters):
            return SEVERAL
        if letter not in gone:
            return SEVERAL if known.another.match(line, opening.end()) else letter
    if own := _letter_and_text(line, letters, choices):
        return own
    if refuses(line):
        return None
    named = {letter.upper() for groups in known.named.findall(line) for letter in groups if letter} - gone
    if named:
        return named.pop() if len(named) == 1 else SEVERAL
    return None


def _without_own_letters(text: str, choices: Sequence[str]) -> str:
    """The text without the single letters that belong to an option's words ("Vitamin C", "C++", "both A and B")."""
    for choice in choices:
        words = plain(choice).strip()
        if len(words) > 2 and _SINGLE.search(words):
            own = re.compile(rf"(?<![{LATIN}]){re.escape(words)}(?![{LATIN}+#])", re.IGNORECASE)
            text = own.sub(lambda said: _SINGLE.sub("_", said.group()), text)
    return text


def _lists(line: str, letters: str) -> bool:
    """Whether a line sets out the options one by one: "(A) London (B) Paris (C) Rome"."""
    places = [line.find(f"{letter})") for letter in letters[:3]]
    return len(places) == 3 and -1 < places[0] < places[1] < places[2]


def _letter_and_text(line: str, letters: str, choices: Sequence[str]) -> str | None:
    """The letter of a line that is a letter and its option's text ("A yes")."""
    words = normalised(line)
    pairs = zip(letters, choices)  # noqa: B905 - options may be unknown
    return next((letter for letter, text in pairs if words == f"{letter.casefold()} {normalised(text)}"), None)


#: What an option's words stand beside where they are a part of something else: "x^2", "x + 1", "non-linear".
_PART_BEFORE = rf"(?<![{LATIN}^])(?<![\w)]-)(?<![\w)}}]\+)(?<![\w)}}] \+ )(?<![\w)]\*)"
_PART_BEHIND = rf"(?![{LATIN}^]|-\w|\s?\+|\*[\w(])"
#: Of numbers: "0.5", ".5", "12:30", "\frac{1}{2}"; of numbers and short signs: "5/8", "-x", "m/s".
_NUMBER_BEFORE = r"(?<!\.)(?<!\d[,:])(?<![\w)}\]^]\{)(?<!\} \{)"
_NUMBER_BEHIND = r"(?![.,:]\d|%\s*of\s+\d)"
_SHORT_FIRST = re.compile(rf"\d|[A-Za-z]{{1,2}}(?![{LATIN}])")
_SHORT_LAST = re.compile(rf"(?:\d|(?<![{LATIN}])[A-Za-z]{{1,2}})$")


def _says(said: str, own: str, *, percent: bool) -> bool:
    """Whether the words of an option stand somewhere, not as a part of others, without a "not" in front of them.

    Args:
        percent: a percent sign may follow.
    """
    before, behind = _PART_BEFORE, _PART_BEHIND
    if own[0].isdigit():
        before += _NUMBER_BEFORE
    if own[-1].isdigit():
        behind += _NUMBER_BEHIND
    if _SHORT_FIRST.match(own):
        before += "(?<![/-])"
    if _SHORT_LAST.search(own):
        behind += "(?!/)"
    if not percent:
        behind += "(?!%)"
    places = re.finditer(f"{before}{re.escape(own)}{behind}", said, re.IGNORECASE)
    return any(not _NOT.search(_before(said, match.start())) for match in places)


def _by_text(text: str, letters: str, choices: Sequence[str]) -> str | None:
    """The letter of the one option whose words stand in ``text``; an option inside a longer one found does not count.

    A text that is a number names the option of the same value.
    """
    said = normalised(text)
    number = whole_number(text)
    numbers = [whole_number(choice) for choice in choices[: len(letters)]]
    if number and any(numbers):
        equal = [letter for letter, own in zip(letters, numbers, strict=False) if own and number.same(own)]
        written = [letter for letter, own in zip(letters, choices, strict=False) if normalised(own) == said]
        return (written + equal)[0] if len(written) == 1 or len(equal) == 1 else None
    found = {
        index: re.escape(own)
        for index, own in enumerate(map(normalised, choices[: len(letters)]))
        if own and _says(said, own, percent=not _is_share(own, [*numbers[:index], *numbers[index + 1 :]]))
    }
    longest = [
        index for index, own in found.items() if not any(own != other and own in other for other in found.values())
    ]
    return letters[longest[0]] if len(longest) == 1 else None


def _is_share(own: str, others: Sequence[Number | None]) -> bool:
    """Whether an option with a percent sign behind it would be another option: 20 beside 20% or 0.2."""
    percent = whole_number(f"{own}%") if own[-1].isdigit() else None
    return percent is not None and any(other is not None and percent.same(other) for other in others)
