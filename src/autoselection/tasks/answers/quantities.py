"""What stands behind a number and belongs to it: percent signs, words of scale, units; and what makes it another number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from autoselection.tasks.answers.marks import LATIN

#: In front of a number.
CURRENCY = re.compile(
    rf"(?:(?<![{LATIN}])(?:US|HK|NZ|MX|A|C|S|R)?[$€£¥₹₩₽₫₺₪฿]|(?<![{LATIN}])(?:USD|EUR|GBP|CHF|INR|JPY|CNY|RMB|CAD|AUD|SGD|HKD|BRL|Rs\.?|RM|kr\.?))\s?$"
)
MONTH = re.compile(
    r"(?<![A-Za-z])(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\.?\s+$",
    re.IGNORECASE,
)

_SCALES: dict[str, int] = {
    r"hundreds?|hundert|cents?(?=\s+mille)": 100,
    r"dozens?|dutzend|douzaines?|docenas?": 12,
    r"thousands?|tausend|duizend|tusen|mille|milliers?|mila|ribu|nghìn|ngàn|тысяч[аи]?|тыс\.?|tysięcy|tysiące|tys\.?": 10
    ** 3,
    r"lakhs?|lacs?": 10**5,
    r"millions?|mio\.?|mln\.?|mn|millionen|millones|millón|milhões|milhão|milion[ei]?|milionów|miljoen|miljon(?:er)?|milyon|juta|triệu"
    r"|миллион(?:а|ов)?|млн\.?|millionar(?:ow|e)?": 10**6,
    r"crores?": 10**7,
    r"billions?|bn|bln|mrd\.?|milliarden?|milliards?|miliard[io]?|miliardów|miljard(?:er)?|milyar|miliar|bilhões|bilhão|mil\s+millones|tỷ"
    r"|миллиард(?:а|ов)?|млрд\.?|mld\.?": 10**9,
    r"trillions?|trn|tn|billionen|billones": 10**12,
    r"quadrillions?": 10**15,
}
_SCALE = re.compile(
    "|".join(rf"(?P<s{index}>{words})" for index, words in enumerate(_SCALES)).join((r"[\s-]*(?:", rf")(?![{LATIN}])")),
    re.IGNORECASE,
)
_FACTORS = dict(enumerate(_SCALES.values()))
#: Scripts that write the scale into the number; 千克 and 千米 are units.
_SIGNS = {
    "万": 10**4, "萬": 10**4, "만": 10**4, "亿": 10**8, "億": 10**8, "억": 10**8, "百": 100, "천": 1000, "千": 1000, "十": 10,
    "ملايين": 10**6, "آلاف": 1000, "مليارات": 10**9, "लाख": 10**5, "करोड़": 10**7, "हज़ार": 1000, "हजार": 1000, "ألف": 1000, "مليون": 10**6, "مليار": 10**9, "พัน": 1000, "หมื่น": 10**4,
    "แสน": 10**5, "ล้าน": 10**6,
}  # fmt: skip
_SIGN_SCALE = re.compile(rf"\s*({'|'.join(_SIGNS)})(?![克米瓦卡赫字位伏帕焦分])")
_PERCENT = re.compile(
    rf"\s?\\?%|\s*(?:per\s?cent|pct|prozent|procent|pour\s?cent|por\s?ciento|por\s?cento|per\s?cento|процент\w*)(?![{LATIN}])",
    re.IGNORECASE,
)
_TIMES_TEN = re.compile(r"\s*(?:x|\*|·|\\times|\\cdot)\s*10\s*\^\s*\{\s*([-+]?\d{1,4})\s*\}")
_LARGEST_EXPONENT = 300

#: Units that are written right behind a number; others of fewer than three letters may be variables.
_UNITS = re.compile(
    r"[mghsLlNJWVACFdt]|[kmcnd]?m|[kmµμ]g|[mcd]?[lL]|ft|in|yd|mi|lbs?|oz|hrs?|mins?|sec|[kMG]?Hz|[kMGm]?W|Wh|k[VNJ]|m[AV]|[kKMGT]B|[MGm]b"
    r"|k?Pa|Nm|ha|[pq]t|px|[ap]m|[AP]M|st|nd|rd|th|wk|mo|yr|pp|cc|kt|er|re|me|ème|eme|º|ª"
)
_LENGTH = (
    r"(?:[mckdnµμ]?m|in|ft|yd|mi|units?|inch(?:es)?|feet|foot|yards?|miles?|(?:centi|milli|kilo|deci)?met(?:er|re)s?)"
)
_MEASURE = rf"(?:{_LENGTH}|[mnµμ]?s|sec(?:onds?)?|min|h|hr|[mk]?g|mol|[cmd]?[lL]|[kM]?[NWJ]|[kM]?Pa|[AVKC])"
_EXPONENT = r"(?:\^\{-?\d\}|[23](?!\w|[.,]\d))"
_BETWEEN = r"\s?[/·*]?\s?"
#: A number with its units, of which the last is raised: "60 cm^{2}", "9.8 m/s2", "3 m s^{-2}". A lone "s^{2}" may be a variable.
_RAISED = re.compile(rf"(\d[\s$]*(?:(?:{_MEASURE}{_EXPONENT}?{_BETWEEN}){{1,3}}{_MEASURE}|{_LENGTH}))(?:{_EXPONENT})+")
_SPACED_LETTERS = frozenset("mgshlLNJWVCFdt")
_FUNCTIONS = frozenset({"sin", "cos", "tan", "log", "sqrt", "exp", "mod", "pi", "xyz", "abc"})
_UNIT = re.compile(r"[A-Za-z\u00c0-\u024fµμΩ]+")
_OPERAND = r"[-+$(]*\s*(?:\d|\\[a-zA-Z]|[b-zB-HJ-Z](?![A-Za-z'>]))"
_PART = re.compile(
    rf"\s*(?:[+*/÷·~:<>]|<=|>=|-)\s*{_OPERAND}|\s*x\s*\d|\s*\.?\s*\\[a-zA-Z]|[)\]}}]\s*(?:[\^!]|[*+/×÷]\s*\d)|[\^!_√|&]|\.(?-i:[a-z])|\s*\\\\|\((?=\s*[-\d(]|\s*[a-zA-Z](?![a-zA-Z]))"
    r"|\s+(?:plus|minus|times|over|choose|mod(?:ulo)?)\s+[-$]?\d|\s+(?:multiplied|divided)\s+by\b|\s+(?:squared|cubed|factorial)\b"
    r"|\s+to\s+the\s+(?:power|\w+(?:th|nd|rd)\b|-?\d)|\s+\^"
    r"|[\s-]*(?:thirds?|fourths?|fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?|hundredths?|thousandths?|millionths?)\b"
    r"|\s*[兆割成点半]|\s*[年月]\s*\d|\s*(?:mil|score)(?![A-Za-z])|\s+o'clock\b"
    r"|\s*[A-Za-z]+(?:\s+[A-Za-z]+)?\s*[+×÷]\s*[$€£]?\d",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"\s*(?:st|nd|rd|th)?\s+(?:of\s+)?(?:jan|feb|mar|apr|may|june?|july?|aug|sep|oct|nov|dec)[a-z]*\.?,?\s+\d{4}\b",
    re.IGNORECASE,
)
_RANGE = re.compile(r"\s*(?:to|through|thru|until|bis|到|至|から|à)\s*[$€£]?\d", re.IGNORECASE)
_MORE = re.compile(
    r"\s*(?:,|/|&|;|、|[和与與及と또와과]|或者?|또는|または|(?:,\s*)?(?<![A-Za-z])(?:or|and|y|o|e|i|и|или|oder|und|ou|et)(?![A-Za-z]))\s*(?:about\s+)?[$€£]?-?\.?\d",
    re.IGNORECASE,
)
_HALF = re.compile(
    r"\s+and\s+(?:a|one)[\s-]+(half|third|quarter|fourth)\b|\s+and\s+(\d{1,4})/(\d{1,4})(?![\d/])", re.IGNORECASE
)
_HALVES = {"half": Fraction(1, 2), "third": Fraction(1, 3), "quarter": Fraction(1, 4), "fourth": Fraction(1, 4)}
_OF = re.compile(r"\s+of\s+[$€£]?\d", re.IGNORECASE)
#: Two units for one quantity: "5 hours and 30 minutes".
_COMPOUND = re.compile(
    r"[\s-]*(?:(?:weeks?)\W+(?:and\s+)?\d+\s*days?|(?:days?)\W+(?:and\s+)?\d+\s*(?:hours?|hrs?|h)"
    r"|(?:hours?|hrs?|h|小时|時間|Stunden?)\W*(?:and\s+|und\s+|et\s+)?\d+\s*(?:minutes?|mins?|m|seconds?|分|Minuten)"
    r"|(?:minutes?|mins?|m|分钟?)\W*(?:and\s+)?\d+\s*(?:seconds?|secs?|s|秒)|(?:years?|yrs?)\W+(?:and\s+)?\d+\s*months?"
    r"|(?:feet|foot|ft|')\W*(?:and\s+)?\d+\s*(?:inch(?:es)?|in|\")|(?:pounds?|lbs?)\W+(?:and\s+)?\d+\s*(?:ounces?|oz|pence)"
    r"|(?:dollars?|euros?|€|pounds?|£)\W*(?:and\s+)?\d+\s*(?:cents?|pence|p\b)|(?:kg|kilograms?)\W+(?:and\s+)?\d+\s*(?:g|grams?)"
    r"|(?:km|kilometers?|kilometres?)\W+(?:and\s+)?\d+\s*(?:m|meters?|metres?)|(?:m|meters?|metres?)\W+(?:and\s+)?\d+\s*(?:cm|centi\w+))(?![A-Za-z])",
    re.IGNORECASE,
)  # fmt: skip


@dataclass(frozen=True)
class Scaled:
    """What the text behind a number makes of it.

    Attributes:
        factor: what the number is multiplied by; None if it is part of something else.
        more: what is added ("and a half").
        percent: whether a percent sign stands behind it.
        several: whether another answer stands beside it.
        end: where what belongs to the number ends.
    """

    factor: Fraction | None
    end: int
    more: Fraction = Fraction(0)
    percent: bool = False
    several: bool = False


def scaled(text: str, end: int, *, money: bool = False, whole: bool = True) -> Scaled:
    """Read on behind the number that ends at ``end``.

    Args:
        money: a currency stands in front ("$5m" is five million, "5m" five metres).
        whole: the number is a whole number, so that "and a half" may follow.
    """
    factor, more, position = Fraction(1), Fraction(0), end
    none = Scaled(None, end)
    if power := _TIMES_TEN.match(text, position):
        exponent = int(power.group(1))
        if abs(exponent) > _LARGEST_EXPONENT:
            return none
        factor, position = Fraction(10) ** exponent, power.end()
    position, scale = _scale(text, position, money)
    factor *= scale
    percent = _PERCENT.match(text, position)
    if percent:
        position = percent.end()
    elif text[position : position + 1] == "‰":
        factor, position = factor / 1000, position + 1
    elif whole and scale == 1 and (half := _HALF.match(text, position)):
        word, over, under = half.groups()
        more = _HALVES[word.lower()] if word else Fraction(int(over), int(under) or 1)
        if more >= 1:
            return none
        position = half.end()
    own_end = position
    if _COMPOUND.match(text, position) or _DATE.match(text, position):
        return none
    attached = _UNIT.match(text, position)
    if attached and not percent:
        word = attached.group()
        if not _UNITS.fullmatch(word) and (len(word) < 3 or word.lower() in _FUNCTIONS):
            return none
        unit = re.match(r"[23]?(?!\w)(?:/[a-zA-Z]+)?|(?![A-Za-z0-9_])", text[attached.end() :])
        if unit is None:
            return none
        position = attached.end() + unit.end()
        if text[position : position + 2] == "^{":  # cm^{2}
            position = text.find("}", position) + 1 or len(text)
    if _RANGE.match(text, position) or _MORE.match(text, position):
        return Scaled(factor, own_end, several=True)
    if _PART.match(text, position) or re.match(r"\s+[$€£]?-?\d", text[position:]):
        return none
    if (percent or not whole) and _OF.match(text, position):
        return none
    letter = re.match(r"\s+([b-zB-HJ-Z])(?![\w'])(?!\.\w)", text[position:])
    if letter and not attached and letter.group(1) not in _SPACED_LETTERS:
        return none
    return Scaled(factor, own_end, more, percent is not None)


def without_exponents_of_units(text: str) -> str:
    """The text with "60 cm" for "60 cm^{2}", so that the exponent is not taken for the number."""
    while (shorter := _RAISED.sub(r"\1", text)) != text:  # "kg m^{2} s^{-2}" has two
        text = shorter
    return text


def _scale(text: str, position: int, money: bool) -> tuple[int, Fraction]:
    """Words of scale behind a number ("hundred thousand"), multiplied."""
    factor = Fraction(1)
    while True:
        if word := _SCALE.match(text, position):
            factor *= next(_FACTORS[int(name[1:])] for name, found in word.groupdict().items() if found)
        elif word := _SIGN_SCALE.match(text, position):
            factor *= _SIGNS[word.group(1)]
        else:
            break
        position = word.end()
    if factor == 1:
        short = re.compile(rf"\s?[kKmMbBtT](?![{LATIN}])" if money else rf"[kKM](?![{LATIN}])").match(text, position)
        if short:
            factor *= {"k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}[short.group().strip().lower()]
            position = short.end()
    return position, factor
