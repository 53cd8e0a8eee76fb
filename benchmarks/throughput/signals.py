"""The rate of signals of the base model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from benchmarks.throughput.names import OURS
from benchmarks.throughput.timing import clock, grown, memory, rate, since
from benchmarks.throughput.work import SHARD, Work


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
            started = clock(work.device)
            run(count)
            times.append(since(started, work.device))
    else:
        timed = grown(lambda n: lambda: run(n), seconds, len(chosen), lambda: clock(work.device))
        count, times = timed.size, [timed.seconds]
    started = time.perf_counter()
    tokens = sum(len(item.input_ids) for item in encoder.encode_batch(chosen[:count]) if item is not None)
    encoding = time.perf_counter() - started
    yield rate("signals", OURS, times, tokens, work) | {"rows": count, "encoding_s": encoding, **memory(work.device)}
