"""Values of rows: which are missing, which show nothing, and what a container holds as JSON text."""

from __future__ import annotations

import ast
import json
import math
import re
import tokenize
import unicodedata
import warnings
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

import numpy as np

from autoselection.pool.json_reader import DECODER, KeyTwiceError
from autoselection.pool.row_error import RowError

#: Text that shows nothing: white space, controls, format characters (Unicode Cf), and what else is ignored by default.
_BLANK = re.compile(
    "[\\s\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]*"
)

#: Longest literal of Python that is read (characters).
MAX_LITERAL = 200_000
#: Two strings with nothing but white space between them, which Python reads as one and NumPy writes for two.
_STRINGS = re.compile(r"""["']\s+["']""")
#: Tokens that are items of a list.
_VALUES = (tokenize.STRING, tokenize.NUMBER, tokenize.NAME)
_LENIENT = json.JSONDecoder(parse_constant=lambda name: None)


def is_blank(text: str) -> bool:
    """Whether a text shows nothing."""
    return _BLANK.fullmatch(text) is not None


def is_missing(value: Any) -> bool:
    """Whether a field holds no value: null, or a number that is none."""
    if value is None:
        return True
    return not isinstance(value, str) and isinstance(value, (float, np.floating)) and not math.isfinite(value)


def fold(name: str) -> str:
    """A column's name, whatever its case, its joints and how its accents are encoded."""
    return unicodedata.normalize("NFC", name.strip().casefold()).replace("-", "_").replace(" ", "_")


def from_json(value: Any, name: str, expected: str = "a list") -> Any:
    """A nested value, also where its container holds it as text: JSON, or as Python spells it.

    Returns:
        The value; None for a text that shows nothing.

    Raises:
        RowError: the text is neither, or has a key twice.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text:
        return None
    try:
        return DECODER.decode(text)
    except KeyTwiceError as error:
        raise RowError(
            f"field '{name}' is a JSON string in which {error}", "key twice", name, "each key once"
        ) from error
    except (ValueError, RecursionError) as error:
        if (found := python_literal(text)) is not None:
            return found
        raise RowError(
            f"field '{name}' is a string that is not valid JSON; expected {expected}",
            "not valid JSON",
            name,
            f"{expected}, or the JSON text of one",
        ) from error


def peeked(value: Any) -> Any:
    """The list or object that a value is or that its text holds; any other value as it is.

    It is for telling what a value is: of a key that stands twice, which ``from_json`` refuses, the last counts here.
    """
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return _LENIENT.decode(value.strip())
    except (ValueError, RecursionError):
        found = python_literal(value)
        return value if found is None else found


def python_literal(text: str) -> Any:
    """The list or object that a literal of Python spells, as ``str`` writes it, if JSON has it; None if it is none.

    So are NumPy's arrays, which pandas has for the lists of Parquet and writes to CSV: with white space between their items.
    Longer texts than ``MAX_LITERAL`` characters are not looked at.
    """
    text = text.strip()
    if len(text) > MAX_LITERAL or not text.startswith(("{", "[")) or not text.endswith(("}", "]")):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the parser thinks of a text's escapes is nobody's affair
            try:
                tree = ast.parse(_with_commas(text) if _STRINGS.search(text) else text, mode="eval")
            except SyntaxError:
                tree = ast.parse(_with_commas(text), mode="eval")
        tree = _Arrays().visit(tree)
        value = ast.literal_eval(tree)
        same = json.loads(json.dumps(value, allow_nan=False)) == value
        return value if same and _has_keys_once(tree) else None
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError):
        return None


def _with_commas(text: str) -> str:
    """A literal with a comma between items of a list that have only white space between them."""
    lines = [f"{line}\n" for line in text.split("\n")]
    starts = [0, *accumulate(map(len, lines))]
    pieces, done = [], 0
    opened: list[str] = []  # the brackets that are open
    behind = False  # the last token was an item, or ended one
    for token in tokenize.generate_tokens(iter(lines).__next__):
        if token.type == tokenize.NL:
            continue
        begins = token.type in _VALUES or token.string in ("[", "{", "-")
        if begins and behind and opened and opened[-1] == "[":
            place = starts[token.start[0] - 1] + token.start[1]
            pieces += [text[done:place], ","]
            done = place
        if token.string in ("[", "{", "("):
            opened.append(token.string)
        elif token.string in ("]", "}", ")") and opened:
            opened.pop()
        behind = token.type in _VALUES or token.string in ("]", "}", ")")
    return "".join([*pieces, text[done:]])


class _Arrays(ast.NodeTransformer):
    """``array([…], dtype=object)``, as NumPy spells an array within an object, as the list that it holds."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        named = isinstance(node.func, ast.Name) and node.func.id == "array"
        return self.visit(node.args[0]) if named and len(node.args) == 1 else node


def _has_keys_once(tree: ast.AST) -> bool:
    """Whether no key of an object stands twice, which a literal would pass over."""
    return not any(
        isinstance(node, ast.Dict)
        and len({key.value for key in node.keys if isinstance(key, ast.Constant)}) < len(node.keys)
        for node in ast.walk(tree)
    )


def transposed(value: dict[str, Any]) -> list[Any] | None:
    """Undo the dictionary of lists that Hugging Face makes of a sequence of objects; None if it is none."""
    columns = {key: column for key, column in value.items() if column is not None}
    lengths = {len(column) if isinstance(column, list) else -1 for column in columns.values()}
    if len(lengths) != 1 or -1 in lengths:
        return None
    return [dict(zip(columns, items, strict=True)) for items in zip(*columns.values(), strict=True)]


def optional_text(record: Mapping[str, Any], name: str) -> str | None:
    """A field's text; None if it is missing or shows nothing.

    Raises:
        RowError: it is something else.
    """
    value = record.get(name)
    if is_missing(value):
        return None
    if not isinstance(value, str):
        raise RowError(
            f"field '{name}' must be a string, not {kind_of(value)}", f"text that is {kind_of(value)}", name, "text"
        )
    return None if is_blank(value) else value


def required_text(record: Mapping[str, Any], name: str) -> str:
    """A field's text.

    Raises:
        RowError: there is none.
    """
    text = optional_text(record, name)
    if text is None:
        raise RowError(
            f"field '{name}' is missing or empty", "field missing or empty", name, "text that shows something"
        )
    return text


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    if isinstance(value, dict):
        return "an object"
    names = {"list": "a list", "str": "a string", "bool": "a boolean", "NoneType": "null"}
    return names.get(type(value).__name__, "a number" if isinstance(value, (int, float)) else type(value).__name__)


def field_list(names: Iterable[str], limit: int = 12) -> str:
    """Field names for an error message, quoted and cut to a readable length."""
    quoted = [repr(str(name)[:40]) for name in names]
    if not quoted:
        return "no fields"
    more = f" and {len(quoted) - limit} more" if len(quoted) > limit else ""
    return ", ".join(quoted[:limit]) + more
