"""Small models for large ones: what trainings of a cheaper model are worth to a search.

    python -m benchmarks.transfer --work runs/pools --budget 15 --seeds 2 --json

Every pool of the family (benchmarks/worlds/pools.py) has tables of real trainings of two base models. The narrow one, at
:data:`COST` of an evaluation, is the lower level of the wide one:

* ``wide``: the search with the wide model alone.
* ``levels``: the same budget, in wide evaluations, with the narrow model as a level (``search.fidelity.models``).
* ``transfer``: a search with the narrow model alone first, as long as the budget, whose trials then are a lower level of
  the search with the wide one (``search.warm_start``). What it paid for the narrow search stands beside it
  (``paid_before``), and is not in its budget.

Usual effects are those learnt without the pool that is searched. Signals are the wide model's at both levels. All scores
are noise-free truths of the wide model for the subset that a search would pick by the noisy full scores it has paid for,
in spreads of the pool (``over_pools``). Intervals are Student's t over pools; a pool's value is the mean over its seeds.

* ``mean_regret``, ``ci95``: after the budget; ``vs_wide``: by how much ``wide`` is above (positive: this is better).
* ``equal_cost``: the same where what was paid before counts, too: the regret after the budget less ``paid_before``.
* ``after``: by how much its truth is above that of ``wide`` after as many wide trainings, whatever the narrow ones cost.
* ``trainings``: wide trainings after which the mean curve of a pool is where ``wide`` is after the whole budget; mean over
  pools, one that never gets there counts as what it made plus one. ``full``: wide trainings made, mean.
* ``answered``, ``right``, ``truly_right``: of pairs of fully evaluated recipes, each predicted without its two full scores
  (:mod:`autoselection.search.preference`), the share answered; of these, the share in the order of the scores, and of the truth.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from autoselection.search import EvaluatedCandidate, Observation, SearchConfig, SearchController
from autoselection.search.earlier import EarlierTrial
from autoselection.search.levels import level_of
from autoselection.search.preference import Evidence, Preference
from autoselection.search.ranker import Point
from benchmarks.methods.learnt import EFFECTS
from benchmarks.over_pools import interval
from benchmarks.pools.specification import NAMES
from benchmarks.recipebench.interpolate import TableError
from benchmarks.worlds.pools import PoolWorld

NARROW, WIDE = "narrow", "wide"
COST = 0.4
"""Cost of an evaluation with the narrow model, in wide ones."""
AFTER = (3, 5, 8)
"""Wide trainings after which arms are compared besides."""
STARTS = 3
"""Recipes of the narrow search that the wide one begins with (``search.warm_start_probes``)."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A pool with both of its base models, and how many proposals its searches rank."""

    narrow: PoolWorld
    wide: PoolWorld
    proposals: int

    def search(self, settings: dict[str, Any], budget: int, seed: int, **given: Any) -> SearchController:
        """A whole search on the wide model, and on the narrow one where a candidate asks for it."""
        prior = EFFECTS / f"without-{self.wide.pool}.yaml"
        return self._run(self.wide, {**settings, "surrogate": {"prior": prior}}, budget, seed, **given)

    def narrow_search(self, budget: int, seed: int) -> SearchController:
        """A whole search on the narrow model alone."""
        prior = EFFECTS / f"without-{self.narrow.pool}.yaml"
        return self._run(self.narrow, {"surrogate": {"prior": prior}}, budget, seed)

    def _run(
        self, target: PoolWorld, settings: dict[str, Any], budget: int, seed: int, **given: Any
    ) -> SearchController:
        own = {"evaluations": budget, "seed": seed, "min_rows": target.min_rows, "proposals": self.proposals}
        search = SearchController(target.table, SearchConfig.model_validate({**settings, **own}), **given)
        while candidates := search.ask():
            for candidate in candidates:
                tasks = (self.narrow if candidate.model else target).observe(candidate.rows, seed)
                search.tell(Observation(candidate.id, float(np.mean(list(tasks.values()))), tasks))
        return search


@lru_cache(maxsize=1)
def pair_of(work: Path, pool: str, proposals: int) -> Pair:
    """Both worlds of a pool."""
    return Pair(PoolWorld.load(work, pool, NARROW), PoolWorld.load(work, pool, WIDE), proposals)


Arm = Callable[[Pair, int, int], tuple[SearchController, float, Sequence[EarlierTrial]]]


def _wide(pair: Pair, budget: int, seed: int) -> tuple[SearchController, float, Sequence[EarlierTrial]]:
    return pair.search({}, budget, seed), 0.0, ()


def _levels(pair: Pair, budget: int, seed: int) -> tuple[SearchController, float, Sequence[EarlierTrial]]:
    fidelity = {"models": [{"path": NARROW, "cost": COST}]}
    return pair.search({"fidelity": fidelity}, budget, seed), 0.0, ()


def _transfer(pair: Pair, budget: int, seed: int) -> tuple[SearchController, float, Sequence[EarlierTrial]]:
    first = pair.narrow_search(budget, seed)
    known = [trial for trial in first.standing if trial.score is not None]
    earlier = [_earlier(trial) for trial in known]
    best = sorted(known, key=lambda trial: (-(trial.score or 0.0), trial.candidate.number))[:STARTS]
    initial = [trial.candidate.recipe for trial in best]
    return pair.search({}, budget, seed, earlier=earlier, initial=initial), COST * first.spent, earlier


def _earlier(trial: EvaluatedCandidate) -> EarlierTrial:
    candidate = trial.candidate
    return EarlierTrial(
        1, candidate.recipe, np.sort(candidate.rows), candidate.subset_hash, float(trial.score or 0.0), NARROW
    )


ARMS: dict[str, Arm] = {"wide": _wide, "levels": _levels, "transfer": _transfer}


def run_one(work: Path, pool: str, name: str, budget: int, seed: int, proposals: int, path: Path) -> dict[str, Any]:
    """One search; kept in ``path``."""
    if path.is_file():
        return dict(json.loads(path.read_text("utf-8")))
    pair = pair_of(work, pool, proposals)
    started = time.perf_counter()
    with threadpool_limits(1):
        search, before, earlier = ARMS[name](pair, budget, seed)
    record = {
        "pool": pool,
        "arm": name,
        "seed": seed,
        "paid_before": before,
        "optimum": pair.wide.optimum,
        "spread": pair.wide.spread,
        "curve": _curve(search, pair.wide),
        "pairs": _pairs(search, pair.wide, earlier),
        "seconds": round(time.perf_counter() - started, 1),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_text(json.dumps(record), "utf-8")
    part.replace(path)
    return record


def _curve(search: SearchController, world: PoolWorld) -> list[tuple[float, int, float]]:
    """What was spent, wide trainings made, and the truth of the incumbent, after every evaluation that there is one."""
    spent, full, best, curve = 0.0, 0, None, []
    for trial in search.history:
        spent += trial.candidate.fidelity
        if trial.full:
            full += 1
            if trial.score is not None and (best is None or trial.score > (best.score or 0.0)):
                best = trial
        if best is not None:
            curve.append((round(spent, 4), full, round(world.truth(best.candidate.rows), 6)))
    return curve


def _pairs(search: SearchController, world: PoolWorld, earlier: Sequence[EarlierTrial]) -> dict[str, int]:
    """Pairs of full evaluations: how many, answered, in the order of the scores, in the order of the truth."""
    inputs = search.predictions.inputs
    trials = [trial for trial in search.history if trial.score is not None]
    points = [inputs.known(trial.candidate) for trial in trials]
    below = inputs.points([trial.recipe for trial in earlier], [trial.rows for trial in earlier])
    points += [_with_model(point, trial) for point, trial in zip(below, earlier, strict=True)]
    scores = np.array([trial.score for trial in trials] + [trial.score for trial in earlier], np.float64)
    subsets = [trial.candidate.subset_hash for trial in trials] + [trial.subset_hash for trial in earlier]
    known = inputs.elsewhere(points, scores)
    levels = [level_of(search.config.fidelity, trial.candidate.model, trial.candidate.fidelity) for trial in trials]
    averaged = [level.averaged for level in levels] + [1.0] * len(earlier)
    evidence = Evidence(points, scores, subsets, known.weights, known.features, averaged)
    tested = Preference(search.config, evidence).tested()
    if tested is None:
        return {"pairs": 0, "answered": 0, "right": 0, "truly_right": 0}
    truths = np.array([world.truth(trial.candidate.rows) if trial.full else np.nan for trial in trials])
    kept = tested.answered()
    first = tested.probability[kept] > 0.5
    better = truths[tested.left[kept]] > truths[tested.right[kept]]
    return {
        "pairs": len(kept),
        "answered": int(kept.sum()),
        "right": int(tested.right_answers().sum()),
        "truly_right": int((first == better).sum()),
    }


def _with_model(point: Point, trial: EarlierTrial) -> Point:
    return replace(point, study=trial.study, model=trial.model)


# What they say


def truth_after(record: dict[str, Any], spent: float) -> float:
    """Truth of the incumbent once so much was spent."""
    reached = [truth for paid, _, truth in record["curve"] if paid <= spent + 1e-9]
    return float(reached[-1]) if reached else float("nan")


def by_trainings(records: Sequence[dict[str, Any]], most: int) -> NDArray[np.float64]:
    """Mean over seeds of the truth of the incumbent after each number of wide trainings, shape (most,)."""
    curves = np.full((len(records), most), np.nan)
    for row, record in enumerate(records):
        for _, full, truth in record["curve"]:
            if 1 <= full <= most:
                curves[row, full - 1 :] = truth
    return np.asarray(np.nanmean(curves, axis=0))


def lines(records: Sequence[dict[str, Any]], budget: int) -> list[dict[str, Any]]:
    """One line an arm."""
    arms = list(dict.fromkeys(record["arm"] for record in records))
    pools = list(dict.fromkeys(record["pool"] for record in records))
    of = {(arm, pool): [r for r in records if r["arm"] == arm and r["pool"] == pool] for arm in arms for pool in pools}
    found = []
    for arm in arms:
        regret = np.array([np.mean([_regret(record, budget) for record in of[arm, pool]]) for pool in pools])
        theirs = np.array([np.mean([_regret(record, budget) for record in of["wide", pool]]) for pool in pools])
        cut = np.array(
            [np.mean([_regret(record, budget - record["paid_before"]) for record in of[arm, pool]]) for pool in pools]
        )
        trainings = []
        for pool in pools:
            target = by_trainings(of["wide", pool], budget)[-1]
            curve = by_trainings(of[arm, pool], budget)
            made = int(np.mean([record["curve"][-1][1] for record in of[arm, pool]]).round())
            there = np.flatnonzero(curve >= target - 1e-12)
            trainings.append(int(there[0]) + 1 if len(there) else made + 1)
        mine = [record for pool in pools for record in of[arm, pool]]
        pairs = {
            name: sum(record["pairs"][name] for record in mine)
            for name in ("pairs", "answered", "right", "truly_right")
        }
        answers = max(1, pairs["answered"])
        found.append(
            {
                "arm": arm,
                "pools": len(pools),
                "seeds": len(of[arm, pools[0]]),
                "budget": budget,
                "paid_before": float(np.mean([record["paid_before"] for record in mine])),
                "mean_regret": float(regret.mean()),
                "ci95": interval(regret),
                "vs_wide": {"difference": float((theirs - regret).mean()), "ci95": interval(theirs - regret)},
                "equal_cost": {"difference": float((theirs - cut).mean()), "ci95": interval(theirs - cut)},
                "after": {str(count): _ahead(of, arm, pools, count) for count in AFTER if count <= budget},
                "regret_of": dict(zip(pools, regret.round(4).tolist(), strict=True)),
                "trainings": float(np.mean(trainings)),
                "trainings_of": dict(zip(pools, trainings, strict=True)),
                "full": float(np.mean([record["curve"][-1][1] for record in mine])),
                "answered": pairs["answered"] / max(1, pairs["pairs"]),
                "right": pairs["right"] / answers if pairs["answered"] else None,
                "truly_right": pairs["truly_right"] / answers if pairs["answered"] else None,
                "seconds": float(np.mean([record["seconds"] for record in mine])),
            }
        )
    return found


def _ahead(of: Mapping[tuple[str, str], list[dict[str, Any]]], arm: str, pools: Sequence[str], count: int) -> Any:
    """Truth above that of the wide search after ``count`` wide trainings, in spreads, with an interval over pools."""
    found = np.array(
        [
            (by_trainings(of[arm, pool], count)[-1] - by_trainings(of["wide", pool], count)[-1])
            / of[arm, pool][0]["spread"]
            for pool in pools
        ]
    )
    return {"difference": float(found.mean()), "ci95": interval(found)}


def _regret(record: dict[str, Any], budget: float) -> float:
    return (float(record["optimum"]) - truth_after(record, budget)) / float(record["spread"])


def _show(line: dict[str, Any]) -> str:
    low, high = line["vs_wide"]["ci95"] or (float("nan"),) * 2
    right = "none" if line["right"] is None else f"{line['right']:.0%} right, {line['truly_right']:.0%} by the truth"
    return (
        f"{line['arm']:9} regret {line['mean_regret']:.4f}  better than wide by {line['vs_wide']['difference']:+.4f} "
        f"[{low:+.4f}, {high:+.4f}]  trainings {line['trainings']:.1f} of {line['full']:.1f}  answered {line['answered']:.0%}, {right}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the pools and their signals")
    parser.add_argument("--budget", type=int, default=15, help="wide evaluations of every search")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--proposals", type=int, default=160, help="recipes that every search ranks for a candidate")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--pools", default=",".join(NAMES))
    parser.add_argument("--folder", type=Path, help="where finished runs are kept (default: WORK/transfer)")
    parser.add_argument("--json", action="store_true", help="JSON lines instead of a table")
    parser.add_argument("--out", type=Path, help="also write the JSON lines to this file")
    options = parser.parse_args(arguments)
    if (unknown := set(options.arms.split(",")) - set(ARMS)) or options.seeds < 1 or options.budget < 4:
        parser.error(f"no arm '{min(unknown)}'" if unknown else "--seeds must be at least 1, --budget at least 4")
    arms = list(dict.fromkeys(["wide", *options.arms.split(",")]))  # the others are compared with it
    folder = options.folder or options.work / "transfer"
    records: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        for pool in options.pools.split(","):
            try:
                made = []
                for arm in arms:
                    kept = folder / f"{pool}-{arm}-{options.budget}-{options.proposals}-{seed}.json"
                    made.append(run_one(options.work, pool, arm, options.budget, seed, options.proposals, kept))
            except TableError as error:
                print(f"{error} It is left out.", file=sys.stderr, flush=True)
                continue
            records += made
    found = lines(records, options.budget)
    if options.out:
        options.out.write_text("".join(json.dumps(line) + "\n" for line in found), "utf-8")
    for line in found:
        print(json.dumps(line) if options.json else _show(line), flush=True)


if __name__ == "__main__":
    main()
