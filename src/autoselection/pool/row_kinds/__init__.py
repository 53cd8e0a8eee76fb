"""Rows that are not conversations to learn from: recognized, counted by kind, reported with what would read them."""

from __future__ import annotations

from autoselection.pool.row_kinds.base import ROWS_FROM, OtherRow, RowsFrom
from autoselection.pool.row_kinds.counts import KindCounts
from autoselection.pool.row_kinds.teller import FileEvidence, Teller

__all__ = ["ROWS_FROM", "FileEvidence", "KindCounts", "OtherRow", "RowsFrom", "Teller"]
