"""Tokens a second of training, scoring and signals, beside a plain PyTorch loop and TRL as shipped.

    python -m benchmarks.throughput [--model FOLDER --pool FILE] [--tokens 4000] [--dtype bfloat16] --json
    python -m benchmarks.throughput --shape 28,1536,151936 --device cuda --tokens 200000 --json

Methods alternate on the same tokens in the same process, after one short run of each. Rates are tokens a second of
processor time (``tokens_per_s``; of wall time on an accelerator, waited for) and of wall time (``wall_tokens_per_s``).

- ``training``: ``autoselection`` trains as an evaluation does. ``plain loop`` is what one writes by hand: the same batches
  padded to their longest row, autocast, the loss on all logits, AdamW (fused), clipping. ``TRL`` is its ``SFTTrainer`` with its
  own packing into ``max_length`` and its own loss, as many packed sequences a step as hold a batch's tokens. ``difference``
  is the largest relative difference of a step's loss from the plain loop's; TRL's steps hold other rows.
- ``scoring``: log-probabilities of the gold answers and of four options of each question, beside batches of eight
  padded sequences.
- ``signals``: IFD and varentropy (:mod:`benchmarks.lm_signals` compares them with three plain passes).
- ``dispatch``: operators and host synchronisations of one training step, counted by torch.profiler.

On an accelerator ``mfu`` is 6 · parameters · tokens a second over ``--peak`` (TFLOP/s; known for an A100, H100, H200).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

OURS, PLAIN, TRL = "autoselection", "plain loop", "TRL"
FROZEN = "autoselection, embeddings frozen"
PEAKS = {"H200": 989.0, "H100": 989.0, "A100": 312.0}
OPTIONS = 4
_SYNCS = ("aten::_local_scalar_dense", "aten::item", "aten::nonzero", "cudaStreamSynchronize", "cudaDeviceSynchronize")


@dataclass(frozen=True)
class Work:
    """What all methods do.

    Attributes:
        batches: of every step the rows as token ids and labels.
    """

    folder: Path
    base: str
    tokenizer: Any
    pool: Any
    subset: Any
    schedule: Any
    sft: Any
    device: str
    dtype: Any

    @property
    def batches(self) -> list[list[tuple[list[int], list[int]]]]:
        order, size = self.schedule.order, self.sft.batch_size
        rows = [(row.input_ids.tolist(), row.labels.tolist()) for row in self.subset.trainable(order)]
        return [rows[start : start + size] for start in range(0, len(rows), size)]

    @property
    def tokens(self) -> int:
        return int(self.schedule.tokens)

    def model(self) -> Any:
        from autoselection.language.models import load_model

        return load_model(self.base, "cpu", "float32").to(self.device)

    def autocast(self) -> Any:
        import torch

        return torch.autocast(self.device.split(":")[0], self.dtype, enabled=self.dtype != torch.float32)


def ours(work: Work, model: Any) -> list[float]:
    """Training as evaluations do it; the loss of every step."""
    from autoselection.evaluation.trainers.contract import TrainingPlan
    from autoselection.evaluation.trainers.trl import TRLTrainer

    plan = TrainingPlan(
        base=work.base, model=model, tokenizer=work.tokenizer, pool=work.pool, subset=work.subset, schedule=work.schedule,
        seed=0, device=work.device, dtype=work.dtype, max_length=work.sft.max_length, work_dir=work.folder,
    )  # fmt: skip
    return TRLTrainer(work.sft).train(plan).losses


def ours_frozen(work: Work, model: Any) -> list[float]:
    """The same with ``freeze_embeddings``: other losses, as it is another training."""
    return ours(replace(work, sft=work.sft.model_copy(update={"freeze_embeddings": True})), model)


def plain_loop(work: Work, model: Any) -> list[float]:
    """The same steps by hand."""
    import torch
    from transformers import get_cosine_schedule_with_warmup

    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=work.sft.learning_rate, weight_decay=0.0, fused=True)
    steps = work.schedule.steps
    scheduler = get_cosine_schedule_with_warmup(optimizer, math.ceil(work.sft.warmup_ratio * steps), steps)
    losses = []
    for batch in work.batches:
        width = max(len(ids) for ids, _ in batch)
        ids, labels, mask = (torch.full((len(batch), width), fill) for fill in (0, -100, 0))
        for row, (tokens, targets) in enumerate(batch):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            labels[row, : len(tokens)] = torch.tensor(targets)
            mask[row, : len(tokens)] = 1
        ids, labels, mask = (each.to(work.device) for each in (ids, labels, mask))
        with work.autocast():
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), work.sft.max_grad_norm)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def trl_as_shipped(work: Work, model: Any) -> list[float]:
    """TRL's trainer on the same rows, packed by itself."""
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    rows = [row for batch in work.batches for row in batch]
    mean = work.tokens / len(rows)
    sequences = max(1, round(work.sft.batch_size * mean / work.sft.max_length))
    arguments = SFTConfig(
        output_dir=str(work.folder / "trl"), num_train_epochs=1, per_device_train_batch_size=sequences, packing=True,
        max_length=work.sft.max_length, learning_rate=work.sft.learning_rate, lr_scheduler_type="cosine",
        warmup_steps=0.1, bf16=work.dtype == torch.bfloat16, use_cpu=work.device == "cpu", report_to="none",
        save_strategy="no", logging_steps=1, disable_tqdm=True, gradient_checkpointing=False, completion_only_loss=True,
        dataloader_pin_memory=work.device != "cpu",
    )  # fmt: skip
    data = {
        "input_ids": [ids for ids, _ in rows],
        "completion_mask": [[int(label != -100) for label in labels] for _, labels in rows],
    }
    SFTTrainer._send_telemetry = lambda self: None
    trainer = SFTTrainer(
        model=model, args=arguments, train_dataset=Dataset.from_dict(data), processing_class=work.tokenizer
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


TRAINERS: Mapping[str, Callable[[Work, Any], list[float]]] = {
    OURS: ours,
    FROZEN: ours_frozen,
    PLAIN: plain_loop,
    TRL: trl_as_shipped,
}


def training(work: Work, repeats: int, methods: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A line a trainer."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    losses: dict[str, list[float]] = {}
    parameters = 0
    for _ in range(repeats):
        for name in methods:
            model = work.model()
            parameters = sum(parameter.numel() for parameter in model.parameters())
            started, busy = _now(work.device), time.process_time()
            losses[name] = TRAINERS[name](work, model)
            found[name].append((_now(work.device) - started, time.process_time() - busy))
            del model
    for name in methods:
        line = _rate("training", name, found[name], work.tokens, work)
        line |= {"parameters": parameters, "steps": work.schedule.steps, "first_loss": losses[name][0]}
        if name == OURS and PLAIN in losses:
            pairs = zip(losses[OURS], losses[PLAIN], strict=True)
            line["difference"] = max(abs(a - b) / abs(b) for a, b in pairs)
        for other in methods:
            if other != name and name == OURS:
                line[f"ratio_to_{other}"] = (
                    line["tokens_per_s"] / _rate("", "", found[other], work.tokens, work)["tokens_per_s"]
                )
        yield line


def scoring(work: Work, repeats: int, questions: int) -> Iterator[dict[str, Any]]:
    """Gold answers and options of questions made from rows of the pool."""
    import torch

    from autoselection.evaluation.engines.contract import Continuation
    from autoselection.evaluation.engines.lm_eval_model import ConversationLM

    model = work.model()
    draw = np.random.default_rng(0)
    asked: list[Continuation] = []
    for ids, labels in [row for batch in work.batches for row in batch][:questions]:
        first = next(place for place, label in enumerate(labels) if label != -100)
        if first:
            vocabulary = model.config.get_text_config().vocab_size
            options = draw.choice(vocabulary, OPTIONS, replace=False).tolist()
            asked += [Continuation(ids[:first], ids[first:]), *(Continuation(ids[:first], [each]) for each in options)]
    tokens = sum(len(each.context) + len(each.ids) for each in asked)
    engine = ConversationLM(
        model, work.tokenizer, seed=0, batch_size=None, batch_tokens=None, autocast=work.dtype != torch.float32
    )

    def plain() -> list[tuple[float, bool]]:
        found = []
        with torch.inference_mode(), work.autocast():
            for start in range(0, len(asked), 8):
                part = asked[start : start + 8]
                rows = [each.context + each.ids for each in part]
                width = max(map(len, rows))
                ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=work.device)
                mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=work.device)
                logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits.float().log_softmax(-1)
                for row, each in enumerate(part):
                    places = torch.arange(len(each.context) - 1, len(rows[row]) - 1, device=work.device)
                    targets = torch.tensor(each.ids, device=work.device)
                    log_p = logits[row, places]
                    greedy = bool((log_p.argmax(-1) == targets).all())
                    found.append((float(log_p.gather(1, targets[:, None]).sum()), greedy))
        return found

    methods: dict[str, Callable[[], list[tuple[float, bool]]]] = {OURS: lambda: engine.likelihoods(asked), PLAIN: plain}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    answers: dict[str, list[tuple[float, bool]]] = {}
    for _ in range(repeats):
        for name, run in methods.items():
            started, busy = _now(work.device), time.process_time()
            answers[name] = run()
            found[name].append((_now(work.device) - started, time.process_time() - busy))
    for name in methods:
        line = _rate("scoring", name, found[name], tokens, work) | {"requests": len(asked)}
        if name == OURS:
            pairs = zip(answers[OURS], answers[PLAIN], strict=True)
            line["difference"] = max(abs(a[0] - b[0]) / max(1.0, abs(b[0])) for a, b in pairs)
            line[f"ratio_to_{PLAIN}"] = line["tokens_per_s"] / _rate("", "", found[PLAIN], tokens, work)["tokens_per_s"]
        yield line


def signals(work: Work, repeats: int, rows: int) -> Iterator[dict[str, Any]]:
    """IFD and varentropy of rows of the pool."""
    from autoselection.language.chat import ConversationEncoder
    from autoselection.signals.families.lm import LanguageModelSignal
    from autoselection.signals.model_pass import PassReader

    model = work.model().to(work.dtype)
    encoder = ConversationEncoder(work.tokenizer, max_length=work.sft.max_length)
    reader = PassReader(model, encoder)
    chosen = np.sort(np.random.default_rng(0).choice(len(work.pool), min(rows, len(work.pool)), replace=False))
    conversations = work.pool.conversations(chosen.tolist())
    tokens = sum(len(item.input_ids) for item in encoder.encode_batch(conversations) if item is not None)
    reader.run(conversations[:2], [LanguageModelSignal()])
    found = []
    for _ in range(repeats):
        started, busy = _now(work.device), time.process_time()
        reader.run(conversations, [LanguageModelSignal()])
        found.append((_now(work.device) - started, time.process_time() - busy))
    yield _rate("signals", OURS, found, tokens, work) | {"rows": len(chosen)}


def dispatch(work: Work) -> Iterator[dict[str, Any]]:
    """Operators of one training step."""
    from torch.profiler import ProfilerActivity, profile

    from autoselection.evaluation.schedule import TrainingSchedule

    size = work.sft.batch_size
    order = work.schedule.order[:size]
    tokens = int(work.subset.lengths(order).sum())
    one = Work(**{**vars(work), "schedule": TrainingSchedule(order, 1, tokens)})
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if work.device.startswith("cuda") else [])
    for name in (OURS, PLAIN):
        model = one.model()
        with profile(activities=activities) as found:
            TRAINERS[name](one, model)
        events = {event.key: event.count for event in found.key_averages()}
        yield {
            "part": "dispatch",
            "method": name,
            "tokens": tokens,
            "operators": sum(count for key, count in events.items() if key.startswith("aten::")),
            "kernels": events.get("cudaLaunchKernel", 0),
            "host_syncs": {key: events[key] for key in _SYNCS if key in events},
        }


def _now(device: str) -> float:
    """Wall seconds, when the device has done what it was given."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def _rate(part: str, method: str, times: Sequence[tuple[float, float]], tokens: int, work: Work) -> dict[str, Any]:
    wall, busy = (min(run[index] for run in times) for index in (0, 1))
    return {
        "part": part,
        "method": method,
        "tokens": tokens,
        "tokens_per_s": tokens / (busy if work.device == "cpu" else wall),
        "wall_tokens_per_s": tokens / wall,
        "spread": statistics.pstdev(run[1] for run in times) / statistics.fmean(run[1] for run in times),
        "device": work.device,
        "dtype": str(work.dtype).removeprefix("torch."),
    }


def prepare(options: argparse.Namespace, folder: Path) -> Work:
    """The pool, the rows as tokens and the plan of training."""
    import torch

    from autoselection.evaluation.config import SFTConfig
    from autoselection.evaluation.encoding import row_cache
    from autoselection.evaluation.schedule import plan
    from autoselection.language.chat import ConversationEncoder
    from autoselection.language.models import load_tokenizer, pick_device
    from autoselection.pool import Pool, ingest
    from benchmarks.lm_signals import random_weights

    base = options.model
    if options.shape:
        base = folder / "model"
        random_weights(base, options.shape)
    ingest([options.pool], folder / "pool")
    pool = Pool.open(folder / "pool")
    tokenizer = load_tokenizer(base, options.chat_template)
    sft = SFTConfig(
        max_tokens=options.tokens, batch_size=options.batch_size, max_length=options.max_length, learning_rate=1e-5
    )
    encoder = ConversationEncoder(tokenizer, max_length=options.max_length)
    subset = row_cache(("throughput", str(base))).subset(pool, np.arange(len(pool)), encoder, True)
    return Work(
        folder, str(base), tokenizer, pool, subset, plan(subset, sft, 0), sft,
        pick_device(options.device), getattr(torch, options.dtype),
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line a part and method."""
    options = _options(arguments)
    import torch

    from autoselection.evaluation.runtime import quiet_libraries
    from autoselection.system import keep_freed_memory

    torch.set_num_threads(options.threads)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder, quiet_libraries():
        work = prepare(options, Path(folder))
        warm = Work(**{**vars(work), "schedule": type(work.schedule)(work.schedule.order[:2], 1, 0)})
        for name in options.methods:
            TRAINERS[name](warm, work.model())
        parts: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
            "training": lambda: training(work, options.repeats, options.methods),
            "scoring": lambda: scoring(work, options.repeats, options.questions),
            "signals": lambda: signals(work, options.repeats, options.rows),
            "dispatch": lambda: dispatch(work),
        }
        peak = options.peak
        if work.device.startswith("cuda"):
            name = torch.cuda.get_device_name()
            peak = peak or next((value for known, value in PEAKS.items() if known in name), None)
        for part in options.parts:
            for line in parts[part]():
                if peak and part == "training":
                    line["mfu"] = 6 * line["parameters"] * line["tokens_per_s"] / (peak * 1e12)
                said = ", ".join(
                    f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                    for key, value in line.items()
                )
                print(json.dumps(line) if options.json else said, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    from autoselection import demo

    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=demo.model_dir(), help="model folder (default: the embedded one)")
    parser.add_argument(
        "--shape", type=lambda text: tuple(map(int, text.split(","))), help="layers,width,vocabulary of random weights"
    )
    parser.add_argument("--pool", type=Path, default=demo.data_dir() / "pool.jsonl")
    parser.add_argument("--chat-template", help="a named template or file (default: the model's own)")
    parser.add_argument("--tokens", type=int, default=4000, help="training tokens of a run")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--rows", type=int, default=100, help="rows whose signals are computed")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "bfloat16"))
    parser.add_argument("--peak", type=float, help="TFLOP/s of the device in this arithmetic")
    parser.add_argument("--parts", nargs="+", default=["training", "scoring", "signals", "dispatch"])
    parser.add_argument("--methods", nargs="+", default=[OURS, FROZEN, PLAIN, TRL])
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
