"""Whether the surrogate knows how well it knows: coverage of its intervals after 4, 8 and 15 evaluations of a search.

    python -m benchmarks.calibration --family synthetic --seeds 12 --json
    python -m benchmarks.calibration --family recipebench --seeds 12 --json --work runs/recipebench
    python -m benchmarks.calibration --family pools --leave-one-out --seeds 2 --json --work runs/pools

Searches are replayed on the tuning worlds of :mod:`benchmarks.search` (``--split heldout``: on those that no choice was made
on; pools, recipebench: ``--leave-one-out`` takes the usual effects that were learnt from other pools). One line for each number of evaluations known, and for each kind of recipe:

* ``random``: recipes drawn at random, each scored once, that the search never saw;
* ``picks``: the recipes that the search chose by its surrogate when it knew as many evaluations (from this number on to
  the next one), with the scores they then got.

``within_80``, ``within_95``: share of the scores inside the central interval of the prediction, noise of one score included;
``below_10``: share below its 10% quantile; ``correlation``: mean rank correlation of predictions and truths (random ones
only); ``truth``: mean truth of the incumbent when as many were known; ``count``: scores.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

from autoselection.recipes import materialize
from autoselection.search import Observation, SearchConfig, SearchController, random_recipes
from autoselection.search.config import SurrogateConfig
from autoselection.search.ranker import CENTRAL_80
from benchmarks.methods.learnt import stored
from benchmarks.pools.models import MODELS
from benchmarks.pools.specification import NAMES
from benchmarks.search import FAMILIES, SPLITS, Setting, parts, refusal
from benchmarks.worlds.base import World

KNOWN = (4, 8, 15)
"""Numbers of known evaluations at which intervals are looked at."""
RANDOM = 60
"""Random recipes a search."""
Z_95 = 1.959963984540054
"""Standard deviations on either side of a normal mean that hold 95%; :data:`~autoselection.search.ranker.CENTRAL_80`, which
hold 80%, have a tenth below them."""

Array = NDArray[np.float64]


@dataclass
class Coverage:
    """Standardised errors (score minus prediction, over its deviation with noise) by number of evaluations known."""

    random: dict[int, list[float]] = field(default_factory=dict)
    picks: dict[int, list[float]] = field(default_factory=dict)
    correlations: dict[int, list[float]] = field(default_factory=dict)
    truths: dict[int, list[float]] = field(default_factory=dict)


def replay(world: World, seed: int, config: SearchConfig, coverage: Coverage) -> None:
    """One search of ``max(KNOWN)`` evaluations and one more, its errors added to ``coverage``."""
    config = config.model_copy(update={"evaluations": max(KNOWN) + 1, "seed": seed, "llm": None})
    search = SearchController(world.table, config)
    drawn = [materialize(recipe, world.table, seed=seed) for recipe in random_recipes(world.table, RANDOM, seed + 1)]
    drawn = [outcome for outcome in drawn if len(outcome.rows) >= world.min_rows]
    others = search.predictions.inputs.points([o.recipe for o in drawn], [o.rows for o in drawn])
    truths = np.array([world.truth(outcome.rows) for outcome in drawn])
    scores = np.array([_score(world, outcome.rows, seed) for outcome in drawn])
    while candidates := search.ask():
        for candidate in candidates:
            known = len(search.history)
            best = search.best
            if known in KNOWN and best is not None:
                evaluated = [trial.candidate for trial in search.history]
                points = search.predictions.inputs.points([c.recipe for c in evaluated], [c.rows for c in evaluated])
                told = np.array([trial.score for trial in search.history], np.float64)
                expected = search.predictions.elsewhere(points, told, others)
                mu, sigma = (np.array([getattr(e, name) for e in expected]) for name in ("mu", "sigma"))
                errors = (scores - mu) / np.hypot(sigma, search.predictions.noise())
                coverage.random.setdefault(known, []).extend(errors.tolist())
                coverage.correlations.setdefault(known, []).append(float(spearmanr(mu, truths).statistic))
                coverage.truths.setdefault(known, []).append(world.truth(best.candidate.rows))
            score = _score(world, candidate.rows, seed)
            chosen = candidate.prediction
            if chosen is not None and known >= min(KNOWN):
                since = max(number for number in KNOWN if number <= known)
                error = (score - chosen.mu) / math.hypot(chosen.sigma, search.predictions.noise())
                coverage.picks.setdefault(since, []).append(error)
            search.tell(Observation(candidate.id, score))


def _score(world: World, rows: NDArray[np.int64], seed: int) -> float:
    return float(np.mean(list(world.observe(rows, seed).values())))


def lines(coverage: Coverage) -> list[dict[str, Any]]:
    """One line for each number of evaluations known and kind of recipe."""
    found = []
    for kind, errors in (("random", coverage.random), ("picks", coverage.picks)):
        for known, values in sorted(errors.items()):
            z = np.array(values)
            line = {
                "recipes": kind,
                "known": known,
                "within_80": float(np.mean(np.abs(z) <= CENTRAL_80)),
                "within_95": float(np.mean(np.abs(z) <= Z_95)),
                "below_10": float(np.mean(z < -CENTRAL_80)),
                "count": len(z),
                "truth": float(np.mean(coverage.truths[known])),
            }
            if kind == "random":
                line["correlation"] = float(np.nanmean(coverage.correlations[known]))
            found.append({name: round(value, 4) if isinstance(value, float) else value for name, value in line.items()})
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=FAMILIES, required=True)
    parser.add_argument("--split", choices=SPLITS, default="tune")
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--surrogate", type=json.loads, default={}, help="settings of search.surrogate, as JSON")
    parser.add_argument("--json", action="store_true", help="JSON lines instead of a table")
    parser.add_argument("--work", type=Path, help="recipebench: folder of the demo's pool and signals")
    parser.add_argument("--leave-one-out", action="store_true", help="recipebench, pools: usual effects of other pools")
    parser.add_argument("--pools", help=f"pools: comma-separated; default: {','.join(NAMES)}")
    parser.add_argument("--models", help=f"pools: comma-separated; default: {','.join(MODELS)}")
    options = parser.parse_args(arguments)
    if (why := refusal(options)) is not None:
        parser.error(why)
    work = options.work or Path(tempfile.gettempdir()) / "autoselection-search-benchmark" / "demo"
    setting = Setting(options.family, options.split, work)
    coverage = Coverage()
    with threadpool_limits(1):
        for part in parts(setting, options):
            prior = {"prior": stored(part.learn_from)} if options.leave_one_out else {}
            config = SearchConfig(surrogate=SurrogateConfig(**{**prior, **options.surrogate}))
            for seed in range(options.seeds):
                replay(part.world(seed), part.noise_seed(seed), config, coverage)
    for line in lines(coverage):
        about = {"family": options.family, "split": options.split, "leave_one_out": options.leave_one_out}
        line = {**about, "seeds": options.seeds, **line}
        print(json.dumps(line) if options.json else "  ".join(f"{key} {value}" for key, value in line.items()))


if __name__ == "__main__":
    main()
