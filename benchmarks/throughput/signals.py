"""Rates of signals of the base model, beside padded batches in pool order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from benchmarks.plain_signals import plain_signals
from benchmarks.throughput.names import OURS, PLAIN
from benchmarks.throughput.timing import Seconds, clock, freed, grown, memory, rate, since
from benchmarks.throughput.work import SHARD, Work

Values = Mapping[str, Any]


def signals(work: Work, repeats: int, rows: int, seconds: float | None) -> Iterator[dict[str, Any]]:
    """IFD, varentropy and rsr of rows of the pool."""
    from autoselection.language.chat import ConversationEncoder

    model = work.model().to(work.dtype).eval()
    encoder = ConversationEncoder(work.tokenizer, max_length=work.max_length)
    methods = _methods(model, encoder)
    chosen = work.conversations
    found: dict[str, Values] = {}
    held: dict[str, dict[str, float]] = {}
    if seconds is None:
        count = min(rows, len(chosen))
        for run in methods.values():
            run(chosen[:2])
        times: dict[str, list[Seconds]] = {name: [] for name in methods}
        for _ in range(repeats):
            for name, run in methods.items():
                freed(work.device)
                started = clock(work.device)
                found[name] = run(chosen[:count])
                times[name].append(since(started, work.device))
                held[name] = memory(work.device)
        done = {name: (count, times[name]) for name in methods}
    rates: dict[str, float] = {}
    for name, run in reversed(methods.items()):  # ours last, so that its line has both
        if seconds is not None:
            freed(work.device)
            timed = grown(
                lambda n, run=run: lambda: run(chosen[:n]), seconds / 2, len(chosen), lambda: clock(work.device)
            )
            found[name] = timed.result
            held[name] = memory(work.device)
            done = {name: (timed.size, [timed.seconds])}
        count, took = done[name]
        started_encoding = time.perf_counter()
        tokens = sum(len(item.input_ids) for item in encoder.encode_batch(chosen[:count]) if item is not None)
        encoding = time.perf_counter() - started_encoding
        line = rate("signals", name, took, tokens, work) | {"rows": count, "encoding_s": encoding}
        rates[name] = line["tokens_per_s"]
        if name == OURS:
            line["difference"] = _difference(found[OURS], found[PLAIN])
            line[f"ratio_to_{PLAIN}"] = rates[OURS] / rates[PLAIN]
        yield line | held[name]


def _methods(model: Any, encoder: Any) -> dict[str, Callable[[Any], Values]]:
    """What gives the signals of rows, by method."""
    from autoselection.signals.families.lm import LanguageModelSignal
    from autoselection.signals.model_pass import PassReader

    reader = PassReader(model, encoder)

    def ours(rows: Any) -> Values:
        shards = [
            reader.run(rows[start : start + SHARD], [LanguageModelSignal()])["lm"].arrays
            for start in range(0, len(rows), SHARD)
        ]
        return {name: np.concatenate([shard[name] for shard in shards]) for name in shards[0]}

    return {OURS: ours, PLAIN: lambda rows: plain_signals(model, encoder, rows)}


def _difference(ours: Values, plain: Values) -> float | None:
    """The largest relative difference of IFD among the rows that both have scored; None where there is no such row."""
    common = min(len(ours["ifd"]), len(plain["ifd"]))  # with a time to keep, one has scored more
    one, other = (np.asarray(each["ifd"][:common], np.float64) for each in (ours, plain))
    gaps = np.abs(one - other) / np.abs(other)
    return float(np.nanmax(gaps)) if np.isfinite(gaps).any() else None
