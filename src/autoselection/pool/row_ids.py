"""Ids of rows, which have to be unique: about 200 bytes a row."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import chain, count
from typing import Any

from autoselection.conversation import Conversation
from autoselection.pool.pool import Pool
from autoselection.pool.row_error import RowError
from autoselection.pool.rows import content_hash
from autoselection.pool.values import is_missing, kind_of
from autoselection.wording import clipped

#: The kind of bad rows that are there already.
SAME_ROW = "same row twice"
_LINE_BITS = 48
_PLACE_BITS = 80
_HASH_BITS = 64


class CopiedRow(Exception):
    """A row stands in its file once more, as it is: exports have rows that count more than once as often."""


class RowIds:
    """The ids given so far.

    Args:
        base: the pool behind whose rows those with new ids come.
        paths: names of the files that places count through; may grow.

    Attributes:
        renumbered: rows whose id another row has, and which got one of their own.
        renumbered_example: what became of the first of them, for people.
    """

    def __init__(self, base: Pool | None, paths: Sequence[str]) -> None:
        self._base, self._paths = base, paths
        # id → hashes of content and whole row, file and line, packed; rows of ``base``: the row from 1
        self._first: dict[str, int] = {}
        self._repeats: dict[str, int] = {}
        # id that several rows had → hash of turns → the row of them with these turns, as in ``_first``
        self._holders: dict[str, dict[int, int]] = {}
        self._own = ""
        self.renumbered = 0
        self.renumbered_example = ""
        if base is not None:
            for chunk in base.ids.chunks:
                self._first.update(zip(chunk.to_pylist(), count(len(self._first) + 1)))

    def add(self, row_id: str, content: int, file_number: int, line: int) -> None:
        """Take the id that was chosen last for a row of this content, at a line of the file of this number."""
        self._first[row_id] = packed = content << _PLACE_BITS | file_number << _LINE_BITS | line
        if content and row_id != self._own:
            self._holders_of(self._own)[content >> _HASH_BITS] = packed

    def choose(
        self,
        column: str,
        value: Any,
        content_id: str,
        conversation: Conversation,
        meta: str | None,
        file_number: int,
    ) -> tuple[str, int]:
        """The row's id, and hashes of its turns and of the whole row, by which a row that comes twice is known.

        The id is the row's own, or the hash of its content; it is numbered where another row has it already.

        Args:
            content_id: hash of source, turns and tools.
            meta: the row's other fields.
            file_number: of the file that is read.

        Raises:
            RowError: it is no id, or the row is there already.
            CopiedRow: its file has the very same row already.
        """
        content = 0
        if is_missing(value):
            text = own = content_id
        else:
            # Tables hold whole numbers as floats where some rows have none, and databases write them as decimals.
            if isinstance(value, (float, Decimal)) and value == int(value):
                value = int(value)
            if isinstance(value, bool) or not isinstance(value, (str, int)):
                raise RowError(
                    f"field '{column}' must be a string or a whole number", f"id that is {kind_of(value)}", column
                )
            text = own = str(value)
            if not text.strip():
                raise RowError(f"field '{column}' is empty", "empty id", column)
            content = content_hash(conversation) << _HASH_BITS | hash((content_id, meta)) & ((1 << _HASH_BITS) - 1)
            if text in self._first:
                same = self._holders_of(text).get(content >> _HASH_BITS)
                if same is not None:
                    place = same & ((1 << _PLACE_BITS) - 1)
                    if content == same >> _PLACE_BITS and file_number == place >> _LINE_BITS:
                        raise CopiedRow
                    where = f"{self._paths[place >> _LINE_BITS]}:{place % (1 << _LINE_BITS)}"
                    raise RowError(
                        f"the id {text[:80]!r} is already used at {where} by the same conversation",
                        SAME_ROW,
                        column,
                    )
                self.renumbered += 1
        while text in self._first:
            self._repeats[own] = number = self._repeats.get(own, 1) + 1
            text = f"{own}-{number}"
        self._own = own
        if self.renumbered and not self.renumbered_example:
            self.renumbered_example = f"'{clipped(own)}' became '{clipped(text)}'"
        return text, content

    def _holders_of(self, own: str) -> dict[int, int]:
        """The rows that had this id, by the hash of their turns; of ``base``, whose rows keep the ids that they got, those numbered so."""
        if own not in self._holders:
            found = self._holders[own] = {}
            for name in chain([own], (f"{own}-{number}" for number in count(2))):
                first = self._first.get(name)
                if first is None or (name != own and not self._in_base(first)):
                    break
                found.setdefault(self._content_of(first), first)
        return self._holders[own]

    def _in_base(self, first: int) -> bool:
        return self._base is not None and first <= len(self._base)

    def _content_of(self, first: int) -> int:
        """The hash of the turns of a row by its packed place; rows of ``base`` have it not in there."""
        if self._base is not None and self._in_base(first):
            return content_hash(self._base.conversations([first - 1])[0])
        return first >> _PLACE_BITS + _HASH_BITS
