"""Learns the prior of the search's surrogate (:mod:`autoselection.search.prior`) from worlds where recipes can be scored.

    python -m benchmarks.prior --worlds recipebench:0-3 synthetic:0-39 --work runs/recipebench --out src/autoselection/search/effects.yaml
    python -m benchmarks.prior --worlds synthetic:0-39 --out synthetic.yaml          # leaving RecipeBench out

Only tuning halves: a world is ``synthetic:SEED``, ``recipebench:SEED`` (the same pool with other recipes) or ``pools:POOL/MODEL``;
``FIRST-LAST`` stands for several seeds. In each one a few
hundred recipes are scored without noise: probes, random ones, and two generations of edits. Features are scaled as in a
search, scores as its surrogate scales them. Then two levels, by expectation and maximisation:

* the coefficients of a world are normal around the mean of its **family** (what stands before the colon), with a variance for
  every feature; scores vary around the world's line with a variance of the world's own. Features that differ only in the
  name of a source or task share mean and variance;
* families count alike: the prior's mean is the mean over families, its variance the mean variance within them plus the
  variance of their means.

Scores that no world had get the mean 0 and the variance that scores have (``mean/*`` and the like).
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
ITERATIONS = 60
SHRINKAGE = 0.1
"""Worlds without any effect that count beside a family's own, as a share of these: means of few worlds are drawn to 0."""
ROWS = 60
"""Recipes of a world that count: its line leaves much unexplained that alike recipes share, so more would claim too much."""
SMALLEST = 1e-4
"""Least variance of a coefficient within a family."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scored:
    """What recipes of one world came to.

    Attributes:
        features: names of the columns of ``inputs``.
        inputs: as :func:`autoselection.search.prior.line_inputs` gives them.
        scores: on the surrogate's scale.
    """

    family: str
    features: tuple[str, ...]
    inputs: Array
    scores: Array


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


def shared_name(feature: str) -> str:
    """The name under which a feature's effect is learnt: sources and tasks are all alike."""
    feature = re.sub(r"^log_kept/(source|task)/.*", r"log_kept/\1/*", feature)
    return re.sub(r"mona/(?:(?!/within source$).)*", "mona/*", feature)


def learn(worlds: Sequence[Scored]) -> dict[str, tuple[float, float]]:
    """Mean and variance of the coefficient of every shared name, see the module's docstring."""
    names = sorted({shared_name(feature) for world in worlds for feature in world.features})
    families = sorted({world.family for world in worlds})
    means, variances = np.array(
        [_of_family([world for world in worlds if world.family == family], names) for family in families]
    ).transpose(1, 0, 2)
    mean = means.mean(axis=0)
    variance = variances.mean(axis=0) + ((means - mean) ** 2).mean(axis=0)
    return {name: (float(m), float(v)) for name, m, v in zip(names, mean, variance, strict=True)}


def _of_family(worlds: Sequence[Scored], names: Sequence[str]) -> tuple[Array, Array]:
    """Means and variances of the coefficients over worlds; 0 and 0 for names that none of them has."""
    place = {name: number for number, name in enumerate(names)}
    codes = [np.array([place[shared_name(feature)] for feature in world.features]) for world in worlds]
    mean, variance = np.zeros(len(names)), np.full(len(names), 0.05)
    rests = np.full(len(worlds), 0.3)
    counts = np.bincount(np.concatenate(codes), minlength=len(names))
    for _ in range(ITERATIONS):
        sums, found = np.zeros(len(names)), []
        for number, (world, code) in enumerate(zip(worlds, codes, strict=True)):
            design = np.column_stack([np.ones(len(world.scores)), world.inputs])
            expected, spread = np.r_[0.0, mean[code]], np.r_[1e2, variance[code]]
            covariance = np.linalg.inv(design.T @ design / rests[number] + np.diag(1.0 / spread))
            line = covariance @ (design.T @ world.scores / rests[number] + expected / spread)
            missed = world.scores - design @ line
            rests[number] = max(0.01, (missed @ missed + np.trace(design @ covariance @ design.T)) / len(missed))
            np.add.at(sums, code, line[1:])
            found.append((code, line[1:], np.diag(covariance)[1:]))
        mean = sums / np.maximum(counts + SHRINKAGE * len(worlds), 1e-9)
        squares = np.zeros(len(names))
        for code, line, uncertain in found:
            np.add.at(squares, code, (line - mean[code]) ** 2 + uncertain)
        variance = np.maximum(squares / np.maximum(counts, 1), SMALLEST)
    return np.where(counts > 0, mean, 0.0), np.where(counts > 0, variance, 0.0)


def effects(learnt: Mapping[str, tuple[float, float]]) -> list[dict[str, str | float]]:
    """The entries of the file: single names before patterns, narrow patterns before wide ones, unknown scores last."""
    entries = [(name, mean, variance) for name, (mean, variance) in learnt.items()]
    for kind in ("mean", "spread"):
        for where in ("/within source", ""):
            known = [
                mean**2 + variance
                for name, (mean, variance) in learnt.items()
                if name.startswith(f"{kind}/") and name.endswith("/within source") == bool(where)
            ]
            if known:
                entries.append((f"{kind}/*{where}", 0.0, float(np.mean(known))))
    entries.sort(key=lambda entry: ("*" in entry[0], -len(entry[0]), entry[0]))
    return [
        {"feature": name, "mean": round(mean, 3), "deviation": round(float(np.sqrt(variance)), 3)}
        for name, mean, variance in entries
    ]


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
