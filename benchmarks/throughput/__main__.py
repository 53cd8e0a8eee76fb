"""Tokens a second of training, scoring and signals, beside a plain PyTorch loop and TRL as shipped.

    python -m benchmarks.throughput [--model FOLDER --pool FILE] [--tokens 4000] [--dtype bfloat16] --json
    python -m benchmarks.throughput --shape qwen2.5-1.5b --device cuda --batch-size 144 --seconds 120 --json

Methods alternate on the same tokens in the same process, after one short run of each. Rates are tokens a second of
processor time (``tokens_per_s``; of wall time on an accelerator, waited for) and of wall time (``wall_tokens_per_s``).
With ``--seconds`` each method in turn gets an equal part of the time and as many tokens as fit; its line is printed at once,
and ``step_tokens_per_s`` leaves out what a training takes before its first step.

- ``training``: ``autoselection`` trains as an evaluation does. ``plain loop`` is what one writes by hand: the same batches
  padded to their longest row, autocast, the loss on all logits, AdamW (fused), clipping. ``packed loop`` is the same loop over
  our packed passes, with logits at response tokens: it needs neither TRL nor pydantic. ``TRL`` is its ``SFTTrainer`` with its
  own packing into ``max_length`` and its own loss, as many packed sequences a step as hold a batch's tokens. ``difference``
  is the largest relative difference of a step's loss from the plain loop's (with ``--seconds`` ``difference_from_…``, of the first step); TRL's
  steps hold other rows.
- ``scoring``: log-probabilities of the gold answers and of four options of each question, beside batches of eight
  padded sequences.
- ``signals``: IFD, varentropy and rsr, beside two passes over batches of eight padded rows in pool order, with logits at all
  positions (:mod:`benchmarks.plain_signals`); ``encoding_s`` is the tokenizer's part, which is in both. ``difference`` is IFD's.
- ``dispatch``: operators, kernels, copies and host synchronisations of the passes of one training step (forward and backward),
  counted by torch.profiler; making the trainer and the optimiser's step are left out.

``--shape`` takes random weights and, without ``--pool``, drawn rows (:mod:`benchmarks.stand_ins`). On an accelerator ``mfu`` is the
share of ``--peak`` (TFLOP/s; known for an A100, H100, H200): 6 operations a token and weight, those of the head at response
tokens only, attention's products not counted. A method that fails has a line that says why, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.stand_ins import shape_option
from benchmarks.throughput.measurements import PARTS, measurements
from benchmarks.throughput.names import FROZEN, OURS, PLAIN, TRL
from benchmarks.throughput.operations import known_peak, with_share
from benchmarks.throughput.prepare import DRAWN, prepare
from benchmarks.throughput.trainers import TRAINERS


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line a part and method; the exit code is 1 where nothing could be measured."""
    options = _options(arguments)
    options.started = time.monotonic()
    import torch

    from autoselection.system import keep_freed_memory

    torch.set_num_threads(options.threads)
    keep_freed_memory()
    measured = 0
    with tempfile.TemporaryDirectory() as folder, _quiet():
        work = prepare(options, Path(folder))
        if options.seconds is None and {"training", "dispatch"} & set(options.parts):
            for name in options.methods:
                TRAINERS[name](replace(work, rows=work.rows[:2]), work.model())
        peak = options.peak
        if work.device.startswith("cuda"):
            peak = peak or known_peak(torch.cuda.get_device_name())
        for found in measurements(work, options):
            measured += "failure" not in found
            line = with_share(found, peak)
            said = ", ".join(
                f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in line.items()
            )
            print(json.dumps(line) if options.json else said, flush=True)
    return 0 if measured else 1


def _quiet() -> AbstractContextManager[Any]:
    """Quiet libraries; without pydantic, which the evaluations need, the libraries of the loops by hand."""
    try:
        from autoselection.evaluation.runtime import quiet_libraries
    except ModuleNotFoundError:
        return nullcontext()
    return quiet_libraries()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    from autoselection import demo

    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=demo.model_dir(), help="model folder (default: the embedded one)")
    parser.add_argument(
        "--shape",
        type=shape_option,
        help="random weights: smollm2-135m, qwen2.5-1.5b, or numbers (benchmarks.stand_ins)",
    )
    parser.add_argument("--pool", type=Path, help="pool file (default: the demo's; with --shape or --drawn drawn rows)")
    parser.add_argument("--drawn", type=int, help=f"drawn rows, of about 120 tokens each (default: {DRAWN:,})")
    parser.add_argument("--chat-template", help="a named template or file (default: the model's own)")
    parser.add_argument("--tokens", type=int, default=4000, help="training tokens of a run")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--rows", type=int, default=100, help="rows whose signals are computed")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, help="time for everything; sizes follow (default: they are as given)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "bfloat16"))
    parser.add_argument("--peak", type=float, help="TFLOP/s of the device in this arithmetic")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--methods", nargs="+", default=[OURS, FROZEN, PLAIN, TRL], choices=list(TRAINERS))
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
