"""IFD, varentropy, rsr and SAE features: rows a second beside three padded, unsorted passes over the same rows.

    python -m benchmarks.lm_signals [--model FOLDER --sae FOLDER] [--pool FILE] [--rows 1000] --json
    python -m benchmarks.lm_signals --shape smollm2-135m --rows 50 --json

The baseline does what a plain script does: batches of 8 rows in pool order, padded to their longest row, one pass for
the hidden states (SAE means), one for the conditional loss and varentropy, one for the loss without the prompt; the
output head runs on every position. It uses the same tokens and definitions as the package, so its numbers must agree;
two things are done better than usual so as not to flatter us: the first pass computes no logits, and varentropy is
computed at response positions only. Runs of the two methods alternate; tokenization is part of both. ``cpu_seconds`` is
processor time, which a busy machine disturbs less. ``autoselection without ranks`` is the same without the ranks that rsr
needs: ``rank_cost`` is what they add to its processor time. ``--shape`` does the two alone (no SAE) with random weights of
a shape of :mod:`benchmarks.stand_ins`, since what ranks cost depends on the vocabulary.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.plain_signals import COLUMNS, padded_batches, plain_signals
from benchmarks.stand_ins import random_weights, shape_option

BASELINE, OURS, WITHOUT = "three padded passes", "autoselection", "autoselection without ranks"
SHARED = Path(os.environ.get("AUTOSELECTION_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line a method."""
    options = _options(arguments)
    import torch

    torch.set_num_threads(options.threads)
    from autoselection.language.chat import ConversationEncoder
    from autoselection.language.models import load_model, load_tokenizer
    from autoselection.signals.families.lm import LanguageModelSignal
    from autoselection.signals.families.sae import SaeFeatures, SaeOptions, SparseEncoder, read_sae_info
    from autoselection.signals.model_pass import PassReader

    if options.shape:
        random_weights(options.model, options.shape)
    model = load_model(options.model, options.device, options.dtype)
    tokenizer = load_tokenizer(options.model)
    longest = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2048
    encoder = ConversationEncoder(tokenizer, max_length=options.max_length or min(2048, longest))
    sae = None if options.shape else SparseEncoder(read_sae_info(options.sae), model)
    rows, source = conversations(options.pool, options.rows, options.seed)
    scorer = PassReader(model, encoder, batch_tokens=options.batch_tokens)
    signals: list[Any] = [LanguageModelSignal()]
    if sae is not None:
        features_signal = SaeFeatures(SaeOptions(values="float32"))
        features_signal._encoder = sae
        signals.append(features_signal)

    def ours() -> dict[str, Any]:
        found = scorer.run(rows, signals)
        losses, features = found["lm"], found.get("sae")
        if features is None:
            return dict(losses.arrays)
        counts = features.arrays["counts"]
        dense = np.zeros((len(rows), sae.info.num_latents), np.float32)
        dense[np.repeat(np.arange(len(rows)), counts), features.arrays["indices"]] = features.arrays["values"]
        return {**losses.arrays, "sae": dense}

    def ours_without_ranks() -> dict[str, Any]:
        with no_ranks():
            return ours()

    methods: dict[str, Callable[[], dict[str, Any]]] = {OURS: ours, WITHOUT: ours_without_ranks}
    if not options.shape:
        methods = {BASELINE: lambda: published(model, encoder, sae, rows), **methods}
    scorer.run(rows[:2], signals)
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    cpu: dict[str, list[float]] = {name: [] for name in methods}
    results: dict[str, dict[str, Any]] = {}
    for _ in range(options.repeats):
        for name, run in methods.items():
            started, busy = time.perf_counter(), time.process_time()
            results[name] = run()
            seconds[name].append(time.perf_counter() - started)
            cpu[name].append(time.process_time() - busy)
    first = next(iter(methods))
    base, base_cpu = statistics.median(seconds[first]), statistics.median(cpu[first])
    rank_cost = statistics.median(with_ / out for with_, out in zip(cpu[OURS], cpu[WITHOUT], strict=True)) - 1
    encoded = encoder.encode_batch(rows)
    for name, times in seconds.items():
        median = statistics.median(times)
        line: dict[str, Any] = {
            "method": name,
            "model": options.label,
            "pool": source,
            "rows": len(rows),
            "tokens": sum(len(item.input_ids) for item in encoded if item is not None),
            "cut_off": sum(item is not None and not any(item.response) for item in encoded),
            "seconds": round(median, 3),
            "rows_per_s": round(len(rows) / median, 2),
            "ratio": round(base / median, 2),
            "cpu_seconds": round(statistics.median(cpu[name]), 3),
            "cpu_ratio": round(base_cpu / statistics.median(cpu[name]), 2),
            "runs": [round(value, 3) for value in times],
            "device": str(model.device),
            "dtype": str(model.dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "cpu": platform.processor() or platform.machine(),
        }
        if name == OURS:
            line["rank_cost"] = round(rank_cost, 4)
            if BASELINE in results:
                line["max_abs_difference"] = differences(results[BASELINE], results[name])
        said = f"{name}: {line['rows_per_s']} rows/s, {line['ratio']}×"
        said += f"; ranks add {rank_cost:.1%}" if name == OURS else ""
        print(json.dumps(line) if options.json else said, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    from autoselection import demo

    parser = argparse.ArgumentParser(prog="python -m benchmarks.lm_signals", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="model folder (default: the embedded demo model)")
    parser.add_argument("--sae", type=Path, help="SAE folder (default: the demo's)")
    parser.add_argument("--pool", type=Path, help="pool file (default: the shared real pool, else the demo's)")
    parser.add_argument(
        "--shape",
        type=shape_option,
        help="random weights: smollm2-135m, qwen2.5-1.5b, or numbers (benchmarks.stand_ins)",
    )
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--max-length", type=int, help="default: 2048 or the model's own limit")
    parser.add_argument("--batch-tokens", type=int, help="default: the package's")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--seed", type=int, default=0, help="draws the rows")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if (options.model is None) != (options.sae is None):
        parser.error("give --model and --sae together")
    if options.shape:
        options.model = Path(tempfile.mkdtemp(prefix="lm-signals-"))
        options.label = "random " + "×".join(map(str, options.shape))
        options.sae = demo.sae_dir()
        options.pool = options.pool or demo.data_dir() / "pool.jsonl"
        return options
    options.label = "demo" if options.model is None else options.model.resolve().parent.name
    options.model = options.model or demo.model_dir()
    options.sae = options.sae or demo.sae_dir()
    if options.pool is None:
        shared = SHARED / "pool" / "pool.jsonl.gz"
        options.pool = shared if shared.is_file() else demo.data_dir() / "pool.jsonl"
    return options


@contextmanager
def no_ranks() -> Iterator[None]:
    """Inside, no rank is looked for: every token is the first."""
    import torch

    from autoselection.signals.families import lm

    real = lm.token_ranks
    lm.token_ranks = lambda logits, targets: torch.ones(len(targets), dtype=torch.int32)
    try:
        yield
    finally:
        lm.token_ranks = real


def conversations(path: Path, count: int, seed: int) -> tuple[list[list[dict[str, str]]], str]:
    """A random sample of a pool file's conversations, in file order."""
    from autoselection.pool import Pool, ingest

    with tempfile.TemporaryDirectory() as folder:
        ingest([path], Path(folder) / "pool")
        pool = Pool.open(Path(folder) / "pool")
        chosen = np.sort(np.random.default_rng(seed).choice(len(pool), min(count, len(pool)), replace=False))
        return [[dict(message) for message in row] for row in pool.messages(chosen.tolist())], path.name


def published(model: Any, encoder: Any, sae: Any, rows: Sequence[Any]) -> dict[str, Any]:
    """Three passes in pool order over batches of 8 rows padded to the longest, full logits in the last two."""
    import torch

    encoded = encoder.encode_batch(rows)
    features = np.zeros((len(rows), sae.info.num_latents), np.float32)
    known = {i: item.input_ids for i, item in enumerate(encoded) if item is not None and item.input_ids}
    with torch.inference_mode():
        for batch, tokens, mask in padded_batches(known, model.device):
            output = model.base_model(input_ids=tokens, attention_mask=mask, output_hidden_states=True, use_cache=False)
            layer = int(sae.hookpoint.rpartition(".")[2])
            states = output.hidden_states[layer + 1]
            values, indices = sae.encode(states.flatten(0, 1))
            dense = torch.zeros(len(values), sae.info.num_latents, device=values.device).scatter_(1, indices, values)
            dense = dense.view(*states.shape[:2], -1) * mask[..., None]
            mean = dense.sum(1) / mask.sum(1, keepdim=True)
            top, index = mean.topk(sae.max_features, dim=-1)
            features[batch] = torch.zeros_like(mean).scatter_(1, index, top).cpu().numpy()
    return {**plain_signals(model, encoder, rows, encoded), "sae": features}


def differences(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """Largest absolute difference of each number, and rows that only one of the two scores."""
    both = {}
    for name in (*COLUMNS, "sae"):
        gap = np.abs(np.asarray(theirs[name], np.float64) - np.asarray(ours[name], np.float64))
        both[name] = float(f"{np.nanmax(gap):.2e}") if np.isfinite(gap).any() else None
    both["rows_scored_by_one"] = int((np.isnan(theirs["varentropy"]) != np.isnan(ours["varentropy"])).sum())
    return both


if __name__ == "__main__":
    main()
