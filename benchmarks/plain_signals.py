"""IFD, varentropy and rsr as a plain script computes them: padded batches in pool order, two passes, logits everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCH = 8
COLUMNS = ("ifd", "varentropy", "loss_conditional", "loss_unconditional", "rsr")


def plain_signals(
    model: Any, encoder: Any, rows: Sequence[Any], encoded: Sequence[Any] | None = None
) -> dict[str, NDArray[np.float64]]:
    """The columns of rows, float64[rows] each; NaN where a row has no answer that is scored.

    One pass for the conditional loss, varentropy and ranks, one for the loss without the prompt. Varentropy and ranks are
    computed at response positions alone, so as not to flatter the package.

    Args:
        model: in evaluation mode, on its device.
        encoder: the package's, so that tokens and definitions are the same.
        encoded: of the rows, where they are encoded already.
    """
    import torch

    encoded = encoder.encode_batch(rows) if encoded is None else encoded
    found = {name: np.full(len(rows), np.nan) for name in COLUMNS}
    answered = [i for i, item in enumerate(encoded) if item is not None and any(item.response) and _answer(rows[i])]
    start = next((t for t in (encoder.tokenizer.bos_token_id, encoder.tokenizer.eos_token_id) if t is not None), None)
    with torch.inference_mode():
        whole = {i: encoded[i].input_ids for i in answered}
        for batch, tokens, mask in padded_batches(whole, model.device):
            logits = model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
            for row, i in enumerate(batch):
                where = torch.as_tensor([p for p, scored in enumerate(encoded[i].response) if scored])
                log_p = torch.log_softmax(logits[row, where - 1].float(), -1)
                p = log_p.exp()
                entropy = -(p * log_p).sum(-1, keepdim=True)
                loss = -log_p.gather(1, tokens[row, where][:, None])
                found["loss_conditional"][i] = float(loss.mean())
                ranks = (log_p.argsort(-1, descending=True) == tokens[row, where][:, None]).int().argmax(-1) + 1
                found["rsr"][i] = float(ranks.clamp_max(100).double().mean() / loss.double().mean())
                found["varentropy"][i] = float((p * (log_p + entropy) ** 2).sum(-1).mean())
        alone = {i: _alone(encoded[i], start) for i in answered}
        for batch, tokens, mask in padded_batches({i: ids for i, (ids, _) in alone.items()}, model.device):
            logits = model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
            log_p = torch.log_softmax(logits[:, :-1].float(), -1)
            loss = -log_p.gather(2, tokens[:, 1:, None])[..., 0]
            for row, i in enumerate(batch):
                where = torch.as_tensor(alone[i][1]) - 1
                found["loss_unconditional"][i] = float(loss[row, where].mean())
    found["ifd"] = found["loss_conditional"] / found["loss_unconditional"]
    return found


def padded_batches(ids: Mapping[int, Sequence[int]], device: Any) -> Iterator[tuple[list[int], Any, Any]]:
    """Batches in pool order: row numbers, right-padded tokens, mask."""
    import torch

    order = list(ids)
    for first in range(0, len(order), BATCH):
        batch = order[first : first + BATCH]
        width = max(len(ids[i]) for i in batch)
        tokens = torch.zeros((len(batch), width), dtype=torch.long)
        mask = torch.zeros_like(tokens)
        for row, i in enumerate(batch):
            tokens[row, : len(ids[i])] = torch.as_tensor(ids[i])
            mask[row, : len(ids[i])] = 1
        yield batch, tokens.to(device), mask.to(device)


def _answer(row: Any) -> bool:
    messages = getattr(row, "messages", row)  # a conversation, or its messages alone
    return any((message["content"] or "").strip() for message in messages if message["role"] == "assistant")


def _alone(item: Any, start: int | None) -> tuple[list[int], list[int]]:
    """The response behind the bare assistant header, and the places of its tokens."""
    kept = [i for i, alone in enumerate(item.alone) if alone]
    ids = [item.input_ids[i] for i in kept]
    places = [new for new, old in enumerate(kept) if item.response[old]]
    if places[0] == 0 and start is not None:
        return [start, *ids], [place + 1 for place in places]
    return ids, places
