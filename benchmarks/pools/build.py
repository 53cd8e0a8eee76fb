"""Real trainings on subsets of the family's pools, with both models: dev and test losses. Hours; resumable.

    python -m benchmarks.pools.build --work runs/pools --workers 1 [--pool NAME] [--model NAME] [--seconds S]

A **cell** is a pool with a model. Every training is one line of ``WORK/POOL/MODEL/evaluations.jsonl`` (short ones:
``short.jsonl``), written and fsynced as it ends; started again, the program goes on where it stopped (an empty folder:
where the tables in the repository stop). What is trained depends on seeds and earlier results alone.

Cells take turns in blocks of :data:`BLOCK` trainings, so that a stop at any time leaves all about equally far; a cell's
first trainings are in an order that covers the space wherever it is cut. A cell's plan, about 135 full trainings:

1. the whole pool with three seeds; rows drawn at random, single operators, probes of zones, a hypercube and free recipes
   in mixed order, every tenth with a second seed;
2. ten subsets of the first at a ninth and at a third of the steps, three of them with a second seed;
3. two rounds of edits of the best recipes so far by their dev loss, every tenth with a second seed, and the leaders of
   each round with a second one.
"""

from __future__ import annotations

import argparse
import fcntl
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from autoselection.compare.session import FIDELITIES
from autoselection.config import StudyConfig
from autoselection.recipes import Recipe
from autoselection.search.config import SearchConfig
from autoselection.signals.table import SignalTable
from autoselection.study.prepare import Prepared, prepare
from benchmarks.pools.make import write_pool
from benchmarks.pools.models import MODELS, study
from benchmarks.pools.pack import shipped, unpack_cell
from benchmarks.pools.specification import NAMES, specification
from benchmarks.recipebench.build import Table, Task, evaluate_both, job_of, leaders, processes
from benchmarks.recipebench.draw import Drawer, Entry

SEED = 20_261_129
COUNTS = {"random rows": 6, "single": 20, "zones": 24, "hypercube": 12, "free": 22, "edits": 14}
EDIT_ROUNDS, PARENTS = 2, 6
REPEATED, LEADERS = 10, 2
"""One subset in so many is trained with a second seed, and so are so many of the best after each round."""

SHORT, SHORT_REPEATED = 10, 3
BLOCK = 10


@dataclass(frozen=True)
class Cell:
    """A pool with a model, and its tables so far."""

    pool: str
    model: str
    config: StudyConfig
    pool_dir: Path
    folder: Path
    drawer: Drawer
    full: Table
    short: Table

    @cached_property
    def first(self) -> list[Entry]:
        """Everything but the edits: the whole pool, then the others in mixed order."""
        whole, *others = self.drawer.first()
        order = np.random.default_rng(SEED).permutation(len(others))
        return [whole, *(others[i] for i in order)]

    def table_of(self, task: Task) -> Table:
        return self.full if task.fidelity == 1.0 else self.short

    def pending(self) -> list[Task]:
        """What is to be trained next, in order; nothing when the plan is done. Later stages follow from the tables."""
        entries = list(self.first)
        for stage in self._stages(entries):
            missing: dict[str, Task] = {}
            for task in stage:
                if task.key not in self.table_of(task).records:
                    missing.setdefault(task.key, task)
            if missing:
                return list(missing.values())
        return []

    def _stages(self, entries: list[Entry]) -> Iterator[list[Task]]:
        yield [Task(entries[0], seed) for seed in (0, 1, 2)] + _repeated(entries[1:])
        few = [entries[i] for i in np.linspace(0, len(entries) - 1, SHORT).round().astype(int)]
        yield [
            Task(entry, seed, fidelity)
            for number, entry in enumerate(few)
            for seed in ((0, 1) if number < SHORT_REPEATED else (0,))
            for fidelity in FIDELITIES
        ]
        for number in range(EDIT_ROUNDS):
            best = [entry.recipe for entry in leaders(entries, self.full)[:PARENTS] if entry.recipe is not None]
            edited = self.drawer.edits(number, [Recipe.from_dict(recipe.to_dict()) for recipe in best])
            yield _repeated(edited)
            entries += edited
            yield [Task(entry, 1) for entry in leaders(entries, self.full)[:LEADERS]]


def _repeated(entries: Sequence[Entry]) -> list[Task]:
    """Every entry with seed 0, every tenth with seed 1 right behind it."""
    return [Task(entry, seed) for n, entry in enumerate(entries) for seed in ((0, 1) if n % REPEATED == 0 else (0,))]


def prepare_cell(work: Path, pool: str, model: str) -> tuple[StudyConfig, Prepared]:
    """Make the pool if it is not there, and compute its signals under the model; both models share it."""
    if not (work / pool / "specification.json").is_file():
        write_pool(specification(pool), work / pool)
    config = study(work, pool, model)
    return config, prepare(config, work / pool)


def cell_table(work: Path, pool: str, model: str) -> SignalTable:
    """The signals of a pool under a model."""
    return prepare_cell(work, pool, model)[1].table


def open_cell(work: Path, pool: str, model: str) -> Cell:
    """The cell with its signals and its tables so far."""
    config, prepared = prepare_cell(work, pool, model)
    folder = work / pool / model
    least = SearchConfig().minimum_rows(prepared.table.n)
    drawer = Drawer(prepared.table, COUNTS, SEED, least)
    if shipped(pool, model).is_file() and not (folder / "evaluations.jsonl").exists():
        unpack_cell(shipped(pool, model), folder)
    full, short = (Table(folder / f"{name}.jsonl") for name in ("evaluations", "short"))
    return Cell(pool, model, config, prepared.pool.path, folder, drawer, full, short)


@dataclass
class Builder:
    """Runs trainings of cells, a few at a time.

    Args:
        workers: trainings side by side.
        until: ``time.monotonic()`` after which none is begun.
    """

    executor: ProcessPoolExecutor
    workers: int
    until: float
    failed: int = 0

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.until

    def run(self, cell: Cell, tasks: Sequence[Task]) -> int:
        """Train what is listed; how many ended with a line in the table."""
        waiting, running, done = list(tasks), dict[Future[dict[str, Any]], Task](), 0
        while running or (waiting and not self.over):
            while waiting and len(running) < self.workers and not self.over:
                task = waiting.pop(0)
                job = job_of(task, cell.config, cell.pool_dir, cell.folder)
                running[self.executor.submit(evaluate_both, job)] = task
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task, outcome = running.pop(future), future.result()
                if outcome.get("kind") == "infrastructure":
                    self.failed += 1
                    print(
                        f"{cell.pool}/{cell.model} {task.key}: {outcome['failure']}; left for the next run", flush=True
                    )
                    continue
                table = cell.table_of(task)
                table.add(task, cell.drawer.table.n, outcome)
                done += 1
                said = f"{len(cell.full.records)}+{len(cell.short.records)} {task.entry.kind} {table.dev(task):.4f}"
                print(f"{cell.pool}/{cell.model} {said} {outcome.get('seconds')} s", flush=True)
        return done


@dataclass(frozen=True)
class Turn:
    """A cell that waits: how to open it (signals of large pools take minutes), and how many trainings it has."""

    open: Callable[[], Cell]
    trained: int = 0


def build(turns: Sequence[Turn], builder: Builder) -> list[Cell]:
    """Blocks of every cell in turn, the least trained first, until all plans are done or the time is over; the cells
    that had a turn."""
    trained, cells = {number: turn.trained for number, turn in enumerate(turns)}, dict[int, Cell]()
    while trained and not builder.over:
        number = min(trained, key=lambda number: (trained[number] // BLOCK, number))
        if number not in cells:
            cells[number] = turns[number].open()
        tasks = cells[number].pending()[: BLOCK - trained[number] % BLOCK]
        done = builder.run(cells[number], tasks)
        trained[number] += done
        if not tasks or (done < len(tasks) and not builder.over):
            del trained[number]  # finished, or what is left fails for a reason outside of it
    return list(cells.values())


def trained_in(folder: Path) -> int:
    """Trainings of a cell so far."""
    files = [folder / name for name in ("evaluations.jsonl", "short.jsonl")]
    return sum(path.read_bytes().count(b"\n") for path in files if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--pool", choices=NAMES, help="only this one")
    parser.add_argument("--model", choices=tuple(MODELS), help="only this one")
    parser.add_argument("--workers", type=int, default=1, help="trainings side by side")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no training after so many")
    options = parser.parse_args()
    until = time.monotonic() + options.seconds
    options.work.mkdir(parents=True, exist_ok=True)
    with (options.work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            parser.error(f"another build is at work in {options.work}")
        turns = [
            Turn(partial(open_cell, options.work, pool, model), trained_in(options.work / pool / model))
            for pool in ([options.pool] if options.pool else NAMES)
            for model in ([options.model] if options.model else MODELS)
        ]
        with processes(options.workers) as executor:
            cells = build(turns, Builder(executor, options.workers, until))
        for cell in cells:
            print(f"{cell.pool}/{cell.model}: {len(cell.full.records)} full, {len(cell.short.records)} short")


if __name__ == "__main__":
    main()
