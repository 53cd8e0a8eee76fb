"""Rates of signals of the base model, beside padded batches in pool order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from benchmarks.plain_signals import plain_signals
from benchmarks.throughput.beside_plain import beside_plain
from benchmarks.throughput.names import OURS, PLAIN
from benchmarks.throughput.work import SHARD, Work

Values = Mapping[str, Any]


def signals(work: Work, repeats: int, rows: int, seconds: float | None) -> Iterator[dict[str, Any]]:
    """IFD, varentropy and rsr of rows of the pool."""
    from autoselection.language.chat import ConversationEncoder

    model = work.model().to(work.dtype).eval()
    encoder = ConversationEncoder(work.tokenizer, max_length=work.max_length)
    chosen = work.conversations

    def describe(count: int) -> Mapping[str, Any]:
        started = time.perf_counter()
        tokens = sum(len(item.input_ids) for item in encoder.encode_batch(chosen[:count]) if item is not None)
        return {"tokens": tokens, "rows": count, "encoding_s": time.perf_counter() - started}

    methods = {name: lambda count, run=run: run(chosen[:count]) for name, run in _methods(model, encoder).items()}
    most = len(chosen) if seconds is not None else min(rows, len(chosen))
    yield from beside_plain(
        "signals", work, methods, describe, _difference, most=most, repeats=repeats, seconds=seconds
    )


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
