"""Time that the search takes to decide: seconds of every ``ask`` beside evaluations that cost nothing.

    python -m benchmarks.rounds --rows 90000 --json
    python -m benchmarks.rounds --rows 90000 --rows 1000000 --evaluations 15 --json

One JSON line a size. A search with the default settings runs over a pool with all signals; a subset's score is made up
from its size, IFD and relevance, so that only the search's own work is timed. Each size is searched twice, in two
processes: the first builds what depends on the pool alone (clusterings and similar pairs) and stores it beside the
signals, as a study does; the second finds it there and is the one reported, with the longest ``ask`` of the first as
``first_run_max``. Rounds of the warmup are reported apart: they rank nothing. ``cpu`` figures are the process's own
time, all threads together.
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
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from autoselection.search import Candidate, Observation, SearchConfig, SearchController
from autoselection.signals.families.mona import MONA_PREFIX
from autoselection.signals.table import SignalTable
from benchmarks.tables import ensure_table, load_table

BEST_SHARE = 0.2
"""Share of the pool at which the made-up score is highest, other things equal."""


def made_up_score(candidate: Candidate, table: SignalTable) -> float:
    """Rewards high IFD and relevance, and a fifth of the pool; no row order, no noise."""
    rows = np.sort(candidate.rows)
    relevance = np.mean([table.column(MONA_PREFIX + task)[rows].mean(dtype=np.float64) for task in table.tasks])
    quality = table.column("ifd")[rows].mean(dtype=np.float64)
    return float(relevance + 0.3 * quality - 0.05 * np.log(len(rows) / table.n / BEST_SHARE) ** 2)


def stored(table: SignalTable, folder: Path) -> SignalTable:
    """The table with the keys of a scored pool, so that what is derived from its signals is stored in ``folder``."""
    names = ("pool", "sae", "text_hash", "near_duplicates")
    return replace(table, folder=folder, keys={**table.keys, **{name: str(table.n) for name in names}})


def measure(folder: Path, evaluations: int, seed: int, without: tuple[str, ...], proposals: int) -> dict[str, Any]:
    """One search over the table in ``folder``."""
    table = stored(load_table(folder), folder / "signals")
    config = SearchConfig(evaluations=evaluations, seed=seed, without=without, proposals=proposals)
    started = (time.perf_counter(), time.process_time())
    controller = SearchController(table, config)
    setup = time.perf_counter() - started[0]
    walls: dict[str, list[float]] = {"warmup": [], "ranked": []}
    cpus: dict[str, list[float]] = {"warmup": [], "ranked": []}
    hashes = []
    while True:
        wall, cpu = time.perf_counter(), time.process_time()
        asked = controller.ask()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if not asked:
            break
        kind = "ranked" if asked[0].origin in ("edit", "fresh", "repeat") else "warmup"
        walls[kind].append(wall)
        cpus[kind].append(cpu)
        for candidate in asked:
            hashes.append(candidate.subset_hash)
            controller.tell(Observation(candidate.id, made_up_score(candidate, table)))
    best = controller.best
    assert best is not None
    return {
        "rows": table.n,
        "evaluations": evaluations,
        "proposals": config.proposals,
        "without": list(without),
        "sae_features": table.sae is not None,
        "table": folder.name,
        "rounds": len(walls["ranked"]),
        "seconds_median": statistics.median(walls["ranked"]),
        "seconds_max": max(walls["ranked"]),
        "cpu_median": statistics.median(cpus["ranked"]),
        "cpu_max": max(cpus["ranked"]),
        "warmup_median": statistics.median(walls["warmup"]),
        "warmup_max": max(walls["warmup"]),
        "setup_seconds": setup,
        "search_cpu": time.process_time() - started[1],
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "cpu_of_rounds": [round(value, 3) for value in cpus["ranked"]],
        "best": best.score,
        "subsets": hashes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, action="append", help="rows of the pool; may be repeated (default 90000)")
    parser.add_argument("--evaluations", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--proposals", type=int, default=SearchConfig().proposals, help="recipes ranked in a round")
    parser.add_argument(
        "--without", default="", help="comma-separated operators to leave out: clusters of millions of rows take hours"
    )
    parser.add_argument("--no-features", action="store_true", help="without SAE features: no drift, no semdedup")
    parser.add_argument("--shared-features", action="store_true", help="SAE features that nearly all rows have")
    parser.add_argument("--no-text", action="store_true", help="without near-duplicate pairs: no MinHash deduplication")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "autoselection-benchmarks")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        without = tuple(filter(None, options.without.split(",")))
        print(json.dumps(measure(options.folder, options.evaluations, options.seed, without, options.proposals)))
        return
    for rows in options.rows or [90_000]:
        table = ensure_table(
            options.folder,
            rows,
            features=not options.no_features,
            text=not options.no_text,
            shared=options.shared_features,
        )
        command = [sys.executable, "-m", "benchmarks.rounds", "--one", "--folder", str(table)]
        command += [
            "--evaluations",
            str(options.evaluations),
            "--seed",
            str(options.seed),
            "--without",
            options.without,
        ]
        first, line = (json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout) for _ in range(2))
        if first.pop("subsets") != line.pop("subsets"):
            raise SystemExit("The two searches chose different subsets: they must not depend on what is stored.")
        line["first_run_max"] = max(first["seconds_max"], first["warmup_max"])
        if options.json:
            print(json.dumps(line), flush=True)
        else:
            print(
                "  ".join(
                    f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                    for key, value in line.items()
                )
            )


if __name__ == "__main__":
    main()
