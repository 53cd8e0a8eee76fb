"""How much luck is in the scores of overlapping subsets, by the order in which rows are trained on. Resumable.

    python -m benchmarks.row_order --work DIR [--config STUDY.yaml] [--overlaps 0.5,0.9] [--budgets max_steps=50] [--fit] [--json]

Subsets that each leave out another random share of the pool hardly differ in what they teach: the spread of their scores is
luck. It is measured in three orders: ``positions`` (each subset shuffled by itself, as before row keys), ``keys``
(the package's order), and ``ranges`` (the same with batches cut at fixed values of the key, so that a row more or less
shifts no other; batches then differ in size). Overlap is the share of one subset's rows that another has, on average.

``--fit`` trains nothing and prints, of all runs there are, how far luck follows the rows: with v the variance of a score, J the
Jaccard similarity of two subsets and s the share of luck that follows the rows, scores of trainings with the same seed have
the covariance ``v · (s · J^power + (1 - s) · [same subset])`` in the order of keys and no more than v in that of positions. Each
overlap has a mean of its own, each budget and task a variance (REML); intervals are of the profile likelihood.

The pool, model, tasks and training are those of a study's configuration, by default the demo's. Every training is a line
of ``DIR/runs.jsonl``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.config import StudyConfig, load_config
from autoselection.demo import config_path
from autoselection.evaluation import EvaluationJob, SFTConfig, evaluate, schedule
from autoselection.evaluation.row_keys import training_keys
from autoselection.pool import Pool, ingest
from autoselection.search.overlaps import overlap
from benchmarks.demo_study import without_guards
from benchmarks.lines import Lines

ORDERS = ("positions", "keys", "ranges")
Rows = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """One training: subset ``number`` of those with an overlap."""

    order: str
    budget: str
    overlap: float
    number: int
    seed: int

    def rows(self, n: int) -> Rows:
        """The subset: all rows but a random share."""
        rng = np.random.default_rng([19, round(1000 * self.overlap), self.number])
        return np.sort(rng.permutation(n)[: round(self.overlap * n)])

    @property
    def key(self) -> str:
        return f"{self.order}/{self.budget}/{self.overlap:g}/{self.number}/{self.seed}"


def by_position(rows: schedule.Countable, seed: int) -> Iterator[Rows]:
    """Passes in seeded permutations of the subset's positions."""
    rng = np.random.default_rng([7, seed])
    while True:
        yield rng.permutation(len(rows))


def by_key(rows: schedule.Countable, seed: int) -> Iterator[Rows]:
    """Passes in the order of the rows' keys."""
    number = 0
    while True:
        yield np.argsort(training_keys(rows.identities, seed, number), kind="stable")
        number += 1


def range_batches(rows: schedule.Countable, config: SFTConfig, seed: int) -> list[Rows]:
    """Batches of the rows whose keys lie between fixed bounds, up to the end of the budget."""
    lengths = rows.lengths(np.arange(len(rows)))
    a_pass = max(1, round(np.count_nonzero(lengths) / config.batch_size))
    batches: list[Rows] = []
    tokens, number = 0, 0
    while True:
        keys = training_keys(rows.identities, seed, number)
        places = np.minimum((keys.astype(np.float64) / 2.0**64 * a_pass).astype(np.int64), a_pass - 1)
        for place in range(a_pass):
            batch = np.flatnonzero((places == place) & (lengths > 0))
            if not len(batch):
                continue
            batches.append(batch[np.argsort(-lengths[batch], kind="stable")])
            tokens += int(lengths[batch].sum())
            if len(batches) == config.max_steps or (config.max_tokens and tokens >= config.max_tokens):
                return batches
        number += 1


@contextmanager
def ordered(order: str) -> Iterator[None]:
    """Trainings take rows in this order."""
    from torch.utils.data import DataLoader

    from autoselection.evaluation.trainers import subset_trainer

    whole, passes = schedule.training_schedule, schedule.passes
    trainer, loader = subset_trainer.SubsetTrainer, subset_trainer.SubsetTrainer.get_train_dataloader
    cut: list[int] = []

    def in_ranges(rows: schedule.Countable, config: SFTConfig, seed: int) -> schedule.TrainingSchedule:
        batches = range_batches(rows, config, seed)
        cut[:] = np.cumsum([len(batch) for batch in batches])[:-1].tolist()
        joined = np.concatenate(batches)
        return schedule.TrainingSchedule(joined, len(batches), int(rows.lengths(joined).sum()))

    def cut_loader(self: Any) -> Any:
        batches = [batch.tolist() for batch in np.split(np.array(self._order), cut)]
        loaded = DataLoader(self.train_dataset, batch_sampler=batches, collate_fn=self.data_collator)
        return self.accelerator.prepare(loaded)

    try:
        if order == "positions":
            schedule.passes = by_position
        elif order == "ranges":
            schedule.training_schedule = in_ranges
            trainer.get_train_dataloader = cut_loader
        yield
    finally:
        schedule.training_schedule, schedule.passes = whole, passes
        trainer.get_train_dataloader = loader


def train(run: Run, config: StudyConfig, pool: Path, n: int, work: Path) -> dict[str, float]:
    """Dev scores by task of one training."""
    with ordered(run.order):
        return dev_scores(config, pool, run.rows(n), run.budget, run.seed, work, run.key)


def dev_scores(
    config: StudyConfig, pool: Path, rows: Rows, budget: str, seed: int, work: Path, key: str
) -> dict[str, float]:
    """Dev scores by task of a training on rows with a budget such as ``max_steps=50``; ``key`` names it should it fail."""
    name, _, value = budget.partition("=")
    length = {"epochs": None, "max_steps": None, "max_tokens": None, name: int(value)}
    settings = config.evaluation.model_copy(update={"sft": config.evaluation.sft.model_copy(update=length)})
    job = EvaluationJob(
        model=config.model.path,
        chat_template=config.model.chat_options(),
        pool_dir=pool,
        rows=rows,
        tasks=config.tasks,
        split="dev",
        seed=seed,
        config=settings,
        work_dir=work / "work",
    )
    result = evaluate(job)
    if result.failure:
        raise SystemExit(f"{key}: {result.failure}")
    return {"mean": result.score, **result.scores, "rows": result.train_rows, "seconds": result.seconds["total"]}


def open_pool(config: StudyConfig, work: Path) -> Pool:
    """The configuration's pool; made of its files if it names some. Signals are not needed."""
    if config.pool.path is None and not (work / "pool" / "manifest.json").is_file():
        ingest(config.pool.files, work / "pool", config.pool.ingest)
    return Pool.open(config.pool.path or work / "pool")


def spread(runs: Sequence[dict[str, Any]], name: str) -> tuple[float, float, float]:
    """Standard deviation within groups of one seed, pooled over seeds, with the 95% interval of a normal sample's."""
    from scipy.stats import chi2

    groups: dict[int, list[float]] = {}
    for run in runs:
        groups.setdefault(run["seed"], []).append(run[name])
    freedom = sum(len(group) - 1 for group in groups.values())
    squares = float(sum(np.sum((np.array(group) - np.mean(group)) ** 2) for group in groups.values()))
    return (
        np.sqrt(squares / freedom),
        np.sqrt(squares / chi2.ppf(0.975, freedom)),
        np.sqrt(squares / chi2.ppf(0.025, freedom)),
    )


SHARES = np.linspace(0.0, 0.99, 100)


def residual_likelihood(values: Values, levels: Values, covariance: Values) -> float:
    """REML log-likelihood of values around a mean for each column of ``levels``, at the best variance."""
    root = np.linalg.cholesky(covariance)
    levels, values = np.linalg.solve(root, levels), np.linalg.solve(root, values)
    inner = levels.T @ levels
    left = values - levels @ np.linalg.solve(inner, levels.T @ values)
    freedom = len(values) - levels.shape[1]
    volume = 2 * np.log(np.diag(root)).sum() + np.linalg.slogdet(inner)[1]
    return -0.5 * float(freedom * np.log((left**2).sum() / freedom) + volume)


def share_likelihood(records: Sequence[dict[str, Any]], n: int, names: Sequence[str], order: str, power: int) -> Values:
    """Log-likelihood of every share of :data:`SHARES`, by the scores ``names`` of the runs of ``order`` and ``positions``."""
    total = np.zeros(len(SHARES))
    for budget in sorted({record["budget"] for record in records}):
        runs = [Run(**{key: record[key] for key in Run.__dataclass_fields__}) for record in records]
        chosen = [at for at, run in enumerate(runs) if run.budget == budget and run.order in (order, "positions")]
        runs = [runs[at] for at in chosen]
        similarity = overlap([run.rows(n) for run in runs], np.ones(n)) ** power
        keyed = np.array([run.order == order for run in runs])
        seeds, overlaps = (np.array([getattr(run, name) for run in runs]) for name in ("seed", "overlap"))
        common = np.where(keyed & keyed[:, None] & (seeds == seeds[:, None]), similarity, np.eye(len(runs)))
        levels = (overlaps[:, None] == np.unique(overlaps)).astype(np.float64)
        for name in names:
            values = np.array([records[at][name] for at in chosen])
            total += [
                residual_likelihood(values, levels, share * common + (1 - share) * np.eye(len(runs)))
                for share in SHARES
            ]
    return total


def print_fit(records: Sequence[dict[str, Any]], n: int, tasks: Sequence[str], as_json: bool) -> None:
    """The share's estimate, its interval and the likelihood beside no sharing, for every budget and all together."""
    budgets = sorted({record["budget"] for record in records})
    for budget in [*([budget] for budget in budgets), budgets][: len(budgets) + (len(budgets) > 1)]:
        some = [record for record in records if record["budget"] in budget]
        for order, names, power in product(("keys", "ranges"), (["mean"], list(tasks)), (1, 2, 4)):
            if not any(record["order"] == order for record in some):
                continue
            found = share_likelihood(some, n, names, order, power)
            inside = SHARES[found > found.max() - 1.92]
            line = {
                "budgets": budget,
                "order": order,
                "scores": names,
                "power": power,
                "runs": len(some),
                "share": round(float(SHARES[found.argmax()]), 2),
                "interval": [round(float(inside.min()), 2), round(float(inside.max()), 2)],
                "log_likelihood": round(float(found.max()), 2),
                "above_none": round(float(found.max() - found[0]), 2),
            }
            print(json.dumps(line) if as_json else line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=config_path())
    parser.add_argument("--overlaps", default="0.5,0.7,0.9,0.97")
    parser.add_argument("--budgets", default="max_steps=50,max_steps=200")
    parser.add_argument("--orders", default=",".join(ORDERS))
    parser.add_argument("--subsets", type=int, default=8)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--fit", action="store_true", help="how far luck follows the rows, by all runs there are")
    parser.add_argument("--json", action="store_true", help="print a line an order, budget, overlap and task")
    options = parser.parse_args()
    runs = [
        Run(order, budget, float(overlap), number, int(seed))
        for seed in options.seeds.split(",")
        for budget in options.budgets.split(",")
        for number in range(options.subsets)
        for overlap in options.overlaps.split(",")
        for order in options.orders.split(",")
    ]
    config = without_guards(load_config(options.config))
    pool = open_pool(config, options.work)
    lines = Lines(options.work / "runs.jsonl")
    known = lines.known
    if options.fit:
        print_fit(list(known.values()), len(pool), [task.name for task in config.tasks], options.json)
        return
    missing = [run for run in runs if run.key not in known]
    for done, run in enumerate(missing, 1):
        record = lines.add({"key": run.key, **vars(run), **train(run, config, pool.path, len(pool), options.work)})
        if not options.json:
            print(f"{done}/{len(missing)} {run.key} {record['mean']:.4f} {record['seconds']:.1f} s", flush=True)
    tasks = ["mean", *(task.name for task in config.tasks)]
    for budget in options.budgets.split(","):
        for level in map(float, options.overlaps.split(",")):
            for order in options.orders.split(","):
                found = [
                    known[run.key] for run in runs if (run.budget, run.overlap, run.order) == (budget, level, order)
                ]
                shown = {name: [round(value, 5) for value in spread(found, name)] for name in tasks}
                if options.json:
                    print(json.dumps({"order": order, "budget": budget, "overlap": level, "runs": len(found), **shown}))
                else:
                    print(
                        f"{budget} overlap {level:g} {order}: " + ", ".join(f"{k} {v[0]:.4f}" for k, v in shown.items())
                    )


if __name__ == "__main__":
    main()
