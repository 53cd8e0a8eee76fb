"""Time to run a recipe over cached signals, with the state vector of what it selects.

    python -m benchmarks.materialize --rows 90000 --json
    python -m benchmarks.materialize --growth 10000,100000,1000000 --json

One JSON line a recipe: rows in and out, seconds (median of the runs), the same split into subset and state, seconds of
the first run in a fresh process (rankings and pool-wide counts are made then), peak memory of that process, and for a
recipe of filters the bytes that must be read over the time they would take at the speed of a plain copy. Every recipe
runs in a process of its own; between runs the remembered subsets are forgotten, so that no state vector profits from an
earlier one.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from autoselection.recipes import Recipe, RecipeBook, materialize, state_vectors
from autoselection.recipes.drift import forget
from autoselection.signals.table import SignalTable
from benchmarks.tables import ensure_table, load_table

#: The recipes of the published code's timings. ``features`` marks those that need SAE features.
RECIPES: dict[str, list[dict[str, Any]]] = {
    "mona-ifd-varentropy": [
        {"operator": "mona_filter", "params": {"fraction": 0.5}},
        {"operator": "ifd_filter", "params": {"fraction": 0.5}},
        {"operator": "varentropy_filter", "params": {"fraction": 0.6}},
    ],
    "truncate-entropy": [
        {"operator": "truncate_samples", "params": {"fraction": 0.5}},
        {"operator": "ngram_entropy", "params": {"fraction": 0.5}},
    ],
    "branching-union": [
        {"operator": "action_object_branching", "params": {"fraction": 0.3}},
        {"operator": "union", "params": {"source_recipe": "mona-ifd-varentropy"}},
    ],
    "mona-minhash": [
        {"operator": "mona_filter", "params": {"fraction": 0.3}},
        {"operator": "semantic_dedup", "params": {"strategy": "minhash", "jaccard_threshold": 0.8}},
    ],
    "ifd-semdedup": [
        {"operator": "ifd_filter", "params": {"fraction": 0.5}},
        {"operator": "semdedup", "params": {"num_clusters": 0, "cosine_threshold": 0.8}},
    ],
}
#: Columns that each filter reads for every row it is given.
_COLUMNS = {"mona_filter": 4, "ifd_filter": 1, "varentropy_filter": 1}
_ROWS_PER_CLUSTER = 100
_COPIED = 256 << 20


def recipe_of(name: str, rows: int) -> Recipe:
    """A recipe by name, for a pool of ``rows`` rows."""
    steps = [{**step, "params": dict(step["params"])} for step in RECIPES[name]]
    for step in steps:
        if "num_clusters" in step["params"]:
            step["params"]["num_clusters"] = min(10_000, max(1, rows // _ROWS_PER_CLUSTER))
    return Recipe.from_dict({"version": 1, "steps": steps})


def copy_bandwidth() -> float:
    """Bytes a second that a plain copy reads (median of 9)."""
    source = np.ones(_COPIED, np.uint8)
    target = np.empty_like(source)
    times = []
    for _ in range(9):
        started = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - started)
    return _COPIED / statistics.median(times)


def measure(name: str, folder: Path, repeats: int) -> dict[str, Any]:
    """Run one recipe ``repeats`` + 1 times on the table in ``folder``."""
    table = load_table(folder)
    book = RecipeBook({key: recipe_of(key, table.n) for key in RECIPES if key != name})
    recipe = recipe_of(name, table.n)
    subset_times, state_times = [], []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        result = materialize(recipe, table, book=book)
        between = time.perf_counter()
        state_vectors([result.rows], table)
        state_times.append(time.perf_counter() - between)
        subset_times.append(between - started)
        if table.sae is not None:
            forget(table)
    totals = [a + b for a, b in zip(subset_times, state_times, strict=True)]
    line = {
        "recipe": name,
        "rows_in": table.n,
        "rows_out": len(result.rows),
        "seconds": statistics.median(totals[1:]),
        "subset_seconds": statistics.median(subset_times[1:]),
        "state_seconds": statistics.median(state_times[1:]),
        "first_seconds": totals[0],
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "sae_features": table.sae is not None,
    }
    if name == "mona-ifd-varentropy":
        must_read = _bytes_to_read(result, table)
        bandwidth = copy_bandwidth()
        line["bytes_to_read"] = must_read
        line["copy_gb_per_second"] = bandwidth / 1e9
        line["share_of_copy_speed"] = must_read / line["seconds"] / bandwidth
    return line


def _bytes_to_read(result: Any, table: SignalTable) -> int:
    """Scores that the filters must look at, then what the state vector needs of the rows that are left."""
    total = sum(4 * _COLUMNS[step.operator] * step.rows_in for step in result.lineage)
    total += len(result.rows) * 4 * (len(table.tasks) + 4)  # tokens, source, combined relevance, IFD and varentropy
    if table.sae is not None:
        total += 4 * int(table.sae.counts[result.rows].sum())
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=90_000)
    parser.add_argument("--growth", help="comma-separated numbers of rows; prints the exponent of each recipe's growth")
    parser.add_argument("--recipes", default=",".join(RECIPES), help="comma-separated (default: all five)")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--no-features", action="store_true", help="without SAE features: no drift, no semdedup")
    parser.add_argument("--no-text", action="store_true", help="without near-duplicate pairs: no MinHash deduplication")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "autoselection-benchmarks")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.folder, options.repeats)))
        return
    sizes = [int(size) for size in options.growth.split(",")] if options.growth else [options.rows]
    measured: dict[str, list[tuple[int, float]]] = {}
    for rows in sizes:
        table = ensure_table(options.folder, rows, features=not options.no_features, text=not options.no_text)
        for name in options.recipes.split(","):
            if (name == "mona-minhash" and options.no_text) or (name == "ifd-semdedup" and options.no_features):
                continue
            command = [sys.executable, "-m", "benchmarks.materialize", "--one", name, "--folder", str(table)]
            child = subprocess.run([*command, "--repeats", str(options.repeats)], stdout=subprocess.PIPE, check=True)
            line = json.loads(child.stdout)
            measured.setdefault(name, []).append((rows, line["seconds"]))
            _show(line, options.json)
    if len(sizes) > 1:
        for name, points in measured.items():
            x, y = np.log([rows for rows, _ in points]), np.log([seconds for _, seconds in points])
            line = {"recipe": name, "growth_exponent": float(np.polyfit(x, y, 1)[0]), "sizes": sizes}
            _show(line, options.json)


def _show(line: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(line), flush=True)
    else:
        print(
            "  ".join(
                f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in line.items()
            )
        )


if __name__ == "__main__":
    main()
