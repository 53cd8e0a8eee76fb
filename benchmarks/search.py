"""Search efficiency: methods under one budget of evaluations, over many seeds.

    python -m benchmarks.search --family synthetic --budget 15 --seeds 50 --json
    python -m benchmarks.search --family recipebench --budget 15 --seeds 50 --json --work runs/recipebench
    python -m benchmarks.search --family pools --leave-one-out --budget 15 --seeds 10 --json --work runs/pools

Families: ``synthetic`` (benchmarks/worlds/synthetic.py: a seed is another world; the whole pool scores 0, the optimum
1), ``recipebench`` (benchmarks/worlds/recipebench.py: real evaluations, interpolated; a seed is another noise and
another seed of the method) and ``pools`` (benchmarks/worlds/pools.py: the same for ten drawn pools with two base models
each). ``--split heldout`` uses worlds, or a part of the table, that tuning never saw (pools have no such half). For pools
and recipebench, ``--leave-one-out`` lets a method that learns (benchmarks/methods/learnt.py) learn from the other pools
only; for synthetic, what was learnt from worlds of its tuning half has seen none of the held-out ones.

One JSON line a method. All scores are noise-free truths of the **incumbent**: the subset that a method would pick by
the noisy scores it has paid for.

* ``mean_regret``, ``ci95``: optimum minus the incumbent's truth after the budget, mean over seeds, Student's interval;
  ``mean_regret_reachable`` is against the best that recipes are known to reach.
* ``best_true``: the incumbent's truth, mean. ``best_seen``: the best truth among all it evaluated.
* ``final``: that truth for each seed, for paired differences.
* ``curve``, ``curve_ci95``: mean truth of the incumbent after each evaluation (the mean of the seeds that have one).
* ``evals_to_random15``, ``evals_to_published15``: first evaluation after which the curve is at the mean of random
  recipe search, of the published loop, after 15; null if it never is.
* ``win_rate``: share of seeds on which it beats each other method (ties count half).
* ``vs_ours``: its regret minus that of ``ours:learnt`` (else ``ours``) on the same seeds, mean and Student's interval; positive: ours is better.
* ``seconds_per_round``: seconds of the controller an evaluation, median over seeds (evaluations themselves excluded).
* ``spent``: full evaluations' worth that it spent, mean; ``refused``: what it did not use of the budget, mean. Methods with
  a budget of their own (``single-operators:all``) spend more; their ``curve`` ends at the common budget, ``final`` does not.
* ``left_out``: whether the method knows nothing of the pool, or of the worlds, that it was replayed on.
* ``strange``: share of evaluations unlike all of the table (recipebench).

Runs are kept in ``--folder`` under the family, split, world, method's settings and code, budget and seed: a second call
prints at once, an interrupted one goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import autoselection
from autoselection.search import SearchConfig
from benchmarks.methods import DEFAULT, KNOWN, Method, defaults, learnt_from, method_of, own_search
from benchmarks.methods.learnt import SOURCES
from benchmarks.over_pools import interval, pooled_lines
from benchmarks.pools.models import MODELS
from benchmarks.pools.specification import NAMES
from benchmarks.recipebench.build import end_with
from benchmarks.recipebench.interpolate import TableError
from benchmarks.verdicts import whole_pool_stays
from benchmarks.worlds.base import Session, World, incumbents
from benchmarks.worlds.interpolated import InterpolatedWorld
from benchmarks.worlds.pools import PoolWorld
from benchmarks.worlds.recipebench import RecipeBench
from benchmarks.worlds.synthetic import SyntheticWorld, world_seed

FAMILIES, SPLITS = ("synthetic", "recipebench", "pools"), ("tune", "heldout")
REFERENCE_BUDGET = 15

_RECIPES = ("operators", "recipes", "search/baselines.py", "search/space.py", "search/warmup.py")
#: Files of the package that the methods of a module depend on besides it: kept runs are of the same code. Default: the search.
CODE = {
    "simple": (*_RECIPES, "compare/spaces.py"),
    "single_operators": _RECIPES,
    "multifidelity": (*_RECIPES, "compare/spaces.py"),
    "optuna_search": (*_RECIPES, "compare/spaces.py"),
    "optimisers": (*_RECIPES, "compare/spaces.py"),
    "autocurate_search": (*_RECIPES, "compare/spaces.py"),
    "mixing": (*_RECIPES, "search/learnt_mixtures.py", "search/mixture_fits.py"),
}
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Setting:
    """What all methods of a comparison share.

    Attributes:
        cell: pool and model, for the family of pools.
        learn_from: names of the pools that a method may have learnt from (:data:`benchmarks.methods.learnt.SOURCES`).
    """

    family: str
    split: str
    work: Path
    evaluations: Path | None = None
    noise: float = 1.0
    cell: tuple[str, str] | None = None
    learn_from: tuple[str, ...] = SOURCES

    def world(self, seed: int) -> World:
        """The world of a seed."""
        if self.family == "synthetic":
            return SyntheticWorld(world_seed(self.split, seed), noise=self.noise)
        return _interpolated(self)

    def method(self, name: str) -> Method:
        """The method with this name, learnt from what it may learn from."""
        return method_of(name, self.learn_from)

    def noise_seed(self, seed: int) -> int:
        """Seed of a run's noise and of its method; no two splits share one."""
        return world_seed(self.split, seed)

    @property
    def digest(self) -> str:
        """Changes with anything that changes a world's scores (its optimum is not part of a run)."""
        files = [_HERE / "worlds" / "base.py", Path(autoselection.__file__).parent / "compare" / "session.py"]
        if self.family == "synthetic":
            return _digest([*files, _HERE / "worlds" / "synthetic.py"], self.noise)
        world = _interpolated(self)
        statistics = Path(autoselection.__file__).parent / "statistics"
        files += [_HERE / "verdicts.py", statistics / "selection.py", statistics / "noise.py"]
        files += [_HERE / "worlds" / name for name in ("interpolated.py", f"{self.family}.py")]
        return _digest(files, world.interpolator.digest, self.noise)


@lru_cache(maxsize=1)
def _interpolated(setting: Setting) -> InterpolatedWorld:
    if setting.cell is not None:
        return PoolWorld.load(setting.work, *setting.cell, setting.evaluations, setting.noise)
    return RecipeBench.load(setting.work, setting.split, setting.evaluations, setting.noise)


def _digest(files: Iterable[Path], *more: Any) -> str:
    found = hashlib.blake2b(digest_size=6)
    for path in files:
        found.update(path.read_bytes())
    found.update(json.dumps(more, sort_keys=True, default=str).encode())
    return found.hexdigest()


def method_digest(method: Method) -> str:
    """Changes with the method's settings and with the code it depends on."""
    package = Path(autoselection.__file__).parent
    own = Path(method.run.__code__.co_filename)
    files: list[Path] = [package / "compare" / "method.py", own]
    for name in CODE.get(own.stem, ("operators", "recipes", "search", "signals/table.py")):
        path = package / name
        files += sorted([*path.glob("*.py"), *path.glob("*.yaml")]) if path.is_dir() else [path]
    draws = SearchConfig()
    return _digest(
        files, method.settings, [zone.model_dump() for zone in draws.zones], draws.draws.model_dump(), draws.max_steps
    )


# Runs


def run_path(folder: Path, setting: Setting, world: str, method: Method, budget: int, seed: int) -> Path:
    place = folder / f"{setting.family}-{setting.split.replace('/', '-')}-{world}" / f"{method.name.replace(':', '_')}"
    return place / f"{method_digest(method)}-b{budget}-s{seed}.json"


def run_one(setting: Setting, name: str, budget: int, seed: int, path: Path) -> dict[str, Any]:
    """One method on one seed; written to ``path``, or read if another process wrote it in the meantime."""
    if path.is_file():
        return dict(json.loads(path.read_text("utf-8")))
    world = setting.world(seed)
    method = setting.method(name)
    own = method.budget(budget, world.table, SearchConfig())
    session = Session(world, own, setting.noise_seed(seed))
    with threadpool_limits(1):  # runs stand side by side, a core each
        method.run(session, setting.noise_seed(seed))
    seconds = session.controller_seconds
    picks = incumbents(session.log, max(own, budget))
    full = [item for item in session.log if item.fidelity == 1.0] or session.log
    strange = getattr(world, "strangeness", None)
    record = {
        "truth": [None if rows is None else round(world.truth(rows), 6) for rows in picks[:budget]],
        "final": None if picks[-1] is None else round(world.truth(picks[-1]), 6),
        "best_seen": round(max(world.truth(item.rows) for item in full), 6),
        "evaluations": len(session.log),
        "spent": round(session.spent, 4),
        "seconds": round(seconds, 4),
        "strange": None if strange is None else float(np.mean([strange(item.rows) > 0 for item in session.log])),
        "stays": isinstance(world, PoolWorld) and whole_pool_stays(session.log, picks[-1], world, session.seed),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_text(json.dumps(record), "utf-8")
    part.replace(path)
    return record


def run_all(
    setting: Setting, names: Sequence[str], budget: int, seeds: int, folder: Path, jobs: int
) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Runs of every method by (name, budget); those of the reference methods at their budget too."""
    wanted = [(name, budget) for name in names]
    wanted += [(name, REFERENCE_BUDGET) for name in ("random", "published") if (name, REFERENCE_BUDGET) not in wanted]
    world = setting.digest
    paths = {
        (name, size, seed): run_path(folder, setting, world, setting.method(name), size, seed)
        for name, size in wanted
        for seed in range(seeds)
    }
    missing = [key for key, path in paths.items() if not path.is_file()]
    if jobs <= 1:
        for name, size, seed in missing:
            run_one(setting, name, size, seed, paths[name, size, seed])
    elif missing:
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(variable, "1")  # for the processes that start now
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=context, initializer=end_with, initargs=(os.getpid(),)) as pool:
            futures = [pool.submit(run_one, setting, key[0], key[1], key[2], paths[key]) for key in missing]
            for future in as_completed(futures):
                future.result()
    return {
        (name, size): [json.loads(paths[name, size, seed].read_text("utf-8")) for seed in range(seeds)]
        for name, size in wanted
    }


# What they say


def around(values: NDArray[np.float64]) -> list[float]:
    """95% interval of the mean over seeds, Student's t; that of a single one has no width."""
    return interval(values) or [float(values.mean())] * 2


def curve_of(runs: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """(seeds, budget) truths of the incumbents; NaN before a run has one."""
    return np.array([[np.nan if value is None else value for value in run["truth"]] for run in runs], np.float64)


def first_at(curve: NDArray[np.float64], target: float) -> int | None:
    reached = np.flatnonzero(curve >= target)
    return int(reached[0]) + 1 if len(reached) else None


def lines(
    setting: Setting, names: Sequence[str], budget: int, runs: dict[tuple[str, int], list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """One line a method, the lowest regret first."""
    seeds = len(next(iter(runs.values())))
    if setting.family == "synthetic":
        worlds = [setting.world(seed) for seed in range(seeds)]
    else:
        worlds = [setting.world(0)] * seeds
    optimum = np.array([world.optimum for world in worlds])
    reachable = np.array([world.reachable for world in worlds])
    curves = {name: curve_of(runs[name, budget]) for name in names}
    # Of a method with a budget of its own the last truth is that after all of its evaluations.
    final = {name: np.array([run["final"] for run in runs[name, budget]], np.float64) for name in names}
    reference = {name: float(curve_of(runs[name, REFERENCE_BUDGET])[:, -1].mean()) for name in ("random", "published")}
    found = []
    for name in names:
        mine = runs[name, budget]
        regret = optimum - final[name]
        mean_curve = np.array(
            [np.nanmean(column) if np.isfinite(column).any() else np.nan for column in curves[name].T]
        )
        line: dict[str, Any] = {
            "method": name,
            "family": setting.family,
            "split": setting.split,
            "noise": setting.noise,
            "budget": budget,
            "seeds": seeds,
            "mean_regret": float(regret.mean()),
            "ci95": around(regret),
            "mean_regret_reachable": float((reachable - final[name]).mean()),
            "best_true": float(final[name].mean()),
            "best_seen": float(np.mean([run["best_seen"] for run in mine])),
            "evals_to_random15": first_at(mean_curve, reference["random"]),
            "evals_to_published15": first_at(mean_curve, reference["published"]),
            "seconds_per_round": float(np.median([run["seconds"] / max(budget, run["spent"]) for run in mine])),
            "win_rate": {
                other: float(np.mean((final[name] > final[other]) + 0.5 * (final[name] == final[other])))
                for other in names
                if other != name
            },
            "curve": [None if np.isnan(value) else float(value) for value in mean_curve],
            "curve_ci95": [
                around(column[np.isfinite(column)]) if np.isfinite(column).any() else None for column in curves[name].T
            ],
            "spent": float(np.mean([run["spent"] for run in mine])),
            "refused": float(np.mean([max(0.0, budget - run["spent"]) for run in mine])),
            "final": final[name].tolist(),
            "left_out": is_left_out(setting, learnt_from(setting.method(name)), seeds),
        }
        if (ours := own_search(names)) not in (None, name):
            difference = final[ours] - final[name]
            line["vs_ours"] = {"difference": float(difference.mean()), "ci95": around(difference)}
        if mine[0]["strange"] is not None:
            line["strange"] = float(np.mean([run["strange"] for run in mine]))
        if isinstance(worlds[0], InterpolatedWorld):
            line["judged_by"] = worlds[0].judged_by
        if isinstance(worlds[0], PoolWorld):
            line |= _of_cell(worlds[0], final[name], mine)
        found.append(_rounded(line))
    return sorted(found, key=lambda line: line["mean_regret"])


def is_left_out(setting: Setting, known: Collection[str], seeds: int) -> bool:
    """Whether nothing of what is replayed is among ``known`` (``pools:ash``, ``recipebench:0-3``, ``synthetic:0-39``)."""
    if setting.cell is not None:
        return f"pools:{setting.cell[0]}" not in known
    worlds = [name.partition(":")[2] for name in known if name.startswith(f"{setting.family}:")]
    if setting.family == "recipebench":  # one pool, whatever half of its recipes
        return not worlds
    replayed = [setting.noise_seed(seed) for seed in range(seeds)]
    ends = [tuple(map(int, f"{world}-{world}".split("-")[:2])) for world in worlds]
    return not any(first <= seed <= last for first, last in ends for seed in replayed)


def _of_cell(world: PoolWorld, final: NDArray[np.float64], runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a cell's lines have besides: the whole pool's truth, the unit in which pools are compared, the share of runs that
    end below the whole pool by more than the noise between two of its trainings, and the share of verdicts that would
    leave the whole pool in place."""
    return {
        "pool": world.pool,
        "model": world.model,
        "full": world.full,
        "spread": world.spread,
        "below_full": float(np.mean(final < world.full - world.seed_noise)),
        "full_stays": float(np.mean([run["stays"] for run in runs])),
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def _show(line: dict[str, Any]) -> str:
    against = line.get("vs_ours")
    where = f"{line['split']:14} " if line["family"] == "pools" else ""
    said = f"{where}{line['method']:18} regret {line['mean_regret']:.4f} [{line['ci95'][0]:.4f}, {line['ci95'][1]:.4f}]"
    said += f"  to random15 {line['evals_to_random15']}  to published15 {line['evals_to_published15']}"
    said += f"  {line['seconds_per_round']:.2f} s a round"
    if against:
        said += f"  minus ours {against['difference']:+.4f} [{against['ci95'][0]:+.4f}, {against['ci95'][1]:+.4f}]"
    return said


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=FAMILIES, required=True)
    parser.add_argument("--split", choices=SPLITS, default="tune")
    parser.add_argument("--budget", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--methods", help=f"comma-separated; default: {','.join(DEFAULT)}; also ours:VARIANT")
    parser.add_argument("--noise", type=float, default=1.0, help="factor on the noise of every score")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--json", action="store_true", help="JSON lines instead of a table")
    parser.add_argument("--out", type=Path, help="also write the JSON lines to this file")
    folder = Path(tempfile.gettempdir()) / "autoselection-search-benchmark"
    parser.add_argument("--folder", type=Path, default=folder, help="where finished runs are kept")
    parser.add_argument("--work", type=Path, help="recipebench, pools: folder of the pools and their signals")
    parser.add_argument(
        "--evaluations",
        type=Path,
        help="recipebench: another table than WORK's or the shipped one; pools: another folder of packed tables",
    )
    parser.add_argument(
        "--leave-one-out",
        action="store_true",
        help="recipebench, pools: what is learnt is learnt from other pools than the replayed one",
    )
    parser.add_argument("--pools", help=f"pools: comma-separated; default: {','.join(NAMES)}")
    parser.add_argument("--models", help=f"pools: comma-separated; default: {','.join(MODELS)}")
    options = parser.parse_args(arguments)
    if (why := refusal(options)) is not None:
        parser.error(why)
    if options.family == "synthetic" and options.evaluations is not None:
        parser.error("--evaluations names a table of trainings, and synthetic worlds have none: leave it out")
    names = options.methods.split(",") if options.methods else list(defaults(options.leave_one_out))
    unknown = [name for name in names if name not in KNOWN]
    if unknown:
        parser.error(f"no method '{unknown[0]}'; known: {', '.join(KNOWN)}")
    if options.budget < 1 or options.seeds < 1:
        parser.error("--budget and --seeds must be at least 1")
    work = options.work or options.folder / ("pools" if options.family == "pools" else "demo")
    setting = Setting(options.family, options.split, work, options.evaluations, options.noise)
    found: list[dict[str, Any]] = []
    for part in parts(setting, options):
        try:
            runs = run_all(part, names, options.budget, options.seeds, options.folder, options.jobs)
        except TableError as error:
            if part.cell is None:
                parser.error(f"{options.family}: {error}")
            print(f"{error} It is left out.", file=sys.stderr, flush=True)
            continue
        found += lines(part, names, options.budget, runs)
    if options.family == "pools":
        if not found:
            parser.error("pools: no pool has a table that can be used")
        found += [_rounded(line) for line in pooled_lines(found)]
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("".join(json.dumps(line) + "\n" for line in found), "utf-8")
    for line in found:
        print(json.dumps(line) if options.json else _show(line), flush=True)


def refusal(options: argparse.Namespace) -> str | None:
    """Why an option would have no effect on the family; None if all have one."""
    if options.family == "synthetic" and options.leave_one_out:
        return (
            "--leave-one-out leaves nothing out of synthetic: all stored effects were learnt from its tuning worlds too. "
            "--split heldout has worlds that nothing was learnt from"
        )
    if options.family == "pools" and options.split == "heldout":
        return "--split heldout: pools have no held-out half. --leave-one-out learns from the other pools only"
    if options.family != "pools" and (options.pools or options.models):
        return (
            f"--pools and --models choose cells of the family of pools, and {options.family} has none: leave them out"
        )
    return None


def learn_from(replayed: str, leave_one_out: bool) -> tuple[str, ...]:
    """Names of what a method may have learnt from where a pool of the family, or recipebench's, is replayed."""
    return tuple(name for name in SOURCES if not leave_one_out or name != replayed)


def parts(setting: Setting, options: argparse.Namespace) -> list[Setting]:
    """What is replayed, each with what may have been learnt before: the family, or each of its pools with each model."""
    if setting.family != "pools":
        return [replace(setting, learn_from=learn_from(setting.family, options.leave_one_out))]
    pools = options.pools.split(",") if options.pools else NAMES
    models = options.models.split(",") if options.models else tuple(MODELS)
    return [
        replace(
            setting,
            split=f"{pool}/{model}",
            cell=(pool, model),
            learn_from=learn_from(pool, options.leave_one_out),
        )
        for pool in pools
        for model in models
    ]


if __name__ == "__main__":
    main()
