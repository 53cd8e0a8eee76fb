"""Rows that say the same: groups of equal texts, of whole rows or of one side."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from autoselection.segmentation import has_unit
from autoselection.signals.derived.contract import Arrays, DerivedSignal
from autoselection.signals.families.text_hash import TextHash, text_hashes
from autoselection.signals.pairs import IntArray
from autoselection.signals.table import SignalTable

#: Rows whose texts are in memory at once.
_TEXTS = 1 << 16


class TextGroups(DerivedSignal):
    """``group``, int32[N]: equal for rows with the same text."""

    name = "text groups"
    uses = ("text_hash",)

    def build(self, table: SignalTable) -> Arrays:
        groups = np.unique(table.require_text_hash(), return_inverse=True)[1].reshape(-1)
        return {"group": groups.astype(np.int32)}


class PartGroups(DerivedSignal):
    """``group``, int32[N]: equal for rows with the same part, one of its own where it is empty (``absent``).

    Args:
        part: ``prompt`` or ``response``.
    """

    name = "part groups"
    version = 3

    def __init__(self, part: str) -> None:
        super().__init__(part=part, text_hash=TextHash.version)
        self.part = part

    def build(self, table: SignalTable) -> Arrays:
        fetch = table.require_parts(self.part)
        hashes = np.empty(table.n, np.uint64)
        absent = np.empty(table.n, bool)
        for block in row_blocks(table.n):
            texts = fetch(block)
            hashes[block] = text_hashes(texts)
            absent[block] = [not has_unit(text) for text in texts]
        group = np.empty(table.n, np.int32)
        group[~absent] = np.unique(hashes[~absent], return_inverse=True)[1].reshape(-1)
        group[absent] = int(group[~absent].max(initial=-1)) + 1 + np.arange(np.count_nonzero(absent))
        return {"group": group, "absent": absent}


def row_blocks(rows: int) -> Iterator[IntArray]:
    """Consecutive row numbers, so many that their texts are held in memory at once."""
    for start in range(0, rows, _TEXTS):
        yield np.arange(start, min(start + _TEXTS, rows))
