"""What a search may know before it sees a pool of the family: usual effects of features, learnt from all others.

    python -m benchmarks.pools.effects --work DIR --recipebench DIR [--jobs 2]

Writes ``benchmarks/pools/effects/without-POOL.yaml`` for every pool (:mod:`autoselection.search.prior`; the method
``ours:learnt`` of ``benchmarks.search --family pools --leave-one-out`` takes that of the pool it is replayed on),
``without-recipebench.yaml`` and ``all.yaml``, which the package ships. Each is learnt from three families that count alike: the tables of the pools' real
trainings (both models of the pool left out are left out), RecipeBench's tuning half and synthetic worlds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

from threadpoolctl import threadpool_limits

from autoselection.documents import dump_yaml
from autoselection.search.prior_learning import Scored, effects, learn
from benchmarks.methods.learnt import EFFECTS, SOURCES, stored
from benchmarks.pools.models import MODELS
from benchmarks.pools.specification import NAMES
from benchmarks.prior import scored
from benchmarks.search import Setting
from benchmarks.worlds.base import World
from benchmarks.worlds.pools import PoolWorld

OTHERS = (*(("recipebench", str(seed)) for seed in range(4)), *(("synthetic", str(seed)) for seed in range(40)))


def _scored(job: tuple[str, str, Path, Path]) -> Scored:
    family, name, work, recipebench = job
    with threadpool_limits(1):
        if family == "pools":
            world: World = PoolWorld.load(work, *name.split("/"))
            return scored(world, family, 0)
        return scored(Setting(family, "tune", recipebench).world(int(name)), family, int(name))


def _source(world: tuple[str, str]) -> str:
    """What is left out together: a pool with both models, or a family."""
    family, name = world
    return name.split("/")[0] if family == "pools" else family


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the family's pools")
    parser.add_argument("--recipebench", type=Path, required=True, help="folder of RecipeBench's pool and signals")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args(arguments)
    cells = [("pools", f"{pool}/{model}") for pool, model in product(NAMES, MODELS)]
    worlds = [*cells, *OTHERS]
    jobs = [(family, name, options.work, options.recipebench) for family, name in worlds]
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as processes:
        found = list(zip(worlds, processes.map(_scored, jobs), strict=True))
    EFFECTS.mkdir(exist_ok=True)
    for left_out in (None, *SOURCES):
        used = [(world, each) for world, each in found if left_out is None or _source(world) != left_out]
        names = [name for name in SOURCES if name != left_out]
        recipebench_too = ["recipebench:0-3"] if "recipebench" in names else []
        document = {
            "learnt_from": [*(f"pools:{name}" for name in names if name in NAMES), *recipebench_too, "synthetic:0-39"],
            "effects": effects(learn([each for _, each in used])),
        }
        path = stored(names)
        path.write_text(f"# Written by: python -m benchmarks.pools.effects --work DIR\n{dump_yaml(document)}", "utf-8")
        print(f"{path.name}: {len(used)} worlds", flush=True)


if __name__ == "__main__":
    main()
