"""What the order of rows does to a search whose trainings end after half a pass over the pool. Resumable.

    python -m benchmarks.half_pass --work DIR [--orders positions,keys] [--seeds 8] [--truth 5] [--json]

For each order (see :mod:`benchmarks.row_order`) and seed the search runs on the demo's pool with real trainings, 15
evaluations of so many steps as half a pass takes; its seed is also that of its trainings. The truth of a search's winner is the
mean dev score of trainings with other seeds, the same for all winners: luck is averaged out, and what is left of it is common
to all. Regret is against the best winner of all searches, by that truth. ``found`` minus truth is what the search believed too much.

Every training is a line of ``DIR/runs.jsonl``, every finished search one of ``DIR/searches.jsonl``. A search that was
interrupted is asked again and finds its trainings there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.config import StudyConfig
from autoselection.evaluation import EvaluationJob, evaluate
from autoselection.recipes import subset_hash
from autoselection.search import SearchController
from autoselection.study.prepare import Prepared, prepare
from benchmarks.demo_study import demo_study
from benchmarks.lines import Lines
from benchmarks.row_order import ordered

FIRST_TRUTH = 1000
"""Training seeds of the truth begin here; no search has them."""


class Trainings:
    """Real trainings of half a pass over the pool."""

    def __init__(self, config: StudyConfig, prepared: Prepared, work: Path) -> None:
        self.config, self.prepared, self.work = config, prepared, work
        self.lines = Lines(work / "runs.jsonl")
        self.steps = round(len(prepared.pool) / config.evaluation.sft.batch_size / 2)

    def score(self, order: str, seed: int, rows: NDArray[np.int64]) -> float:
        """Mean dev score of a training on these rows."""
        key = f"{order}/{seed}/{subset_hash(rows)}"
        if key not in self.lines.known:
            budget = {"epochs": None, "max_tokens": None, "max_steps": self.steps}
            sft = self.config.evaluation.sft.model_copy(update=budget)
            job = EvaluationJob(
                model=self.config.model.path,
                chat_template=self.config.model.chat_options(),
                pool_dir=self.prepared.pool.path,
                rows=rows,
                tasks=self.config.tasks,
                split="dev",
                seed=seed,
                config=self.config.evaluation.model_copy(update={"sft": sft}),
                work_dir=self.work / "work",
            )
            with ordered(order):
                result = evaluate(job)
            if result.failure:
                raise SystemExit(f"{key}: {result.failure}")
            seconds = round(result.seconds["total"], 1)
            self.lines.add({"key": key, "score": result.score, **result.scores, "rows": len(rows), "seconds": seconds})
        return float(self.lines.known[key]["score"])


def search(order: str, seed: int, trainings: Trainings, finished: Lines) -> dict[str, Any]:
    """What a search came to: its winner's rows and score, and all scores."""
    key = f"{order}/{seed}"
    if key in finished.known:
        return finished.known[key]
    settings = trainings.config.search.model_copy(update={"seed": seed, "batch": 1})
    controller = SearchController(trainings.prepared.table, settings)
    best = controller.run(lambda candidate: trainings.score(order, seed, candidate.rows))
    assert best is not None
    print(f"{key}: {best.score:.4f} by {best.candidate.recipe.describe()}", flush=True)
    scores = [trial.score for trial in controller.history]
    rows = best.candidate.rows.tolist()
    return finished.add({"key": key, "order": order, "seed": seed, "found": best.score, "scores": scores, "rows": rows})


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of values with Student's 95% interval."""
    from scipy.stats import t

    reach = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    mean = float(np.mean(values))
    return mean, mean - float(reach), mean + float(reach)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--orders", default="positions,keys")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--truth", type=int, default=5, help="trainings of each winner with fresh seeds")
    parser.add_argument("--json", action="store_true", help="print a line an order")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    config = demo_study()
    trainings = Trainings(config, prepare(config, options.work), options.work)
    finished = Lines(options.work / "searches.jsonl")
    orders = options.orders.split(",")
    found = {
        (order, seed): search(order, seed, trainings, finished) for seed in range(options.seeds) for order in orders
    }
    truth: dict[tuple[str, int], float] = {}
    for place, outcome in found.items():
        rows = np.array(outcome["rows"], np.int64)
        fresh = range(FIRST_TRUTH, FIRST_TRUTH + options.truth)
        truth[place] = float(np.mean([trainings.score("keys", seed, rows) for seed in fresh]))
    best = max(truth.values())
    for order in orders:
        own = [truth[order, seed] for seed in range(options.seeds)]
        believed = [found[order, seed]["found"] - truth[order, seed] for seed in range(options.seeds)]
        against = [truth[order, seed] - truth[orders[0], seed] for seed in range(options.seeds)]
        shown = {
            "truth": interval(own),
            "regret": interval([best - value for value in own]),
            "found minus truth": interval(believed),
            f"better than {orders[0]} by (paired)": interval(against),
        }
        rounded = {name: [round(value, 4) for value in values] for name, values in shown.items()}
        if options.json:
            line = {"order": order, "steps": trainings.steps, "searches": options.seeds, **rounded}
            print(json.dumps({**line, "truths": [round(value, 5) for value in own]}))
        else:
            said = (f"{name} {v[0]:.4f} ({v[1]:.4f} to {v[2]:.4f})" for name, v in rounded.items())
            print(f"{order}, {trainings.steps} steps: " + "; ".join(said))


if __name__ == "__main__":
    main()
