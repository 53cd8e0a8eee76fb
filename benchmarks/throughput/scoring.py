"""Rates of scoring: log-probabilities as evaluations ask for them, beside batches of padded sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.throughput.beside_plain import beside_plain
from benchmarks.throughput.names import OURS, PLAIN
from benchmarks.throughput.work import IGNORED, Work

OPTIONS = 4
Answers = Sequence[tuple[float, bool]]


def scoring(work: Work, repeats: int, count: int, seconds: float | None) -> Iterator[dict[str, Any]]:
    """Gold answers and options of questions made from rows of the pool."""
    posed = _questions(work, count if seconds is None else len(work.rows))

    def asked(number: int) -> list[Any]:
        return [each for question in posed[:number] for each in question]

    def describe(number: int) -> Mapping[str, Any]:
        requests = asked(number)
        return {"tokens": sum(len(each.context) + len(each.ids) for each in requests), "requests": len(requests)}

    methods = {name: lambda number, run=run: run(asked(number)) for name, run in _scorers(work, work.model()).items()}
    yield from beside_plain(
        "scoring", work, methods, describe, _difference, most=len(posed), repeats=repeats, seconds=seconds
    )


def _difference(ours: Answers, plain: Answers) -> float:
    """The largest difference of log-probabilities, relative to those above 1 nat."""
    pairs = zip(ours, plain, strict=False)  # with a time to keep, one has answered more
    return max(abs(a[0] - b[0]) / max(1.0, abs(b[0])) for a, b in pairs)


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
        with torch.no_grad(), work.autocast():
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
