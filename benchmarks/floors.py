"""What floors keep of skills that no task asks for, and what they cost: searches of the demo with and without.

    python -m benchmarks.floors --work DIR [--seeds 0,1,2,3,4] [--arms floors,free] [--floor "base - 0.08"] [--also source_mix] --json

The demo's guards, reversing and shouting, are skills that its model has before training and that training on selected rows takes
away. Here they are scored by right answers (exact match). Arm ``floors`` gives both the floor; ``free`` searches as if they were not
there. A seed is one of the search and of all its trainings. Winners are scored on test with that seed; test items are others than
those that floors look at. One JSON line a search, then one an arm with means over seeds and 95% intervals (Student's t), and the
difference between the arms, seed by seed. Searches that are finished in DIR are read from there; a stopped one goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t

from autoselection.config import StudyConfig, load_config
from autoselection.demo import config_path
from autoselection.evaluation import EvaluationResult
from autoselection.study import Study, run_study
from autoselection.study.prepare import prepare

ARMS = ("floors", "free")


def study_config(arm: str, seed: int, pool: Path, floor: str, also: Sequence[str]) -> StudyConfig:
    """The demo with right answers for its guards, one process, one seed, and the base model and the winner alone on test."""
    settings = [
        f"pool={json.dumps({'path': str(pool)})}",
        f"search.seed={seed}",
        f"evaluation.seeds=[{seed}]",
        f"final.seeds=[{seed}]",
        f"search.also={json.dumps(list(also))}",
        *("executor.workers=1", "incumbent.recipe=none", "final.full=false", "final.random=false"),
        "final.single_operators=0",
        "export={messages: false, sharegpt: false, hf_dataset: false}",
    ]
    for place, task in enumerate(load_config(config_path()).tasks):
        if task.weight == 0:
            settings.append(f"tasks.{place}.metric=exact_match")
            settings += [f"tasks.{place}.floor={floor}"] if arm == "floors" else []
    return load_config(config_path(), settings)


def told(study: Study, arm: str, seed: int) -> dict[str, Any]:
    """What a finished search found."""
    best = study.best()
    assert best is not None
    rows = {"base": {}, "winner": {}} | {
        "base" if name == "base model" else "winner": results for name, results in study.final_results().items()
    }
    base, winner = (next(iter(rows[name].values())) for name in ("base", "winner"))
    tasks = study.config.tasks
    guards = [task.name for task in tasks if task.weight == 0]
    right = {name: _right(result, guards) for name, result in (("base", base), ("winner", winner))}
    kept = [trial for trial in study.trials if all(trial.tasks.get(task, 0) >= 0.9 for task in guards)]
    return {
        "arm": arm,
        "seed": seed,
        "trial": best.id,
        "recipe": best.recipe.describe(),
        "rows": best.size,
        "dev": best.score,
        "dev_guards": {task: best.tasks[task] for task in guards},
        "trials_at_90": len(kept),
        "test": winner.score,
        "test_base": base.score,
        "right": right["winner"],
        "right_base": right["base"],
        "kept": sum(right["winner"].values()) / sum(right["base"].values()),
    }


def _right(result: EvaluationResult, tasks: Sequence[str]) -> dict[str, float]:
    return {task: float(result.metrics[task]["exact_match"]) for task in tasks}


def interval(values: Sequence[float]) -> dict[str, Any]:
    """Mean of some searches with its 95% interval; None for one."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"mean": mean, "ci95": None, "seeds": len(values)}
    reach = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return {"mean": mean, "ci95": [mean - reach, mean + reach], "seeds": len(values)}


def summary(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means of each arm, and what floors change where a seed has both."""
    found = []
    by = {arm: {line["seed"]: line for line in lines if line["arm"] == arm} for arm in ARMS}
    for arm, own in by.items():
        if own:
            values = {key: interval([line[key] for line in own.values()]) for key in ("test", "kept", "dev")}
            found.append({"arm": arm, **values})
    both = sorted(set(by["floors"]) & set(by["free"]))
    if both:
        changes = {
            key: interval([by["floors"][seed][key] - by["free"][seed][key] for seed in both])
            for key in ("test", "kept", "dev")
        }
        found.append({"arm": "floors - free", **changes})
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the pool and the studies")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--floor", default="base - 0.08")
    parser.add_argument(
        "--also", default="", help="operators to search over besides the default ones, such as source_mix"
    )
    parser.add_argument("--read", action="store_true", help="tell of finished searches alone")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    also = [name for name in options.also.split(",") if name]
    pool = options.work / "prepared" / "pool"
    if not options.read:
        prepare(load_config(config_path()), options.work / "prepared")
    lines = []
    for arm in options.arms.split(","):
        for seed in map(int, options.seeds.split(",")):
            out = options.work / "-".join([arm, *also, str(seed)])
            if options.read and not (out.is_dir() and Study(out).finished):
                continue
            study = Study(out) if options.read else run_study(study_config(arm, seed, pool, options.floor, also), out)
            lines.append(told(study, arm, seed))
            _say(lines[-1], options.json)
    for line in summary(lines):
        _say(line, options.json)


def _say(line: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(line), flush=True)
    elif "seed" in line:
        print(
            f"{line['arm']} {line['seed']}: test {line['test']:.4f}, {line['kept']:.0%} of the base model's right answers kept, "
            f"{line['rows']} rows: {line['recipe']}",
            flush=True,
        )
    else:
        print(
            f"{line['arm']}: " + ", ".join(f"{key} {_shown(line[key])}" for key in ("test", "kept", "dev")), flush=True
        )


def _shown(found: Mapping[str, Any]) -> str:
    reach = "" if found["ci95"] is None else " [{:.4f}, {:.4f}]".format(*found["ci95"])
    return f"{found['mean']:.4f}{reach} ({found['seeds']} seeds)"


if __name__ == "__main__":
    main()
