"""What is in a pool, and what its signals say of each source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autoselection.pool import Distribution, Pool, PoolDescription, describe_pool
from autoselection.signals.families.traces import BAD_SCHEMAS, FAULTS, TOOL_NAMES
from autoselection.signals.score import load_table
from autoselection.signals.table import SignalTable

#: Similarities at which near duplicates are counted.
NEAR_LEVELS = (0.5, 0.7, 0.8, 0.9)
#: Quantiles of a source's values that are shown.
SOURCE_QUANTILES = (0.05, 0.5, 0.95)
_BLOCK_ROWS = 1 << 16


@dataclass(frozen=True)
class SourceStats:
    """A signal within one source; ``None`` where no row of it has a value."""

    rows: int
    missing: int
    mean: float | None
    quantiles: Mapping[float, float | None]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        named = {f"p{share * 100:g}": value for share, value in self.quantiles.items()}
        return {"rows": self.rows, "missing": self.missing, "mean": self.mean, **named}


@dataclass(frozen=True)
class SignalStats:
    """A signal over the pool and within each source."""

    whole: Distribution
    sources: Mapping[str, SourceStats] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**self.whole.to_dict(), "sources": {name: found.to_dict() for name, found in self.sources.items()}}


@dataclass(frozen=True)
class PoolStats:
    """What ``pool_stats`` found.

    Attributes:
        description: from the rows alone.
        signals: by column; ``sae`` counts the features of a row, ``embeddings`` tells only what is missing.
        near_duplicates: rows that have at least one other row as similar as the level; None if the pool has no such
            signal.
        faults: rows with a fault of a trace, by column; None if the pool has no such signal.
    """

    description: PoolDescription
    signals: Mapping[str, SignalStats]
    near_duplicates: Mapping[float, int] | None
    faults: Mapping[str, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        near = self.near_duplicates
        return {
            **self.description.to_dict(),
            "near_duplicates": None if near is None else {f"{level:g}": rows for level, rows in near.items()},
            "faults": None if self.faults is None else dict(self.faults),
            "signals": {name: found.to_dict() for name, found in self.signals.items()},
        }


def pool_stats(pool: Pool, table: SignalTable | None = None) -> PoolStats:
    """Describe a pool and the signals that are cached.

    Args:
        table: the signals described; None loads the current ones.

    Raises:
        SignalError: a cached signal is damaged.
    """
    table = load_table(pool) if table is None else table
    signals = {name: column_stats(table, table.columns[name]) for name in sorted(table.columns) if name != TOOL_NAMES}
    if table.sae is not None:
        counts = np.asarray(table.sae.counts, np.float32)
        signals["sae"] = column_stats(table, np.where(counts > 0, counts, np.float32(np.nan)))
    if table.embeddings is not None:
        signals["embeddings"] = _presence(table, table.embeddings)
    return PoolStats(describe_pool(pool), signals, _near(table), _faults(table))


def _faults(table: SignalTable) -> dict[str, int] | None:
    names = ("trace_faults", *FAULTS, BAD_SCHEMAS)
    if not all(name in table.columns for name in names):
        return None
    return {name: int(np.count_nonzero(table.columns[name] > 0)) for name in names}


def column_stats(table: SignalTable, values: NDArray[np.float32]) -> SignalStats:
    """A signal over the pool and within each source.

    Args:
        values: one a row, NaN where there is none.
    """
    frame = pl.DataFrame({"source": table.source, "value": values}).with_columns(pl.col("value").fill_nan(None))
    value = pl.col("value")
    quantiles = [value.quantile(share, "linear").alias(str(share)) for share in SOURCE_QUANTILES]
    grouped = frame.group_by("source").agg(
        pl.len().alias("rows"),
        value.null_count().alias("missing"),
        value.cast(pl.Float64).mean().alias("mean"),
        *quantiles,
    )
    rows = {row["source"]: row for row in grouped.iter_rows(named=True)}
    sources = {
        name: SourceStats(
            rows[code]["rows"],
            rows[code]["missing"],
            rows[code]["mean"],
            {share: rows[code][str(share)] for share in SOURCE_QUANTILES},
        )
        for code, name in enumerate(table.source_names)
        if code in rows
    }
    return SignalStats(Distribution.of(values), sources)


def _presence(table: SignalTable, vectors: NDArray[Any]) -> SignalStats:
    """Of vectors, a row each: only how many there are of each source."""
    blocks = [np.isnan(vectors[start : start + _BLOCK_ROWS, 0]) for start in range(0, table.n, _BLOCK_ROWS)]
    absent = np.concatenate(blocks) if blocks else np.zeros(0, bool)
    rows = np.bincount(table.source, minlength=len(table.source_names))
    missing = np.bincount(table.source[absent], minlength=len(table.source_names))
    sources = {
        name: SourceStats(int(rows[code]), int(missing[code]), None, {}) for code, name in enumerate(table.source_names)
    }
    return SignalStats(Distribution(table.n, None, {}, int(absent.sum())), sources)


def _near(table: SignalTable) -> dict[float, int] | None:
    near = getattr(table, "near_duplicates", None)
    if near is None:
        return None
    levels = [level for level in NEAR_LEVELS if level >= near.floor]
    return {level: near_duplicate_rows(near.node, near.edges, level) for level in levels}


def near_duplicate_rows(node: NDArray[np.int32], edges: Any, level: float) -> int:
    """Rows that have another row with the same node, or whose node has an edge of at least ``level``.

    Args:
        node: int32[N], the node of each row: the lowest row that says the same.
        edges: arrays ``left`` and ``right`` of nodes, and ``similarity``.
    """
    similar = np.bincount(node, minlength=len(node)) > 1
    strong = np.asarray(edges.similarity) >= np.float32(level)
    similar[np.asarray(edges.left)[strong]] = True
    similar[np.asarray(edges.right)[strong]] = True
    return int(similar[node].sum())
