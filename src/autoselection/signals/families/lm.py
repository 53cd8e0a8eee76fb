"""IFD, varentropy and rsr: what the base model makes of each response.

From the values of the response tokens in the two passes of ``model_pass``:

* conditional loss: mean cross-entropy of the response in the whole conversation (nats a token); the table calls it ``loss``
  too.
* unconditional loss: the same of the response alone.
* IFD = conditional / unconditional loss (Cherry LLM). Above 1 the prompt does not help.
* varentropy = mean over y of ``Σ_v p(v) (log p(v) + H)²`` with p the next-token distribution in the conditional pass
  and H its entropy in nats.
* rsr (rank-surprisal ratio, arXiv 2601.14249) = mean over y of ``min(rank, max_rank)`` / conditional loss. The rank of
  a token is one plus the number of tokens that the conditional pass gives a strictly larger logit: 1 is the most likely
  one, and tokens of equal logits share the best of their ranks. Ranks are capped (at 100 by default) because a
  few tokens of rank 10,000 would decide the mean. Low: tokens that surprise the model, yet are among its own first
  choices. A row of loss 0 has none.

Rows without a response (blank, or cut off by the maximum length) have no score. Rows without any prompt have losses,
varentropy and rsr but no IFD.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from autoselection.language.chat import Row
from autoselection.schema import StrictModel
from autoselection.signals.contract import Loaded
from autoselection.signals.model_pass import PassReader, PassResult, PassSignal, TokenValues, ratio
from autoselection.signals.stored import Shard, StoredSignal

if TYPE_CHECKING:
    from torch import Tensor

#: Ranks that count as they are in rsr; those behind count as this.
MAX_RANK = 100


class LanguageModelScorer(PassReader):
    """Scores conversations that are in no pool."""

    def score(
        self, rows: Sequence[Row], *, features: PassSignal | None = None, max_rank: int | None = MAX_RANK
    ) -> tuple[Shard, Shard | None]:
        """Losses, IFD, varentropy and rsr of conversations, and their SAE features if that signal is given."""
        losses = LanguageModelSignal(LanguageModelOptions(max_rank=max_rank))
        found = self.run(rows, [losses] if features is None else [losses, features])
        return found[losses.name], None if features is None else found[features.name]


class LanguageModelOptions(StrictModel):
    """Options of ``lm``."""

    max_rank: int | None = Field(
        MAX_RANK, ge=1, description="In rsr, ranks above this count as this; null: all count as they are."
    )


class LanguageModelSignal(PassSignal):
    """Losses, IFD, varentropy and rsr of each response."""

    name = "lm"
    version = 2
    columns = ("ifd", "varentropy", "loss_conditional", "loss_unconditional", "rsr")
    options_model = LanguageModelOptions
    title = "IFD, varentropy, rsr"
    asked_as: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "ifd": ("ifd", "loss_conditional", "loss_unconditional"),
        "loss": ("loss",),
        "varentropy": ("varentropy",),
        "rsr": ("rsr",),
    }

    @property
    def token_values(self) -> Sequence[TokenValues]:
        return (distribution, self._rank)

    @property
    def token_values_alone(self) -> Sequence[TokenValues]:
        return (cross_entropy,)

    def _rank(self, logits: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        ranks = token_ranks(logits, targets)
        return {"rank": ranks if self.options.max_rank is None else ranks.clamp(max=self.options.max_rank)}

    def finish(self, found: PassResult) -> Shard:
        loss, alone = found.means("loss"), found.means("loss", alone=True)
        columns = {
            "ifd": ratio(loss, alone, found.prompted),
            "varentropy": found.means("varentropy"),
            "loss_conditional": loss,
            "loss_unconditional": alone,
            "rsr": ratio(found.means("rank"), loss),
        }
        return Shard({name: column.astype(np.float32) for name, column in columns.items()}, response_counts(found))

    @classmethod
    def load(cls, stored: StoredSignal) -> Loaded:
        return Loaded(stored.arrays, aliases={"loss": "loss_conditional"})


def response_counts(found: PassResult) -> dict[str, int]:
    """Rows without a score of their response, by reason, and of how many the whole logits were computed."""
    counts = {**found.counts, **found.unscored, "no_prompt": len(found.scored) - int(found.prompted.sum())}
    return counts | ({"whole_logits": len(found.scored)} if found.whole_logits else {})


def cross_entropy(logits: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
    """``loss`` (nats) of each token."""
    return {"loss": token_scores(logits, targets, varentropy=False)[0]}


def distribution(logits: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
    """``loss`` (nats) of each token and ``varentropy`` (nats²) of the distribution that it is drawn from."""
    loss, spread = token_scores(logits, targets)
    return {"loss": loss, "varentropy": spread}


def token_scores(logits: Tensor, targets: Tensor, varentropy: bool = True) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each target and varentropy (nats²) of each distribution, from float32 logits [M, V]."""
    import torch

    log_p = torch.log_softmax(logits, dim=-1)
    loss = -log_p.gather(1, targets[:, None])[:, 0]
    if not varentropy:
        return loss, torch.zeros_like(loss)
    log_p = log_p.clamp_min_(-1e4)  # a token ruled out (−inf) has weight 0, and must not make 0·∞
    p = log_p.exp()
    entropy = -(p * log_p).sum(-1, keepdim=True)
    return loss, log_p.add_(entropy).square_().mul_(p).sum(-1)


def token_ranks(logits: Tensor, targets: Tensor) -> Tensor:
    """Rank of each target among logits [M, V]: one plus the number of strictly larger ones; int32[M]."""
    import torch

    ranks: Tensor = (logits > logits.gather(1, targets[:, None])).sum(-1, dtype=torch.int32)  # half the time of int64
    return ranks + 1
