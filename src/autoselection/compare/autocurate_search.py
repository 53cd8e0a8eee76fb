"""``autocurate`` 0.3: its ``run_search`` with its own recipe space over the columns that the study's search cuts by.

Its knob space is what ``default_knob_space`` makes of the columns (one score, either direction, a band, the share kept,
balancing by source, deduplication by group); rows come from its ``Recipe.select``, copies from upsampling collapse. A
recipe below the least number of rows is not charged (``charge_infeasible=False``, to its advantage). Two group columns
stand in for the exact and the near copies that this package's deduplication finds.
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.compare.method import Method
from autoselection.compare.session import Session
from autoselection.compare.spaces import searched_scores
from autoselection.operators import default_registry
from autoselection.search.config import SearchConfig
from autoselection.search.space import RecipeSpace
from autoselection.signals.table import SignalTable

MOST_SEEDS = 4000
"""It multiplies its seed by a million and hands the product to NumPy, which takes 32 bits."""
DEDUPLICATION = "dedup"
"""Family of the operators that take copies away."""
FAILED = -1e6
"""Score reported for a failure before any score is known."""


def columns_of(table: SignalTable, search: SearchConfig) -> dict[str, Any]:
    """The columns that a recipe of theirs may use, under names that SQL takes; rows that none may select are left out.

    Scores are those that the search cuts by; groups of copies are there if it may take copies away.
    """
    columns: dict[str, Any] = {"id": np.arange(table.n, dtype=np.int64)}
    for name in searched_scores(table, search):
        columns[name.replace("/", "_")] = table.column(name).astype(np.float64)
    columns["source"] = table.source.astype(np.int64)
    space = RecipeSpace(table, default_registry(), search)
    deduplicates = any(space.family(name) == DEDUPLICATION for name in space.plain)
    if table.text_hash is not None and deduplicates:
        columns["exact_group"] = np.unique(table.text_hash, return_inverse=True)[1].astype(np.int64)
    if table.minhash is not None and deduplicates:
        columns["near_group"] = _near_groups(table)
    return {name: values[table.selectable] for name, values in columns.items()}


def _near_groups(table: SignalTable) -> NDArray[np.int64]:
    """Groups by the bands of the MinHash signatures: rows that agree in a band are alike (16 bands)."""
    assert table.minhash is not None
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    bands = np.array_split(np.asarray(table.minhash), 16, axis=1)
    pairs: list[NDArray[np.int64]] = []
    for band in bands:
        _, first, inverse = np.unique(band, axis=0, return_index=True, return_inverse=True)
        pairs.append(np.stack([np.arange(table.n), first[inverse.reshape(-1)]]))
    rows, heads = np.concatenate(pairs, axis=1)
    graph = coo_matrix((np.ones(len(rows)), (rows, heads)), shape=(table.n, table.n))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _search(strategy: str) -> Callable[[Session, int], None]:
    def run(session: Session, seed: int) -> None:
        import autocurate
        import pyarrow as pa
        from autocurate.research import run_search

        columns = columns_of(session.table, session.search)
        numeric = [name for name, values in columns.items() if values.dtype.kind == "f"]
        groups = [name for name in ("exact_group", "near_group") if name in columns]
        space = {
            "columns": [name for name in columns if name != "id"],
            "stats": {name: {} for name in numeric},
            "keep": [0.02, 1.0],  # the range its own search over fine-tuning data uses
            "balance_by": ["source"],
            "dedup_by": groups,
        }

        def objective(recipe: Any, ids: Any, device: Any) -> float:
            score = session.observe(np.unique(np.asarray(ids, np.int64)))
            if math.isfinite(score):
                return score
            return FAILED if session.worst is None else session.worst  # it has no word for a failure

        with tempfile.TemporaryDirectory() as folder, _quiet():
            dataset = autocurate.Dataset.create("pool", pa.table(columns), uri=folder)
            autocurate.signals.register_base(dataset)
            run_search(
                dataset,
                objective,
                budget=session.budget,
                strategy=strategy,
                space=space,
                knob_space=autocurate.default_knob_space(space),
                trials=str(Path(folder) / "trials.jsonl"),
                seed=seed % MOST_SEEDS,
                min_rows=session.min_rows,
                charge_infeasible=False,
            )

    return run


@contextlib.contextmanager
def _quiet() -> Any:
    with Path(os.devnull).open("w") as sink, contextlib.redirect_stdout(sink):
        yield


AUTOCURATE = (
    Method("autocurate-tpe", _search("tpe"), {"version": "0.3.0"}, "autocurate"),
    Method("autocurate-random", _search("random"), {"version": "0.3.0"}, "autocurate"),
)
