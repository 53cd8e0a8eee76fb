r"""LaTeX as numbers are written in it: ``\frac12``, ``1\,000``, ``2**10``; and which part of a text is mathematics."""

from __future__ import annotations

import re

_NUMBER_IN_BRACES = r"\{\s*(-?\d+)\s*\}"
_STEPS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\begin\{array\}\s*\{[^{}]*\}|\\begin\{smallmatrix\}", r"\\begin{matrix}"),
        (r"\\end\{(?:array|smallmatrix)\}", r"\\end{matrix}"),
        (r"\s*\\\\(?:\s*\[-?[\d.]+\s*[a-z]{2}\])?\s*(?=\\end\{)", " "),
        (r"\s*\\\\(?:\s*\[-?[\d.]+\s*[a-z]{2}\])?\s*", r" \\\\ "),
        (r"\s*&\s*", " & "),
        (r"\s+(?=\\end\{)|(?<=matrix\})\s+(?=[^\s&])", " "),
        (r"\\(?:left|right|displaystyle|textstyle|limits|bigg?|Bigg?)(?![a-zA-Z])\s?", ""),
        (r"\\(?:implies|Rightarrow|rightarrow|to|therefore|because|Longrightarrow)(?![a-zA-Z])", " "),
        (r"\\(?:bf|rm|it|bfseries|large|Large|huge|boldsymbol)(?![a-zA-Z])\s?", ""),
        (r"(?<=\d)\{,\}(?=\d)", ","),
        (r"\\(?:approx|simeq|sim|equiv)(?![a-zA-Z])", "="),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\\(?:leq|leqslant|lt)(?![a-zA-Z])", r"\\le"),
        (r"\\(?:geq|geqslant|gt)(?![a-zA-Z])", r"\\ge"),
        (r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{"),
        (r"(\\frac\s*\{[^{}]*\})\s*(\d)", r"\1{\2}"),
        (r"\^\s*\{?\s*\\circ\s*\}?|\\(?:degree|textdegree)(?![a-zA-Z])", "°"),
        (r"\\\$", "$"),
        (r"\\%", "%"),
        (r"(?<!\\)\\[()\[\]]", " "),
        (r"\s*\*\*\s*", "^"),
        (r"\^\s*([-+]?\d+)", r"^{\1}"),
        (r"\^\s*\(([^()]*)\)", r"^{\1}"),
        (r"_\s*(\d+)", r"_{\1}"),
    )
)
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:(?:\\[,;:! ]|\{,\}|,\\!|\{\\,\}|~)\d{3})+(?![\d])")
#: Two backslashes end a row of a matrix; the second of them begins no command.
_THIN = re.compile(r"(?<!\\)((?:\\\\)*)\\[,;:! ]|\\q?quad(?![a-zA-Z])|(?<!\d)~|~(?!\d)")
_BLANKS = re.compile(" {3,}")  # long ones take long


_MATRIX = re.compile(r"\\begin\{(?:\w*matrix|array)\}.{1,1000}?\\end\{", re.DOTALL)


_DISPLAY = re.compile(r"(?<=\\\[)\s*\n\s*|\s*\n\s*(?=\\\])")


def displays_in_one_line(text: str) -> str:
    r"""The text with no line break inside of a matrix, nor behind ``\[`` or in front of ``\]``."""
    if "\\" not in text:
        return text
    return _DISPLAY.sub(" ", _MATRIX.sub(lambda matrix: " ".join(matrix.group().split()), text))


def tidy(text: str) -> str:
    r"""The same LaTeX in one way of writing: ``\frac{1}{2}``, exponents in braces, no spacing commands."""
    if "\\" not in text and "^" not in text and "**" not in text and "~" not in text and "{" not in text:
        return text
    text = _GROUPED.sub(lambda number: re.sub(r"\D", "", number.group()), text)
    for pattern, replacement in ((_THIN, r"\1 "), *_STEPS):
        text = _BLANKS.sub(" ", pattern.sub(replacement, text))
    return text


_FRACTION = re.compile(rf"(?P<mixed>(?<![\d.}}])\d+\s*)?\\frac\s*{_NUMBER_IN_BRACES}\s*\{{\s*(\d+)\s*\}}")


def as_slashes(text: str) -> str:
    r"""Fractions of whole numbers as ``1/2`` and ``2 1/2``."""

    def slashed(match: re.Match[str]) -> str:
        mixed, over, under = match.groups()
        return f"{mixed.strip()} {over}/{under}" if mixed else f"{over}/{under}"

    return _FRACTION.sub(slashed, text)


_COMMANDS = (
    "frac|sqrt|pi|times|cdot|div|pm|mp|infty|cup|cap|ln|log|exp|sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|binom|dbinom|le|ge|ne|neq"
    "|alpha|beta|gamma|delta|epsilon|theta|lambda|mu|nu|rho|sigma|tau|phi|varphi|omega|Delta|Sigma|Omega|in|emptyset|mid"
)
_TOKEN = rf"\d+(?:\.\d+)?|\.\d+|[a-zA-Z](?![a-zA-Z])|\\(?:begin|end)\{{[pbvB]?matrix\}}|\\\\|&|\\(?:{_COMMANDS})(?![a-zA-Z])|\\[{{}}]|[-+*/^!_=<>|(){{}}\[\],]"
_MATH = re.compile(rf"(?:(?:{_TOKEN})[ \t]*)+")
_OPEN_END = re.compile(r"[-+*/^_=<>(\[{,\s]$|\\[a-zA-Z]+$")
_WORD = re.compile(r"\s*(?:[A-Za-z]{2,}|$|[.;?](?:\s|$)|\$|\()")


def math_part(text: str) -> str | None:
    """The mathematics that ``text`` begins with, up to its first word; None if there is none or it ends in the middle."""
    match = _MATH.match(text.strip())
    if match is None or not re.search(r"\d|\\(?:pi|infty|emptyset)", match.group()):
        return None
    found = match.group().strip()
    if len(match.group()) == len(text.strip()):
        return found
    rest = text.strip()[match.end() :]
    found = re.sub(r"\s+[aAI]$", "", found)  # "10^6 a day"
    if _OPEN_END.search(found) or not _WORD.match(rest) or re.match(r"\s*[\d%°]", rest):
        return None
    return found


_OPERATION = re.compile(r"[\w)}\]!]\s*[-+*/=<>]\s*[-+]?[\w(\\{\[]")


def compact_formula(text: str) -> str | None:
    """A text that is mathematics with an operator, without its blanks; None for others."""
    if _MATH.fullmatch(text.strip()) is None or _OPERATION.search(text) is None:
        return None
    return "".join(text.split())


_FORMULAS = re.compile(rf"(?<![A-Za-z\\]){_MATH.pattern}")


def last_formula(line: str) -> str | None:
    """The last run of mathematics in a line."""
    found = _FORMULAS.findall(line)
    return found[-1].strip() if found else None
