"""Shapes of rows that are not one of the four formats but can be written as one: each is recognized by its fields.

A dialect rewrites a row into the fields that ``formats`` reads (``messages``, ``tools``, ``system``); what a row is worth
is judged there, in one place.
"""

from __future__ import annotations

from collections.abc import Sequence

from autoselection.pool.dialects.base import Dialect, OtherFields
from autoselection.pool.dialects.blocks import ANTHROPIC, GEMINI
from autoselection.pool.dialects.calls import GLAIVE, XLAM
from autoselection.pool.dialects.lists import NEMOTRON, REASONED, SMOLTALK, TEXTS, TURN_PAIRS, ULTRACHAT
from autoselection.pool.dialects.logs import API_LOG
from autoselection.pool.dialects.unread import unreadable
from autoselection.pool.json_reader import Record

__all__ = ["DIALECTS", "Dialect", "OtherFields", "dialects_of", "unreadable"]

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        *(GLAIVE, XLAM, API_LOG, ANTHROPIC, GEMINI),
        *(ULTRACHAT, TEXTS, TURN_PAIRS, NEMOTRON, REASONED, SMOLTALK),
    )
}


def dialects_of(records: Sequence[Record]) -> list[Dialect]:
    """The dialects that some of the rows are written in."""
    return [dialect for dialect in DIALECTS.values() if any(map(dialect.fits, records))]
