"""Conditions on rows: ``ifd < 0.3 and source in ('a', 'b')``. A grammar of its own, read here and never evaluated as code.

::

    condition  = both ("or" both)*
    both       = one ("and" one)*
    one        = "not" one | "(" condition ")" | name test
    test       = ("<" | "<=" | ">" | ">=" | "=" | "==" | "!=") (value | name)
               | ["not"] "in" "(" value ("," value)* ")"
               | ["not"] "contains" text
               | "is" ["not"] "missing"
    value      = number | text in '…' or "…" (a quote inside is written twice) | "true" | "false"
    name       = letters, digits, _ . / - (no blank before or after a "-"), or anything in `…`

Words of the grammar may be in upper or lower case. A row without a value passes no test but ``is missing``, whatever is
compared, and ``not`` turns a test round: ``not ifd < 0.3`` holds for rows without an IFD.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import ConfigError
from autoselection.wording import clipped, ended

Mask: TypeAlias = NDArray[np.bool_]
Value: TypeAlias = float | int | str

#: Longest condition (characters) and most parentheses and ``not`` in one another.
LONGEST, DEEPEST = 10_000, 50
_TOKEN = re.compile(
    r"""(?P<blank>\s+)
    |(?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    |(?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    |(?P<quoted>`[^`]+`)
    |(?P<name>[^\W\d][\w./]*(?:-[\w./]+)*)
    |(?P<sign><=|>=|==|!=|<|>|=|\(|\)|,)""",
    re.VERBOSE,
)
_WHOLE = re.compile(r"[+-]?[0-9]{1,4000}")
#: From here on float64 does not hold every whole number.
EXACT = 2**53
_WORDS = frozenset({"and", "or", "not", "in", "is", "contains", "missing", "true", "false"})
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "=": np.equal,
    "==": np.equal,
    "!=": np.not_equal,
}


class Columns(Protocol):
    """Where the values of rows come from."""

    def column(self, name: str) -> NDArray[Any]:
        """A value of each row: float64 with NaN, or objects, all of them text or all of them numbers (where one is a whole
        number too large for float64, see :func:`numbers`), or None where it is missing.

        Raises:
            LookupError: there is no such column; its message says which there are.
        """
        ...


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


class Condition:
    """A condition that was read.

    Args:
        text: see the module.

    Raises:
        ConfigError: it cannot be read; one sentence with the place.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > LONGEST:
            raise ConfigError(f"A condition has at most {LONGEST:,} characters, this one has {len(text):,}.")
        self._tokens = list(self._cut())
        self._next = 0
        self._depth = 0
        self._root = self._condition()
        if (left := self._peek()).kind != "end":
            raise self._wrong("'and', 'or' or the end", left)

    def holds(self, columns: Columns) -> Mask:
        """Which rows it holds for, bool[N].

        Raises:
            ConfigError: it names a column that does not exist, or compares text with a number.
        """
        return self._root(columns)

    def _cut(self) -> Iterator[_Token]:
        at = 0
        while at < len(self.text):
            found = _TOKEN.match(self.text, at)
            if found is None:
                if self.text[at] in "'\"`":
                    raise self._error(f"the quote {self.text[at]} is never closed", at)
                raise self._error(f"{clipped(self.text[at:].split()[0], 20)!r} cannot stand there", at)
            kind, word = str(found.lastgroup), found.group()
            if kind == "name" and word.lower() in _WORDS:
                kind, word = "word", word.lower()
            if kind != "blank":
                yield _Token(kind, word, at)
            at = found.end()
        yield _Token("end", "", len(self.text))

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._peek()
        self._next += token.kind != "end"
        return token

    def _takes(self, *texts: str) -> bool:
        """Take the next token if it is one of the grammar's words or signs."""
        token = self._peek()
        if token.kind in ("word", "sign") and token.text in texts:
            self._next += 1
            return True
        return False

    def _condition(self) -> Callable[[Columns], Mask]:
        return self._chain("or", np.logical_or, self._both)

    def _both(self) -> Callable[[Columns], Mask]:
        return self._chain("and", np.logical_and, self._one)

    def _chain(self, word: str, join: Any, part: Callable[[], Callable[[Columns], Mask]]) -> Callable[[Columns], Mask]:
        parts = [part()]
        while self._takes(word):
            parts.append(part())
        if len(parts) == 1:
            return parts[0]
        return lambda columns: join.reduce([each(columns) for each in parts])

    def _one(self) -> Callable[[Columns], Mask]:
        token = self._peek()
        if self._takes("not", "("):
            self._depth += 1
            if self._depth > DEEPEST:
                raise self._error(f"more than {DEEPEST} parentheses and 'not' stand in one another", token.at)
            if token.text == "not":
                inner = self._one()
                self._depth -= 1
                return lambda columns: ~inner(columns)
            inner = self._condition()
            self._depth -= 1
            if not self._takes(")"):
                raise self._wrong("')'", self._peek())
            return inner
        if token.kind not in ("name", "quoted"):
            raise self._wrong("a column, 'not' or '('", token)
        self._take()
        return self._test(token)

    def _test(self, name: _Token) -> Callable[[Columns], Mask]:
        if self._takes("is"):
            wanted = not self._takes("not")
            if not self._takes("missing"):
                raise self._wrong("'missing'", self._peek())
            return lambda columns: _missing(self._values(columns, name)) == wanted
        turned = self._takes("not")
        if self._takes("in"):
            values = self._list()
            return lambda columns: self._among(self._values(columns, name), values, name, turned)
        if self._takes("contains"):
            token = self._take()
            if token.kind != "text":
                raise self._wrong("a text in quotes", token)
            return lambda columns: self._contains(self._values(columns, name), _unquoted(token), name, turned)
        sign = self._peek()
        if turned or sign.text not in _COMPARE or sign.kind != "sign":
            expected = (
                "'in' or 'contains'" if turned else "a comparison (<, <=, >, >=, =, !=), 'in', 'contains' or 'is'"
            )
            raise self._wrong(expected, sign)
        self._take()
        other = self._peek()
        if other.kind in ("name", "quoted"):
            self._take()
            return lambda columns: self._beside(columns, name, sign, other)
        value = self._value()
        return lambda columns: self._compare(self._values(columns, name), sign, value, other)

    def _list(self) -> list[tuple[Value, _Token]]:
        if not self._takes("("):
            raise self._wrong("'('", self._peek())
        values = [(self._value_at())]
        while self._takes(","):
            values.append(self._value_at())
        if not self._takes(")"):
            raise self._wrong("',' or ')'", self._peek())
        return values

    def _value_at(self) -> tuple[Value, _Token]:
        token = self._peek()
        return self._value(), token

    def _value(self) -> Value:
        token = self._take()
        if token.kind == "number":
            return _read_number(token.text)
        if token.kind == "text":
            return _unquoted(token)
        if token.text in ("true", "false") and token.kind == "word":
            return float(token.text == "true")
        raise self._wrong("a number, a text in quotes or a column", token)

    def _values(self, columns: Columns, name: _Token, hint: str = "") -> NDArray[Any]:
        try:
            return columns.column(name.text.strip("`"))
        except LookupError as error:
            raise self._error(f"{hint}{error.args[0]}", name.at) from error

    def _compare(self, values: NDArray[Any], sign: _Token, value: Value, at: _Token) -> Mask:
        given = _alike(values, value)
        if given is None:
            raise self._mismatch(values, value, at)
        known = ~_missing(given)
        held = np.zeros(len(values), bool)
        right = value if isinstance(value, str) or given.dtype == object else _as_float(value, given.dtype)
        held[known] = _COMPARE[sign.text](given[known], right)
        return held

    def _beside(self, columns: Columns, name: _Token, sign: _Token, other: _Token) -> Mask:
        left = self._values(columns, name)
        right = self._values(columns, other, "a text stands in quotes, and as a column ")
        if _is_text(left) != _is_text(right):
            raise self._error("a column of text is compared with one of numbers", other.at)
        known = ~(_missing(left) | _missing(right))
        held = np.zeros(len(left), bool)
        one, beside = left[known], right[known]
        if object in (one.dtype, beside.dtype):  # as they are: the conversion of a large whole number would round it
            one, beside = one.astype(object), beside.astype(object)
        held[known] = _COMPARE[sign.text](one, beside)
        return held

    def _among(self, values: NDArray[Any], wanted: list[tuple[Value, _Token]], name: _Token, turned: bool) -> Mask:
        equal = _Token("sign", "=", name.at)
        held: Mask = np.logical_or.reduce([self._compare(values, equal, value, at) for value, at in wanted])
        return ~held & ~_missing(values) if turned else held

    def _contains(self, values: NDArray[Any], part: str, name: _Token, turned: bool) -> Mask:
        if not _is_text(values):
            raise self._error(f"'{name.text}' holds numbers, and only text contains something", name.at)
        part = part.casefold()
        return np.array([value is not None and (part in value.casefold()) != turned for value in values], bool)

    def _mismatch(self, values: NDArray[Any], value: Value, at: _Token) -> ConfigError:
        what = "text: write the value in quotes" if _is_text(values) else "numbers: write the value without quotes"
        return self._error(f"the column holds {what}", at.at)

    def _wrong(self, expected: str, found: _Token) -> ConfigError:
        what = "the condition ends" if found.kind == "end" else f"there is {clipped(found.text, 40)}"
        return self._error(f"expected {expected}, and {what}", found.at)

    def _error(self, problem: str, at: int) -> ConfigError:
        shown = clipped(self.text[max(0, at - 20) : at], 20) + "▸" + clipped(self.text[at:], 30)
        return ConfigError(ended(f"condition, character {at + 1} (at ▸ in {shown!r}): {problem}"))


def _unquoted(token: _Token) -> str:
    quote = token.text[0]
    return token.text[1:-1].replace(quote * 2, quote)


def _missing(values: NDArray[Any]) -> Mask:
    if values.dtype == object:
        return np.array([value is None for value in values], bool)
    missing: Mask = np.isnan(values)
    return missing


def _is_text(values: NDArray[Any]) -> bool:
    """Whether objects are text, by the first that is known."""
    first = next((value for value in values if value is not None), None) if values.dtype == object else 0.0
    return not isinstance(first, int | float)


def _alike(values: NDArray[Any], value: Value) -> NDArray[Any] | None:
    """The values as what they are compared with; numbers written as text are numbers beside a number, else None."""
    text = _is_text(values)
    if isinstance(value, str):
        return values if text else None
    if not text:
        return values
    found = numbers([None if each is None else _text_number(each) for each in values])
    return found if _missing(found).all() == all(each is None for each in values) else None


def numbers(values: Sequence[float | int | None]) -> NDArray[Any]:
    """Numbers and truth values as float64 with NaN; as objects, which hold them exactly, where one is a whole number from
    2**53 on: float64 takes neighbours for the same."""
    if any(isinstance(value, int) and abs(value) >= EXACT for value in values):
        found = np.empty(len(values), object)
        found[:] = [None if value is None or value != value else value for value in values]
        return found
    return np.array([np.nan if value is None else float(value) for value in values], np.float64)


def _text_number(text: str) -> float | int | None:
    try:
        return _read_number(text)
    except ValueError:
        return None


def _read_number(text: str) -> float | int:
    """A number as it is written: a whole one exactly, unless it has more digits than Python reads."""
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text)


def _as_float(value: float | int, kind: np.dtype[Any]) -> Any:
    """A number beside scores, in their precision (single, or double); one beyond all of them is infinite."""
    try:
        wide = float(value)
    except OverflowError:
        wide = np.inf if value > 0 else -np.inf
    with np.errstate(over="ignore"):
        return kind.type(wide)
