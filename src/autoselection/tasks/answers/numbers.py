r"""The number a text gives as its answer, exactly; a mathematical expression where it is no plain number.

A number counts only with what stands around it: ``10^6`` is not 10, ``5k`` not 5, ``12:30``, ``3-4``, ``x12`` and
``1.2.3`` are none. What these rules cannot settle is an expression (see ``mathematics``), or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Final

from autoselection.tasks.answers import mathematics
from autoselection.tasks.answers.latex import (
    as_slashes,
    compact_formula,
    displays_in_one_line,
    last_formula,
    math_part,
    tidy,
)
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
    without_bold,
)
from autoselection.tasks.answers.plain import lines_of, plain, visible
from autoselection.tasks.answers.quantities import CURRENCY, MONTH, scaled, without_exponents_of_units

#: Longer runs of digits are not numbers a task asks for, and would take long to compare (characters).
_LONGEST_NUMBER = 200
_LARGEST_EXPONENT = 300


@dataclass(frozen=True)
class Number:
    """A number as written.

    Attributes:
        value: exact, not divided by 100 where a percent sign stood behind it.
        pair: its spelling where that could be two numbers as well ("1,2").
    """

    value: Fraction
    percent: bool = False
    pair: str = ""

    def same(self, other: Number) -> bool:
        """Equal, or equal once the one percentage of the two is divided by 100 ("50%" is "0.5" and is "50")."""
        if self.value == other.value:
            return True
        if self.percent == other.percent:
            return False
        ours = self.value / 100 if self.percent else self.value
        return ours == (other.value / 100 if other.percent else other.value)

    def latex(self) -> str:
        """The number as an expression."""
        value = self.value / 100 if self.percent else self.value
        if 10**_LARGEST_EXPONENT % value.denominator == 0:  # a decimal, which math-verify compares to six places
            return format(Decimal(value.numerator) / Decimal(value.denominator), "f")
        return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


@dataclass(frozen=True)
class Expression:
    """A marked answer that is mathematics and no plain number, as LaTeX.

    Attributes:
        listed: several numbers in their order, as a tuple ("3, 5, 7").
    """

    latex: str
    listed: bool = False


class Unreadable:
    """A marked answer that is no number, or one that could be read in two ways."""


UNREADABLE: Final = Unreadable()

Reading = Number | Expression | Several | Unreadable


def extract_number(text: str) -> Fraction | None:
    """The number ``text`` gives as its answer, exactly, or None; a percentage is the number before the sign.

    Raises:
        MissingExtraError: the answer is an expression, and math-verify is not installed.
    """
    found = read_number(text)
    if isinstance(found, Expression):
        return None if found.listed else mathematics.value(found.latex)
    return found.value if isinstance(found, Number) else None


def number_matches(generated: str, gold: str) -> bool:
    """Whether ``generated`` gives the number or the expression ``gold``.

    Raises:
        MissingExtraError: one of the two is an expression, and math-verify is not installed.
    """
    wanted = read_gold(gold)
    found = read_number(generated, equation=isinstance(wanted, Expression) and "=" in wanted.latex)
    if isinstance(found, Number) and isinstance(wanted, Number):
        return found.same(wanted)
    if isinstance(found, Expression) and isinstance(wanted, Number) and found.listed:
        return bool(wanted.pair) and mathematics.same(f"({wanted.pair})", found.latex)
    if isinstance(found, Number) and isinstance(wanted, Expression) and wanted.listed:
        return bool(found.pair) and mathematics.same(wanted.latex, f"({found.pair})")
    if not isinstance(found, (Number, Expression)) or not isinstance(wanted, (Number, Expression)):
        return False
    if isinstance(wanted, Number):
        assert isinstance(found, Expression)
        value = mathematics.value(found.latex)
        return value is not None and Number(value).same(wanted)
    return mathematics.same(wanted.latex, found.latex if isinstance(found, Expression) else found.latex())


def read_gold(gold: str) -> Reading | None:
    """How a gold answer of kind ``number`` is read."""
    return _in_fragment(plain(gold), exact=True, equation=True)


def whole_number(text: str) -> Number | None:
    """The number that a text is and holds nothing else beside."""
    found = _whole(_bare(plain(text)))
    return found if isinstance(found, Number) else None


def is_number(gold: str) -> bool:
    """Whether a gold answer is a number and nothing else, or mathematics."""
    return isinstance(_whole(plain(gold).strip()), Number) or is_mathematics(gold)


def is_mathematics(gold: str) -> bool:
    """Whether a gold answer is mathematics, in LaTeX or in plain signs."""
    fragment = plain(gold).strip()
    words = unwrapped(fragment)
    if words != fragment and re.match(r"[^\d=]*(?<![\\A-Za-z])[A-Za-z]{3,}[^\d=]*\d", words):
        return False  # "\text{June } 20" is no number
    mathematical = "\\" in fragment or "^" in fragment or _TUPLE.fullmatch(fragment) or is_formula(fragment)
    return bool(mathematical) and isinstance(read_gold(fragment), (Number, Expression))


def is_formula(gold: str) -> bool:
    """Whether a gold answer is mathematics in plain signs: an expression in variables, or several numbers."""
    shown = plain(gold).strip()
    if "\\" in shown or "^" in shown or math_part(shown) != shown:
        return False
    named = re.search(r"[A-Za-z]\d|(?<![\w)])(?:[A-Z]-\d+|\d+-[A-Z])(?![\w(])", shown)  # x1, e2-e4, F-16
    return _list(shown) is not None or (
        compact_formula(shown) is not None and bool(_VARIABLE.search(shown)) and not named
    )


def read_number(text: str, *, equation: bool = False) -> Reading | None:
    """The answer of a text; None if it holds none.

    Args:
        equation: an equation in variables is wanted, and not what it says on its right.
    """
    text = displays_in_one_line(plain(visible(text)))
    lines = lines_of(text)
    if not lines:
        return None
    marked = [*boxed(text), *tagged(text)]
    if not marked and (bare := _whole(_bare(without_bold(lines[-1])))) is not None:
        return bare
    for fragment in marked:
        if (found := _in_fragment(fragment, exact=True, equation=equation)) is not None:
            return found
    for fragment in clauses(text):
        if _BOUND.match(fragment):
            return UNREADABLE
        if (found := _in_fragment(fragment, exact=False, equation=equation)) is not None:
            return found
    for span in bold(text):
        run = _RUN.search(span)
        if run and not re.search(rf"[{LATIN}]", span[: run.start()]):
            return _in_fragment(span, exact=False, equation=equation)
    if refuses(lines[-1]):
        return None
    return _list(_bare(tidy(unwrapped(lines[-1])))) or _last(lines, equation=equation)


#: Dollar signs around LaTeX are no money: "$5\text{ m}$" is five metres.
_FORMULA = re.compile(r"(?<!\\)\$([^$]*\\[A-Za-z ,;:!][^$]*)(?<!\\)\$")


def _last(lines: list[str], *, equation: bool) -> Reading | None:
    """The last number of a text without a mark."""
    line = next((line for line in reversed(lines) if _RUN.search(line)), None)
    if line is None:
        return None
    line = re.sub(r"(?<![A-Za-z0-9)])\*\*|\*\*(?![A-Za-z0-9(])", "", line)
    for segment in re.finditer(r"\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", line):
        inside = next(filter(None, segment.groups()))
        if not _RUN.search(line[segment.end() :]) and math_part(tidy(inside)) == tidy(inside).strip():
            return _in_fragment(inside, exact=True, equation=equation)
    line = _FORMULA.sub(r"\1", line)
    if equation and (found := last_formula(tidy(unwrapped(line)))) and _is_equation(found):
        return Expression(found)
    line = as_slashes(re.sub(" {2,}", " ", _NEGATED.sub(" ", tidy(unwrapped(line)))))  # long blanks take long
    line = without_exponents_of_units(line)
    run = None
    for run in _RUN.finditer(line):  # noqa: B007 - the last one is wanted
        pass
    if run is None or re.search(
        r"\d[%)]?\s+(?:(?:or|to|and|oder|bis|und|ou|et)\s+(?:[A-Za-z]\w*\s*=\s*)?)?[$€£]?-?$", line[: run.start()]
    ):
        return UNREADABLE
    return _quantity(line, run)


def _whole(fragment: str) -> Reading | None:
    """A fragment that is one number and nothing else, or mathematics without a word; None for others."""
    shown = tidy(fragment).strip()
    text = as_slashes(shown)
    run = _RUN.search(text)
    if run is None:
        return None
    found = _quantity(text, run)
    if isinstance(found, Number):
        whole = not re.search(rf"[{LATIN}(]", CURRENCY.sub("", text[: run.start()], count=1))
        return _with_pair(found, shown) if whole and scaled(text, run.end()).end == len(text) else None
    if _TUPLE.fullmatch(shown) and math_part(shown) == shown:
        return Expression(shown)
    structure = re.search(r"[\^!+*/=]|\\[a-zA-Z]|\d[-:]", shown)
    return _expression(shown) if structure and "=" not in shown and math_part(shown) == shown else None


_RUN = re.compile(r"(?:(?<![\w.])\.)?\d(?:\d|[.,:/'~](?=\d)|-(?=\d)|[eE][+-]?(?=\d)| (?=\d{3}(?!\d))| (?=\d{1,4}/\d))*")
_NEGATED = re.compile(r"(?:\b(?:not|cannot|never)|n't)\s+(?:be\s+)?[$€£]?-?\d[\d,]*(?:\.\d+)?", re.IGNORECASE)
#: A bound is no number.
_BOUND = re.compile(r"[<>]=?\s*[$€£]?-?\d")
_ASIDE = re.compile(r",\s(?!\d)|;|\s\(|\b(?:because|since|where|when|with|so|which|as|for|if)\b")
#: Tuples, intervals, sets and matrices: one answer of several numbers.
_TUPLE = re.compile(r"(?:[(\[]|\\\{)(?=.*,).*(?:[)\]]|\\\})|[(\[]?\s*\\begin\{\w*matrix\}.*\\end\{\w*matrix\}\s*[)\]]?")
_EQUATIONS = re.compile(r"=[^=,;]*\d[^=,;]*(?:,|;|\bor\b|\band\b)\s*[A-Za-z]\w*\s*=")


#: A name that an equation gives a value: "x", "x_1", "f(x)", "\theta".
_NAME = re.compile(r"\s*(?:\\?[A-Za-z]+(?:_\{?\w+\}?)?(?:\([A-Za-z0-9, ]*\))?)\s*")
#: "3 x 4" is a product of numbers.
_VARIABLE = re.compile(r"(?<![A-Za-z\\])(?!(?<=\d)x\s?\d|(?<=\d )x\s?\d)[A-Za-z](?![A-Za-z])")
_PAIR = re.compile(r"[-+]?\d+,\d{1,2}")


def _with_pair(found: Number, shown: str) -> Number:
    return replace(found, pair=shown) if _PAIR.fullmatch(shown) else found


def _list(shown: str) -> Expression | None:
    """Several numbers or expressions with commas between them, as a tuple."""
    shown = re.sub(r",?\s+and\s+(?!\d+/\d)", ", ", shown)  # "2 and 1/2" is one
    if "," not in shown or "=" in shown or re.search(r"\d,\d{3}(?!\d)", shown):
        return None
    if re.fullmatch(r"[-+]?\d+,\d+", shown) or _value(shown.lstrip("+-")) is not None:  # a decimal comma
        return None
    commas = [place for place, depth in _depths(shown) if depth == 0 and shown[place] == ","]
    parts = [
        shown[start:end].strip() for start, end in zip([0, *(c + 1 for c in commas)], [*commas, None], strict=True)
    ]
    if len(parts) < 2 or not all(math_part(part) == part and not re.match(r"[<>]", part) for part in parts):
        return None
    return Expression(f"({shown})", listed=True)


def _is_equation(shown: str) -> bool:
    """Whether it is an equation in variables whose left side is more than a name ("x + y = 3")."""
    left, sign, _ = shown.partition("=")
    return bool(sign and _VARIABLE.search(left) and not _NAME.fullmatch(left) and math_part(shown) == shown)


def _in_fragment(fragment: str, *, exact: bool, equation: bool = False) -> Reading | None:
    """The number of a marked fragment: behind its last equals sign, or its first.

    Args:
        exact: the fragment is the answer and nothing else (a box), so that one without a number is no number.
        equation: as in :func:`read_number`.
    """
    shown = _bare(_NEGATED.sub(" ", tidy(unwrapped(fragment))))
    if not shown:
        return None
    if equation and _is_equation(shown):
        return Expression(shown)
    head = _ASIDE.split(shown, maxsplit=1)[0]
    if "=" in head and _EQUATIONS.search(shown):
        return SEVERAL
    equals = max((place + 1 for place, depth in _depths(head) if depth == 0 and head[place] == "="), default=0)
    if equals and re.search(r"\d|\\[a-zA-Z]", head[equals:]):
        shown = _bare(shown[equals:])
    text = as_slashes(shown)
    run = _RUN.search(text)
    if _TUPLE.fullmatch(shown) and math_part(shown) == shown:
        return Expression(shown)
    if (listed := _list(shown)) is not None:
        return listed
    if run is None:
        constant = math_part(shown) == shown and "\\" in shown
        return _expression(shown) if constant else UNREADABLE if exact else None
    found = _quantity(text, run, exact=exact)
    if isinstance(found, Unreadable):
        part = math_part(shown) or next(
            (part for part in re.findall(r"\$([^$]+)\$", fragment) if math_part(tidy(part)) == tidy(part).strip()), None
        )
        part = tidy(part).strip() if part else None
        return UNREADABLE if part is None or _value(as_slashes(part)) is not None else _expression(part, exact=exact)
    return _with_pair(found, shown) if isinstance(found, Number) else found


def _depths(text: str) -> Iterator[tuple[int, int]]:
    """How many brackets are open at each place."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character in "({[") - (character in ")}]")
        yield place, depth


def _bare(fragment: str) -> str:
    """Without quotes, bold signs, dollar signs around it, and its full stop."""
    fragment = re.sub(r"(?<!\.)\.$", "", fragment.strip(" \"'*,")).strip(" \"'*,")
    return fragment.strip("$ ") if re.fullmatch(r"\$[^$]*\$|\$\$[^$]*\$\$", fragment) else fragment


def _expression(shown: str, *, exact: bool = False) -> Reading:
    """Mathematics, unless it is of a form that means something else outside of mathematics."""
    if re.fullmatch(r"\d+-\d+|\d+(?:[-/]\d+){2,}", shown):  # a range, a date
        return UNREADABLE
    if not exact and shown.rstrip().endswith("!"):  # an exclamation
        return UNREADABLE
    return Expression(shown)


# --- one number -------------------------------------------------------------------------------------------------------

_PLAIN = r"(?:\d+(?:\.\d+)?|\.\d+)"
_SHAPES = re.compile(
    rf"(?P<plain>{_PLAIN})(?:[eE](?P<power>[+-]?\d+))?"
    r"|(?P<comma>[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|[1-9]\d?(?:,\d{2})+,\d{3}(?:\.\d+)?)"
    r"|(?P<dot>[1-9]\d{0,2}(?:\.\d{3})+,\d+|[1-9]\d{0,2}(?:\.\d{3}){2,}|\d+,\d{1,2}|0,\d+)"
    r"|(?P<blank>[1-9]\d{0,2}(?: \d{3})+(?:[.,]\d+)?)"
    r"|(?:(?P<whole>\d+) )?(?P<over>\d+)/(?P<under>\d+)"
)


def _quantity(text: str, run: re.Match[str], *, exact: bool = False) -> Number | Several | Unreadable:
    """The number of a run of digits with its sign, scale and percent sign; unreadable if it is part of something else."""
    value = _value(run.group())
    sign = _sign(text[max(0, run.start() - 48) : run.start()], exact=exact)
    if value is None or sign is None:
        return UNREADABLE
    if re.search(r"[^\s{]\s*\{[^{}]*$|[A-Za-z0-9}\]]\([^()]*$", text[: run.start()]):  # inside of a formula
        return UNREADABLE
    if (
        "," in run.group()
        and text[run.start() - 1 : run.start()] in ("(", "[", "{")
        and text[run.end() : run.end() + 1] in (")", "]", "}")
    ):
        return UNREADABLE  # a point or an interval
    if "." in run.group() and text.startswith(("..", "…"), run.end()):  # it goes on
        return UNREADABLE
    month = MONTH.search(text[max(0, run.start() - 12) : run.start()])
    if month and re.match(r"(?:st|nd|rd|th)?,?\s+\d{4}\b", text[run.end() :]):
        return UNREADABLE
    money = CURRENCY.search(text[max(0, run.start() - 8) : run.start()]) is not None
    whole = "/" not in run.group() and value.denominator == 1
    found = scaled(text, run.end(), money=money, whole=whole)
    if found.several:
        return SEVERAL
    if found.factor is None:
        return UNREADABLE
    if text[max(0, run.start() - 3) : run.start()] == "百分之":
        return Number(sign * value, True)
    return Number(sign * (value * found.factor + found.more), found.percent)


def _value(run: str) -> Fraction | None:
    """The value of a run of digits and separators, or None if it is no number or could be two."""
    match = _SHAPES.fullmatch(run) if len(run) <= _LONGEST_NUMBER else None
    if match is None:
        return None
    part = match.groupdict()
    if part["plain"]:
        power = int(part["power"] or 0)
        return Fraction(part["plain"]) * Fraction(10) ** power if abs(power) <= _LARGEST_EXPONENT else None
    if part["comma"]:
        return Fraction(part["comma"].replace(",", ""))
    if part["dot"]:
        return Fraction(part["dot"].replace(".", "").replace(",", "."))
    if part["blank"]:
        return Fraction(part["blank"].replace(" ", "").replace(",", "."))
    over, under = int(part["over"]), int(part["under"])
    if under == 0 or (part["whole"] and over >= under):  # 2 3/2 is a product or a sum
        return None
    return int(part["whole"] or 0) + Fraction(over, under)


_SIGN = re.compile(rf"(?P<first>[-+])?(?:{CURRENCY.pattern[:-1]})?(?P<second>[-+])?$")
_OPERAND = re.compile(rf"(?:[\d)\]}}%!°]|(?<![{LATIN}])[b-zB-HJ-Z]|\\[a-zA-Z]+)\s*$")
#: A number in front that this one is a part or a bound of: "5 hours and 30 minutes", "3 million 500 thousand", "1 in 10", "2 to the 10th".
_CONTINUES = re.compile(
    r"[万萬亿億千百만억천]$|(?<![A-Za-z])(?:hundred|thousand|million|billion|lakh|crore)(?:\s+and)?\s+$"
    r"|\d\s*-?(?:hours?|hrs?|h|minutes?|mins?|feet|foot|ft|dollars?|euros?|pounds?|lbs?|weeks?|years?|小时|時間|分钟?)\s*(?:and\s+)?$"
    r"|\d\s+(?:in|out\s+of|of|in\s+every|to\s+the)\s+$"
    r"|(?<![A-Za-z])(?:less|more|fewer|greater|smaller|larger|bigger|higher|lower|older|younger|longer|shorter)\s+than\s+$",
    re.IGNORECASE,
)
_NEGATIVE = re.compile(r"(?<![A-Za-z])(?:minus|negative|moins|menos|负|負|マイナス)\s*$", re.IGNORECASE)
_OPERATES = re.compile(
    r"(?<![A-Za-z])(?:plus|times|multiplied\s+by|divided\s+by|root\s+of|sqrt|cbrt|ln|exp|sin|cos|tan|square\s+of|cube\s+of|log(?:arithm)?(?:\s+of)?|power\s+of"
    r"|factorial\s+of|choose|mod(?:ulo)?|half(?:\s+of)?|third\s+of|quarter\s+of|twice|double|triple|thrice)\s+$",
    re.IGNORECASE,
)


def _sign(before: str, *, exact: bool) -> int | None:
    """1 or -1 from what stands in front of a number; None if that makes it a part of something else."""
    match = _SIGN.search(before)
    assert match is not None
    signs = [sign for sign in (match.group("first"), match.group("second")) if sign]
    rest = before[: match.start()]
    currency = match.group().strip("+-")
    sign = -1 if "-" in signs else 1
    if len(signs) == 2:
        return None
    if signs and (re.search(rf"[{LATIN}]$", rest) or _OPERAND.search(rest)):  # COVID-19, x-3, 5 -3
        return None
    if not signs and not currency and re.search(rf"[{LATIN}]$", rest):  # x12
        return None
    if negative := _NEGATIVE.search(rest):
        return None if signs or _OPERAND.search(rest[: negative.start()]) else -1
    if dash := re.search(r"-\s+$", rest):
        if _OPERAND.search(rest[: dash.start()]) or not (exact or rest[: dash.start()].strip()):
            return None
        return -sign if exact and not rest[: dash.start()].strip() else sign
    if _OPERATES.search(rest) or _CONTINUES.search(rest) or re.search(r"\d\s*(?:st|nd|rd|th)?\s*月$|月\s*$", rest):
        return None
    if re.search(
        rf"{MONTH.pattern[:-1]}\d{{1,2}}(?:st|nd|rd|th)?,?\s+$|\d(?:st|nd|rd|th)?\s+(?:of\s+)?{MONTH.pattern}",
        rest,
        re.IGNORECASE,
    ):
        return None  # the year of a date
    if re.search(
        r"\\[A-Za-z]+\s*[{(\[]?\s*$|[^\s{]\s*\{\s*$|[A-Za-z0-9}\]*/^+-]\s*[(]$|[}@&]$|[\^_]\s*[{(]?\s*$|[|√!~·÷±/]$",
        rest,
    ):
        return None
    if re.search(r"[*+x<>]\s*$", rest) and not re.search(r"<[^<>]*>\s*$|^\s*[*+>]\s*$", rest):
        left = rest.rstrip()[:-1]
        counted = _OPERAND.search(left) or re.search(r"\d\s?[A-Za-z]+\s*$", left)  # "60 cm + 3 cm"
        return None if rest.rstrip()[-1] in "<>" or counted or left.rstrip().endswith("*") else sign
    if re.search(r"(?:[/÷·]|\\[a-zA-Z]+)\s+$", rest):
        return None
    return sign
