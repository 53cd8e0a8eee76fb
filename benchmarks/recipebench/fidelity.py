"""What short trainings say about full ones: real runs of subsets of the table with a ninth and a third of the steps.

    python -m benchmarks.recipebench.fidelity --work runs/recipebench              # run what is missing, then report
    python -m benchmarks.recipebench.fidelity --work runs/recipebench --report     # report what there is, as JSON

Subsets are drawn from the table with a fixed seed; every one is trained at every fidelity with seed 0, every fourth also
with seed 1. Runs are lines of ``WORK/fidelity.jsonl``, written as they end; ``--pack`` writes the repository's copy
(``data/fidelity.jsonl.gz``), which also serves where WORK has none.

The report, for each fidelity, over subsets: rank correlation of its dev score with the full training's, the seconds of a
run, and for each task what RecipeBench's model of short trainings uses (:class:`Short`, log losses).
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from autoselection.compare.session import FIDELITIES
from autoselection.evaluation import EvaluationJob, evaluate
from autoselection.study.prepare import prepare
from benchmarks.demo_study import demo_study
from benchmarks.lines import Lines
from benchmarks.recipebench.build import end_with
from benchmarks.recipebench.interpolate import Evaluations, default_path, read_evaluations

SUBSETS, SEED, REPEATED = 48, 0, 4
SHIPPED = Path(__file__).with_name("data") / "fidelity.jsonl.gz"


def key_of(subset: str, seed: int, fidelity: float) -> str:
    return f"{subset}/{seed}/{fidelity:.4f}"


def read_runs(path: Path) -> dict[str, dict[str, Any]]:
    """Finished short runs by key; a torn last line is left out, and so is everything else that a table holds."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = [json.loads(line) for line in data.rpartition(b"\n")[0].splitlines()]
    return {line["key"]: line for line in lines if "dev" in line and line["key"].count("/") == 2}


def drawn(evaluations: Evaluations) -> list[int]:
    """Places in the table of the subsets that are trained shortly: one run of each, seed 0."""
    places = [place for place, seed in enumerate(evaluations.seeds) if seed == 0]
    places.sort(key=lambda place: evaluations.keys[place])
    chosen = np.random.default_rng(SEED).choice(len(places), min(SUBSETS, len(places)), replace=False)
    return [places[i] for i in chosen]


def score(job: EvaluationJob) -> dict[str, Any]:
    """Loss of every task on dev (gold NLL, nats a token), and the seconds of training and scoring."""
    result = evaluate(job)
    if result.failure:
        return {"failure": result.failure}
    seconds = {part: round(result.seconds[part], 2) for part in ("train", "eval", "total")}
    return {"dev": {task: -score for task, score in result.scores.items()}, "seconds": seconds}


def run(work: Path, workers: int) -> None:
    """Train what is missing."""
    config = demo_study()
    prepared = prepare(config, work)
    evaluations = read_evaluations(default_path(work), prepared.table.n)
    lines = Lines(work / "fidelity.jsonl")
    trained = {key for key, line in lines.known.items() if "dev" in line}  # what failed is tried again
    wanted = [
        (place, seed, fidelity)
        for number, place in enumerate(drawn(evaluations))
        for seed in ((0, 1) if number % REPEATED == 0 else (0,))
        for fidelity in FIDELITIES
        if key_of(evaluations.keys[place], seed, fidelity) not in trained
    ]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=end_with, initargs=(os.getpid(),)) as pool:
        futures = {}
        for place, seed, fidelity in wanted:
            key = key_of(evaluations.keys[place], seed, fidelity)
            settings = config.evaluation.model_copy(update={"sft": config.evaluation.sft.shortened(fidelity)})
            job = EvaluationJob(
                model=config.model.path,
                pool_dir=prepared.pool.path,
                rows=evaluations.subsets[place],
                tasks=config.tasks,
                split="dev",
                seed=seed,
                config=settings,
                work_dir=work / "evaluations" / key.replace("/", "-"),
            )
            futures[pool.submit(score, job)] = key
        for done, future in enumerate(as_completed(futures), 1):
            line = lines.add({"key": futures[future], **future.result()})
            print(f"{done}/{len(wanted)} {line['key']} {line.get('seconds')} s", flush=True)


@dataclass(frozen=True)
class Short:
    """What a short training gives, for each task: ``log loss = offset + slope · log loss of the full training``, with a
    deviation of spread ``lasting`` that stays when the seed changes, and noise of spread ``noise`` that does not."""

    slope: NDArray[np.float64]
    offset: NDArray[np.float64]
    lasting: NDArray[np.float64]
    noise: NDArray[np.float64]

    @classmethod
    def of(cls, full: NDArray[np.float64], short: NDArray[np.float64], differences: NDArray[np.float64]) -> Short:
        """Fitted to log losses, (subsets, tasks), and differences between two seeds, (repeated, tasks)."""
        lines = np.array([np.polyfit(full[:, task], short[:, task], 1) for task in range(full.shape[1])])
        residual = short - (lines[:, 0] * full + lines[:, 1])
        noise = (differences**2).mean(axis=0) / 2
        lasting = np.sqrt(np.maximum(0.0, residual.var(axis=0) - noise))
        return cls(lines[:, 0], lines[:, 1], lasting, np.sqrt(noise))


def measured(evaluations: Evaluations, path: Path, fidelity: float) -> tuple[NDArray[np.float64], ...]:
    """Log losses on dev of the subsets that were trained shortly: of their full training and of the short one
    (subsets, tasks), the differences between seeds (repeated, tasks), and the seconds of the short ones."""
    columns = [place for place, name in enumerate(evaluations.outputs) if name.startswith("dev/")]
    tasks = [evaluations.outputs[place].split("/")[1] for place in columns]
    runs = read_runs(path)
    full, short, differences, seconds = [], [], [], []
    for key, line in sorted(runs.items()):
        subset, seed, level = key.split("/")
        if seed != "0" or level != f"{fidelity:.4f}":
            continue
        places = [place for place, known in enumerate(evaluations.keys) if known == subset]
        places = [place for place in places if evaluations.seeds[place] == 0]
        if not places:
            continue
        full.append(np.log(evaluations.losses[places[0], columns]))
        short.append(np.log([line["dev"][task] for task in tasks]))
        spent = line["seconds"]
        seconds.append(spent["total"] if isinstance(spent, dict) else spent)
        again = runs.get(key_of(subset, 1, fidelity))
        if again is not None:
            differences.append(np.log([again["dev"][task] for task in tasks]) - short[-1])
    return np.array(full), np.array(short), np.array(differences), np.array(seconds)


def report(work: Path) -> list[dict[str, Any]]:
    """One line a fidelity; see the module's docstring."""
    from benchmarks.recipebench.interpolate import demo_table

    evaluations = read_evaluations(default_path(work), demo_table(work).n)
    path = work / "fidelity.jsonl"
    found = []
    for fidelity in FIDELITIES:
        full, short, differences, seconds = measured(evaluations, path if path.is_file() else SHIPPED, fidelity)
        scores = [-np.exp(values).mean(axis=1) for values in (full, short)]
        better = scores[0] >= np.median(scores[0])
        model = Short.of(full, short, differences)
        found.append(
            {
                "fidelity": round(fidelity, 4),
                "subsets": len(full),
                "repeated": len(differences),
                "spearman": round(float(spearmanr(*scores).statistic), 3),
                "spearman_upper_half": round(float(spearmanr(scores[0][better], scores[1][better]).statistic), 3),
                "seconds": round(float(np.median(seconds)), 1),
                **{name: np.round(values, 3).tolist() for name, values in vars(model).items()},
            }
        )
    return found


def pack(work: Path) -> None:
    """Write the repository's copy: losses to six digits."""
    lines = []
    for key, line in sorted(read_runs(work / "fidelity.jsonl").items()):
        losses = {task: round(loss, 6) for task, loss in sorted(line["dev"].items())}
        lines.append(json.dumps({"key": key, "dev": losses, "seconds": line["seconds"]}, separators=(",", ":")) + "\n")
    SHIPPED.write_bytes(gzip.compress("".join(lines).encode(), 9, mtime=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--report", action="store_true", help="train nothing")
    parser.add_argument("--pack", action="store_true", help="write the repository's copy")
    options = parser.parse_args()
    if not options.report:
        run(options.work, options.workers)
    if options.pack:
        pack(options.work)
    for line in report(options.work):
        print(json.dumps(line))


if __name__ == "__main__":
    main()
