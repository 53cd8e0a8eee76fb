"""Per-row scores of a pool: computed once, cached by content, read through one ``SignalTable``."""

from autoselection.signals.sae_training import SaeTraining, train_sae
from autoselection.signals.score import (
    SIGNALS,
    ScoreReport,
    SignalReport,
    SignalsConfig,
    load_table,
    score_pool,
)
from autoselection.signals.store import SignalStore
from autoselection.signals.table import MinHashParams, SignalTable, SparseRows

__all__ = [
    "SIGNALS",
    "MinHashParams",
    "SaeTraining",
    "ScoreReport",
    "SignalReport",
    "SignalStore",
    "SignalTable",
    "SignalsConfig",
    "SparseRows",
    "load_table",
    "score_pool",
    "train_sae",
]
