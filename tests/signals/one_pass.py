"""The signals of the base model for conversations, without a pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
