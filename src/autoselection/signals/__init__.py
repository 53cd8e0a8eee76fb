"""Per-row scores of a pool: computed once, cached by content, read through one ``SignalTable``."""

from autoselection.signals.table import MinHashParams, SignalTable, SparseRows

__all__ = ["MinHashParams", "SignalTable", "SparseRows"]
