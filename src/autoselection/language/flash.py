"""FlashAttention on sequences of different lengths: where PyTorch and the device have it, and what it takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

#: Compute capability from which on FlashAttention runs.
FLASH_CAPABILITY = (8, 0)


def flash_takes(query: Tensor, value: Tensor) -> bool:
    """Whether FlashAttention takes queries [T, H, D] and values [T, K, V] of this kind on this device."""
    return (
        query.is_cuda
        and query.dtype in (torch.bfloat16, torch.float16)
        and query.shape[-1] == value.shape[-1]
        and query.shape[-1] % 8 == 0
        and query.shape[-1] <= 256
        and torch.cuda.get_device_capability(query.device) >= FLASH_CAPABILITY
    )


def takes_grouped_heads(device: str, flash: bool, masked: bool) -> bool:
    """Whether PyTorch's attention of padded blocks takes fewer heads of keys than of queries and stays a fused kernel.

    On a GPU only FlashAttention does, which takes no masks: the memory-efficient kernel needs as many heads of both, and what
    no kernel takes is computed with all probabilities [R, H, Lq, Lk] in memory.

    Args:
        device: kind of device.
        flash: whether FlashAttention takes the queries (:func:`flash_takes`).
        masked: whether there is a mask besides causality.
    """
    return device != "cuda" or (flash and not masked)


@cache
def varlen_kernel() -> Callable[..., Tensor] | None:
    """FlashAttention on sequences of different lengths, as this PyTorch has it.

    ``varlen_attn`` is missing in older versions; its first one takes neither a scale nor a window, and ``enable_gqa`` came
    later than both. Where it does not know grouped heads, keys and values are repeated.

    Returns:
        A function of queries [T, H, D], keys and values [S, K, D], where queries and keys of each sequence end, the longest of
        both, scale and window; None where this PyTorch has none that takes these.
    """
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    known = inspect.signature(varlen_attn).parameters
    if not {"scale", "window_size"} <= known.keys():
        return None

    def attend(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        query_ends: Tensor,
        key_ends: Tensor,
        longest_query: int,
        longest_key: int,
        scale: float,
        window: int | None,
    ) -> Tensor:
        grouped: dict[str, Any] = {}
        share = query.shape[1] // key.shape[1]
        if share > 1 and "enable_gqa" in known:
            grouped["enable_gqa"] = True
        elif share > 1:
            key, value = key.repeat_interleave(share, 1), value.repeat_interleave(share, 1)
        found = varlen_attn(
            query.contiguous(), key.contiguous(), value.contiguous(), query_ends, key_ends, longest_query, longest_key,
            scale=scale, window_size=(-1 if window is None else window - 1, 0), **grouped,
        )  # fmt: skip
        assert isinstance(found, Tensor)
        return found

    return attend
