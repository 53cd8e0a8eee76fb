"""Evaluate the recipes of the table, for real: training, then the dev and the test split. Hours; resumable.

    python -m benchmarks.recipebench.build --work runs/recipebench

Every evaluation is one line of ``WORK/evaluations.jsonl``, written as it ends; started again, the program goes on where
it stopped (an empty folder: where the table in the repository stops). Which recipes are evaluated depends on seeds and earlier results alone.

One training serves both splits: the trained model is kept just long enough to score the second.
"""

from __future__ import annotations

import argparse
import base64
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from autoselection.config import StudyConfig
from autoselection.evaluation import EvaluationJob, evaluate
from autoselection.recipes import Recipe, subset_hash
from autoselection.study.prepare import prepare
from benchmarks.demo_study import demo_study
from benchmarks.lines import Lines
from benchmarks.recipebench.draw import EDIT_ROUNDS, PARENTS, Drawer, Entry
from benchmarks.recipebench.interpolate import SHIPPED
from benchmarks.recipebench.pack import unpack

#: One edited subset in so many, one other in so many, is trained with a second seed; the best of every round with a third.
REPEATED_EDITS, REPEATED, LEADERS = 4, 6, 10
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Task:
    """One evaluation of an entry; ``fidelity``: share of the full training's budget."""

    entry: Entry
    seed: int
    fidelity: float = 1.0

    @cached_property
    def key(self) -> str:
        """``HASH/SEED``, and ``HASH/SEED/FIDELITY`` for a short training."""
        key = f"{subset_hash(self.entry.rows)}/{self.seed}"
        return key if self.fidelity == 1.0 else f"{key}/{self.fidelity:.4f}"


def evaluate_both(job: EvaluationJob) -> dict[str, Any]:
    """Train once, score dev and test; one number a task and split (gold NLL, nats a token), and the seconds spent."""
    started = time.perf_counter()
    try:
        dev = evaluate(job)
        if dev.failure:
            return {"failure": dev.failure, "kind": dev.failure_kind}
        assert dev.model_dir is not None
        test = evaluate(replace(job, model=dev.model_dir, rows=None, split="test"))
        if test.failure:
            return {"failure": test.failure, "kind": test.failure_kind}
    finally:
        shutil.rmtree(job.work_dir, ignore_errors=True)
    return {
        "dev": {task: -score for task, score in dev.scores.items()},
        "test": {task: -score for task, score in test.scores.items()},
        "rows_trained": dev.train_rows,
        "seconds": round(time.perf_counter() - started, 2),
    }


class Table:
    """The evaluations so far."""

    def __init__(self, path: Path) -> None:
        self.lines = Lines(path)
        self.records = self.lines.known

    def add(self, task: Task, n: int, outcome: dict[str, Any]) -> None:
        mask = np.zeros(n, bool)
        mask[task.entry.rows] = True
        recipe = task.entry.recipe
        self.lines.add(
            {
                "key": task.key,
                "kind": task.entry.kind,
                "recipe": None if recipe is None else recipe.to_dict(),
                "rows": len(task.entry.rows),
                "mask": base64.b64encode(np.packbits(mask).tobytes()).decode(),
                "seed": task.seed,
                **outcome,
            }
        )

    def dev(self, task: Task) -> float:
        """Mean dev loss over the tasks; infinite if it failed or is not there."""
        record = self.records.get(task.key)
        return float(np.mean(list(record["dev"].values()))) if record and "dev" in record else float("inf")


def end_with(parent: int) -> None:
    """Ends this worker when its parent is gone: a killed run leaves none behind."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def job_of(task: Task, config: StudyConfig, pool_dir: Path, work: Path) -> EvaluationJob:
    """The evaluation of a task, on dev; the trained model is kept for the test split."""
    sft = config.evaluation.sft if task.fidelity == 1.0 else config.evaluation.sft.shortened(task.fidelity)
    return EvaluationJob(
        model=config.model.path,
        pool_dir=pool_dir,
        rows=task.entry.rows,
        tasks=config.tasks,
        split="dev",
        seed=task.seed,
        config=config.evaluation.model_copy(update={"keep_model": True, "sft": sft}),
        work_dir=work / "evaluations" / task.key.replace("/", "-"),
    )


def processes(workers: int) -> ProcessPoolExecutor:
    """Workers that end with this process."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=end_with, initargs=(os.getpid(),))


def run(
    tasks: Iterable[Task], table: Table, config: StudyConfig, pool_dir: Path, n: int, work: Path, workers: int
) -> None:
    """Evaluate what the table lacks."""
    missing = list({task.key: task for task in tasks if task.key not in table.records}.values())
    if not missing:
        return
    with processes(workers) as pool:
        futures = {pool.submit(evaluate_both, job_of(task, config, pool_dir, work)): task for task in missing}
        for done, future in enumerate(as_completed(futures), 1):
            outcome, task = future.result(), futures[future]
            if outcome.get("kind") == "infrastructure":
                print(f"{task.key}: {outcome['failure']}; left for the next run", flush=True)
                continue
            table.add(task, n, outcome)
            print(
                f"{done}/{len(missing)} {task.entry.kind} {table.dev(task):.4f} {outcome.get('seconds')} s", flush=True
            )


def leaders(entries: Iterable[Entry], table: Table) -> list[Entry]:
    """Entries with a recipe, the lowest dev loss of seed 0 first; each subset once."""
    distinct = {subset_hash(entry.rows): entry for entry in entries if entry.recipe is not None}
    return sorted(distinct.values(), key=lambda entry: (table.dev(Task(entry, 0)), subset_hash(entry.rows)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    config = demo_study()
    prepared = prepare(config, options.work)
    drawer = Drawer(prepared.table)
    evaluations = options.work / "evaluations.jsonl"
    if SHIPPED.is_file() and not evaluations.exists():
        print(f"{unpack(SHIPPED, evaluations)} evaluations taken over from {SHIPPED.name}", flush=True)
    table = Table(evaluations)

    def evaluate_all(tasks: Iterable[Task]) -> None:
        run(tasks, table, config, prepared.pool.path, prepared.table.n, options.work, options.workers)

    entries = drawer.first()
    order = np.random.default_rng(0).permutation(len(entries))  # a table cut short still covers the space
    evaluate_all(Task(entries[i], 0) for i in order)
    for number in range(EDIT_ROUNDS):
        best = [entry.recipe for entry in leaders(entries, table)[:PARENTS] if entry.recipe is not None]
        edited = drawer.edits(number, [Recipe.from_dict(recipe.to_dict()) for recipe in best])
        evaluate_all(Task(entry, 0) for entry in edited)
        entries += edited
        evaluate_all(Task(entry, SEEDS[1]) for entry in edited[::REPEATED_EDITS])
        evaluate_all(Task(entry, seed) for entry in leaders(entries, table)[:LEADERS] for seed in SEEDS[1:])
    evaluate_all(Task(entries[i], SEEDS[1]) for i in order[::REPEATED])
    print(f"{len(table.records)} evaluations in {table.lines.path}")


if __name__ == "__main__":
    main()
