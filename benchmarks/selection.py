"""Selecting a subset, without its state vector: this package beside ``autocurate`` on a table with the same columns.

    python -m benchmarks.selection --rows 90000 --json

Three selections that both can express; runs alternate, so that both meet the same machine. One JSON line a selection:
median seconds of each, the ratio of the medians, and the Jaccard similarity of the two results (the per-source filter
rounds quotas up here and by largest remainder there, so it is not quite 1). ``autocurate`` reads its columns from its
Lance table on every call, which is how it is used; it is told not to shuffle.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from autoselection.recipes import Recipe, materialize
from benchmarks.tables import ensure_table, load_table

SELECTIONS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "top-fraction": (
        [{"operator": "ifd_filter", "params": {"fraction": 0.3}}],
        {"score": "ifd", "keep": 0.3},
    ),
    "per-source": (
        [{"operator": "ifd_filter", "params": {"fraction": 0.3, "scope": "source"}}],
        {"score": "ifd", "keep": 0.3, "balance_by": "source"},
    ),
    "filter-dedup": (
        [
            {"operator": "ifd_filter", "params": {"threshold": 1.0}},
            {"operator": "semantic_dedup", "params": {"strategy": "exact"}},
        ],
        {"where": "ifd >= 1.0", "score": "ifd", "dedup_by": "text_group"},
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=90_000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "autoselection-benchmarks")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        import autocurate
    except ImportError:
        raise SystemExit("autocurate is not installed: pip install autocurate==0.3.0") from None

    table = load_table(ensure_table(options.folder, options.rows, features=False, text=False))
    columns = {
        "id": np.arange(table.n, dtype=np.int64),
        "ifd": table.column("ifd"),
        "source": table.source.astype(np.int64),
        "text_group": np.unique(table.require_text_hash(), return_inverse=True)[1].astype(np.int64),
    }
    with tempfile.TemporaryDirectory() as folder:
        peer_table = autocurate.Dataset.create("pool", pa.table(columns), uri=folder)
        for name, (steps, settings) in SELECTIONS.items():
            ours, theirs = Recipe.from_dict({"version": 1, "steps": steps}), autocurate.Recipe(**settings)
            our_times, their_times = [], []
            for _ in range(options.repeats + 1):
                started = time.perf_counter()
                rows = materialize(ours, table).rows
                between = time.perf_counter()
                peer_rows = theirs.select(peer_table, shuffle=False)
                their_times.append(time.perf_counter() - between)
                our_times.append(between - started)
            common = len(np.intersect1d(rows, peer_rows))
            line = {
                "selection": name,
                "rows_in": table.n,
                "rows_out": len(rows),
                "seconds": statistics.median(our_times[1:]),
                "first_seconds": our_times[0],
                "autocurate_seconds": statistics.median(their_times[1:]),
                "ratio": statistics.median(their_times[1:]) / statistics.median(our_times[1:]),
                "jaccard": common / (len(rows) + len(peer_rows) - common),
                "autocurate_version": autocurate.__version__,
            }
            print(json.dumps(line) if options.json else line, flush=True)


if __name__ == "__main__":
    main()
