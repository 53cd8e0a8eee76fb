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
- ``signals``: IFD and varentropy (:mod:`benchmarks.lm_signals` compares them with three plain passes); ``encoding_s`` is the
  tokenizer's part.
- ``dispatch``: operators, kernels, copies and host synchronisations of the passes of one training step (forward and backward),
  counted by torch.profiler; making the trainer and the optimiser's step are left out.

``--shape`` takes random weights and, without ``--pool``, drawn rows (:mod:`benchmarks.stand_ins`). On an accelerator ``mfu`` is the
share of ``--peak`` (TFLOP/s; known for an A100, H100, H200): 6 operations a token and weight, those of the head at response
tokens only, attention's products not counted. A method that fails has a line that says why, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from benchmarks.stand_ins import Shape, drawn_rows, random_model, shape_option

OURS, PLAIN, TRL = "autoselection", "plain loop", "TRL"
FROZEN = "autoselection, embeddings frozen"
PACKED = "packed loop"
#: Methods whose operators are counted.
COUNTED = (OURS, PLAIN, PACKED)
PARTS = ("training", "dispatch", "signals", "scoring")
PEAKS = {"H200": 989.0, "H100 PCIe": 756.0, "H100": 989.0, "A100": 312.0}
OPTIONS = 4
IGNORED = -100
DRAWN = 10_000
#: Rows that signals are computed of at once, as in a study.
SHARD = 512
_SYNCS = ("aten::_local_scalar_dense", "aten::item", "aten::nonzero", "cudaStreamSynchronize", "cudaDeviceSynchronize")
_LAUNCHES = ("cudaLaunchKernel", "cudaLaunchCooperativeKernel", "cuLaunchKernel", "cuLaunchCooperativeKernel")


@dataclass(frozen=True)
class Row:
    """Token ids and, aligned with them, labels (-100 where there is no loss), int32[L] each."""

    ids: NDArray[np.int32]
    labels: NDArray[np.int32]

    @property
    def responses(self) -> int:
        """Tokens with a loss."""
        return int(np.count_nonzero(self.labels[1:] != IGNORED))


@dataclass(frozen=True)
class Ran:
    """A training: the loss of every step, forward passes, and whether these were packed (None where nobody says)."""

    losses: list[float]
    passes: int
    packed: bool | None = None


@dataclass(frozen=True)
class Work:
    """What all methods do.

    Attributes:
        rows: in the order of training.
        conversations: rows of the pool, as messages.
        make: makes the base model in float32 on the device.
        pass_tokens: most padded tokens of a pass of the loops by hand; None is no limit.
        passes: entered around the passes of every step.
    """

    folder: Path
    base: str
    tokenizer: Any
    rows: Sequence[Row]
    conversations: Sequence[Any]
    make: Callable[[], Any]
    device: str
    dtype: Any
    batch_size: int
    max_length: int
    pass_tokens: int | None = None
    learning_rate: float = 1e-5
    freeze_embeddings: bool = False
    passes: Callable[[], AbstractContextManager[Any]] = nullcontext

    @cached_property
    def batches(self) -> list[list[Row]]:
        """The rows of every step, longest first."""
        starts = range(0, len(self.rows), self.batch_size)
        return [sorted(self.rows[i : i + self.batch_size], key=lambda row: -len(row.ids)) for i in starts]

    @property
    def tokens(self) -> int:
        return sum(len(row.ids) for row in self.rows)

    @property
    def responses(self) -> int:
        return sum(row.responses for row in self.rows)

    def steps(self, count: int) -> Work:
        """So many steps; the rows begin again where they end."""
        wanted = count * self.batch_size
        return replace(self, rows=[self.rows[i % len(self.rows)] for i in range(wanted)])

    def model(self) -> Any:
        return self.make()

    def autocast(self) -> Any:
        import torch

        return torch.autocast(self.device.split(":")[0], self.dtype, enabled=self.dtype != torch.float32)


def ours(work: Work, model: Any) -> Ran:
    """Training as evaluations do it."""
    from autoselection.evaluation.config import SFTConfig
    from autoselection.evaluation.encoding import EncodedRow
    from autoselection.evaluation.schedule import TrainingSchedule
    from autoselection.evaluation.trainers.contract import TrainingPlan
    from autoselection.evaluation.trainers.subset_trainer import SubsetTrainer
    from autoselection.evaluation.trainers.trl import TRLTrainer

    rows = [EncodedRow(row.ids, row.labels, row.responses, 0) for batch in work.batches for row in batch]

    class Subset:
        def trainable(self, positions: NDArray[np.int64]) -> list[EncodedRow]:
            return [rows[position] for position in positions.tolist()]

    config = SFTConfig(
        max_tokens=max(1, work.tokens), batch_size=work.batch_size, max_length=work.max_length,
        learning_rate=work.learning_rate, freeze_embeddings=work.freeze_embeddings,
    )  # fmt: skip
    plan = TrainingPlan(
        base=work.base, model=model, tokenizer=work.tokenizer, pool=None, subset=Subset(),  # type: ignore[arg-type]
        schedule=TrainingSchedule(np.arange(len(rows)), len(work.batches), work.tokens), seed=0, device=work.device,
        dtype=work.dtype, max_length=work.max_length, work_dir=work.folder,
    )  # fmt: skip
    own = SubsetTrainer.training_step

    def watched(self: Any, *given: Any, **named: Any) -> Any:
        with work.passes():
            return own(self, *given, **named)

    with mock.patch.object(SubsetTrainer, "training_step", watched):
        trained = TRLTrainer(config).train(plan)
    return Ran(trained.losses, trained.forward_passes, trained.packed)


def ours_frozen(work: Work, model: Any) -> Ran:
    """The same with ``freeze_embeddings``: other losses, as it is another training."""
    return ours(replace(work, freeze_embeddings=True), model)


def plain_loop(work: Work, model: Any) -> Ran:
    """The same steps by hand."""
    import torch

    def passes(batch: Sequence[Row]) -> Iterator[Any]:
        for rows in pieces(batch, work.pass_tokens):
            width = len(rows[0].ids)
            ids, labels, mask = (torch.full((len(rows), width), fill) for fill in (0, IGNORED, 0))
            for place, row in enumerate(rows):
                ids[place, : len(row.ids)] = torch.from_numpy(row.ids)
                labels[place, : len(row.ids)] = torch.from_numpy(row.labels)
                mask[place, : len(row.ids)] = 1
            ids, labels, mask = (each.to(work.device) for each in (ids, labels, mask))
            with work.autocast():
                logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            yield _loss(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())

    return _by_hand(work, model, passes)


def packed_loop(work: Work, model: Any) -> Ran:
    """The same steps by hand over packed passes, with logits at response tokens only."""
    import torch

    from autoselection.language.packed import Layout, Segment, packed_attention

    def passes(batch: Sequence[Row]) -> Iterator[Any]:
        for rows in pieces(batch, work.pass_tokens):
            layout = Layout([Segment(row.ids) for row in rows], work.device)
            labels = np.concatenate([np.append(row.labels[1:], IGNORED) for row in rows]).astype(np.int64)
            places = np.flatnonzero(labels != IGNORED)
            kept, wanted = (torch.from_numpy(each).to(work.device) for each in (places, labels[places]))
            with work.autocast():
                logits = model(**layout.given(), use_cache=False, logits_to_keep=kept).logits[0]
            yield _loss(logits, wanted)

    with packed_attention(model):
        return _by_hand(work, model, passes)


def pieces(batch: Sequence[Row], most: int | None) -> Iterator[Sequence[Row]]:
    """A batch, longest row first, in pieces of at most so many padded tokens (a single row may have more)."""
    start = 0
    while start < len(batch):
        count = len(batch) if most is None else max(1, most // len(batch[start].ids))
        yield batch[start : start + count]
        start += count


def _loss(logits: Any, labels: Any) -> Any:
    import torch

    return torch.nn.functional.cross_entropy(logits.float(), labels, reduction="sum")


def _by_hand(work: Work, model: Any, passes: Callable[[Sequence[Row]], Iterator[Any]]) -> Ran:
    """Steps of AdamW on what ``passes`` makes of a batch: sums of losses."""
    import torch
    from transformers import get_cosine_schedule_with_warmup

    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=work.learning_rate, weight_decay=0.0, fused=True)
    steps = len(work.batches)
    scheduler = get_cosine_schedule_with_warmup(optimizer, math.ceil(0.1 * steps), steps)
    losses, made = [], 0
    for batch in work.batches:
        responses = sum(row.responses for row in batch)
        total = torch.zeros((), device=work.device)
        with work.passes():
            for loss in passes(batch):
                loss = loss / responses
                loss.backward()
                total += loss.detach()
                made += 1
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(total)
    return Ran(torch.stack(losses).tolist(), made)


def trl_as_shipped(work: Work, model: Any) -> Ran:
    """TRL's trainer on the same rows, packed by itself."""
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    rows = [row for batch in work.batches for row in batch]
    mean = work.tokens / len(rows)
    sequences = max(1, round(work.batch_size * mean / work.max_length))
    arguments = SFTConfig(
        output_dir=str(work.folder / "trl"), num_train_epochs=1, per_device_train_batch_size=sequences, packing=True,
        max_length=work.max_length, learning_rate=work.learning_rate, lr_scheduler_type="cosine",
        warmup_steps=0.1, bf16=work.dtype == torch.bfloat16, use_cpu=work.device == "cpu", report_to="none",
        save_strategy="no", logging_steps=1, disable_tqdm=True, gradient_checkpointing=False, completion_only_loss=True,
        dataloader_pin_memory=work.device != "cpu",
    )  # fmt: skip
    data = {
        "input_ids": [row.ids.tolist() for row in rows],
        "completion_mask": [(row.labels != IGNORED).astype(int).tolist() for row in rows],
    }
    SFTTrainer._send_telemetry = lambda self: None
    trainer = SFTTrainer(
        model=model, args=arguments, train_dataset=Dataset.from_dict(data), processing_class=work.tokenizer
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return Ran(losses, len(losses))


TRAINERS: Mapping[str, Callable[[Work, Any], Ran]] = {
    OURS: ours,
    FROZEN: ours_frozen,
    PLAIN: plain_loop,
    PACKED: packed_loop,
    TRL: trl_as_shipped,
}

#: Seconds of wall time and of processor time.
Seconds = tuple[float, float]


@dataclass(frozen=True)
class Timed:
    """The longest of several runs of different sizes.

    Attributes:
        size: units of work (steps, rows, questions).
        seconds: of that run.
        result: what it gave.
        unit: wall seconds that one more unit takes; None where all runs were of one size.
    """

    size: int
    seconds: Seconds
    result: Any
    unit: float | None


def grown(make: Callable[[int], Callable[[], Any]], seconds: float, most: int, clock: Callable[[], Seconds]) -> Timed:
    """Run once to warm up, and then with ever more units, as long as the next run is likely to end in time.

    Args:
        make: gives what does so many units of work; making it is not in the seconds of the run.
        seconds: wall time for all runs together.
        most: units.
        clock: wall and processor time.
    """
    began = clock()[0]
    make(1)()
    size, last = 1, None
    while True:
        asked = clock()[0]
        work = make(size)
        started = clock()
        result = work()
        ended = clock()
        del work  # a model, say, before the next is made
        took = (ended[0] - started[0], ended[1] - started[1])
        unit = None if last is None else max(1e-9, (took[0] - last.seconds[0]) / (size - last.size))
        found = Timed(size, took, result, unit)
        slope = took[0] / size if unit is None else unit
        once = started[0] - asked + took[0] - slope * size
        more = min(most, 8 * size, int((0.9 * (seconds - (ended[0] - began)) - once) / slope))
        if more < 2 * size:
            return found
        size, last = more, found


def training(work: Work, repeats: int, methods: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A line a trainer, when all have run."""
    found: dict[str, list[Seconds]] = {name: [] for name in methods}
    ran: dict[str, Ran] = {}
    parameters: dict[str, int] = {}
    for _ in range(repeats):
        for name in methods:
            model = work.model()
            parameters = counted_weights(model)
            started = _clock(work.device)
            ran[name] = TRAINERS[name](work, model)
            found[name].append(_since(started, work.device))
            del model
    for name in methods:
        line = _trained_line(name, found[name], ran[name], work, parameters)
        if name == OURS and PLAIN in ran:
            line["difference"] = _difference(ran[OURS].losses, ran[PLAIN].losses)
        for other in methods:
            if other != name and name == OURS:
                line[f"ratio_to_{other}"] = (
                    line["tokens_per_s"] / _rate("", "", found[other], work.tokens, work)["tokens_per_s"]
                )
        yield line


def training_for(work: Work, seconds: float, name: str, first: dict[str, float]) -> Iterator[dict[str, Any]]:
    """One trainer, with as many steps as fit; ``first`` keeps first losses by method."""
    parameters: dict[str, int] = {}

    def make(steps: int) -> Callable[[], Ran]:
        _freed(work.device)
        model = work.model()
        parameters.update(counted_weights(model))
        return lambda: TRAINERS[name](work.steps(steps), model)

    timed = grown(make, seconds, 1000, lambda: _clock(work.device))
    did = work.steps(timed.size)
    line = _trained_line(name, [timed.seconds], timed.result, did, parameters)
    if timed.unit is not None:
        line["step_tokens_per_s"] = did.tokens / timed.size / timed.unit
    first[name] = line["first_loss"]
    pair = {PLAIN: OURS, OURS: PLAIN, PACKED: PLAIN}.get(name)
    if pair in first:
        line[f"difference_from_{pair}"] = _difference([first[name]], [first[pair]])
    yield line


def _trained_line(
    name: str, times: Sequence[Seconds], ran: Ran, work: Work, parameters: Mapping[str, int]
) -> dict[str, Any]:
    operations = training_operations(**parameters, tokens=work.tokens, responses=work.responses, frozen=name == FROZEN)
    return _rate("training", name, times, work.tokens, work) | {
        "responses": work.responses,
        "steps": len(work.batches),
        "passes": ran.passes,
        **({} if ran.packed is None else {"packed": ran.packed}),
        "first_loss": ran.losses[0],
        "parameters": parameters["parameters"],
        "operations": operations,
        **_memory(work.device),
    }


def _difference(ones: Sequence[float], others: Sequence[float]) -> float:
    """The largest relative difference."""
    return max(abs(one - other) / abs(other) for one, other in zip(ones, others, strict=True))


def counted_weights(model: Any) -> dict[str, int]:
    """All parameters of a model, numbers of its output layer, and those that no product is made with: a table of its own."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    head = model.get_output_embeddings().weight.numel()
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    return {
        "parameters": parameters,
        "head": head,
        "looked_up": 0 if tied else model.get_input_embeddings().weight.numel(),
    }


def training_operations(
    parameters: int, head: int, looked_up: int, tokens: int, responses: int, frozen: bool = False
) -> float:
    """Operations that training needs: two a weight and token forward, and four backward.

    The head works on response tokens alone; frozen, it has no gradient of its own. Attention's products are not counted.
    """
    return 6.0 * (parameters - looked_up - head) * tokens + (4.0 if frozen else 6.0) * head * responses


def questions(work: Work, count: int) -> list[list[Any]]:
    """Gold answer and options of so many rows, as continuations of their prompts."""
    from autoselection.evaluation.engines.contract import Continuation

    draw = np.random.default_rng(0)
    found = []
    for row in work.rows[:count]:
        first = int(np.flatnonzero(row.labels != IGNORED)[0])
        if first:
            ids = row.ids.tolist()
            options = draw.choice(len(work.tokenizer), OPTIONS, replace=False).tolist()
            found.append(
                [Continuation(ids[:first], ids[first:]), *(Continuation(ids[:first], [each]) for each in options)]
            )
    return found


def scorers(work: Work, model: Any) -> dict[str, Callable[[Sequence[Any]], list[tuple[float, bool]]]]:
    """What gives the answers of continuations, by method."""
    import torch

    from autoselection.evaluation.engines.lm_eval_model import ConversationLM

    engine = ConversationLM(
        model, work.tokenizer, seed=0, batch_size=None, batch_tokens=None, autocast=work.dtype != torch.float32
    )

    def plain(asked: Sequence[Any]) -> list[tuple[float, bool]]:
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

    return {OURS: engine.likelihoods, PLAIN: plain}


def scoring(work: Work, repeats: int, count: int, seconds: float | None) -> Iterator[dict[str, Any]]:
    """Gold answers and options of questions made from rows of the pool."""
    methods = scorers(work, work.model())
    posed = questions(work, count if seconds is None else len(work.rows))

    def asked(number: int) -> list[Any]:
        return [each for question in posed[:number] for each in question]

    answers: dict[str, list[tuple[float, bool]]] = {}
    rates: dict[str, float] = {}
    if seconds is None:
        found: dict[str, list[Seconds]] = {name: [] for name in methods}
        for _ in range(repeats):
            for name, run in methods.items():
                started = _clock(work.device)
                answers[name] = run(asked(len(posed)))
                found[name].append(_since(started, work.device))
        done = {name: (len(posed), found[name]) for name in methods}
    for name, run in reversed(methods.items()):  # ours last, so that its line has both
        if seconds is not None:
            timed = grown(
                lambda n, run=run: lambda: run(asked(n)), seconds / 2, len(posed), lambda: _clock(work.device)
            )
            answers[name] = timed.result
            done = {name: (timed.size, [timed.seconds])}
        number, times = done[name]
        tokens = sum(len(each.context) + len(each.ids) for each in asked(number))
        line = _rate("scoring", name, times, tokens, work) | {"requests": len(asked(number))}
        rates[name] = line["tokens_per_s"]
        if name == OURS:
            pairs = zip(answers[OURS], answers[PLAIN], strict=False)  # with --seconds, one has answered more
            line["difference"] = max(abs(a[0] - b[0]) / max(1.0, abs(b[0])) for a, b in pairs)
            line[f"ratio_to_{PLAIN}"] = rates[OURS] / rates[PLAIN]
        yield line


def signals(work: Work, repeats: int, rows: int, seconds: float | None) -> Iterator[dict[str, Any]]:
    """IFD and varentropy of rows of the pool."""
    from autoselection.language.chat import ConversationEncoder
    from autoselection.signals.families.lm import LanguageModelSignal
    from autoselection.signals.model_pass import PassReader

    model = work.model().to(work.dtype).eval()
    encoder = ConversationEncoder(work.tokenizer, max_length=work.max_length)
    reader = PassReader(model, encoder)
    chosen = work.conversations

    def run(count: int) -> None:
        for start in range(0, count, SHARD):
            reader.run(chosen[start : min(count, start + SHARD)], [LanguageModelSignal()])

    if seconds is None:
        count = min(rows, len(chosen))
        run(2)
        times = []
        for _ in range(repeats):
            started = _clock(work.device)
            run(count)
            times.append(_since(started, work.device))
    else:
        timed = grown(lambda n: lambda: run(n), seconds, len(chosen), lambda: _clock(work.device))
        count, times = timed.size, [timed.seconds]
    started = time.perf_counter()
    tokens = sum(len(item.input_ids) for item in encoder.encode_batch(chosen[:count]) if item is not None)
    encoding = time.perf_counter() - started
    yield _rate("signals", OURS, times, tokens, work) | {"rows": count, "encoding_s": encoding, **_memory(work.device)}


def dispatch(work: Work, name: str) -> Iterator[dict[str, Any]]:
    """Operators of the passes of one training step; a step of the same rows goes before."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if work.device.startswith("cuda") else [])
    step = work.rows[: work.batch_size]
    events: list[Mapping[str, int]] = []

    @contextmanager
    def profiled() -> Iterator[None]:
        if not events:
            events.append({})
            yield
            return
        with profile(activities=activities) as found:
            yield
        events.append({event.key: event.count for event in found.key_averages()})

    ran = TRAINERS[name](replace(work, rows=[*step, *step], passes=profiled), work.model())
    yield {
        "part": "dispatch",
        "method": name,
        "tokens": sum(len(row.ids) for row in step),
        "passes": ran.passes // 2,
        **counted_events(events[-1]),
    }


def counted_events(events: Mapping[str, int]) -> dict[str, Any]:
    """Operators, kernels, copies to and from a device and host synchronisations among a profiler's events."""
    return {
        "operators": sum(count for key, count in events.items() if key.startswith("aten::")),
        "kernels": sum(count for key, count in events.items() if key.startswith(_LAUNCHES)),
        "copies": {key: count for key, count in events.items() if key.startswith(("Memcpy", "cudaMemcpy"))},
        "host_syncs": {key: events[key] for key in _SYNCS if key in events},
    }


def _clock(device: str) -> Seconds:
    """Wall and processor seconds, when the device has done what it was given."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def _since(started: Seconds, device: str) -> Seconds:
    now = _clock(device)
    return now[0] - started[0], now[1] - started[1]


def _memory(device: str) -> dict[str, float]:
    """The most that was held on a GPU since this was last asked (GB)."""
    import torch

    if not device.startswith("cuda"):
        return {}
    most = torch.cuda.max_memory_allocated() / 1e9
    torch.cuda.reset_peak_memory_stats()
    return {"memory_gb": most}


def _rate(part: str, method: str, times: Sequence[Seconds], tokens: int, work: Work) -> dict[str, Any]:
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
    """The model, the rows as tokens and their order."""
    import torch
    from transformers import AutoConfig

    from autoselection import demo
    from autoselection.language.chat import ConversationEncoder
    from autoselection.language.models import load_model, load_tokenizer, pick_device

    device = pick_device(options.device)
    shape: Shape | None = options.shape
    base = str(options.model) if shape is None else str(demo.model_dir())

    def make() -> Any:
        return load_model(base, "cpu", "float32").to(device) if shape is None else random_model(shape, device)

    tokenizer = load_tokenizer(base, options.chat_template)
    encoder = ConversationEncoder(tokenizer, max_length=options.max_length)
    conversations, rows = _rows(options, encoder, folder)
    limit = None
    if device.startswith("cuda"):
        config = AutoConfig.from_pretrained(base).get_text_config() if shape is None else shape.config()
        limit = pass_tokens(config, torch.cuda.get_device_properties(0).total_memory)
    return Work(
        folder, base, tokenizer, rows, conversations, make, device, getattr(torch, options.dtype), options.batch_size,
        options.max_length, limit,
    )  # fmt: skip


def _rows(options: argparse.Namespace, encoder: Any, folder: Path) -> tuple[list[Any], list[Row]]:
    """Conversations in random order, and rows up to the tokens of a run (with ``--seconds``: of all)."""
    if options.pool is None and (options.drawn or options.shape):
        conversations: list[Any] = [row["messages"] for row in drawn_rows(options.drawn or DRAWN)]
    else:
        from autoselection import demo
        from autoselection.pool import Pool, ingest

        ingest([options.pool or demo.data_dir() / "pool.jsonl"], folder / "pool")
        pool = Pool.open(folder / "pool")
        conversations = list(pool.conversations(np.random.default_rng(0).permutation(len(pool)).tolist()))
    rows: list[Row] = []
    tokens = 0
    for start in range(0, len(conversations), SHARD):
        for found in encoder.encode_batch(conversations[start : start + SHARD]):
            if found is None or (options.seconds is None and tokens >= options.tokens):
                continue
            ids = np.asarray(found.input_ids, np.int32)
            row = Row(ids, np.where(found.response, ids, IGNORED).astype(np.int32))
            if row.responses:
                rows.append(row)
                tokens += len(ids)
    return conversations, rows


def pass_tokens(config: Any, memory: int) -> int:
    """Padded tokens of a pass of the loops by hand: activations, with logits at all of them, in a third of a GPU's memory (bytes).

    A layer keeps about 18 vectors of the width and 6 of the intermediate size, in half precision; the head four of the
    vocabulary's size, in float32.
    """
    layer = 18 * config.hidden_size + 6 * config.intermediate_size
    return max(1024, memory // 3 // (2 * config.num_hidden_layers * layer + 16 * config.vocab_size))


def measurements(
    work: Work, options: argparse.Namespace, clock: Callable[[], float] = time.monotonic
) -> Iterator[dict[str, Any]]:
    """All lines; what fails has one that says why."""
    if options.seconds is None:
        for part in options.parts:
            makers: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
                "training": lambda: training(work, options.repeats, options.methods),
                "scoring": lambda: scoring(work, options.repeats, options.questions, None),
                "signals": lambda: signals(work, options.repeats, options.rows, None),
            }
            if part == "dispatch":
                for name in (name for name in options.methods if name in COUNTED):
                    yield from dispatch(work, name)
            else:
                yield from makers[part]()
        return
    end = options.started + options.seconds
    first: dict[str, float] = {}
    for part, name, share in _shares(options.parts, options.methods):
        left = end - clock()
        if left <= 1:
            yield {"part": part, "method": name, "failure": "no time was left"}
            continue
        try:
            if part == "training":
                yield from training_for(work, left * share, name, first)
            elif part == "dispatch":
                yield from dispatch(work, name)
            elif part == "signals":
                yield from signals(work, 1, 0, left * share)
            else:
                yield from scoring(work, 1, 0, left * share)
        except Exception as error:  # noqa: BLE001 - one method that fails must not cost the others their time on the device
            reason = " ".join(str(error).split())[:300]
            yield {"part": part, "method": name, "failure": f"{type(error).__name__}: {reason}"}
        _freed(work.device)


def _shares(parts: Sequence[str], methods: Sequence[str]) -> list[tuple[str, str, float]]:
    """What is measured in turn, each with its share of the time that is left then; methods beside the main ones come last."""
    weights: list[tuple[str, str, float]] = []
    for part in parts:
        if part == "training":  # the first imports TRL
            weights += [(part, name, 2.0 if name == OURS else 1.0) for name in methods]
        elif part == "dispatch":
            weights += [(part, name, 0.3) for name in methods if name in COUNTED]
        else:
            weights.append((part, OURS, 1.0))
    weights.sort(key=lambda each: each[1] not in COUNTED)
    rest = np.cumsum([weight for *_, weight in weights][::-1])[::-1]
    return [(part, name, weight / total) for (part, name, weight), total in zip(weights, rest.tolist(), strict=True)]


def _freed(device: str) -> None:
    import gc

    import torch

    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


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
            name = torch.cuda.get_device_name()
            peak = peak or next((value for known, value in PEAKS.items() if known in name), None)
        for line in measurements(work, options):
            measured += "failure" not in line
            operations = line.pop("operations", None)
            if peak and operations:
                line["mfu"] = operations / line["tokens"] * line["tokens_per_s"] / (peak * 1e12)
                if "step_tokens_per_s" in line:
                    line["step_mfu"] = line["mfu"] * line["step_tokens_per_s"] / line["tokens_per_s"]
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
