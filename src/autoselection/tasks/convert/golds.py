"""Gold answers as benchmark files hold them: numbers of all spellings, lists and objects of accepted answers."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Literal

from autoselection.tasks.answers.numbers import is_mathematics
from autoselection.tasks.answers.plain import normalised, plain


class Unusable(Exception):
    """A record that is no item, with the reason.

    Attributes:
        value: the answer that cannot be read; None if something else is amiss.
        remedy: what helps, as a clause ("write …"); empty where the description of the format says it.
    """

    def __init__(self, reason: str, value: Any = None, remedy: str = "") -> None:
        super().__init__(reason)
        self.value = value
        self.remedy = remedy


class MissingField(Unusable):
    """The record has no field of the names that are read, or nothing stands in it."""


class BeyondOptions(Unusable):
    """The right option's number is how many options there are: wrong, or counted from 1."""


#: What a number says of its file: its comma is a decimal comma, or it could be two numbers, as in "1,234" and "1.234".
Form = Literal["clear", "decimal comma", "ambiguous"]

#: Keys of an object that hold accepted answers, the preferred one first.
_HOLDERS = (
    "value",
    "text",
    "answer",
    "answers",
    "canonical",
    "name",
    "label",
    "aliases",
    "normalized_value",
    "normalized_aliases",
)
#: Fields beside the answer that hold further ones.
FURTHER = ("aliases", "answer_aliases", "possible_answers", "accepted_answers", "alternatives")
_LONGEST_LIST = 100_000  # characters
#: Keys of objects that are read even where they are written as text: those of TriviaQA, SQuAD and their like.
_TELLING = frozenset({"value", "text", "answers", "aliases"})
_KNOWN = frozenset(
    (*_HOLDERS, "type", "answer_start", "answer_end", "matched_wiki_entity_name", "normalized_matched_wiki_entity_name")
)
_STRING = re.compile(r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*\"""")
_STRINGS = re.compile(rf"\[\s*(?:{_STRING.pattern})(?:[\s,]+(?:{_STRING.pattern}))*\s*,?\s*\]")
#: How NumPy's arrays print inside of lists and objects.
_ARRAY = re.compile(r"\b(?:np\.)?array\(\s*(\[[^\[\]]*\])\s*(?:,\s*dtype=[\w<>']+\s*)?\)")


def accepted(value: Any) -> tuple[str, ...]:
    """All accepted answers of a gold answer: a scalar, a list, an object of them, or the text of such a list.

    Raises:
        Unusable: there is none, or it is of a form that names no answer.
    """
    found: dict[str, str] = {}
    for answer in _flat(value, 0):
        text = answer.strip()
        if text:
            found.setdefault(normalised(text) or text, text)
    if not found:
        raise MissingField("no answer or target")
    return tuple(found.values())


def _flat(value: Any, depth: int) -> Iterator[str]:
    if depth > 4:
        raise Unusable("the answer is nested too deeply")
    if isinstance(value, str):
        entries = texts_in(value)
        held_so = _object_in(value) if entries is None else None
        if held_so is not None:
            yield from _flat(held_so, depth + 1)
        elif entries is None:
            yield value
        else:
            yield from entries
    elif isinstance(value, (bool, int)):
        yield str(value)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise Unusable("the answer is not a finite number")
        yield _decimal(Decimal(repr(value)))
    elif isinstance(value, list):
        for entry in value:
            if entry is not None:
                yield from _flat(entry, depth + 1)
    elif isinstance(value, Mapping):
        held = [value[key] for key in _HOLDERS if value.get(key) is not None]
        if not held:
            raise Unusable(f"the answer is an object without {', '.join(_HOLDERS[:4])} or aliases")
        for entry in held:
            yield from _flat(entry, depth + 1)
    elif value is not None:
        raise Unusable("the answer is neither text nor a number")


def texts_in(text: str) -> list[str] | None:
    """The strings of a list that was written as text (a cell of a CSV file), or None.

    Lists of JSON and of Python, and arrays as NumPy and pandas print them, without commas.
    """
    stripped = _ARRAY.sub(r"\1", text.strip())
    if not re.fullmatch(r"\[\s*[\"'].*[\"']\s*,?\s*\]", stripped, re.DOTALL) or len(stripped) > _LONGEST_LIST:
        return None
    for read in (json.loads, _literals):
        try:
            entries = read(stripped)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(entries, list) and all(isinstance(entry, str) for entry in entries):
            return entries
    return None


def _literals(text: str) -> list[str] | None:
    """The strings of a list of Python or NumPy; two that touch are two, where Python would make one of them."""
    if not _STRINGS.fullmatch(text):
        return None
    return [ast.literal_eval(found) for found in _STRING.findall(text)]


def _object_in(text: str) -> Mapping[str, Any] | None:
    """An object of accepted answers that was written as text; None for other texts, objects of other keys among them."""
    stripped = text.strip()
    if not (stripped.startswith("{") and stripped.endswith("}")) or len(stripped) > _LONGEST_LIST:
        return None
    stripped = _ARRAY.sub(lambda array: json.dumps(texts_in(array.group(1)) or []), stripped)
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(stripped)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        if isinstance(found, dict) and _TELLING & found.keys() and found.keys() <= _KNOWN:
            return found
    return None


_CURRENCY = re.compile(r"^([-+]?)\s*(?:US)?[$€£¥₹]\s*|\s*[$€£¥₹]$")
_GROUPED = re.compile(
    r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|[1-9]\d?(?:,\d{2})+,\d{3}(?:\.\d+)?|[1-9]\d{0,2}(?: \d{3})+(?:\.\d+)?"
)
_COMMA = re.compile(r"[1-9]\d{0,2}(?:[. ]\d{3})+,\d+|[1-9]\d{0,2}(?:\.\d{3}){2,}|\d+,(?:\d{1,2}|\d{4,})|0,\d+")
_TWO_WAYS = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")
_POINT = re.compile(r"\d+(?:\.\d*)?(?:[eE][-+]?\d{1,3})?|\.\d+")
_FRACTION = re.compile(r"\d{1,50}/[1-9]\d{0,49}")


def number(value: Any) -> tuple[str, Form]:
    """A number as a task file holds it (a decimal point, no separators, no ``.0``), and what its spelling says.

    A comma is a decimal comma where it cannot be anything else (``1,5``, ``1.234,50``), and separates thousands where
    groups of three follow (``1,234``); that, and ``1.234``, are ambiguous where other numbers have a decimal comma.
    Mathematics (``\\frac12``, ``x^2``, ``(2, 3)``, ``3, 5``) stays as it is written: answers of kind ``number`` read it.

    Raises:
        Unusable: it is no number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise Unusable("the answer is not a number", value)
    if isinstance(value, float) and not math.isfinite(value):
        raise Unusable("the answer is not a finite number")
    if not isinstance(value, str):
        return _decimal(Decimal(repr(value) if isinstance(value, float) else value)), "clear"
    if not re.fullmatch(r"[\d.,]*", value.strip()) and is_mathematics(value):
        return value.strip(), "clear"
    text = _CURRENCY.sub(r"\1", plain(value).strip().replace("{,}", ",")).strip()
    percent = "%" if text.endswith("%") else ""
    text = text.removesuffix("%").strip()
    sign = "-" if text.startswith("-") else ""
    text = text.removeprefix("-").removeprefix("+")
    if len(text) > 200:
        raise Unusable("the answer is not a number", value)
    if _FRACTION.fullmatch(text):
        return f"{sign}{text}{percent}", "clear"
    form: Form = "ambiguous" if _TWO_WAYS.fullmatch(text) else "clear"
    if _GROUPED.fullmatch(text):
        text = re.sub(r"[ ,]", "", text)
    elif _COMMA.fullmatch(text):
        text, form = re.sub(r"[ .]", "", text).replace(",", "."), "decimal comma"
    elif not _POINT.fullmatch(text):
        raise Unusable("the answer is not a number", value)
    return f"{_decimal(Decimal(f'{sign}{text}'))}{percent}", form


def _decimal(value: Decimal) -> str:
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text
