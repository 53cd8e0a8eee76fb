"""Small models for large ones: what trainings of a cheaper model are worth to a search, on pools with two base models.

python -m benchmarks.transfer --work runs/pools --budget 15 --seeds 2 --json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from autoselection.search import Observation, SearchConfig, SearchController
from autoselection.search.earlier import EarlierTrial
from benchmarks.pools.specification import NAMES
from benchmarks.worlds.pools import PoolWorld

LOW, HIGH, COST = "narrow", "wide", 0.4


@dataclass(frozen=True, eq=False)
class Pair:
    low: PoolWorld
    high: PoolWorld

    @classmethod
    def load(cls, work: Path, pool: str) -> Pair:
        return cls(PoolWorld.load(work, pool, LOW), PoolWorld.load(work, pool, HIGH))


def searched(pair: Pair, settings: dict[str, Any], budget: int, seed: int, earlier=(), initial=(), world=None):
    world = world or pair.high
    settings = dict(settings)
    from autoselection.search.policy import Policy

    if not hasattr(Policy, "_kept"):
        Policy._kept = Policy._screened
    Policy._screened = Policy._kept if settings.pop("screen", True) else (lambda self, number: None)
    settings["surrogate"] = {"prior": f"benchmarks/pools/effects/without-{world.pool}.yaml"}
    config = SearchConfig.model_validate({**settings, "evaluations": budget, "seed": seed, "min_rows": world.min_rows})
    search = SearchController(world.table, config, earlier=earlier, initial=initial)
    while candidates := search.ask():
        for candidate in candidates:
            place = pair.low if candidate.model else world
            tasks = place.observe(candidate.rows, seed)
            search.tell(Observation(candidate.id, float(np.mean(list(tasks.values()))), tasks))
    return search


def told(search: SearchController, world: PoolWorld) -> dict[str, Any]:
    """Curve of truths of the incumbent against what was spent, and against wide trainings."""
    spent, full, best, curve = 0.0, 0, None, []
    for trial in search.history:
        spent += trial.candidate.fidelity
        if trial.full:
            full += 1
            best = trial if best is None or trial.score > best.score else best
        curve.append((round(spent, 3), full, None if best is None else round(world.truth(best.candidate.rows), 6)))
    return {"curve": curve, "optimum": world.optimum, "spread": world.spread}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--budget", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--pools", default=",".join(NAMES))
    parser.add_argument("--methods", default="wide;levels")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    for pool in options.pools.split(","):
        pair = Pair.load(options.work, pool)
        for seed in range(options.seeds):
            for name in options.methods.split(";"):
                started = time.perf_counter()
                with threadpool_limits(1):
                    base, _, changes = name.partition(":")
                    extra = json.loads(changes or "{}")
                    if base == "wide":
                        search = searched(pair, extra, options.budget, seed)
                    elif base == "levels":
                        screen = extra.pop("screen", True)
                        fidelity = {"models": [{"path": LOW, "cost": COST}], **extra}
                        search = searched(pair, {"fidelity": fidelity, "screen": screen}, options.budget, seed)
                    elif base == "transfer":
                        first = searched(pair, {}, options.budget, seed, world=pair.low)
                        known = [t for t in first.standing if t.score is not None]
                        best = sorted(known, key=lambda t: -t.score)[: extra.pop("probes", 3)]
                        model = extra.pop("as", LOW)
                        past = [
                            EarlierTrial(
                                1,
                                t.candidate.recipe,
                                np.sort(t.candidate.rows),
                                t.candidate.subset_hash,
                                t.score,
                                model,
                            )
                            for t in known
                        ]
                        search = searched(pair, extra, options.budget, seed, past, [t.candidate.recipe for t in best])
                line = {"pool": pool, "seed": seed, "method": name, **told(search, pair.high)}
                line["seconds"] = round(time.perf_counter() - started, 1)
                regrets = {
                    b: (line["optimum"] - [v for s, _, v in line["curve"] if v is not None and s <= b + 1e-9][-1])
                    / line["spread"]
                    for b in (8, 15)
                    if any(v is not None and s <= b + 1e-9 for s, _, v in line["curve"])
                }
                print(
                    pool,
                    seed,
                    name,
                    {k: round(v, 3) for k, v in regrets.items()},
                    "full",
                    line["curve"][-1][1],
                    "of",
                    len(line["curve"]),
                    f"{line['seconds']} s",
                    flush=True,
                )
                if options.out:
                    with options.out.open("a") as file:
                        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
