"""What a dialect is, and what dialects share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from dataclasses import field as attribute
from typing import Any

from autoselection.pool.formats import RowFormat
from autoselection.pool.json_reader import Record
from autoselection.pool.row_error import RowError
from autoselection.pool.values import from_json, is_missing, peeked


@dataclass(frozen=True)
class OtherFields:
    """Fields by which a description says that rows are of another kind than conversations to learn from.

    Attributes:
        sides: of the better and the worse answer of a pair; the conversation is that of the better.
        label: whether the answer is wanted.
        media: (image, video or audio; field).
    """

    sides: tuple[str, str] | None = None
    label: str | None = None
    media: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Dialect:
    """How rows of one shape become rows of a format.

    Attributes:
        name: as ``--format`` and the manifest have it.
        field: of the row, which holds its turns: what problems with a turn name.
        aliases: other fields that may hold them.
        used: the fields of a row that are its conversation.
        fits: whether a row has this shape.
        rewrite: the row in the fields of ``base``; counts, by name, what is not kept; raises RowError.
        base: the format that it is rewritten to.
        over: the formats that such a row fits too.
        complete: a row of such a file without this shape is a fault, and no row of the format that it fits.
        others: the fields that say of what other kind a row is; recognized by its own fields where this is None.
        systems: where a row may have its system prompt, as paths; the first that holds something is what problems with it name.
        named: what other fields of ``base`` are called in a row, where that is something else: what problems with them name.
    """

    name: str
    field: str
    used: frozenset[str]
    fits: Callable[[Record], bool]
    rewrite: Callable[[Record, Counter[str]], Record]
    base: RowFormat = "messages"
    over: frozenset[str] = frozenset()
    complete: bool = False
    aliases: tuple[str, ...] = ()
    others: OtherFields | None = None
    systems: tuple[str, ...] = ("system",)
    named: Mapping[str, str] = attribute(default_factory=dict)

    def system_field(self, record: Record) -> str:
        """Where a row has its system prompt, as a path."""
        return next((path for path in self.systems if not is_missing(_at(record, path))), self.systems[0])

    def turns_field(self, record: Record) -> str:
        """The field of a row that holds its turns."""
        return next((name for name in (self.field, *self.aliases) if not is_missing(record.get(name))), self.field)


def _at(record: Mapping[str, Any], path: str) -> Any:
    """What a row holds at a path of names, also where a container holds the objects on it as text."""
    value: Any = record
    for name in path.split("."):
        value = peeked(value.get(name)) if isinstance(value, dict) else None
    return value


def nested(record: Mapping[str, Any], name: str) -> Any:
    """A list or object of a row, also where its container holds it as text.

    Raises:
        RowError: it is missing, or its text is no JSON.
    """
    value = from_json(record.get(name), name, "a list or an object")
    if is_missing(value):
        raise RowError(f"field '{name}' is missing or empty", "field missing or empty", name)
    return value


def is_json(value: Any, opening: str) -> bool:
    """Whether a value is a list or object (as ``opening`` says, ``[`` or ``{``), or looks like the JSON text of one."""
    if isinstance(value, str):
        return value.lstrip().startswith(opening)
    return isinstance(value, list if opening == "[" else dict)


def count_rest(value: Mapping[str, Any], known: Collection[str], where: str, ignored: Counter[str]) -> None:
    """Count the fields of an object that are not kept: all that hold something but the ``known`` ones."""
    for name, held in value.items():
        if name not in known and not is_missing(held):
            ignored[f"{where}.{name}"] += 1


def call(name: Any, arguments: Any) -> dict[str, Any]:
    """A call as an OpenAI turn holds it; arguments that are an object stay one, so that a table's nulls can be found."""
    return {"type": "function", "function": {"name": name, "arguments": arguments}}
