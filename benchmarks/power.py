"""Which gain a comparison can find, before it is made: what seeds do to the difference of two subsets, at each training budget.

    python -m benchmarks.power --config STUDY.yaml --work DIR --subset all --subset own=sources:a,b --budgets max_tokens=8000 --seeds 0,1,2,3

Trains every subset at every budget and seed and prints, for every subset against the first: the mean difference of the dev
score, the standard deviation of one seed's difference (both take rows in the order of the same keys), the correlation of the two scores over
seeds, how many seeds find the difference and half of it with a power of 80% (two-sided t test, ``--level``), and what those trainings take.
That is the least: winners of several searches differ besides.

Subsets: ``NAME=sources:a,b`` (or ``all``), ``NAME=random:SHARE``, ``NAME=FILE`` of row ids. Every training is a line of
``DIR/power.jsonl``; run it again to go on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.config import load_config
from autoselection.pool import Pool
from autoselection.statistics import Spread, replicates_needed
from benchmarks.lines import Lines
from benchmarks.row_order import dev_scores, open_pool

Rows = NDArray[np.int64]


def named_rows(told: str, pool: Pool) -> tuple[str, Rows]:
    """Name and rows, in row order, of a subset as the command line tells it."""
    name, _, what = told.partition("=")
    kind, _, rest = what.partition(":")
    everyone = np.arange(len(pool), dtype=np.int64)
    if told == "all":
        return name, everyone
    if kind == "sources":
        codes = [pool.source_names.index(source) for source in rest.split(",")]
        return name, np.flatnonzero(np.isin(pool.source_codes, codes))
    if kind == "random":
        return name, np.sort(np.random.default_rng(20).permutation(everyone)[: round(float(rest) * len(pool))])
    return name, np.sort(pool.row_of(json.loads(Path(what).read_text("utf-8"))))


def key_of(subset: str, budget: str, seed: int) -> str:
    return f"{subset}/{budget}/{seed}"


def comparison(
    first: Mapping[int, Mapping[str, Any]], second: Mapping[int, Mapping[str, Any]], name: str, level: float
) -> dict[str, Any]:
    """The difference of two subsets by one score, over the seeds that both have."""
    seeds = sorted(set(first) & set(second))
    pair = np.array([[side[seed][name] for seed in seeds] for side in (first, second)])
    apart = pair[1] - pair[0]
    mean, spread = float(apart.mean()), float(apart.std(ddof=1))
    cost = float(np.mean([side[seed]["seconds"] for side in (first, second) for seed in seeds]))
    found = {
        "score": name,
        "seeds": len(seeds),
        "first": pair[0].mean(),
        "second": pair[1].mean(),
        "difference": mean,
        "spread": spread,
        "spread_of_each": float(np.sqrt(pair.var(axis=1, ddof=1).mean())),
        "correlation": float(np.corrcoef(pair)[0, 1]),
        "seconds_of_a_training": cost,
    }
    for part, wanted in (("difference", mean), ("half", mean / 2)):
        needed = replicates_needed(wanted, Spread((spread**2,)), level=level) if wanted else None
        found[f"seeds_for_{part}"] = needed
        found[f"hours_for_{part}"] = None if needed is None else 2 * needed * cost / 3600
    return {key: round(value, 5) if isinstance(value, float) else value for key, value in found.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument(
        "--subset", action="append", required=True, help="the first is what the others are compared with"
    )
    parser.add_argument("--budgets", default="max_tokens=8000")
    parser.add_argument("--seeds", default="0,1,2,3")
    parser.add_argument(
        "--level", type=float, default=0.95, help="of the test: 1 - 0.05 / 3 for three tests after Bonferroni"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="overrides; name another --work for each"
    )
    options = parser.parse_args(arguments)
    config = load_config(options.config, options.set)
    pool = open_pool(config, options.work)
    subsets = dict(named_rows(told, pool) for told in options.subset)
    lines = Lines(options.work / "power.jsonl")
    budgets, seeds = options.budgets.split(","), [int(seed) for seed in options.seeds.split(",")]
    for seed in seeds:
        for budget in budgets:
            for name, rows in subsets.items():
                record = {"key": key_of(name, budget, seed), "subset": name, "budget": budget, "seed": seed}
                if record["key"] not in lines.known:
                    record |= dev_scores(config, pool.path, rows, budget, seed, options.work, f"{budget}, seed {seed}")
                    lines.add(record)
    names = list(subsets)
    for budget in budgets:
        first, *others = ({seed: lines.known[key_of(name, budget, seed)] for seed in seeds} for name in names)
        for name, second in zip(names[1:], others, strict=True):
            for score in ("mean", *(task.name for task in config.tasks)):
                found = comparison(first, second, score, options.level)
                print(json.dumps({"budget": budget, "subset": name, "against": names[0], **found}), flush=True)


if __name__ == "__main__":
    main()
