"""Per-row scores of a pool: computed once, cached by content, read through one ``SignalTable``."""

from autoselection.signals.arrays import MinHashParams, SparseRows
from autoselection.signals.config import SIGNALS, SignalsConfig
from autoselection.signals.contract import Loaded, PassGroup, Rows, Signal
from autoselection.signals.families.sae_training import SaeTraining, train_sae
from autoselection.signals.inputs import Inputs
from autoselection.signals.model_pass import PassResult, PassSignal, TokenValues
from autoselection.signals.needs import Need
from autoselection.signals.registry import SignalRegistry, default_registry, signal_names
from autoselection.signals.report import ScoreReport, SignalReport, cut_rows, missing_scores, unread_parts
from autoselection.signals.score import load_table, score_pool, stored_signals
from autoselection.signals.statistics import PoolStats, SignalStats, column_stats, pool_stats
from autoselection.signals.store import SignalStore
from autoselection.signals.stored import Shard
from autoselection.signals.table import SignalTable

__all__ = [
    "SIGNALS",
    "Inputs",
    "Loaded",
    "MinHashParams",
    "Need",
    "PassGroup",
    "PassResult",
    "PassSignal",
    "PoolStats",
    "Rows",
    "SaeTraining",
    "ScoreReport",
    "Shard",
    "Signal",
    "SignalRegistry",
    "SignalReport",
    "SignalStats",
    "SignalStore",
    "SignalTable",
    "SignalsConfig",
    "SparseRows",
    "TokenValues",
    "column_stats",
    "cut_rows",
    "default_registry",
    "load_table",
    "missing_scores",
    "pool_stats",
    "score_pool",
    "signal_names",
    "stored_signals",
    "train_sae",
    "unread_parts",
]
