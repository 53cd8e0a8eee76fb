"""IFD, loss and varentropy by kind of response token: of the answer, of the reasoning and of the calls of tools.

The same means as in ``lm``, from the same passes, over the tokens of one kind alone (``Encoded.kinds``). What the response
says before a token stands before it in both passes, so that ``ifd_answer`` is what the prompt adds once the reasoning is
there. A row without tokens of a kind has no score of this kind.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoselection.signals.families.lm import cross_entropy, distribution, response_counts
from autoselection.signals.model_pass import TOKEN_KINDS, PassResult, PassSignal, TokenValues, ratio
from autoselection.signals.stored import Shard

KIND_COLUMNS = tuple(f"{column}_{kind}" for kind in TOKEN_KINDS for column in ("ifd", "varentropy", "loss"))


class TokenKinds(PassSignal):
    """IFD, loss and varentropy of the answer's, the reasoning's and the calls' tokens each."""

    name = "token_kinds"
    version = 3
    columns = KIND_COLUMNS
    by_default = False
    title = "the same by kind of token"

    @property
    def token_values(self) -> Sequence[TokenValues]:
        return (distribution,)

    @property
    def token_values_alone(self) -> Sequence[TokenValues]:
        return (cross_entropy,)

    def finish(self, found: PassResult) -> Shard:
        columns: dict[str, NDArray[np.float64]] = {}
        counts = response_counts(found)
        for kind in TOKEN_KINDS:
            loss = found.means("loss", kind)
            columns[f"ifd_{kind}"] = ratio(loss, found.means("loss", kind, alone=True), found.prompted)
            columns[f"varentropy_{kind}"] = found.means("varentropy", kind)
            columns[f"loss_{kind}"] = loss
            there = ~np.isnan(loss)
            counts[f"no_{kind}"] = len(found.scored) - int(there.sum())
            counts[f"no_prompt_{kind}"] = int((there & ~found.prompted).sum())
        return Shard({name: column.astype(np.float32) for name, column in columns.items()}, counts)
