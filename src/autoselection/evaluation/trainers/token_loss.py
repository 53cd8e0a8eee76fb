"""Cross-entropy that keeps a large vocabulary's logits and no copy of them. Imports torch: imported when training starts."""

from __future__ import annotations

from typing import Any

import torch

#: Logits that are worked on at once (count): on a CPU what its caches hold, on a GPU enough to keep it busy.
_LOGITS = {"cpu": 1 << 20, "cuda": 1 << 26}


def summed_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy in float32, summed over tokens (nats): -sum over n of log softmax(logits[n])[labels[n]].

    The same number and gradient as ``torch.nn.functional.cross_entropy`` has, up to rounding. That keeps log-probabilities beside the
    logits for the backward pass; here they are made of the logits again, some rows at a time.

    Args:
        logits: float[N, V].
        labels: long[N], each below V.
    """
    total: torch.Tensor = _SummedCrossEntropy.apply(logits, labels)  # type: ignore[no-untyped-call]
    return total


class _SummedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        rows = max(1, _LOGITS.get(logits.device.type, 1 << 24) // logits.shape[1])
        normalisers = torch.cat([part.float().logsumexp(1) for part in torch.split(logits, rows)])
        ctx.rows = rows
        ctx.save_for_backward(logits, labels, normalisers)
        return (normalisers - logits.gather(1, labels[:, None])[:, 0].float()).sum()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        logits, labels, normalisers = ctx.saved_tensors
        found = torch.empty_like(logits)
        pieces = (each.split(ctx.rows) for each in (logits, labels, normalisers, found))
        for part, taught, normaliser, written in zip(*pieces, strict=True):
            probabilities = (part.float() - normaliser[:, None]).exp_()
            probabilities.scatter_add_(1, taught[:, None], torch.full_like(normaliser, -1)[:, None])
            written.copy_(probabilities.mul_(gradients[0]))
        return found, None
