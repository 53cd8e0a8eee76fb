"""Does an accelerator give what the CPU gives, and how fast: the demo's signals and evaluations on both.

    python -m benchmarks.device --json

One JSON line a run. ``signals``: losses, IFD, varentropy and SAE features of the demo's pool; ``rank_correlation`` and
``largest_difference`` of IFD and varentropy are with the CPU's float32. ``evaluation``: the demo's training on a seeded
third of the pool and its scoring on dev; ``difference`` is the score minus the CPU's float32 with the same method. The
model is tiny, so the seconds are those of launching work, not of arithmetic. A setting that cannot be evaluated says why.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from autoselection.config import StudyConfig
from autoselection.errors import AutoSelectionError
from autoselection.evaluation import EvaluationJob, evaluate
from autoselection.language.models import pick_device
from autoselection.pool import Pool, ingest
from autoselection.signals import load_table, score_pool
from benchmarks.demo_study import demo_study

COLUMNS = ("ifd", "varentropy")
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "full": {},
    "lora": {"method": "lora"},
    "gradient checkpointing": {"gradient_checkpointing": True},
}


def signals(study: StudyConfig, device: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Language-model signals in each arithmetic, against the CPU's."""
    reference: dict[str, np.ndarray] = {}
    for number, (place, dtype) in enumerate((("cpu", "float32"), (device, "float32"), (device, "bfloat16"))):
        out = folder / str(number)
        ingest(study.pool.files, out)
        config = study.signals.model_copy(update={"device": place, "dtype": dtype})
        started = time.perf_counter()
        score_pool(
            Pool.open(out),
            config,
            model=study.model.path,
            sae=study.sae,
            signals=("tokens", "ifd", "varentropy", "sae"),
        )
        line: dict[str, Any] = {
            "part": "signals",
            "device": place,
            "dtype": dtype,
            "seconds": time.perf_counter() - started,
        }
        table = load_table(Pool.open(out))
        for name in COLUMNS:
            values = table.column(name).astype(np.float64)
            exact = reference.setdefault(name, values)
            known = np.isfinite(values) & np.isfinite(exact)
            line[f"{name}_rank_correlation"] = float(spearmanr(values[known], exact[known]).statistic)
            line[f"{name}_largest_difference"] = float(np.abs(values - exact)[known].max())
        yield line


def evaluations(study: StudyConfig, device: str, folder: Path) -> Iterator[dict[str, Any]]:
    """One subset evaluated in every setting."""
    ingest(study.pool.files, folder / "pool")
    n = len(Pool.open(folder / "pool"))
    rows = np.sort(np.random.default_rng(0).choice(n, n // 3, replace=False))
    job = EvaluationJob(
        study.model.path, folder / "pool", rows, study.tasks, "dev", 0, study.evaluation, folder / "work"
    )
    settings = [("cpu", "float32", name, False) for name in ("full", "lora")]
    settings += [(device, dtype, name, False) for dtype in ("float32", "bfloat16") for name in VARIANTS]
    settings += [(device, "bfloat16", "full", True)]
    reference: dict[str, float] = {}
    for place, dtype, name, compiled in settings:
        sft = study.evaluation.sft.model_copy(update=dict(VARIANTS[name]))
        update = {"device": place, "dtype": dtype, "sft": sft, "compile": compiled, "threads": None}
        config = study.evaluation.model_copy(update=update)
        line: dict[str, Any] = {"part": "evaluation", "device": place, "dtype": dtype, "setting": name}
        line["compile"] = compiled
        started = time.perf_counter()
        try:
            result = evaluate(replace(job, config=config))
        except AutoSelectionError as error:
            yield line | {"failure": str(error)}
            continue
        line |= {"seconds": time.perf_counter() - started, "score": result.score, "failure": result.failure}
        line |= {"steps": result.steps, "train_tokens": result.train_tokens, "train_loss": result.train_loss}
        line |= {"parts": result.seconds}
        exact = reference.setdefault(sft.method, result.score)
        yield line | {"difference": result.score - exact}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--device", default="auto", help="what is compared with the CPU (default: the accelerator there is)"
    )
    parser.add_argument("--json", action="store_true", help="JSON lines instead of sentences")
    options = parser.parse_args()
    device = str(pick_device(options.device))
    study = demo_study()
    name = torch.cuda.get_device_name() if device.startswith("cuda") else device
    with tempfile.TemporaryDirectory() as folder:
        for part in (signals, evaluations):
            for line in part(study, device, Path(folder) / part.__name__):
                line |= {"accelerator": name, "torch": torch.__version__}
                print(json.dumps(line) if options.json else line, flush=True)


if __name__ == "__main__":
    main()
