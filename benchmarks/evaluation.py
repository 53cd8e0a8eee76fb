"""What an evaluation costs besides the model's own steps: seconds, and the share of the whole.

    python -m benchmarks.evaluation [--config STUDY.yaml …] [--rows 200] [--repeats 3] --json

One line a configuration (default: the embedded demo, and examples/smollm2 where its model has been prepared). An
evaluation trains on a seeded draw of rows and scores every task on dev, as in a search. ``model_seconds`` is the time
inside forward and backward passes, gradient clipping and the optimiser's step in training, and inside forward passes and
generation in scoring; everything else is ``overhead_seconds``: loading the model, encoding rows and items, building
batches and the trainer, the harness's bookkeeping, reading and writing. The worker process is warm, as it is from its
second evaluation on; what the first one pays once (imports) is ``worker_start_seconds``, measured in a new process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

SMOLLM2 = Path(__file__).resolve().parents[1] / "examples" / "smollm2" / "config.yaml"

#: What a worker imports before its first evaluation can do anything.
_IMPORTS = "from autoselection.evaluation import evaluate, lm_eval_classes; from autoselection.evaluation.trainers import subset_trainer; import peft"


class Stopwatch:
    """Adds up the time inside the functions it is put around; nested ones count once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth = 0

    @contextmanager
    def around(self, owner: Any, name: str) -> Iterator[None]:
        """Time ``owner.name`` while the context lasts."""
        plain = getattr(owner, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            self._depth += 1
            started = time.perf_counter()
            try:
                return plain(*arguments, **named)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.perf_counter() - started

        setattr(owner, name, timed)
        try:
            yield
        finally:
            setattr(owner, name, plain)


def model_steps() -> list[tuple[Any, str]]:
    """The functions whose time is the model's own."""
    import accelerate
    import torch
    from transformers import GenerationMixin

    from autoselection.evaluation.engines.lm_eval_model import ConversationLM
    from autoselection.evaluation.trainers.subset_trainer import SubsetTrainer

    return [
        (SubsetTrainer, "training_step"),
        (accelerate.Accelerator, "clip_grad_norm_"),
        (torch.optim.AdamW, "step"),
        (ConversationLM, "_model_call"),
        (GenerationMixin, "generate"),
    ]


def measure(job: Any, evaluate: Callable[[Any], Any]) -> tuple[float, float, Any]:
    """Whole seconds, model seconds and the result of one evaluation."""
    watch = Stopwatch()
    with ExitStack() as stack:
        for owner, name in model_steps():
            stack.enter_context(watch.around(owner, name))
        started = time.perf_counter()
        result = evaluate(job)
        whole = time.perf_counter() - started
    if result.failure:
        sys.exit(f"The evaluation failed: {result.failure}")
    return whole, watch.seconds, result


def worker_start() -> float:
    """Seconds a new process needs to import what an evaluation uses."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", _IMPORTS], check=True)
    return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line a configuration."""
    options = _options(arguments)
    from autoselection.config import load_config
    from autoselection.evaluation import EvaluationJob, evaluate
    from autoselection.study.prepare import scratch_pool
    from benchmarks.demo_study import without_guards

    start = worker_start()
    for number, path in enumerate(options.config):
        config = without_guards(load_config(path, options.set))
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            pool = scratch_pool(config, folder)
            draw = np.random.default_rng(options.seed)
            job = EvaluationJob(
                model=config.model.path,
                pool_dir=pool.path,
                rows=np.sort(draw.choice(len(pool), min(options.rows, len(pool)), replace=False)),
                tasks=config.tasks,
                split="dev",
                seed=0,
                config=config.evaluation,
                work_dir=folder / "work",
                chat_template=config.model.chat_options(),
                trust_remote_code=config.model.trust_remote_code,
            )
            if number == 0:
                evaluate(job)  # the worker is warm from here on
            runs = []
            for repeat in range(options.repeats):
                # Other rows every time: what an earlier evaluation has encoded must not help.
                rows = np.sort(draw.choice(len(pool), len(job.rows), replace=False))
                runs.append(measure(replace(job, rows=rows, seed=repeat), evaluate))
        _print(config, path, runs, start, options.json)


def _print(config: Any, path: Path, runs: list[tuple[float, float, Any]], start: float, as_json: bool) -> None:
    from autoselection.language.models import load_model

    whole, model = (statistics.median(run[index] for run in runs) for index in (0, 1))
    overhead = statistics.median(run[0] - run[1] for run in runs)
    result = runs[-1][2]
    parameters = sum(p.numel() for p in load_model(config.model.path, "cpu", "float32").parameters())
    line = {
        "config": path.name if path.parent.name != "smollm2" else "smollm2",
        "parameters": parameters,
        "train_tokens": result.train_tokens,
        "items": {name: metrics["items"] for name, metrics in result.metrics.items()},
        "seconds": round(whole, 3),
        "model_seconds": round(model, 3),
        "overhead_seconds": round(overhead, 3),
        "overhead_share": round(statistics.median(1 - run[1] / run[0] for run in runs), 4),
        "parts": {name: round(seconds, 3) for name, seconds in result.seconds.items()},
        "worker_start_seconds": round(start, 2),
        "runs": [[round(run[0], 3), round(run[1], 3)] for run in runs],
        **{key: result.settings[key] for key in ("device", "dtype")},
        "threads": config.evaluation.threads,
        "cpu": platform.processor() or platform.machine(),
        "load": round(os.getloadavg()[0], 2),
    }
    text = f"{line['config']}: {whole:.1f} s, of which {overhead:.2f} s ({line['overhead_share']:.1%}) beside the model"
    print(json.dumps(line) if as_json else text, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    from autoselection.demo import config_path

    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, action="append", help="study configuration; may be given repeatedly")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="draws the rows")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if not options.config:
        prepared = SMOLLM2.parents[2] / "runs" / "smollm2" / "model"
        options.config = [config_path(), *([SMOLLM2] if prepared.is_dir() else [])]
        if not prepared.is_dir():
            print("SmolLM2 is not prepared (examples/smollm2/prepare.py): only the demo is measured.", file=sys.stderr)
    return options


if __name__ == "__main__":
    main()
