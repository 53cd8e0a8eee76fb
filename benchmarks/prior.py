"""Learns the prior of the search's surrogate (:mod:`autoselection.search.prior`) from worlds where recipes can be scored.

    python -m benchmarks.prior --worlds recipebench:0-3 synthetic:0-39 --work runs/recipebench --out effects.yaml
    python -m benchmarks.prior --worlds synthetic:0-39 --out synthetic.yaml          # leaving RecipeBench out

Only tuning halves: a world is ``synthetic:SEED``, ``recipebench:SEED`` (the same pool with other recipes) or ``pools:POOL/MODEL``;
``FIRST-LAST`` stands for several seeds. In each one a few
hundred recipes are scored without noise: probes, random ones, and two generations of edits. Features are scaled as in a
search, scores as its surrogate scales them. How effects follow from them is said in
:mod:`autoselection.search.prior_learning`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoselection.documents import dump_yaml
from autoselection.operators import default_registry
from autoselection.recipes import PrefixCache, Recipe, materialize
from autoselection.search.config import SearchConfig
from autoselection.search.credit import Credit
from autoselection.search.edits import Editor, UnionSource
from autoselection.search.features import SubsetFeatures
from autoselection.search.prior import line_inputs
from autoselection.search.prior_learning import Scored, effects, learn
from autoselection.search.scores import cut_scores
from autoselection.search.space import RecipeSpace
from autoselection.search.surrogate import Transform
from autoselection.search.surrogate_inputs import SCALE_RECIPES, Scale
from autoselection.search.warmup import draw_any, draw_probe, zone_of
from benchmarks.search import Setting
from benchmarks.worlds.base import World
from benchmarks.worlds.pools import PoolWorld

PROBES, RANDOM, EDITED, EDITS = 40, 60, 20, 3
"""Recipes of a world: probes, random ones, and in each of two generations so many parents with so many edits."""
ROWS = 60
"""Recipes of a world that count: its line leaves much unexplained that alike recipes share, so more would claim too much."""

Array = NDArray[np.float64]


def recipes_of(world: World, seed: int) -> list[NDArray[np.int64]]:
    """Subsets of recipes, the probes first."""
    registry, config, cache = default_registry(), SearchConfig(seed=seed), PrefixCache()
    space = RecipeSpace(world.table, registry, config)
    rng = np.random.default_rng([seed, 77])
    found: dict[str, tuple[Recipe, NDArray[np.int64]]] = {}

    def add(recipes: Sequence[Recipe]) -> list[Recipe]:
        made = []
        for recipe in recipes:
            outcome = materialize(recipe, world.table, seed=seed, registry=registry, cache=cache)
            if len(outcome.rows) >= world.min_rows and outcome.subset_hash not in found:
                found[outcome.subset_hash] = (outcome.recipe, outcome.rows)
                made.append(outcome.recipe)
        return made

    add([draw_probe(space, zone_of(place, config.zones), config.max_steps, rng)[0] for place in range(PROBES)])
    add([draw_any(space, config.max_steps, rng) for _ in range(RANDOM)])
    parents = [recipe for recipe, _ in found.values()]
    for _ in range(2):
        chosen = [parents[int(place)] for place in rng.choice(len(parents), min(EDITED, len(parents)), replace=False)]
        sources = [UnionSource(r, r.digest(registry), f"r{place}", 1.0) for place, r in enumerate(chosen[:6])]
        made = []
        for recipe in chosen:
            proposals, _ = Editor(space, config.edits, config.max_steps, sources, Credit()).propose(recipe, EDITS, rng)
            made += add([proposal.recipe for proposal in proposals])
        parents = made or parents
    return [rows for _, rows in found.values()]


def scored(world: World, family: str, seed: int) -> Scored:
    """Features and scores of a world's recipes."""
    subsets = recipes_of(world, seed)
    space = RecipeSpace(world.table, default_registry(), SearchConfig())
    features = SubsetFeatures(world.table, sorted({*cut_scores(space).columns, "n_tokens"}))
    raw = np.array(features.many(subsets))
    scale = Scale.of(raw[:SCALE_RECIPES])
    names, inputs = line_inputs(features.names, np.array([scale(line) for line in raw]))
    truths = np.array([world.truth(rows) for rows in subsets])
    transform = Transform.of(truths[: PROBES + RANDOM], True)
    kept = np.sort(np.random.default_rng([seed, 78]).permutation(len(subsets))[:ROWS])
    return Scored(family, names, inputs[kept], transform.forward(truths)[kept])


def _worlds(name: str, work: Path) -> Iterator[tuple[str, World, int]]:
    family, _, seeds = name.partition(":")
    if family == "pools":
        yield family, PoolWorld.load(work, *seeds.split("/")), 0
        return
    first, _, last = seeds.partition("-")
    setting = Setting(family, "tune", work)
    for seed in range(int(first or 0), int(last or first or 0) + 1):
        yield family, setting.world(seed), seed


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--worlds", nargs="+", required=True, help="synthetic:FIRST-LAST, recipebench:FIRST-LAST, pools:POOL/MODEL"
    )
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "autoselection-search-benchmark" / "demo"
    )
    parser.add_argument("--out", type=Path, required=True, help="YAML file to write")
    options = parser.parse_args(arguments)
    found = [
        scored(world, family, seed) for name in options.worlds for family, world, seed in _worlds(name, options.work)
    ]
    document = {"learnt_from": options.worlds, "effects": effects(learn(found))}
    head = f"# Written by: python -m benchmarks.prior --worlds {' '.join(options.worlds)} --out FILE\n"
    options.out.write_text(head + dump_yaml(document), "utf-8")
    print(
        json.dumps(
            {"worlds": len(found), "recipes": sum(len(world.scores) for world in found), "out": str(options.out)}
        )
    )


if __name__ == "__main__":
    main()
