"""What is known of the family: its pools, and how well their tables are interpolated.

    python -m benchmarks.pools.report --work runs/pools            # JSON lines, from the packed tables
    python -m benchmarks.pools.report --work runs/pools --built    # from the tables being built in WORK
    python -m benchmarks.pools.report --work runs/pools --markdown # the tables of docs/results/pools.md

One line a cell (pool with a model):

* ``full``: test loss of the whole pool, mean over seeds (gold NLL, nats a token, mean over tasks). ``best``: of the recipe
  with the lowest dev loss (mean over its seeds), and ``gain`` over the whole pool; ``best_rows``, ``best_recipe``.
* ``quality``: every run predicted from those of other subsets (``spearman``, ``spearman_upper_half``: among the better half;
  ``rmse_log``: error of the log loss; ``noise_log``: of it noise between seeds).
* ``short``: rank correlation of the dev loss after a share of the steps with that of the full training.
* ``seconds``: median of a training with both scorings, on the machine as loaded as it was.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from autoselection.compare.session import FIDELITIES
from autoselection.recipes import Recipe
from benchmarks.pools.build import cell_table
from benchmarks.pools.models import MODELS
from benchmarks.pools.pack import pack_cell, shipped
from benchmarks.pools.specification import NAMES, specification
from benchmarks.recipebench.fidelity import measured
from benchmarks.recipebench.interpolate import CHOSEN, cross_validate, read_evaluations


def runs_of(packed: Path) -> tuple[dict[str, dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    """Subsets by key, and their full runs."""
    subsets: dict[str, dict[str, Any]] = {}
    runs: dict[str, list[dict[str, Any]]] = {}
    for line in gzip.decompress(packed.read_bytes()).splitlines():
        record = json.loads(line)
        key, _, run = record["key"].partition("/")
        if not run:
            subsets[key] = record
        elif "/" not in run:
            runs.setdefault(key, []).append(record)
    return subsets, runs


def mean_loss(runs: Sequence[dict[str, Any]], split: str) -> float:
    return float(np.mean([np.mean(list(run[split].values())) for run in runs]))


def best_known(packed: Path) -> dict[str, Any]:
    """The whole pool, and the recipe with the lowest dev loss."""
    subsets, runs = runs_of(packed)
    full = max(subsets, key=lambda key: int(subsets[key]["rows"]))  # a recipe that keeps all rows is the same subset
    named = [key for key in runs if subsets[key]["recipe"] is not None]
    best = min(named, key=lambda key: (mean_loss(runs[key], "dev"), key))
    found = {name: mean_loss(runs[key], "test") for name, key in (("full", full), ("best", best))}
    return {
        **found,
        "gain": found["full"] - found["best"],
        "full_sd": float(np.std([mean_loss([run], "test") for run in runs[full]], ddof=1))
        if len(runs[full]) > 1
        else None,
        "best_rows": subsets[best]["rows"],
        "best_recipe": Recipe.from_dict(subsets[best]["recipe"]).describe(),
        "seconds": float(np.median([run["seconds"] for listed in runs.values() for run in listed])),
    }


def cell_line(work: Path, pool: str, model: str, packed: Path, regressors: Sequence[str]) -> dict[str, Any]:
    """What is known of a cell."""
    table = cell_table(work, pool, model)
    evaluations = read_evaluations(packed, table.n)
    line: dict[str, Any] = {"pool": pool, "model": model, "rows": table.n, "sources": len(table.source_names)}
    line |= {"runs": len(evaluations), "subsets": len(set(evaluations.keys)), **best_known(packed)}
    if line["subsets"] >= 24:
        line["quality"] = {name: cross_validate(table, evaluations, name).to_dict() for name in regressors}
    for level in FIDELITIES:
        full, short, _, _ = measured(evaluations, packed, level)
        if len(full) > 3:
            scores = (np.exp(values).mean(axis=1) for values in (full, short))
            line.setdefault("short", {})[f"{level:.2f}"] = float(spearmanr(*scores).statistic)
    return line


def composition(work: Path, pool: str) -> dict[str, Any]:
    """What a pool is made of, by its specification and its hidden flags."""
    with gzip.open(work / pool / "truth.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    spec = specification(pool)
    return {
        "sources": len(spec.sources),
        "rows": len(rows),
        "tasks": list(spec.targets),
        "faulty": float(np.mean([bool(row["fault"]) for row in rows])),
        "kinds": sorted({row["fault"] for row in rows} - {""}),
        "off_target": float(np.mean([row["on_target"] == "0" for row in rows])),
        "copies": float(np.mean([row["copy"] == "1" for row in rows])),
    }


def markdown(work: Path, lines: Sequence[dict[str, Any]]) -> str:
    """Two tables: the pools, and the cells."""
    made = ["| pool | sources | rows | tasks | faulty | kinds of faults | off target | copies |"]
    made += ["| --- | ---: | ---: | --- | ---: | --- | ---: | ---: |"]
    for pool in dict.fromkeys(line["pool"] for line in lines):
        told = composition(work, pool)
        shares = {name: f"{100 * told[name]:.0f}%" for name in ("faulty", "off_target", "copies")}
        tasks, kinds = (", ".join(name.replace("_", " ") for name in told[key]) for key in ("tasks", "kinds"))
        made.append(
            f"| {pool} | {told['sources']} | {told['rows']:,} | {tasks} | {shares['faulty']} | {kinds or '–'} | "
            f"{shares['off_target']} | {shares['copies']} |"
        )
    made += [
        "",
        "| cell | runs, subsets | whole pool | best recipe | gain | rows kept | rank correlation | better half | error | noise |",
    ]
    made += ["| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for line in lines:
        quality = line.get("quality", {}).get(CHOSEN, {})
        cells = [quality.get(key) for key in ("spearman", "spearman_upper_half", "rmse_log", "noise_log")]
        shown = " | ".join("–" if value is None else f"{value:.3f}" for value in cells)
        made.append(
            f"| {line['pool']}/{line['model']} | {line['runs']}, {line['subsets']} | {line['full']:.3f} | {line['best']:.3f} | "
            f"{line['gain']:+.3f} | {line['best_rows'] / line['rows']:.0%} | {shown} |"
        )
    return "\n".join(made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--built", action="store_true", help="read the tables in WORK, not the packed ones")
    parser.add_argument("--regressors", default=CHOSEN)
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        for pool in NAMES:
            for model in MODELS:
                packed = shipped(pool, model)
                if options.built and (options.work / pool / model / "evaluations.jsonl").is_file():
                    packed = Path(scratch) / packed.name
                    if not pack_cell(options.work / pool / model, packed)["runs"]:
                        continue
                if not packed.is_file():
                    continue
                lines.append(cell_line(options.work, pool, model, packed, options.regressors.split(",")))
                if not options.markdown:
                    print(json.dumps(lines[-1]), flush=True)
    if options.markdown:
        print(markdown(options.work, lines))


if __name__ == "__main__":
    main()
