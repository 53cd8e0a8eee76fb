"""What all methods are given to do, and what a training gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

IGNORED = -100
#: Rows that are encoded at once, and whose signals are computed at once, as in a study.
SHARD = 512


@dataclass(frozen=True)
class Row:
    """Token ids and, aligned with them, labels (-100 where there is no loss), int32[L] each."""

    ids: NDArray[np.int32]
    labels: NDArray[np.int32]

    @property
    def responses(self) -> int:
        """Tokens with a loss."""
        return int(np.count_nonzero(self.labels[1:] != IGNORED))


@dataclass(frozen=True)
class Ran:
    """A training: the loss of every step, forward passes, and whether these were packed (None where nobody says)."""

    losses: list[float]
    passes: int
    packed: bool | None = None


@dataclass(frozen=True)
class Work:
    """What all methods do.

    Attributes:
        rows: in the order of training.
        conversations: rows of the pool, as messages.
        model: makes the base model in float32 on the device.
        pass_tokens: most padded tokens of a pass of the loops by hand; None is no limit.
        passes: entered around the passes of every step.
    """

    folder: Path
    base: str
    tokenizer: Any
    rows: Sequence[Row]
    conversations: Sequence[Any]
    model: Callable[[], Any]
    device: str
    dtype: Any
    batch_size: int
    max_length: int
    pass_tokens: int | None = None
    learning_rate: float = 1e-5
    freeze_embeddings: bool = False
    passes: Callable[[], AbstractContextManager[Any]] = nullcontext

    @cached_property
    def batches(self) -> list[list[Row]]:
        """The rows of every step, longest first."""
        starts = range(0, len(self.rows), self.batch_size)
        return [sorted(self.rows[i : i + self.batch_size], key=lambda row: -len(row.ids)) for i in starts]

    @property
    def tokens(self) -> int:
        return sum(len(row.ids) for row in self.rows)

    @property
    def responses(self) -> int:
        return sum(row.responses for row in self.rows)

    def steps(self, count: int) -> Work:
        """So many steps; the rows begin again where they end."""
        wanted = count * self.batch_size
        return replace(self, rows=[self.rows[i % len(self.rows)] for i in range(wanted)])

    def autocast(self) -> Any:
        import torch

        return torch.autocast(self.device.split(":")[0], self.dtype, enabled=self.dtype != torch.float32)
