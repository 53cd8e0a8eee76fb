"""Rates of scoring: log-probabilities as evaluations ask for them, beside batches of padded sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.throughput.names import OURS, PLAIN
from benchmarks.throughput.timing import Seconds, clock, grown, rate, since
from benchmarks.throughput.work import IGNORED, Work

OPTIONS = 4


def scoring(work: Work, repeats: int, count: int, seconds: float | None) -> Iterator[dict[str, Any]]:
    """Gold answers and options of questions made from rows of the pool."""
    methods = _scorers(work, work.model())
    posed = _questions(work, count if seconds is None else len(work.rows))

    def asked(number: int) -> list[Any]:
        return [each for question in posed[:number] for each in question]

    answers: dict[str, list[tuple[float, bool]]] = {}
    rates: dict[str, float] = {}
    if seconds is None:
        found: dict[str, list[Seconds]] = {name: [] for name in methods}
        for _ in range(repeats):
            for name, run in methods.items():
                started = clock(work.device)
                answers[name] = run(asked(len(posed)))
                found[name].append(since(started, work.device))
        done = {name: (len(posed), found[name]) for name in methods}
    for name, run in reversed(methods.items()):  # ours last, so that its line has both
        if seconds is not None:
            timed = grown(lambda n, run=run: lambda: run(asked(n)), seconds / 2, len(posed), lambda: clock(work.device))
            answers[name] = timed.result
            done = {name: (timed.size, [timed.seconds])}
        number, times = done[name]
        tokens = sum(len(each.context) + len(each.ids) for each in asked(number))
        line = rate("scoring", name, times, tokens, work) | {"requests": len(asked(number))}
        rates[name] = line["tokens_per_s"]
        if name == OURS:
            pairs = zip(answers[OURS], answers[PLAIN], strict=False)  # with --seconds, one has answered more
            line["difference"] = max(abs(a[0] - b[0]) / max(1.0, abs(b[0])) for a, b in pairs)
            line[f"ratio_to_{PLAIN}"] = rates[OURS] / rates[PLAIN]
        yield line


def _questions(work: Work, count: int) -> list[list[Any]]:
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


def _scorers(work: Work, model: Any) -> dict[str, Callable[[Sequence[Any]], list[tuple[float, bool]]]]:
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
