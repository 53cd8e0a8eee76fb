"""Sequences end to end in one forward pass, without padding. Imports torch: imported when a model runs.

A packed pass holds the tokens of many sequences as one row of shape [1, T]. Position ids start again with every sequence;
attention alone has to know where one ends, and :func:`attention` does: transformers calls it in the place of its own while
:func:`packed_attention` lasts, and hands it the :class:`Layout` that a pass was made with (``model(..., packed=layout)``).

Sequences that begin alike can share those tokens: a segment may go on from another one (its parent), whose tokens it sees
as if they stood in front of it. Options of an item then read their prompt once, items their common examples once.

What is computed is what each sequence alone would give, up to rounding. Whether a model can be packed is tried, not
assumed (:mod:`autoselection.language.packing`): recurrent layers, soft caps and the like are then run padded, as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AttentionInterface

from autoselection.language.flash import flash_takes, takes_grouped_heads, varlen_kernel

#: Attention by FlashAttention where it takes the queries, and by padded blocks everywhere.
_NAME, _BLOCKS_NAME = "autoselection_packed", "autoselection_packed_blocks"

#: What one more group of sequences costs attention, in squared tokens.
_GROUP_COST = 64 * 64

#: Longest sequence whose attention is written out on a CPU in half precision: there, products of matrices are fast and the
#: fused kernel is not. Longer ones would hold too many probabilities for the backward pass.
_WRITTEN_OUT = 512

#: Arguments of attention that change it, and that this one does not know.
_UNKNOWN = ("softcap", "s_aux", "position_bias", "cache")


class NotPackable(Exception):
    """The model asks for something else than causal attention within a window: its message says for what."""


@dataclass(frozen=True)
class Segment:
    """Tokens of a pass that follow each other.

    Attributes:
        ids: token ids.
        parent: the segment (by its place, an earlier one) that it goes on from; -1 for none.
    """

    ids: Sequence[int] | NDArray[np.integer[Any]]
    parent: int = -1


@dataclass(frozen=True)
class _Group:
    """Segments of similar length, padded to one block for attention.

    Attributes:
        keys: of each segment the places of the tokens that it sees, long[R * Lk]; padding is token 0. None where no segment
            of the pass goes on from another one: they are the queries' then.
        shape: segments R, longest segment Lq, longest run of keys Lk.
        mask: bool[R, 1, Lq, Lk], which keys a query sees; None where that is all up to its own place.
    """

    keys: Tensor | None
    shape: tuple[int, int, int]
    mask: Tensor | None


@dataclass(frozen=True)
class _Blocks:
    """The segments of a pass as padded blocks.

    Attributes:
        groups: the blocks.
        queries: of every slot of all blocks the token in it.
        back: of every token its slot.
        padding: slots that hold padding.
    """

    groups: tuple[_Group, ...]
    queries: Tensor
    back: Tensor
    padding: Tensor


class Layout:
    """Where the segments of a pass lie, and what each sees.

    Args:
        segments: in the order of the pass; none is empty.
        device: of the pass.

    Attributes:
        ids: token ids, long[1, T].
        positions: position ids, long[1, T].
        starts: first place of each segment, int64[segments].
        shares_tokens: whether a segment goes on from another one; such a pass has no gradients.

    What FlashAttention needs is copied to the device here, not while the model runs; see :func:`on_device`.
    """

    def __init__(self, segments: Sequence[Segment], device: torch.device | str) -> None:
        lengths = np.array([len(segment.ids) for segment in segments], np.int64)
        depth = np.zeros(len(segments), np.int64)
        above: list[tuple[int, ...]] = []  # of each segment its ancestors, outermost first
        for place, segment in enumerate(segments):
            parent = segment.parent
            above.append(() if parent < 0 else (*above[parent], parent))
            depth[place] = 0 if parent < 0 else depth[parent] + lengths[parent]
        self.device = torch.device(device)
        self.starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        self.shares_tokens = bool(depth.any())
        self._lengths, self._depth, self._above = lengths, depth, above
        within = np.arange(int(lengths.sum())) - np.repeat(self.starts, lengths)
        ids, positions, self._all_keys, *ends = on_device(
            [
                np.concatenate([np.asarray(segment.ids, np.int64) for segment in segments]),
                within + np.repeat(depth, lengths),
                np.concatenate(self._seen) if self.shares_tokens else np.empty(0, np.int64),
                *(np.concatenate([[0], np.cumsum(each)]) for each in (lengths, lengths + depth)),
            ],
            self.device,
        )
        self.ids, self.positions = ids[None], positions[None]
        self._ends = tuple(each.int() for each in ends)  # of queries and of keys, int32[segments + 1]

    @cached_property
    def _longest(self) -> tuple[int, int]:
        """Tokens of the longest segment, and most that one sees."""
        return int(self._lengths.max()), int((self._lengths + self._depth).max())

    @cached_property
    def _spans(self) -> list[NDArray[np.int64]]:
        return [np.arange(start, start + length) for start, length in zip(self.starts, self._lengths, strict=True)]

    @cached_property
    def _seen(self) -> list[NDArray[np.int64]]:
        """Of each segment the places of the tokens that its last one sees."""
        spans = self._spans
        return [
            np.concatenate([*(spans[i] for i in above), own]) for above, own in zip(self._above, spans, strict=True)
        ]

    @cached_property
    def _blocks(self) -> _Blocks:
        back = np.zeros(int(self._lengths.sum()), np.int64)
        tokens: list[NDArray[np.int64]] = []
        empty: list[NDArray[np.bool_]] = []
        keys: list[NDArray[np.int64]] = []
        shapes: list[tuple[int, int, int]] = []
        members = _similar(self._lengths, self._depth)
        slots = 0
        for group in members:
            queries, unused = _padded([self._spans[i] for i in group])
            reach = queries.shape[1]
            if self.shares_tokens:
                seen, _ = _padded([self._seen[i] for i in group])
                keys.append(seen.ravel())
                reach = seen.shape[1]
            back[queries[~unused]] = slots + np.flatnonzero(~unused)
            tokens.append(queries.ravel())
            empty.append(unused.ravel())
            shapes.append((*queries.shape, reach))
            slots += queries.size
        padding = np.flatnonzero(np.concatenate(empty))
        depths = [self._depth[group] for group in members] if self.shares_tokens else []
        sent = on_device([np.concatenate(tokens), back, padding, *keys, *depths], self.device)
        if not self.shares_tokens:
            return _Blocks(tuple(_Group(None, shape, None) for shape in shapes), *sent)
        groups = [
            _Group(seen, shape, _reach(depth, shape) if own.any() else None)
            for seen, depth, shape, own in zip(
                sent[3 : 3 + len(keys)], sent[3 + len(keys) :], shapes, depths, strict=True
            )
        ]
        return _Blocks(tuple(groups), *sent[:3])

    def given(self) -> dict[str, Any]:
        """What the model is called with."""
        return {"input_ids": self.ids, "position_ids": self.positions, "packed": self}

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        scale: float,
        dropout: float,
        window: int | None,
        flash: bool = True,
    ) -> Tensor:
        """Attention of a pass.

        Args:
            query: [T, H, D]
            key: [T, K, D], where K divides H.
            value: [T, K, V]
            scale: of the products.
            dropout: share of the probabilities that is dropped.
            window: how many tokens up to its own a token sees; None is all.
            flash: by FlashAttention, where it takes the queries; False is by blocks.

        Returns:
            [T, H, V]
        """
        if window is not None and window >= self._longest[1]:
            window = None
        kernel = kernel_for(query, value, dropout) if flash else None
        if kernel is not None:
            if self.shares_tokens:
                key, value = key.index_select(0, self._all_keys), value.index_select(0, self._all_keys)
            return kernel(query, key, value, *self._ends, *self._longest, scale, window)
        return self._by_blocks(query, key, value, scale=scale, dropout=dropout, window=window)

    def _by_blocks(
        self, query: Tensor, key: Tensor, value: Tensor, *, scale: float, dropout: float, window: int | None
    ) -> Tensor:
        """:meth:`attend` by padded blocks of similar sequences."""
        blocks = self._blocks
        wide = [rows * longest for rows, longest, _ in (group.shape for group in blocks.groups)]
        if self.shares_tokens:
            queries = torch.split(query.index_select(0, blocks.queries), wide)
            places = [group.keys for group in blocks.groups if group.keys is not None]
            seen = [[each.index_select(0, own) for own in places] for each in (key, value)]
            parts = list(zip(queries, *seen, strict=True))
        else:
            slots = [torch.split(_arranged(each, blocks), wide) for each in (query, key, value)]
            parts = list(zip(*slots, strict=True))
        found = [
            _attend(group, *part, scale=scale, dropout=dropout, window=window)
            for group, part in zip(blocks.groups, parts, strict=True)
        ]
        together = found[0] if len(found) == 1 else torch.cat(found)
        return _taken(together, blocks)


def on_device(arrays: Sequence[NDArray[np.int64]], device: torch.device | str) -> list[Tensor]:
    """Arrays as tensors on ``device``, by one copy.

    A GPU is not waited for: the copy starts from pinned memory, and what the device still has to do goes on meanwhile.
    """
    together = torch.from_numpy(np.concatenate([array.ravel() for array in arrays]))
    pinned = torch.device(device).type == "cuda"
    if pinned:
        together = together.pin_memory()
    parts = torch.split(together.to(device, non_blocking=pinned), [array.size for array in arrays])
    return [part.view(array.shape) for part, array in zip(parts, arrays, strict=True)]


def kernel_for(query: Tensor, value: Tensor, dropout: float) -> Callable[..., Tensor] | None:
    """FlashAttention, if it takes these."""
    return varlen_kernel() if not dropout and flash_takes(query, value) else None


class _Arranged(torch.autograd.Function):
    """Tokens in the slots of padded blocks; padding holds any token, since nobody looks at it.

    Both directions of both functions only select: an index's own backward pass would add up, and PyTorch's gathers do
    that one element at a time on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, there: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(back)
        return tokens.index_select(0, there)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (back,) = ctx.saved_tensors
        return gradient.index_select(0, back), None, None


class _Taken(torch.autograd.Function):
    """Tokens taken from their slots; padding has no gradient."""

    @staticmethod
    def forward(ctx: Any, slots: Tensor, back: Tensor, there: Tensor, padding: Tensor) -> Tensor:
        ctx.save_for_backward(there, padding)
        return slots.index_select(0, back)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        there, padding = ctx.saved_tensors
        return gradient.index_select(0, there).index_fill_(0, padding, 0), None, None, None


def _arranged(tokens: Tensor, blocks: _Blocks) -> Tensor:
    found: Tensor = _Arranged.apply(tokens, blocks.queries, blocks.back)  # type: ignore[no-untyped-call]
    return found


def _taken(slots: Tensor, blocks: _Blocks) -> Tensor:
    found: Tensor = _Taken.apply(slots, blocks.back, blocks.queries, blocks.padding)  # type: ignore[no-untyped-call]
    return found


def _reach(depth: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Which keys the queries of a block see, bool[R, 1, Lq, Lk]; ``depth`` [R] tokens stand in front of each segment."""
    _, wide, deep = shape
    last = depth[:, None] + torch.arange(wide, device=depth.device)
    return (torch.arange(deep, device=depth.device) <= last[..., None])[:, None]


def _attend(
    group: _Group, query: Tensor, key: Tensor, value: Tensor, *, scale: float, dropout: float, window: int | None
) -> Tensor:
    """Attention of a block: [R * Lq, H, V] from [R * Lq, H, D], [R * Lk, K, D] and [R * Lk, K, V]."""
    rows, wide, deep = group.shape
    device = query.device
    mask = group.mask
    if window is not None:
        causal = torch.ones(wide, deep, dtype=torch.bool, device=device).tril() if mask is None else mask
        last = causal.sum(-1, keepdim=True) - 1
        mask = causal & (torch.arange(deep, device=device) > last - window)
    share = query.shape[1] // key.shape[1]
    if share > 1 and not takes_grouped_heads(device.type, flash_takes(query, value), mask is not None):
        key, value = key.repeat_interleave(share, 1), value.repeat_interleave(share, 1)
    q = query.view(rows, wide, *query.shape[1:]).transpose(1, 2)
    k, v = (each.view(rows, deep, *each.shape[1:]).transpose(1, 2) for each in (key, value))
    half = q.device.type == "cpu" and q.dtype in (torch.bfloat16, torch.float16)
    if half and not dropout and deep <= _WRITTEN_OUT:
        found = _written_out(q, k, v, scale, mask)
    else:
        kind = torch.float32 if half else q.dtype
        found = torch.nn.functional.scaled_dot_product_attention(
            q.to(kind), k.to(kind), v.to(kind),
            attn_mask=mask, dropout_p=dropout, is_causal=mask is None, scale=scale, enable_gqa=q.shape[1] != k.shape[1],
        )  # fmt: skip
    return found.transpose(1, 2).reshape(rows * wide, query.shape[1], value.shape[-1]).to(query.dtype)


def _written_out(query: Tensor, key: Tensor, value: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """Attention as products of matrices; heads that share keys are one matrix."""
    rows, heads, wide, size = query.shape
    shared, deep = key.shape[1], key.shape[2]
    queries = (query * scale).reshape(rows, shared, heads // shared * wide, size)
    products = torch.matmul(queries, key.transpose(2, 3)).view(rows, shared, heads // shared, wide, deep)
    # Added, not filled in: filling is not vectorised where a mask is repeated over heads.
    if mask is None:
        hidden = torch.full((wide, deep), -torch.inf, dtype=query.dtype, device=query.device).triu_(1)
    else:
        hidden = torch.zeros(mask.shape, dtype=query.dtype, device=query.device).masked_fill_(~mask, -torch.inf)
        hidden = hidden[:, :, None] if mask.dim() == 4 else hidden
    shares = torch.softmax(products.add_(hidden), -1)
    return torch.matmul(shares.view(rows, shared, -1, deep), value).view(rows, heads, wide, value.shape[-1])


def attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    packed: Layout | None = None,
    is_causal: bool | None = None,
    flash: bool = True,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attention in transformers' form, of a packed pass: [1, T, H, V] from [1, H, T, D], [1, K, T, D] and [1, K, T, V]."""
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    if packed is None:
        raise NotPackable("its passes do not hand on where sequences end")
    if not causal:
        raise NotPackable("its attention is not causal")
    if attention_mask is not None:
        raise NotPackable("it has a mask of its own for attention")
    unknown = [name for name in _UNKNOWN if more.get(name) is not None]
    if unknown:
        raise NotPackable(f"its attention has '{unknown[0]}'")
    if query.shape[2] != packed.ids.shape[1] or key.shape[2] != query.shape[2]:
        raise NotPackable("its attention reads other tokens than those of the pass")
    kind = query.dtype
    if torch.is_autocast_enabled(query.device.type):
        kind = torch.get_autocast_dtype(query.device.type)
    with torch.autocast(query.device.type, enabled=False):
        q, k, v = (each[0].transpose(0, 1).to(kind) for each in (query, key, value))
        scale = q.shape[-1] ** -0.5 if scaling is None else scaling
        found = packed.attend(q, k, v, scale=scale, dropout=dropout, window=sliding_window, flash=flash)
    return found[None], None


def _attention_by_blocks(*tensors: Any, **how: Any) -> tuple[Tensor, None]:
    return attention(*tensors, **{**how, "flash": False})


# Names without a mask function: transformers then makes no mask.
AttentionInterface.register(_NAME, attention)
AttentionInterface.register(_BLOCKS_NAME, _attention_by_blocks)


@contextmanager
def packed_attention(model: Any, *, flash: bool = True) -> Iterator[None]:
    """Let ``model`` take packed passes, and no others, while the context lasts; without ``flash`` by blocks alone."""
    own = model.config._attn_implementation
    model.set_attn_implementation(_NAME if flash else _BLOCKS_NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(own)


def _similar(lengths: NDArray[np.int64], depth: NDArray[np.int64]) -> list[list[int]]:
    """Segments in groups that waste little attention on padding; those that go on from others apart."""
    reach = lengths + depth
    groups: list[list[int]] = []
    for members in (np.flatnonzero(depth == 0), np.flatnonzero(depth > 0)):
        group: list[int] = []
        waste = 0
        for member in members[np.lexsort((members, -reach[members]))].tolist():
            waste += int(reach[group[0]] ** 2 - reach[member] ** 2) if group else 0
            if waste > _GROUP_COST:
                groups.append(group)
                group, waste = [], 0
            group.append(member)
        groups += [group] if group else []
    return groups


def _padded(rows: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Rows as one array, zeros behind the shorter ones, and where these are."""
    lengths = np.array([len(row) for row in rows])
    empty = np.arange(lengths.max()) >= lengths[:, None]
    padded = np.zeros(empty.shape, np.int64)
    padded[~empty] = np.concatenate(rows)
    return padded, empty
