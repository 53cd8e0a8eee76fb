"""The signals of the base model for conversations, without a pool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from autoselection.signals import Shard
from autoselection.signals.families.lm import MAX_RANK, LanguageModelOptions, LanguageModelSignal
from autoselection.signals.families.sae import SaeFeatures, SaeOptions, SparseEncoder
from autoselection.signals.families.token_kinds import TokenKinds
from autoselection.signals.model_pass import PassReader, PassSignal


def features_of(sae: SparseEncoder, values: Any = "float32") -> SaeFeatures:
    """The signal of an SAE whose encoder is made already."""
    signal = SaeFeatures(SaeOptions(values=values))
    signal._encoder = sae
    return signal


def score(
    scorer: PassReader,
    rows: Sequence[Any],
    *,
    losses: bool = True,
    sae: SparseEncoder | None = None,
    kinds: bool = False,
    max_rank: int | None = MAX_RANK,
) -> tuple[Shard | None, Shard | None]:
    """The shard of losses (with those by kind of token behind) and that of features, None where not asked for."""
    signals: list[PassSignal] = [LanguageModelSignal(LanguageModelOptions(max_rank=max_rank))] if losses else []
    signals += [TokenKinds()] if kinds else []
    signals += [] if sae is None else [features_of(sae)]
    found = scorer.run(rows, signals)
    lm = found.get("lm")
    if lm is not None and kinds:
        by_kind = found["token_kinds"]
        lm = Shard({**lm.arrays, **by_kind.arrays}, by_kind.stats)
    return lm, found.get("sae")


#: Operators whose result has a size that the host has to wait for, or that hand it a number.
_WAITING = (
    *("nonzero", "nonzero_numpy", "argwhere", "masked_select", "_unique2", "repeat_interleave"),
    *("item", "is_nonzero", "_local_scalar_dense"),
)


class _Operators(TorchDispatchMode):
    """Notes operators for which a GPU is waited for: those above, and indexing by a mask."""

    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        indices = [each for each in args[1] if each is not None] if name in ("index", "index_put", "index_put_") else []
        placed = name == "where" and len(args) == 1  # where something holds
        if name in _WAITING or placed or any(each.dtype is torch.bool for each in indices):
            self._seen.append(name)
        return func(*args, **(kwargs or {}))


@contextmanager
def host_waits(model: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a GPU would be waited for, in order, with ``pass`` for each forward pass; what the model itself does is left out."""
    seen: list[str] = []
    before: list[int] = []

    def begin(*_: Any) -> None:
        seen.append("pass")
        before.append(len(seen))

    def end(*_: Any) -> None:
        del seen[before.pop() :]

    base = model.base_model
    handles = base.register_forward_pre_hook(begin), base.register_forward_hook(end, always_call=True)
    with monkeypatch.context() as patch, _Operators(seen):
        for name in ("cpu", "tolist"):
            own = getattr(torch.Tensor, name)
            patch.setattr(torch.Tensor, name, lambda self, name=name, own=own: (seen.append(name), own(self))[1])
        yield seen
    for handle in handles:
        handle.remove()
