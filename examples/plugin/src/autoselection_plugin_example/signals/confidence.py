"""A signal from the shared pass of the base model: computed with IFD, rsr and SAE features, each row read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from autoselection.signals import PassResult, PassSignal, Shard, TokenValues

if TYPE_CHECKING:
    from torch import Tensor


def top_probability(logits: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
    """Probability of the likeliest token at each place, float[M], from logits [M, V]."""
    return {"top": logits.softmax(-1).amax(-1)}


class Confidence(PassSignal):
    """Mean probability that the model gives its own first choice, over the tokens of a row's response."""

    name = "confidence"
    columns = ("confidence",)

    @property
    def token_values(self) -> Sequence[TokenValues]:
        return (top_probability,)

    def finish(self, found: PassResult) -> Shard:
        return Shard({"confidence": found.means("top").astype(np.float32)}, {**found.counts, **found.unscored})
