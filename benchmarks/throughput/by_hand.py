"""Training as one writes it by hand, padded and packed: PyTorch and transformers are enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.throughput.work import IGNORED, Ran, Row, Work


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


def pass_tokens(config: Any, memory: int) -> int:
    """Padded tokens of a pass of the loops by hand: activations, with logits at all of them, in a third of a GPU's memory (bytes).

    A layer keeps about 18 vectors of the width and 6 of the intermediate size, in half precision; the head four of the
    vocabulary's size, in float32.
    """
    layer = 18 * config.hidden_size + 6 * config.intermediate_size
    return max(1024, memory // 3 // (2 * config.num_hidden_layers * layer + 16 * config.vocab_size))


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
