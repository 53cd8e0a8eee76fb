"""Check through the package itself that the demo is a real test of selection.

    python -m testbed.gates                    # hours of CPU; killed and started again, it goes on where it stopped
    python -m testbed.gates --report-only      # rewrite the report from the results so far

Every subset is made by the package's operators and scored by its evaluation (TRL training, lm-evaluation-harness, dev
split). Results are appended to ``runs/gates/results-*.jsonl`` (one file a setting) as they come; the report goes to
``docs/results/demo-testbed.md``. The hidden truth flags serve the oracle subset only.

Scores are gold NLL per token, mean over the tasks: lower is better. Sigma is the seed noise of one evaluation: the pooled
standard deviation over training seeds of the full pool and of the oracle subset. Singles and composed recipes are
first tried with seed 0; the best of each are scored again with fresh seeds, and only these count (no winner's curse).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from math import comb
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoselection.config import StudyConfig, load_config
from autoselection.demo import data_dir
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.executors import ExecutorConfig
from autoselection.executors.local import LocalExecutor
from autoselection.language.models import model_fingerprint
from autoselection.pool import Pool
from autoselection.recipes import Recipe, Step, materialize
from autoselection.recipes.materialize import subset_hash
from autoselection.search.baselines import random_recipes, random_subset, single_operator_recipes
from autoselection.study.prepare import prepare
from autoselection.tasks import items_fingerprint, load_items

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RANDOM_RECIPES = 60
BUDGET = 15  # evaluations of a random recipe search
NOISE_SEEDS = tuple(range(5))
FRESH_SEEDS = (101, 102, 103)
FINALISTS = 3


@dataclass(frozen=True)
class Trial:
    """A subset to evaluate: ``group`` is base, full, oracle, half, random, single or composed."""

    group: str
    name: str
    rows: NDArray[np.int64] | None
    seed: int

    @property
    def key(self) -> str:
        return f"{'base' if self.rows is None else subset_hash(self.rows)}/{self.seed}"


def composed_recipes() -> list[Recipe]:
    """Recipes a person would write: off-task rows out, low IFD within sources, near copies out, in several orders."""
    off_task = [
        Step("source_filter", {"mode": "drop", "sources": ["chatter"]}),
        Step("mona_filter", {"fraction": 0.2}),
        Step("mona_filter", {"fraction": 0.14}),
    ]
    quality = [Step("ifd_filter", {"fraction": f, "direction": "low", "scope": "source"}) for f in (0.45, 0.55, 0.65)]
    copies = [Step("semantic_dedup", {"strategy": "minhash", "jaccard_threshold": t}) for t in (0.5, 0.7)]
    whole = Step("ifd_filter", {"fraction": 0.6, "direction": "low", "scope": "whole"})
    recipes = [(a, b, c) for a in off_task for b in quality for c in copies]
    recipes += [(a, c, b) for a in off_task[:2] for b in quality for c in copies[:1]]
    recipes += [(a, b) for a in off_task[:2] for b in quality]
    recipes += [(a, copies[0]) for a in off_task[:2]]
    recipes += [(quality[1], copies[0]), (copies[0], quality[1]), (off_task[0], whole), (off_task[0], whole, copies[0])]
    recipes += [(off_task[1], Step("ifd_filter", {"fraction": 0.6, "direction": "high", "scope": "source"}), copies[0])]
    return [Recipe(steps) for steps in recipes]


def oracle_rows(pool: Pool) -> NDArray[np.int64]:
    """The clean rows on target, one of each group of near copies, by the hidden flags."""
    with gzip.open(HERE / "truth.csv.gz", "rt", encoding="utf-8", newline="") as file:
        ids = [record["id"] for record in csv.DictReader(file) if record["oracle"] == "1"]
    return np.sort(pool.row_of(ids))


def settings_digest(config: StudyConfig, pool: Pool) -> str:
    """12 hex digits of everything a score depends on beside the subset: results of other settings are not mixed in."""
    digest = hashlib.blake2b(digest_size=6)
    digest.update(pool.fingerprint.encode())
    digest.update(model_fingerprint(config.model.path).encode())
    for task in config.tasks:
        digest.update(items_fingerprint(load_items(task, "dev")).encode())
    digest.update(config.evaluation.model_dump_json().encode())
    return digest.hexdigest()


class Ledger:
    """Results so far, in an append-only JSON lines file; a torn last line is dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: dict[str, EvaluationResult] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            whole, _, torn = path.read_bytes().rpartition(b"\n")
            if torn:
                path.write_bytes(whole + b"\n" if whole else b"")
            for line in whole.split(b"\n"):
                if line:
                    record = json.loads(line)
                    self.results[record["key"]] = EvaluationResult.from_dict(record["result"])

    def add(self, trial: Trial, result: EvaluationResult) -> None:
        plain = result.to_dict()
        plain.pop("items", None)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": trial.key, "group": trial.group, "name": trial.name, "result": plain}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.results[trial.key] = result

    def loss(self, trial: Trial) -> float:
        """Mean gold NLL per token over the tasks; NaN if not (yet) evaluated or failed."""
        result = self.results.get(trial.key)
        return float("nan") if result is None or result.failure else -result.score


def run(trials: Sequence[Trial], ledger: Ledger, config: StudyConfig, pool: Pool, work: Path, workers: int) -> None:
    """Evaluate what the ledger lacks; equal subsets are trained once a seed."""
    missing = list({trial.key: trial for trial in trials if trial.key not in ledger.results}.values())
    jobs = [
        EvaluationJob(
            model=config.model.path,
            pool_dir=pool.path,
            rows=trial.rows,
            tasks=config.tasks,
            split="dev",
            seed=trial.seed,
            config=config.evaluation,
            work_dir=work / "evaluations" / trial.key.replace("/", "-"),
        )
        for trial in missing
    ]
    executor = LocalExecutor(ExecutorConfig(workers=workers))
    try:
        for done, (index, result) in enumerate(executor.run(jobs), start=1):
            ledger.add(missing[index], result)
            outcome = result.failure or f"{-result.score:.4f}"
            print(f"{done}/{len(jobs)} {missing[index].group} {missing[index].name}: {outcome}", flush=True)
    finally:
        executor.close()


def best_of(values: Sequence[float], draws: int) -> float:
    """Expected minimum of ``draws`` values drawn without replacement from ``values``."""
    ordered = sorted(values)
    total = comb(len(ordered), draws)
    return sum(value * comb(len(ordered) - 1 - rank, draws - 1) for rank, value in enumerate(ordered)) / total


def by_name(trials: Iterable[Trial], ledger: Ledger) -> list[tuple[float, Trial]]:
    """(loss, trial) of the evaluated trials, best first."""
    scored = [(ledger.loss(trial), trial) for trial in trials]
    return sorted(((loss, trial) for loss, trial in scored if loss == loss), key=lambda pair: pair[0])


def again(trials: Sequence[Trial], ledger: Ledger) -> list[Trial]:
    """The best few of ``trials``, with fresh seeds."""
    best: dict[str, Trial] = {}
    for _, trial in by_name(trials, ledger):
        best.setdefault(trial.key, trial)
    return [
        Trial(trial.group, trial.name, trial.rows, seed)
        for trial in list(best.values())[:FINALISTS]
        for seed in FRESH_SEEDS
    ]


def best_fresh(trials: Sequence[Trial], ledger: Ledger) -> tuple[float, Trial]:
    """The recipe with the lowest mean over fresh seeds."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.name, []).append(trial)
    means = [(float(np.mean([ledger.loss(trial) for trial in group])), group[0]) for group in groups.values()]
    return min(means, key=lambda pair: pair[0])


def processor() -> str:
    """Name of the processor, where the system tells it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({platform.machine()})" if names else platform.machine()


def report_lines(trials: dict[str, list[Trial]], ledger: Ledger, config: StudyConfig) -> Iterator[str]:
    """The markdown report."""
    losses = {group: [ledger.loss(trial) for trial in members] for group, members in trials.items()}
    full, oracle, half = (float(np.mean(losses[group])) for group in ("full", "oracle", "half"))
    sigma = float(np.sqrt(np.mean([np.var(losses[group], ddof=1) for group in ("full", "oracle")])))
    single, single_trial = best_fresh(trials["single again"], ledger)
    composed, composed_trial = best_fresh(trials["composed again"], ledger)
    random = [loss for loss in losses["random"] if loss == loss]
    expected = best_of(random, BUDGET)
    median = float(np.median(random))
    base = losses["base"][0]
    share = (full - composed) / (full - oracle)
    gates = [
        ("oracle beats full data by > 10 σ", (full - oracle) / sigma, 10.0, "σ"),
        ("a random half does not beat full data (by > 2 σ)", (half - full) / sigma, -2.0, "σ"),
        ("operators reach ≥ 60% of the oracle's advantage", 100 * share, 60.0, "%"),
        ("best composed beats best single operator by > 3 σ", (single - composed) / sigma, 3.0, "σ"),
        (
            f"best composed beats the expected best of {BUDGET} random recipes by > 5 σ",
            (expected - composed) / sigma,
            5.0,
            "σ",
        ),
        ("the median random recipe is worse than full data", (median - full) / sigma, 0.0, "σ"),
    ]
    yield "# The demo testbed: does selection matter in it?\n"
    yield (
        f"Made by `python -m testbed.gates` on {date.today()}; do not edit. This testbed was **built to contain something to find**: it shows "
        "that the machinery works. Evidence about real pools comes from real runs.\n"
    )
    sft = config.evaluation.sft
    yield (
        f"{sft.max_steps} steps of {sft.batch_size} rows, learning rate {sft.learning_rate:g}; gold NLL per token on dev, mean "
        f"over {len(config.tasks)} tasks, lower is better; σ = {sigma:.4f} (pooled over {len(NOISE_SEEDS)} seeds of full and oracle). "
        f"Single-operator and composed finalists: mean over {len(FRESH_SEEDS)} fresh seeds {FRESH_SEEDS}; all else seed 0. "
        f"Machine: {processor()}, {os.cpu_count()} cores, one thread an evaluation.\n"
    )
    yield "| gate | measured | needed | |\n| --- | ---: | ---: | --- |"
    for gate, value, needed, unit in gates:
        yield f"| {gate} | {value:.1f} {unit} | {needed:g} {unit} | {'met' if value >= needed else '**missed**'} |"
    yield "\n| subset | NLL |\n| --- | ---: |"
    rows = [
        ("base model, untrained", base),
        ("full pool", full),
        (f"random half (mean of {len(losses['half'])})", half),
        ("oracle: clean, on target, no copies", oracle),
        (f"best single operator: {single_trial.name}", single),
        (f"best composed: {composed_trial.name}", composed),
        (f"random recipes ({len(random)}): median", median),
        (f"random recipes: expected best of {BUDGET}", expected),
        ("random recipes: best", min(random)),
    ]
    for name, value in rows:
        yield f"| {name} | {value:.4f} |"
    for group, title in (
        ("single", "Single operators"),
        ("composed", "Composed recipes"),
        ("random", "Random recipes"),
    ):
        yield f"\n## {title} (seed 0)\n\n| recipe | rows | NLL |\n| --- | ---: | ---: |"
        for loss, trial in by_name(trials[group], ledger):
            yield f"| {trial.name} | {0 if trial.rows is None else len(trial.rows)} | {loss:.4f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "gates", help="folder of results and caches")
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "results" / "demo-testbed.md")
    parser.add_argument("--workers", type=int, choices=(1, 2), default=2, help="evaluations side by side")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], help="dotted.key=value of the demo config"
    )
    parser.add_argument("--report-only", action="store_true", help="evaluate nothing")
    arguments = parser.parse_args()

    config = load_config(data_dir().parent / "demo.yaml", arguments.overrides)
    config = config.model_copy(update={"tasks": tuple(task for task in config.tasks if task.weight > 0)})
    prepared = prepare(config, arguments.work)
    pool, table = prepared.pool, prepared.table
    everything = np.arange(len(pool), dtype=np.int64)
    oracle = oracle_rows(pool)

    def recipe_trials(group: str, recipes: Iterable[Recipe]) -> list[Trial]:
        return [Trial(group, recipe.describe(), materialize(recipe, table).rows, 0) for recipe in recipes]

    trials: dict[str, list[Trial]] = {
        "base": [Trial("base", "base model", None, 0)],
        "full": [Trial("full", "full pool", everything, seed) for seed in NOISE_SEEDS],
        "oracle": [Trial("oracle", "oracle", oracle, seed) for seed in NOISE_SEEDS],
        "half": [Trial("half", "half", random_subset(len(pool), len(pool) // 2, seed), 0) for seed in range(3)],
        "single": recipe_trials("single", single_operator_recipes(table)),
        "composed": recipe_trials("composed", composed_recipes()),
        "random": recipe_trials("random", random_recipes(table, RANDOM_RECIPES)),
    }
    ledger = Ledger(arguments.work / f"results-{settings_digest(config, pool)}.jsonl")
    if not arguments.report_only:
        for members in trials.values():
            run(members, ledger, config, pool, arguments.work, arguments.workers)
    for group in ("single", "composed"):
        trials[f"{group} again"] = again(trials[group], ledger)
        if not arguments.report_only:
            run(trials[f"{group} again"], ledger, config, pool, arguments.work, arguments.workers)
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    arguments.report.write_text("\n".join(report_lines(trials, ledger, config)) + "\n", encoding="utf-8")
    print(f"Report: {arguments.report}")


if __name__ == "__main__":
    main()
