"""Keys and values with room to grow, for answers: a new token is written beside the others.

transformers copies all keys and values of all layers for every token (``torch.cat``), and keeps keys in float32 under
autocast, because rotations are computed in it: attention casts all of them anew for every token. Both cost more than
attention itself where many answers are written together. Imports PyTorch and transformers.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

#: Tokens that a layer has room for beyond what it holds, when it has to be copied once.
_ROOM = 64


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """A :class:`~transformers.cache_utils.DynamicLayer` that gives attention the same numbers, from memory with room.

    Args:
        kept: the layer whose keys and values it goes on from.
        arithmetic: what autocast makes attention compute in; None leaves keys and values as they come.
    """

    def __init__(self, kept: DynamicLayer, arithmetic: torch.dtype | None) -> None:
        super().__init__()
        self._arithmetic = arithmetic
        self._rooms: dict[str, torch.Tensor] = {}
        if kept.is_initialized:
            self.lazy_initialization(kept.keys, kept.values)
            self.keys, self.values = self._cast(kept.keys), self._cast(kept.values)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values with those of new tokens; each [rows, heads, tokens, size of a head]."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states[..., :0, :], value_states[..., :0, :]
        self.keys = self._appended("keys", self.keys, self._cast(key_states))
        self.values = self._appended("values", self.values, self._cast(value_states))
        return self.keys, self.values

    def _cast(self, states: torch.Tensor) -> torch.Tensor:
        return states if self._arithmetic is None else states.to(self._arithmetic)

    def _appended(self, name: str, kept: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        start, end = kept.shape[-2], kept.shape[-2] + new.shape[-2]
        room = self._rooms.get(name)
        # What was taken out of the batch, cut or reordered since lies in other memory.
        if room is None or room.data_ptr() != kept.data_ptr() or room.shape[0] != len(kept) or room.shape[-2] < end:
            room = new.new_empty((*new.shape[:-2], end + _ROOM, new.shape[-1]))
            room[..., :start, :] = kept
            self._rooms[name] = room
        room[..., start:end, :] = new
        return room[..., :end, :]


def give_room(cache: DynamicCache, arithmetic: torch.dtype | None) -> None:
    """Let a cache's layers of all keys and values grow in place; layers of another kind stay as they are."""
    cache.layers = [RoomyLayer(each, arithmetic) if type(each) is DynamicLayer else each for each in cache.layers]
