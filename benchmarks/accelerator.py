"""Everything that has to be measured on a GPU, in at most ten minutes: one command, one JSON line a finding.

    python -m benchmarks.accelerator --out DIR [--model FOLDER --pool FILE --tasks DIR] [--seconds 600]

1. ``correct``: whether packed passes by FlashAttention give what the model alone gives (in float32 and bfloat16), and the
   demo's training and scoring on the GPU and on the CPU.
2. ``throughput``: :mod:`benchmarks.throughput` for SmolLM2-135M's shape (or ``--model``), beside a plain loop and TRL, and for
   Qwen2.5-1.5B's shape with its share of the peak.
3. ``search``: a search of 15 evaluations of a million tokens over 16,000 rows. ``--model``, ``--pool`` and ``--tasks`` make it a
   real one (folders as ``examples/smollm2/prepare.py`` writes them); without, weights are random and rows are drawn, which costs
   the same.

Each step is a process of its own with a share of the time; one that is cut off says so, and what it had printed stays.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.throughput import OURS, PLAIN

SMALL, LARGE = "30,576,49152", "28,1536,151936"
ROWS, EVALUATIONS, TOKENS = 16_000, 15, 1_000_000
SHARES = {"correct": 0.06, "small": 0.12, "large": 0.25, "search": 0.57}

CORRECT = """
import json, sys, torch
from autoselection.language.models import load_model
from autoselection.language.packed import packable
found = {"part": "correct", "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"}
model = load_model(sys.argv[1], "auto", "float32")
found["packed_float32"] = packable(model)
found["packed_autocast"] = packable(model, torch.bfloat16)
found["packed_bfloat16"] = packable(model.to(torch.bfloat16))
print(json.dumps(found), flush=True)
"""


def step(name: str, command: Sequence[str], seconds: float, out: Path) -> None:
    """Run a step; its JSON lines are printed and kept."""
    started = time.monotonic()
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=seconds)
        text, ended = done.stdout, f"exit code {done.returncode}"
    except subprocess.TimeoutExpired as error:
        text, ended = (error.stdout or b"").decode(), f"cut off after {seconds:.0f} s"
    lines = [line for line in text.splitlines() if line.startswith("{")]
    lines.append(json.dumps({"step": name, "seconds": round(time.monotonic() - started, 1), "ended": ended}))
    with (out / "accelerator.jsonl").open("a", encoding="utf-8") as file:
        for line in lines:
            print(line, flush=True)
            file.write(line + "\n")


def drawn_pool(path: Path, seed: int = 0) -> None:
    """Rows of random words, about a hundred tokens of the demo's tokenizer each."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz "))
    with path.open("w", encoding="utf-8") as file:
        for number in range(ROWS):
            texts = ["".join(rng.choice(letters, size=int(size))) for size in rng.integers(10, 90, size=2)]
            turns = [{"role": role, "content": text} for role, text in zip(("user", "assistant"), texts, strict=True)]
            file.write(json.dumps({"messages": turns, "source": f"source {number % 20}"}) + "\n")


def study(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The configuration of the search."""
    from autoselection.demo import TASKS, task_file
    from benchmarks.lm_signals import random_weights

    model, pool = options.model, options.pool
    if model is None:
        model = folder / "random"
        random_weights(model, tuple(map(int, SMALL.split(","))))
    if pool is None:
        pool = folder / "drawn.jsonl"
        drawn_pool(pool)
    if options.tasks is None:
        files = {name: {split: str(task_file(name, split)) for split in ("target", "dev", "test")} for name in TASKS}
    else:
        names = sorted(path.name for path in options.tasks.iterdir() if path.is_dir())
        files = {
            name: {split: str(options.tasks / name / f"{split}.jsonl") for split in ("target", "dev", "test")}
            for name in names
        }
    return {
        "name": "accelerator",
        "pool": {"files": [str(pool)]},
        "model": {"path": str(model)},
        "tasks": [{"name": name, **paths, "dev_limit": 100, "test_limit": 100} for name, paths in files.items()],
        "signals": {"dtype": "bfloat16", "max_length": 512},
        "evaluation": {
            "dtype": "bfloat16",
            "sft": {"max_tokens": TOKENS, "batch_size": 32, "learning_rate": 1e-4, "max_length": 512},
        },
        "search": {"evaluations": EVALUATIONS, "min_rows": 600},
        "executor": {"workers": options.workers},
        "final": {"seeds": [0]},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    from autoselection.demo import model_dir

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="model folder (default: random weights in SmolLM2-135M's shape)")
    parser.add_argument("--pool", type=Path, help="pool file (default: drawn rows)")
    parser.add_argument(
        "--tasks", type=Path, help="folder of tasks, each with target, dev and test (default: the demo's)"
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--workers", type=int, default=3, help="evaluations side by side on the GPU")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--tokens", type=int, default=200_000, help="training tokens of a throughput run")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    seconds = {name: share * options.seconds for name, share in SHARES.items()}
    python = sys.executable
    step("correct", [python, "-c", CORRECT, str(options.model or model_dir())], seconds["correct"], options.out)
    rates = [python, "-m", "benchmarks.throughput", "--device", options.device, "--json", "--repeats", "2"]
    small = ["--model", str(options.model)] if options.model else ["--shape", SMALL]
    pool = ["--pool", str(options.pool)] if options.pool else []
    common = [*pool, "--tokens", str(options.tokens), "--batch-size", "32"]
    step("small", [*rates, *small, *common], seconds["small"], options.out)
    large = [*rates, "--shape", LARGE, *common, "--repeats", "1", "--parts", "training", "--methods", OURS, PLAIN]
    step("large", large, seconds["large"], options.out)
    config = options.out / "study.json"
    config.write_text(json.dumps(study(options, options.out)), "utf-8")
    search = [python, "-m", "autoselection", "search", str(config), "--out", str(options.out / "study"), "--json"]
    step("search", search, seconds["search"], options.out)


if __name__ == "__main__":
    main()
