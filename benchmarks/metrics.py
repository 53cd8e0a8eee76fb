"""Which dev metric leads to the subset with most right answers on test? Real trainings of subsets of the shipped tables.

    python -m benchmarks.metrics --work runs/metrics --pools runs/pools --cell demo --cell birch/wide --subsets 24
    python -m benchmarks.metrics --report docs/results/metrics.jsonl
    python -m benchmarks.metrics --journals STUDY STUDY …
    python -m benchmarks.metrics --cost CONFIG

The tables of RecipeBench and of the pool family hold losses alone. So subsets of them, spread evenly over the table's dev
losses, are trained again, and both splits scored with every metric there is: one line of ``WORK/runs.jsonl`` a training,
written as it ends; started again, the program goes on where it stopped. A cell is ``demo`` or ``POOL/MODEL``.

``--report`` tells of every task and dev metric (values of a subset, losses negative):

- **rank**: its rank correlation over subsets with the share of right answers on test (accuracy where there are options,
  else exact match), with its 95% interval;
- **lost**: mean over 2,000 draws of eight subsets of the share of right answers on test by which the one that the metric calls
  the best of the eight falls short of the best of the eight;
- of tasks with options, how much higher both are than with the loss, mean over cells, with 95% bootstrap intervals over subsets.

``--journals`` tells, over all trainings of some studies of one pool, how the loss on dev goes with the share of gold answers
that greedy decoding writes: over all, and over the third with the lowest loss.

``--cost`` scores a configuration's base model on dev and tells what the loss takes, and the loss with each other kind of
request.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autoselection.config import StudyConfig, load_config
from autoselection.demo import config_path
from autoselection.evaluation import EvaluationJob, EvaluationResult, evaluate
from autoselection.evaluation.engines.contract import make_engine
from autoselection.evaluation.harness import load_benchmarks, score
from autoselection.language.models import context_length, load_model, load_tokenizer, pick_device, pick_dtype
from autoselection.pool import Pool, ingest
from autoselection.statistics import RankAgreement, rank_agreement, reliability
from autoselection.study import Study
from benchmarks.pools.make import write_pool
from benchmarks.pools.models import study
from benchmarks.pools.pack import shipped
from benchmarks.pools.specification import specification
from benchmarks.recipebench.interpolate import SHIPPED

Array = NDArray[np.float64]
DRAWS, OF = 2000, 8


def cell_study(cell: str, work: Path, pools: Path) -> tuple[StudyConfig, Path, Path]:
    """A cell's study, the table of its trainings and its pool's directory; pool and directory are made if need be."""
    if cell == "demo":
        config, table, place = load_config(config_path()), SHIPPED, work / "demo-pool"
    else:
        pool, model = cell.split("/")
        if not (pools / pool / "specification.json").is_file():
            write_pool(specification(pool), pools / pool)
        config, table, place = study(pools, pool, model), shipped(pool, model), work / f"{pool}-pool"
    if not (place / "manifest.json").is_file():
        ingest(config.pool.files, place)
    return config, table, place


def chosen(table: Path, count: int) -> list[dict[str, Any]]:
    """Subsets of a table, evenly over their mean dev losses with the first seed."""
    subsets: dict[str, dict[str, Any]] = {}
    losses: dict[str, float] = {}
    for line in gzip.decompress(table.read_bytes()).decode().splitlines():
        record = json.loads(line)
        key, *run = record["key"].split("/")
        if "mask" in record:
            subsets[key] = record
        if run == ["0"] or ("mask" in record and "dev" in record):
            losses[key] = float(np.mean(list(record["dev"].values())))
    order = sorted((key for key in losses if key in subsets), key=lambda key: (losses[key], key))
    places = np.unique(np.linspace(0, len(order) - 1, count).round().astype(int))
    return [subsets[order[place]] for place in places]


def measure(config: StudyConfig, pool: Path, mask: str, seed: int, folder: Path) -> dict[str, Any]:
    """Train once on a subset and score both splits with all metrics."""
    bits = np.unpackbits(np.frombuffer(base64.b64decode(mask), np.uint8))[: len(Pool.open(pool))]
    job = EvaluationJob(
        model=config.model.path,
        pool_dir=pool,
        rows=np.flatnonzero(bits),
        tasks=config.tasks,
        split="dev",
        seed=seed,
        config=config.evaluation.model_copy(update={"keep_model": True}),
        work_dir=folder,
        full_metrics=True,
    )
    started = time.perf_counter()
    try:
        dev = evaluate(job)
        if dev.failure or dev.model_dir is None:
            return {"failure": dev.failure}
        test = evaluate(replace(job, model=dev.model_dir, rows=None, split="test"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "dev": {task: _values(dev.metrics[task], dev.items[task]) for task in dev.metrics},
        "test": {task: _values(test.metrics[task], test.items[task]) for task in test.metrics},
        "seconds": round(time.perf_counter() - started, 2),
    }


def _values(metrics: Mapping[str, float], items: Mapping[str, Sequence[Any]]) -> dict[str, float]:
    """The metrics of a task, and what ``blend`` is made of besides."""
    found = {name: round(value, 6) for name, value in metrics.items()}
    if "option_likelihood" in items:
        share = np.array(items["option_likelihood"])
        found["option_nll"] = round(float(-np.log(np.maximum(share, 1e-6)).mean()), 6)
    return found


def run(cell: str, options: argparse.Namespace) -> None:
    config, table, pool = cell_study(cell, options.work, options.pools)
    path = options.work / "runs.jsonl"
    known = {(line["cell"], line["key"], line["seed"]) for line in lines(path)}
    for entry in chosen(table, options.subsets):
        key = entry["key"].split("/")[0]
        if (cell, key, options.seed) in known:
            continue
        found = measure(config, pool, entry["mask"], options.seed, options.work / "work")
        line = {"cell": cell, "key": key, "kind": entry["kind"], "rows": entry["rows"], "seed": options.seed, **found}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(cell, key, found.get("seconds"), flush=True)


def cost(path: Path, repeats: int = 3) -> Iterator[dict[str, Any]]:
    """Processor seconds of scoring the base model on dev by its loss, and by that and another kind of request in one pass, for each
    task: the fewest of a few times. Kinds are scored together, as evaluations do it, since they share prompts."""
    config = load_config(path)
    device = pick_device(config.evaluation.device)
    dtype = pick_dtype(device, config.evaluation.dtype)
    tokenizer = load_tokenizer(config.model.path, config.model.chat_options())
    model = load_model(config.model.path, device, str(dtype).removeprefix("torch."))
    torch.set_num_threads(config.evaluation.threads or torch.get_num_threads())
    engine = make_engine(config.evaluation)
    length = context_length(model.config)
    job = EvaluationJob(config.model.path, None, None, config.tasks, "dev", 0, config.evaluation, Path("nowhere"))
    encoded = load_benchmarks(
        config.tasks,
        "dev",
        tokenizer,
        context_length=length,
        config=config.evaluation,
        full_metrics=True,
        tokenizer_key=("cost",),
    )
    with engine.language_model(job, model, tokenizer, dtype=dtype, context_length=length) as scored:
        for benchmark in encoded:
            for kind in benchmark.tasks:
                tasks = {name: benchmark.tasks[name] for name in dict.fromkeys(("nll", kind))}
                seconds = []
                for _ in range(repeats):
                    started = time.process_time()
                    score(scored, [replace(benchmark, tasks=tasks)])
                    seconds.append(time.process_time() - started)
                yield {
                    "task": benchmark.config.name,
                    "items": len(benchmark.ids),
                    "kinds": list(tasks),
                    "seconds": round(min(seconds), 3),
                }


SIGNS = {"nll": -1.0, "nll_per_byte": -1.0, "option_nll": -1.0, "blend": -1.0}
SHOWN = ("nll", "greedy_match", "exact_match", "accuracy", "option_likelihood", "blend")


@dataclass(frozen=True)
class Guide:
    """The subsets of a cell by one task.

    Attributes:
        metrics: dev values by metric, higher is better, float64[subsets].
        right: share of right answers on test, float64[subsets].
    """

    cell: str
    task: str
    measure: str
    metrics: Mapping[str, Array]
    right: Array

    def rank(self, metric: str) -> RankAgreement | None:
        return rank_agreement(self.metrics[metric], self.right)

    def lost(self, metric: str, places: Array | None = None) -> float:
        """Right answers that choosing the best of eight by the metric loses, among the subsets at ``places``."""
        rng = np.random.default_rng(0)
        values, right = (x if places is None else x[places] for x in (self.metrics[metric], self.right))
        drawn = np.array([rng.permutation(len(right))[:OF] for _ in range(DRAWS)])
        best = np.take_along_axis(drawn, values[drawn].argmax(axis=1)[:, None], axis=1)[:, 0]
        return float((right[drawn].max(axis=1) - right[best]).mean())


def guides(records: Sequence[Mapping[str, Any]]) -> list[Guide]:
    """All tasks of all cells with at least eight subsets."""
    cells: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        if "dev" in record:
            cells.setdefault(record["cell"], []).append(record)
    found = []
    for cell, own in cells.items():
        for task in own[0]["dev"] if len(own) >= OF else ():
            measure = "accuracy" if "accuracy" in own[0]["test"][task] else "exact_match"
            told = {
                name: np.array([SIGNS.get(name, 1.0) * record["dev"][task][name] for record in own])
                for name in own[0]["dev"][task]
            }
            if "option_nll" in told:
                told["blend"] = (told["nll"] + told["option_nll"]) / 2.0
            right = np.array([record["test"][task][measure] for record in own])
            found.append(Guide(cell, task, measure, told, right))
    return found


def report(path: Path) -> Iterator[str]:
    """The tables of docs/results/metrics.md."""
    found = guides(lines(path))
    yield "| cell | task | right answers on test | metric on dev | rank | 95% | lost |"
    yield "| --- | --- | --- | --- | ---: | --- | ---: |"
    for guide in found:
        about = f"{guide.cell} | {guide.task} | {guide.measure} {guide.right.min():.3f} to {guide.right.max():.3f}"
        for metric in SHOWN:
            if metric in guide.metrics:
                known = guide.rank(metric)
                cells = (
                    ("cannot be told", "", "")
                    if known is None
                    else (f"{known.value:+.2f}", f"{known.low:+.2f} to {known.high:+.2f}", f"{guide.lost(metric):.3f}")
                )
                yield f"| {about} | {metric} | {' | '.join(cells)} |"
    options = [guide for guide in found if "blend" in guide.metrics]
    rng = np.random.default_rng(0)
    yield ""
    yield "| instead of nll | rank higher by | 95% | lost less by |"
    yield "| --- | ---: | --- | ---: |"
    for metric in ("accuracy", "option_likelihood", "blend"):
        gains = [_gain(guide, metric, np.arange(len(guide.right))) for guide in options]
        drawn = [
            np.nanmean(
                [_gain(guide, metric, rng.integers(len(guide.right), size=len(guide.right))) for guide in options]
            )
            for _ in range(DRAWS)
        ]
        low, high = np.quantile(drawn, [0.025, 0.975])
        less = np.mean([guide.lost("nll") - guide.lost(metric) for guide in options])
        yield f"| {metric} | {np.mean(gains):+.2f} | {low:+.2f} to {high:+.2f} | {less:+.3f} |"


def _gain(guide: Guide, metric: str, places: NDArray[np.int64]) -> float:
    """By how much the metric's rank correlation with right answers is above the loss's, among the subsets at ``places``."""
    new, old = (rank_agreement(guide.metrics[name][places], guide.right[places]) for name in (metric, "nll"))
    return float("nan") if new is None or old is None else new.value - old.value


def journals(paths: Sequence[Path]) -> Iterator[str]:
    """Loss and decoded gold answers on dev, over all different trainings of the studies."""
    seen: dict[Any, EvaluationResult] = {}
    for path in paths:
        for trial in Study(path).all_trials():
            for seed, result in trial.results.items():
                if not result.failure and trial.fidelity == 1.0:
                    seen.setdefault((trial.record["subset_hash"], seed, round(result.score, 4)), result)
    results = list(seen.values())
    yield f"{len(paths)} studies, {len(results)} different trainings"
    yield ""
    yield "| task | rank, all | 95% | lowest third of the losses | 95% | of its differences in right answers no chance in items |"
    yield "| --- | ---: | --- | ---: | --- | ---: |"
    for task in results[0].metrics:
        loss = np.array([-result.metrics[task]["nll"] for result in results])
        right = np.array([result.items[task]["greedy_match"] for result in results], np.float64)
        best = np.argsort(-loss, kind="stable")[: len(loss) // 3]
        cells = [task]
        for known in (rank_agreement(loss, right.mean(axis=1)), rank_agreement(loss[best], right[best].mean(axis=1))):
            cells += ["", ""] if known is None else [f"{known.value:+.2f}", f"{known.low:+.2f} to {known.high:+.2f}"]
        certain = reliability(right[best])
        yield f"| {' | '.join(cells)} | {'' if certain is None else f'{certain.value:.0%}'} |"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/metrics"))
    parser.add_argument("--pools", type=Path, default=Path("runs/pools"))
    parser.add_argument("--cell", action="append", default=[])
    parser.add_argument("--subsets", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, help="runs.jsonl of which to tell")
    parser.add_argument("--journals", type=Path, nargs="+", default=[], help="folders of studies of one pool")
    parser.add_argument("--cost", type=Path, help="configuration whose base model is scored")
    options = parser.parse_args()
    if options.report is not None or options.journals:
        for told in report(options.report) if options.report is not None else journals(options.journals):
            print(told)
        return
    if options.cost is not None:
        for line in cost(options.cost):
            print(json.dumps(line), flush=True)
        return
    options.work.mkdir(parents=True, exist_ok=True)
    for cell in options.cell:
        run(cell, options)


if __name__ == "__main__":
    main()
